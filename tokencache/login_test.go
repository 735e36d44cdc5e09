package tokencache_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/internal/login/logintest"
	"github.com/exampleco/tsupload/tokencache"
)

// loginConfig is a person's, at s, with tokens in dir.
func loginConfig(s *logintest.Server, dir string, log *logBuffer) tokencache.Config {
	return tokencache.Config{
		Issuer: s.Issuer(), ClientID: logintest.ClientID, Grant: tokencache.GrantLogin, As: "person", Scopes: []string{"create:timesheets"}, CheckScope: true,
		Store: tokencache.NewFileStore(dir, nil), LockDir: dir, Logger: log.logger(), Timeout: 5 * time.Second,
	}
}

func newLoginCache(tb testing.TB, cfg tokencache.Config) *tokencache.Cache {
	tb.Helper()
	c, err := tokencache.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// logIn gets tokens from the server as a person would.
func logIn(tb testing.TB, s *logintest.Server) tokencache.Entry {
	tb.Helper()
	c := login.Config{
		Server:   login.Server{Issuer: s.Issuer(), AuthorizationEndpoint: s.URL + "/authorize", TokenEndpoint: s.URL + "/token"},
		ClientID: logintest.ClientID, Scopes: []string{"create:timesheets"},
	}
	t, err := c.WithBrowser(tb.Context(), login.Browser{Show: func(_ context.Context, address string) error {
		resp, err := http.Get(address)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return tokencache.Entry{AccessToken: t.Access, RefreshToken: t.Refresh, Scopes: t.Scopes, ObtainedAt: t.ObtainedAt, ExpiresAt: t.ExpiresAt, Issuer: s.Issuer(), ClientID: logintest.ClientID}
}

// past is the same login, whose access token ended.
func past(e tokencache.Entry) tokencache.Entry {
	e.ObtainedAt, e.ExpiresAt = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	return e
}

func mustAdopt(tb testing.TB, c *tokencache.Cache, e tokencache.Entry) {
	tb.Helper()
	if _, err := c.Adopt(tb.Context(), e); err != nil {
		tb.Fatal(err)
	}
}

func wantLoginError(tb testing.TB, err error, says string) {
	tb.Helper()
	var e *tokencache.LoginError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), says) || !strings.Contains(e.Hint(), "tsupload auth login") {
		tb.Errorf("got %v, want a LoginError that says %q", err, says)
	}
}

func wantNoSecrets(tb testing.TB, s *logintest.Server, texts ...string) {
	tb.Helper()
	for _, secret := range s.Secrets() {
		for _, text := range texts {
			if secret != "" && strings.Contains(text, secret) {
				tb.Errorf("a secret is in %q", text)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	c := newLoginCache(t, cfg)
	_, err := c.Token(t.Context())
	wantLoginError(t, err, "there is no login")
	if s.Requests("token:refresh_token") != 0 {
		t.Error("asked for a token without a login")
	}

	first := logIn(t, s)
	mustAdopt(t, c, first)
	if got := mustToken(t, c); got != first.AccessToken {
		t.Error("the token of the login is not used")
	}
	// Another process finds it, and no store knows the refresh token twice.
	if got := mustToken(t, newLoginCache(t, cfg)); got != first.AccessToken {
		t.Error("the token of the login is not found")
	}

	mustAdopt(t, c, past(logIn(t, s)))
	before, err := c.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c = newLoginCache(t, cfg)
	renewed := mustToken(t, c)
	after, err := c.Login(t.Context())
	if err != nil || after.RefreshToken == before.RefreshToken || after.AccessToken != "" || strings.Join(after.Scopes, " ") != "create:timesheets" {
		t.Errorf("the refresh token was not replaced: %v", err)
	}
	if mustToken(t, c) != renewed || s.Requests("token:refresh_token") != 1 {
		t.Errorf("got %d refreshes, want 1", s.Requests("token:refresh_token"))
	}

	// The API refuses the token: one refresh, with the new refresh token.
	c.Invalidate(renewed)
	if mustToken(t, c) == renewed || s.Requests("token:refresh_token") != 2 || !s.Alive() {
		t.Errorf("got %d refreshes, want 2; alive: %t", s.Requests("token:refresh_token"), s.Alive())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	wantNoSecrets(t, s, log.String())
}

// Many goroutines in many caches, as many processes are, with one token that ended: one refresh, and nobody is logged out.
func TestLoginParallel(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	mustAdopt(t, newLoginCache(t, cfg), past(logIn(t, s)))
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for range 8 {
		c := newLoginCache(t, cfg)
		for range 8 {
			wg.Go(func() {
				tok, err := c.Token(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[tok.Value]++
			})
		}
	}
	wg.Wait()
	if len(got) != 1 || s.Requests("token:refresh_token") != 1 || !s.Alive() {
		t.Errorf("got %d tokens by %d refreshes, alive: %t", len(got), s.Requests("token:refresh_token"), s.Alive())
	}
}

// savingStore tells what is saved, and may refuse it.
type savingStore struct {
	tokencache.Store

	save func(key string, e tokencache.Entry) error
}

func (s savingStore) Save(ctx context.Context, key string, e tokencache.Entry) error {
	if err := s.save(key, e); err != nil {
		return err
	}
	return s.Store.Save(ctx, key, e)
}

// The new refresh token is saved before the access token is, and before anybody gets that.
func TestLoginSavedFirst(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	mustAdopt(t, newLoginCache(t, cfg), past(logIn(t, s)))
	var order []string
	cfg.Store = savingStore{cfg.Store, func(_ string, e tokencache.Entry) error {
		if e.RefreshToken != "" {
			order = append(order, "login")
		} else {
			order = append(order, "access")
		}
		return nil
	}}
	s.AfterRotation = func() { order = append(order, "server") }
	mustToken(t, newLoginCache(t, cfg))
	if got := strings.Join(order, " "); got != "server login access" {
		t.Errorf("got %s", got)
	}
}

// A login that no store takes lasts as long as the process.
func TestLoginNotSaved(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	mustAdopt(t, newLoginCache(t, cfg), past(logIn(t, s)))
	cfg.Store = savingStore{cfg.Store, func(string, tokencache.Entry) error { return errors.New("disk full") }}
	c := newLoginCache(t, cfg)
	c.Invalidate(mustToken(t, c))
	mustToken(t, c)
	if s.Requests("token:refresh_token") != 2 || !s.Alive() {
		t.Errorf("got %d refreshes, alive: %t", s.Requests("token:refresh_token"), s.Alive())
	}
	if !strings.Contains(log.String(), "login not saved, it ends with this process") {
		t.Errorf("nothing is said: %s", log)
	}
}

// A server that answers without a refresh token lets us keep the one we have, and nothing is written.
func TestLoginNotRotated(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	first := past(logIn(t, s))
	mustAdopt(t, newLoginCache(t, cfg), first)
	s.Token = func(w http.ResponseWriter, _ url.Values) bool {
		sendJSON(w, 200, `{"access_token":"another","token_type":"Bearer","expires_in":3600}`)
		return true
	}
	cfg.Store = savingStore{cfg.Store, func(_ string, e tokencache.Entry) error {
		if e.RefreshToken != "" {
			t.Error("an unchanged login was written")
		}
		return nil
	}}
	c := newLoginCache(t, cfg)
	if got := mustToken(t, c); got != "another" {
		t.Errorf("got %s", got)
	}
	if e, err := c.Login(t.Context()); err != nil || e.RefreshToken != first.RefreshToken {
		t.Errorf("the login is gone: %v", err)
	}
}

// The refresh token is good no more. A newer one, which somebody stored meanwhile, is used; else the one that failed is
// deleted, and no other.
func TestLoginEnded(t *testing.T) {
	t.Parallel()
	t.Run("for good", func(t *testing.T) {
		t.Parallel()
		s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
		c := newLoginCache(t, loginConfig(s, dir, log))
		mustAdopt(t, c, past(logIn(t, s)))
		s.EndLogins()
		c = newLoginCache(t, loginConfig(s, dir, log))
		_, err := c.Token(t.Context())
		wantLoginError(t, err, "the login has ended")
		wantNoSecrets(t, s, err.Error(), log.String())
		if _, err := c.Login(t.Context()); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("the login is still kept: %v", err)
		}
		_, err = c.Token(t.Context())
		wantLoginError(t, err, "the login ended at")
		if s.Requests("token:refresh_token") != 1 {
			t.Errorf("asked %d times, want once", s.Requests("token:refresh_token"))
		}
	})
	t.Run("a newer one works", func(t *testing.T) {
		t.Parallel()
		s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
		cfg := loginConfig(s, dir, log)
		c, other := newLoginCache(t, cfg), newLoginCache(t, loginConfig(s, t.TempDir(), log))
		mustAdopt(t, c, past(logIn(t, s)))
		newer := past(logIn(t, s))
		mustAdopt(t, other, newer)
		stored, err := other.Login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		key := loginFile(t, dir)
		c = newLoginCache(t, cfg)
		once := sync.Once{}
		s.Token = func(w http.ResponseWriter, _ url.Values) (done bool) {
			once.Do(func() {
				if err := cfg.Store.Save(t.Context(), key, stored); err != nil {
					t.Error(err)
				}
				sendJSON(w, 400, `{"error":"invalid_grant"}`)
				done = true
			})
			return done
		}
		mustToken(t, c)
		if s.Requests("token:refresh_token") != 2 || !s.Alive() {
			t.Errorf("asked %d times, alive: %t", s.Requests("token:refresh_token"), s.Alive())
		}
	})
	t.Run("another is left alone", func(t *testing.T) {
		t.Parallel()
		s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
		cfg := loginConfig(s, dir, log)
		mustAdopt(t, newLoginCache(t, cfg), past(logIn(t, s)))
		key := loginFile(t, dir)
		newest := past(logIn(t, s))
		newest.AccessToken = ""
		c := newLoginCache(t, cfg)
		asked := 0
		s.Token = func(w http.ResponseWriter, _ url.Values) bool {
			// Both that are tried fail; after the second there is a third.
			if asked++; asked == 1 {
				between := newest
				between.RefreshToken = "between"
				_ = cfg.Store.Save(t.Context(), key, between)
			} else {
				_ = cfg.Store.Save(t.Context(), key, newest)
			}
			sendJSON(w, 400, `{"error":"invalid_grant"}`)
			return true
		}
		_, err := c.Token(t.Context())
		wantLoginError(t, err, "the login has ended")
		if e, err := c.Login(t.Context()); err != nil || e.RefreshToken != newest.RefreshToken || asked != 2 {
			t.Errorf("asked %d times; the login that was stored last is gone: %v", asked, err)
		}
	})
	t.Run("without a refresh token", func(t *testing.T) {
		t.Parallel()
		s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
		s.NoRefresh = true
		c := newLoginCache(t, loginConfig(s, dir, log))
		mustAdopt(t, c, past(logIn(t, s)))
		_, err := newLoginCache(t, loginConfig(s, dir, log)).Token(t.Context())
		wantLoginError(t, err, "gave nothing to prolong it with")
	})
}

// loginFile is the key of the one login in dir.
func loginFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if content, err := os.ReadFile(name); err == nil && strings.Contains(string(content), "refresh_token") {
			return strings.TrimSuffix(filepath.Base(name), ".json")
		}
	}
	t.Fatal("there is no login")
	return ""
}

// What is no end of the login leaves it as it is, and is not asked for again at once.
func TestLoginFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		status     int
		requests   int
		refused    bool
	}{
		{"client", `{"error":"invalid_client"}`, 401, 1, true},
		{"not json", `<html>`, 200, 1, true},
		{"no token", `{"token_type":"Bearer"}`, 200, 1, true},
		{"trouble", ``, 503, 3, false},
		{"busy", ``, 429, 3, false},
		{"server error", `{"error":"server_error"}`, 400, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
			mustAdopt(t, newLoginCache(t, loginConfig(s, dir, log)), past(logIn(t, s)))
			s.Token = func(w http.ResponseWriter, form url.Values) bool {
				sendJSON(w, tc.status, strings.ReplaceAll(tc.body, "TOKEN", form.Get("refresh_token")))
				return true
			}
			c := newLoginCache(t, loginConfig(s, dir, log))
			_, err := c.Token(t.Context())
			var refused *tokencache.RefusedError
			var down *tokencache.UnavailableError
			if errors.As(err, &refused) != tc.refused || errors.As(err, &down) == tc.refused {
				t.Errorf("got %v", err)
			}
			if got := s.Requests("token:refresh_token"); got != tc.requests {
				t.Errorf("asked %d times, want %d", got, tc.requests)
			}
			if _, err := c.Login(t.Context()); err != nil {
				t.Errorf("the login is gone: %v", err)
			}
			if tc.refused {
				_, _ = newLoginCache(t, loginConfig(s, dir, log)).Token(t.Context())
				if got := s.Requests("token:refresh_token"); got != tc.requests {
					t.Errorf("a refusal was asked for again: %d requests", got)
				}
			}
			wantNoSecrets(t, s, err.Error(), log.String())
		})
	}
}

// An answer that holds a refresh token and is of no use otherwise: the refresh token is kept all the same, for the one
// that was sent is spent.
func TestLoginBadAnswer(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	mustAdopt(t, newLoginCache(t, loginConfig(s, dir, log)), past(logIn(t, s)))
	s.Token = func(w http.ResponseWriter, _ url.Values) bool {
		sendJSON(w, 200, `{"access_token":"a","token_type":"Bearer","expires_in":"soon","refresh_token":"next"}`)
		return true
	}
	c := newLoginCache(t, loginConfig(s, dir, log))
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("took an answer that is none")
	}
	if e, err := c.Login(t.Context()); err != nil || e.RefreshToken != "next" {
		t.Errorf("the new refresh token is not kept: %v", err)
	}
}

