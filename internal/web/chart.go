package web

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// A chart is stacked bars, together with the same figures as a table. What is
// drawn is computed here and written by the template.
type chart struct {
	ID, Title, Desc string
	Unit            string // of the table: "hours"
	First           string // the head of the table's first column
	Total           string // of everything
	Width, Height   int
	Left            int // where the bars begin
	Base            int // where they stand
	Note            string
	Lines           []gridLine
	Series          []series
	Bars            []bar
	Open            bool // the table is shown at once
}

type gridLine struct {
	Y     int
	Label string
}

type series struct {
	Class, Name, Total string
}

type bar struct {
	X, Width, Mid int
	Y             int // of a lying bar
	Label, Under  string
	Full          string // the label in words
	Total         string
	Parts         []part
	Cells         []string
}

type part struct {
	X, Y, Width, Height int
	Class, Title        string
}

// Bounds of what is drawn.
const (
	maxSeries  = 8 // the others are one together
	maxPeople  = 20
	maxColumns = 53
	dayColumns = 35 // a longer time is drawn by week
	plotHeight = 168
	plotWidth  = 430
)

// grid is a table of durations by bar and series, in the order of both.
type grid struct {
	columns, names []string
	at             map[[2]string]timesheet.Seconds
	byName         map[string]timesheet.Seconds
}

func newGrid() *grid {
	return &grid{at: map[[2]string]timesheet.Seconds{}, byName: map[string]timesheet.Seconds{}}
}

func (g *grid) add(column, name string, s timesheet.Seconds) {
	g.at[[2]string{column, name}] += s
	g.byName[name] += s
}

// others is the series of what has none of its own. No name is like it: names
// are printable.
const others = "\x00"

// fewest keeps the longest series by name and adds the others up as one.
func (g *grid) fewest(n int) {
	g.names = slices.SortedFunc(maps.Keys(g.byName), func(a, b string) int {
		return cmp.Or(cmp.Compare(g.byName[b], g.byName[a]), cmp.Compare(a, b))
	})
	if len(g.names) <= n {
		return
	}
	gone := g.names[n-1:]
	for _, column := range g.columns {
		for _, name := range gone {
			if s := g.at[[2]string{column, name}]; s != 0 {
				g.at[[2]string{column, others}] += s
			}
		}
	}
	for _, name := range gone {
		g.byName[others] += g.byName[name]
	}
	g.names = append(slices.Clip(g.names[:n-1]), others)
}

func (g *grid) total(column string) (sum timesheet.Seconds) {
	for _, name := range g.names {
		sum += g.at[[2]string{column, name}]
	}
	return sum
}

// series are named in the order of the grid; called is what the others are.
func (g *grid) series(called string, words func(timesheet.Seconds) string) []series {
	list := make([]series, len(g.names))
	for i, name := range g.names {
		list[i] = series{"c" + string(rune('0'+i)), name, words(g.byName[name])}
		if name == others {
			list[i].Class, list[i].Name = "cx", called
		}
	}
	return list
}

// span is the days of a chart in columns: days, or weeks, or months, as many
// as fit.
type span struct {
	of           func(timesheet.Day) timesheet.Day // the first day of its column
	next         func(timesheet.Day) timesheet.Day
	label, under func(timesheet.Day) string
	full         func(timesheet.Day) string
	noun         string
	widest       int // pixels
}

func spanFor(first, last timesheet.Day) span {
	switch days := int(last - first + 1); {
	case days <= dayColumns:
		sp := span{
			of:    func(d timesheet.Day) timesheet.Day { return d },
			next:  func(d timesheet.Day) timesheet.Day { return d + 1 },
			label: func(d timesheet.Day) string { return d.Time().Format("Mon")[:2] },
			under: func(d timesheet.Day) string { return d.Time().Format("2") },
			full:  func(d timesheet.Day) string { return d.Time().Format("Mon 2 Jan 2006") },
			noun:  "day", widest: 38,
		}
		if days > 14 { // there is room for Mondays only
			monday := func(d timesheet.Day) bool { return d == d.Monday() }
			sp.label, sp.under = firstOf(monday, "2"), firstOf(monday, "Jan")
		}
		return sp
	case days <= 7*maxColumns-6:
		return span{
			of:    timesheet.Day.Monday,
			next:  func(d timesheet.Day) timesheet.Day { return d + 7 },
			label: firstOf(func(d timesheet.Day) bool { return d.Time().Day() <= 7 }, "Jan"),
			under: firstOf(func(d timesheet.Day) bool { return d.Time().Day() <= 7 && d.Time().Month() == time.January }, "2006"),
			full:  func(d timesheet.Day) string { return "Week from " + d.Time().Format("Mon 2 Jan 2006") },
			noun:  "week", widest: 24,
		}
	}
	return span{
		of: func(d timesheet.Day) timesheet.Day { return d - timesheet.Day(d.Time().Day()-1) },
		next: func(d timesheet.Day) timesheet.Day {
			return timesheet.DayOf(d.Time().AddDate(0, 1, 0))
		},
		label: func(d timesheet.Day) string { return d.Time().Format("Jan")[:1] },
		under: firstOf(func(d timesheet.Day) bool { return d.Time().Month() == time.January }, "2006"),
		full:  func(d timesheet.Day) string { return d.Time().Format("January 2006") },
		noun:  "month", widest: 24,
	}
}

