package replace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.prom")
	for _, step := range []struct {
		text string
		perm os.FileMode
	}{{"first, and longer", 0o600}, {"second", 0o644}, {"third", 0o600}} {
		if err := File(path, []byte(step.text), step.perm); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != step.text {
			t.Errorf("got %q, %v", got, err)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != step.perm {
			t.Errorf("got %v, %v; want mode %v", info.Mode(), err, step.perm)
		}
	}
	// What cannot be replaced stays, and nothing is left beside it.
	taken := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := File(taken, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if err := File(filepath.Join(dir, "missing", "a"), nil, 0o600); err == nil {
		t.Error("a directory was made")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := New(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("got %v, %v", names, err)
	}
}
