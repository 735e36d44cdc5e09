package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

// identity is whose name uploads go out in.
type identity struct {
	cache     *tokencache.Cache
	transport *tokencache.Transport
	network   []*http.Transport
	metrics   *meter // nil: nobody counts
}

// Close leaves no connection behind: a daemon makes an identity for each run.
func (i *identity) Close() error {
	err := i.cache.Close()
	for _, t := range i.network {
		t.CloseIdleConnections()
	}
	if i.metrics != nil {
		s := i.cache.Stats()
		i.metrics.TokenFetches(s.Tokens, s.Failures, s.StoreHits, s.Invalidated)
	}
	return err
}

// newIdentity makes the token cache and the transport above it.
func (a *app) newIdentity(cfg *config.Config, log *slog.Logger) (*identity, error) {
	auth, err := newTransport(cfg.Auth.CAFile, 1, 30*time.Second)
	if err != nil {
		return nil, err
	}
	cache, err := a.newCacheOver(&punctual{next: auth, who: "authorization server", log: log}, cfg, log)
	if err != nil {
		return nil, err
	}
	network, err := newTransport(cfg.API.CAFile, cfg.API.Concurrency, cfg.API.Timeout)
	if err != nil {
		return nil, err
	}
	// The uploader gives each attempt this time as a whole; a second timer for
	// its first half would only cost.
	network.ResponseHeaderTimeout = 0
	var base http.RoundTripper = &punctual{next: network, who: "API", log: log}
	if a.metrics != nil {
		base = a.metrics.Transport(base)
	}
	return &identity{
		cache: cache, transport: &tokencache.Transport{Base: base, Cache: cache, Origins: []string{cfg.API.URL}}, network: []*http.Transport{auth, network},
		metrics: a.metrics,
	}, nil
}

