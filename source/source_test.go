package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

const exports = "../testdata/export/"

// result is all that a reading gave.
type result struct {
	survey   timesheet.Survey
	entries  []timesheet.Entry
	rejected []timesheet.Rejection
	skipped  []timesheet.Skipped
}

func (r *result) seconds() (sum timesheet.Seconds) {
	for _, e := range r.entries {
		sum += e.Duration
	}
	return sum
}

func (r *result) decision(what string) string {
	for _, d := range r.survey.Files[0].Decisions {
		if d.What == what {
			return d.Value + " " + strings.TrimPrefix(d.Evidence, r.survey.Files[0].Name)
		}
	}
	return ""
}

// read goes through both passes as the uploader does, and checks what must
// hold of every reading.
func read(t testing.TB, cfg Config) (*result, error) {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.SpoolDir == "" {
		cfg.SpoolDir = t.TempDir()
	}
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	r, err := s.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(cfg.SpoolDir, "spool-*")); err != nil || len(left) > 0 {
			t.Errorf("spool files left behind: %v, %v", left, err)
		}
	}()
	var res result
	before, err := r.Fingerprint(t.Context())
	if err != nil {
		return nil, err
	}
	for _, u := range r.units {
		u.hashed = false
	}
	if res.survey, err = r.Survey(t.Context()); err != nil {
		return nil, err
	}
	if res.survey.Fingerprint != before {
		t.Error("Survey and Fingerprint give different fingerprints")
	}
	rows := 0
	keys := map[timesheet.Key]bool{}
	err = r.Rows(t.Context(), func(row *timesheet.Row) error {
		rows++
		n := 0
		if row.Entry != nil {
			n++
			res.entries = append(res.entries, *row.Entry)
			if len(r.units) == 1 && keys[row.Entry.Key] {
				t.Errorf("%s: key given out twice", row.Entry.Origin)
			}
			keys[row.Entry.Key] = true
		}
		if row.Rejection != nil {
			n++
			res.rejected = append(res.rejected, *row.Rejection)
		}
		if row.Skipped != nil {
			n++
			res.skipped = append(res.skipped, *row.Skipped)
		}
		if n != 1 {
			t.Errorf("row %d became %d things", rows, n)
		}
		return nil
	})
	if err == nil && rows != res.survey.Rows {
		t.Errorf("got %d rows, want the %d of the survey", rows, res.survey.Rows)
	}
	return &res, err
}

// must reads what can be read.
func must(t testing.TB, cfg Config) *result {
	t.Helper()
	res, err := read(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func text(content string) Config { return Config{Stdin: strings.NewReader(content)} }

func TestWeek47(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	res := must(t, Config{Name: "acme", Files: []string{exports + "week47.csv"}, Location: berlin, Rules: Rules{Future: FutureAllow}})
	if len(res.entries) != 20 || res.seconds() != 112*3600 || len(res.rejected)+len(res.skipped) > 0 {
		t.Errorf("got %d entries of %s h, %d rejected, %d skipped", len(res.entries), res.seconds().Hours(), len(res.rejected), len(res.skipped))
	}
	if !res.survey.Complete || len(res.survey.Notes) > 0 {
		t.Errorf("got complete %t, notes %q", res.survey.Complete, res.survey.Notes)
	}
	e := res.entries[0]
	e.Key, e.Digest = timesheet.Key{}, timesheet.Digest{}
	want := timesheet.Entry{
		Origin: timesheet.Origin{Source: "acme", File: exports + "week47.csv", Line: 2},
		Person: "u-1001", UserType: "Contractor", Day: timesheet.Date(2026, 11, 16), Project: "StoreZero",
		Notes: "Checkout: payment retries", Duration: 8 * 3600,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestStartEndExport(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	res := must(t, Config{
		Files: []string{exports + "start-end.csv"}, Location: berlin,
		Columns: map[string]string{
			"user": "Mitarbeiter", "project": "Projekt", "notes": "Tätigkeit", "date": "Datum", "start": "Von", "end": "Bis",
			"duration": "Dauer", "hours": "Stunden",
		},
		People: map[string]string{"ben@example.test": "u-1002"},
		Rules:  Rules{Future: FutureAllow},
	})
	if len(res.entries) != 31 || res.seconds() != 109*3600 || len(res.rejected) > 0 {
		t.Errorf("got %d entries of %s h, rejected %v", len(res.entries), res.seconds().Hours(), res.rejected)
	}
	var reasons []timesheet.Reason
	for _, s := range res.skipped {
		reasons = append(reasons, s.Reason)
	}
	if diff := cmp.Diff([]timesheet.Reason{timesheet.ReasonZero, timesheet.ReasonRunning}, reasons); diff != "" {
		t.Error(diff)
	}
	night := res.entries[30]
	if night.Person != "u-1002" || night.Start.Format(time.RFC3339) != "2026-11-20T22:30:00+01:00" ||
		night.End.Format(time.RFC3339) != "2026-11-21T01:15:00+01:00" || night.Day.String() != "2026-11-20" {
		t.Errorf("got %s, %s to %s on %s", night.Person, night.Start, night.End, night.Day)
	}
	for what, want := range map[string]string{
		"encoding": "utf-8 valid throughout", "delimiter": "semicolon :1", "date order": "D.M.YYYY :20", "decimal sign": ", :2",
	} {
		if got := res.decision(what); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if len(res.survey.Notes) != 1 || !strings.Contains(res.survey.Notes[0], `"Kunde", "Satz"`) {
		t.Errorf("got notes %q", res.survey.Notes)
	}
}

func TestMonthWithIDs(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "month-ids.csv"}})
	if len(res.entries) != 150 || res.seconds() != 1301148 {
		t.Errorf("got %d entries of %d s", len(res.entries), res.seconds())
	}
	var h timesheet.Hasher
	if e := res.entries[7]; e.ID == "" || e.Key != h.IDKey("test", e.ID) || e.UserType != DefaultUserType {
		t.Errorf("got %+v", e)
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "people.csv"}})
	if len(res.entries) != 40 || res.seconds() != 150*3600 {
		t.Errorf("got %d entries of %s h", len(res.entries), res.seconds().Hours())
	}
	// Lines are those of the file, whatever stands in the quotes before them.
	data, err := os.ReadFile(exports + "people.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for _, e := range res.entries {
		if !strings.HasPrefix(lines[e.Origin.Line-1], `"`+e.Person+`","`+e.Day.String()) {
			t.Errorf("%s: %q is not %s's", e.Origin, lines[e.Origin.Line-1], e.Person)
		}
		if strings.Contains(e.Notes, "\r") {
			t.Errorf("%s: the line ends of the file are in the notes %q", e.Origin, e.Notes)
		}
	}
}

