package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Calendars are RFC 5545: each VEVENT becomes a row. They are read by
// ourselves, a line at a time, because libraries hold a calendar in memory,
// know no lines, and take the first of the times of an event that repeats for
// the only one.

func isCalendar(head []byte) bool {
	const begin = "BEGIN:VCALENDAR"
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	return len(text) >= len(begin) && strings.EqualFold(string(text[:len(begin)]), begin)
}

// calendarHeader is the header of the table that is made of a calendar. Stamps
// have the offset of their zone; what of an event is refused stands there as it
// is in the calendar.
var calendarHeader = [...]string{"UID", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "CATEGORIES", "CATEGORIES.0", "LOCATION", "ORGANIZER", refusedHeader}

// calendar makes a CSV of the events of a calendar.
func (r *Reading) calendar(ctx context.Context, m *made, to io.Writer) error {
	var broken bool
	open := func() (*calendarReader, *watcher, error) {
		w := newWatcher(ctxReader{ctx, io.NewSectionReader(m.f, 0, m.size)}, r.s.cfg.Limits.File)
		c, err := newCalendarReader(w, r.s.cfg.Limits.Line)
		return c, w, err
	}
	// An event may stand before the zone that it names.
	in, w, err := open()
	if err != nil {
		return err
	}
	zones, err := readZones(in)
	if broken = w.broken; err != nil {
		return err
	}
	if broken {
		return &Error{Message: "the calendar is not valid UTF-8", HintText: "export it again"}
	}
	if in, _, err = open(); err != nil {
		return err
	}
	out := newTableWriter(to)
	if err := out.row(calendarHeader[:], 0); err != nil {
		return err
	}
	others := 0
	for {
		p, err := in.property()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.name != "BEGIN" || len(in.inside) != 2 {
			continue
		}
		switch in.inside[1] {
		case "VEVENT":
			e, err := readEvent(in, p.line)
			if err != nil {
				return err
			}
			if err := out.row(e.row(zones), p.line); err != nil {
				return err
			}
		case "VTODO", "VJOURNAL":
			others++
		}
	}
	if others > 0 {
		r.note("%s left out: only events are read", plural(others, "to-do or journal entry", "to-dos and journal entries"))
	}
	m.lines = out.lines
	m.how = append(m.how, timesheet.Decision{What: "form", Value: "iCalendar", Evidence: "BEGIN:VCALENDAR"})
	return out.flush()
}

// event is what of a VEVENT matters.
type event struct {
	props      map[string]*property
	categories []string
	repeats    string // the rule by which it does, or dates
	refused    string
}

var eventProperties = []string{"UID", "DTSTART", "DTEND", "DURATION", "SUMMARY", "DESCRIPTION", "LOCATION", "ORGANIZER", "STATUS", "RECURRENCE-ID"}

// readEvent reads to the end of the event that begins on line.
func readEvent(in *calendarReader, line int) (*event, error) {
	e := &event{props: map[string]*property{}}
	depth, size := len(in.inside), 0
	for {
		p, err := in.property()
		if err != nil {
			return nil, err
		}
		switch {
		case len(in.inside) < depth:
			return e, nil
		case len(in.inside) > depth || p.name == "END":
			// An alarm.
		case p.name == "":
			e.refuse("line %d of the event is no property", p.line-line+1)
		case size+len(p.value) > in.most:
			e.refuse("the event is longer than %d bytes", in.most)
		case p.name == "CATEGORIES":
			size += len(p.value)
			for _, text := range textsOf(p.value) {
				if text = strings.TrimSpace(text); text != "" {
					e.categories = append(e.categories, text)
				}
			}
		case p.name == "RRULE" || p.name == "RDATE" || p.name == "EXRULE":
			e.repeats = p.name + ":" + p.value
		case slices.Contains(eventProperties, p.name):
			size += len(p.value)
			if e.props[p.name] != nil {
				e.refuse("the event has two properties %s", p.name)
			}
			e.props[p.name] = &p
		}
	}
}

func (e *event) refuse(format string, args ...any) {
	if e.refused == "" {
		e.refused = fmt.Sprintf(format, args...)
	}
}

