package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// dialect is how an export is written, and what its file decided.
type dialect struct {
	encoding      string // empty: utf-8
	comma         rune
	date, decimal string // empty: as anywhere
	clock         string // 12h or 24h, where all times of day are on the same
	// mark, quoted and crlf: a byte-order mark, quotation marks around every
	// value, and line ends as on Windows.
	mark, quoted, crlf bool
	// form is what the file is, where that is no CSV and the rows are written in
	// ours.
	form string
}

var delimiterNames = map[string]rune{"comma": ',', "semicolon": ';', "tab": '\t', "bar": '|'}

// dialectsOf tells the dialects of the files that a source had when it was read
// last.
func dialectsOf(ctx context.Context, l *ledger.Ledger, source string) (map[string]dialect, error) {
	_, _, summary, err := l.LastRead(ctx, source)
	if err != nil {
		return nil, err
	}
	var last struct{ Files []timesheet.File }
	if json.Unmarshal(summary, &last) != nil {
		return nil, nil //nolint:nilerr // an older program's summary: the rows go out as they always did
	}
	files := map[string]dialect{}
	for _, f := range last.Files {
		d := dialect{comma: ',', quoted: f.Quoted, crlf: f.CRLF}
		for _, is := range f.Decisions {
			switch is.What {
			case "form":
				d.form, _, _ = strings.Cut(is.Value, ",")
			case "encoding":
				d.encoding, d.mark = is.Value, is.Evidence == "byte-order mark"
			case "delimiter":
				d.comma = delimiterNames[is.Value]
			case "date order":
				if is.Value != (timesheet.DateFormat{}).String() {
					d.date = is.Value
				}
			case "clock":
				d.clock = is.Value
			case "decimal sign":
				if is.Value != "." {
					d.decimal = is.Value
				}
			}
		}
		files[f.Name] = d
	}
	return files, nil
}

// said is what goes along in the column _read; empty where nothing was decided
// that a few rows could not tell.
func (d dialect) said() string {
	var s []string
	if d.date != "" {
		s = append(s, "date="+d.date)
	}
	if d.decimal != "" {
		s = append(s, "decimal="+d.decimal)
	}
	if d.clock != "" {
		s = append(s, "clock="+d.clock)
	}
	return strings.Join(s, " ")
}

// hear understands what said says.
func (d *dialect) hear(text string) {
	for word := range strings.FieldsSeq(text) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "date":
			d.date = value
		case "decimal":
			d.decimal = value
		case "clock":
			d.clock = value
		}
	}
}

// line writes a record.
func (d dialect) line(record []string) string {
	var b strings.Builder
	for i, v := range record {
		if i > 0 {
			b.WriteRune(d.comma)
		}
		if !d.quoted && !strings.ContainsAny(v, string(d.comma)+"\"\r\n") && strings.TrimSpace(v) == v && (v != "" || len(record) > 1) {
			b.WriteString(v)
			continue
		}
		b.WriteString(`"` + strings.ReplaceAll(v, `"`, `""`) + `"`)
	}
	if d.crlf {
		b.WriteByte('\r')
	}
	b.WriteByte('\n')
	return b.String()
}

// encode turns UTF-8 into the dialect's encoding. Only texts of ours can have
// characters that it lacks.
func (d dialect) encode(text []byte) ([]byte, error) {
	e := encoding.Encoder{}
	switch d.encoding {
	case "utf-16le":
		e = *unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder()
	case "utf-16be":
		e = *unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder()
	case "windows-1252":
		e = *encoding.ReplaceUnsupported(charmap.Windows1252.NewEncoder())
	default:
		if d.mark {
			text = append([]byte("\xef\xbb\xbf"), text...)
		}
		return text, nil
	}
	return e.Bytes(text)
}

// plainText is what is in a file that a spreadsheet or an editor may have saved
// in its own encoding.
func plainText(b []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Bytes(b)
	case utf8.Valid(b):
		return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), nil
	}
	return charmap.Windows1252.NewDecoder().Bytes(b)
}

// mendedReader reads b with the delimiter by which its header has the column
// _row, and returns the header.
func mendedReader(b []byte) (in *csv.Reader, header []string, err error) {
	for _, comma := range ",;\t|" {
		in = csv.NewReader(bytes.NewReader(b))
		in.Comma, in.FieldsPerRecord = comma, -1
		h, readErr := in.Read()
		if readErr == nil && slices.Contains(h, rowColumn) {
			return in, h, nil
		}
		if readErr != nil && !errors.Is(readErr, io.EOF) && err == nil {
			err = readErr
		}
	}
	return nil, nil, err
}
