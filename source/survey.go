package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// form is what the survey decided about one file.
type form struct {
	charset charset
	table   *table
	date    timesheet.DateFormat
	decimal byte
}

// Survey is the first pass: it finds out how each file is to be read, refuses
// what cannot be, and counts the rows.
func (r *Reading) Survey(ctx context.Context) (timesheet.Survey, error) {
	sv := timesheet.Survey{Stamp: r.Stamp(), Complete: !r.partial}
	notes := r.notes
	for _, u := range r.units {
		file, more, err := r.surveyUnit(ctx, u)
		if err != nil {
			return timesheet.Survey{}, r.s.place(u.name, err)
		}
		sv.Files = append(sv.Files, file)
		sv.Rows += file.Rows
		notes = append(notes, more...)
	}
	sv.Notes = notes
	sv.Stamp = r.Stamp()
	r.surveyed = true
	var err error
	sv.Fingerprint, err = r.fingerprint()
	return sv, err
}

// surveyUnit surveys a file; one that changes meanwhile gets a second chance.
func (r *Reading) surveyUnit(ctx context.Context, u *unit) (timesheet.File, []string, error) {
	for attempt := 0; ; attempt++ {
		file, notes, err := r.surveyOnce(ctx, u)
		if changed := u.changed(); changed != nil {
			if attempt == 0 && ctx.Err() == nil {
				if err := u.seal(); err != nil {
					return file, nil, err
				}
				continue
			}
			return file, nil, changed
		}
		return file, notes, err
	}
}

func (r *Reading) surveyOnce(ctx context.Context, u *unit) (timesheet.File, []string, error) {
	cfg, lay := &r.s.cfg, &r.s.layout
	file := timesheet.File{Name: u.name, Size: u.stamp.size}
	head := make([]byte, min(headSize, u.stamp.size))
	if _, err := u.f.ReadAt(head, 0); err != nil && err != io.EOF {
		return file, nil, err
	}
	cs, err := sniff(head, lay.encoding)
	if err != nil {
		return file, nil, err
	}
	for {
		t, err := r.header(head, cs)
		if err != nil {
			return file, nil, err
		}
		w, ev, rows, err := r.scan(ctx, u, cs, t)
		if err != nil {
			return file, nil, err
		}
		if w.broken && cs.name == utf8Name {
			if w.wide || !cs.auto {
				what := "the file mixes UTF-8 with bytes that are not"
				if !cs.auto {
					what = "the file is not valid UTF-8, which it claims to be"
				}
				return file, nil, &Error{Message: what, HintText: "export it again, as UTF-8; or set csv.encoding"}
			}
			cs = charset{name: cp1252Name, why: "not valid UTF-8"}
			continue
		}
		if n := u.stamp.size - int64(cs.bom); strings.HasPrefix(cs.name, "utf-16") && n%2 != 0 {
			return file, nil, &Error{Message: "the file is UTF-16 but has an odd number of bytes: it is cut off", HintText: "export it again"}
		}
		u.sum = [32]byte(w.sum.Sum(nil))
		u.hashed, u.rows = true, rows
		u.form = &form{charset: cs, table: t}
		file.Rows = rows
		file.Decisions, err = u.form.decide(cfg, lay, ev, u.name)
		return file, u.form.notes(u, file.Decisions), err
	}
}

// header finds the header in the head of the file.
func (r *Reading) header(head []byte, cs charset) (*table, error) {
	whole := len(head) < headSize
	text, err := io.ReadAll(cs.decode(strings.NewReader(string(head[cs.bom:]))))
	if err != nil {
		return nil, err
	}
	if err := foreign(text); err != nil {
		return nil, err
	}
	lim := r.s.cfg.Limits
	if !whole {
		lim.Line = max(lim.Line, len(text)+1)
	}
	t, err := r.s.layout.findHeader(text, &lim)
	var e *Error
	if err != nil && !whole && errors.As(err, &e) && e.Line == 0 {
		e.Message = "no header was found in the first " + strconv.Itoa(headSize>>10) + " KiB"
	}
	return t, err
}