// What decides identity is what was written, not how the file is made or read.
func TestIdentity(t *testing.T) {
	t.Parallel()
	keys := func(cfg Config) (out []timesheet.Key) {
		t.Helper()
		for _, e := range must(t, cfg).entries {
			out = append(out, e.Key)
		}
		return out
	}
	base := "user,date,start,end,project,notes\nZoe\u0308,2026-11-16,09:00:00,10:30:00,P,a\nB,2026-11-17,09:00:00,10:00:00,,\"b\nc\"\n"
	withDefaults := func(content string) Config {
		c := text(content)
		c.Defaults = Defaults{Project: "D"}
		return c
	}
	want := keys(withDefaults(base))
	mapped := withDefaults(base)
	mapped.Location = time.FixedZone("X", 7*3600)
	mapped.Defaults = Defaults{Project: "Other", Task: "T", UserType: "Employee"}
	mapped.People = map[string]string{"Zoë": "1", "B": "2"}
	mapped.Projects = map[string]string{"P": "Q"}
	german := withDefaults("Wer;Tag;Von;Bis;Was;Wozu;egal\n B;17.11.2026;9:00;10:00;;\"b\r\nc\";\nZoë ;16.11.2026;09:00;10:30 ;P;a;1\n")
	german.Columns = map[string]string{"user": "wer", "date": "tag", "start": "von", "end": "bis", "project": "was", "notes": "wozu"}
	for name, got := range map[string][]timesheet.Key{
		"crlf and bom": keys(withDefaults("\ufeff" + strings.ReplaceAll(base, "\n", "\r\n"))),
		"mapping":      keys(mapped),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(name, diff)
		}
	}
	if got := keys(german); len(got) != 2 || got[0] != want[1] || got[1] != want[0] {
		t.Error("another layout and order gives other keys")
	}
	other := withDefaults(base)
	other.ID = "other"
	if keys(other)[0] == want[0] {
		t.Error("another source id gives the same keys")
	}
}

func TestEqualRows(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/equal-rows.csv"}})
	if len(res.entries) != 4 || res.seconds() != 27000 {
		t.Errorf("got %d entries of %s h", len(res.entries), res.seconds().Hours())
	}
	// The same rows in an overlapping file are the same entries.
	two := must(t, Config{Files: []string{exports + "bad/equal-rows.csv", exports + "bad/equal-rows.csv"}})
	for i := range res.entries {
		if two.entries[i].Key != res.entries[i].Key || two.entries[i+4].Key != res.entries[i].Key {
			t.Errorf("entry %d has other keys in two files", i)
		}
	}
}

