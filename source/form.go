package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// A file may be packed, or hold records in another form than CSV. What it is,
// its first bytes tell, never its name. Packed bytes are unpacked into a spool,
// and records of JSON and of spreadsheets become a CSV of ours there, so that
// there is one way of reading rows.

const (
	gzipRatio = 200     // above this a gzip file is a bomb
	gzipFloor = 1 << 20 // bytes that may come out whatever the ratio
	formHead  = 512     // bytes that tell the form
)

// made is what is read in place of a file.
type made struct {
	f       *os.File
	gone    bool
	size    int64
	table   bool    // a CSV of ours: UTF-8, commas
	pivoted *Header // as it stands in the file, where that has a column for each day
	lines   lines
	how     []timesheet.Decision
	// instead is the error to give where no header is found.
	instead error
}

func (m *made) close() error {
	err := m.f.Close()
	if !m.gone {
		err = errors.Join(err, os.Remove(m.f.Name()))
	}
	return err
}

// data is what the passes read, and how long it is.
func (u *unit) data() (io.ReaderAt, int64) {
	if u.made != nil {
		return u.made.f, u.made.size
	}
	return u.f, u.stamp.size
}

// unmake forgets what was made of a file that has changed.
func (u *unit) unmake() error {
	if u.made == nil {
		return nil
	}
	if u.made.table {
		u.json = false
	}
	m := u.made
	u.made = nil
	return m.close()
}

// place is the line of the file itself at which a record stands: number is the
// record's, from 1.
func (u *unit) place(line, number int) int {
	switch {
	case number > 0 && number <= len(u.lines):
		return u.lines[number-1]
	case u.made != nil && u.made.lines != nil:
		return u.made.lines.at(line)
	case u.json:
		return number
	}
	return line
}

// layout is how the unit is read: what we made ourselves is in no dialect.
func (u *unit) layout(s *Source) *layout {
	if u.made == nil || !u.made.table {
		return &s.layout
	}
	l := s.layout
	l.delim, l.encoding = ',', utf8Name
	return &l
}

// located puts the line of the file into an error that has the one of the
// table made of it.
func (u *unit) located(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && u.made != nil && u.made.table && e.Line > 0 {
		e.Line = u.made.lines.at(e.Line)
	}
	return err
}

// lines tells the line of a file, and the column where a row is but one cell of
// it, from the line of the CSV that was made of it. It holds an element only
// where the distance of both lines changes, and for each cell.
type lines []struct{ made, file, column int }

func (l *lines) add(made, file, column int) {
	if n := len(*l); n > 0 && column == 0 && made-(*l)[n-1].made == file-(*l)[n-1].file {
		return
	}
	*l = append(*l, struct{ made, file, column int }{made, file, column})
}

func (l lines) at(line int) int {
	file, _ := l.cell(line)
	return file
}

func (l lines) cell(line int) (file, column int) {
	i := sort.Search(len(l), func(i int) bool { return l[i].made > line }) - 1
	if i < 0 {
		return 0, 0
	}
	return l[i].file + line - l[i].made, l[i].column
}

// column is the column of the file at which a record stands, from 1; 0 where it
// is a whole row.
func (u *unit) column(line int) int {
	if u.made == nil {
		return 0
	}
	_, column := u.made.lines.cell(line)
	return column
}

// tableWriter writes a CSV of ours and notes which of its lines is which of the
// file.
type tableWriter struct {
	buf   *bufio.Writer
	csv   *csv.Writer
	line  int // of the next row
	lines lines
}

func newTableWriter(w io.Writer) *tableWriter {
	buf := bufio.NewWriter(w)
	return &tableWriter{buf: buf, csv: csv.NewWriter(buf), line: 1}
}

// row writes a row that stands on the given line of the file.
func (t *tableWriter) row(record []string, line int) error { return t.cell(record, line, 0) }

// cell writes a row that is one cell of the file.
func (t *tableWriter) cell(record []string, line, column int) error {
	t.lines.add(t.line, line, column)
	t.line++
	for _, v := range record {
		t.line += strings.Count(v, "\n")
	}
	return t.csv.Write(record)
}

func (t *tableWriter) flush() error {
	t.csv.Flush()
	return errors.Join(t.csv.Error(), t.buf.Flush())
}

func isGzip(head []byte) bool { return bytes.HasPrefix(head, []byte("\x1f\x8b")) }
func isZip(head []byte) bool  { return bytes.HasPrefix(head, []byte("PK\x03\x04")) }

// isJSON wants UTF-8 without a byte-order mark, as RFC 8259 does.
func isJSON(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && bytes.IndexByte(head, 0) < 0
}

// whole tells whether the form of a file shows that it was not cut off.
func wholeByForm(head []byte) bool {
	return isGzip(head) || isZip(head) || isJSON(head) || isCalendar(head)
}

