package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// clock is a duration as people write it, "7:30", with seconds where it has any.
func clock(s timesheet.Seconds) string {
	text := s.Clock()
	return strings.TrimSuffix(text, ":00")
}

// hours is a duration with its unit.
func hours(s timesheet.Seconds) string { return clock(s) + "\u00a0h" }

// cell is a duration in a table whose head has the unit.
func cell(s timesheet.Seconds) string {
	if s == 0 {
		return "–"
	}
	return clock(s)
}

// count is a number of things, by their name.
func count(n int, one string) string {
	switch {
	case n == 1:
		return "1\u00a0" + one
	case strings.HasSuffix(one, "try"):
		return number(n) + "\u00a0" + strings.TrimSuffix(one, "y") + "ies"
	}
	return number(n) + "\u00a0" + one + "s"
}

// number groups thousands by a thin space.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func moment(t time.Time) string { return t.Format("Mon 2 Jan 2006, 15:04 MST") }

func short(t time.Time) string { return t.Format("2 Jan 15:04") }

func machine(t time.Time) string { return t.Format(time.RFC3339) }

// lasted is how long a run took.
func lasted(from, to time.Time) string {
	if to.IsZero() {
		return "–"
	}
	switch d := to.Sub(from); {
	case d < time.Second:
		return fmt.Sprintf("%d\u00a0ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f\u00a0s", d.Seconds())
	default:
		return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
	}
}

// shown keeps names from moving the text around them.
func shown(name, none string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, name)
	if name == "" {
		return none
	}
	return name
}

// cut shortens a name for a picture; the table beside it has all of it.
func cut(name string, runes int) string {
	r := []rune(name)
	if len(r) <= runes {
		return name
	}
	return strings.TrimRight(string(r[:runes-1]), " ") + "…"
}

// said is how a tone is called.
func said(t Tone) string {
	switch t {
	case Good:
		return "All is well"
	case Attention:
		return "Needs a person"
	case Bad:
		return "Failed"
	case Calm:
	}
	return "Nothing to do"
}

func isoWeek(year, week int) string { return fmt.Sprintf("%d-W%02d", year, week) }
