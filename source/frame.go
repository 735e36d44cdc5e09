package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// frame is the bytes of one record, cut out of a CSV file but not yet parsed.
type frame struct {
	data   []byte // with its line end; valid until the next call of next
	line   int    // on which it begins, from 1
	quoted bool   // contains a quotation mark
	bad    string // why it cannot be parsed as a record; empty for most
	cr     bool   // has a CR that ends no line, outside quotes
}

// framer cuts a stream into records by the rules of encoding/csv, so that one
// broken record cannot take the next one with it, every record's true line is
// known, and no length is unbounded. Blank records are left out.
type framer struct {
	r        io.Reader
	delim    byte
	maxLine  int
	maxField int
	blanks   bool // records that are blank are handed out as well

	buf        []byte
	start, end int // of the bytes not yet handed out
	err        error
	line       int // number of the line at start, from 0
}

func newFramer(r io.Reader, delim byte, lim *Limits, buf []byte) *framer {
	if buf == nil {
		buf = make([]byte, 128<<10)
	}
	return &framer{r: r, delim: delim, maxLine: lim.Line, maxField: lim.Field, buf: buf}
}

// frameBytes cuts what is in memory already.
func frameBytes(b []byte, delim byte, lim *Limits) *framer {
	return &framer{delim: delim, maxLine: lim.Line, maxField: lim.Field, buf: b, end: len(b), err: io.EOF}
}

// newline is the index after the next LF at or behind from, relative to start;
// at the end of the stream, the index of the end. It reads as needed.
func (f *framer) newline(from int) (int, error) {
	for {
		if i := bytes.IndexByte(f.buf[f.start+from:f.end], '\n'); i >= 0 {
			if from+i > f.maxLine {
				return 0, errTooLong
			}
			return from + i + 1, nil
		}
		from = f.end - f.start
		if from > f.maxLine {
			return 0, errTooLong
		}
		if f.err != nil {
			if errors.Is(f.err, io.EOF) {
				return from, nil
			}
			return 0, f.err
		}
		f.fill()
	}
}

var errTooLong = errors.New("record too long")

func (f *framer) fill() {
	if f.start > 0 {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buf) {
		f.buf = append(f.buf, make([]byte, len(f.buf))...)
	}
	for range 100 {
		n, err := f.r.Read(f.buf[f.end:])
		f.end += n
		f.err = err
		if n > 0 || err != nil {
			return
		}
	}
	f.err = io.ErrNoProgress
}

