package source

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func anonymous(tb testing.TB, content []byte) ([]byte, error) {
	tb.Helper()
	s, err := New(Config{Name: "test", Location: time.UTC, Stdin: bytes.NewReader(content), SpoolDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := s.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	err = r.Anonymize(tb.Context(), &b)
	return b.Bytes(), err
}

// A twin is read as its original is: as many rows, seconds and rejections on
// the same lines, and the same decisions.
func TestAnonymizedReadsAlike(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.csv", "bad/*.csv"} {
		files, err := filepath.Glob(exports + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			twin, err := anonymous(t, content)
			if err != nil {
				continue // what has no header has no twin
			}
			cfg, other := bytesOf(content), bytesOf(twin)
			if strings.HasSuffix(file, "start-end.csv") {
				cfg.Columns = Guess([]string{"Mitarbeiter", "Projekt", "Datum", "Von", "Bis", "Dauer", "Stunden"})
				other.Columns = cfg.Columns
			}
			want, wantErr := read(t, cfg)
			got, gotErr := read(t, other)
			if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() && !strings.Contains(gotErr.Error(), "rows are bad") {
				t.Errorf("%s: got %v, want %v\n%s", file, gotErr, wantErr, twin)
				continue
			}
			if gotErr != nil {
				continue
			}
			if strings.HasSuffix(file, "rows.csv") { // has ids that are no numbers, and years that do not exist
				continue
			}
			if got.seconds() != want.seconds() || len(got.entries) != len(want.entries) || len(got.skipped) != len(want.skipped) || len(got.rejected) != len(want.rejected) {
				t.Errorf("%s: got %d s in %d entries, %d skipped, %d rejected; want %d, %d, %d, %d\n%s", file, got.seconds(), len(got.entries), len(got.skipped), len(got.rejected),
					want.seconds(), len(want.entries), len(want.skipped), len(want.rejected), twin)
			}
			for i := range got.rejected {
				if g, w := got.rejected[i], want.rejected[i]; g.Origin != w.Origin || g.Reason != w.Reason {
					t.Errorf("%s: got %+v, want %+v", file, g, w)
				}
			}
			for _, what := range []string{"encoding", "delimiter", "date order", "decimal sign"} {
				if g, w := got.decision(what), want.decision(what); g != w {
					t.Errorf("%s: got %s %q, want %q", file, what, g, w)
				}
			}
		}
	}
}

func TestAnonymizeHidesEverything(t *testing.T) {
	t.Parallel()
	const original = "Report of Ada Byron, 47\r\n" +
		"\r\n" +
		"User;Email;Date;Start;End;Duration;Hours;Project;Notes;Rate;Billable\r\n" +
		"Ada Byron;ada@example.test;02.03.2026;09:00;10:30;1:30;1,50;Zürich;\"Called \"\"Eve\"\" on 2026-03-01\r\nat +41 44 123 45 67\";95,50;Yes\r\n" +
		"Ada Byron;ada@example.test;02.03.2026;9:00 AM;;;;Łódź 東京;=HYPERLINK(A1);100;No"
	b, err := anonymous(t, []byte(original))
	if err != nil {
		t.Fatal(err)
	}
	twin := string(b)
	for _, personal := range []string{"Ada Byron", "Byron", "ada@", "example", "2026", "Zürich", "Called", "41 44 123 45 67", "Łódź", "東京", "HYPERLINK", "Report"} {
		if strings.Contains(twin, personal) {
			t.Errorf("%q is still there:\n%s", personal, twin)
		}
	}
	for _, kept := range []string{"\r\n\r\nUser;Email;Date;Start;End;Duration;Hours;Project;Notes;Rate;Billable\r\n", ";02.03.20", ";09:00;10:30;1:30;1,50;", ";Yes\r\n", ";9:00 AM;;;;", ";No"} {
		if !strings.Contains(twin, kept) {
			t.Errorf("%q is gone:\n%s", kept, twin)
		}
	}
	if len(twin) != len(original) || strings.Count(twin, `"`) != strings.Count(original, `"`) {
		t.Errorf("got %d bytes, want %d:\n%s", len(twin), len(original), twin)
	}
	lines := strings.Split(twin, "\r\n")
	if name, _, _ := strings.Cut(lines[3], ";"); !strings.HasPrefix(lines[5], name+";") {
		t.Errorf("equal names have become different ones:\n%s", twin)
	}
	if again, _ := anonymous(t, []byte(original)); bytes.Equal(again, b) {
		t.Error("two twins are alike: their letters can be found by trying")
	}
	if _, err := anonymous(t, []byte(`[{"user":"u","date":"2026-11-16","hours":1,"project":"P"}]`)); err == nil || !strings.Contains(err.Error(), "only CSV") {
		t.Errorf("got %v", err)
	}
}