func (e *event) text(name string) string {
	if p := e.props[name]; p != nil {
		return textOf(p.value)
	}
	return ""
}

// row is the event in the columns of calendarHeader.
func (e *event) row(zones *zones) []string {
	out := make([]string, len(calendarHeader))
	out[0] = strings.TrimSpace(e.text("UID"))
	if p := e.props["RECURRENCE-ID"]; p != nil {
		out[0] += "/" + p.raw()
	}
	out[3], out[4], out[7], out[8] = e.text("SUMMARY"), e.text("DESCRIPTION"), e.text("LOCATION"), e.text("ORGANIZER")
	out[5] = strings.Join(e.categories, ", ")
	if len(e.categories) > 0 {
		out[6] = e.categories[0]
	}
	skip := timesheet.Reason("")
	start := e.props["DTSTART"]
	switch {
	case e.refused != "":
	case strings.EqualFold(e.text("STATUS"), "CANCELLED"):
		skip = timesheet.ReasonCancelled
	case start == nil:
		e.refuse("the event has no DTSTART")
	case start.params["VALUE"] == "DATE" || len(start.value) == 8:
		skip = timesheet.ReasonAllDay
	case e.repeats != "":
		e.refuse("the event repeats (%s), and only single events are read", e.repeats[:strings.IndexByte(e.repeats, ':')])
	case out[0] == "":
		e.refuse("the event has no UID")
	default:
		var err error
		if out[1], out[2], err = e.times(zones); err != nil {
			e.refuse("%s", err)
		}
	}
	if skip != "" {
		out[9] = skipMark + string(skip)
		return out
	}
	if out[9] = e.refused; e.refused != "" {
		// Nobody may take these for times by themselves.
		for i, name := range []string{"DTSTART", "DTEND"} {
			if p := e.props[name]; p != nil {
				out[1+i] = p.raw()
			}
		}
		if e.repeats != "" {
			out[1] += " " + e.repeats
		}
	}
	return out
}

// times are start and end, with the offsets of their zones; an event without an
// end is over when it begins (RFC 5545, section 3.6.1).
func (e *event) times(zones *zones) (start, end string, err error) {
	from, err := zones.moment(e.props["DTSTART"])
	if err != nil {
		return "", "", err
	}
	to := from
	last, length := e.props["DTEND"], e.props["DURATION"]
	switch {
	case last != nil && length != nil:
		err = errors.New("the event has both DTEND and DURATION")
	case last != nil:
		to, err = zones.moment(last)
	case length != nil:
		var days, sec int64
		if days, sec, err = parseLength(length.value); err == nil {
			to, err = from.add(days, sec)
		}
	}
	if err == nil && from.floats() != to.floats() {
		err = errors.New("only one of start and end has a time zone")
	}
	if err != nil {
		return "", "", err
	}
	return from.String(), to.String(), nil
}

// parseLength reads a DURATION (RFC 5545, section 3.3.6): days, which are as
// long as the clocks make them, and seconds.
func parseLength(text string) (days, sec int64, err error) {
	bad := fmt.Errorf("DURATION: %s is not a duration such as PT1H30M", quote(text))
	rest, sign := text, int64(1)
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	if len(rest) < 3 || rest[0] != 'P' {
		return 0, 0, bad
	}
	rest = rest[1:]
	units, timed := "WD", false
	for rest != "" {
		if rest[0] == 'T' && !timed && len(rest) > 1 {
			units, timed, rest = "HMS", true, rest[1:]
			continue
		}
		n := digitsOnly(rest)
		if n == 0 || n > 6 || n == len(rest) {
			return 0, 0, bad
		}
		value := int64(0)
		for _, c := range []byte(rest[:n]) {
			value = value*10 + int64(c-'0')
		}
		at := strings.IndexByte(units, rest[n])
		if at < 0 {
			return 0, 0, bad
		}
		switch rest[n] {
		case 'W':
			days += 7 * value
		case 'D':
			days += value
		case 'H':
			sec += 3600 * value
		case 'M':
			sec += 60 * value
		case 'S':
			sec += value
		}
		units, rest = units[at+1:], rest[n+1:]
	}
	return sign * days, sign * sec, nil
}
