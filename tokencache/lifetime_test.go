package tokencache_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/exampleco/tsupload/tokencache"
)

// fakeServer answers inside a synctest bubble, where a socket would stop the clock.
type fakeServer struct {
	expiresIn int
	broken    atomic.Bool
	takes     time.Duration
	requests  atomic.Int64
}

func (f *fakeServer) RoundTrip(req *http.Request) (*http.Response, error) {
	n := f.requests.Add(1)
	if f.takes > 0 {
		select {
		case <-time.After(f.takes):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	status, body := 200, fmt.Sprintf(`{"access_token":"tok-%d","expires_in":%d}`, n, f.expiresIn)
	if f.broken.Load() {
		status, body = 400, `{"error":"temporarily_unavailable"}`
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

func (f *fakeServer) config() tokencache.Config {
	return tokencache.Config{TokenURL: "https://auth.example/token", Transport: f}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		expiresIn int
		keeps     time.Duration // no renewal before
		renewed   time.Duration // renewed by a call here, in the background
		refetched time.Duration // with no renewal before, fetched anew here
	}{
		{3600, 53*time.Minute + 59*time.Second, 56*time.Minute + 1*time.Second, 59*time.Minute + time.Second},
		{86400, 86400*time.Second - 8640*time.Second - time.Second, 86400*time.Second - 6400*time.Second, 86340 * time.Second},
		{300, 149 * time.Second, 173 * time.Second, 241 * time.Second},
		{120, 59 * time.Second, 0, 61 * time.Second},
		{10, 4 * time.Second, 0, 6 * time.Second},
		{1, 400 * time.Millisecond, 0, 600 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.expiresIn), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{expiresIn: tt.expiresIn}
				c := newCache(t, f.config())
				start := time.Now()
				at := func(d time.Duration, token string, requests int64) {
					t.Helper()
					time.Sleep(time.Until(start.Add(d)))
					if got := mustToken(t, c); got != token {
						t.Errorf("after %s: got %s, want %s", d, got, token)
					}
					synctest.Wait()
					if got := f.requests.Load(); got != requests {
						t.Errorf("after %s: got %d requests, want %d", d, got, requests)
					}
				}
				at(0, "tok-1", 1)
				at(tt.keeps, "tok-1", 1)
				if tt.renewed > 0 {
					at(tt.renewed, "tok-1", 2) // the call does not wait for the renewal
					at(tt.renewed+time.Second, "tok-2", 2)
				} else {
					at(tt.refetched, "tok-2", 2)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{expiresIn: tt.expiresIn}
				c := newCache(t, f.config())
				_ = mustToken(t, c)
				time.Sleep(tt.refetched)
				if got := mustToken(t, c); got != "tok-2" {
					t.Errorf("at the hard margin: got %s, want tok-2", got)
				}
			})
		})
	}
}

func TestFailedRenewalKeepsToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		f := &fakeServer{expiresIn: 3600}
		cfg := f.config()
		cfg.Logger = log.logger()
		c := newCache(t, cfg)
		_ = mustToken(t, c)
		f.broken.Store(true)
		time.Sleep(57 * time.Minute)
		for range 10 {
			if got := mustToken(t, c); got != "tok-1" {
				t.Errorf("got %s, want tok-1", got)
			}
			synctest.Wait()
		}
		if got := f.requests.Load(); got != 2 {
			t.Errorf("got %d requests, want 2: a failed renewal is not repeated at once", got)
		}
		if !strings.Contains(log.String(), "renewal failed") {
			t.Error("nothing was logged")
		}
		time.Sleep(time.Minute)
		_ = mustToken(t, c)
		synctest.Wait()
		if got := f.requests.Load(); got != 3 {
			t.Errorf("got %d requests, want 3", got)
		}
		// In the last minute the token is not handed out any more.
		time.Sleep(61 * time.Second)
		_, err := c.Token(t.Context())
		if _, ok := errors.AsType[*tokencache.UnavailableError](err); !ok {
			t.Errorf("got %v, want an UnavailableError", err)
		}
	})
}

func TestCloseWaitsForRenewal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		takes, wait time.Duration
		stored      string
	}{{2 * time.Second, 2 * time.Second, "tok-2"}, {9 * time.Second, 5 * time.Second, "tok-1"}} {
		synctest.Test(t, func(t *testing.T) {
			store := tokencache.NewMemoryStore()
			f := &fakeServer{expiresIn: 3600}
			cfg := f.config()
			cfg.Store = store
			c := newCache(t, cfg)
			_ = mustToken(t, c)
			time.Sleep(57 * time.Minute)
			f.takes = tt.takes
			_ = mustToken(t, c)
			synctest.Wait()
			begin := time.Now()
			_ = c.Close()
			if got := time.Since(begin); got != tt.wait {
				t.Errorf("Close took %s, want %s", got, tt.wait)
			}
			if e, err := store.Load(t.Context(), c.Key()); err != nil || e.AccessToken != tt.stored {
				t.Errorf("the store holds another token than %s (%v)", tt.stored, err)
			}
		})
	}
}