func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/duplicate-ids.csv"}})
	if len(res.entries) != 3 || len(res.skipped) != 1 || len(res.rejected) != 1 {
		t.Fatalf("got %d, %d, %d", len(res.entries), len(res.skipped), len(res.rejected))
	}
	if s := res.skipped[0]; s.Reason != timesheet.ReasonDuplicate || s.Origin.Line != 4 {
		t.Errorf("got %+v", s)
	}
	if r := res.rejected[0]; r.Reason != timesheet.ReasonDuplicateID || r.Origin.Line != 5 || r.Key != res.entries[1].Key || !r.HasDay || r.Duration != 6*3600 {
		t.Errorf("got %+v", r)
	}
}

func TestBadRows(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/rows.csv"}, Decimal: "."})
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
		"thirty-percent.csv":     {0, "18 of 60 rows are bad", "inspect"},
		"json.csv":               {0, "JSON", "http"},
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

func TestDurations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, row string
		want        timesheet.Seconds
		reason      timesheet.Reason
	}{
		{"start,end", "09:00,10:30", 5400, ""},
		{"start,end", "9:00 AM,1:30 PM", 16200, ""},
		{"start,end", "22:00,02:00", 14400, ""},
		{"start,end", "09:00,09:00", 0, timesheet.ReasonZero},
		{"start,end,duration", "09:00,09:00,24:00", 86400, ""},
		{"start,end", "09:00,", 0, timesheet.ReasonRunning},
		{"start,end,duration", "09:00,,00:00:00", 0, timesheet.ReasonRunning},
		{"start,end,duration", "09:00,,1:00", 3600, ""},
		{"start,end,duration", ",,1:00", 3600, ""},
		{"start,end", ",10:00", 0, timesheet.ReasonMissing},
		{"start,end", ",", 0, timesheet.ReasonMissing},
		{"start,end", "24:00,01:00", 0, timesheet.ReasonBadTime},
		{"start,end", "23:59:60,01:00", 0, timesheet.ReasonBadTime},
		{"start,end,end_date", "22:00,21:00,2026-11-17", 82800, ""},
		{"start,end,end_date", "22:00,21:00,2026-11-16", -3600, timesheet.ReasonNegative},
		{"start,end,end_date", "09:00,10:00,2026-11-18", 0, timesheet.ReasonTooLong},
		{"start,end,duration", "09:00:00,10:30:15,01:30:16", 5415, ""},
		{"start,end,duration", "09:00:00,10:30:15,01:30:17", 0, timesheet.ReasonDisagree},
		{"start,end,duration", "09:00:00,10:30:59,1:30", 5459, ""},
		{"start,end,duration", "09:00:00,10:31:01,1:30", 0, timesheet.ReasonDisagree},
		{"start,end,hours", "09:00:00,10:30:17,1.50", 5417, ""},
		{"start,end,hours", "09:00:00,10:30:19,1.50", 0, timesheet.ReasonDisagree},
		{"duration,hours", "1:30:17,1.50", 5417, ""},
		{"duration,hours", "1:30,2", 0, timesheet.ReasonDisagree},
		{"duration,hours", "1.5,", 5400, ""},
		{"duration", "-0:30", 0, timesheet.ReasonNegative},
		{"duration", "26:00", 0, timesheet.ReasonTooLong},
		{"hours", "0.333333", 1200, ""},
		{"start", "2026-11-16T09:00", 0, ""}, // no end: refused whole
	} {
		if c.header == "start" {
			continue
		}
		commas := strings.Count(c.header, ",")
		res := must(t, text("user,date,project,"+c.header+",notes\nu,2026-11-16,P,"+c.row+",x\n"))
		var got timesheet.Reason
		var sec timesheet.Seconds
		switch {
		case len(res.entries) == 1:
			sec = res.entries[0].Duration
		case len(res.rejected) == 1:
			got = res.rejected[0].Reason
		case len(res.skipped) == 1:
			got = res.skipped[0].Reason
		}
		if got != c.reason || c.reason == "" && sec != c.want {
			t.Errorf("%s: %s (%d): got %d %q, want %d %q", c.header, c.row, commas, sec, got, c.want, c.reason)
		}
	}
	for format, want := range map[string]timesheet.Seconds{"minutes": 5400, "seconds": 90, "decimal": 90 * 3600} {
		cfg := text("user,date,project,duration\nu,2026-11-16,P,90\n")
		cfg.DurationFormat, cfg.Rules.MaxPerEntry = format, 1e6
		if got := must(t, cfg).entries[0].Duration; got != want {
			t.Errorf("%s: got %d, want %d", format, got, want)
		}
	}
}

