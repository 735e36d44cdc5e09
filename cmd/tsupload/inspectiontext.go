package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
)

// What is said of an inspection: to be pasted, to be read, and for machines.

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
	if tracker, _ := in.decided("tracker"); b.preset == "" && !in.guessed && slices.Contains(source.Presets(), tracker) {
		b.preset = tracker
	}
	// The next export may have no date that tells: what this one told stays.
	if order, shown := in.decided("date order"); b.dateFormat == "" && order != "" && order != (timesheet.DateFormat{}).String() {
		b.dateFormat, b.notes["date_format"] = order, "as "+shown+" shows"
	}
	if sign, shown := in.decided("decimal sign"); b.decimal == "" && sign == "," {
		b.decimal, b.notes["decimal"] = sign, "as "+shown+" shows"
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
	for _, d := range in.found.Decisions {
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
	fmt.Fprintf(w, "\n%s, %s hours", count(in.entries, "entry"), in.seconds.Clock())
	if in.entries > 0 {
		fmt.Fprintf(w, " of %s on %s, from %s to %s", count(len(in.persons), "person"), count(len(in.projects), "project"), in.from, in.to)
	}
	fmt.Fprintln(w)
	for _, reason := range slices.Sorted(maps.Keys(in.held)) {
		fmt.Fprintf(w, "%s of them held: %s\n", count(in.held[reason], "entry"), strings.ReplaceAll(string(reason), "_", " "))
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

func (in *inspection) json() map[string]any {
	decisions, columns, questions, refused := []map[string]string{}, []map[string]string{}, []map[string]any{}, []map[string]any{}
	for _, d := range in.found.Decisions {
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
