package source

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"github.com/exampleco/tsupload/internal/timesheet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type presetFile struct {
	file, preset string
	seconds      timesheet.Seconds
	rows         string // entries, skipped, rejected
	user         string // for exports without a person
}

// presetFiles are the fixtures of every variant: which preset reads each, and
// the seconds that are in it, added up by hand from what the tracker means.
var presetFiles = []presetFile{
	{"toggl", "toggl", 5415 + 6630 + 1801 + 2*1200, "5 2 1", ""},
	{"toggl-quoted-eur", "toggl", 5415 + 3600, "2 0 0", ""},
	{"toggl-no-amount", "toggl", 5415 + 10800, "2 0 0", ""},
	{"toggl-empty-currency", "toggl", 5415, "1 0 0", ""},
	{"clockify-us-full", "clockify", 5415 + 3340 + 2700, "3 0 1", ""},
	{"clockify-eu-compact", "clockify", 5400 + 780 + 3600 + 3900, "4 0 0", ""},
	{"clockify-type-break", "clockify", 5415 + 40, "2 1 0", ""},
	{"clockify-iso-decimal", "clockify", 5415 + 3601, "2 0 0", ""},
	{"clockify-minutes-seconds", "clockify", 3601 + 40, "2 0 0", ""},
	{"clockify-duration-decimal", "clockify", 12600 + 900, "2 0 0", ""},
	{"clockify-no-duration", "clockify", 5415 + 3600, "2 0 0", ""},
	{"clockify-few-columns", "clockify", 5415 + 900, "2 0 0", "ada"},
	{"clockify-crlf", "clockify", 5415, "1 0 0", ""},
	{"harvest", "harvest", 5400 + 5400 + 1188, "3 1 0", ""},
	{"harvest-comma", "harvest", 5400 + 36, "2 0 1", ""},
	{"harvest-new", "harvest", 27900, "1 0 0", ""},
	{"kimai", "kimai", 5400 + 2700 + 360, "3 0 1", ""},
	{"kimai-german", "kimai", 5415 + 420, "2 0 0", ""},
	{"tempo", "tempo", 5400 + 900, "2 0 0", ""},
	{"toggl-long", "toggl", 86400 + 3600, "2 0 1", ""},
	{"clockify-compact-seconds", "clockify", 40 + 3660, "2 1 0", ""},
	{"clockify-am-pm-mixed-seconds", "clockify", 3601, "1 0 1", ""},
	{"kimai-decimal", "kimai", 420 + 5415, "2 0 0", ""},
	{"kimai-import", "kimai-import", 5415 + 2700, "2 0 1", ""},
	{"kimai-import.json", "kimai-import", 5415, "1 0 0", ""},
	{"tempo.xlsx", "tempo", 5400 + 900, "2 0 0", ""},
	{"super-productivity-by-task", "super-productivity", 5400 + 22500, "2 0 0", "ada"},
	{"watson", "watson", 5415 + 4200, "2 0 0", "ada"},
	{"timetagger", "timetagger", 5400 + 900, "2 2 0", ""},
	{"simple-time-tracker", "simple-time-tracker", 5405 + 40, "2 0 0", "ada"},
	{"clockify-cli", "clockify-cli", 5415, "1 1 0", ""},
	{"super-productivity", "super-productivity", 27900 + 2700, "2 1 1", "ada"},
	{"super-productivity-millis", "super-productivity", 27900 + 1, "2 0 0", "ada"},
	{"super-productivity-words", "super-productivity", 27900 + 5400 + 2700, "3 0 0", "ada"},
	{"timewarrior.json", "timewarrior", 5415 + 9000, "2 2 0", "ada"},
	{"timewarrior-old.json", "timewarrior", 5415 + 900, "2 0 0", "ada"},
	{"watson.json", "watson-json", 5415 + 4200, "2 0 0", "ada"},
	{"clockify-api.json", "clockify-api", 5415 + 10840, "2 2 1", ""},
	{"clockify-api-reports.json", "clockify-api", 5415, "1 0 0", ""},
	{"clockify-api-few.json", "clockify-api", 5415, "1 1 0", "ada"},
	{"calendar.ics", "ical", 5415 + 5400 + 3600 + 2700 + 1200 + 82800, "6 3 4", "ada"},
	{"hubstaff", "hubstaff", 5415 + 27900 + 2401, "3 3 3", ""},
	{"hubstaff-short-days", "hubstaff", 5415 + 27900, "2 1 0", ""},
	{"tempo-russian", "tempo", 5400 + 900, "2 0 0", ""},
	{"hamster.tsv", "hamster", 2 * 5400, "2 2 1", "ada"},
	{"hamster-german.tsv", "hamster", 5415 + 40, "2 0 0", "ada"},
	{"hamster.json", "hamster", 2 * 5400, "2 1 0", "ada"},
	{"atimelogger", "atimelogger", 600 + 5400, "2 5 1", "ada"},
	{"hubstaff-detailed", "hubstaff-detailed", 5415 + 27900, "2 1 0", ""},
	{"hubstaff-detailed-own", "hubstaff-detailed", 5415 + 2400, "2 0 0", "ada"},
	{"klog.json", "klog", 3*5400 + 20340 + 8880, "5 1 1", "ada"},
}

