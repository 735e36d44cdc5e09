package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Attempts do not make an entry younger, and what is sent has no age.
func TestUnsent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(t.Context(), dir, "api", 0); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), Options{Dir: dir, API: "api"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check := func(when string, want time.Time) {
		t.Helper()
		got, err := l.Unsent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !got["s"].Equal(want) {
			t.Errorf("%s: got %v, want %v", when, got["s"], want)
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := l.db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	check("nothing planned", time.Time{})

	old, young := time.UnixMilli(1_700_000_000_000), time.UnixMilli(1_700_000_900_000)
	exec(`INSERT INTO source(id, name) VALUES (1, 's'), (2, 'other')`)
	parcel := func(id, parent int64, state timesheet.State, n, settled, live int, gone []byte, born time.Time) {
		t.Helper()
		exec(`INSERT INTO parcel(id, source, parent, run, lane, lanes, state, n, settled, begun, live, live_seconds, gone, born, changed)
			VALUES (?, 1, ?, 'r', 0, 1, ?, ?, ?, ?, ?, 0, ?, ?, ?)`, id, parent, state, n, settled, settled, live, gone, born.UnixMilli(), time.Now().UnixMilli())
	}
	parcel(1, 0, timesheet.StateNew, 2, 2, 2, nil, old.Add(-time.Hour)) // sent
	parcel(2, 0, timesheet.StateHeld, 2, 0, 2, nil, old.Add(-time.Hour))
	// Sent but for a position that has moved on.
	parcel(3, 0, timesheet.StateNew, 2, 1, 1, putPosition(nil, 1), old.Add(-time.Hour))
	check("all is settled or waits for a person", time.Time{})

	parcel(4, 0, timesheet.StateNew, 3, 1, 3, nil, young)
	check("one is partly sent", young)

	// Split off what was planned long ago, and to be sent again.
	parcel(5, 0, timesheet.StateInDoubt, 2, 0, 1, putPosition(nil, 0), old)
	parcel(6, 5, timesheet.StateNew, 1, 0, 1, nil, young)
	check("one has been in doubt", old)
}

// What is assumed sent is settled from the first: its notes are not kept.
func TestAssumedSent(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	p, err := l.Plan(t.Context(), "a", "run", 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Rollback()
	for i, e := range testEntries("a", 2) {
		if err := p.Add(&e, timesheet.Fate{State: []timesheet.State{timesheet.StateSent, timesheet.StateNew}[i]}, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.Index(func(timesheet.Fresh) {}), p.Commit()); err != nil {
		t.Fatal(err)
	}
	var notes int
	if err := l.db.QueryRowContext(t.Context(), `SELECT count(*) FROM content`).Scan(&notes); err != nil || notes != 1 {
		t.Errorf("the notes of %d parcels are kept, %v; want those of the new one", notes, err)
	}
	if n := len(mustReady(t, l)); n != 1 {
		t.Errorf("%d parcels are to be sent", n)
	}
}
