package tokencache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/exampleco/tsupload/tokencache"
)

// The test binary is also the other process: with this variable set it gets one token and prints it.
const helperEnv = "TOKENCACHE_TEST_HELPER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(helperEnv); spec != "" {
		os.Exit(helper(spec))
	}
	os.Exit(m.Run())
}

func helper(spec string) int {
	tokenURL, dir, _ := strings.Cut(spec, " ")
	c, err := tokencache.New(tokencache.Config{
		TokenURL: tokenURL, ClientID: "client", Secret: secretOf(canary), Store: tokencache.NewFileStore(dir, nil), LockDir: dir,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = c.Close() }()
	tok, err := c.Token(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(tok.Value)
	return 0
}

// slow holds each answer until n callers are known to wait, or the test ends.
func slow(s *authServer, release <-chan struct{}) {
	answer := s.answer
	s.set(func(w http.ResponseWriter, r *http.Request) {
		<-release
		answer(w, r)
	})
}

func TestManyGoroutinesOneFetch(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	release := make(chan struct{})
	slow(s, release)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	var started, wg sync.WaitGroup
	for range 50 {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			if tok, err := c.Token(t.Context()); err != nil || tok.Value != "tok-1" {
				t.Errorf("got %v, %v; want tok-1", tok, err)
			}
		})
	}
	started.Wait()
	close(release)
	wg.Wait()
	wantRequests(t, s, 1)
	if got := c.Stats(); got.Requests != 1 || got.Tokens != 1 {
		t.Errorf("got %+v, want one request and one token", got)
	}
}

func TestWaiterLeavesFetchGoesOn(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	release := make(chan struct{})
	slow(s, release)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := c.Token(ctx)
		left <- err
	}()
	for s.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	close(release)
	if got := mustToken(t, c); got != "tok-1" {
		t.Errorf("got %q, want tok-1", got)
	}
	wantRequests(t, s, 1)
}

func TestManyProcessesOneRequest(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	release := make(chan struct{})
	slow(s, release)
	dir := filepath.Join(t.TempDir(), "tokens")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+s.URL+" "+dir)
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != "tok-1" {
				t.Errorf("got %q, %v; want tok-1", got, err)
			}
		})
	}
	for s.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	wantRequests(t, s, 1)
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir}
	a, b := newCache(t, cfg), newCache(t, cfg)
	if mustToken(t, a) != "tok-1" || mustToken(t, b) != "tok-1" {
		t.Fatal("the caches do not share a token")
	}
	a.Invalidate("another token")
	if got := mustToken(t, a); got != "tok-1" {
		t.Errorf("a foreign token dropped ours: got %q", got)
	}
	a.Invalidate("tok-1")
	if got := mustToken(t, a); got != "tok-2" {
		t.Errorf("got %q, want tok-2", got)
	}
	// The other one finds out by itself and takes over what the first one got.
	b.Invalidate("tok-1")
	if got := mustToken(t, b); got != "tok-2" {
		t.Errorf("got %q, want tok-2", got)
	}
	wantRequests(t, s, 2)
}

func TestInvalidateDeletesFromStore(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir})
	c.Invalidate(mustToken(t, c))
	if _, err := os.Stat(filepath.Join(dir, c.Key()+".json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the file gone", err)
	}
}

func TestServerRepeatsRefusedToken(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, answering(200, `{"access_token":"same","expires_in":3600}`))
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: tokencache.NewMemoryStore()})
	c.Invalidate(mustToken(t, c))
	for range 3 {
		if got := mustToken(t, c); got != "same" {
			t.Errorf("got %q, want same", got)
		}
	}
	wantRequests(t, s, 2)
}

func TestCoolDown(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, answering(401, `{"error":"invalid_client"}`))
	dir := t.TempDir()
	with := func(secret string) *tokencache.Cache {
		return newCache(t, tokencache.Config{TokenURL: s.URL, Secret: secretOf(secret), LockDir: dir})
	}
	first := with("one")
	_, err := first.Token(t.Context())
	var refused *tokencache.RefusedError
	if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	hint := hintOf(err)
	wantRequests(t, s, 1)

	path := filepath.Join(dir, first.Key()+".refused")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v; want a file of mode 0600", info, err)
	}

	// Another process, same credentials: the same answer without a request.
	_, err = with("one").Token(t.Context())
	if !errors.As(err, &refused) || refused.Code != "invalid_client" || refused.Status != 401 || hintOf(err) != hint || refused.Until.IsZero() {
		t.Errorf("got %v, want the refusal of before", err)
	}
	wantRequests(t, s, 1)

	// Other credentials: asked at once, in this process and another.
	_, _ = with("two").Token(t.Context())
	wantRequests(t, s, 2)

	// A good answer ends it for everyone.
	s.set(answering(200, `{"access_token":"good","expires_in":3600}`))
	if got := mustToken(t, with("three")); got != "good" {
		t.Errorf("got %q, want good", got)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no refusal left", err)
	}
}

