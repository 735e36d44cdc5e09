package tokencache

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zalando/go-keyring"
)

// fakeRing keeps items in a map; with hangs set a call never comes back before the test ends.
type fakeRing struct {
	items map[string]string
	hangs chan struct{}
	calls atomic.Int64
	err   error
}

func (r *fakeRing) enter() error {
	r.calls.Add(1)
	if r.hangs != nil {
		<-r.hangs
	}
	return r.err
}

func (r *fakeRing) Set(service, account, secret string) error {
	if err := r.enter(); err != nil {
		return err
	}
	r.items[service+"/"+account] = secret
	return nil
}

func (r *fakeRing) Get(service, account string) (string, error) {
	if err := r.enter(); err != nil {
		return "", err
	}
	v, ok := r.items[service+"/"+account]
	if !ok {
		return "", keyring.ErrNotFound
	}
	return v, nil
}

func (r *fakeRing) Delete(service, account string) error {
	if err := r.enter(); err != nil {
		return err
	}
	if _, ok := r.items[service+"/"+account]; !ok {
		return keyring.ErrNotFound
	}
	delete(r.items, service+"/"+account)
	return nil
}

func fakeKeyring(r *fakeRing) *Keyring {
	r.items = map[string]string{}
	return &Keyring{ring: r, probe: func() error { return nil }, limit: 2500, timeout: keyringTimeout}
}

// checkKeyring is what every working keyring must do.
func checkKeyring(t *testing.T, k *Keyring) {
	t.Helper()
	ctx := t.Context()
	const account = "tokencache-test"
	if _, err := k.Secret(account)(ctx); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("missing secret: got %v, want not found", err)
	}
	for _, want := range []string{"one", "two\n\x00é"} {
		if err := k.SetSecret(ctx, account, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Secret(account)(ctx); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	for range 2 {
		if err := k.DeleteSecret(ctx, account); err != nil {
			t.Error(err)
		}
	}
	store, key := NewKeyringStore(k), "tokencache-test-key"
	now := time.Now().UTC()
	want := Entry{AccessToken: "tok", Scopes: []string{"a"}, ObtainedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now, Issuer: "i", ClientID: "c"}
	if _, err := store.Load(ctx, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if err := store.Save(ctx, key, want); err != nil {
		t.Fatal(err)
	}
	got, err := store.Load(ctx, key)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, entry (-want +got):\n%s", err, d)
	}
	for range 2 {
		if err := store.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if _, err := store.Load(ctx, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Delete: got %v, want ErrNotFound", err)
	}
}

func TestKeyringFake(t *testing.T) {
	t.Parallel()
	checkKeyring(t, fakeKeyring(&fakeRing{}))
}

// Not parallel: the library's mock is process-wide.
func TestKeyringMock(t *testing.T) { // see above
	if os.Getenv("TSUPLOAD_TEST_KEYRING") != "" {
		t.Skip("the real one is tested")
	}
	keyring.MockInit()
	k := NewKeyring()
	k.probe = func() error { return nil }
	checkKeyring(t, k)
}

// Run under a session bus with a Secret Service whose collection is unlocked.
func TestKeyringReal(t *testing.T) { // one keyring for all
	if os.Getenv("TSUPLOAD_TEST_KEYRING") != "1" {
		t.Skip("TSUPLOAD_TEST_KEYRING is not set")
	}
	checkKeyring(t, NewKeyring())
}

func TestKeyringHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRing{hangs: make(chan struct{})}
		k := fakeKeyring(r)
		begin := time.Now()
		_, err := k.Secret("x")(t.Context())
		var ke *KeyringError
		if !errors.As(err, &ke) || time.Since(begin) != 3*time.Second {
			t.Errorf("got %v after %s, want a KeyringError after 3s", err, time.Since(begin))
		}
		for range 3 {
			if err := k.SetSecret(t.Context(), "x", []byte("y")); !errors.As(err, &ke) {
				t.Errorf("got %v, want a KeyringError", err)
			}
		}
		if time.Since(begin) != 3*time.Second || r.calls.Load() != 1 {
			t.Errorf("%d calls in %s, want one in 3s", r.calls.Load(), time.Since(begin))
		}
		close(r.hangs)
		synctest.Wait()
	})
}

func TestKeyringCallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRing{hangs: make(chan struct{})}
		k := fakeKeyring(r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Secret("x")(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want deadline exceeded", err)
		}
		close(r.hangs)
		synctest.Wait()
		if err := k.SetSecret(t.Context(), "x", []byte("y")); err != nil {
			t.Errorf("a caller that leaves turned the keyring off: %v", err)
		}
	})
}

func TestKeyringFaults(t *testing.T) {
	t.Parallel()
	var ke *KeyringError
	r := &fakeRing{}
	k := fakeKeyring(r)
	if err := k.SetSecret(t.Context(), "x", []byte(strings.Repeat("y", 2501))); !errors.As(err, &ke) || r.calls.Load() != 0 {
		t.Errorf("too large: got %v after %d calls, want a KeyringError after none", err, r.calls.Load())
	}
	if err := k.SetSecret(t.Context(), "x", nil); !errors.As(err, &ke) {
		t.Errorf("empty: got %v, want a KeyringError", err)
	}
	r.err = errors.New("locked")
	if _, err := NewKeyringStore(k).Load(t.Context(), "x"); !errors.As(err, &ke) || errors.Is(err, ErrNotFound) {
		t.Errorf("locked: got %v, want a KeyringError", err)
	}
	k.probe = func() error { return &KeyringError{Problem: "none"} }
	if err := k.Available(); !errors.As(err, &ke) {
		t.Errorf("absent: got %v, want a KeyringError", err)
	}
	for goos, want := range map[string]int{"windows": 2500, "darwin": 2900, "linux": 64 << 10} {
		if got := keyringLimit(goos); got != want {
			t.Errorf("%s: got %d, want %d", goos, got, want)
		}
	}
}

func TestKeyringProbe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is a session bus to look for on Linux only")
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if err := probeKeyring(); err == nil {
		t.Error("found a bus where there is none")
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")
	if err := probeKeyring(); err != nil {
		t.Error(err)
	}
}
