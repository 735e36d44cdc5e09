package source

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const corpus = "../testdata/corpus/"

// outcome says in a line what became of a file: what was refused, or how many
// seconds and entries, and which lines are none.
func outcome(tb testing.TB, cfg Config) string {
	tb.Helper()
	res, err := read(tb, cfg)
	if e, ok := errors.AsType[*Error](err); ok {
		if e.HintText == "" || e.Message == "reading" {
			tb.Errorf("%v: no hint", err)
		}
		return fmt.Sprintf("refused, line %d: %s", e.Line, e.Message)
	}
	if err != nil {
		return "error: " + err.Error()
	}
	parts := []string{fmt.Sprintf("%d s in %d", res.seconds(), len(res.entries))}
	type other struct {
		line int
		text string
	}
	var others []other
	for _, s := range res.skipped {
		others = append(others, other{s.Origin.Line, "skipped " + string(s.Reason)})
	}
	for _, r := range res.rejected {
		others = append(others, other{r.Origin.Line, string(r.Reason)})
		if r.Message == "" || r.Hint == "" {
			tb.Errorf("%s: a rejection without message or hint", r.Origin)
		}
	}
	slices.SortStableFunc(others, func(a, b other) int { return a.line - b.line })
	for _, o := range others {
		parts = append(parts, fmt.Sprintf("%d %s", o.line, o.text))
	}
	return strings.Join(parts, "; ")
}

