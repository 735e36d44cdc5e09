//go:build !windows

package tokencache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/tokencache"
)

const someKey = "0123"

func someEntry() tokencache.Entry {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return tokencache.Entry{
		AccessToken: "canary-token", Scopes: []string{"a", "b"}, ObtainedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(time.Minute),
		Issuer: "https://a", ClientID: "c",
	}
}

func TestStoresRoundTrip(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]tokencache.Store{
		"memory": tokencache.NewMemoryStore(),
		"file":   tokencache.NewFileStore(filepath.Join(t.TempDir(), "a", "b"), nil),
	} {
		ctx := t.Context()
		if _, err := store.Load(ctx, someKey); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
		want := someEntry()
		for range 2 { // the second one replaces the first
			if err := store.Save(ctx, someKey, want); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got, err := store.Load(ctx, someKey)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v, entry (-want +got):\n%s", name, err, d)
		}
		if _, err := store.Load(ctx, "4567"); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("%s: got %v for another key, want ErrNotFound", name, err)
		}
		for range 2 {
			if err := store.Delete(ctx, someKey); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := store.Load(ctx, someKey); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("%s: got %v after Delete, want ErrNotFound", name, err)
		}
	}
}

func TestFileModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tokens")
	store := tokencache.NewFileStore(dir, nil)
	path := filepath.Join(dir, someKey+".json")
	if err := store.Save(t.Context(), someKey, someEntry()); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want %04o", filepath.Base(p), info.Mode(), err, want)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o602} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := store.Load(t.Context(), someKey)
		var fe *tokencache.FileError
		if !errors.As(err, &fe) || fe.Fix != `chmod 600 "`+path+`"` || !strings.Contains(hintOf(err), fe.Fix) {
			t.Errorf("mode %04o: got %v (%s), want the exact chmod", mode, err, hintOf(err))
		}
	}
	// Saving heals it: the file is replaced, not opened.
	if err := store.Save(t.Context(), someKey, someEntry()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), someKey); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var fe *tokencache.FileError
	if err := store.Save(t.Context(), someKey, someEntry()); !errors.As(err, &fe) || fe.Fix != `chmod 700 "`+dir+`"` {
		t.Errorf("open directory: got %v, want the exact chmod", err)
	}
}

func TestForeignFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	dir := t.TempDir()
	store := tokencache.NewFileStore(dir, nil)
	if err := store.Save(t.Context(), someKey, someEntry()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, someKey+".json"), 65534, -1); err != nil {
		t.Skip(err)
	}
	var fe *tokencache.FileError
	if _, err := store.Load(t.Context(), someKey); !errors.As(err, &fe) || !strings.Contains(fe.Fix, "chown 0 ") {
		t.Errorf("got %v, want the exact chown", err)
	}
}

func TestOddFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := tokencache.NewFileStore(dir, nil)
	if err := store.Save(t.Context(), "target", someEntry()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "target.json"), filepath.Join(dir, "link.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"link", "dir"} {
		var fe *tokencache.FileError
		if _, err := store.Load(t.Context(), key); !errors.As(err, &fe) {
			t.Errorf("%s: got %v, want a FileError", key, err)
		}
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log logBuffer
	store := tokencache.NewFileStore(dir, log.logger())
	path := filepath.Join(dir, someKey+".json")
	if err := store.Save(t.Context(), someKey, someEntry()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty": "", "cut": string(whole[:len(whole)/2]), "not JSON": "canary-token",
		"version of tomorrow": strings.Replace(string(whole), `"version":1`, `"version":2`, 1),
		"another key's":       strings.Replace(string(whole), `"key":"`+someKey, `"key":"9`, 1),
	} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Load(t.Context(), someKey); !errors.Is(err, tokencache.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
		if got, err := os.ReadFile(path + ".bad"); err != nil || string(got) != data {
			t.Errorf("%s: not set aside: %v", name, err)
		}
	}
	if strings.Contains(log.String(), "canary-token") {
		t.Errorf("the token is in the log: %s", log.String())
	}
}

func TestUnwritableDirectory(t *testing.T) {
	t.Parallel()
	// A file where the directory should be stops every user; a mode would not stop root.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{"a file in its place": filepath.Join(blocked, "tokens")}
	if os.Geteuid() != 0 {
		readOnly := t.TempDir()
		if err := os.Chmod(readOnly, 0o500); err != nil {
			t.Fatal(err)
		}
		dirs["read-only"] = readOnly
	}
	for name, dir := range dirs {
		var log logBuffer
		s := newAuthServer(t, nil)
		c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir, Logger: log.logger()})
		for range 3 {
			_ = mustToken(t, c)
		}
		wantRequests(t, s, 1)
		c.Invalidate("tok-1")
		_ = mustToken(t, c)
		wantRequests(t, s, 2)
		if got := strings.Count(log.String(), "token store not usable"); got != 1 {
			t.Errorf("%s: got %d warnings, want 1:\n%s", name, got, log.String())
		}
	}
}

func TestInsecureFileIsAMiss(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir, Logger: log.logger()}
	path := filepath.Join(dir, newCache(t, cfg).Key()+".json")
	_ = mustToken(t, newCache(t, cfg))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := mustToken(t, newCache(t, cfg)); got != "tok-2" {
		t.Errorf("got %q, want tok-2", got)
	}
	if !strings.Contains(log.String(), "chmod 600") {
		t.Errorf("the log does not give the chmod: %s", log.String())
	}
	if got := mustToken(t, newCache(t, cfg)); got != "tok-2" {
		t.Errorf("then got %q, want tok-2 from the healed file", got)
	}
}
