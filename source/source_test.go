package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	parts    [][]timesheet.Entry // of entries over midnight
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

// opened is a Reading that is closed with the test.
func opened(t *testing.T, cfg Config) *Reading {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// read goes through both passes as the uploader does, and checks what must
// hold of every reading.
func read(tb testing.TB, cfg Config) (*result, error) {
	tb.Helper()
	if cfg.Name == "" {
		cfg.Name = "test"
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.Rules.Future == "" {
		cfg.Rules.Future = FutureAllow // no test may fail by the date on which it runs
	}
	if cfg.SpoolDir == "" {
		cfg.SpoolDir = tb.TempDir()
	}
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	r, err := s.Open(tb.Context())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(cfg.SpoolDir, "spool-*")); err != nil || len(left) > 0 {
			tb.Errorf("spool files left behind: %v, %v", left, err)
		}
	}()
	var res result
	before, err := r.Fingerprint(tb.Context())
	if err != nil {
		return nil, err
	}
	for _, u := range r.units {
		u.hashed = false
	}
	if res.survey, err = r.Survey(tb.Context()); err != nil {
		return nil, err
	}
	if res.survey.Fingerprint != before {
		tb.Error("Survey and Fingerprint give different fingerprints")
	}
	rows := 0
	keys := map[timesheet.Key]bool{}
	err = r.Rows(tb.Context(), func(row *timesheet.Row) error {
		rows++
		n := 0
		if row.Entry != nil {
			n++
			res.entries = append(res.entries, *row.Entry)
			if len(r.units) == 1 && keys[row.Entry.Key] {
				tb.Errorf("%s: key given out twice", row.Entry.Origin)
			}
			keys[row.Entry.Key] = true
			checkParts(tb, row)
			if row.Parts != nil {
				res.parts = append(res.parts, row.Parts)
			}
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
			tb.Errorf("row %d became %d things", rows, n)
		}
		return nil
	})
	if err == nil && rows != res.survey.Rows {
		tb.Errorf("got %d rows, want the %d of the survey", rows, res.survey.Rows)
	}
	return &res, err
}

// must reads what can be read.
func must(tb testing.TB, cfg Config) *result {
	tb.Helper()
	res, err := read(tb, cfg)
	if err != nil {
		tb.Fatal(err)
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
	res := must(t, Config{Name: "acme", Files: []string{exports + "week47.csv"}, Location: berlin})
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

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"timezone":        {Name: "x", Files: []string{"a"}},
		"one of":          {Name: "x", Location: time.UTC},
		"date_format":     {Name: "x", Location: time.UTC, Files: []string{"a"}, DateFormat: "2006-01-02"},
		"decimal":         {Name: "x", Location: time.UTC, Files: []string{"a"}, Decimal: "'"},
		"csv.delimiter":   {Name: "x", Location: time.UTC, Files: []string{"a"}, Delimiter: "#"},
		`near to "user"`:  {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"usr": "U"}},
		"columns.users":   {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"users": "U"}},
		"(date)":          {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"user": "U"}},
		"plain http":      {Name: "x", Location: time.UTC, HTTP: &HTTP{URL: "http://example.test/"}},
		"password":        {Name: "x", Location: time.UTC, HTTP: &HTTP{URL: "https://u:p@example.test/"}},
		"the same header": {Name: "x", Location: time.UTC, Files: []string{"a"}, Columns: map[string]string{"user": "U", "date": "S", "start": "s", "end": "E"}},
		"rules.future":    {Name: "x", Location: time.UTC, Files: []string{"a"}, Rules: Rules{Future: "maybe"}},
		"duration_format": {Name: "x", Location: time.UTC, Files: []string{"a"}, DurationFormat: "weeks"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
