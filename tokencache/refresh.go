package tokencache

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// refresh makes an access token from the login. The caller holds the lock between processes, so nobody else sends the
// same refresh token meanwhile. A crash leaves:
//
//   - before the request: the login as it was;
//   - between the answer and Save: the refresh token that was sent, which a server with rotation may take once more for a
//     short while (most do, for answers that get lost), and otherwise the person has to log in again;
//   - after Save: the new refresh token, and no access token. The next fetch refreshes once more.
func (c *Cache) refresh(ctx context.Context) (Entry, error) {
	login, err := c.loadLogin(ctx)
	if err != nil {
		return Entry{}, err
	}
	if err := c.cooling([]byte(login.RefreshToken), time.Now()); err != nil {
		return Entry{}, err
	}
	if err := c.stillBusy(time.Now()); err != nil {
		return Entry{}, err
	}
	endpoint, err := c.endpoint(ctx)
	if err != nil {
		return Entry{}, err
	}
	e, err := c.exchange(ctx, endpoint, login)
	if ended(err) {
		// Somebody may have logged in again, or refreshed without our lock, while we asked. Only another token is worth a
		// second request.
		if fresh, lerr := c.loadLogin(ctx); lerr == nil && fresh.RefreshToken != login.RefreshToken {
			login = fresh
			e, err = c.exchange(ctx, endpoint, login)
		}
	}
	var refused *RefusedError
	var down *UnavailableError
	switch {
	case err == nil:
		c.mu.Lock()
		c.busy, c.cool = nil, nil
		c.mu.Unlock()
		c.forgetRefusal()
	case ended(err):
		// Whatever becomes of the caller: the token is of no use any more.
		c.dropLogin(context.WithoutCancel(ctx), login.RefreshToken)
		return Entry{}, &LoginError{Problem: "the login has ended", Err: err}
	case errors.As(err, &refused):
		c.coolDown(ctx, refused, []byte(login.RefreshToken))
	case errors.As(err, &down) && down.RetryAfter > 0:
		c.leaveAlone(ctx, down)
	}
	return e, err
}

// ended says whether the server no longer takes the refresh token: expired, revoked, or used before.
func ended(err error) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && refused.Code == "invalid_grant"
}

// exchange sends the refresh token, keeps the one that comes back, and only then returns the access token.
func (c *Cache) exchange(ctx context.Context, endpoint string, login Entry) (Entry, error) {
	conf, err := c.loginClient(ctx, endpoint)
	if err != nil {
		return Entry{}, err
	}
	params := c.cfg.params()
	params.Set("grant_type", string(GrantLogin))
	params.Set("refresh_token", login.RefreshToken)
	// Without a scope: the answer then has all that the person granted (RFC 6749 section 6).
	conf.EndpointParams = params
	tok, rec, asked, err := c.ask(ctx, &conf)
	if tok != nil && tok.RefreshToken != "" && tok.RefreshToken != login.RefreshToken {
		// First of all, and even where the rest of the answer is of no use: the one that was sent is spent.
		next := login
		next.RefreshToken, next.ObtainedAt = tok.RefreshToken, asked
		next.Scopes = grantedScopes(tok.Extra("scope"), login.Scopes)
		c.saveLogin(context.WithoutCancel(ctx), next)
	}
	if err != nil {
		err = c.loginRefusal(c.classify(endpoint, []string{login.RefreshToken}, rec, err))
		if refused, ok := errors.AsType[*RefusedError](err); ok && conf.ClientSecret != "" {
			refused.Description = c.mask(refused.Description, []string{conf.ClientSecret})
		}
		return Entry{}, err
	}
	return c.entry(ctx, endpoint, tok, rec, asked, login.Scopes), nil
}

// saveLogin keeps a refresh token before anything is done with what came along with it.
func (c *Cache) saveLogin(ctx context.Context, e Entry) {
	c.unsaved = nil
	if err := c.cfg.Store.Save(ctx, c.loginKey, e); err != nil {
		c.unsaved = &e
		c.log.LogAttrs(ctx, slog.LevelWarn, "login not saved, it ends with this process", slog.Any("err", err))
	}
}

// loginClient is the client as the token endpoint knows it: public where there is no secret.
func (c *Cache) loginClient(ctx context.Context, endpoint string) (clientcredentials.Config, error) {
	conf := clientcredentials.Config{ClientID: c.cfg.ClientID, TokenURL: endpoint, AuthStyle: oauth2.AuthStyleInParams}
	if c.cfg.Secret == nil {
		return conf, nil
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return conf, err
	}
	conf.ClientSecret, conf.AuthStyle = string(secret), c.cfg.libraryStyle()
	return conf, nil
}

// loginRefusal gives a refusal the hints of a login; those of a machine's credentials would lead astray.
func (c *Cache) loginRefusal(err error) error {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		return err
	}
	switch refused.Code {
	case "invalid_grant":
		refused.hint = "log in with `tsupload auth login`"
	case "invalid_client", "unauthorized_client", "unsupported_grant_type":
		refused.hint = "check auth.client_id: it has to be a client at which people log in (native, public), with the refresh-token grant"
	}
	return refused
}

// revocable is a token to give back.
type revocable struct{ token, hint string }

// revoke gives tokens back in the order given. It goes on after a failure and returns the first.
func (c *Cache) revoke(ctx context.Context, tokens []revocable) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout/2)
	defer cancel()
	m, err := c.Metadata(ctx)
	if err != nil {
		return err
	}
	if m.RevocationEndpoint == "" {
		return errors.New("the authorization server has no endpoint to revoke tokens at")
	}
	for _, t := range tokens {
		if rerr := c.revokeOne(ctx, m.RevocationEndpoint, t); rerr != nil && err == nil {
			err = rerr
		}
	}
	return err
}

func (c *Cache) revokeOne(ctx context.Context, endpoint string, t revocable) error {
	form := url.Values{"token": {t.token}, "token_type_hint": {t.hint}}
	var secret []byte
	if c.cfg.Secret == nil {
		form.Set("client_id", c.cfg.ClientID)
	} else {
		var err error
		if secret, err = c.secret(ctx); err != nil {
			return err
		}
		if c.cfg.AuthStyle == AuthPost {
			form.Set("client_id", c.cfg.ClientID)
			form.Set("client_secret", string(secret))
		}
	}
	req, err := formRequest(ctx, endpoint, form)
	if err != nil {
		return err
	}
	if secret != nil && c.cfg.AuthStyle != AuthPost {
		req.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(string(secret)))
	}
	resp, err := (&http.Client{Transport: c.http, CheckRedirect: noRedirects}).Do(req)
	if err != nil {
		return &UnavailableError{Endpoint: endpointName(endpoint), Err: plainError(err)}
	}
	drain(resp)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return &UnavailableError{Endpoint: endpointName(endpoint), Status: resp.StatusCode}
	}
	return nil
}