// What becomes of each file that goes wrong in a way of its own. Those in
// export/bad have tests of their own besides.
func TestCorpus(t *testing.T) {
	t.Parallel()
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"corpus/bad-lines.ndjson":           "7200 s in 2; 2 bad_row; 4 bad_row",
		"corpus/bom-quoted-header.csv":      "3600 s in 1",
		"corpus/bom.json":                   "refused, line 0: this is JSON with a byte-order mark, or not in UTF-8",
		"corpus/both-signs.csv":             "refused, line 3: hours have a decimal comma and a decimal point, see also line 2",
		"corpus/clock-change.csv":           "28800 s in 5",
		"corpus/comma-alone.csv":            "5400 s in 1",
		"corpus/composed.csv":               "7200 s in 2",
		"corpus/cut.csv.gz":                 "refused, line 0: the gzip file is damaged or cut off",
		"corpus/cut.ics":                    "refused, line 5: the calendar is cut off: END:VCALENDAR is missing",
		"corpus/cut.json":                   "refused, line 0: the JSON ends early: it was cut off",
		"corpus/cut.ndjson":                 "refused, line 2: the last line is cut off",
		"corpus/cut.xlsx":                   "refused, line 0: the spreadsheet or zip file is damaged or cut off",
		"corpus/dates.csv":                  "7200 s in 2; 2 bad_date; 3 bad_date; 4 bad_date; 6 too_old; 7 too_old; 9 future; 10 bad_date; 11 bad_date; 12 bad_date; 13 bad_date; 14 bad_date; 15 missing_value",
		"corpus/deep-in-record.json":        "refused, line 0: the JSON is nested deeper than 32 levels",
		"corpus/deep.json":                  "refused, line 0: the JSON is nested deeper than 32 levels",
		"corpus/duplicate-keys.json":        "3600 s in 1; 1 bad_row; 2 bad_row",
		"corpus/empty-rows.csv":             "3600 s in 1",
		"corpus/header-case-space.csv":      "3600 s in 1",
		"corpus/html-error.csv":             "refused, line 0: this is HTML or XML, not CSV; it looks like a login page or an error page",
		"corpus/injection.csv":              "21600 s in 6",
		"corpus/invisible-ids.csv":          "3600 s in 1; 2 bad_person; 4 missing_value",
		"corpus/invisible.csv":              "7200 s in 2; 2 bad_person; 3 bad_person; 4 bad_person; 5 bad_person",
		"corpus/list-elsewhere.json":        "refused, line 0: the JSON is no list of records",
		"corpus/lone-cr-in-row.csv":         "3600 s in 1; 2 bad_row",
		"corpus/mixed-line-ends.csv":        "7200 s in 2",
		"corpus/no-object.json":             "3600 s in 1; 1 bad_row; 2 bad_row; 3 bad_row; 4 bad_row; 5 bad_row",
		"corpus/not-utf8.json":              "refused, line 0: the JSON is not valid UTF-8",
		"corpus/nul.csv":                    "3600 s in 1; 2 bad_row",
		"corpus/numbers.csv":                "7200 s in 2; 2 bad_duration; 3 bad_duration; 4 bad_duration; 5 bad_duration; 6 bad_duration; 7 bad_duration; 8 bad_duration; 9 bad_duration; 10 bad_duration; 11 bad_duration; 12 bad_duration; 13 bad_duration; 15 bad_duration; 16 missing_value; 17 bad_duration",
		"corpus/numbers.json":               "5400 s in 1; 1 bad_duration; 2 bad_duration; 4 negative; 5 skipped zero; 6 too_long; 7 bad_duration; 8 bad_duration; 9 missing_value; 10 missing_value; 11 missing_value",
		"corpus/old-spreadsheet.xls":        "refused, line 0: this is a spreadsheet of an old kind (XLS), or one with a password",
		"corpus/only-blank.csv":             "refused, line 0: the file is empty",
		"corpus/paths.csv":                  "7200 s in 2",
		"corpus/pdf.csv":                    "refused, line 1: no column says whose time it is (user)",
		"corpus/quote-in-value.csv":         "3600 s in 1; 2 bad_row; 3 bad_row",
		"corpus/quoted-newline.csv":         "10800 s in 2",
		"corpus/range.csv":                  "86400 s in 1; 2 negative; 3 skipped zero; 4 skipped zero; 6 too_long; 7 too_long; 8 skipped zero",
		"corpus/repeating.ics":              "0 s in 0; 2 bad_row",
		"corpus/semicolon-in-comma.csv":     "3600 s in 1",
		"corpus/times.csv":                  "3600 s in 1; 3 bad_time; 4 bad_time; 5 bad_time; 6 bad_time; 7 bad_time; 8 bad_time; 9 skipped running",
		"corpus/trailing.json":              "refused, line 0: something follows the JSON of a page",
		"corpus/twice-packed.csv.gz":        "refused, line 0: this is a gzip file within a gzip file",
		"corpus/unknown-header.csv":         "refused, line 1: no column says whose time it is (user)",
		"corpus/utf16-odd.csv":              "refused, line 0: the file is UTF-16 but has an odd number of bytes: it is cut off",
		"corpus/utf16be.csv":                "3600 s in 1",
		"corpus/utf16le-no-bom.csv":         "3600 s in 1",
		"corpus/zip.zip":                    "refused, line 0: this is a zip file",
		"export/bad/appended.csv":           "refused, line 3: a second header stands here (the first is on line 1): this is more than one table",
		"export/bad/bom.csv":                "55800 s in 2",
		"export/bad/both-date-orders.csv":   "refused, line 4: day and month are written in both orders, see also line 3",
		"export/bad/both-decimals.csv":      "refused, line 3: hours have a decimal comma and a decimal point, see also line 2",
		"export/bad/cut-last-line.csv":      "refused, line 3: the file is cut off in its last line, which has 3 values; the header has 4",
		"export/bad/duplicate-ids.csv":      "86400 s in 3; 4 skipped duplicate; 5 duplicate_id",
		"export/bad/empty.csv":              "refused, line 0: the file is empty",
		"export/bad/equal-rows.csv":         "27000 s in 4",
		"export/bad/header-only.csv":        "0 s in 0",
		"export/bad/json.csv":               "refused, line 0: no column says which day it is (date)",
		"export/bad/login.html.csv":         "refused, line 0: this is HTML or XML, not CSV; it looks like a login page or an error page",
		"export/bad/lone-cr.csv":            "refused, line 1: the lines end in CR alone",
		"export/bad/missing-column.csv":     "refused, line 1: no column says which day it is (date)",
		"export/bad/mixed-encodings.csv":    "refused, line 0: the file mixes UTF-8 with bytes that are not",
		"export/bad/no-final-newline.csv":   "55800 s in 2",
		"export/bad/preamble.csv":           "55800 s in 2",
		"export/bad/ragged.csv":             "57600 s in 2; 3 bad_row; 4 bad_row",
		"export/bad/repeated-header.csv":    "refused, line 1: the column \"hours\" stands in the header twice (columns 4 and 5), and it is used",
		"export/bad/rows.csv":               "57600 s in 2; 3 bad_duration; 4 bad_duration; 5 bad_duration; 6 bad_duration; 7 bad_duration; 8 bad_duration; 9 bad_duration; 10 negative; 11 too_long; 12 bad_duration; 13 bad_duration; 14 missing_value; 15 skipped zero; 16 bad_date; 17 bad_date; 18 missing_value; 19 too_old; 20 future; 21 unknown_user; 22 bad_person; 23 missing_value; 24 bad_row; 25 bad_row; 26 bad_duration",
		"export/bad/thirty-percent.csv":     "refused, line 0: 18 of 60 rows are bad, so the whole file is refused (line 2: \"bad\" is not a number of hours such as 7.5; line 3: \"bad\" is not a number of hours such as 7.5; line 4: \"bad\" is not a number of hours such as 7.5)",
		"export/bad/two-tables.csv":         "refused, line 5: a second header stands here (the first is on line 1): this is more than one table",
		"export/bad/undecidable-dates.csv":  "refused, line 2: no date in the file tells whether the day or the month comes first",
		"export/bad/unterminated-quote.csv": "refused, line 3: a quotation mark opened on this line is never closed",
		"export/bad/utf16be-no-bom.csv":     "55800 s in 2",
		"export/bad/utf16le.csv":            "55800 s in 2",
		"export/bad/windows-1252.csv":       "55800 s in 2",
	}
	for _, dir := range []string{corpus, exports + "bad/"} {
		files, err := filepath.Glob(dir + "*")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			name := strings.TrimPrefix(file, filepath.Dir(filepath.Clean(corpus))+"/")
			expected, ok := want[name]
			delete(want, name)
			cfg := Config{Files: []string{file}, Rules: Rules{Future: FutureReject}}
			switch filepath.Base(file) {
			case "clock-change.csv":
				cfg.Location = newYork
			case "repeating.ics":
				cfg.User = "u-1"
			case "rows.csv":
				cfg.Decimal = "."
			}
			if got := outcome(t, cfg); !ok {
				t.Errorf("%s is in no table; it gives %q", name, got)
			} else if got != expected {
				t.Errorf("%s:\n got %q\nwant %q", name, got, expected)
			}
		}
	}
	for name := range want {
		t.Errorf("%s is gone", name)
	}
}

