package timesheet

import (
	"fmt"
	"time"
)

// DateFormat is one way of writing a calendar day. The zero value is ISO,
// YYYY-MM-DD.
type DateFormat struct {
	spec  string
	parts []datePart
}

// datePart is a number of width min to max digits, or a literal byte.
type datePart struct {
	kind     byte // 'Y', 'M', 'D', or 0 for a literal
	min, max int
	literal  byte
}

// ParseDateFormat reads a format of the tokens YYYY, YY, MM, M, DD and D with
// separators between them, such as DD.MM.YYYY. M and D take one digit or two.
func ParseDateFormat(spec string) (DateFormat, error) {
	f := DateFormat{spec: spec}
	var seen [3]int
	for i := 0; i < len(spec); {
		c := spec[i]
		n := 1
		for i+n < len(spec) && spec[i+n] == c {
			n++
		}
		var p datePart
		switch {
		case c == 'Y' && (n == 4 || n == 2):
			p = datePart{kind: c, min: n, max: n}
			seen[0]++
		case c == 'M' && n <= 2:
			p = datePart{kind: c, min: n, max: 2}
			seen[1]++
		case c == 'D' && n <= 2:
			p = datePart{kind: c, min: n, max: 2}
			seen[2]++
		case c == 'Y', c == 'M', c == 'D', c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c < ' ', c >= 0x7f:
			return f, fmt.Errorf("date format %q %w", spec, errFormatTokens)
		default:
			n, p = 1, datePart{literal: c}
		}
		f.parts = append(f.parts, p)
		i += n
	}
	if seen != [3]int{1, 1, 1} {
		return f, fmt.Errorf("date format %q %w", spec, errFormatTokens)
	}
	return f, nil
}

// String is the format as it was written.
func (f DateFormat) String() string {
	if f.spec == "" {
		return "YYYY-MM-DD"
	}
	return f.spec
}

// Parse reads s in the format; nothing may be left over, and the day must
// exist.
func (f DateFormat) Parse(s string) (Day, error) {
	if f.parts == nil {
		return parseISO(s)
	}
	var y, m, d int
	for _, p := range f.parts {
		if p.kind == 0 {
			if s == "" || s[0] != p.literal {
				return 0, ErrNotInFormat
			}
			s = s[1:]
			continue
		}
		n := min(digits(s), p.max)
		if n < p.min {
			return 0, ErrNotInFormat
		}
		v := 0
		for _, c := range []byte(s[:n]) {
			v = v*10 + int(c-'0')
		}
		s = s[n:]
		switch p.kind {
		case 'Y':
			if y = v; p.max == 2 {
				y += 2000
			}
		case 'M':
			m = v
		case 'D':
			d = v
		}
	}
	if s != "" {
		return 0, ErrNotInFormat
	}
	return existing(y, m, d)
}

func parseISO(s string) (Day, error) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' || digits(s) != 4 || digits(s[5:]) != 2 || digits(s[8:]) != 2 {
		return 0, ErrNotInFormat
	}
	num := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	return existing(num(0)*100+num(2), num(5), num(8))
}

// existing refuses what time.Date would roll over into the next month.
func existing(y, m, d int) (Day, error) {
	if m < 1 || m > 12 || d < 1 || d > 31 {
		return 0, ErrNoSuchDate
	}
	day := Date(y, time.Month(m), d)
	if d > 28 {
		if t := day.Time(); t.Day() != d {
			return 0, ErrNoSuchDate
		}
	}
	return day, nil
}