// firstOf labels some columns and leaves the others out.
func firstOf(which func(timesheet.Day) bool, layout string) func(timesheet.Day) string {
	return func(d timesheet.Day) string {
		if !which(d) {
			return ""
		}
		return d.Time().Format(layout)
	}
}

// standing draws bars along time.
func standing(id, title, by, called string, h *timesheet.Hours, name func(timesheet.HoursOn) string) *chart {
	first, last, ok := bounds(h)
	if !ok {
		return nil
	}
	sp := spanFor(first, last)
	var days []timesheet.Day
	for d := sp.of(first); d <= last; d = sp.next(d) {
		days = append(days, d)
	}
	c := &chart{ID: id, First: sp.noun, Unit: "hours", Left: 34, Height: plotHeight + 56}
	if len(days) > maxColumns {
		days = days[len(days)-maxColumns:]
		c.Note = "Only the last " + count(maxColumns, sp.noun) + " are shown."
	}
	g := newGrid()
	h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) {
		if d := sp.of(on.Day); d >= days[0] {
			g.add(d.String(), name(on), s)
		}
	})
	var peak, sum timesheet.Seconds
	for _, d := range days {
		g.columns = append(g.columns, d.String())
	}
	g.fewest(maxSeries)
	for _, column := range g.columns {
		peak, sum = max(peak, g.total(column)), sum+g.total(column)
	}
	c.Title = title + " per " + sp.noun + ", by " + by
	c.Total = hours(sum)
	c.Series = g.series(called, hours)
	c.Desc = "Bars, one a " + sp.noun + ", from " + sp.full(days[0]) + " to " + sp.full(days[len(days)-1]) + ": " + c.Total + " in all. The table below has every figure."
	pitch := min(sp.widest, max(8, plotWidth/len(days)))
	c.Width, c.Base = c.Left+pitch*len(days)+12, plotHeight+16
	top, step := scale(peak)
	for v := timesheet.Seconds(0); v <= top; v += step {
		c.Lines = append(c.Lines, gridLine{c.Base - int(int64(v)*plotHeight/int64(top)), strconv.Itoa(int(v / 3600))})
	}
	for i, d := range days {
		column := g.columns[i]
		total := g.total(column)
		b := bar{
			X: c.Left + i*pitch + pitch/8, Width: pitch - pitch/4, Mid: c.Left + i*pitch + pitch/2,
			Label: sp.label(d), Under: sp.under(d), Full: sp.full(d), Total: cell(total),
		}
		var below timesheet.Seconds
		y := c.Base
		for n, name := range g.names {
			s := g.at[[2]string{column, name}]
			b.Cells = append(b.Cells, cell(s))
			if s <= 0 {
				continue
			}
			below += s
			// Heights come from sums, so that rounding does not add up.
			at := c.Base - int(int64(below)*plotHeight/int64(top))
			b.Parts = append(b.Parts, part{b.X, at, b.Width, y - at, c.Series[n].Class, b.Full + ", " + c.Series[n].Name + ": " + hours(s)})
			y = at
		}
		c.Bars = append(c.Bars, b)
	}
	return c
}

// lying draws one bar a name, one below the other.
func lying(id, title, first, unit string, g *grid, list []series, words, bare func(timesheet.Seconds) string) *chart {
	const width, row, thick = 280, 44, 16
	c := &chart{ID: id, Title: title, First: first, Unit: unit, Width: width, Height: row*len(g.columns) + 4}
	var peak, sum timesheet.Seconds
	for _, column := range g.columns {
		peak, sum = max(peak, g.total(column)), sum+g.total(column)
	}
	if peak == 0 {
		return nil
	}
	c.Total = words(sum)
	c.Series = list
	c.Desc = "Lying bars, one a " + first + ": " + c.Total + " in all. The table below has every figure."
	for i, column := range g.columns {
		total := g.total(column)
		b := bar{Y: i*row + 15, Label: cut(column, 28), Full: column, Total: words(total)}
		var before timesheet.Seconds
		x := 0
		for n, name := range g.names {
			s := g.at[[2]string{column, name}]
			b.Cells = append(b.Cells, bare(s))
			if s <= 0 {
				continue
			}
			before += s
			to := int(int64(before) * width / int64(peak))
			b.Parts = append(b.Parts, part{x, b.Y + 7, max(to-x, 1), thick, c.Series[n].Class, column + ", " + c.Series[n].Name + ": " + words(s)})
			x = to
		}
		c.Bars = append(c.Bars, b)
	}
	return c
}

// bounds are the first and last day with hours.
func bounds(h *timesheet.Hours) (first, last timesheet.Day, ok bool) {
	if h == nil {
		return 0, 0, false
	}
	h.Each(func(on timesheet.HoursOn, _ timesheet.Seconds) {
		if !ok {
			first, ok = on.Day, true
		}
		last = on.Day
	})
	return first, last, ok
}

// scale is a round top for an axis, and the step between its lines.
func scale(peak timesheet.Seconds) (top, step timesheet.Seconds) {
	const hour = 3600
	steps := []timesheet.Seconds{1, 2, 4, 5, 10, 20, 25, 50}
	for factor := timesheet.Seconds(1); ; factor *= 10 {
		for _, s := range steps {
			if step = s * factor * hour; step*5 >= peak {
				return max(step, (peak+step-1)/step*step), step
			}
		}
		steps = []timesheet.Seconds{10, 20, 25, 50}
	}
}
