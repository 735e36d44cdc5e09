package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Inspection is what a file tells of itself.
type Inspection struct {
	Header Header
	// Columns are those of the header, and what each is used for.
	Columns []Column
	// Decisions say how the file is written, each with the place that shows it.
	Decisions []timesheet.Decision
	Survey    timesheet.Survey
	// Like is the preset of the tracker that it looks like, where it is read by our
	// own columns.
	Like string
	// Placed tells that times of day name their distance from UTC.
	Placed bool
}

// Column is a column of a file, and the field that it is read as; empty where
// it is not read.
type Column struct {
	Name, Field string
}

// Inspect finds out what the first file is. Where it cannot be read, what was
// found so far is there beside the error, and the error's Key says what would
// settle it.
func (r *Reading) Inspect(ctx context.Context) (*Inspection, error) {
	in := &Inspection{}
	var err error
	if in.Header, err = r.Header(ctx); err != nil {
		return in, err
	}
	for _, c := range in.Header.Columns {
		in.Columns = append(in.Columns, Column{Name: strings.TrimSpace(c)})
	}
	if in.Survey, err = r.Survey(ctx); err != nil {
		return in, err
	}
	u := r.units[0]
	t := u.form.table
	in.Columns = nil
	for i, h := range t.header {
		c := Column{Name: strings.TrimSpace(h)}
		for f, at := range t.at {
			if at == i && field(f) != fieldRefused {
				c.Field = strings.TrimPrefix(c.Field+", "+field(f).name(), ", ")
			}
		}
		if h != refusedHeader {
			in.Columns = append(in.Columns, c)
		}
	}
	l, err := r.look(ctx, u)
	if err != nil {
		return in, r.s.place(u.name, err)
	}
	if t.like != nil {
		in.Like = t.like.name
	}
	in.Decisions, in.Placed = l.decisions(in.Survey.Files[0].Decisions), l.placed.line > 0
	return in, nil
}

// sight is how often something was seen, and where first.
type sight struct{ n, line int }

func (s *sight) see(line int) {
	if s.n++; s.n == 1 {
		s.line = line
	}
}

// looker notes how the values of a file are written. Unlike the survey, which
// wants to know what to do, it wants to know where to look.
type looker struct {
	name  string
	table bool // ours, made of another form
	t     *table

	wide               sight // a character beyond ASCII
	lf, crlf           sight
	quoted, bare       sight // values in quotation marks, and others that are not empty
	iso, otherDates    sight
	twelve, full       sight
	placed             sight
	styles             [styleCount]sight
	point, commaNumber sight
}

type durationStyle int

const (
	styleHMS durationStyle = iota
	styleHM
	styleDecimal
	styleWhole
	styleWords
	styleCount
)

func (s durationStyle) String() string {
	return [styleCount]string{"h:mm:ss", "h:mm", "decimal hours", "whole numbers", "words such as 1h 30m"}[s]
}

// look goes through the file once more, behind the survey.
func (r *Reading) look(ctx context.Context, u *unit) (*looker, error) {
	t, cs := u.form.table, u.form.charset
	data, size := u.data()
	l := &looker{name: u.name, t: t, table: u.made != nil && u.made.table}
	fr := newFramer(cs.decode(ctxReader{ctx, io.NewSectionReader(data, int64(cs.bom), size-int64(cs.bom))}), t.delim, &r.s.cfg.Limits, nil)
	var rec frame
	for rows := 0; ; {
		err := fr.next(&rec)
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		line := rec.line
		if rec.line > t.line {
			rows++
			line = u.place(rec.line, rows)
		}
		l.record(&rec, line)
	}
}

func (l *looker) record(rec *frame, line int) {
	if !ascii(rec.data) {
		l.wide.see(line)
	}
	switch {
	case bytes.HasSuffix(rec.data, []byte("\r\n")):
		l.crlf.see(line)
	case bytes.HasSuffix(rec.data, []byte{'\n'}):
		l.lf.see(line)
	}
	if rec.bad != "" || rec.line < l.t.line {
		return
	}
	for i, pos := 0, 0; pos >= 0; i++ {
		var raw []byte
		raw, pos = rec.field(l.t.delim, pos)
		switch {
		case len(raw) > 1 && raw[0] == '"':
			l.quoted.see(line)
			raw = raw[1 : len(raw)-1]
		case len(raw) > 0:
			l.bare.see(line)
		}
		if rec.line > l.t.line && len(raw) > 0 {
			l.value(i, strings.Trim(string(raw), " '"), line)
		}
	}
}

func (l *looker) value(column int, text string, line int) {
	if text == "" {
		return
	}
	for f, at := range l.t.at {
		if at != column {
			continue
		}
		switch field(f) {
		case fieldDate, fieldEndDate:
			l.date(text, line)
		case fieldStart, fieldEnd:
			if stampSplit(extended(text)) > 0 {
				l.date(text, line)
			}
			l.clock(text, line)
		case fieldDuration, fieldHours:
			l.duration(text, line)
		default: // nobody's way of writing
		}
	}
}

