package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
)

// trial is a file read in one way.
type trial struct {
	cfg      source.Config
	found    *source.Inspection
	err      error
	seconds  timesheet.Seconds
	entries  int
	persons  map[string]bool
	projects map[string]bool
	from, to timesheet.Day
	skipped  map[timesheet.Reason]int
	rejected map[timesheet.Reason]int
	refused  int
	held     map[timesheet.Reason]int // of the entries
	heldFor  timesheet.Seconds
	noFor    int // rows without a project
	samples  []timesheet.Rejection
}

const samples = 5

// better tells whether a reads the file better than b.
func (a *trial) better(b *trial) bool {
	if (a.err == nil) != (b.err == nil) {
		return a.err == nil
	}
	return a.others() < b.others()
}

// others counts rows that are refused for something else than a missing
// project, which is found out last.
func (a *trial) others() int { return a.refused - a.noFor }

// question is what the file leaves open: how it was taken, and the key of the
// configuration that says otherwise.
type question struct {
	what, why, key, taken string
	options               []string
}

// inspection is what is found out about a file.
type inspection struct {
	*trial

	file, zone string
	assumed    bool // the zone is nobody's word
	stdin      []byte
	guessed    bool
	open       []question
	// unknown is why the file could not be read before columns were guessed.
	unknown error
}

const maxInspected = 64 << 20

// newInspection takes a file, or standard input, which is read several times.
func (a *app) newInspection(file, zone string) (*inspection, error) {
	in := &inspection{file: file, zone: zone, assumed: zone == ""}
	if in.assumed {
		in.zone = "UTC"
	}
	location, err := loadLocation(in.zone)
	if err != nil {
		return nil, usage("write an IANA name such as Europe/Berlin, or UTC", "--timezone: %s", err)
	}
	in.trial = &trial{cfg: source.Config{Name: "inspect", Location: location, Logger: a.logger(nil)}}
	if file != "-" {
		in.cfg.Files, in.cfg.As = []string{file}, map[string]string{file: filepath.Base(file)}
		return in, nil
	}
	if in.stdin, err = io.ReadAll(io.LimitReader(a.stdin, maxInspected+1)); err != nil {
		return nil, err
	}
	if len(in.stdin) > maxInspected {
		return nil, usage("write it to a file", "standard input is longer than %d bytes", maxInspected)
	}
	return in, nil
}

// try reads the file in the way that cfg says.
func (in *inspection) try(ctx context.Context, cfg source.Config) *trial {
	t := &trial{
		cfg: cfg, found: &source.Inspection{}, persons: map[string]bool{}, projects: map[string]bool{},
		skipped: map[timesheet.Reason]int{}, rejected: map[timesheet.Reason]int{}, held: map[timesheet.Reason]int{},
	}
	t.err = t.read(ctx, in.stdin)
	return t
}

func (t *trial) read(ctx context.Context, stdin []byte) error {
	if stdin != nil || len(t.cfg.Files) == 0 {
		t.cfg.Stdin = strings.NewReader(string(stdin))
	}
	s, err := source.New(t.cfg)
	if err != nil {
		return err
	}
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if t.found, err = r.Inspect(ctx); err != nil {
		return err
	}
	ids := map[timesheet.Key]timesheet.Seconds{}
	return r.Rows(ctx, func(row *timesheet.Row) error {
		switch {
		case row.Entry != nil:
			e := row.Entry
			if e.ID != "" {
				ids[e.Key] = e.Duration
			}
			if t.entries == 0 || e.Day < t.from {
				t.from = e.Day
			}
			if t.entries == 0 || e.Day > t.to {
				t.to = e.Day
			}
			t.entries++
			t.seconds += e.Duration
			if e.Hold != "" {
				t.held[e.Hold]++
				t.heldFor += e.Duration
			}
			t.persons[e.Person], t.projects[e.Project] = true, true
		case row.Skipped != nil:
			t.skipped[row.Skipped.Reason]++
		default:
			j := row.Rejection
			if sec, ok := ids[j.Key]; ok && j.Reason == timesheet.ReasonDuplicateID {
				// Neither of the two is sent.
				t.entries, t.seconds, t.refused = t.entries-1, t.seconds-sec, t.refused+1
				t.rejected[j.Reason]++
				delete(ids, j.Key)
			}
			if t.refused++; len(t.samples) < samples {
				t.samples = append(t.samples, timesheet.Rejection{Origin: j.Origin, Reason: j.Reason, Column: j.Column, Message: j.Message, Hint: j.Hint})
			}
			t.rejected[j.Reason]++
			if j.Reason == timesheet.ReasonMissing && strings.Contains(j.Message, "project") {
				t.noFor++
			}
		}
		return nil
	})
}

// settle reads the file, and where it leaves something open takes it in the
// way that reads it best.
func (in *inspection) settle(ctx context.Context) {
	in.trial = in.try(ctx, in.cfg)
	for range 8 {
		if in.err == nil || ctx.Err() != nil {
			break
		}
		e, ok := errors.AsType[*source.Error](in.err)
		if !ok || !in.answer(ctx, e) && !in.guess(ctx) {
			break
		}
	}
	if in.err == nil || in.guessed {
		in.lengths(ctx)
	}
	if in.err != nil {
		return
	}
	if like := in.found.Like; like != "" && in.withoutProject() {
		// A source that is there already goes on as it is; this is a new one.
		in.take(ctx, question{what: "tracker", why: "tsupload's own columns are all there but for the project, which the tracker has under another name", key: "preset"}, like)
	}
	if in.withoutProject() {
		in.take(ctx, question{what: "project", why: "no row has one", key: "defaults.project"}, "PROJECT")
	} else if in.noFor > 0 {
		in.open = append(in.open, question{what: "project", why: count(in.noFor, "row") + " without one " + are(in.noFor) + " refused", key: "defaults.project"})
	}
	switch {
	case in.found.Placed && in.assumed:
		in.open = append(in.open, question{what: "time zone", why: "times say how far they are from UTC; the zone decides which day they are of", key: "timezone", taken: in.zone})
	case in.assumed:
		in.open = append(in.open, question{what: "time zone", why: "the file does not say in which one its times are", key: "timezone", taken: in.zone})
	}
}