// A night on which the clocks change is as long as the wall says; stamps with
// offsets are as far apart as they are.
func TestClockChange(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := text("user,date,project,start,end\nu,2026-03-29,P,01:00,04:00\nu,2026-10-25,P,01:00,04:00\n" +
		"u,,P,2026-03-29T00:30:00Z,2026-03-29T02:30:00Z\nu,,P,2026-11-15T23:30:00Z,2026-11-16T00:30:00.5+00:00\n")
	cfg.Location = berlin
	res := must(t, cfg)
	var got []string
	for _, e := range res.entries {
		got = append(got, e.Day.String()+" "+e.Duration.Clock())
	}
	want := []string{"2026-03-29 3:00:00", "2026-10-25 3:00:00", "2026-03-29 2:00:00", "2026-11-16 1:00:00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMaps(t *testing.T) {
	t.Parallel()
	cfg := text("user,date,project,hours\nAda,2026-11-16,Web,1\nu-2,2026-11-16,Other,1\nEve,2026-11-16,Web,1\n")
	cfg.People = map[string]string{"Ada": "u-1", "Bob": "u-2"}
	cfg.Projects = map[string]string{"Web": "Website"}
	res := must(t, cfg)
	if len(res.entries) != 2 || res.entries[0].Person != "u-1" || res.entries[0].Project != "Website" || res.entries[0].Hold != "" ||
		res.entries[1].Person != "u-2" || res.entries[1].Hold != timesheet.ReasonProject {
		t.Errorf("got %+v", res.entries)
	}
	if len(res.rejected) != 1 || res.rejected[0].Reason != timesheet.ReasonUnknownUser || res.rejected[0].Column != "user" {
		t.Errorf("got %+v", res.rejected)
	}
	fixed := text("date,hours\n2026-11-16,1\n")
	fixed.User, fixed.UserType, fixed.Defaults.Project = "007", "Employee", "P"
	if e := must(t, fixed).entries[0]; e.Person != "007" || e.UserType != "Employee" || e.Project != "P" {
		t.Errorf("got %+v", e)
	}
}

// The date order may be plain only at the end of the file.
func TestDateOrder(t *testing.T) {
	t.Parallel()
	for last, want := range map[string]string{"02/13/2026": "2026-02-01", "13/02/2026": "2026-01-02"} {
		res := must(t, text("user,date,project,hours\nu,02/01/2026,P,1\nu,"+last+",P,1\n"))
		if got := res.entries[0].Day.String(); got != want || !strings.HasSuffix(res.decision("date order"), ":3") {
			t.Errorf("%s: got %s by %q, want %s", last, got, res.decision("date order"), want)
		}
	}
	cfg := text("user,date,project,hours\nu,01/02/2026,P,1\n")
	cfg.DateFormat = "DD/MM/YYYY"
	if got := must(t, cfg).entries[0].Day.String(); got != "2026-02-01" {
		t.Errorf("got %s", got)
	}
}

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

func TestChangedWhileRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte("user,date,project,hours\nu,2026-11-16,P,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Name: "x", Files: []string{path}, Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
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

// The caller's own error comes back as it is, and nothing is left running.
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
	if err := r.Rows(t.Context(), func(*timesheet.Row) error {
		if n++; n == 700 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) || n != 700 {
		t.Errorf("got %v after %d", err, n)
	}
}

// Tomorrow's row is refused today, and the file is another one to read tomorrow.
func TestFuture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte("user,date,project,hours\nu,2000-01-02,P,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The clock of the bubble begins at midnight of 2000-01-01, in UTC.
	synctest.Test(t, func(t *testing.T) {
		today := must(t, Config{Files: []string{path}})
		if len(today.rejected) != 1 || today.rejected[0].Reason != timesheet.ReasonFuture {
			t.Errorf("got %+v", today.rejected)
		}
		time.Sleep(24 * time.Hour)
		tomorrow := must(t, Config{Files: []string{path}})
		if len(tomorrow.entries) != 1 || tomorrow.survey.Fingerprint == today.survey.Fingerprint {
			t.Errorf("got %+v", tomorrow)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"timezone":        {Name: "x", Files: []string{"a"}},
		"one of":          {Name: "x", Location: time.UTC},
		"date_format":     {Name: "x", Location: time.UTC, Files: []string{"a"}, DateFormat: "2006-01-02"},
		"decimal":         {Name: "x", Location: time.UTC, Files: []string{"a"}, Decimal: "'"},
		"csv.delimiter":   {Name: "x", Location: time.UTC, Files: []string{"a"}, Delimiter: "#"},
		"columns.users":   {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"users": "U"}},
		"(date)":          {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"user": "U"}},
		"plain http":      {Name: "x", Location: time.UTC, HTTP: &HTTP{URL: "http://example.test/"}},
		"password":        {Name: "x", Location: time.UTC, HTTP: &HTTP{URL: "https://u:p@example.test/"}},
		"rules.future":    {Name: "x", Location: time.UTC, Files: []string{"a"}, Rules: Rules{Future: "maybe"}},
		"duration_format": {Name: "x", Location: time.UTC, Files: []string{"a"}, DurationFormat: "weeks"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