// repeated reads head, then unit as often as there is room for in size bytes.
func repeated(head, unit string, size int) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&again{[]byte(strings.Repeat(unit, 1+(32<<10)/len(unit))), 0}, int64(size/len(unit)*len(unit))))
}

type again struct {
	unit []byte
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.unit[a.at:])
	a.at = (a.at + n) % len(a.unit)
	return n, nil
}

// What is too large to be kept here is refused before it fills the memory. It
// does not run beside others, whose memory would count.
func TestCorpusOfLargeFiles(t *testing.T) {
	const header = "user_id,date,project,hours,notes\nu-1,2026-11-16,Apollo,1,fine\n"
	const size = 64 << 20
	bomb := func(content io.Reader) io.Reader {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(z, content); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	for _, c := range []struct {
		name    string
		content io.Reader
		want    string
	}{
		{"field", repeated(header+"u-1,2026-11-16,Apollo,1,", "x", size), "refused, line 3: a line is longer than 1048576 bytes"},
		{"quoted field", repeated(header+"u-1,2026-11-16,Apollo,1,\"", "x", size), "refused, line 3: a line is longer than 1048576 bytes"},
		{"open quotation", repeated(header+"u-1,2026-11-16,Apollo,1,\"", "u-1,2026-11-16,Apollo,1,x\n", size), "refused, line 3: a quotation mark opened on this line is still open after 1048576 bytes"},
		{"field of a row", repeated(header+"u-1,2026-11-16,Apollo,1,", "x", 65<<10), "3600 s in 1; 3 bad_row"},
		{"zeros", repeated("", "\x00", size), "refused, line 1: no column says whose time it is (user)"},
		{"gzip bomb", bomb(repeated(header, "u-1,2026-11-16,Apollo,1,fine\n", size)), "refused, line 0: the file grows to more than 200 times its size when unpacked: this is no export"},
		{"deep JSON", repeated("", "[", 1<<20), "refused, line 0: the JSON is nested deeper than 32 levels"},
		{"deep JSON in a record", repeated(`[{"a":`, `{"a":`, 5<<20), "refused, line 0: the JSON is nested deeper than 32 levels"},
		{"JSON text", repeated(`[{"user":"`, "x", size), "refused, line 0: a value, or the space between two, is longer than 1048576 bytes"},
		{"JSON number", repeated(`[{"hours":`, "1", size), "refused, line 0: a value, or the space between two, is longer than 1048576 bytes"},
		{"space in JSON", repeated(`[{"a":1`, ` `, size), "refused, line 0: a value, or the space between two, is longer than 1048576 bytes"},
		{"line of NDJSON", repeated("{\"user\":\"u\"}\n{\"user\":\"", "x", size), "refused, line 2: a line is longer than 1048576 bytes"},
		{"line of a calendar", repeated("BEGIN:VCALENDAR\nSUMMARY:", "x", size), "refused, line 2: a line is longer than 1048576 bytes"},
		{"folds of a calendar", repeated("BEGIN:VCALENDAR\nSUMMARY:", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n ", size), "refused, line 2: a line is longer than 1048576 bytes"},
		{"components of a calendar", repeated("", "BEGIN:VCALENDAR\n", size), "refused, line 33: the calendar is nested deeper than 32 levels"},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		got := outcome(t, Config{Stdin: c.content})
		runtime.ReadMemStats(&after)
		if got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
		if spent := (after.TotalAlloc - before.TotalAlloc) >> 20; spent > 64 {
			t.Errorf("%s: %d MiB were allocated", c.name, spent)
		}
	}
	whole := Config{Stdin: repeated(header, "u-1,2026-11-16,Apollo,1,fine\n", 1<<20), Limits: Limits{File: 1 << 20}}
	if got := outcome(t, whole); !strings.Contains(got, "refused") && !strings.Contains(got, "longer than 1048576 bytes") {
		t.Errorf("got %q", got)
	}
}

// What is named need not be a file, nor where it seems to be.
func TestCorpusOfPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "week.csv")
	if err := os.WriteFile(file, []byte("user_id,date,project,hours\nu-1,2026-11-16,Apollo,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.csv")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	for path, want := range map[string]string{
		dir: "directory", link: "symbolic link", "/dev/null": "device", filepath.Join(dir, "none.csv"): "no such file",
		filepath.Join(file, "week.csv"): "cannot be opened",
	} {
		if got := outcome(t, Config{Files: []string{path}}); !strings.HasPrefix(got, "refused") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	// A name in the data never becomes a path.
	res := must(t, Config{Files: []string{corpus + "paths.csv"}})
	if len(res.entries) != 2 || res.entries[0].Person != "../../etc/passwd" || res.entries[0].Project != "/etc/shadow" || res.entries[0].Origin.File != corpus+"paths.csv" {
		t.Errorf("got %+v", res.entries)
	}
}
