package source

import (
	"fmt"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// moment is a start or end as read: a time of day, perhaps with a day and with
// an offset from UTC.
type moment struct {
	set       bool
	clock     timesheet.Seconds // since midnight, on the wall
	day       timesheet.Day
	hasDay    bool
	offset    timesheet.Seconds
	hasOffset bool
}

// unix is the moment's place on the time line, where it has an offset.
func (m *moment) unix() int64 { return int64(m.day)*86400 + int64(m.clock-m.offset) }

// date reads a date column, remembering the last one.
func (c *converter) date(text string, f field) (timesheet.Day, *fault) {
	if text == c.lastText && text != "" {
		return c.lastDay, nil
	}
	day, err := c.form.date.Parse(text)
	if err != nil {
		return 0, &fault{
			timesheet.ReasonBadDate, f, quote(text) + " " + err.Error() + ", " + c.form.date.String(),
			"mend the date; a spreadsheet may have changed how it is written",
		}
	}
	c.lastText, c.lastDay = text, day
	if c.lastISO = text; c.form.date.String() != isoFormat {
		c.lastISO = day.String()
	}
	return day, nil
}

const isoFormat = "YYYY-MM-DD"

// when reads date, start and end. The day of the entry is the date column's, or
// else the one of the start, in the source's zone.
func (c *converter) when(e *timesheet.Entry, rec *record, start, end *moment) *fault {
	v := &c.values
	if f := c.wall(rec.Start, fieldStart, start, &v.Start); f != nil {
		return f
	}
	if f := c.wall(rec.End, fieldEnd, end, &v.End); f != nil {
		return f
	}
	date := clean(rec.Date)
	switch {
	case date != "":
		day, f := c.date(date, fieldDate)
		if f != nil {
			// JSON exports put a whole stamp where others have a date.
			var m moment
			if i := stampSplit(date); i > 0 && c.moment(date, fieldDate, &m) == nil && m.hasDay {
				// Midnight in UTC is how some write a day; no zone may move it.
				day, f = m.day, nil
				v.Date = day.String()
			}
			if f != nil {
				return f
			}
		} else {
			v.Date = c.lastISO
		}
		e.Day = day
		if !start.hasDay {
			start.day = day
		}
	case start.set && start.hasDay:
		e.Day = c.local(start)
		v.Date = start.day.String()
	case c.t.has(fieldDate):
		return &fault{timesheet.ReasonMissing, fieldDate, "the date is empty", "fill in the date"}
	default:
		return &fault{timesheet.ReasonBadDate, fieldStart, "the start has no date", "map a date column, or export starts with date and time"}
	}
	if endDate := clean(rec.EndDate); endDate != "" && end.set && !end.hasDay {
		last, iso, day := c.lastText, c.lastISO, c.lastDay
		d, f := c.date(endDate, fieldEndDate)
		if f != nil {
			return f
		}
		c.lastText, c.lastISO, c.lastDay = last, iso, day
		end.day, end.hasDay = d, true
	}
	return nil
}

// wall reads a start or end, and sets *as to the time of day that the identity
// has.
func (c *converter) wall(text string, f field, m *moment, as *string) *fault {
	if text = clean(text); text == "" {
		return nil
	}
	if f := c.moment(text, f, m); f != nil {
		return f
	}
	if *as = text; len(text) != 8 || text[2] != ':' {
		*as = string(m.clock.AppendClock(nil))
	}
	return nil
}

// local is the day of m in the source's zone, where m says which moment it is.
func (c *converter) local(m *moment) timesheet.Day {
	if !m.hasOffset {
		return m.day
	}
	return timesheet.DayOf(time.Unix(m.unix(), 0).In(c.cfg.Location))
}

// stampSplit is the place between date and time in a text that has both.
func stampSplit(s string) int {
	if i := strings.IndexAny(s, "T "); i >= 6 && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
		return i
	}
	return 0
}

// extended writes a stamp of ISO's basic form, 20261116T080000Z, in the extended
// one.
func extended(s string) string {
	if len(s) < 15 || s[8] != 'T' || digitsOnly(s[:8]) < 8 || digitsOnly(s[9:15]) < 6 {
		return s
	}
	return s[:4] + "-" + s[4:6] + "-" + s[6:8] + "T" + s[9:11] + ":" + s[11:13] + ":" + s[13:]
}

// digitsOnly counts the digits that s begins with.
func digitsOnly(s string) (n int) {
	for n < len(s) && digit(s[n]) {
		n++
	}
	return n
}

func (c *converter) moment(text string, f field, m *moment) *fault {
	if text == "" {
		return nil
	}
	text = extended(text)
	clock := text
	if i := stampSplit(text); i > 0 {
		day, err := timesheet.DateFormat{}.Parse(text[:i])
		if err != nil {
			day, err = c.form.date.Parse(text[:i])
		}
		if err != nil {
			return &fault{timesheet.ReasonBadDate, f, quote(text) + " has a date that " + err.Error(), "mend the date"}
		}
		m.day, m.hasDay = day, true
		clock = m.zone(text[i+1:])
		// Fractions of a second are below what a duration counts.
		if i := strings.IndexByte(clock, '.'); i > 0 && strings.Trim(clock[i+1:], "0123456789") == "" {
			clock = clock[:i]
		}
	}
	sec, twelve, err := timesheet.ParseTimeOfDay(clock)
	if err == nil && c.cfg.TimeFormat != "" && twelve != (c.cfg.TimeFormat == "12h") {
		err = fmt.Errorf("is not on the clock of time_format, %s", c.cfg.TimeFormat)
	}
	if err != nil {
		return &fault{timesheet.ReasonBadTime, f, quote(text) + " " + err.Error(), "mend the time"}
	}
	m.set, m.clock = true, sec
	return nil
}

// zone takes Z, +01:00 or +0100 off the end of a time.
func (m *moment) zone(s string) string {
	if n := len(s); n > 0 && s[n-1] == 'Z' {
		m.hasOffset = true
		return s[:n-1]
	}
	i := strings.LastIndexAny(s, "+-")
	if i < 4 {
		return s
	}
	z := s[i+1:]
	if len(z) == 4 {
		z = z[:2] + ":" + z[2:]
	}
	off, _, err := timesheet.ParseTimeOfDay(z)
	if err != nil || len(z) != 5 {
		return s
	}
	if m.offset = off; s[i] == '-' {
		m.offset = -off
	}
	m.hasOffset = true
	return s[:i]
}

// instants sets the entry's times in the source's zone.
func (c *converter) instants(e *timesheet.Entry, start, end *moment) {
	if !start.set {
		return
	}
	at := func(m *moment) time.Time {
		if m.hasOffset {
			return time.Unix(m.unix(), 0).In(c.cfg.Location)
		}
		y, mo, d := m.day.Time().Date()
		return time.Date(y, mo, d, 0, 0, int(m.clock), 0, c.cfg.Location)
	}
	e.Start = at(start)
	if !end.set {
		*end = *start
		end.clock += e.Duration
	}
	e.End = at(end)
}
