package tokencache

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	lockWait = 30 * time.Second
	lockPoll = 50 * time.Millisecond
)

// obtain takes a token over from the store, or fetches one under the lock.
func (c *Cache) obtain(ctx context.Context, soft bool, least time.Duration) (*held, error) {
	kept := c.stored(ctx)
	if h := c.takeOver(kept, soft, least); h != nil {
		return h, nil
	}
	unlock, err := c.lock(ctx, lockWait)
	if err != nil {
		if c.life.Err() != nil {
			return nil, ErrClosed
		}
		if file, ok := errors.AsType[*FileError](err); ok && c.cfg.Grant == GrantLogin {
			return nil, file
		}
		if c.cfg.Grant == GrantLogin {
			// A refresh token sent twice ends the login; that is worse than a run that comes too late.
			return nil, &UnavailableError{Endpoint: "the login", Err: fmt.Errorf("its lock cannot be had: %w", err)}
		}
		// A token too many is better than a run that waits for a stuck process.
		c.warnLock.Do(func() {
			c.log.LogAttrs(ctx, slog.LevelWarn, "token lock not obtained, fetching without it", slog.Any("err", err))
		})
	} else {
		defer unlock()
		now := c.stored(ctx)
		if now.AccessToken != kept.AccessToken {
			least = 0 // it came while we waited, so that another would live no longer
		}
		if h := c.takeOver(now, soft, least); h != nil {
			return h, nil
		}
	}
	e, err := c.fetch(ctx)
	if err != nil {
		return nil, err
	}
	c.tokens.Add(1)
	if c.cfg.Store != nil {
		if err := c.cfg.Store.Save(ctx, c.key, e); err != nil {
			c.warnAboutStore(ctx, err)
		}
	}
	sum := sha256.Sum256([]byte(e.AccessToken))
	h := hold(e, time.Now())
	c.mu.Lock()
	// Some servers hand out the same token again until it ends; the server's word is newer than the API's.
	c.rejected = slices.DeleteFunc(c.rejected, func(d [sha256.Size]byte) bool { return d == sum })
	c.mu.Unlock()
	return h, nil
}

// stored is what the store holds; empty where that is nothing.
func (c *Cache) stored(ctx context.Context) Entry {
	if c.cfg.Store == nil {
		return Entry{}
	}
	e, err := c.cfg.Store.Load(ctx, c.key)
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			c.warnAboutStore(ctx, err)
		}
		return Entry{}
	}
	return e
}

// takeOver returns what the store holds where it can be used.
func (c *Cache) takeOver(e Entry, soft bool, least time.Duration) *held {
	now := time.Now()
	if !e.sane(now) {
		return nil
	}
	h := hold(e, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.acceptable(h, now, soft, least) {
		return nil
	}
	c.storeHits.Add(1)
	return h
}

// lock keeps other processes from fetching the same token. The lock file is never removed: a waiter may have it open.
func (c *Cache) lock(ctx context.Context, wait time.Duration) (func(), error) {
	if c.cfg.LockDir == "" {
		return func() {}, nil
	}
	if err := privateDir(c.cfg.LockDir); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	path := filepath.Join(c.cfg.LockDir, c.loginKey+".lock")
	l := flock.New(path, flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(waiting, lockPoll); err != nil {
		_ = l.Close()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil, &LockError{Path: path, Waited: wait}
		}
		return nil, err
	}
	return func() { _ = l.Unlock() }, nil
}

// fetch asks the authorization server, unless it lately said no.
func (c *Cache) fetch(ctx context.Context) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if c.cfg.Grant == GrantLogin {
		return c.refresh(ctx)
	}
	secret, err := c.secret(ctx)
	if err != nil {
		return Entry{}, err
	}
	now := time.Now()
	if err := c.cooling(secret, now); err != nil {
		return Entry{}, err
	}
	if err := c.stillBusy(now); err != nil {
		return Entry{}, err
	}
	endpoint, err := c.endpoint(ctx)
	if err != nil {
		return Entry{}, err
	}
	e, err := c.request(ctx, endpoint, secret)
	if refused := (*RefusedError)(nil); errors.As(err, &refused) && refused.Code == "invalid_client" {
		// The secret may have been rotated while we asked. Only other bytes are worth a second request.
		fresh, rerr := c.secret(ctx)
		if rerr == nil && subtle.ConstantTimeCompare(fresh, secret) == 0 {
			secret = fresh
			e, err = c.request(ctx, endpoint, secret)
		}
	}
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		c.coolDown(ctx, refused, secret)
	}
	if down := (*UnavailableError)(nil); errors.As(err, &down) && down.RetryAfter > 0 {
		c.leaveAlone(ctx, down)
	}
	if err == nil {
		c.mu.Lock()
		c.busy, c.cool = nil, nil
		c.mu.Unlock()
		c.forgetRefusal()
	}
	return e, err
}

