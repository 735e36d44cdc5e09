package source

import (
	"strconv"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// over gives the parts of an entry that runs over midnight in the source's zone,
// one for each day; nil for one that does not. They are as long as the entry
// together, and the first has its Key.
func (c *converter) over(e *timesheet.Entry) []timesheet.Entry {
	clock := c.start.clock
	if c.start.hasOffset {
		h, m, s := e.Start.Clock()
		clock = timesheet.Seconds(h*3600 + m*60 + s)
	}
	const shortDay = 86400 - 2*3600 // of a change of the clocks
	if clock+e.Duration < shortDay {
		return nil
	}
	next := timesheet.DayOf(e.Start) + 1
	midnight := dayStart(next, c.cfg.Location)
	if !midnight.Before(e.End) {
		return nil
	}
	// Where the entry is as long as the time that passed, so are its parts; else
	// it was reckoned on the wall.
	passed := e.Duration == seconds(e.End.Sub(e.Start))
	var parts []timesheet.Entry
	left := e.Duration
	part := *e
	for midnight.Before(e.End) {
		length := 86400 - clock
		if passed {
			length = seconds(midnight.Sub(part.Start))
		}
		if length >= left {
			break
		}
		part.End, part.Duration = midnight, length
		parts = append(parts, part)
		left -= length
		part.Start, part.Key, part.Day, clock = midnight, part.Key.Next(), part.Day+1, 0
		if e.ID != "" {
			part.ID = e.ID + "/" + strconv.Itoa(len(parts)+1)
		}
		next++
		midnight = dayStart(next, c.cfg.Location)
	}
	if len(parts) == 0 {
		return nil
	}
	part.End, part.Duration = e.End, left
	return append(parts, part)
}

func seconds(d time.Duration) timesheet.Seconds { return timesheet.Seconds(d / time.Second) }

// dayStart is the moment from which on it is day d in a zone: midnight, or,
// where the clocks jump over it, when they do.
func dayStart(d timesheet.Day, zone *time.Location) time.Time {
	y, m, day := d.Time().Date()
	at := time.Date(y, m, day, 12, 0, 0, 0, zone)
	for {
		hour, minute, sec := at.Clock()
		midnight := at.Add(-time.Duration(hour*3600+minute*60+sec) * time.Second).Truncate(time.Second)
		from, _ := at.ZoneBounds()
		if from.IsZero() || midnight.After(from) {
			return midnight
		}
		before := from.Add(-time.Second)
		if timesheet.DayOf(before) < d {
			return from
		}
		at = before
	}
}
