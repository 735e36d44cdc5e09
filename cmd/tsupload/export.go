package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/source"
	"github.com/exampleco/tsupload/tokencache"
)

func (a *app) newExport(h *config.HTTP) *source.HTTP {
	secrets := a.resolver(tokencache.NewKeyring())
	read := func(ref config.SecretRef) source.Secret {
		if ref.IsZero() {
			return nil
		}
		return func(ctx context.Context) ([]byte, error) {
			s, err := secrets.Read(ctx, ref)
			return s.Reveal(), err
		}
	}
	e := &source.HTTP{
		Preset: h.Preset, Params: h.Params, Token: read(h.Auth.Token), URL: h.URL, Method: h.Method, Body: h.Body, Query: h.Query, Headers: map[string]source.Secret{}, Format: auto(h.Format), Records: h.Records, Next: h.Next, Total: h.Total,
		Since: h.Since, Until: h.Until, Times: h.Times, Timeout: h.Timeout, MaxBytes: h.MaxBytes, MaxPages: h.MaxPages, Bearer: read(h.Auth.Bearer),
	}
	if p := h.Page; p != nil {
		e.Page = &source.Page{Parameter: p.Parameter, First: p.First, SizeParameter: p.SizeParameter, Size: p.Size, EndStatus: p.EndStatus}
	}
	if c := h.Cursor; c != nil {
		e.Cursor = &source.Cursor{From: c.From, Parameter: c.Parameter}
	}
	for name, v := range h.Headers {
		e.Headers[name] = func(ctx context.Context) ([]byte, error) {
			text, err := readValue(ctx, secrets, v)
			return []byte(text), err
		}
	}
	if h.Auth.Header != nil {
		e.Headers[h.Auth.Header.Name] = read(h.Auth.Header.Value)
	}
	if h.Auth.Basic != nil {
		e.Username, e.Password = h.Auth.Basic.Username, read(h.Auth.Basic.Password)
	}
	return e
}

// livingTransport tells of every answer.
type livingTransport struct {
	next  http.RoundTripper
	alive func()
}

func (t livingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	defer t.alive()
	return t.next.RoundTrip(req)
}

// CloseIdleConnections passes on what http.Client asks for.
func (t livingTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// newExportTokens puts a token of the export's own client on requests to it.
// Tokens are kept in dir beside those of uploads. What is returned with the
// transport ends the cache.
func (a *app) newExportTokens(h *config.HTTP, base http.RoundTripper, dir string, log *slog.Logger) (http.RoundTripper, func() error, error) {
	c, secrets := h.Auth.ClientCredentials.AsAuth(), a.resolver(tokencache.NewKeyring())
	auth, err := newTransport(h.CAFile, 1, 30*time.Second)
	if err != nil {
		return nil, nil, err
	}
	dir = filepath.Join(dir, "tokens")
	conf := tokencache.Config{
		Issuer: c.Issuer, TokenURL: c.TokenURL, ClientID: c.ClientID,
		Secret: func(ctx context.Context) ([]byte, error) {
			s, err := readCredentials(ctx, secrets, c)
			return s.Reveal(), err
		},
		AuthStyle: tokencache.AuthStyle(c.AuthStyle), Scopes: c.Scopes, CheckScope: true, As: c.As,
		Store: tokencache.NewFileStore(dir, log), LockDir: dir, Transport: auth, Logger: log,
	}
	if c.SendsAudience() {
		conf.Audience = c.Audience
	}
	if assert := newAsserter(c); assert != nil {
		conf.AuthStyle, conf.Assert = tokencache.AuthAssertion, assert
	}
	cache, err := tokencache.New(conf)
	if err != nil {
		return nil, nil, err
	}
	after := func() error {
		err := cache.Close()
		auth.CloseIdleConnections()
		return err
	}
	return exportTokens{&tokencache.Transport{Base: base, Cache: cache, Origins: []string{h.URL}}}, after, nil
}

// exportTokens marks errors of the token layer as those of a source.
type exportTokens struct{ next http.RoundTripper }

func (t exportTokens) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	var (
		refused     *tokencache.RefusedError
		scope       *tokencache.ScopeError
		secret      *tokencache.SecretError
		unavailable *tokencache.UnavailableError
		hint        interface{ Hint() string }
	)
	e := &source.Error{Message: "no token for the export", HintText: "check http.auth.client_credentials", Err: err}
	switch {
	case errors.As(err, &refused), errors.As(err, &scope), errors.As(err, &secret):
		e.Refused = true
		if errors.As(err, &hint) && hint.Hint() != "" {
			e.HintText += ": " + hint.Hint()
		}
	case errors.As(err, &unavailable):
		e.HintText = "run again later; " + unavailable.Hint()
	default:
		return nil, err
	}
	return nil, e
}

// CloseIdleConnections passes on what http.Client asks for.
func (t exportTokens) CloseIdleConnections() {
	if tokens, ok := t.next.(*tokencache.Transport); ok {
		if c, ok := tokens.Base.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}
