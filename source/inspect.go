package source

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
)

// Header is the line of a file that looks like its header, whether or not
// anything in it is known.
type Header struct {
	Line    int // 0 in JSON, which has none
	Columns []string
}

// Header looks for the header of the first file. One that has none, or cannot
// be opened as any form, is an error.
func (r *Reading) Header(ctx context.Context) (Header, error) {
	var best Header
	if len(r.units) == 0 {
		return best, &Error{Source: r.s.cfg.Name, Message: "there is no file to look at"}
	}
	r.lenient = true
	u := r.units[0]
	text, err := r.headText(ctx, u)
	if err != nil {
		return best, r.s.place(u.name, err)
	}
	best = r.likeliest(u, text)
	if best.Columns == nil {
		if u.made != nil && u.made.instead != nil {
			return best, r.s.place(u.name, u.made.instead)
		}
		if !bytes.ContainsRune(text, '\n') && bytes.Count(text, []byte("\r")) > 1 {
			return best, r.s.place(u.name, loneCR(1))
		}
		return best, r.s.place(u.name, &Error{Message: "no line looks like a header", HintText: "a table of hours has a line that names its columns"})
	}
	if n := len(best.Columns); best.Columns[n-1] == refusedHeader {
		best.Columns = best.Columns[:n-1]
	}
	return best, nil
}

// likeliest is the line that is most like a header; its Columns are nil where
// none is.
func (r *Reading) likeliest(u *unit, text []byte) (best Header) {
	most := 2 // a line of preamble may well have a comma in it
	for _, delim := range []byte(delimiters) {
		if l := u.layout(r.s); l.delim != 0 && l.delim != delim {
			continue
		}
		fr := frameBytes(text, delim, &r.s.cfg.Limits)
		var rec frame
		for range headerSearch {
			if fr.next(&rec) != nil {
				break
			}
			columns := rec.fields(delim)
			if n := words(columns); rec.bad == "" && n > most {
				most, best = n, Header{Line: u.place(rec.line, 0), Columns: columns}
			}
		}
	}
	return best
}

// headText is the beginning of a file, as text.
func (r *Reading) headText(ctx context.Context, u *unit) ([]byte, error) {
	if err := r.prepare(ctx, u); err != nil {
		return nil, err
	}
	data, size := u.data()
	head, err := headOf(data, size, headSize)
	if err != nil {
		return nil, err
	}
	cs, err := sniff(head, u.layout(r.s).encoding)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(cs.decode(bytes.NewReader(head[cs.bom:])))
	if err != nil {
		return nil, err
	}
	return text, foreign(text)
}

// words counts the cells that could name a column.
func words(cells []string) (n int) {
	for i, c := range cells {
		c = fold(c)
		if c != "" && strings.ContainsFunc(c, func(r rune) bool { return r > '9' }) && !digit(c[0]) && !slices.Contains(cells[:i], cells[i]) {
			n++
		}
	}
	return n
}

// Guess tells which of the columns are probably which fields, by the words that
// trackers use: what a person may start from, never what is read by itself. An
// id is not guessed, because one that is not for ever does harm.
func Guess(columns []string) map[string]string {
	known := [fieldCount][]string{
		fieldUser:     {"user_id", "user", "email", "e-mail", "user.email", "username", "user name", "user.name", "member", "employee", "person", "full name", "mitarbeiter", "mitarbeiterin", "benutzer"},
		fieldUserType: {"user_type"},
		fieldDate:     {"date", "day", "datum", "tag", "work date", "spent_date", "start date"},
		fieldStart:    {"start", "start time", "start_time", "from", "von", "begin", "beginn", "time started", "started", "timeinterval.start"},
		fieldEnd:      {"end", "end time", "end_time", "to", "bis", "ende", "stop", "time ended", "stopped", "timeinterval.end"},
		fieldEndDate:  {"end date", "end_date"},
		fieldDuration: {"duration", "duration (h)", "dauer", "worked", "time", "zeit"},
		fieldHours:    {"hours", "hours spent", "duration (decimal)", "stunden", "std", "std."},
		fieldProject:  {"project", "project name", "project.name", "projekt", "activity name", "tags.0"},
		fieldTask:     {"task", "task name", "task.name", "activity", "aufgabe", "tätigkeit", "aktivität"},
		fieldNotes:    {"notes", "description", "comment", "work description", "annotation", "note", "beschreibung", "kommentar", "bemerkung", "notiz"},
	}
	out := map[string]string{}
	for f, words := range known {
		for _, w := range words {
			i := slices.IndexFunc(columns, func(c string) bool { return fold(c) == w })
			if i >= 0 && !slices.ContainsFunc(columns[i+1:], func(c string) bool { return fold(c) == w }) {
				out[field(f).name()] = strings.TrimSpace(columns[i])
				break
			}
		}
	}
	return out
}