func (c *Cache) secret(ctx context.Context) ([]byte, error) {
	what := ""
	if c.cfg.AuthStyle == AuthAssertion {
		what = "client credentials"
	}
	s, err := c.cfg.Secret(ctx)
	if err == nil && len(s) == 0 {
		err = errors.New("is empty")
	}
	if err != nil {
		return nil, &SecretError{Err: err, what: what}
	}
	return s, nil
}

// request sends one token request and reads its answer.
func (c *Cache) request(ctx context.Context, endpoint string, secret []byte) (Entry, error) {
	// Made anew for each request: the library's token source would keep the token and the context.
	conf := clientcredentials.Config{
		ClientID: c.cfg.ClientID, ClientSecret: string(secret), TokenURL: endpoint, Scopes: c.cfg.Scopes,
		EndpointParams: c.cfg.params(), AuthStyle: c.cfg.libraryStyle(),
	}
	var with proof
	if c.cfg.AuthStyle == AuthAssertion {
		conf.ClientSecret = ""
		with.make = func() (string, error) { return c.assert(secret, endpoint) }
		ctx = context.WithValue(ctx, proofKey{}, &with)
	}
	tok, rec, asked, err := c.ask(ctx, &conf)
	if err != nil {
		return Entry{}, c.classify(endpoint, append(with.sent, string(secret)), rec, err)
	}
	return c.entry(ctx, endpoint, tok, rec, asked, c.asked()), nil
}

// ask sends the token request that conf describes. There may be a token beside an error: one that cannot be used as it is.
func (c *Cache) ask(ctx context.Context, conf *clientcredentials.Config) (tok *oauth2.Token, rec *recorder, asked time.Time, err error) {
	rec = &recorder{next: c.http}
	client := &http.Client{Transport: rec, CheckRedirect: noRedirects}
	asked = time.Now().Round(0)
	tok, err = conf.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	c.noteQuota(ctx, rec.header, asked)
	if err == nil && rec.expiresErr == nil {
		err = checkToken(tok)
	} else if err == nil {
		err = &answerError{rec.expiresErr.Error()}
	}
	return tok, rec, asked, err
}

// entry is what an answer grants; without, where it names no scopes.
func (c *Cache) entry(ctx context.Context, endpoint string, tok *oauth2.Token, rec *recorder, asked time.Time, without []string) Entry {
	life := lifetime(rec.expiresIn, rec.expiresStated)
	if rec.expiresStated && rec.expiresIn <= 0 {
		c.log.LogAttrs(ctx, slog.LevelWarn, "token answer has no usable expires_in", slog.Int64("expires_in", rec.expiresIn), slog.Duration("assumed", life))
	}
	expires := asked.Add(life)
	issuer := c.cfg.Issuer
	if issuer == "" {
		issuer = endpointName(endpoint)
	}
	return Entry{
		AccessToken: tok.AccessToken, Scopes: grantedScopes(tok.Extra("scope"), without), ObtainedAt: asked, ExpiresAt: expires,
		RefreshAt: refreshAt(expires, life), Issuer: issuer, ClientID: c.cfg.ClientID, Allotments: allotments(rec.header, asked),
	}
}

// asked is what an answer without a scope grants. Where the server has names of its own, it granted those.
func (c *Cache) asked() []string {
	if c.cfg.CheckScope && len(c.cfg.ExpectedScopes) > 0 {
		return sorted(slices.Concat(c.cfg.Scopes, c.cfg.ExpectedScopes))
	}
	return sorted(c.cfg.Scopes)
}