func (l *looker) date(text string, line int) {
	text = extended(text)
	if len(text) >= 10 && text[4] == '-' && text[7] == '-' {
		l.iso.see(line)
	} else if digit(text[0]) {
		l.otherDates.see(line)
	}
	if i := stampSplit(text); i > 0 {
		l.clock(text, line)
	}
}

func (l *looker) clock(text string, line int) {
	text = extended(text)
	var m moment
	if i := stampSplit(text); i > 0 {
		if text = m.zone(text[i+1:]); m.hasOffset {
			l.placed.see(line)
		}
		text, _, _ = strings.Cut(text, ".")
	}
	_, twelve, err := timesheet.ParseTimeOfDay(text)
	switch {
	case err != nil:
	case twelve:
		l.twelve.see(line)
	default:
		l.full.see(line)
	}
}

func (l *looker) duration(text string, line int) {
	body := strings.TrimPrefix(text, "-")
	switch {
	case body == "" || !digit(body[0]):
	case strings.Count(body, ":") == 2:
		l.styles[styleHMS].see(line)
	case strings.Count(body, ":") == 1:
		l.styles[styleHM].see(line)
	case digitsOnly(body) == len(body):
		l.styles[styleWhole].see(line)
	case strings.Trim(body, "0123456789.,") == "":
		l.styles[styleDecimal].see(line)
		if body[strings.LastIndexAny(body, ".,")] == ',' {
			l.commaNumber.see(line)
		} else {
			l.point.see(line)
		}
	case strings.Trim(body, "0123456789hms ") == "":
		l.styles[styleWords].see(line)
	}
}

// decisions puts the places to what the survey decided, and adds what it had no
// need to know.
func (l *looker) decisions(decided []timesheet.Decision) []timesheet.Decision {
	at := func(s sight) string { return l.name + ":" + strconv.Itoa(s.line) }
	out := slices.Clone(decided)
	has := func(what string) *timesheet.Decision {
		i := slices.IndexFunc(out, func(d timesheet.Decision) bool { return d.What == what })
		if i < 0 {
			return nil
		}
		return &out[i]
	}
	add := func(what, value, evidence string) {
		out = append(out, timesheet.Decision{What: what, Value: value, Evidence: evidence})
	}
	if d := has("encoding"); d != nil {
		switch {
		case l.wide.n > 0:
			d.Evidence += ", " + at(l.wide)
		case d.Value == utf8Name:
			d.Evidence += ", nothing but ASCII"
		}
	}
	if d := has("date order"); d != nil && l.iso.n > 0 && l.iso.n >= l.otherDates.n {
		d.Evidence = at(l.iso)
	}
	if has("tracker") == nil {
		who := "none known; tsupload's own columns"
		if l.t.lay.mapped {
			who = "none known; columns as mapped"
		}
		if p := l.t.like; p != nil {
			who = "tsupload's own columns, though it looks like " + p.title
		}
		evidence := "keys of the records"
		if l.t.line > 0 && !l.table {
			evidence = l.name + ":" + strconv.Itoa(l.t.line)
		} else if l.t.line > 0 {
			evidence = "header"
		}
		add("tracker", who, evidence)
	}
	if has("clock") == nil {
		switch {
		case l.twelve.n > 0 && l.full.n > 0:
			add("clock", "12h and 24h, each by value", at(l.twelve)+", "+at(l.full))
		case l.twelve.n > 0:
			add("clock", "12h", at(l.twelve))
		case l.full.n > 0:
			add("clock", "24h", at(l.full))
		}
	}
	if has("decimal sign") == nil && l.styles[styleDecimal].n > 0 {
		switch {
		case l.commaNumber.n > 0:
			add("decimal sign", ",", at(l.commaNumber))
		case l.point.n > 0:
			add("decimal sign", ".", at(l.point))
		}
	}
	var styles, places []string
	for s, seen := range l.styles {
		if seen.n > 0 {
			style := durationStyle(s).String()
			if p := l.t.lay.preset; p != nil && p.durations == decimalMinutes && (durationStyle(s) == styleDecimal || durationStyle(s) == styleWhole) {
				style = decimalMinutes
			}
			styles, places = append(styles, style), append(places, at(seen))
		}
	}
	if len(styles) > 0 {
		add("durations", strings.Join(styles, " and "), strings.Join(places, ", "))
	}
	if l.placed.n > 0 {
		add("zone of times", "in the file", at(l.placed))
	}
	if l.table {
		return out // its lines and quotation marks are ours
	}
	switch {
	case l.quoted.n > 0 && l.bare.n == 0:
		add("quotation marks", "around every value", at(l.quoted))
	case l.quoted.n > 0:
		add("quotation marks", "where needed", at(l.quoted))
	default:
		add("quotation marks", "none", plural(l.bare.n, "value", "values"))
	}
	switch {
	case l.crlf.n > 0 && l.lf.n > 0:
		add("line ends", "LF and CRLF", fmt.Sprintf("%s, %s", at(l.lf), at(l.crlf)))
	case l.crlf.n > 0:
		add("line ends", "CRLF", at(l.crlf))
	case l.lf.n > 0:
		add("line ends", "LF", at(l.lf))
	}
	return out
}
