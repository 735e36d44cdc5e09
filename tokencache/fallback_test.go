package tokencache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func entryOf(token string, at time.Time) Entry {
	return Entry{RefreshToken: token, Scopes: []string{"a"}, ObtainedAt: at.Round(0), Issuer: "i", ClientID: "c"}
}

func newFallback(t *testing.T, r *fakeRing, log *bytes.Buffer) (*FallbackStore, *Keyring, string) {
	t.Helper()
	k, dir := fakeKeyring(r), t.TempDir()
	return NewFallbackStore(NewKeyringStore(k), NewFileStore(dir, nil), slog.New(slog.NewTextHandler(log, nil))), k, dir
}

func wantKept(t *testing.T, s *FallbackStore, dir, token string, inRing bool) {
	t.Helper()
	e, err := s.Load(t.Context(), "k")
	if err != nil || e.RefreshToken != token {
		t.Errorf("got %v, want the entry %s", err, token)
	}
	where, why := s.Place(t.Context(), "k")
	file := filepath.Join(dir, "k.json")
	_, statErr := os.Stat(file)
	if inRing && (where != "keyring" || why != nil || statErr == nil) {
		t.Errorf("is in %s (%v), file: %v; want the keyring only", where, why, statErr)
	}
	if !inRing && (where != file || why == nil || statErr != nil) {
		t.Errorf("is in %s (%v), want the file and why", where, why)
	}
}

func TestFallback(t *testing.T) {
	t.Parallel()
	now := time.Now()
	absent := func() error { return &KeyringError{Problem: "there is no session bus"} }

	t.Run("keyring", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		s, _, dir := newFallback(t, &fakeRing{}, &log)
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := s.Save(t.Context(), "k", entryOf("one", now)); err != nil {
			t.Fatal(err)
		}
		wantKept(t, s, dir, "one", true)
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, ErrNotFound) || log.Len() > 0 {
			t.Errorf("got %v, log %s", err, &log)
		}
	})
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		r := &fakeRing{}
		s, k, dir := newFallback(t, r, &log)
		k.probe = absent
		for _, token := range []string{"one", "two"} {
			if err := s.Save(t.Context(), "k", entryOf(token, now)); err != nil {
				t.Fatal(err)
			}
			wantKept(t, s, dir, token, false)
		}
		if r.calls.Load() != 0 || log.Len() > 0 {
			t.Errorf("%d calls, log %s", r.calls.Load(), &log)
		}
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Error(err)
		}
	})
	t.Run("too small", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		s, _, dir := newFallback(t, &fakeRing{}, &log)
		if err := s.Save(t.Context(), "k", entryOf("short", now)); err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 2600)
		for range 3 {
			if err := s.Save(t.Context(), "k", entryOf(long, now.Add(time.Second))); err != nil {
				t.Fatal(err)
			}
		}
		wantKept(t, s, dir, long, false)
		if n := strings.Count(log.String(), "keyring not used"); n != 1 || strings.Contains(log.String(), "xxx") || !strings.Contains(log.String(), "do not fit") {
			t.Errorf("said %d times: %s", n, &log)
		}
		// Small again, it goes back, and the file is gone.
		if err := s.Save(t.Context(), "k", entryOf("small", now.Add(2*time.Second))); err != nil {
			t.Fatal(err)
		}
		wantKept(t, s, dir, "small", true)
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r := &fakeRing{hangs: make(chan struct{})}
			s, _, dir := newFallback(t, r, &log)
			begin := time.Now()
			// What is in there nobody knows, so it is not "not found".
			var ke *KeyringError
			if _, err := s.Load(t.Context(), "k"); !errors.As(err, &ke) {
				t.Errorf("got %v, want a KeyringError", err)
			}
			if err := s.Save(t.Context(), "k", entryOf("one", begin)); err != nil {
				t.Fatal(err)
			}
			wantKept(t, s, dir, "one", false)
			if time.Since(begin) != keyringTimeout || r.calls.Load() != 1 {
				t.Errorf("%d calls in %s, want one in 3s", r.calls.Load(), time.Since(begin))
			}
			if n := strings.Count(log.String(), "keyring not used"); n != 1 {
				t.Errorf("said %d times: %s", n, &log)
			}
			close(r.hangs)
			synctest.Wait()
		})
	})
	t.Run("the later one counts", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		r := &fakeRing{}
		s, k, dir := newFallback(t, r, &log)
		there := k.probe
		if err := s.Save(t.Context(), "k", entryOf("old", now)); err != nil {
			t.Fatal(err)
		}
		k.probe = absent // over SSH, say
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := s.Save(t.Context(), "k", entryOf("new", now.Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		k.probe = there
		if e, err := s.Load(t.Context(), "k"); err != nil || e.RefreshToken != "new" {
			t.Errorf("got %v", err)
		}
		if err := s.Save(t.Context(), "k", entryOf("newest", now.Add(2*time.Minute))); err != nil {
			t.Fatal(err)
		}
		wantKept(t, s, dir, "newest", true)
	})
	t.Run("nowhere", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		s, k, dir := newFallback(t, &fakeRing{}, &log)
		k.probe = absent
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.file = NewFileStore(filepath.Join(dir, "file"), nil)
		if err := s.Save(t.Context(), "k", entryOf("one", now)); err == nil {
			t.Error("kept nowhere, and nothing is said")
		}
	})
}

// The real Secret Service, as TestKeyringReal.
func TestKeyringRealFallback(t *testing.T) { // one keyring for all
	if os.Getenv("TSUPLOAD_TEST_KEYRING") != "1" {
		t.Skip("TSUPLOAD_TEST_KEYRING is not set")
	}
	var log bytes.Buffer
	dir := t.TempDir()
	s := NewFallbackStore(NewKeyringStore(NewKeyring()), NewFileStore(dir, nil), slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { _ = s.Delete(context.Background(), "k") })
	now := time.Now()
	for i, token := range []string{"one", strings.Repeat("long", 4000), "three"} {
		if err := s.Save(t.Context(), "k", entryOf(token, now.Add(time.Duration(i)*time.Second))); err != nil {
			t.Fatal(err)
		}
		wantKept(t, s, dir, token, true)
	}
	tooLong := strings.Repeat("x", 70<<10)
	if err := s.Save(t.Context(), "k", entryOf(tooLong, now.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	wantKept(t, s, dir, tooLong, false)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}
