package source

import (
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// window is the time that an export is asked for: whole days in the source's
// zone, first and last included.
type window struct {
	first, last timesheet.Day
	location    *time.Location
	times       string
}

// window is that of a read at now. Whole days go by the calendar, not by the
// hours of days of clock changes.
func (s *Source) window(now time.Time) window {
	h := s.cfg.HTTP
	at := func(back time.Duration) timesheet.Day {
		const day = 24 * time.Hour
		return timesheet.DayOf(now.In(s.cfg.Location).AddDate(0, 0, -int(back/day)).Add(-(back % day)))
	}
	return window{first: at(h.Since), last: at(h.Until), location: s.cfg.Location, times: h.Times}
}

// expand puts the window into {{since}} and {{until}}.
func (w window) expand(text string) string {
	since, until := w.first.String(), w.last.String()
	switch w.times {
	case "rfc3339":
		since, until = w.midnight(w.first), w.midnight(w.last+1)
	case "local":
		since, until = since+"T00:00:00", until+"T23:59:59"
	}
	return strings.NewReplacer("{{since}}", since, "{{until}}", until).Replace(text)
}

// whole is the days of the window of which an export has everything, or nil
// where it was not asked for by days. What the server takes for the first and
// the last day can begin and end some hours earlier or later.
func (w window) whole(h *HTTP) *timesheet.Window {
	asks := func(placeholder string) bool {
		if strings.Contains(h.URL+h.Body, placeholder) {
			return true
		}
		for _, v := range h.Query {
			if strings.Contains(v, placeholder) {
				return true
			}
		}
		return false
	}
	if !asks("{{since}}") && !asks("{{until}}") {
		return nil
	}
	return &timesheet.Window{First: w.first + 1, Last: w.last - 1}
}

// midnight is the first moment of a day, as UTC.
func (w window) midnight(d timesheet.Day) string {
	y, m, day := d.Time().Date()
	return time.Date(y, m, day, 0, 0, 0, 0, w.location).UTC().Format(time.RFC3339)
}