func TestCoolDownEnds(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, answering(401, `{"error":"invalid_client"}`))
	dir := t.TempDir()
	c := newCache(t, tokencache.Config{TokenURL: s.URL, LockDir: dir})
	_, _ = c.Token(t.Context())
	path := filepath.Join(dir, c.Key()+".refused")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantNoCanary(t, string(data))
	for name, until := range map[string]time.Time{"over": time.Now().Add(-time.Second), "from the future": time.Now().Add(time.Hour)} {
		var r map[string]any
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		r["until"] = until
		if err := os.WriteFile(path, []byte(mustJSON(t, r)), 0o600); err != nil {
			t.Fatal(err)
		}
		before := s.requests.Load()
		_, _ = newCache(t, tokencache.Config{TokenURL: s.URL, LockDir: dir}).Token(t.Context())
		if got := s.requests.Load(); got != before+1 {
			t.Errorf("%s: got %d requests, want one more than %d", name, got, before)
		}
	}
}

func TestLockHeldElsewhere(t *testing.T) {
	t.Parallel()
	// A caller that leaves while the lock is held must leave at once.
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	c := newCache(t, tokencache.Config{TokenURL: s.URL, LockDir: dir, Store: tokencache.NewFileStore(dir, nil)})
	other := flock.New(filepath.Join(dir, c.Key()+".lock"))
	if ok, err := other.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want deadline exceeded", err)
	}
	wantRequests(t, s, 0)
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	if got := mustToken(t, c); got != "tok-1" {
		t.Errorf("got %q, want tok-1", got)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(t.Context()); !errors.Is(err, tokencache.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	wantRequests(t, s, 0)
}

func TestClearAndPeek(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	store := tokencache.NewMemoryStore()
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: store})
	if _, ok := c.Peek(t.Context()); ok {
		t.Error("a token before the first fetch")
	}
	_ = mustToken(t, c)
	if tok, ok := newCache(t, tokencache.Config{TokenURL: s.URL, Store: store}).Peek(t.Context()); !ok || tok.Value != "tok-1" {
		t.Errorf("got %v, %v; want tok-1 from the store", tok, ok)
	}
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Peek(t.Context()); ok {
		t.Error("a token after Clear")
	}
	wantRequests(t, s, 1)
}

func TestTokenIsNeverPrinted(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := newAuthServer(t, answering(200, `{"access_token":"canary-token","expires_in":3600,"scope":"a"}`))
	store := tokencache.NewMemoryStore()
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: store, Logger: log.logger()})
	tok, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.Load(t.Context(), c.Key())
	if err != nil {
		t.Fatal(err)
	}
	log.logger().Info("x", "token", tok, "entry", e)
	out := fmt.Sprintf("%v %+v %#v %s %d %v %+v %#v %q", tok, tok, tok, tok, tok, e, e, e, &e) + mustJSON(t, tok) + mustJSON(t, e) + log.String()
	if strings.Contains(out, "canary-token") {
		t.Errorf("the token is in %s", out)
	}
}

// countingStore is a store whose writing fails.
type brokenStore struct{ saves atomic.Int64 }

func (s *brokenStore) Load(context.Context, string) (tokencache.Entry, error) {
	return tokencache.Entry{}, errors.New("disk on fire")
}

func (s *brokenStore) Save(context.Context, string, tokencache.Entry) error {
	s.saves.Add(1)
	return errors.New("disk on fire")
}
func (s *brokenStore) Delete(context.Context, string) error { return errors.New("disk on fire") }

func TestBrokenStoreIsAWarning(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := newAuthServer(t, nil)
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: &brokenStore{}, Logger: log.logger()})
	for range 3 {
		c.Invalidate(mustToken(t, c))
	}
	if got := strings.Count(log.String(), "disk on fire"); got != 1 {
		t.Errorf("got %d warnings, want 1:\n%s", got, log.String())
	}
}