// next gives the next record that is not blank, or io.EOF. An *Error refuses
// the file.
func (f *framer) next(fr *frame) error {
	for {
		n, err := f.newline(0)
		if errors.Is(err, errTooLong) {
			return &Error{
				Line: f.line + 1, Message: fmt.Sprintf("a line is longer than %d bytes", f.maxLine),
				HintText: "this is no CSV file, or its line ends are of a kind that is not read",
			}
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		line := f.buf[f.start : f.start+n]
		fr.line, fr.bad, fr.cr = f.line+1, "", false
		fr.quoted = bytes.IndexByte(line, '"') >= 0
		if fr.quoted {
			if n, err = f.quotedRecord(fr, n); err != nil {
				return err
			}
			line = f.buf[f.start : f.start+n]
		} else {
			f.line++
			fr.cr = bytes.IndexByte(chomp(line), '\r') >= 0
		}
		f.start += n
		if !fr.quoted && !f.blanks && f.blank(line) {
			continue
		}
		fr.data = line
		switch {
		case fr.bad != "":
		case bytes.IndexByte(line, 0) >= 0:
			fr.bad = "the row contains a NUL byte"
		case fr.cr:
			fr.bad = "the row contains a line end of an old kind (CR without LF) outside quotes"
		case n > f.maxField:
			fr.checkFields(f.delim, f.maxField)
		}
		return nil
	}
}

// chomp takes one line end off b, as encoding/csv does: at the end of the file
// a CR alone is one.
func chomp(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return bytes.TrimSuffix(b, []byte{'\r'})
}

// blank tells whether a record is nothing but delimiters and space, as
// spreadsheets leave behind the end of a table.
func (f *framer) blank(line []byte) bool {
	for _, c := range line {
		if c != f.delim && c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// quotedRecord finds the end of a record whose first line, of n bytes,
// contains a quotation mark.
func (f *framer) quotedRecord(fr *frame, n int) (int, error) {
	pos, lines := 0, 1
	for {
		b := f.buf[f.start : f.start+n]
		if pos < n && b[pos] == '"' {
			opened := f.line + lines - 1
			pos++
			for {
				i := bytes.IndexByte(b[pos:], '"')
				if i < 0 {
					more, err := f.newline(n)
					if errors.Is(err, errTooLong) || err == nil && more == n {
						what := "is never closed"
						if err != nil {
							what = fmt.Sprintf("is still open after %d bytes", f.maxLine)
						}
						return 0, &Error{
							Line: opened + 1, Message: "a quotation mark opened on this line " + what,
							HintText: "look for a missing or an odd quotation mark on this line",
						}
					}
					if err != nil {
						return 0, err
					}
					pos, n = n, more // what was looked at holds no quotation mark
					b = f.buf[f.start : f.start+n]
					lines++
					continue
				}
				pos += i + 1
				if pos < n && b[pos] == '"' {
					pos++
					continue
				}
				break
			}
			switch {
			case pos == n || b[pos] == '\n':
				f.line += lines
				return n, nil
			case b[pos] == '\r' && (pos+1 == n || b[pos+1] == '\n'):
				f.line += lines
				return n, nil
			case b[pos] == f.delim:
				pos++
				continue
			}
			fr.bad = "text follows a closing quotation mark"
			f.line += lines
			return n, nil
		}
		i := bytes.IndexByte(b[pos:], f.delim)
		field := chomp(b[pos:])
		if i >= 0 {
			field = b[pos : pos+i]
		}
		if bytes.IndexByte(field, '"') >= 0 {
			fr.bad = "a quotation mark stands within an unquoted value"
		}
		fr.cr = fr.cr || bytes.IndexByte(field, '\r') >= 0
		if i < 0 || fr.bad != "" {
			f.line += lines
			return n, nil
		}
		pos += i + 1
	}
}

func (fr *frame) checkFields(delim byte, most int) {
	for pos := 0; pos >= 0; {
		var field []byte
		if field, pos = fr.field(delim, pos); len(field) > most {
			fr.bad = fmt.Sprintf("a value is longer than %d bytes", most)
			return
		}
	}
}

// field gives the raw field at pos (quotes included, line end not) and the
// position of the next one, -1 behind the last. The frame must not be bad.
func (fr *frame) field(delim byte, pos int) (raw []byte, next int) {
	b := fr.data
	if pos < len(b) && b[pos] == '"' {
		i := pos + 1
		for {
			j := bytes.IndexByte(b[i:], '"')
			if j < 0 {
				return b[pos:], -1
			}
			i += j + 1
			if i < len(b) && b[i] == '"' {
				i++
				continue
			}
			break
		}
		if i < len(b) && b[i] == delim {
			return b[pos:i], i + 1
		}
		return b[pos:i], -1
	}
	if i := bytes.IndexByte(b[pos:], delim); i >= 0 {
		return b[pos : pos+i], pos + i + 1
	}
	return chomp(b[pos:]), -1
}

// fields parses the frame as well as it can be; a bad one is split at the
// delimiters.
func (fr *frame) fields(delim byte) []string {
	if fr.bad != "" {
		var out []string
		for f := range bytes.SplitSeq(chomp(fr.data), []byte{delim}) {
			out = append(out, string(f))
		}
		return out
	}
	var out []string
	for pos := 0; pos >= 0; {
		var raw []byte
		raw, pos = fr.field(delim, pos)
		out = append(out, unquote(raw))
	}
	return out
}

// unquote is what encoding/csv makes of a raw field.
func unquote(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return string(raw)
	}
	raw = bytes.ReplaceAll(raw[1:len(raw)-1], []byte(`""`), []byte(`"`))
	return string(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")))
}
