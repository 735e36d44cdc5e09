package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Hours agrees with a listing of every entry, whatever state they are in and
// wherever they have moved.
func TestHours(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	if at, err := l.Changed(t.Context(), "acme"); err != nil || !at.IsZero() {
		t.Errorf("nothing ever came: got %s, %v", at, err)
	}
	if err := l.StartRun(t.Context(), "run"); err != nil {
		t.Fatal(err)
	}
	planAll(t, l, "acme", testEntries("acme", 40), 100)
	p := only(t, l)
	begin := timesheet.Batch{Parcel: p.ID, From: 0, To: 30}
	if err := l.Record(t.Context(), nil, &begin); err != nil {
		t.Fatal(err)
	}
	each := make([]timesheet.Fate, 30)
	for i := range each {
		each[i] = []timesheet.Fate{
			{State: timesheet.StateSent, ID: "r"},
			{State: timesheet.StateRejected},
			{State: timesheet.StateInDoubt},
			{State: timesheet.StateHeld, Reason: timesheet.ReasonChanged},
			{State: timesheet.StateHeld, Reason: timesheet.ReasonProject},
		}[i%5]
	}
	if err := l.Record(t.Context(), &timesheet.Settlement{Batch: begin, At: time.Now(), Status: 200, Each: each}, nil); err != nil {
		t.Fatal(err)
	}
	planAll(t, l, "other", testEntries("other", 9), 100)

	since := testEntry("acme", 14).Day // two weeks of days later than the first
	want := map[PersonDay]PersonDay{}
	var all timesheet.Hours
	for _, w := range states(t, l) {
		if w.Day < since {
			continue
		}
		counts := w.State != timesheet.StateRejected && (w.State != timesheet.StateHeld || w.Reason != timesheet.ReasonChanged)
		if counts {
			all.Add(w.Person, w.Project, w.Day, w.Seconds)
		}
		if w.Source != "acme" {
			continue
		}
		k := PersonDay{Person: w.Person, Day: w.Day}
		d := want[k]
		d.Person, d.Day, d.Entries = w.Person, w.Day, d.Entries+1
		if counts {
			d.Seconds += w.Seconds
		}
		want[k] = d
	}
	got, err := l.Hours(t.Context(), "acme", since)
	if err != nil || len(got) != len(want) || len(got) == 0 {
		t.Fatalf("got %d days of people, %v; want %d", len(got), err, len(want))
	}
	for _, d := range got {
		if w := want[PersonDay{Person: d.Person, Day: d.Day}]; d != w {
			t.Errorf("got %+v, want %+v", d, w)
		}
	}
	listed := func(h *timesheet.Hours) (cells []string) {
		h.Each(func(on timesheet.HoursOn, s timesheet.Seconds) { cells = append(cells, fmt.Sprint(on, s)) })
		return cells
	}
	if h, err := l.ProjectHours(t.Context(), since); err != nil || !slices.Equal(listed(h), listed(&all)) {
		t.Errorf("by project: got %v, %v; want %v", listed(h), err, listed(&all))
	}
	if days, err := l.Hours(t.Context(), "nobody", since); err != nil || len(days) != 0 {
		t.Errorf("an unknown source: got %v, %v", days, err)
	}
	at, err := l.Changed(t.Context(), "acme")
	if err != nil || time.Since(at) > time.Hour {
		t.Errorf("got %s, %v", at, err)
	}
	if first, err := l.Changed(t.Context(), "nobody"); err != nil || first.IsZero() {
		t.Errorf("a source that never brought anything: got %s, %v; want the first run", first, err)
	}
	// Reading again what is there, and settling it, brings nothing new.
	if _, err := l.db.ExecContext(t.Context(), `UPDATE parcel SET born = born - 5000000 WHERE coalesce(parent, 0) = 0`); err != nil {
		t.Fatal(err)
	}
	planAll(t, l, "acme", slices.Clone(testEntries("acme", 40)), 100)
	if again, err := l.Changed(t.Context(), "acme"); err != nil || at.Sub(again) < time.Hour {
		t.Errorf("got %s, %v; want what it was", again, err)
	}
}
