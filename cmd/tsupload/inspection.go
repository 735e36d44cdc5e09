package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
)

// attempt is a file read in one way.
type attempt struct {
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
func (a *attempt) better(b *attempt) bool {
	if (a.err == nil) != (b.err == nil) {
		return a.err == nil
	}
	return a.others() < b.others()
}

// others counts rows that are refused for something else than a missing
// project, which is found out last.
func (a *attempt) others() int { return a.refused - a.noFor }

// question is what the file leaves open: how it was taken, and the key of the
// configuration that says otherwise.
type question struct {
	what, why, key, taken string
	options               []string
}

// inspection is what is found out about a file.
type inspection struct {
	*attempt

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
	in.attempt = &attempt{cfg: source.Config{Name: "inspect", Location: location, Logger: a.logger(nil)}}
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
func (in *inspection) try(ctx context.Context, cfg source.Config) *attempt {
	t := &attempt{
		cfg: cfg, found: &source.Inspection{}, persons: map[string]bool{}, projects: map[string]bool{},
		skipped: map[timesheet.Reason]int{}, rejected: map[timesheet.Reason]int{}, held: map[timesheet.Reason]int{},
	}
	t.err = t.read(ctx, in.stdin)
	return t
}

func (t *attempt) read(ctx context.Context, stdin []byte) error {
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
	in.attempt = in.try(ctx, in.cfg)
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
	if in.noFor > 0 && in.noFor == in.entries+in.refused-in.others() && in.cfg.Defaults.Project == "" {
		in.take(ctx, question{what: "project", why: "no row has one", key: "defaults.project"}, "PROJECT")
	} else if in.noFor > 0 {
		in.open = append(in.open, question{what: "project", why: count(in.noFor, "row") + " without one are refused", key: "defaults.project"})
	}
	switch {
	case in.found.Placed && in.assumed:
		in.open = append(in.open, question{what: "time zone", why: "times say how far they are from UTC; the zone decides which day they are of", key: "timezone", taken: in.zone})
	case in.assumed:
		in.open = append(in.open, question{what: "time zone", why: "the file does not say in which one its times are", key: "timezone", taken: in.zone})
	}
}

// take reads the file anew with a value for a key.
func (in *inspection) take(ctx context.Context, q question, value string) {
	cfg := in.cfg
	setKey(&cfg, q.key, value)
	q.taken = value
	in.open = append(in.open, q)
	in.attempt = in.try(ctx, cfg)
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

// answer settles what an error names a key for.
func (in *inspection) answer(ctx context.Context, e *source.Error) bool {
	if e.Key == "" || slices.ContainsFunc(in.open, func(q question) bool { return q.key == e.Key }) {
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
	best := (*attempt)(nil)
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
	in.attempt = best
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
	if in.attempt = t; open.key != "" {
		in.open = append(in.open, open)
	}
	return true
}

// lengths asks what a column of whole numbers counts, where the columns are
// nobody's word.
func (in *inspection) lengths(ctx context.Context) {
	timed := func(c source.Column) bool { return c.Field == "duration" }
	if in.block().preset != "" || in.cfg.Columns["duration"] == "" && !slices.ContainsFunc(in.found.Columns, timed) || in.err == nil && in.refused == 0 && !in.whole() {
		return
	}
	best := in.attempt
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
	in.attempt = best
	in.open = append(in.open, question{
		what: "durations", why: "whole numbers may be hours, minutes or seconds", key: "duration_format", options: []string{"decimal", "minutes", "seconds"}, taken: taken,
	})
}

// whole tells whether lengths are written as whole numbers alone.
func (in *inspection) whole() bool {
	d := in.decided("durations")
	return d == "whole numbers"
}

func (in *inspection) decided(what string) string {
	for _, d := range in.found.Findings {
		if d.What == what {
			return d.Value
		}
	}
	return ""
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// nameOf makes a source's name of a file's.
func nameOf(file string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.SplitN(filepath.Base(file), ".", 2)[0], "-"), "-._")
	if name == "" {
		return "export"
	}
	return name
}

// block is a source that reads the file.
func (in *inspection) block() *sourceBlock {
	b := &sourceBlock{
		name: nameOf(in.file), timezone: in.zone, user: in.cfg.User, project: in.cfg.Defaults.Project, columns: in.cfg.Columns,
		dateFormat: in.cfg.DateFormat, timeFormat: in.cfg.TimeFormat, durationFormat: in.cfg.DurationFormat, decimal: in.cfg.Decimal,
		encoding: in.cfg.Encoding, records: in.cfg.Records, preset: in.cfg.Preset,
		notes: map[string]string{"csv": "or a pattern"},
	}
	switch abs, err := filepath.Abs(in.file); {
	case in.file == "-":
		b.path, b.notes["csv"] = "EXPORT", "where the export lies"
	case err == nil:
		b.path = globQuote(abs)
	default:
		b.path = globQuote(in.file)
	}
	if tracker := in.decided("tracker"); b.preset == "" && !in.guessed && slices.Contains(source.Presets(), tracker) {
		b.preset = tracker
	}
	// The next export may have no date that tells: what this one told stays.
	if order := in.decided("date order"); b.dateFormat == "" && order != "" && order != (timesheet.DateFormat{}).String() {
		b.dateFormat, b.notes["date_format"] = order, "as "+in.evidence("date order")+" shows"
	}
	if sign := in.decided("decimal sign"); b.decimal == "" && sign == "," {
		b.decimal, b.notes["decimal"] = sign, "as "+in.evidence("decimal sign")+" shows"
	}
	for _, q := range in.open {
		key, note := q.key, "check it"
		switch {
		case key == "defaults.project":
			key, note = "defaults", "of rows without a project"
		case key == "user":
			note = "whose hours these are"
		case key == "timezone":
			note = "the zone of the times in the export: check it"
		case len(q.options) > 1:
			note = "or " + strings.Join(slices.DeleteFunc(slices.Clone(q.options), func(o string) bool { return o == q.taken }), " or ")
		}
		b.notes[key] = note
	}
	return b
}

func (in *inspection) evidence(what string) string {
	for _, d := range in.found.Findings {
		if d.What == what {
			return oneLine(d.Evidence)
		}
	}
	return ""
}

// oneLine keeps a text from ending the comment that it stands in.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// unread are the columns that nothing is taken from.
func (in *inspection) unread() (names []string) {
	for _, c := range in.found.Columns {
		if c.Field == "" {
			names = append(names, c.Name)
		}
	}
	return names
}

func (in *inspection) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", clean(in.file), count(in.found.Survey.Rows, "row"))
	for _, d := range in.found.Findings {
		fmt.Fprintf(w, "  %s: %s (%s)\n", d.What, clean(d.Value), clean(d.Evidence))
	}
	in.printColumns(w)
	for _, n := range in.found.Survey.Notes {
		if !strings.Contains(n, ": ignored columns: ") { // they stand above
			fmt.Fprintf(w, "  note: %s\n", clean(n))
		}
	}
	if len(in.open) > 0 {
		fmt.Fprintf(w, "\nnot said by the file, and settled by a key of the source\n")
		for _, q := range in.open {
			fmt.Fprintf(w, "  %s: %s\n    %s", q.what, clean(q.why), q.key)
			if len(q.options) > 0 {
				fmt.Fprintf(w, ": %s", clean(strings.Join(q.options, " or ")))
			}
			if q.taken != "" {
				fmt.Fprintf(w, "; taken as %s", clean(q.taken))
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintf(w, "\n%s, %s hours", plural(in.entries, "entry", "entries"), in.seconds.Clock())
	if in.entries > 0 {
		fmt.Fprintf(w, " of %s on %s, from %s to %s", plural(len(in.persons), "person", "persons"), plural(len(in.projects), "project", "projects"), in.from, in.to)
	}
	fmt.Fprintln(w)
	for _, reason := range slices.Sorted(maps.Keys(in.held)) {
		fmt.Fprintf(w, "%s of them held: %s\n", plural(in.held[reason], "entry", "entries"), strings.ReplaceAll(string(reason), "_", " "))
	}
	for _, reason := range slices.Sorted(maps.Keys(in.skipped)) {
		fmt.Fprintf(w, "%s skipped: %s\n", count(in.skipped[reason], "row"), strings.ReplaceAll(string(reason), "_", " "))
	}
	for _, reason := range slices.Sorted(maps.Keys(in.rejected)) {
		fmt.Fprintf(w, "%s refused: %s\n", count(in.rejected[reason], "row"), strings.ReplaceAll(string(reason), "_", " "))
	}
	for _, r := range in.samples {
		fmt.Fprintf(w, "  %s: %s\n", clean(r.Origin.String()), clean(r.Message))
		if r.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", clean(r.Hint))
		}
	}
	if more := in.refused - len(in.samples); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	fmt.Fprintf(w, "\nFor tsupload.yaml:\n\n%s", in.block().yaml())
}

// printColumns says what each column is read as.
func (in *inspection) printColumns(w io.Writer) {
	where := "keys of the records"
	if in.found.Header.Line > 0 {
		where = fmt.Sprintf("header, line %d", in.found.Header.Line)
	}
	switch {
	case in.guessed:
		where += " (columns are guessed by their names: check them)"
	case len(in.found.Columns) == 0:
		return
	}
	fmt.Fprintf(w, "  %s\n", where)
	width := 0
	for _, c := range in.found.Columns {
		width = max(width, min(len([]rune(yamlText(c.Name))), 32))
	}
	for _, c := range in.found.Columns {
		field := c.Field
		if field == "" {
			field = "not read"
		}
		fmt.Fprintf(w, "    %-*s  %s\n", width, clean(yamlText(c.Name)), field)
	}
	if in.unknown != nil {
		fmt.Fprintf(w, "  no tracker has this header: %s\n", clean(strings.TrimPrefix(in.unknown.Error(), "source "+in.cfg.Name+": ")))
		if hint := hintOf(in.unknown); hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", clean(hint))
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (in *inspection) json() map[string]any {
	decisions, columns, questions, refused := []map[string]string{}, []map[string]string{}, []map[string]any{}, []map[string]any{}
	for _, d := range in.found.Findings {
		decisions = append(decisions, map[string]string{"what": d.What, "value": d.Value, "evidence": d.Evidence})
	}
	for _, c := range in.found.Columns {
		columns = append(columns, map[string]string{"name": c.Name, "field": c.Field})
	}
	for _, q := range in.open {
		questions = append(questions, map[string]any{"what": q.what, "why": q.why, "key": q.key, "options": append([]string{}, q.options...), "taken": q.taken})
	}
	for _, r := range in.samples {
		refused = append(refused, map[string]any{"file": r.Origin.File, "line": r.Origin.Line, "reason": r.Reason, "column": r.Column, "message": r.Message, "hint": r.Hint})
	}
	out := map[string]any{
		"file": in.file, "rows": in.found.Survey.Rows, "decisions": decisions, "header": in.found.Header.Columns, "header_line": in.found.Header.Line, "guessed": in.guessed,
		"columns": columns, "unread": append([]string{}, in.unread()...), "open": questions,
		"notes": append([]string{}, in.found.Survey.Notes...), "entries": in.entries, "seconds": in.seconds, "persons": len(in.persons), "projects": len(in.projects),
		"skipped": in.skipped, "held": in.held, "held_seconds": in.heldFor, "rejected": in.refused, "rejected_by_reason": in.rejected, "rejections": refused, "config": "",
	}
	if in.entries > 0 {
		out["from"], out["to"] = in.from.String(), in.to.String()
	}
	if in.err == nil {
		out["config"] = in.block().yaml()
	}
	return out
}

// exists says whether there is something at path, also a link to nothing.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