func headOf(f io.ReaderAt, size, most int64) ([]byte, error) {
	head := make([]byte, min(most, size))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head, nil
}

// prepare makes a CSV of a file in another form; of a CSV file it makes nothing.
func (r *Reading) prepare(ctx context.Context, u *unit) (err error) {
	if u.made != nil || u.json {
		return nil
	}
	head, err := headOf(u.f, u.stamp.size, formHead)
	if err != nil {
		return err
	}
	m := &made{f: u.f, size: u.stamp.size}
	defer func() {
		if err != nil && m.f != u.f {
			_ = m.close() // what went wrong first is what the reader needs to know
		}
	}()
	if isGzip(head) {
		if err := r.gunzip(ctx, u, m); err != nil {
			return err
		}
		if head, err = headOf(m.f, m.size, formHead); err != nil {
			return err
		}
		if isGzip(head) {
			return &Error{Message: "this is a gzip file within a gzip file", HintText: "pack the export once"}
		}
	}
	switch {
	case isZip(head):
		err = r.replace(u, m, func(w io.Writer) error { return r.workbook(ctx, m, w) })
	case isJSON(head):
		err = r.replace(u, m, func(w io.Writer) error { return r.records(ctx, m, w) })
		u.json = err == nil
	case isCalendar(head):
		err = r.replace(u, m, func(w io.Writer) error { return r.calendar(ctx, m, w) })
		u.json = err == nil
	}
	if err == nil && !u.json {
		err = r.unpivot(ctx, u, m)
	}
	if err == nil && m.f != u.f {
		u.made = m
	}
	return err
}

// replace lets write make a table of what m holds, in m's place.
func (r *Reading) replace(u *unit, m *made, write func(io.Writer) error) error {
	return r.replaceIf(u, m, func(w io.Writer) (bool, error) { return true, write(w) })
}

// replaceIf is replace, unless write says that the table is not to be used.
func (r *Reading) replaceIf(u *unit, m *made, write func(io.Writer) (bool, error)) error {
	spool, err := newSpool(r.s.cfg.SpoolDir, "")
	if err != nil {
		return err
	}
	use, err := write(spool.f)
	if err == nil {
		err = spool.seal()
	}
	if err != nil || !use {
		_ = spool.close()
		return err
	}
	if m.f != u.f {
		if err := m.close(); err != nil {
			return errors.Join(err, spool.close())
		}
	}
	m.f, m.gone, m.size, m.table = spool.f, spool.gone, spool.stamp.size, true
	return nil
}

// gunzip unpacks u into m.
func (r *Reading) gunzip(ctx context.Context, u *unit, m *made) error {
	damaged := func(err error) error {
		return &Error{Message: "the gzip file is damaged or cut off", HintText: "export it again, or copy it again", Err: err}
	}
	in, err := gzip.NewReader(bufio.NewReader(ctxReader{ctx, io.NewSectionReader(u.f, 0, u.stamp.size)}))
	if err != nil {
		return damaged(err)
	}
	spool, err := newSpool(r.s.cfg.SpoolDir, "")
	if err != nil {
		return err
	}
	limit := min(r.s.cfg.Limits.File, max(gzipFloor, u.stamp.size*gzipRatio))
	n, err := io.Copy(spool.f, io.LimitReader(in, limit+1))
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case n > limit && limit == r.s.cfg.Limits.File:
		err = &Error{Message: fmt.Sprintf("the file is larger than %d bytes once unpacked", limit), HintText: "split the export by month or by person"}
	case n > limit:
		err = &Error{Message: fmt.Sprintf("the file grows to more than %d times its size when unpacked: this is no export", gzipRatio), HintText: "unpack it by hand and look at it"}
	case err != nil:
		err = damaged(err)
	default:
		err = spool.seal()
	}
	if err != nil {
		_ = spool.close()
		return err
	}
	m.f, m.gone, m.size = spool.f, spool.gone, n
	m.how = append(m.how, timesheet.Decision{What: "packed", Value: "gzip", Evidence: "first bytes"})
	if head, err := headOf(m.f, m.size, formHead); err == nil && !spool.ended && n > 0 && !wholeByForm(head) {
		r.cutNote(u)
	}
	return nil
}

// decisions puts how the file was opened in front of what the table decided;
// encoding and delimiter of a table of ours are of no interest.
func (m *made) decisions(d []timesheet.Decision) []timesheet.Decision {
	if m.table {
		d = slices.DeleteFunc(d, func(d timesheet.Decision) bool { return d.What == "encoding" || d.What == "delimiter" })
	}
	return append(slices.Clone(m.how), d...)
}

// section is where the configuration says how files of the source are read.
func (s *Source) section() string {
	if s.cfg.Exec != nil {
		return "exec"
	}
	return "csv"
}