// classify turns the library's error into ours. The library's holds the raw answer and, in its request, the secret; it
// goes no further.
func (c *Cache) classify(endpoint string, secrets []string, rec *recorder, err error) error {
	name := endpointName(endpoint)
	var bad *answerError
	var lib *oauth2.RetrieveError
	var unproven *SecretError
	isLib := errors.As(err, &lib)
	switch {
	case errors.As(err, &unproven):
		return unproven
	case rec.status == 0:
		return &UnavailableError{Endpoint: name, Err: plainError(err)}
	case rec.err != nil:
		if errors.Is(rec.err, errTooLarge) {
			return c.refuse(name, CodeInvalidResponse, rec.err.Error(), rec.status, secrets)
		}
		return &UnavailableError{Endpoint: name, Status: rec.status, Err: rec.err}
	case rec.status == http.StatusTooManyRequests, rec.status == http.StatusRequestTimeout, rec.status == http.StatusTooEarly, rec.status >= 500:
		return &UnavailableError{Endpoint: name, Status: rec.status, RetryAfter: rec.wait()}
	case isLib && (lib.ErrorCode == "temporarily_unavailable" || lib.ErrorCode == "server_error"):
		return &UnavailableError{Endpoint: name, Status: rec.status, RetryAfter: rec.wait()}
	case isLib && lib.ErrorCode != "":
		return c.refuse(name, quoteCode(lib.ErrorCode), lib.ErrorDescription, rec.status, secrets)
	case rec.status >= 300 && rec.status < 400:
		return c.refuse(name, CodeRedirect, "redirects are not followed with credentials", rec.status, secrets)
	case rec.status >= 400:
		return c.refuse(name, fmt.Sprintf("http_%d", rec.status), "", rec.status, secrets)
	case errors.As(err, &bad):
		return c.refuse(name, CodeInvalidResponse, bad.problem, rec.status, secrets)
	case rec.html():
		return c.refuse(name, CodeInvalidResponse, "the answer is an HTML page, not a token", rec.status, secrets)
	}
	return c.refuse(name, CodeInvalidResponse, "the answer holds no access token", rec.status, secrets)
}

func (c *Cache) refuse(endpoint, code, description string, status int, secrets []string) *RefusedError {
	return &RefusedError{
		Code: code, Description: quote(c.mask(description, secrets), 200), Status: status, Endpoint: endpoint,
		hint: c.hint(code, secrets[len(secrets)-1]),
	}
}

// mask takes the secrets out of a server's text, in each form in which we sent them.
func (c *Cache) mask(s string, secrets []string) string {
	var hide []string
	for _, plain := range secrets {
		escaped := url.QueryEscape(plain)
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.cfg.ClientID) + ":" + escaped))
		hide = append(hide, basic, "REDACTED", escaped, "REDACTED", plain, "REDACTED")
	}
	return strings.NewReplacer(hide...).Replace(s)
}

func (c *Cache) hint(code, secret string) string {
	if c.cfg.AuthStyle == AuthAssertion && (code == "invalid_client" || code == "invalid_grant" || code == "invalid_request") {
		return "check auth.client_id, that the server knows this key (or trusts who made the assertion), auth.assertion_audience, and this machine's clock: `tsupload doctor`"
	}
	switch code {
	case "invalid_client":
		if c.cfg.AuthStyle == AuthBasic && url.QueryEscape(secret) != secret {
			return "check client_id and secret; the secret has reserved characters, which some servers do not decode with basic: try auth.auth_style: post"
		}
		return "check auth.client_id, the client secret, and auth.auth_style (basic or post)"
	case "unauthorized_client", "unsupported_grant_type":
		return "allow the client-credentials grant for this client at the authorization server"
	case "invalid_scope":
		return "check auth.scopes, and that the scopes are granted to this client"
	case "access_denied", "invalid_target":
		return "check auth.audience (or auth.resource), and that this client may use that API"
	case "http_404", "http_405", CodeRedirect:
		return "check auth.issuer or auth.token_url"
	case CodeInvalidResponse:
		return "check that auth.issuer or auth.token_url is the authorization server, and that no proxy answers in its place"
	}
	return "check the auth section of the configuration against the authorization server"
}
