package source

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

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
	fieldSurname // what follows the user, where a name is two columns; of presets only
	fieldKind    // the kind of a row, by the tracker's own words; of presets only
	fieldCount
)

// refusedHeader names the column that only our own spool of JSON has.
const refusedHeader = "\u2060refused"

// name is the field's name in configuration and in the struct for gocsv.
func (f field) name() string {
	return [fieldCount]string{
		"user", "user_type", "date", "start", "end", "end_date", "duration", "hours", "project", "task", "notes", "id", "refused", "surname", "kind",
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
	clock    string  // time_format
	preset   *preset // whose columns wanted are; nil for our own
}

const delimiters = ",;\t|"

func newLayout(cfg *Config) (layout, error) {
	l := layout{mapped: len(cfg.Columns) > 0, fixed: cfg.User != "", encoding: cfg.Encoding, clock: cfg.TimeFormat}
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
			near := ""
			if m := meant(name, l.names()); m != "" {
				near = "; " + m
			}
			return l, fmt.Errorf("columns.%s: there is no such field%s; fields are %s", name, near, strings.Join(l.names(), ", "))
		}
	}
	named := map[string]field{}
	for f := range fieldRefused {
		if l.mapped && l.wanted[f] != nil {
			if other, ok := named[l.wanted[f][0]]; ok {
				return l, fmt.Errorf("columns.%s and columns.%s name the same header; a start with date and time needs no date", other.name(), f.name())
			}
			named[l.wanted[f][0]] = f
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
// byte-order mark do not matter, nor whether an accent is a character of its own.
func fold(s string) string {
	return norm.NFC.String(strings.ToLower(strings.Trim(s, " \t\r\n\u00a0\ufeff")))
}

// table is the header of a file and where the columns are in it.
type table struct {
	lay     *layout // by which it was found
	delim   byte
	line    int // of the header
	header  []string
	at      [fieldCount]int // index of the column, -1 for none
	found   int             // columns that are used
	pivoted bool            // has a column for each day, and is not yet the table made of it
	quoted  bool            // every name stands in quotation marks
	crlf    bool
	like    *preset // a tracker's header that our own reading was preferred to
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
