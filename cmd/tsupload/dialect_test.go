package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// Rejected rows go out in the form of the file that they are from, and what the
// whole file decided goes along: a few rows could not tell days from months.
func TestRejectsInTheirDialect(t *testing.T) {
	t.Parallel()
	const rows = "user_id;date;project;hours;notes\n" +
		"u-1;16.11.2026;Café;7,5;\n" +
		"u-1;01.11.2026;Café;8h;\"=Über; den\nBerg\"\n" +
		"u-1;02.11.2026;Café;acht;\n"
	for name, encode := range map[string]func(string) (string, error){
		"utf-8":        func(s string) (string, error) { return s, nil },
		"windows-1252": charmap.Windows1252.NewEncoder().String,
		"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			text, err := encode(rows)
			if err != nil {
				t.Fatal(err)
			}
			export := w.write("in/hours.csv")
			if err := os.WriteFile(export, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(export, old, old); err != nil {
				t.Fatal(err)
			}
			w.do(exitOK, "ledger", "create")
			w.do(exitPerson, "run", "--once")
			out, _ := w.do(exitOK, "rejects", "export")
			want, err := encode("user_id;date;project;hours;notes;_row;_reason;_hint;_read\nu-1;01.11.2026;Café;8h;\"'=Über; den\nBerg\";")
			if err != nil || !strings.HasPrefix(out, want) {
				t.Fatalf("got %q, want it to begin with %q (%v)", out, want, err)
			}
			decoded, err := plainText([]byte(out))
			if err != nil {
				t.Fatal(err)
			}
			contains(t, string(decoded), `;date=D.M.YYYY decimal=,\n`)
			mended, err := encode(strings.NewReplacer(";8h;", ";8,25;", ";acht;", ";8;").Replace(string(decoded)))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(w.dir, "mend.csv")
			if err := os.WriteFile(file, []byte(mended), 0o600); err != nil {
				t.Fatal(err)
			}
			out, log := w.do(exitOK, "rejects", "retry", file)
			contains(t, out, `sent 2 entries, 16:15:00 hours`)
			contains(t, log, `2 rejected rows closed`)
			out, _ = w.do(exitOK, "entries")
			contains(t, out, `2026-11-01`, `2026-11-02`)
			out, _ = w.do(exitOK, "-o", "json", "entries")
			// The second row stands behind a note of two lines.
			contains(t, out, `mend\.csv \(20[^)]*\)".*"line":2`, `mend\.csv \(20[^)]*\)".*"line":4`)
		})
	}
}
