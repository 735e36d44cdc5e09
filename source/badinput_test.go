package source

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestBadRows(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/rows.csv"}, Decimal: ".", Rules: Rules{Future: FutureReject}})
	got := map[int]timesheet.Reason{}
	for _, r := range res.rejected {
		got[r.Origin.Line] = r.Reason
		if r.Message == "" || r.Hint == "" || len(r.Header) != 5 || len(r.Record) == 0 || r.Key == (timesheet.Key{}) {
			t.Errorf("%s: incomplete: %+v", r.Origin, r)
		}
	}
	for _, s := range res.skipped {
		got[s.Origin.Line] = s.Reason
	}
	want := map[int]timesheet.Reason{
		3: timesheet.ReasonBadDuration, 4: timesheet.ReasonBadDuration, 5: timesheet.ReasonBadDuration, 6: timesheet.ReasonBadDuration,
		7: timesheet.ReasonBadDuration, 8: timesheet.ReasonBadDuration, 9: timesheet.ReasonBadDuration, 10: timesheet.ReasonNegative,
		11: timesheet.ReasonTooLong, 12: timesheet.ReasonBadDuration, 13: timesheet.ReasonBadDuration, 14: timesheet.ReasonMissing,
		15: timesheet.ReasonZero, 16: timesheet.ReasonBadDate, 17: timesheet.ReasonBadDate, 18: timesheet.ReasonMissing,
		19: timesheet.ReasonTooOld, 20: timesheet.ReasonFuture, 21: timesheet.ReasonUnknownUser, 22: timesheet.ReasonBadPerson,
		23: timesheet.ReasonMissing, 24: timesheet.ReasonBadRow, 25: timesheet.ReasonBadRow, 26: timesheet.ReasonBadDuration,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What looks like a formula is text, and not ours to alter.
	if len(res.entries) != 2 || res.entries[1].Notes != "=cmd|' /C calc'!A0" {
		t.Errorf("got %+v", res.entries)
	}
}

func TestRagged(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/ragged.csv"}})
	if len(res.entries) != 2 || len(res.rejected) != 2 || res.entries[1].Origin.Line != 5 {
		t.Fatalf("got %d, %d", len(res.entries), len(res.rejected))
	}
	if r := res.rejected[0]; r.Message != "the row has 4 values, the header has 5" || r.Origin.Line != 3 {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"u-3", "2026-11-16", "Apollo", "8", "x", "y"}, res.rejected[1].Record); diff != "" {
		t.Error(diff)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	want := must(t, Config{Files: []string{exports + "bad/bom.csv"}})
	for file, encoding := range map[string]string{
		"utf16le.csv": "utf-16le byte-order mark", "utf16be-no-bom.csv": "utf-16be zero bytes",
		"windows-1252.csv": "windows-1252 not valid UTF-8", "preamble.csv": "utf-8 valid throughout", "no-final-newline.csv": "utf-8 valid throughout",
	} {
		res := must(t, Config{Files: []string{exports + "bad/" + file}})
		if got := res.decision("encoding"); got != encoding {
			t.Errorf("%s: got %q, want %q", file, got, encoding)
		}
		if len(res.entries) != 2 || res.entries[0].Key != want.entries[0].Key || res.entries[1].Key != want.entries[1].Key || res.entries[0].Project != "Café" {
			t.Errorf("%s: got %+v", file, res.entries)
		}
		switch complete := res.survey.Complete; file {
		case "no-final-newline.csv":
			if complete || len(res.survey.Notes) != 1 {
				t.Errorf("%s: got %t, %q", file, complete, res.survey.Notes)
			}
		case "preamble.csv":
			if line := res.entries[0].Origin.Line; line != 5 {
				t.Errorf("%s: got line %d, want 5", file, line)
			}
		case "windows-1252.csv":
			if len(res.survey.Notes) != 1 {
				t.Errorf("%s: got notes %q", file, res.survey.Notes)
			}
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		line          int
		message, hint string
	}{
		"mixed-encodings.csv":    {0, "mixes UTF-8", "UTF-8"},
		"lone-cr.csv":            {1, "CR alone", "LF or CRLF"},
		"login.html.csv":         {0, "login page", "log in"},
		"unterminated-quote.csv": {3, "never closed", "quotation mark"},
		"undecidable-dates.csv":  {2, "whether the day or the month", "date_format"},
		"both-date-orders.csv":   {4, "see also line 3", "spreadsheet"},
		"both-decimals.csv":      {3, "see also line 2", "decimal"},
		"empty.csv":              {0, "empty", "header"},
		"missing-column.csv":     {1, "(date)", `nearest header is "datum"`},
		"repeated-header.csv":    {1, `"hours" stands in the header twice`, "rename"},
		"thirty-percent.csv":     {0, "18 of 60 rows are bad", "compare its header with the columns"},
		"two-tables.csv":         {5, "more than one table", "one table per file"},
		"appended.csv":           {3, "more than one table", "one table per file"},
		"cut-last-line.csv":      {3, "cut off in its last line", "export it again"},
		"json.csv":               {0, "(date)", "columns"},
		"none.csv":               {0, "no such file", "path"},
	} {
		_, err := read(t, Config{Files: []string{exports + "bad/" + file}})
		var e *Error
		if !errors.As(err, &e) || e.Line != want.line || !strings.Contains(e.Message, want.message) || !strings.Contains(e.Hint(), want.hint) ||
			e.File != exports+"bad/"+file || e.Source != "test" {
			t.Errorf("%s: got %v, hint %q", file, err, e.Hint())
		}
	}
	for name, want := range map[string]string{"directory": "directory", "link": "symbolic link"} {
		path := t.TempDir()
		if name == "link" {
			path += "/link.csv"
			if err := os.Symlink("/etc/hosts", path); err != nil {
				t.Skip(err)
			}
		}
		if _, err := read(t, Config{Files: []string{path}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestHeaderOnly(t *testing.T) {
	t.Parallel()
	if res := must(t, Config{Files: []string{exports + "bad/header-only.csv"}}); res.survey.Rows != 0 || !res.survey.Complete {
		t.Errorf("got %+v", res.survey)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	head := "user,date,hours,project\nu,2026-11-16,1,x\n"
	big := strings.Repeat("y", 70<<10)
	res := must(t, text(head+"u,2026-11-16,1,"+big+"\nu,2026-11-16,1,\""+big+"\"\nu,2026-11-16,2,z\n"))
	if len(res.entries) != 2 || len(res.rejected) != 2 || res.rejected[0].Reason != timesheet.ReasonBadRow {
		t.Errorf("got %d, %d", len(res.entries), len(res.rejected))
	}
	for name, content := range map[string]string{
		"line": head + "u,2026-11-16,1," + strings.Repeat("y", 1<<20) + "\n", "quote": head + "u,2026-11-16,1,\"" + strings.Repeat("y\n", 1<<20) + "\"\n",
	} {
		var e *Error
		if _, err := read(t, text(content)); !errors.As(err, &e) || e.Line != 3 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	small := text(head)
	small.Limits.File = 10
	if _, err := read(t, small); err == nil {
		t.Error("a file over the limit is read")
	}
}

// One row with an old line end is one bad row.
func TestCRInRow(t *testing.T) {
	t.Parallel()
	res := must(t, text("user,date,project,hours\nu,2026-11-16,P\rQ,1\nu,2026-11-16,P,1\nu,2026-11-16,P,n.a.\n"))
	if len(res.entries) != 1 || len(res.rejected) != 2 || res.rejected[0].Reason != timesheet.ReasonBadRow {
		t.Errorf("got %+v", res)
	}
}