// otherForm tells whether the fixture is no CSV.
func (c *presetFile) otherForm() bool {
	return strings.Contains(c.file, ".") && !strings.HasSuffix(c.file, ".tsv")
}

func (c *presetFile) name() string {
	if strings.Contains(c.file, ".") {
		return c.file
	}
	return c.file + ".csv"
}

const presetDir = exports + "presets/"

func (c *presetFile) config() Config {
	return Config{Name: "acme", Files: []string{presetDir + c.name()}, User: c.user, Defaults: Defaults{Project: "None"}}
}

// Every variant is recognized by its header alone, and seconds in are seconds
// out; the golden file holds each row's fields and short key.
func TestPresets(t *testing.T) {
	t.Parallel()
	for _, c := range presetFiles {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			cfg := c.config()
			if c.preset == "super-productivity" {
				// Our own reading would take the day's first start and last end.
				var e *Error
				if _, err := read(t, cfg); !errors.As(err, &e) || !strings.Contains(e.HintText, "set preset: super-productivity") {
					t.Errorf("got %v", err)
				}
				cfg.Preset = c.preset
			}
			res := must(t, cfg)
			if n := len(res.survey.Notes); strings.HasPrefix(c.file, "kimai") && c.preset == "kimai" && c.file != "kimai-german" || c.file == "timetagger" || c.file == "hamster.json" {
				// All our own columns are there, so these have always been read by them.
				if n == 0 || !strings.Contains(res.survey.Notes[0], "preset: "+c.preset+" reads the rest") {
					t.Errorf("got notes %q", res.survey.Notes)
				}
				cfg.Preset = c.preset
				res = must(t, cfg)
			} else if n > 0 && c.preset != "ical" {
				t.Errorf("got notes %q", res.survey.Notes)
			}
			if got := strings.TrimSuffix(res.decision("tracker"), " :1"); got != c.preset {
				t.Errorf("got preset %q, want %s", got, c.preset)
			}
			if got := res.seconds(); got != c.seconds {
				t.Errorf("got %d seconds, want %d", got, c.seconds)
			}
			if got := fmt.Sprint(len(res.entries), len(res.skipped), len(res.rejected)); got != c.rows {
				t.Errorf("got %s entries, skipped and rejected, want %s", got, c.rows)
			}
			golden(t, presetDir+c.file+".golden", rendered(res))

			// Named, the preset reads the same; and no other one reads it.
			cfg.Preset = c.preset
			if diff := cmp.Diff(keys(res), keys(must(t, cfg))); diff != "" {
				t.Error(diff)
			}
			for _, other := range Presets() {
				// The two forms of Watson's log have the same keys, and what Kimai imports
				// has those of what it exports, with other durations.
				if cfg.Preset = other; other == c.preset || c.preset == "watson-json" && other == "watson" || c.preset == "kimai-import" && other == "kimai" {
					continue
				}
				if _, err := read(t, cfg); err == nil {
					t.Errorf("preset %s reads it too", other)
				}
			}
		})
	}
}

