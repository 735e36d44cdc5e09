package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Damage in the middle of the file is found, without changing the file.
func TestExamine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(t.Context(), dir, "https://api.example", 0); err != nil {
		t.Fatal(err)
	}
	look := func() error {
		l, err := Open(t.Context(), Options{Dir: dir, ReadOnly: true})
		if err != nil {
			return err
		}
		defer l.Close()
		return l.Examine(t.Context())
	}
	if err := look(); err != nil {
		t.Fatalf("a new ledger: %v", err)
	}
	path := filepath.Join(dir, fileName)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(content[len(content)/2:], strings.Repeat("damage", 800))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	err = look()
	var broken *Error
	if !errors.As(err, &broken) || broken.Kind != Broken || broken.Hint() == "" {
		t.Errorf("got %v, want a Broken with a hint", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
		t.Errorf("the file was changed: %v", err)
	}
}
