package notify

import (
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// calendar knows working days: Monday to Friday, holidays aside.
type calendar map[timesheet.Day]bool

func (c calendar) working(d timesheet.Day) bool { return d-d.Monday() < 5 && !c[d] }

// back is the first of the last n working days before d.
func (c calendar) back(d timesheet.Day, n int, limit timesheet.Day) timesheet.Day {
	for n > 0 && d > limit {
		if d--; c.working(d) {
			n--
		}
	}
	return d
}

// holidays counts those from Monday to Friday of a week.
func (c calendar) holidays(monday timesheet.Day) (n int) {
	for d := monday; d < monday+5; d++ {
		if c[d] {
			n++
		}
	}
	return n
}

// deadline is a moment of every week.
type deadline struct {
	weekday time.Weekday
	clock   time.Duration // since midnight, as clocks show it
}

// last is the newest deadline that has passed at now, in its location, and the
// Monday of the week it lies in.
func (d deadline) last(now time.Time) (at time.Time, monday timesheet.Day) {
	monday = timesheet.DayOf(now).Monday()
	for {
		y, m, day := (monday + timesheet.Day((d.weekday+6)%7)).Time().Date()
		// The wall time, not so many hours since midnight: days with a change of
		// clocks have 23 or 25.
		at = time.Date(y, m, day, int(d.clock.Hours()), int(d.clock.Minutes())%60, 0, 0, now.Location())
		if !at.After(now) {
			return at, monday
		}
		monday -= 7
	}
}
