package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A file that is shown under another name is nowhere shown under its own.
func TestAs(t *testing.T) {
	t.Parallel()
	const shown = "rejects of week47.csv"
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("good.csv", "user,date,project,hours,rate\nu,16.11.2026,P,1,9\nu,17.11.2026,P,x,9")
	as := map[string]string{path: shown}
	res := must(t, Config{Files: []string{path}, As: as})
	if len(res.entries) != 1 || res.entries[0].Origin.File != shown || len(res.rejected) != 1 || res.rejected[0].Origin.File != shown {
		t.Errorf("got %+v, %+v", res.entries, res.rejected)
	}
	if got := res.survey.Files[0].Name; got != shown {
		t.Errorf("got file %q", got)
	}
	if got := res.decision("date order"); got != "D.M.YYYY :2" {
		t.Errorf("got date order %q", got)
	}
	if notes := res.survey.Notes; len(notes) != 2 || !strings.HasPrefix(notes[0], shown+" does not end") || !strings.HasPrefix(notes[1], shown+": ignored") {
		t.Errorf("got notes %q", notes)
	}
	if plain := must(t, Config{Files: []string{path}}); plain.survey.Stamp != res.survey.Stamp || plain.survey.Fingerprint != res.survey.Fingerprint ||
		plain.entries[0].Key != res.entries[0].Key || plain.entries[0].Origin.File != path {
		t.Errorf("the name that is shown changes more than that: got %+v", plain)
	}
	// A file of a pattern is named too, also while it is waited for.
	res = must(t, Config{Glob: filepath.Join(dir, "go*.csv"), As: as})
	if notes := res.survey.Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], shown+" is left for the next run") {
		t.Errorf("got notes %q", notes)
	}

	link := filepath.Join(dir, "link.csv")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	for _, bad := range []string{write("bad.csv", "user,date\n"), write("cut.csv", "user,date,hours\nu,2"), write("empty.csv", ""), link, dir, filepath.Join(dir, "none.csv")} {
		_, err := read(t, Config{Files: []string{bad}, As: map[string]string{bad: shown}})
		if err == nil || !strings.HasPrefix(err.Error(), "source test: "+shown) || strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	s, err := New(Config{Name: "test", Location: time.UTC, Files: []string{path}, As: as})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.place(shown, &fs.PathError{Op: "read", Path: path, Err: syscall.EIO}); strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func TestStdinIsDash(t *testing.T) {
	t.Parallel()
	res := must(t, text("user,date,project,hours\nu,2026-11-16,P,1\nu,2026-11-16,P,x\nu,2026-11-16,P,0\n"))
	if res.entries[0].Origin.File != "-" || res.rejected[0].Origin.File != "-" || res.skipped[0].Origin.File != "-" || res.survey.Files[0].Name != "-" {
		t.Errorf("got %+v", res)
	}
	if _, err := read(t, text("user\n")); err == nil || !strings.HasPrefix(err.Error(), "source test: -:1: ") {
		t.Errorf("got %v", err)
	}
}

// Rows can be shown at other lines, those that are refused as well.
func TestLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mended.csv")
	if err := os.WriteFile(path, []byte("user,date,project,hours\nu,2026-11-16,P,1\n\nu,2026-11-17,P,x\nu,2026-11-18,P,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	res := must(t, Config{Files: []string{path}, As: map[string]string{path: "week.csv"}, Lines: map[string][]int{path: {40, 7}}})
	if len(res.entries) != 2 || len(res.rejected) != 1 {
		t.Fatalf("got %+v", res)
	}
	// A row for which there is no line keeps its own.
	for got, want := range map[string]string{res.entries[0].Origin.String(): "week.csv:40", res.rejected[0].Origin.String(): "week.csv:7", res.entries[1].Origin.String(): "week.csv:5"} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
