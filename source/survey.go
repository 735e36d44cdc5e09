package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	several bool // people, in a source that is one person's
}

// Survey is the first pass: it finds out how each file is to be read, refuses
// what cannot be, and counts the rows.
func (r *Reading) Survey(ctx context.Context) (timesheet.Survey, error) {
	sv := timesheet.Survey{Stamp: r.Stamp(), Window: r.window}
	var notes []string
	for _, u := range r.units {
		file, more, err := r.surveyUnit(ctx, u)
		if err != nil {
			return timesheet.Survey{}, r.s.place(u.name, err)
		}
		r.s.log.DebugContext(ctx, "surveyed", "file", u.name, "rows", file.Rows, "bytes", file.Size)
		sv.Files = append(sv.Files, file)
		sv.Rows += file.Rows
		notes = append(notes, more...)
	}
	sv.Notes, sv.Complete = append(slices.Clone(r.notes), notes...), !r.partial
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
				if err := errors.Join(u.unmake(), u.seal()); err != nil {
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
	file := timesheet.File{Name: u.name, Size: u.stamp.size}
	if err := r.prepare(ctx, u); err != nil {
		return file, nil, err
	}
	lay := u.layout(r.s)
	data, size := u.data()
	head, err := headOf(data, size, headSize)
	if err != nil {
		return file, nil, err
	}
	cs, err := sniff(head, lay.encoding)
	if err != nil {
		return file, nil, err
	}
	for {
		t, err := r.header(lay, head, cs)
		if err != nil {
			if u.made != nil && u.made.instead != nil {
				err = u.made.instead
			}
			return file, nil, u.located(err)
		}
		w, ev, rows, err := r.scan(ctx, u, cs, t)
		if err != nil {
			return file, nil, u.located(err)
		}
		if w.broken && (cs.name == utf8Name || cs.auto) {
			if w.wide || !cs.auto {
				what := "the file mixes UTF-8 with bytes that are not"
				if !cs.auto {
					what = "the file is not valid UTF-8, which it claims to be"
				}
				return file, nil, &Error{Message: what, HintText: "export it again, as UTF-8; or set csv.encoding", Key: "csv.encoding", Options: []string{cp1252Name}}
			}
			if cs.name == utf8Name {
				cs = charset{name: cp1252Name, why: notUTF8}
				continue
			}
		}
		if n := size - int64(cs.bom); strings.HasPrefix(cs.name, "utf-16") && n%2 != 0 {
			return file, nil, &Error{Message: "the file is UTF-16 but has an odd number of bytes: it is cut off", HintText: "export it again"}
		}
		u.sum = [32]byte(w.sum.Sum(nil))
		u.hashed, u.rows = true, rows
		u.form = &form{charset: cs, table: t}
		file.Rows = rows
		if u.made == nil || !u.made.table {
			file.Quoted, file.CRLF = t.quoted, t.crlf
		}
		file.Decisions, err = u.form.decide(lay, ev, u.name)
		if err == nil && u.json {
			err = ev.unit()
		}
		if u.made != nil {
			file.Decisions = u.made.decisions(file.Decisions)
		}
		return file, u.form.notes(u), err
	}
}

// header finds the header in the head of the file.
func (r *Reading) header(lay *layout, head []byte, cs charset) (*table, error) {
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
	t, err := r.s.findTable(lay, text, &lim)
	var e *Error
	if err != nil && !whole && errors.As(err, &e) && e.Line == 0 {
		e.Message = "no header was found in the first " + strconv.Itoa(headSize>>10) + " KiB"
	}
	return t, err
}

// scan goes through the whole file once: hash, encoding, row count, evidence.
func (r *Reading) scan(ctx context.Context, u *unit, cs charset, t *table) (*watcher, *evidence, int, error) {
	cfg := &r.s.cfg
	data, size := u.data()
	w := newWatcher(ctxReader{ctx, io.NewSectionReader(data, 0, size)}, cfg.Limits.File)
	if _, err := io.CopyN(io.Discard, w, int64(cs.bom)); err != nil {
		return nil, nil, 0, err
	}
	fr := newFramer(cs.decode(w), t.delim, &cfg.Limits, nil)
	ev := &evidence{}
	second, below := t.lay.headings(t), t.below()
	want := r.s.wanted(t)
	n := len(want)
	var rec frame
	rows := 0
	for {
		err := fr.next(&rec)
		if errors.Is(err, io.EOF) {
			return w, ev, rows, nil
		}
		if err != nil {
			return nil, nil, 0, err
		}
		if rec.line <= t.line {
			continue
		}
		rows++
		if below.has(&rec) {
			continue
		}
		if !u.json {
			if err := whole(&rec, t, second); err != nil {
				return nil, nil, 0, err
			}
		}
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
			want[k].see(ev, raw, u.place(rec.line, rows))
			k++
		}
	}
}

// whole refuses the file for a row that shows that it is not one whole table.
func whole(rec *frame, t *table, second *headings) error {
	if second.match(rec, t.delim) {
		return &Error{
			Line: rec.line, Message: fmt.Sprintf("a second header stands here (the first is on line %d): this is more than one table", t.line),
			HintText: "export one table per file",
		}
	}
	// Only the last row can lack its line end.
	if rec.data[len(rec.data)-1] == '\n' {
		return nil
	}
	if n := len(rec.fields(t.delim)); n < len(t.header) {
		return &Error{
			Line: rec.line, Message: fmt.Sprintf("the file is cut off in its last line, which has %s; the header has %d", plural(n, "value", "values"), len(t.header)),
			HintText: "export it again",
		}
	}
	return nil
}

// notes says what a person should know about how the file is read.
func (f *form) notes(u *unit) (out []string) {
	if f.charset.name == cp1252Name && f.charset.why != "csv.encoding" {
		out = append(out, u.name+" is not valid UTF-8 and was read as Windows-1252")
	}
	if f.several {
		out = append(out, u.name+": column "+quote(strings.TrimSpace(f.table.header[f.table.at[fieldUser]]))+" has more than one person, and the hours of all count as those of the source's user; without the key user the column says whose they are")
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
	if p := f.table.like; p != nil {
		out = append(out, u.name+" looks like "+p.title+", but has all columns of our own format and is read by those; preset: "+p.name+" reads the rest of it too")
	}
	// What a tracker's export has besides is known.
	if len(ignored) > 0 && f.table.lay.preset == nil {
		out = append(out, u.name+": ignored columns: "+strings.Join(ignored, ", "))
	}
	return out
}
