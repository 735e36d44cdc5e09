package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	for name, f := range map[string]struct {
		age   time.Duration
		notes string
	}{
		"b.csv": {time.Hour, "old\n"}, "a.csv": {2 * time.Minute, "quiet\n"}, "c.csv": {30 * time.Second, "fresh\n"},
		"d.csv": {2 * time.Minute, "cut"}, "e.csv": {11 * time.Minute, "whole"}, "f.csv": {-time.Hour, "tomorrow\n"}, "g.txt": {time.Hour, "other"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("user,date,project,hours,notes\nu,2026-11-16,P,1,"+f.notes), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-f.age)); err != nil {
			t.Fatal(err)
		}
	}
	res := must(t, Config{Glob: filepath.Join(dir, "*.csv")})
	var got []string
	for _, e := range res.entries {
		got = append(got, e.Notes)
	}
	if diff := cmp.Diff([]string{"quiet", "old", "whole"}, got); diff != "" {
		t.Error(diff)
	}
	if res.survey.Complete || len(res.survey.Notes) != 4 {
		t.Errorf("got complete %t, notes %q", res.survey.Complete, res.survey.Notes)
	}
	none := must(t, Config{Glob: filepath.Join(dir, "*.none")})
	if none.survey.Rows != 0 || len(none.survey.Notes) != 1 {
		t.Errorf("got %+v", none.survey)
	}
	for _, glob := range []string{filepath.Join(dir, "none.csv"), filepath.Join(dir, "none", "*.csv")} {
		if _, err := read(t, Config{Glob: glob}); err == nil {
			t.Errorf("%s: got no error", glob)
		}
	}
}

// A directory that is a link does not lead out of where the pattern begins.
func TestGlobStaysInside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, row := range map[string]string{"in/a/x.csv": "u-1", "out/x.csv": "u-2"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("user,date,project,hours\n"+row+",2026-11-16,P,1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{Glob: filepath.Join(dir, "in", "*", "*.csv")}
	if res := must(t, cfg); len(res.entries) != 1 {
		t.Errorf("got %+v", res.entries)
	}
	if err := os.Symlink("../out", filepath.Join(dir, "in", "b")); err != nil {
		t.Skip(err)
	}
	var e *Error
	if res, err := read(t, cfg); !errors.As(err, &e) || !strings.Contains(err.Error(), "escapes") || e.Hint() == "" {
		t.Errorf("got %+v, %v", res, err)
	}
}

// What was opened is what is read, whatever takes its place.
func TestReplacedAfterOpening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.csv")
	write := func(name, user string) {
		if err := os.WriteFile(name, []byte("user,date,project,hours\n"+user+",2026-11-16,P,1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "u-1")
	r := opened(t, Config{Name: "x", Files: []string{path}, Location: time.UTC, Rules: Rules{Future: FutureAllow}})
	write(path+".new", "u-2")
	if err := os.Rename(path+".new", path); err != nil {
		t.Skip(err) // where an open file keeps its place
	}
	if _, err := r.Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Rows(t.Context(), func(row *timesheet.Row) error {
		if row.Entry == nil || row.Entry.Person != "u-1" {
			t.Errorf("got %+v", row)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestChangedWhileRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte("user,date,project,hours\nu,2026-11-16,P,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := opened(t, Config{Name: "x", Files: []string{path}, Location: time.UTC})
	stamp := r.Stamp()
	grow := func() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("u,2026-11-17,P,1\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// The survey takes a second look; the rows must be those it saw.
	grow()
	sv, err := r.Survey(t.Context())
	if err != nil || sv.Rows != 2 || sv.Stamp == stamp {
		t.Fatalf("got %+v, %v", sv, err)
	}
	grow()
	var e *Error
	if err := r.Rows(t.Context(), func(*timesheet.Row) error { return nil }); !errors.As(err, &e) || !strings.Contains(e.Message, "changed") {
		t.Errorf("got %v", err)
	}
}

// Rows come in the order of the file, though many hands decode them; the
// caller's own error comes back as it is.
func TestYieldError(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Name: "x", Files: []string{benchFile(t, 20_000, "id")}, Location: time.UTC, Rules: Rules{Future: FutureAllow}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stop := errors.New("enough")
	n := 0
	if err := r.Rows(t.Context(), func(row *timesheet.Row) error {
		if n++; n == 7000 {
			return stop
		}
		if row.Entry == nil || row.Entry.Origin.Line != n+1 {
			t.Fatalf("row %d: got %+v", n, row)
		}
		return nil
	}); !errors.Is(err, stop) || n != 7000 {
		t.Errorf("got %v after %d", err, n)
	}
}
