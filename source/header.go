package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// field is what a column means.
type field int

const (
	fieldUser field = iota
	fieldUserType
	fieldDate
	fieldStart
	fieldEnd
	fieldEndDate
	fieldDuration
	fieldHours
	fieldProject
	fieldTask
	fieldNotes
	fieldID
	fieldRefused // why a JSON record was refused while it was made a row
	fieldCount
)

// refusedHeader names the column that only our own spool of JSON has.
const refusedHeader = "\u2060refused"

// name is the field's name in configuration and in the struct for gocsv.
func (f field) name() string {
	return [fieldCount]string{
		"user", "user_type", "date", "start", "end", "end_date", "duration", "hours", "project", "task", "notes", "id", "refused",
	}[f]
}

// aliases are the headers of our own CSV, the preferred first.
func (f field) aliases() []string {
	switch f {
	case fieldUser:
		return []string{"user_id", "user", "email"}
	case fieldDate:
		return []string{"date", "day"}
	case fieldStart:
		return []string{"start", "start_time"}
	case fieldEnd:
		return []string{"end", "end_time"}
	case fieldNotes:
		return []string{"notes", "description"}
	case fieldID:
		return []string{"id", "external_id"}
	case fieldRefused:
		return []string{refusedHeader}
	default:
		return []string{f.name()}
	}
}

// layout is the way a source is read, as far as the configuration says.
type layout struct {
	wanted   [fieldCount][]string // folded headers that may stand for the field
	mapped   bool                 // by the columns key: each is then required
	fixed    bool                 // the user is
	date     *timesheet.DateFormat
	decimal  byte
	delim    byte
	encoding string
}

const delimiters = ",;\t|"

func newLayout(cfg *Config) (layout, error) {
	l := layout{mapped: len(cfg.Columns) > 0, fixed: cfg.User != "", encoding: cfg.Encoding}
	for f := range fieldRefused {
		if header, ok := cfg.Columns[f.name()]; ok {
			l.wanted[f] = []string{fold(header)}
			if fold(header) == "" {
				return l, fmt.Errorf("columns.%s: a header is missing", f.name())
			}
		} else if !l.mapped {
			l.wanted[f] = f.aliases()
		}
	}
	l.wanted[fieldRefused] = fieldRefused.aliases()
	for name := range cfg.Columns {
		if !slices.ContainsFunc(l.names(), func(n string) bool { return n == name }) {
			return l, fmt.Errorf("columns.%s: there is no such field; fields are %s", name, strings.Join(l.names(), ", "))
		}
	}
	if l.mapped {
		if missing := l.missing(func(f field) bool { return l.wanted[f] != nil }); missing != "" {
			return l, fmt.Errorf("columns: %s", missing)
		}
	}
	if cfg.DateFormat != "" {
		f, err := timesheet.ParseDateFormat(cfg.DateFormat)
		if err != nil {
			return l, fmt.Errorf("date_format: %w", err)
		}
		l.date = &f
	}
	if cfg.Decimal != "" {
		l.decimal = cfg.Decimal[0]
	}
	if cfg.Delimiter != "" {
		l.delim = cfg.Delimiter[0]
	}
	return l, nil
}

func (l *layout) names() []string {
	var out []string
	for f := range fieldRefused {
		out = append(out, f.name())
	}
	return out
}

// example is a header that is complete.
func (l *layout) example() (out []string) {
	for _, want := range l.wanted[:fieldRefused] {
		if want != nil {
			out = append(out, want[0])
		}
	}
	return out
}

// missing says which field a table lacks to make entries; "" for none.
func (l *layout) missing(has func(field) bool) string {
	switch {
	case !l.fixed && !has(fieldUser):
		return "no column says whose time it is (user)"
	case !has(fieldDate) && !has(fieldStart):
		return "no column says which day it is (date)"
	case !has(fieldDuration) && !has(fieldHours) && (!has(fieldStart) || !has(fieldEnd)):
		return "no column says how long it was (start and end, duration, or hours)"
	}
	return ""
}

// fold makes a header comparable: case, space around it and a stray
// byte-order mark do not matter.
func fold(s string) string {
	return strings.ToLower(strings.Trim(s, " \t\r\n\u00a0\ufeff"))
}

// table is the header of a file and where the columns are in it.
type table struct {
	delim  byte
	line   int // of the header
	header []string
	at     [fieldCount]int // index of the column, -1 for none
}

func (t *table) has(f field) bool { return t.at[f] >= 0 }

// column is the header that stands for f, or its name.
func (t *table) column(f field) string {
	if t.at[f] < 0 {
		return f.name()
	}
	return strings.TrimSpace(t.header[t.at[f]])
}

