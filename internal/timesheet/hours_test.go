package timesheet

import (
	"strconv"
	"testing"
)

func TestHours(t *testing.T) {
	t.Parallel()
	var h Hours
	h.Add("ada", "Apollo", 10, 3600)
	h.Add("ada", "Apollo", 10, 1800)
	h.Add("ben", "Apollo", 10, 600)
	h.Add("ben", "Apollo", 10, -600)
	n := 0
	h.Each(func(on HoursOn, s Seconds) {
		n++
		if on != (HoursOn{"ada", "Apollo", 10}) || s != 5400 {
			t.Errorf("got %v: %d", on, s)
		}
	})
	if n != 1 || h.Total() != 5400 {
		t.Errorf("got %d cells, %d seconds in total", n, h.Total())
	}
}

// However much there is to tell apart, memory is bounded and nothing is lost.
func TestHoursBounded(t *testing.T) {
	t.Parallel()
	var people, projects, days Hours
	for i := range maxHoursOn + 1 {
		people.Add(strconv.Itoa(i), "p", 1, 60)
		projects.Add("", strconv.Itoa(i), 1, 60)
		days.Add("a", "p", Day(i), 60)
	}
	for name, h := range map[string]*Hours{"people": &people, "projects": &projects, "days": &days} {
		if got := len(h.cells); got > maxHoursOn {
			t.Errorf("%s: got %d cells", name, got)
		}
		if got := h.Total(); got != 60*(maxHoursOn+1) {
			t.Errorf("%s: got %d seconds, want %d", name, got, 60*(maxHoursOn+1))
		}
	}
	if !people.PeopleTogether || people.ProjectsTogether {
		t.Error("many people are added up together, their projects are not")
	}
	if !projects.ProjectsTogether {
		t.Error("many projects are added up together")
	}
	if days.Rest != 60 {
		t.Errorf("got %d seconds without a day, want 60", days.Rest)
	}
	people.Merge(&days)
	if got := people.Total(); got != 120*(maxHoursOn+1) {
		t.Errorf("merged: got %d seconds, want %d", got, 120*(maxHoursOn+1))
	}
}