// evidence is what the values of a file say about how they are written. Lines
// are 0 where nothing was seen.
type evidence struct {
	iso, other           int
	firstOver12          int // line of a first component above 12
	secondOver12         int
	sep                  byte
	sepLine, otherSep    int
	shortYear            bool
	pointLine, commaLine int
}

// scan goes through the whole file once: hash, encoding, row count, evidence.
func (r *Reading) scan(ctx context.Context, u *unit, cs charset, t *table) (*watcher, *evidence, int, error) {
	cfg := &r.s.cfg
	w := newWatcher(ctxReader{ctx, io.NewSectionReader(u.f, 0, u.stamp.size)}, cfg.Limits.File)
	if _, err := io.CopyN(io.Discard, w, int64(cs.bom)); err != nil {
		return nil, nil, 0, err
	}
	fr := newFramer(cs.decode(w), t.delim, &cfg.Limits, nil)
	ev := &evidence{}
	// Columns of which evidence is wanted, in the order of the file.
	var want [3]struct {
		at   int
		kind field
	}
	n := 0
	for i := range t.header {
		for _, f := range []field{fieldDate, fieldDuration, fieldHours} {
			if t.at[f] == i && (f == fieldDate && r.s.layout.date == nil || f != fieldDate && r.s.layout.decimal == 0) {
				want[n].at, want[n].kind = i, f
				n++
			}
		}
	}
	var rec frame
	rows := 0
	for {
		err := fr.next(&rec)
		if err == io.EOF {
			return w, ev, rows, nil
		}
		if err != nil {
			return nil, nil, 0, err
		}
		if rec.line <= t.line {
			continue
		}
		rows++
		if n == 0 || rec.bad != "" {
			continue
		}
		for i, k, pos := 0, 0, 0; pos >= 0 && k < n; i++ {
			var raw []byte
			raw, pos = rec.field(t.delim, pos)
			if i != want[k].at {
				continue
			}
			if len(raw) > 1 && raw[0] == '"' {
				raw = raw[1 : len(raw)-1]
			}
			if want[k].kind == fieldDate {
				ev.date(raw, rec.line)
			} else {
				ev.number(raw, rec.line)
			}
			k++
		}
	}
}

func (ev *evidence) number(b []byte, line int) {
	for i, c := range b {
		if (c == '.' || c == ',') && i > 0 && i < len(b)-1 {
			if c == '.' && ev.pointLine == 0 {
				ev.pointLine = line
			} else if c == ',' && ev.commaLine == 0 {
				ev.commaLine = line
			}
		}
	}
}

func (ev *evidence) date(b []byte, line int) {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	if len(b) >= 10 && b[4] == '-' && b[7] == '-' {
		ev.iso++
		return
	}
	var num [3]int
	var width [3]int
	k := 0
	var sep byte
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9' && width[k] < 4:
			num[k] = num[k]*10 + int(c-'0')
			width[k]++
		case (c == '.' || c == '/' || c == '-') && k < 2 && width[k] > 0 && (sep == 0 || sep == c):
			sep = c
			k++
		default:
			return
		}
	}
	if k != 2 || width[0] > 2 || width[1] > 2 || width[2] != 4 && width[2] != 2 {
		return
	}
	ev.other++
	if ev.sep == 0 {
		ev.sep, ev.sepLine, ev.shortYear = sep, line, width[2] == 2
	}
	if ev.sep != sep && ev.otherSep == 0 {
		ev.otherSep = line
	}
	if num[0] > 12 && ev.firstOver12 == 0 {
		ev.firstOver12 = line
	}
	if num[1] > 12 && ev.secondOver12 == 0 {
		ev.secondOver12 = line
	}
}

