package main

import (
	"errors"
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
			// Where they stood, not where they were mended; the second stands behind a
			// note of two lines.
			contains(t, out, `hours\.csv".*"line":3.*"state":"sent"`, `hours\.csv".*"line":5.*"state":"sent"`)
			if strings.Contains(out, "mend.csv") {
				t.Errorf("the mended file is named:\n%s", out)
			}
		})
	}
}

// A tracker that quotes everything gets it back so, mark and line ends included.
func TestRejectsQuoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const header = "\"Project\",\"Description\",\"User\",\"Email\",\"Start Date\",\"Start Time\",\"End Date\",\"End Time\",\"Duration (h)\""
	row := func(day, end, length string) string {
		return "\r\n\"P\",\"a \"\"b\"\"\",\"Ada\",\"a@x\",\"" + day + "\",\"9:00 AM\",\"" + day + "\",\"" + end + "\",\"" + length + "\""
	}
	w.put("in/hours.csv", "\xef\xbb\xbf"+header+row("02/13/2026", "10:00 AM", "1:00")+row("02/03/2026", "noon", "3:00")+"\r\n")
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	out, _ := w.do(exitOK, "rejects", "export")
	if want := "\xef\xbb\xbf" + header + `,"_row","_reason","_hint","_read"` + row("02/03/2026", "noon", "3:00") + ","; !strings.HasPrefix(out, want) {
		t.Errorf("got %q, want it to begin with %q", out, want)
	}
	contains(t, out, `"date=M/D/YYYY clock=12h"\r\n$`)
	// Neither day and month nor the clock could be told from this row alone, and
	// the other clock is no longer right.
	file := w.put("mend.csv", strings.Replace(out, "noon", "12:00", 1))
	_, log := w.do(exitPerson, "rejects", "retry", file)
	contains(t, log, `refused again: "12:00" is not on the clock of time_format, 12h`)
	file = w.put("mend.csv", strings.Replace(out, "noon", "12:00 PM", 1))
	w.do(exitOK, "rejects", "retry", file)
	out, _ = w.do(exitOK, "entries")
	contains(t, out, `2026-02-03 .*3:00:00`)
}

// Rows of other forms are written as CSV, which is said, and can be fed back.
func TestRejectsOfJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("in/hours.csv", `[{"user":"u","date":"2026-11-16","project":"P","hours":1},{"user":"u","date":"2026-11-17","project":"P","hours":"one","list":["=a","b"]}]`)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	out, log := w.do(exitOK, "rejects", "export")
	contains(t, log, `note: the rows are from JSON; they are written as CSV in UTF-8, with commas`)
	contains(t, out, `^user,date,project,hours,list\.0,list\.1,list,_row,_reason,_hint\n`, `\nu,2026-11-17,P,one,'=a,b,"'=a, b",2026-11-17/`)
	file := w.put("mend.csv", strings.Replace(out, ",one,", ",1.5,", 1))
	out, _ = w.do(exitOK, "rejects", "retry", file)
	contains(t, out, `sent 1 entry, 1:30:00 hours`)
	out, _ = w.do(exitOK, "-o", "json", "entries")
	contains(t, out, `hours\.csv".*"line":2.*"state":"sent"`)
	// The mended export is known by then.
	w.put("in/hours.csv", `[{"user":"u","date":"2026-11-16","project":"P","hours":1},{"user":"u","date":"2026-11-17","project":"P","hours":1.5,"list":["=a","b"]}]`)
	out, _ = w.do(exitOK, "run", "--once")
	contains(t, out, `known +2 `)
}

// put writes a file as it is, which nobody has touched for an hour.
func (w *world) put(name, content string) string {
	w.tb.Helper()
	file := w.write(name)
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(file, []byte(content), 0o600), os.Chtimes(file, old, old)); err != nil {
		w.tb.Fatal(err)
	}
	return file
}