// Every fixture is in the table, and every preset has one.
func TestPresetFixtures(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(presetDir + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		if filepath.Ext(name) != ".golden" && !slices.ContainsFunc(presetFiles, func(c presetFile) bool { return c.name() == name }) {
			t.Errorf("%s is in no test", name)
		}
	}
	for _, p := range Presets() {
		found := false
		for _, c := range presetFiles {
			found = found || c.preset == p
		}
		if !found {
			t.Errorf("preset %s has no fixture", p)
		}
	}
}

// rendered shows what became of each row.
func rendered(res *result) []byte {
	var b bytes.Buffer
	for _, f := range res.survey.Files {
		for _, d := range f.Decisions {
			fmt.Fprintf(&b, "%s: %s (%s)\n", d.What, d.Value, d.Evidence[max(0, strings.LastIndexByte(d.Evidence, ':')):])
		}
	}
	type line struct {
		at   string
		text string
	}
	at := func(o timesheet.Origin) string {
		text := fmt.Sprintf("%d", o.Line)
		if o.Column > 0 {
			text += fmt.Sprintf(":%d", o.Column)
		}
		return fmt.Sprintf("%06d %06d %s", o.Line, o.Column, text)
	}
	var lines []line
	for _, e := range res.entries {
		when := "-"
		if !e.Start.IsZero() {
			when = e.Start.Format("15:04:05") + "-" + e.End.Format("2006-01-02 15:04:05")
		}
		lines = append(lines, line{at(e.Origin), fmt.Sprintf("entry %s %s %s %s %q %q %q %s", e.Key.Packed(e.Day).Day(), when, e.Duration.Clock(), e.Person, e.Project, e.Task, e.Notes, e.Ref())})
	}
	for _, s := range res.skipped {
		lines = append(lines, line{at(s.Origin), "skipped " + string(s.Reason)})
	}
	for _, r := range res.rejected {
		lines = append(lines, line{at(r.Origin), fmt.Sprintf("rejected %s %s: %s; %s", r.Reason, r.Column, r.Message, r.Hint)})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.at, b.at) })
	for _, l := range lines {
		fmt.Fprintf(&b, "%s: %s\n", l.at[14:], l.text)
	}
	return b.Bytes()
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s", path, diff)
	}
}

// keys are the keys of all entries, in order.
func keys(res *result) []string {
	var out []string
	for _, e := range res.entries {
		out = append(out, fmt.Sprintf("%x", e.Key))
	}
	slices.Sort(out)
	return out
}

// Headers are known in every language that they are known in: in capitals, and
// with accents that are characters of their own.
func TestHeadersOfOtherLanguages(t *testing.T) {
	t.Parallel()
	for header := range strings.Lines(strings.TrimSpace(hamsterHeaders) + "\nКлюч запроса|Часов|Дата работы|Имя пользователя|Описание работы|Имя проекта") {
		header = strings.TrimSpace(header)
		row, want := "Cart|2026-03-02 09:00|2026-03-02 10:30|90.0|Website|Fix cart|web", `"Website" "Cart" "Fix cart"`
		if strings.HasPrefix(header, "К") {
			row, want = "WEB-1|1.5|2026-03-02|ada|Fix cart|Website", `"Website" "WEB-1" "Fix cart"`
		}
		forms := map[string]string{"as it is": header, "decomposed": norm.NFD.String(header)}
		if capitals := strings.ToUpper(header); fold(capitals) == fold(header) { // not every alphabet has them
			forms["in capitals"] = capitals
		}
		for form, header := range forms {
			cfg := text(header + "\n" + row + "\n")
			cfg.User = "ada"
			if strings.HasPrefix(header, "name|") || strings.HasPrefix(header, "NAME|") {
				cfg.Preset = "hamster" // else its keys are ours
			}
			res, err := read(t, cfg)
			if err != nil {
				t.Errorf("%s, %s: %v", header, form, err)
				continue
			}
			if got := string(rendered(res)); res.seconds() != 5400 || !strings.Contains(got, want) {
				t.Errorf("%s, %s: got %s", header, form, got)
			}
		}
	}
}