func TestStoredEntries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                      string
		obtained, expires         time.Duration // from now
		refresh                   time.Duration
		want                      string
		renewedByAnotherInTheFile bool
	}{
		{"fresh", -time.Minute, time.Hour, 50 * time.Minute, "stored", false},
		{"from the future", time.Hour, 2 * time.Hour, 90 * time.Minute, "tok-1", false},
		{"a little from the future", 2 * time.Second, time.Hour, 50 * time.Minute, "stored", false},
		{"over", -2 * time.Hour, -time.Hour, -90 * time.Minute, "tok-1", false},
		{"in its last minute", -time.Hour, 50 * time.Second, -time.Minute, "tok-1", false},
		{"absurdly long", -time.Minute, 48 * time.Hour, time.Hour, "tok-1", false},
		{"ends before it begins", -time.Minute, -2 * time.Minute, -90 * time.Second, "tok-1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{expiresIn: 3600}
				cfg := f.config()
				store := tokencache.NewMemoryStore()
				cfg.Store = store
				c := newCache(t, cfg)
				now := time.Now().Round(0)
				_ = store.Save(t.Context(), c.Key(), tokencache.Entry{
					AccessToken: "stored", ObtainedAt: now.Add(tt.obtained), ExpiresAt: now.Add(tt.expires), RefreshAt: now.Add(tt.refresh),
				})
				if got := mustToken(t, c); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestRenewalTakesOverFromStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{expiresIn: 3600}
		cfg := f.config()
		cfg.Store = tokencache.NewMemoryStore()
		a, b := newCache(t, cfg), newCache(t, cfg)
		_, _ = mustToken(t, a), mustToken(t, b)
		time.Sleep(57 * time.Minute)
		_ = mustToken(t, a)
		synctest.Wait()
		_ = mustToken(t, b)
		synctest.Wait()
		if got, want := mustToken(t, b), "tok-2"; got != want || f.requests.Load() != 2 {
			t.Errorf("got %s after %d requests, want %s after 2", got, f.requests.Load(), want)
		}
	})
}

func TestWeakTokenIsAskedForAgainLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{expiresIn: 3600}
		cfg := f.config()
		cfg.Scopes, cfg.CheckScope, cfg.ExpectedScopes = []string{"a"}, true, []string{"a"}
		store := tokencache.NewMemoryStore()
		cfg.Store = store
		c := newCache(t, cfg)
		now := time.Now().Round(0)
		_ = store.Save(t.Context(), c.Key(), tokencache.Entry{
			AccessToken: "weak", ObtainedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(50 * time.Minute),
		})
		if err := c.Ready(t.Context()); err == nil || f.requests.Load() != 0 {
			t.Fatalf("got %v after %d requests, want a ScopeError after none", err, f.requests.Load())
		}
		time.Sleep(5 * time.Minute)
		if err := c.Ready(t.Context()); err != nil || f.requests.Load() != 1 {
			t.Errorf("got %v after %d requests, want the wider grant after 1", err, f.requests.Load())
		}
	})
}

func TestLockWaitIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		f := &fakeServer{expiresIn: 10}
		cfg := f.config()
		cfg.LockDir, cfg.Logger = dir, log.logger()
		c := newCache(t, cfg)
		other := flock.New(filepath.Join(dir, c.Key()+".lock"))
		if ok, err := other.TryLock(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		defer func() { _ = other.Unlock() }()
		begin := time.Now()
		_ = mustToken(t, c)
		if got := time.Since(begin); got != 30*time.Second {
			t.Errorf("waited %s, want 30s", got)
		}
		time.Sleep(time.Minute)
		_ = mustToken(t, c)
		if got := strings.Count(log.String(), "lock not obtained"); got != 1 {
			t.Errorf("got %d warnings, want 1", got)
		}
	})
}

func TestRetriesAreFewAndShort(t *testing.T) {
	t.Parallel()
	for _, header := range []http.Header{nil, {"Retry-After": {"-5"}}, {"Retry-After": {"soon"}}, {"Retry-After": {"0"}}, {"Retry-After": {"3"}}} {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64
			c := newCache(t, tokencache.Config{TokenURL: "https://auth.example/token", Transport: tripper(func(req *http.Request) (*http.Response, error) {
				requests.Add(1)
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: header.Clone(), Request: req, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
			})})
			begin := time.Now()
			_, err := c.Token(t.Context())
			if _, ok := errors.AsType[*tokencache.UnavailableError](err); !ok {
				t.Errorf("%v: got %v, want an UnavailableError", header, err)
			}
			took := time.Since(begin)
			if requests.Load() != 3 || took < 500*time.Millisecond || took > 10*time.Second {
				t.Errorf("%v: got %d requests in %s, want 3 within a few seconds", header, requests.Load(), took)
			}
		})
	}
}

// A server that takes its time with the answer, or with every byte of it, does
// not keep a run.
func TestFetchIsBounded(t *testing.T) {
	t.Parallel()
	slow := (&fakeServer{expiresIn: 3600, takes: time.Hour}).config()
	trickling := tokencache.Config{TokenURL: "https://auth.example/token", Transport: tripper(func(req *http.Request) (*http.Response, error) {
		body := readerFunc(func(p []byte) (int, error) {
			select {
			case <-time.After(time.Second):
				return copy(p, " "), nil
			case <-req.Context().Done():
				return 0, req.Context().Err()
			}
		})
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req, Body: io.NopCloser(body)}, nil
	})}
	for _, cfg := range []tokencache.Config{slow, trickling} {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, cfg)
			begin := time.Now()
			_, err := c.Token(t.Context())
			var down *tokencache.UnavailableError
			if took := time.Since(begin); !errors.As(err, &down) || took > 31*time.Second {
				t.Errorf("got %v after %s, want an UnavailableError within 30s", err, took)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