// A login that allows less than is needed says so, and is found again when other scopes are wanted.
func TestLoginScopes(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	mustAdopt(t, newLoginCache(t, cfg), logIn(t, s))
	cfg.Scopes = append(cfg.Scopes, "read:timesheets")
	c := newLoginCache(t, cfg)
	_, err := c.Token(t.Context())
	var scope *tokencache.ScopeError
	if !errors.As(err, &scope) || strings.Join(scope.Missing, " ") != "read:timesheets" || !strings.Contains(scope.Hint(), "tsupload auth login") {
		t.Errorf("got %v", err)
	}
	if err := c.CheckScopes([]string{"read:timesheets", "create:timesheets", "x"}); err != nil {
		t.Error(err)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg := loginConfig(s, dir, log)
	c := newLoginCache(t, cfg)
	if was, told, err := c.Logout(t.Context()); was || told != nil || err != nil {
		t.Errorf("nobody: got %t, %v, %v", was, told, err)
	}
	mustAdopt(t, c, logIn(t, s))
	if was, told, err := newLoginCache(t, cfg).Logout(t.Context()); !was || told != nil || err != nil {
		t.Errorf("got %t, %v, %v", was, told, err)
	}
	if got := strings.Join(s.Revoked(), " "); got != "refresh_token access_token" {
		t.Errorf("revoked %s", got)
	}
	_, err := newLoginCache(t, cfg).Token(t.Context())
	wantLoginError(t, err, "there is no login")
	if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(files) > 0 {
		t.Errorf("left %v", files)
	}

	// A server that is away is told nothing, and that is said; the tokens go all the same.
	mustAdopt(t, c, logIn(t, s))
	s.Close()
	was, told, err := newLoginCache(t, cfg).Logout(t.Context())
	if !was || told == nil || err != nil {
		t.Errorf("server away: got %t, %v, %v", was, told, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(files) > 0 {
		t.Errorf("left %v", files)
	}
	wantNoSecrets(t, s, told.Error(), log.String())
}

// The lock is held elsewhere: better late than a refresh token sent twice.
func TestLoginLocked(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	mustAdopt(t, newLoginCache(t, loginConfig(s, dir, log)), past(logIn(t, s)))
	// The lock cannot be had at all, which comes to the same.
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("got %v, %v", locks, err)
	}
	if err := os.Remove(locks[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(locks[0], 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = newLoginCache(t, loginConfig(s, dir, log)).Token(t.Context())
	var down *tokencache.UnavailableError
	if !errors.As(err, &down) || s.Requests("token:refresh_token") != 0 {
		t.Errorf("got %v after %d refreshes", err, s.Requests("token:refresh_token"))
	}
}

// Another process holds the lock all the time: who that may be is said, and nothing is done without the lock.
func TestLoginLockHeld(t *testing.T) {
	t.Parallel()
	s, dir, log := logintest.New(t), t.TempDir(), &logBuffer{}
	cfg, entry := loginConfig(s, dir, log), logIn(t, s)
	synctest.Test(t, func(t *testing.T) {
		c := newLoginCache(t, cfg)
		if err := c.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
		if err != nil || len(locks) != 1 {
			t.Fatalf("got %v, %v", locks, err)
		}
		other := flock.New(locks[0])
		if ok, err := other.TryLock(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		defer func() { _ = other.Unlock() }()
		for name, do := range map[string]func(context.Context) error{
			"probe": c.Probe,
			"adopt": func(ctx context.Context) error {
				_, err := c.Adopt(ctx, entry)
				return err
			},
			"logout": func(ctx context.Context) error {
				_, _, err := c.Logout(ctx)
				return err
			},
		} {
			err := do(t.Context())
			held, ok := errors.AsType[*tokencache.LockError](err)
			if !ok || held.Path != locks[0] || held.Waited != 30*time.Second || !strings.Contains(err.Error(), locks[0]) || !strings.Contains(held.Hint(), "another tsupload") {
				t.Errorf("%s: got %v, want a LockError", name, err)
			}
			// Who gave up waiting is not told of a process that hangs.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want the end of the context", name, err)
			}
			cancel()
		}
		if _, err := c.Login(t.Context()); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("got %v, want no login", err)
		}
	})
}
