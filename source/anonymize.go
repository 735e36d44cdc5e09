package source

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/charmap"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Anonymize writes a harmless twin of the first file: in the same form and
// encoding, with the same header, delimiter, quotation marks, line ends and
// lengths. Dates are moved by whole weeks, all by as many; times of day and
// durations stay; every other letter and digit is another one. Equal values
// stay equal, and no word of what is replaced comes up elsewhere. Of a workbook
// only cells, number formats and formulas' results go along, of gzip no name.
// A file that cannot be read as entries has a twin as well, as long as its
// header can be told.
func (r *Reading) Anonymize(ctx context.Context, to io.Writer) error {
	h, err := r.Header(ctx)
	if err != nil {
		return err
	}
	u := r.units[0]
	if _, err := r.Survey(ctx); err != nil && ctx.Err() != nil {
		return err // any other fault may be what the twin is to show
	}
	if err := r.anonymize(ctx, u, h, to); err != nil {
		return r.s.place(u.name, err)
	}
	return nil
}

// twin is the making of one.
type twin struct {
	r     *Reading
	ctx   context.Context // of the one call that it is made for
	u     *unit
	h     Header
	t     *table // nil where the file could not be read
	m     *mask
	head  []string
	roles []role
	names map[string]bool // of columns
}

func (r *Reading) anonymize(ctx context.Context, u *unit, h Header, to io.Writer) error {
	m, err := newMask()
	if err != nil {
		return err
	}
	w := &twin{r: r, ctx: ctx, u: u, h: h, m: m, head: h.Columns}
	m.days = dayMove{zone: r.s.cfg.Location, today: r.s.today(), seen: map[timesheet.Day]struct{}{}, plain: map[timesheet.Day]struct{}{}}
	if r.s.cfg.Rules.Future == FutureAllow {
		m.days.today = lastSerial // far away
	}
	if u.form != nil {
		w.t, w.head, m.days.format = u.form.table, u.form.table.header, u.form.date
		if p := w.t.lay.preset; p != nil {
			for kind := range p.skip {
				m.kinds[kind] = true
			}
		}
	}
	w.roles, w.names = rolesOf(w.head, w.t), map[string]bool{}
	for _, name := range w.head {
		if word := bare(name); word != "" {
			w.names[word] = true
		}
	}
	raw, close, err := w.unpacked()
	if err != nil {
		return err
	}
	defer close()
	write := w.table
	size := raw.Size()
	head, err := headOf(raw, size, formHead)
	if err != nil {
		return err
	}
	if u.made != nil && u.made.pivoted != nil {
		w.asWritten(*u.made.pivoted)
	}
	switch {
	case isZip(head):
		write = w.workbook
	case isJSON(head):
		write = w.json
	case isCalendar(head):
		write = w.calendar
	}
	if err := write(raw, io.Discard); err != nil {
		return err
	}
	m.days.choose()
	m.chooseShift()
	m.collect = false
	clear(m.known)
	if !u.gzipped() {
		return write(raw, to)
	}
	z := gzip.NewWriter(to)
	if err := write(raw, z); err != nil {
		return err
	}
	return z.Close()
}

// asWritten takes the header as it stands in the file, where a table with
// another one was made of it.
func (w *twin) asWritten(h Header) {
	w.t, w.h, w.head, w.roles = nil, h, h.Columns, rolesOf(h.Columns, nil)
	for i, name := range w.head {
		if shortDay.MatchString(fold(name)) {
			w.roles[i] = roleLength
		}
		w.names[bare(name)] = true
	}
}

// gzipped tells whether the file itself is packed.
func (u *unit) gzipped() bool {
	head, err := headOf(u.f, u.stamp.size, formHead)
	return err == nil && isGzip(head)
}

// unpacked is the file as it was before a table was made of it.
func (w *twin) unpacked() (raw *io.SectionReader, close func(), err error) {
	if !w.u.gzipped() {
		return io.NewSectionReader(w.u.f, 0, w.u.stamp.size), func() {}, nil
	}
	m := &made{}
	if err := w.r.gunzip(w.ctx, w.u, m); err != nil {
		return nil, nil, err
	}
	return io.NewSectionReader(m.f, 0, m.size), func() { _ = m.close() }, nil
}