// decide settles what the whole file had to settle, or refuses it.
func (f *form) decide(cfg *Config, lay *layout, ev *evidence, name string) ([]timesheet.Decision, error) {
	at := func(line int) string { return name + ":" + strconv.Itoa(line) }
	delim := map[byte]string{',': "comma", ';': "semicolon", '\t': "tab", '|': "bar"}[f.table.delim]
	out := []timesheet.Decision{
		{What: "encoding", Value: f.charset.name, Evidence: f.charset.why},
		{What: "delimiter", Value: delim, Evidence: at(f.table.line)},
	}
	switch order := ""; {
	case lay.date != nil:
		f.date = *lay.date
		out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: "date_format"})
	case ev.other == 0 || ev.iso >= ev.other:
		if f.table.has(fieldDate) && ev.iso > 0 {
			out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: plural(ev.iso, "date", "dates")})
		}
	default:
		evidence := 0
		sep := string(ev.sep)
		switch {
		case ev.otherSep > 0:
			return out, &Error{
				Line: ev.otherSep, Message: fmt.Sprintf("dates are written in two ways, see also line %d", ev.sepLine),
				HintText: "export the dates in one format, best YYYY-MM-DD",
			}
		case ev.firstOver12 > 0 && ev.secondOver12 > 0:
			return out, &Error{
				Line:     ev.secondOver12,
				Message:  fmt.Sprintf("day and month are written in both orders, see also line %d", ev.firstOver12),
				HintText: "a spreadsheet may have changed some of the dates; export again, best as YYYY-MM-DD",
			}
		case ev.firstOver12 > 0:
			order, evidence = "D"+sep+"M", ev.firstOver12
		case ev.secondOver12 > 0:
			order, evidence = "M"+sep+"D", ev.secondOver12
		default:
			return out, &Error{
				Line: ev.sepLine, Message: "no date in the file tells whether the day or the month comes first",
				HintText: "set date_format, to DD" + sep + "MM" + sep + "YYYY or to MM" + sep + "DD" + sep + "YYYY",
			}
		}
		year := "YYYY"
		if ev.shortYear {
			year = "YY"
		}
		var err error
		if f.date, err = timesheet.ParseDateFormat(order + sep + year); err != nil {
			return out, err
		}
		out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: at(evidence)})
	}
	f.decimal = '.'
	switch {
	case lay.decimal != 0:
		f.decimal = lay.decimal
		out = append(out, timesheet.Decision{What: "decimal sign", Value: string(f.decimal), Evidence: "decimal"})
	case ev.pointLine > 0 && ev.commaLine > 0:
		return out, &Error{
			Line:     max(ev.commaLine, ev.pointLine),
			Message:  fmt.Sprintf("hours have a decimal comma and a decimal point, see also line %d", min(ev.commaLine, ev.pointLine)),
			HintText: "if it is sure which one is meant, set decimal to \".\" or \",\": rows with the other one are then refused",
		}
	case ev.commaLine > 0:
		f.decimal = ','
		out = append(out, timesheet.Decision{What: "decimal sign", Value: ",", Evidence: at(ev.commaLine)})
	case ev.pointLine > 0:
		out = append(out, timesheet.Decision{What: "decimal sign", Value: ".", Evidence: at(ev.pointLine)})
	}
	return out, nil
}

// notes says what a person should know about how the file is read.
func (f *form) notes(u *unit, _ []timesheet.Decision) (out []string) {
	if f.charset.name == cp1252Name && f.charset.why != "csv.encoding" {
		out = append(out, u.name+" is not valid UTF-8 and was read as Windows-1252")
	}
	used := make([]bool, len(f.table.header))
	for _, i := range f.table.at {
		if i >= 0 {
			used[i] = true
		}
	}
	var ignored []string
	for i, h := range f.table.header {
		if !used[i] {
			ignored = append(ignored, quote(strings.TrimSpace(h)))
		}
	}
	if len(ignored) > 0 {
		out = append(out, u.name+": ignored columns: "+strings.Join(ignored, ", "))
	}
	return out
}
