package timesheet

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// HoursOn names what Hours adds up by.
type HoursOn struct {
	Person, Project string
	Day             Day
}

// Hours adds up durations by person, project and day, in bounded memory: where
// there is too much to tell apart, people are added up together, then projects
// too, and at the very end what is left has no day. Its total is always right.
// The zero Hours is empty.
type Hours struct {
	// PeopleTogether and ProjectsTogether say that they are no longer told apart;
	// Person or Project is then empty.
	PeopleTogether, ProjectsTogether bool
	// Rest is what no cell was left for.
	Rest  Seconds
	cells map[HoursOn]Seconds
}

// maxHoursOn bounds the cells of Hours: a thousand people for a fortnight, or
// one for decades.
const maxHoursOn = 20000

// Add counts s for a person's project on a day; a negative s takes back what
// was added.
func (h *Hours) Add(person, project string, day Day, s Seconds) {
	for {
		on := h.fold(HoursOn{person, project, day})
		if _, ok := h.cells[on]; ok || len(h.cells) < maxHoursOn {
			h.put(on, s)
			return
		}
		switch {
		case !h.PeopleTogether:
			h.PeopleTogether = true
		case !h.ProjectsTogether:
			h.ProjectsTogether = true
		default:
			h.Rest += s
			return
		}
		old := h.cells
		h.cells = nil
		for on, s := range old {
			h.put(h.fold(on), s)
		}
	}
}

func (h *Hours) fold(on HoursOn) HoursOn {
	if h.PeopleTogether {
		on.Person = ""
	}
	if h.ProjectsTogether {
		on.Project = ""
	}
	return on
}

func (h *Hours) put(on HoursOn, s Seconds) {
	if _, ok := h.cells[on]; !ok {
		// They may be parts of a whole record.
		on.Person, on.Project = strings.Clone(on.Person), strings.Clone(on.Project)
	}
	if h.cells == nil {
		h.cells = map[HoursOn]Seconds{}
	}
	h.cells[on] += s
}

// Merge adds all of another Hours.
func (h *Hours) Merge(o *Hours) {
	h.PeopleTogether, h.ProjectsTogether = h.PeopleTogether || o.PeopleTogether, h.ProjectsTogether || o.ProjectsTogether
	h.Rest += o.Rest
	old := h.cells
	h.cells = nil
	for on, s := range old {
		h.put(h.fold(on), s)
	}
	for on, s := range o.cells {
		h.Add(on.Person, on.Project, on.Day, s)
	}
}

// Total is all that was added.
func (h *Hours) Total() Seconds {
	sum := h.Rest
	for _, s := range h.cells {
		sum += s
	}
	return sum
}

// Each calls yield with what is not zero, by day, person and project.
func (h *Hours) Each(yield func(on HoursOn, s Seconds)) {
	for _, on := range slices.SortedFunc(maps.Keys(h.cells), func(a, b HoursOn) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Project, b.Project))
	}) {
		if s := h.cells[on]; s != 0 {
			yield(on, s)
		}
	}
}