// table writes the twin of a CSV file.
func (w *twin) table(data *io.SectionReader, to io.Writer) error {
	size, lim := data.Size(), &w.r.s.cfg.Limits
	head, err := headOf(data, size, headSize)
	if err != nil {
		return err
	}
	cs, delim, err := w.charset(data, head)
	if err != nil {
		return err
	}
	w.m.narrow = cs.name == cp1252Name
	if _, err := to.Write(head[:cs.bom]); err != nil {
		return err
	}
	body := func() io.Reader {
		return cs.decode(ctxReader{w.ctx, io.NewSectionReader(data, int64(cs.bom), size-int64(cs.bom))})
	}
	if delim == 0 {
		if delim, err = w.delimiter(body, lim); err != nil {
			return err
		}
	}
	out := cs.encode(to)
	fr := newFramer(body(), delim, lim, nil)
	var rec frame
	fr.blanks = true
	below := below{}
	if w.t != nil {
		below = w.t.below()
	}
	for {
		err := fr.next(&rec)
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		rest, text := rec.data[len(chomp(rec.data)):], ""
		switch {
		case rec.line < w.h.Line:
			text += w.preamble(string(chomp(rec.data))) + string(rest)
		case rec.line == w.h.Line:
			text += w.heading(&rec, delim) + string(rest)
		case !below.reached && below.has(&rec):
			text += string(rec.data) // its header
		case w.again(&rec, delim):
			text += w.cells(&rec, delim, func(_ int, inner string) string {
				if w.names[bare(inner)] {
					return inner
				}
				return w.m.text(inner)
			}) + string(rest)
		default:
			text += w.record(&rec, delim) + string(rest)
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
}

// charset is how the file was read, or else would be.
func (w *twin) charset(data *io.SectionReader, head []byte) (charset, byte, error) {
	if w.t != nil {
		return w.u.form.charset, w.t.delim, nil
	}
	cs, err := sniff(head, w.r.s.layout.encoding)
	if err != nil {
		return cs, 0, err
	}
	if see := newWatcher(ctxReader{w.ctx, io.NewSectionReader(data, 0, data.Size())}, w.r.s.cfg.Limits.File); cs.auto {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{see}); err != nil {
			return cs, 0, err
		}
		if see.broken {
			cs = charset{name: cp1252Name}
		}
	}
	return cs, 0, nil
}

// delimiter is the one by which the header that was found has its columns.
func (w *twin) delimiter(body func() io.Reader, lim *Limits) (byte, error) {
	for _, d := range []byte(delimiters) {
		fr := newFramer(body(), d, lim, nil)
		var rec frame
		for range headerSearch {
			if err := fr.next(&rec); err != nil {
				break
			}
			if rec.line == w.h.Line && slices.Equal(rec.fields(d), w.h.Columns) {
				return d, nil
			}
		}
	}
	return ',', w.ctx.Err()
}

// preamble masks a line above the header, dates aside.
func (w *twin) preamble(line string) string {
	var b strings.Builder
	last := 0
	for _, at := range dateParts.FindAllStringIndex(line, -1) {
		b.WriteString(w.m.text(line[last:at[0]]) + w.m.days.move(line[at[0]:at[1]], w.m.collect))
		last = at[1]
	}
	return b.String() + w.m.text(line[last:])
}

// heading is the header, in which only days are moved.
func (w *twin) heading(rec *frame, delim byte) string {
	return w.cells(rec, delim, func(_ int, inner string) string { return w.name(inner) })
}

// name is that of a column, moved where it is a day.
func (w *twin) name(s string) string {
	switch {
	case wholeDate(strings.TrimSpace(s)):
		return w.m.days.move(s, w.m.collect)
	case shortDay.MatchString(fold(s)):
		return w.m.days.short(s, w.m.collect)
	}
	return s
}

// again tells whether a row is a header for the second time: most of its cells
// are names of columns.
func (w *twin) again(rec *frame, delim byte) bool {
	names, others := 0, 0
	for _, cell := range rec.fields(delim) {
		if word := bare(cell); w.names[word] {
			names++
		} else if word != "" {
			others++
		}
	}
	return names > 2 && names > 2*others
}

// record is a row without its line end.
func (w *twin) record(rec *frame, delim byte) string {
	return w.cells(rec, delim, func(i int, inner string) string { return w.m.value(inner, w.role(i)) })
}

func (w *twin) role(i int) role {
	if i < len(w.roles) {
		return w.roles[i]
	}
	return rolePersonal
}

// cells rewrites a record cell by cell, each within its quotation marks.
func (w *twin) cells(rec *frame, delim byte, each func(i int, inner string) string) string {
	var b strings.Builder
	if rec.bad != "" {
		for i, cell := range strings.Split(string(chomp(rec.data)), string(rune(delim))) {
			if i > 0 {
				b.WriteByte(delim)
			}
			b.WriteString(each(i, cell))
		}
		return b.String()
	}
	for i, pos := 0, 0; pos >= 0; i++ {
		var raw []byte
		raw, pos = rec.field(delim, pos)
		if i > 0 {
			b.WriteByte(delim)
		}
		if inner := string(raw); len(raw) > 1 && raw[0] == '"' {
			b.WriteString(`"` + each(i, inner[1:len(inner)-1]) + `"`)
		} else {
			b.WriteString(each(i, inner))
		}
	}
	return b.String()
}

// encode is the way back of decode.
func (c charset) encode(w io.Writer) io.WriteCloser {
	switch c.name {
	case utf16leName:
		return transform.NewWriter(w, xunicode.UTF16(xunicode.LittleEndian, xunicode.IgnoreBOM).NewEncoder())
	case utf16beName:
		return transform.NewWriter(w, xunicode.UTF16(xunicode.BigEndian, xunicode.IgnoreBOM).NewEncoder())
	case cp1252Name:
		return transform.NewWriter(w, charmap.Windows1252.NewEncoder())
	}
	return transform.NewWriter(w, transform.Nop)
}
