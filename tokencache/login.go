package tokencache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// LoginError says that there is no login from which a token could be made: nobody logged in, or the login has ended.
type LoginError struct {
	// Problem says which of it.
	Problem string
	// Err is the reason; nil when there is none beyond Problem.
	Err error

	hint string
}

// Error implements error.
func (e *LoginError) Error() string {
	if e.Err == nil {
		return "not logged in: " + e.Problem
	}
	return fmt.Sprintf("not logged in: %s: %v", e.Problem, e.Err)
}

// Unwrap gives the reason.
func (e *LoginError) Unwrap() error { return e.Err }

// Hint tells the reader what to do.
func (e *LoginError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "log in with `tsupload auth login`"
}

// loginKey names the login: whose it is and at which server, not what it allows. So a login is found again when other
// scopes are wanted, and says that they are missing.
func (c *Config) loginKey() (string, error) {
	id := struct {
		Version   int      `json:"version"`
		Issuer    string   `json:"issuer"`
		TokenURL  string   `json:"token_url"`
		ClientID  string   `json:"client_id"`
		Kind      string   `json:"kind"`
		Audience  string   `json:"audience"`
		Resources []string `json:"resources"`
		As        string   `json:"as"`
		Subject   string   `json:"subject"`
	}{entryVersion, c.Issuer, c.TokenURL, c.ClientID, "login", c.Audience, sorted(c.Resources), c.As, c.Subject}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(id); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// Probe says whether a login could be kept: the lock can be had, and its directory written. It is asked before a person
// logs in, who would do so for nothing. The error is a *FileError where a file or directory is at fault.
func (c *Cache) Probe(ctx context.Context) error {
	unlock, err := c.lock(ctx, lockWait)
	if err != nil {
		return fmt.Errorf("lock the login: %w", err)
	}
	defer unlock()
	if c.cfg.LockDir == "" {
		return nil
	}
	return tryDir(c.cfg.LockDir)
}

// Adopt keeps what a login yielded: access token, refresh token where the server gave one, and the scopes granted.
// ObtainedAt is the moment before the request; a zero ExpiresAt means that the server did not say. It replaces the login
// before, if there was one, under the lock that a refresh holds too. before is the refresh token of that one, which nobody
// knows any more and the server still takes; empty where there is none. An error means that nothing could be kept.
func (c *Cache) Adopt(ctx context.Context, e Entry) (before string, err error) {
	if c.cfg.Store == nil {
		return "", errors.New("there is no store for a login")
	}
	if c.cfg.Grant != GrantLogin || e.AccessToken == "" {
		return "", errors.New("there is no login to keep")
	}
	unlock, err := c.lock(ctx, lockWait)
	if err != nil {
		return "", fmt.Errorf("lock the login: %w", err)
	}
	defer unlock()
	// Both are good by now, so they are kept whatever becomes of the caller.
	ctx = context.WithoutCancel(ctx)
	access, login := e, e
	access.RefreshToken, login.AccessToken = "", ""
	life := e.ExpiresAt.Sub(e.ObtainedAt)
	if life = lifetime(int64(life/time.Second), !e.ExpiresAt.IsZero()); life > 0 {
		access.ExpiresAt = e.ObtainedAt.Add(life)
		access.RefreshAt = refreshAt(access.ExpiresAt, life)
	}
	login.ExpiresAt, login.RefreshAt = time.Time{}, time.Time{}
	// Some servers answer a login with the refresh token that they gave before.
	if old, lerr := c.loadLogin(ctx); lerr == nil && old.RefreshToken != e.RefreshToken {
		before = old.RefreshToken
	}
	c.unsaved = nil
	if e.RefreshToken == "" {
		err = c.cfg.Store.Delete(ctx, c.loginKey) // that of the person before
	} else {
		err = c.cfg.Store.Save(ctx, c.loginKey, login)
	}
	if err != nil {
		return "", fmt.Errorf("keep the login: %w", err)
	}
	if err := c.cfg.Store.Save(ctx, c.key, access); err != nil {
		_ = c.cfg.Store.Delete(ctx, c.loginKey) // who is told that nothing is kept gives it back
		return "", fmt.Errorf("keep the access token: %w", err)
	}
	now := time.Now()
	c.mu.Lock()
	c.mem, c.busy, c.cool, c.busyUntil, c.rejected = hold(access, now), nil, nil, time.Time{}, nil
	c.mu.Unlock()
	c.forgetRefusal()
	return before, nil
}

// Login tells of the login that is kept: since when its refresh token is, and the scopes that were granted. Its entry
// holds the refresh token; it is ErrNotFound where there is none.
func (c *Cache) Login(ctx context.Context) (Entry, error) {
	if c.cfg.Store == nil {
		return Entry{}, ErrNotFound
	}
	return c.cfg.Store.Load(ctx, c.loginKey)
}

// Place says where the login is kept, "keyring" or the path of a file, and why it is not in the keyring where it was to be;
// empty where there is none, or the store does not tell.
func (c *Cache) Place(ctx context.Context) (where string, why error) {
	store, ok := c.cfg.Store.(interface {
		Place(ctx context.Context, key string) (string, error)
	})
	if !ok {
		return "", nil
	}
	for _, key := range []string{c.loginKey, c.key} {
		if where, why = store.Place(ctx, key); where != "" {
			return where, why
		}
	}
	return "", nil
}

// CheckScopes compares what was granted with what is expected. The error is a *ScopeError.
func (c *Cache) CheckScopes(granted []string) error {
	if missing := c.missing(granted); len(missing) > 0 {
		return c.scopeError(granted, missing)
	}
	return nil
}

// Logout ends the login: it gives the refresh token back to the server, then the access token (RFC 7009), and deletes
// both from the store, also where they cannot be read. was says whether there was anything. told is why the server could not be told, nil where it was;
// the tokens are deleted all the same, but may live on at the server until they expire. err says that something could
// not be deleted.
func (c *Cache) Logout(ctx context.Context) (was bool, told, err error) {
	if c.cfg.Store == nil {
		return false, nil, nil
	}
	unlock, err := c.lock(ctx, lockWait)
	if err != nil {
		return false, nil, fmt.Errorf("lock the login: %w", err)
	}
	defer unlock()
	var tokens []revocable
	var unread error
	for _, kept := range []struct{ key, hint string }{{c.loginKey, "refresh_token"}, {c.key, "access_token"}} {
		e, lerr := c.cfg.Store.Load(ctx, kept.key)
		switch {
		case errors.Is(lerr, ErrNotFound):
			continue
		case lerr != nil:
			was = true
			unread = cmp.Or(unread, fmt.Errorf("what is kept cannot be read: %w", lerr))
			continue
		}
		was = true
		if token := e.AccessToken + e.RefreshToken; token != "" {
			tokens = append(tokens, revocable{token, kept.hint})
		}
	}
	if len(tokens) > 0 {
		told = c.revoke(ctx, tokens)
	}
	told = cmp.Or(unread, told)
	ctx = context.WithoutCancel(ctx)
	for _, key := range []string{c.loginKey, c.key} {
		if derr := c.cfg.Store.Delete(ctx, key); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	c.unsaved = nil
	c.mu.Lock()
	c.mem, c.busy, c.cool, c.busyUntil = nil, nil, nil, time.Time{}
	c.mu.Unlock()
	c.forgetRefusal()
	return was, told, err
}

// Revoke gives tokens back to the server (RFC 7009), the refresh token first; what is empty is left out. It is for tokens
// that are not kept. The error is why the server could not be told.
func (c *Cache) Revoke(ctx context.Context, refresh, access string) error {
	var tokens []revocable
	if refresh != "" {
		tokens = append(tokens, revocable{refresh, "refresh_token"})
	}
	if access != "" {
		tokens = append(tokens, revocable{access, "access_token"})
	}
	if len(tokens) == 0 {
		return nil
	}
	return c.revoke(ctx, tokens)
}

// loadLogin reads the login. Whoever calls it holds the lock.
func (c *Cache) loadLogin(ctx context.Context) (Entry, error) {
	if c.unsaved != nil {
		return *c.unsaved, nil
	}
	e, err := c.Login(ctx)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && e.RefreshToken == "":
		if old, ok := c.Peek(ctx); ok {
			return Entry{}, &LoginError{Problem: "the login ended at " + old.ExpiresAt.Local().Format("2006-01-02 15:04") + ", and the authorization server gave nothing to prolong it with"}
		}
		return Entry{}, &LoginError{Problem: "there is no login of this user for this server and client"}
	case err != nil:
		return Entry{}, &LoginError{Problem: "the login cannot be read", Err: err, hint: hintOr(err, "mend that, or log in anew with `tsupload auth login`")}
	}
	return e, nil
}

// dropLogin deletes the login if it still holds the very token that failed.
func (c *Cache) dropLogin(ctx context.Context, refresh string) {
	if c.unsaved != nil && c.unsaved.RefreshToken == refresh {
		c.unsaved = nil
	}
	e, err := c.Login(ctx)
	if err != nil || e.RefreshToken != refresh {
		return
	}
	if err := c.cfg.Store.Delete(ctx, c.loginKey); err != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "login that has ended not deleted", slog.Any("err", err))
	}
}

func hintOr(err error, other string) string {
	if _, ok := errors.AsType[*KeyringError](err); ok {
		return "unlock the keyring, or log in anew with `tsupload auth login`"
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return other
}