// withoutProject tells that no row has a project.
func (in *inspection) withoutProject() bool {
	return in.noFor > 0 && in.noFor == in.entries+in.refused-in.others() && in.cfg.Defaults.Project == ""
}

// take reads the file anew with a value for a key.
func (in *inspection) take(ctx context.Context, q question, value string) {
	cfg := in.cfg
	setKey(&cfg, q.key, value)
	q.taken = value
	in.open = append(in.open, q)
	in.trial = in.try(ctx, cfg)
}

// setKey gives a key of a source its value.
func setKey(cfg *source.Config, key, value string) {
	switch key {
	case "date_format":
		cfg.DateFormat = value
	case "time_format":
		cfg.TimeFormat = value
	case "duration_format":
		cfg.DurationFormat = value
	case "decimal":
		cfg.Decimal = value
	case "csv.encoding":
		cfg.Encoding = value
	case "csv.records":
		cfg.Records = value
	case "preset":
		cfg.Preset = value
	case "user":
		cfg.User = value
	case "defaults.project":
		cfg.Defaults.Project = value
	}
}

// asks tells whether a key is among the questions.
func (in *inspection) asks(key string) bool {
	return slices.ContainsFunc(in.open, func(q question) bool { return q.key == key })
}

// answer settles what an error names a key for.
func (in *inspection) answer(ctx context.Context, e *source.Error) bool {
	if e.Key == "" || in.asks(e.Key) {
		return false
	}
	options := e.Options
	if e.Key == "user" {
		// The tracker's own word for the person is not known, but somebody's may be.
		if source.Guess(in.found.Header.Columns)["user"] != "" && in.guess(ctx) && in.err == nil {
			return true
		}
		options = []string{"USER-ID"}
	}
	best := (*trial)(nil)
	chosen := ""
	for _, value := range options {
		cfg := in.cfg
		setKey(&cfg, e.Key, value)
		if t := in.try(ctx, cfg); best == nil || t.better(best) {
			best, chosen = t, value
		}
	}
	if best == nil || best.err != nil && best.err.Error() == e.Error() {
		return false
	}
	why := e.Message
	if e.Line > 0 {
		why += fmt.Sprintf(" (%s:%d)", e.File, e.Line)
	}
	if e.Key == "user" {
		options = nil // it is nobody's name
	}
	in.open = append(in.open, question{what: whatOf[e.Key], why: why, key: e.Key, options: options, taken: chosen})
	in.trial = best
	return true
}

var whatOf = map[string]string{
	"date_format": "date order", "time_format": "clock", "decimal": "decimal sign", "csv.encoding": "encoding", "csv.records": "place of the records",
	"preset": "tracker", "user": "person", "duration_format": "durations",
}

// guess takes columns by their names.
func (in *inspection) guess(ctx context.Context) bool {
	if in.guessed || in.cfg.Preset != "" {
		return false
	}
	columns := source.Guess(in.found.Header.Columns)
	if len(columns) < 3 {
		return false
	}
	cfg := in.cfg
	cfg.Columns = columns
	open := question{}
	if columns["user"] == "" && cfg.User == "" {
		cfg.User, open = "USER-ID", question{what: "person", why: "no column says whose hours these are", key: "user", taken: "USER-ID"}
	}
	t := in.try(ctx, cfg)
	if len(t.found.Header.Columns) == 0 {
		return false // these columns make no source
	}
	if t.err != nil && columns["date"] == "" && columns["start"] == "" {
		return false // nothing is gained: the first error says more
	}
	in.unknown, in.guessed = in.err, true
	if in.trial = t; open.key != "" {
		in.open = append(in.open, open)
	}
	return true
}

// lengths asks what a column of whole numbers counts, where the columns are
// nobody's word.
func (in *inspection) lengths(ctx context.Context) {
	asked := slices.ContainsFunc(in.open, func(q question) bool { return q.key == "duration_format" })
	timed := in.cfg.Columns["duration"] != "" || slices.ContainsFunc(in.found.Columns, func(c source.Column) bool { return c.Field == "duration" })
	plain := in.err == nil && in.refused == 0 && !in.whole()
	if asked || in.block().preset != "" || !timed || plain {
		return
	}
	best := in.trial
	for _, format := range []string{"minutes", "seconds"} {
		cfg := in.cfg
		cfg.DurationFormat = format
		if t := in.try(ctx, cfg); t.better(best) {
			best = t
		}
	}
	taken := best.cfg.DurationFormat
	if taken == "" && !in.whole() {
		return
	}
	if taken == "" {
		taken = "decimal"
	}
	in.trial = best
	in.open = append(in.open, question{
		what: "durations", why: "whole numbers may be hours, minutes or seconds", key: "duration_format", options: []string{"decimal", "minutes", "seconds"}, taken: taken,
	})
}

// whole tells whether lengths are written as whole numbers alone.
func (in *inspection) whole() bool {
	written, _ := in.decided("durations")
	return written == "whole numbers"
}

// decided is what the file decides, and what shows it.
func (in *inspection) decided(what string) (value, evidence string) {
	for _, d := range in.found.Decisions {
		if d.What == what {
			return d.Value, oneLine(d.Evidence)
		}
	}
	return "", ""
}
