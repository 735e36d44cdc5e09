package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// schemaVersion is in every object that is written as JSON: fields may be
// added to it, never changed.
const schemaVersion = 1

// json tells whether results are written for machines.
func (a *app) json() bool { return a.output == "json" }

// emit writes one object on one line.
func (a *app) emit(kind string, fields map[string]any) error {
	line := map[string]any{"type": kind, "schema": schemaVersion}
	maps.Copy(line, fields)
	return json.NewEncoder(a.stdout).Encode(line)
}

// say tells on standard error what happened beside the result.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// table lines up cells for people.
type table struct{ t *tabwriter.Writer }

func newTable(w io.Writer, header ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(header) > 0 {
		t.row(header...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = clean(c)
	}
	fmt.Fprintln(t.t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

func (t *table) flush() error { return t.t.Flush() }

// clean keeps what came from an export from moving the cursor, or the text
// around it.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// moment renders a time for people, in the given zone.
func moment(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(zone).Format("2006-01-02 15:04 MST")
}

// stamp renders a time for machines; nil where there is none.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// age is how long ago something was, roughly.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours()/24), "day")
}

// count is a number of things, by their name.
func count(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "y") && !strings.HasSuffix(one, "ay"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(one, "y"))
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// are is the verb for n things.
func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// standing is a state with its reason.
func standing(s timesheet.State, r timesheet.Reason) string {
	if r == "" {
		return string(s)
	}
	return fmt.Sprintf("%s (%s)", s, r)
}

// zoneOf is a source's zone; the configuration has been checked.
func zoneOf(s *config.Source) *time.Location {
	if l, err := loadLocation(s.Timezone); err == nil {
		return l
	}
	return time.UTC
}

// sourceName is what people call a source of the ledger, which knows its id.
func sourceName(cfg *config.Config, id string) string {
	for i := range cfg.Sources {
		if cfg.Sources[i].ID == id {
			return cfg.Sources[i].Name
		}
	}
	return id
}

// sourceIDs turns what people call sources into their ids. A source that the
// configuration has no longer is known by the ledger.
func sourceIDs(cfg *config.Config, names []string, counts []ledger.Count) ([]string, error) {
	var ids []string
	for _, name := range names {
		i := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.Name == name })
		switch {
		case i >= 0:
			ids = append(ids, cfg.Sources[i].ID)
		case slices.ContainsFunc(counts, func(c ledger.Count) bool { return c.Source == name }):
			ids = append(ids, name)
		default:
			return nil, usage("configured are: "+sourceNames(cfg), "there is no source %q", name)
		}
	}
	return ids, nil
}

// parseDay reads the date of a flag; false where it was not given.
func parseDay(flag, text string) (timesheet.Day, bool, error) {
	if text == "" {
		return 0, false, nil
	}
	day, err := timesheet.ParseDay(text)
	if err != nil {
		return 0, false, usage("write it like 2026-11-16", "%s: %s", flag, err)
	}
	return day, true, nil
}

// setPeriod bounds a filter by --since and --until.
func setPeriod(f *ledger.Filter, since, until string) (err error) {
	if f.Since, f.HasSince, err = parseDay("--since", since); err != nil {
		return err
	}
	if f.Until, f.HasUntil, err = parseDay("--until", until); err != nil {
		return err
	}
	if f.HasSince && f.HasUntil && f.Since > f.Until {
		return usage("exchange them", "--since %s is after --until %s", f.Since, f.Until)
	}
	return nil
}

// waitingJSON is an entry, or a rejected row, for machines.
func waitingJSON(cfg *config.Config, w *timesheet.Waiting) map[string]any {
	day := any(w.Day.String())
	if w.Row && w.Day == 0 {
		day = nil // the row has no date that could be read
	}
	line := map[string]any{
		"ref": w.Ref, "state": w.State, "reason": w.Reason, "detail": w.Detail, "hint": w.Hint, "source": sourceName(cfg, w.Source),
		"file": w.Origin.File, "line": w.Origin.Line, "person": w.Person, "day": day, "project": w.Project, "seconds": w.Seconds, "rounding": w.Rounding,
		"id": w.ID, "api_id": w.Remote, "missing": w.Missing, "row": w.Row, "since": stamp(w.At),
	}
	if w.Origin.Column > 0 {
		line["cell"] = w.Origin.Column
	}
	return line
}
