package source

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

const (
	pivotHead = "Organization,Member,Email,Project,2026-03-02,2026-03-03,Total worked"
	pivotRow  = "Acme,Ada,ada@example.test,Website,1:30:15,0:45:00,2:15:15"
)

func pivotConfig(lines ...string) Config {
	cfg := text(strings.Join(lines, "\n") + "\n")
	cfg.Defaults = Defaults{Project: "P"}
	return cfg
}

// The export of another range, with other days in other columns, has the same
// entries under the same keys.
func TestPivotRanges(t *testing.T) {
	t.Parallel()
	first := must(t, pivotConfig(pivotHead, pivotRow))
	if len(first.entries) != 2 || first.seconds() != 5415+2700 || first.entries[0].Project != "Website" {
		t.Fatalf("got %+v", first)
	}
	later := must(t, pivotConfig("Organization,Email,Member,Project,Note,2026-03-03,2026-03-04,Total worked", "Acme,ada@example.test,Ada,Website,x,0:45:00,1:00:00,1:45:00"))
	if first.entries[1].Key != later.entries[0].Key || later.entries[0].Origin.String() != "-:2:6" {
		t.Errorf("got %s %x, want the key %x", later.entries[0].Origin, later.entries[0].Key, first.entries[1].Key)
	}
	// Two equal rows are two entries a day, of another person two more.
	twice := must(t, pivotConfig(pivotHead, pivotRow, pivotRow, strings.ReplaceAll(pivotRow, "ada@", "bob@")))
	if len(twice.entries) != 6 {
		t.Errorf("got %d entries", len(twice.entries))
	}
}

// In whatever form, every cell is the same entry, and its place is told.
func TestPivotForms(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(presetDir + "hubstaff.csv")
	if err != nil {
		t.Fatal(err)
	}
	want := must(t, Config{Files: []string{presetDir + "hubstaff.csv"}, Defaults: Defaults{Project: "P"}})
	for name, cfg := range map[string]Config{
		"gzip": bytesOf(gzipped(t, raw)), "xlsx": {Files: []string{exports + "xlsx/hubstaff.xlsx"}}, "crlf": text(strings.ReplaceAll(string(raw), "\n", "\r\n")),
		"named": {Files: []string{presetDir + "hubstaff.csv"}, Preset: "hubstaff"},
	} {
		cfg.Defaults = Defaults{Project: "P"}
		res := must(t, cfg)
		if diff := cmp.Diff(keysOf(want), keysOf(res)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		down := map[string]int{"xlsx": 2}[name] // lines above the table
		for i, e := range res.entries {
			if o := want.entries[i].Origin; e.Origin.Line != o.Line+down || e.Origin.Column != o.Column {
				t.Errorf("%s: got %s, want %s", name, e.Origin, o)
			}
		}
	}
	// A fallback to Windows-1252 is said.
	res := must(t, pivotConfig(pivotHead, strings.ReplaceAll(pivotRow, "Website", "Caf\xe9")))
	if len(res.survey.Notes) != 1 || res.entries[0].Project != "Café" {
		t.Errorf("got %q, notes %q", res.entries[0].Project, res.survey.Notes)
	}
}

func TestPivotRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ row, want string }{
		"empty cells":    {"Acme,Ada,ada@example.test,W,,-,0:00:00", "2:1 zero"},
		"zero":           {"Acme,Ada,ada@example.test,W,0:00:00,0:00,0:00:00", "2:5 zero, 2:6 zero"},
		"no person":      {"Acme,,,W,1:00:00,,1:00:00", "2:1 subtotal"},
		"total":          {"Acme,Totals,,W,1:00:00,,1:00:00", "2:1 subtotal"},
		"other total":    {"Acme,Ada,ada@example.test,W,1:00:00,,1:00:05", "2:5 bad_row"},
		"no total":       {"Acme,Ada,ada@example.test,W,1:00:00,,", "2:5 3600"},
		"no hours":       {"Acme,Ada,ada@example.test,W,sick,1:00:00,1:00:00", "2:5 bad_duration, 2:6 3600"},
		"negative":       {"Acme,Ada,ada@example.test,W,-1:00:00,,-1:00:00", "2:5 negative"},
		"short":          {"Acme,Ada,ada@example.test,W,1:00:00", "2:5 bad_row"},
		"long":           {"Acme,Ada,ada@example.test,W,1:00:00,,1:00:00,x", "2:5 bad_row"},
		"NUL":            {"Acme,Ada,ada\x00@example.test,W,1:00:00,,1:00:00", "2:1 bad_row"},
		"nothing at all": {"Acme", "2:1 bad_row"},
	} {
		res, err := read(t, pivotConfig(pivotHead, c.row))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, e := range res.entries {
			got = append(got, fmt.Sprintf("%s %d", strings.TrimPrefix(e.Origin.String(), "-:"), e.Duration))
		}
		for _, r := range res.rejected {
			got = append(got, fmt.Sprintf("%s %s", strings.TrimPrefix(r.Origin.String(), "-:"), r.Reason))
		}
		for _, s := range res.skipped {
			got = append(got, fmt.Sprintf("%s %s", strings.TrimPrefix(s.Origin.String(), "-:"), s.Reason))
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A refused cell goes out as a row of its own, and comes back as what it was.
func TestPivotRejectsComeBack(t *testing.T) {
	t.Parallel()
	r := must(t, pivotConfig(pivotHead, "Acme,Ada,ada@example.test,W,sick,1:00:00,1:00:00")).rejected[0]
	mended := slices.Clone(r.Record)
	mended[slices.Index(r.Header, cellColumn)] = "0:30:00"
	res := must(t, pivotConfig(strings.Join(r.Header, ","), strings.Join(mended, ",")))
	want := must(t, pivotConfig(pivotHead, "Acme,Ada,ada@example.test,W,0:30:00,1:00:00,1:30:00")).entries[0]
	if len(res.entries) != 1 || res.entries[0].Key != want.Key || res.decision("tracker") != "hubstaff :1" {
		t.Errorf("got %+v, want %+v", res.entries, want)
	}
}

func TestBadPivots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content []string
		message string
	}{
		"no day":          {[]string{"Organization,Member,Email,Total worked", "Acme,Ada,a,1:00:00"}, "no column is a day"},
		"day twice":       {[]string{"Organization,Member,2026-03-02,2026-03-02,Total worked"}, "in the header twice"},
		"two ways":        {[]string{"Organization,Member,2026-03-02,Tue 3/3,Total worked"}, "written in two ways"},
		"no such week":    {[]string{"Organization,Member,Mon 3/2,Mon 3/3,Total worked"}, "in no year"},
		"one day":         {[]string{"Organization,Member,Mon 3/2,Total worked"}, "in no year"},
		"second header":   {[]string{pivotHead, pivotRow, pivotHead}, "more than one table"},
		"open quotation":  {[]string{pivotHead, "Acme,\"Ada,a,W,1:00:00,,"}, "never closed"},
		"mixed encodings": {[]string{pivotHead, "Acme,Café,Caf\xe9,W,1:00:00,,"}, "mixes UTF-8"},
	} {
		_, err := read(t, pivotConfig(c.content...))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, c.message) || e.HintText == "" || e.File != "-" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	cut := pivotConfig()
	cut.Stdin = strings.NewReader(pivotHead + "\n" + pivotRow + "\nAcme,Ada,ada@exam")
	if _, err := read(t, cut); err == nil || !strings.Contains(err.Error(), "-:3: the file is cut off") {
		t.Errorf("got %v", err)
	}
	// A source that is told which columns are which is taken at its word.
	mapped := pivotConfig(pivotHead, pivotRow)
	mapped.Columns = map[string]string{"user": "Email", "date": "Day", "duration": "Total worked"}
	if _, err := read(t, mapped); err == nil || !strings.Contains(err.Error(), `"day"`) {
		t.Errorf("got %v", err)
	}
}