// newCache makes a token cache for a command, which ends soon.
func (a *app) newCache(cfg *config.Config, log *slog.Logger) (*tokencache.Cache, error) {
	auth, err := newTransport(cfg.Auth.CAFile, 1, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return a.newCacheOver(auth, cfg, log)
}

func (a *app) newCacheOver(base http.RoundTripper, cfg *config.Config, log *slog.Logger) (*tokencache.Cache, error) {
	ring := tokencache.NewKeyring()
	secrets := a.resolver(ring)
	params := url.Values{}
	for name, value := range cfg.Auth.Params {
		params.Set(name, value)
	}
	c := tokencache.Config{
		Issuer: cfg.Auth.Issuer, TokenURL: cfg.Auth.TokenURL, ClientID: cfg.Auth.ClientID,
		Secret: func(ctx context.Context) ([]byte, error) {
			s, err := readCredentials(ctx, secrets, &cfg.Auth)
			crash.Point("C11") // a token is about to be asked for
			return s.Reveal(), err
		},
		AuthStyle: tokencache.AuthStyle(cfg.Auth.AuthStyle), Scopes: cfg.Auth.Scopes, ExpectedScopes: cfg.Auth.ExpectedScopes, CheckScope: cfg.Auth.CheckScope,
		ExpectedAudiences: cfg.Auth.TokenAudiences(), ScopeClaims: cfg.Auth.ScopeClaims, Resources: cfg.Auth.Resource, Params: params, As: cfg.Auth.As,
		Store: newTokenStore(cfg, ring, log), LockDir: tokenDir(cfg), Transport: base, Logger: log,
	}
	if cfg.Auth.SendsAudience() {
		c.Audience = cfg.Auth.Audience
	}
	switch assert := newAsserter(&cfg.Auth); {
	case cfg.Auth.As == "person":
		c.Grant = tokencache.GrantLogin
		if cfg.Auth.ClientSecret.IsZero() {
			c.Secret = nil // a public client; a secret lying about is the machine's
		}
	case assert != nil:
		c.AuthStyle, c.Assert = tokencache.AuthAssertion, assert
	}
	return tokencache.New(c)
}

// readCredentials reads what proves who the client is: its secret, the key that
// it signs with, or what the platform signed for it.
func readCredentials(ctx context.Context, secrets *config.Resolver, auth *config.Auth) (config.Secret, error) {
	var s config.Secret
	var err error
	what := ""
	switch auth.ClientAuth() {
	case "private_key":
		what = "private key"
		s, err = secrets.Read(ctx, auth.PrivateKey)
	case "assertion":
		what = "assertion"
		s, err = secrets.Read(ctx, auth.Assertion)
	default:
		s, err = secrets.ClientSecret(ctx, auth.ClientSecret)
	}
	if unread, ok := errors.AsType[*config.SecretError](err); ok {
		unread.What = what
	}
	return s, err
}

// newAsserter makes assertions out of what readCredentials read; nil where a
// secret is sent as it is.
func newAsserter(auth *config.Auth) func([]byte, tokencache.Recipient) (string, error) {
	switch auth.ClientAuth() {
	case "private_key":
		return func(secret []byte, to tokencache.Recipient) (string, error) {
			key, err := login.ParseKey(secret, auth.SigningAlg, auth.PrivateKeyID)
			if err != nil {
				return "", err
			}
			audience := to.Issuer
			if auth.AssertionAudience == "token_endpoint" {
				audience = to.TokenURL
			}
			return key.Assertion(auth.ClientID, audience, time.Now())
		}
	case "assertion":
		return func(secret []byte, _ tokencache.Recipient) (string, error) {
			text := strings.TrimSpace(string(secret))
			// Whether it has expired, the server's clock decides.
			if expires, err := login.CheckAssertion(text, time.Now()); err != nil && expires.IsZero() {
				return "", err
			}
			return text, nil
		}
	}
	return nil
}

// newTokenStore is where tokens are kept: what a login yields in the keyring,
// if there is one.
func newTokenStore(cfg *config.Config, ring *tokencache.Keyring, log *slog.Logger) tokencache.Store {
	file := tokencache.NewFileStore(tokenDir(cfg), log)
	inRing := tokencache.NewKeyringStore(ring)
	var store tokenStore
	switch {
	case cfg.Auth.TokenStore == "keyring":
		store = inRing
	case cfg.Auth.TokenStore == "auto" && cfg.Auth.As == "person":
		store = tokencache.NewFallbackStore(inRing, file, log)
	default:
		store = file
	}
	return dyingStore{store}
}

// dyingStore marks what a crash between the steps of a refresh leaves.
type dyingStore struct{ tokenStore }

// tokenStore also tells where it keeps things.
type tokenStore interface {
	tokencache.Store
	Place(ctx context.Context, key string) (string, error)
}

// Save implements tokencache.Store.
func (s dyingStore) Save(ctx context.Context, key string, e tokencache.Entry) error {
	if e.RefreshToken == "" {
		return s.tokenStore.Save(ctx, key, e)
	}
	crash.Point("login-answered") // a refresh token was replaced at the server, and not here
	err := s.tokenStore.Save(ctx, key, e)
	crash.Point("login-saved") // nor is the access token that came with it kept
	return err
}

func tokenDir(cfg *config.Config) string { return filepath.Join(cfg.State.Dir, "tokens") }

// tokenErrors marks errors of the layers below, so that the uploader knows that
// nothing was sent, without knowing those layers.
type tokenErrors struct{ next http.RoundTripper }

func (t tokenErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	return nil, markToken(err)
}

func markToken(err error) error {
	var (
		refused     *tokencache.RefusedError
		scope       *tokencache.ScopeError
		secret      *tokencache.SecretError
		origin      *tokencache.OriginError
		unavailable *tokencache.UnavailableError
		ended       *tokencache.LoginError
		file        *tokencache.FileError
		panicked    *rescue.Error
		untrusted   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &panicked):
		return &uploader.StopError{Kind: uploader.StopBug, Err: err}
	case errors.As(err, &unavailable):
		return &uploader.StopError{Kind: uploader.StopUnreachable, Err: err}
	case errors.As(err, &refused), errors.As(err, &scope), errors.As(err, &secret), errors.As(err, &origin), errors.As(err, &ended):
		return &uploader.StopError{Kind: uploader.StopAuth, Err: err}
	case errors.As(err, &file):
		return &uploader.StopError{Kind: uploader.StopConfig, Err: err}
	case errors.As(err, &untrusted): // the API's, before a byte of the request could leave
		return &uploader.StopError{
			Kind: uploader.StopUnreachable, Message: "the API's certificate is not accepted", Err: untrusted,
			HintText: "nothing was sent: see whether api.url is right, the certificate on the server, and this machine's clock; api.ca_file names a private authority (`tsupload doctor` says more)",
		}
	}
	return err
}