// match finds the columns in a header; found counts them. An ambiguous column
// is reported as an error.
func (l *layout) match(header []string) (at [fieldCount]int, found int, err error) {
	folded := make([]string, len(header))
	for i, h := range header {
		folded[i] = fold(h)
	}
	for f := range fieldCount {
		at[f] = -1
		for _, want := range l.wanted[f] {
			i := slices.Index(folded, want)
			if i < 0 {
				continue
			}
			if j := slices.Index(folded[i+1:], want); j >= 0 {
				err = fmt.Errorf("the column %s stands in the header twice (columns %d and %d), and it is used", quote(header[i]), i+1, i+j+2)
			}
			at[f] = i
			found++
			break
		}
	}
	return at, found, err
}

// complete says what the matched columns lack; "" for nothing.
func (l *layout) complete(at *[fieldCount]int) (lack, header string) {
	if l.mapped {
		for f := range fieldRefused {
			if l.wanted[f] != nil && at[f] < 0 {
				return fmt.Sprintf("the header has no column %s, which columns.%s names", quote(l.wanted[f][0]), f.name()), l.wanted[f][0]
			}
		}
	}
	lack = l.missing(func(f field) bool { return at[f] >= 0 })
	if lack == "" {
		return "", ""
	}
	for f := range fieldRefused {
		if strings.Contains(lack, "("+f.name()) {
			header = f.aliases()[0]
		}
	}
	return lack, header
}

// headerSearch is how many records from the top may be looked at for a header.
const headerSearch = 10

// findHeader looks for the header in the first bytes of a file (decoded), with
// each delimiter in turn, behind at most a few lines of preamble.
func (l *layout) findHeader(head []byte, lim *Limits) (*table, error) {
	best, bestFound := (*table)(nil), 0
	var bestErr, firstErr error
	candidates := []byte(delimiters)
	if l.delim != 0 {
		candidates = []byte{l.delim}
	}
	for _, delim := range candidates {
		// A head cut off inside a record looks unterminated; that is told from the
		// real thing later, over the whole file.
		fr := newFramer(bytes.NewReader(head), delim, lim, nil)
		var rec frame
		for range headerSearch {
			if err := fr.next(&rec); err != nil {
				if err != io.EOF && firstErr == nil {
					firstErr = err
				}
				break
			}
			if rec.cr {
				return nil, &Error{
					Line: rec.line, Message: "the lines end in CR alone",
					HintText: "save the file with LF or CRLF line ends (in a spreadsheet: \"CSV UTF-8\", not \"CSV Macintosh\")",
				}
			}
			if rec.bad != "" {
				continue
			}
			t := &table{delim: delim, line: rec.line, header: rec.fields(delim)}
			var found int
			var err error
			t.at, found, err = l.match(t.header)
			if err == nil {
				if lack, near := l.complete(&t.at); lack != "" {
					err = l.lacks(t, lack, near)
				}
			} else {
				err = &Error{Line: t.line, Message: err.Error(), HintText: "rename one of the two, or leave one out of the export"}
			}
			if found > 0 && err == nil && (best == nil || bestErr != nil || found > bestFound) {
				best, bestFound, bestErr = t, found, nil
				break
			}
			if found > bestFound && (best == nil || bestErr != nil) {
				best, bestFound, bestErr = t, found, err
			}
		}
	}
	switch {
	case best != nil && bestErr == nil:
		return best, nil
	case best != nil:
		return nil, bestErr
	case firstErr != nil && len(head) < headSize:
		return nil, firstErr
	}
	// Nothing is like a header: the first line is shown as what stands there.
	fr := newFramer(bytes.NewReader(head), ',', lim, nil)
	var rec frame
	if err := fr.next(&rec); err != nil {
		var e *Error
		if errors.As(err, &e) {
			return nil, err
		}
		return nil, &Error{Message: "the file is empty", HintText: "an export without entries still has a header; check the export"}
	}
	t := &table{delim: ',', line: rec.line, header: rec.fields(',')}
	lack, near := l.complete(&[fieldCount]int{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1})
	return nil, l.lacks(t, lack, near)
}

// lacks is the error of a header without a required column; it names the
// header nearest to the one that is wanted.
func (l *layout) lacks(t *table, lack, want string) error {
	near, dist := "", 4
	for _, h := range t.header {
		if d := distance(fold(h), want); want != "" && d < dist && d < max(len(want)-1, 2) {
			near, dist = strings.TrimSpace(h), d
		}
	}
	shown := make([]string, 0, 12)
	for _, h := range t.header {
		if len(shown) == 12 {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, quote(strings.TrimSpace(h)))
	}
	hint := "the header is " + strings.Join(shown, ", ") + "; map its columns with the columns key"
	if near != "" {
		hint = fmt.Sprintf("did the export rename it? the nearest header is %s; map it with the columns key", quote(near))
	}
	return &Error{Line: t.line, Message: lack, HintText: hint}
}

// distance is the Levenshtein distance of two short strings.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