// A file of which every row would be refused, because our own reading lacks a
// column that is there under another name, says which preset has it.
func TestRefusedByOurOwnReading(t *testing.T) {
	t.Parallel()
	record := `{"name": "Cart", "start_time": "2026-03-02 09:00", "end_time": "2026-03-02 10:30", "duration_minutes": 90.0, "category": "Website", "description": "", "tags": ""}`
	cfg := text("[" + strings.Repeat(record+",", 59) + record + "]")
	cfg.User = "ada"
	_, err := read(t, cfg)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.HintText, "set preset: hamster") || e.Key != "preset" {
		t.Errorf("got %v", err)
	}
	cfg = text("[" + strings.Repeat(record+",", 59) + record + "]")
	cfg.User, cfg.Preset = "ada", "hamster"
	if res := must(t, cfg); len(res.entries) != 60 {
		t.Errorf("got %d entries", len(res.entries))
	}
}

// An export that cannot be read says which one to take instead, whatever preset
// was expected; columns can be mapped all the same.
func TestExportsToTakeInstead(t *testing.T) {
	t.Parallel()
	const activity = "Date,Member,Client,Project,Team,Task ID,To-do,Regular hours,Total hours,Activity %,Idle (%),Idle (hr),Total spent,Regular spent,PTO,PTO spent,Holiday,Holiday spent,Currency\n" +
		"2026-03-02,Ada Byron,Acme,Website,Web,101,Cart,1:30:15,1:30:15,62,0,0:00:00,0,0,0,0,0,0,EUR\n"
	for _, c := range []struct{ content, preset, message, hint string }{
		{",Issue,Key,Logged,02/Mar/26,03/Mar/26\n,Cart,WEB-1,1.5,1.5,\n", "tempo", "column a day", "export the worklogs"},
		{activity, "hubstaff", "may hold time off", "columns: {user: Member"},
		{"Date,Time (h),Time (decimal)\n02/03/2026,1:30,1.5\n", "clockify", "summary report", "detailed report"},
	} {
		for _, preset := range []string{"", PresetAuto, c.preset} {
			cfg := text(c.content)
			cfg.User, cfg.Preset = "ada", preset
			_, err := read(t, cfg)
			if e, ok := errors.AsType[*Error](err); !ok || e.Line != 1 || !strings.Contains(e.Message, c.message) || !strings.Contains(e.HintText, c.hint) {
				t.Errorf("preset %q: got %v", preset, err)
			}
		}
	}
	cfg := text(activity)
	cfg.Columns = map[string]string{"user": "Member", "date": "Date", "duration": "Total hours", "project": "Project", "task": "To-do"}
	if res := must(t, cfg); res.seconds() != 5415 || res.entries[0].Task != "Cart" {
		t.Errorf("got %+v", res.entries)
	}
}

// A spreadsheet makes the table of sums as wide as the entries above it.
func TestSumsOfTheSameWidth(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(presetDir + "atimelogger.csv")
	if err != nil {
		t.Fatal(err)
	}
	above, sums, _ := strings.Cut(string(raw), "\n\n")
	cfg := text(above + "\n,,,,\n" + strings.ReplaceAll(sums, "\n", ",,\n"))
	cfg.User = "ada"
	if res := must(t, cfg); len(res.entries) != 2 || len(res.skipped) != 5 || len(res.rejected) != 1 {
		t.Errorf("got %s", rendered(res))
	}
}
