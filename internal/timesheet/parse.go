package timesheet

import (
	"errors"
	"strings"
)

// What a text can be refused for. Each is a clause that follows the quoted
// text: `"8h" is not a number of hours`.
var (
	ErrNotHours     = errors.New("is not a number of hours such as 7.5")
	ErrDecimalSign  = errors.New("has the other decimal sign than the file")
	ErrTooPrecise   = errors.New("has more than six decimals")
	ErrNotClock     = errors.New("is not a duration such as 7:30 or 7:30:00")
	ErrNotCount     = errors.New("is not a whole number")
	ErrNotTime      = errors.New("is not a time of day such as 09:30 or 9:30 PM")
	ErrMidnight24   = errors.New("is not a time of day: midnight is 00:00 of the next day")
	ErrLeapSecond   = errors.New("is a leap second, which no duration can count")
	ErrNotInFormat  = errors.New("is not in the date format of the file")
	ErrNoSuchDate   = errors.New("is a date that does not exist")
	errFormatTokens = errors.New("wants a year (YYYY or YY), a month (MM or M) and a day (DD or D), each once")
)

// ParseHours reads decimal hours, rounded to the nearest second, in integers
// throughout. The sign between whole and part is decimal, '.' or ','; there are
// at most six decimals, whose number is returned. A leading minus is read, so
// that a caller can tell a negative duration from nonsense; nothing else that
// strconv would accept is: no plus, exponent, underscore, NaN, or other script's
// digits.
func ParseHours(s string, decimal byte) (sec Seconds, decimals int, err error) {
	neg := false
	if s != "" && s[0] == '-' {
		neg, s = true, s[1:]
	}
	i := digits(s)
	if i == 0 || i > 6 {
		return 0, 0, ErrNotHours
	}
	micro := int64(0)
	for _, c := range []byte(s[:i]) {
		micro = micro*10 + int64(c-'0')
	}
	rest := s[i:]
	if rest != "" {
		decimals = digits(rest[1:])
		if rest[0] != '.' && rest[0] != ',' || decimals == 0 || decimals != len(rest)-1 {
			return 0, 0, ErrNotHours
		}
		if rest[0] != decimal {
			return 0, 0, ErrDecimalSign
		}
		if decimals > 6 {
			return 0, 0, ErrTooPrecise
		}
	}
	for i := range 6 {
		micro *= 10
		if i < decimals {
			micro += int64(rest[1+i] - '0')
		}
	}
	sec = Seconds((micro*3600 + 500_000) / 1_000_000)
	if neg {
		sec = -sec
	}
	return sec, decimals, nil
}

// ParseClock reads a duration h:mm or h:mm:ss, which may exceed 24 hours and
// may be negative. hasSeconds tells which: h:mm was probably cut to the minute.
func ParseClock(s string) (sec Seconds, hasSeconds bool, err error) {
	neg := false
	if s != "" && s[0] == '-' {
		neg, s = true, s[1:]
	}
	h := digits(s)
	rest := s[h:]
	if h == 0 || h > 4 || len(rest) != 3 && len(rest) != 6 {
		return 0, false, ErrNotClock
	}
	for _, c := range []byte(s[:h]) {
		sec = sec*10 + Seconds(c-'0')
	}
	m, ok := colon60(rest[:3])
	if !ok {
		return 0, false, ErrNotClock
	}
	sec = sec*3600 + m*60
	if len(rest) == 6 {
		x, ok := colon60(rest[3:])
		if !ok {
			return 0, false, ErrNotClock
		}
		sec, hasSeconds = sec+x, true
	}
	if neg {
		sec = -sec
	}
	return sec, hasSeconds, nil
}

// ParseCount reads a whole number of at most eight digits, such as a duration
// in minutes or seconds.
func ParseCount(s string) (n int64, err error) {
	neg := false
	if s != "" && s[0] == '-' {
		neg, s = true, s[1:]
	}
	if i := digits(s); i == 0 || i > 8 || i != len(s) {
		return 0, ErrNotCount
	}
	for _, c := range []byte(s) {
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, nil
}

// ParseTimeOfDay reads H:MM or H:MM:SS, with AM or PM after it on a 12-hour
// clock, as seconds since midnight on the wall. twelve tells which clock.
func ParseTimeOfDay(s string) (sec Seconds, twelve bool, err error) {
	pm := false
	if n := len(s); n > 2 && (s[n-1] == 'm' || s[n-1] == 'M') {
		switch s[n-2] {
		case 'p', 'P':
			pm = true
		case 'a', 'A':
		default:
			return 0, false, ErrNotTime
		}
		twelve, s = true, strings.TrimRight(s[:n-2], " \u00a0\u202f")
	}
	h := digits(s)
	rest := s[h:]
	if h == 0 || h > 2 || len(rest) != 3 && len(rest) != 6 {
		return 0, twelve, ErrNotTime
	}
	for _, c := range []byte(s[:h]) {
		sec = sec*10 + Seconds(c-'0')
	}
	hour := sec
	minute, ok := colon60(rest[:3])
	if !ok {
		return 0, twelve, ErrNotTime
	}
	sec = hour*3600 + minute*60
	if len(rest) == 6 {
		x, ok := colon60(rest[3:])
		if !ok && rest[3:] == ":60" {
			return 0, twelve, ErrLeapSecond
		}
		if !ok {
			return 0, twelve, ErrNotTime
		}
		sec += x
	}
	switch {
	case !twelve && hour == 24:
		return 0, twelve, ErrMidnight24
	case !twelve && hour > 24, twelve && (hour < 1 || hour > 12):
		return 0, twelve, ErrNotTime
	case twelve && hour == 12 && !pm:
		sec -= 12 * 3600
	case twelve && hour != 12 && pm:
		sec += 12 * 3600
	}
	return sec, twelve, nil
}

// AppendClock appends s, a time of day, to b as HH:MM:SS.
func (s Seconds) AppendClock(b []byte) []byte {
	h, m, x := s/3600%100, s/60%60, s%60
	return append(b, byte('0'+h/10), byte('0'+h%10), ':', byte('0'+m/10), byte('0'+m%10), ':', byte('0'+x/10), byte('0'+x%10))
}

// digits is the length of the run of ASCII digits that s begins with.
func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// colon60 reads ":mm", mm being below 60.
func colon60(s string) (Seconds, bool) {
	if s[0] != ':' || s[1] < '0' || s[1] > '5' || s[2] < '0' || s[2] > '9' {
		return 0, false
	}
	return Seconds(s[1]-'0')*10 + Seconds(s[2]-'0'), true
}
