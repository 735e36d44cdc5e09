package web

import (
	"cmp"
	"maps"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// figures are the pictures of hours that page and report share.
type figures struct {
	Charts   []*chart
	Calendar *calendar
	Notes    []string
}

func personOf(on timesheet.HoursOn) string  { return shown(on.Person, "(nobody)") }
func projectOf(on timesheet.HoursOn) string { return shown(on.Project, "(no project)") }

// figuresOf draws the days from since on; days tells how many of the last ones
// the bars have, 0 all.
func figuresOf(h *timesheet.Hours, since, until timesheet.Day, days int) figures {
	var f figures
	if h == nil {
		return f
	}
	recent := h
	if days > 0 {
		recent = &timesheet.Hours{}
		h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) {
			if on.Day > until-timesheet.Day(days) {
				recent.Add(on.Person, on.Project, on.Day, s)
			}
		})
		recent.PeopleTogether, recent.ProjectsTogether = h.PeopleTogether, h.ProjectsTogether
	}
	people := map[string]bool{}
	recent.Each(func(on timesheet.HoursOn, _ timesheet.Seconds) { people[on.Person] = true })
	add := func(c *chart) {
		if c != nil {
			f.Charts = append(f.Charts, c)
		}
	}
	add(standing("by-project", "Hours", "project", "other projects", recent, projectOf))
	if len(people) > 1 {
		add(standing("by-person", "Hours", "person", "other people", recent, personOf))
		add(byPersonAndProject(recent))
	}
	f.Calendar = calendarOf("calendar", h, since, until)
	if h.PeopleTogether {
		f.Notes = append(f.Notes, "There are too many people and days to tell people apart; they are added up.")
	}
	if h.ProjectsTogether {
		f.Notes = append(f.Notes, "There are too many projects and days to tell projects apart; they are added up.")
	}
	if h.Rest != 0 {
		f.Notes = append(f.Notes, hours(h.Rest)+" are of further days and in no picture.")
	}
	return f
}

func byPersonAndProject(h *timesheet.Hours) *chart {
	g := newGrid()
	total := map[string]timesheet.Seconds{}
	h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) { total[personOf(on)] += s })
	names := slices.SortedFunc(maps.Keys(total), func(a, b string) int {
		return cmp.Or(cmp.Compare(total[b], total[a]), cmp.Compare(a, b))
	})
	note := ""
	if len(names) > maxPeople {
		names = names[:maxPeople]
		note = "Only the " + count(maxPeople, "person") + " with the most hours are shown."
	}
	g.columns = names
	// The colours are those of the picture by project: all of its hours decide.
	h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) { g.add(personOf(on), projectOf(on), s) })
	g.fewest(maxSeries)
	if note != "" {
		clear(g.byName)
		for _, column := range names {
			for _, name := range g.names {
				g.byName[name] += g.at[[2]string{column, name}]
			}
		}
	}
	c := lying("by-person-and-project", "Hours per person, by project", "person", "hours", g, g.series("other projects", hours), hours, cell)
	if c != nil {
		c.Note = note
	}
	return c
}

// classes are the colours of states.
var classes = map[timesheet.State]string{
	timesheet.StateNew: "s-new", timesheet.StateSent: "s-sent", timesheet.StateSending: "s-new", timesheet.StateInDoubt: "s-doubt",
	timesheet.StateHeld: "s-held", timesheet.StateRejected: "s-rejected", timesheet.StateSkipped: "s-skipped",
}

// named is a list of standings under a name.
type named struct {
	name   string
	states []Standing
}

// standings draws how many rows, or entries, are in which state, a bar a source.
func standings(id, title, unit string, lists []named) *chart {
	g := newGrid()
	class := map[string]string{}
	for _, l := range lists {
		name := shown(l.name, "(no name)")
		g.columns = append(g.columns, name)
		for _, s := range l.states {
			if s.Rows == 0 {
				continue
			}
			if _, ok := class[s.Label]; !ok {
				class[s.Label] = classes[s.State]
				g.names = append(g.names, s.Label)
			}
			g.add(name, s.Label, timesheet.Seconds(s.Rows))
		}
	}
	words := func(n timesheet.Seconds) string { return count(int(n), unit) }
	bare := func(n timesheet.Seconds) string {
		if n == 0 {
			return "–"
		}
		return number(int(n))
	}
	list := g.series("", words)
	for i := range list {
		list[i].Class = class[list[i].Name]
	}
	heads := map[string]string{"row": "rows", "entry": "entries"}
	return lying(id, title, "source", heads[unit], g, list, words, bare)
}

// weekRow is one person's project in one ISO week.
type weekRow struct {
	Week, Person, Project, Hours string
}

// maxWeekRows bounds the table of weeks.
const maxWeekRows = 1000

// weeksOf lists hours by week, person and project, newest week first.
func weeksOf(h *timesheet.Hours) (rows []weekRow, more int) {
	if h == nil {
		return nil, 0
	}
	sums := map[timesheet.HoursOn]timesheet.Seconds{}
	h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) {
		on.Day = on.Day.Monday()
		sums[on] += s
	})
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b timesheet.HoursOn) int {
		return cmp.Or(cmp.Compare(b.Day, a.Day), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Project, b.Project))
	})
	if len(keys) > maxWeekRows {
		keys, more = keys[:maxWeekRows], len(keys)-maxWeekRows
	}
	for _, on := range keys {
		year, week := on.Day.Time().ISOWeek()
		row := weekRow{isoWeek(year, week), personOf(on), projectOf(on), clock(sums[on])}
		if h.PeopleTogether {
			row.Person = "(all)"
		}
		if h.ProjectsTogether {
			row.Project = "(all)"
		}
		rows = append(rows, row)
	}
	return rows, more
}