// The year of days without one is that in which the days of the week are right.
func TestFitDays(t *testing.T) {
	t.Parallel()
	today := timesheet.Date(2026, 11, 28)
	for header, want := range map[string]string{
		"Mon 3/2|Tue 3/3":                 "2026-03-02",
		"Mon, 2/3|Tue, 3/3":               "2026-03-02", // day before month
		"Wed 12/31|Thu 1/1":               "2025-12-31",
		"Mon 11/30|Tue 12/1":              "2020-11-30", // this year's is still to come
		"Sat 02/28|Sun 02/29":             "2004-02-28",
		"Mon 3/2":                         "", // 3 February of 2025 as well
		"Mon 3/3":                         "2025-03-03",
		"Mon 3/16":                        "2026-03-16",
		"Mon 13/14|Tue 13/15":             "",
		"Sun 3/1|Mon 3/2|Tue 3/3|Thu 3/5": "",
		"Thu 10/1|Fri 11/1|Sat 12/1":      "2019-01-10",
		"Tue 1/1|Thu 2/1":                 "",
	} {
		var short [][]string
		for h := range strings.SplitSeq(header, "|") {
			m := shortDay.FindStringSubmatch(fold(h))
			if m == nil {
				t.Fatalf("%q is no day", h)
			}
			short = append(short, m)
		}
		got := ""
		if day, ok := fitDays(short, today); ok {
			got = day.String()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
}

// Whatever stands in such an export, each line and cell ends as one thing.
func FuzzPivot(f *testing.F) {
	raw, err := os.ReadFile(presetDir + "hubstaff.csv")
	if err != nil {
		f.Fatal(err)
	}
	head, body, _ := strings.Cut(string(raw), "\n")
	f.Add(head, body)
	f.Add(pivotHead, pivotRow)
	f.Add("Organization;Member;Mon 3/2;Tue 3/3;Total worked", "Acme;\"Ada\nB\";1:00;;1:00")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, head, body string) {
		cfg := pivotConfig(head, body)
		cfg.SpoolDir, cfg.Preset, cfg.Limits = dir, "hubstaff", Limits{Line: 4096, Field: 256}
		if _, err := read(t, cfg); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" || e.HintText == "" {
				t.Errorf("got %v", err)
			}
		}
	})
}
