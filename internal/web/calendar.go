package web

import "github.com/exampleco/tsupload/internal/timesheet"

// A calendar is a heat map of days: a column a week, Monday on top.
type calendar struct {
	ID, Title, Desc string
	Width, Height   int
	Days            []calendarDay
	Months          []gridLabel
	Weekdays        []gridLabel
	Keys            []calendarKey
	Weeks           []calendarWeek
	From, To        string
	Note            string
}

type gridLabel struct {
	X, Y int
	Text string
}

type calendarDay struct {
	X, Y         int
	Class, Title string
}

type calendarKey struct {
	Class, Text string
}

type calendarWeek struct {
	Monday string
	Cells  []string
	Total  string
}

// Bounds of a calendar, in weeks.
const (
	fewestWeeks = 13
	mostWeeks   = 53
	squares     = 4 // shades of a day with hours
)

// calendarOf draws the weeks up to the last day; since, where it is earlier
// than the first hours, makes it begin there.
func calendarOf(id string, h *timesheet.Hours, since, until timesheet.Day) *calendar {
	first, last, ok := bounds(h)
	if !ok {
		return nil
	}
	if since != 0 {
		first = min(first, since)
	}
	last = max(last, until)
	end := last.Monday() + 6
	c := &calendar{ID: id}
	begin := min(first.Monday(), end-7*fewestWeeks+1)
	if earliest := end - 7*mostWeeks + 1; begin < earliest {
		begin = earliest
		if since == 0 || first < since {
			c.Note = "Only the last " + count(mostWeeks, "week") + " are shown."
		}
	}
	byDay := map[timesheet.Day]timesheet.Seconds{}
	var peak, sum timesheet.Seconds
	h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) {
		if on.Day >= begin {
			byDay[on.Day] += s
		}
	})
	worked := 0
	for _, s := range byDay {
		peak, sum = max(peak, s), sum+s
		if s > 0 {
			worked++
		}
	}
	if peak <= 0 {
		return nil
	}
	const left, top, pitch, half = 30, 20, 14, 1800
	step := (peak/squares + half - 1) / half * half // a shade, in half hours
	if step*squares < peak {
		step += half
	}
	weeks := int(end-begin+1) / 7
	c.Title = "Hours in the calendar"
	c.From, c.To = begin.Time().Format("2 Jan 2006"), last.Time().Format("2 Jan 2006")
	c.Desc = "One square a day, a column a week, from " + c.From + " to " + c.To + ": " +
		count(worked, "day") + " with hours, " + hours(sum) + " in all, " + hours(peak) + " on the longest. The table below has every day."
	c.Width, c.Height = left+weeks*pitch+4, top+7*pitch
	for i, name := range []string{"Mon", "", "Wed", "", "Fri", "", ""} {
		if name != "" {
			c.Weekdays = append(c.Weekdays, gridLabel{0, top + i*pitch + 10, name})
		}
	}
	for w := range weeks {
		monday := begin + timesheet.Day(7*w)
		if t := monday.Time(); t.Day() <= 7 || w == 0 && t.Day() <= 10 {
			if w+3 <= weeks {
				c.Months = append(c.Months, gridLabel{left + w*pitch, 12, t.Format("Jan")})
			}
		}
		row := calendarWeek{Monday: monday.String()}
		var total timesheet.Seconds
		for i := range 7 {
			day := monday + timesheet.Day(i)
			s := byDay[day]
			total += s
			row.Cells = append(row.Cells, cell(s))
			if day <= last {
				c.Days = append(c.Days, calendarDay{left + w*pitch, top + i*pitch, shade(s, step), day.Time().Format("Mon 2 Jan 2006") + ": " + hours(s)})
			}
		}
		if row.Total = cell(total); total != 0 {
			c.Weeks = append(c.Weeks, row)
		}
	}
	c.Keys = append(c.Keys, calendarKey{"h0", "none"})
	for n := 1; n <= squares; n++ {
		c.Keys = append(c.Keys, calendarKey{"h" + string(rune('0'+n)), "up to " + hours(step*timesheet.Seconds(n))})
	}
	return c
}

// shade is how dark a day is.
func shade(s, step timesheet.Seconds) string {
	if s <= 0 {
		return "h0"
	}
	return "h" + string(rune('0'+min(squares, (s+step-1)/step)))
}
