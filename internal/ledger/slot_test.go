package ledger

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func slotAt(due time.Time, first string) Slot {
	s := Slot{Name: due.UTC().Format("2006-01-02T15:04"), Due: due}
	s.First = s.Name
	if first != "" {
		s.First = first
	}
	return s
}

func TestSlots(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	now := time.Now().Truncate(time.Minute)
	claim := func(l *Ledger, source string, s Slot, want bool) {
		t.Helper()
		if got, err := l.ClaimSlot(t.Context(), source, s); err != nil || got != want {
			t.Errorf("claim %s %s..%s: got %v, %v, want %v", source, s.First, s.Name, got, err, want)
		}
	}
	end := func(l *Ledger, source string, s Slot, state SlotState, exit int) {
		t.Helper()
		if err := l.EndSlot(t.Context(), source, s.Name, state, exit); err != nil {
			t.Error(err)
		}
	}
	if s, err := l.LastSlot(t.Context(), "a", now); err != nil || s != (Slot{}) {
		t.Errorf("got %v, %v", s, err)
	}
	one := slotAt(now.Add(-3*time.Hour), "")
	claim(l, "a", one, true)
	claim(l, "a", one, true) // its process died
	end(l, "a", one, SlotFailed, 5)
	claim(l, "a", one, true)
	end(l, "a", one, SlotDone, 0)
	claim(l, "a", one, false)
	claim(l, "b", one, true)

	// One run for what was missed: all of it is done with.
	many := slotAt(now, slotAt(now.Add(-2*time.Hour), "").Name)
	claim(l, "a", many, true)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAgain(t, dir)
	got, err := l.LastSlot(t.Context(), "a", now.Add(time.Hour))
	if err != nil || got.Name != many.Name || got.First != many.First || !got.Due.Equal(many.Due) || got.State != SlotClaimed || got.Exit != -1 || !got.Ended.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	claim(l, "a", slotAt(now.Add(-time.Hour), ""), true) // not done with yet
	claim(l, "a", many, true)
	end(l, "a", many, SlotDone, 3)
	claim(l, "a", slotAt(now.Add(-time.Hour), ""), false)
	claim(l, "a", slotAt(now.Add(time.Minute), ""), true)
	// An @every is another kind of name.
	instant := Slot{Name: now.Add(-time.Hour).UTC().Format(time.RFC3339), Due: now}
	instant.First = instant.Name
	claim(l, "a", instant, true)
}

func TestSlotsAreForgotten(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	now := time.Now().Truncate(time.Minute)
	for _, age := range []time.Duration{-500 * 24 * time.Hour, -450 * 24 * time.Hour, -399 * 24 * time.Hour, 365 * 24 * time.Hour} {
		for _, source := range []string{"a", "old"} {
			if source == "old" && age > -450*24*time.Hour {
				continue
			}
			s := slotAt(now.Add(age), "")
			if _, err := l.db.ExecContext(t.Context(), `INSERT INTO slot VALUES (?, ?, ?, ?, 'done', ?, ?, 0)`, source, s.Name, s.First, s.Due.UnixMilli(), s.Due.UnixMilli(), s.Due.UnixMilli()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What was recorded under a clock that was wrong stands for nothing.
	if s, err := l.LastSlot(t.Context(), "a", now.Add(wrongClock)); err != nil || !s.Due.Equal(now.Add(-399*24*time.Hour)) {
		t.Errorf("got %v, %v", s, err)
	}
	if ok, err := l.ClaimSlot(t.Context(), "b", slotAt(now, "")); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	for source, want := range map[string]int{"a": 1, "old": 1, "b": 1} {
		var n int
		if err := l.db.QueryRowContext(t.Context(), `SELECT count(*) FROM slot WHERE source = ?`, source).Scan(&n); err != nil || n != want {
			t.Errorf("%s: got %d slots, %v, want %d", source, n, err, want)
		}
	}
}

// A ledger of the first version is read as it is, and brought up to date when
// it is opened for writing; nothing in it is lost.
func TestMigrateFromFirstVersion(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	planAll(t, l, "acme", testEntries("acme", 20), 10)
	rejectOne(t, l)
	_, first, _ := strings.Cut(migrations[0], "CREATE TABLE rejection")
	first, _, _ = strings.Cut(first, ";")
	for _, undo := range []string{
		`DROP TABLE slot`, `DROP TABLE rounding`, `ALTER TABLE rejection RENAME TO now`, "CREATE TABLE rejection" + first,
		`INSERT INTO rejection SELECT * FROM now`, `DROP TABLE now`, `DELETE FROM meta WHERE name = 'trusted_to'`, `PRAGMA user_version = 1`,
	} {
		if _, err := l.db.ExecContext(t.Context(), undo); err != nil {
			t.Fatal(err)
		}
	}
	r := openToRead(t, l, dir)
	if s, err := r.LastSlot(t.Context(), "acme", time.Now()); err != nil || s != (Slot{}) {
		t.Errorf("read only: got %v, %v", s, err)
	}
	listed := 0
	if err := r.Entries(t.Context(), Filter{}, func(*timesheet.Waiting) error { listed++; return nil }); err != nil || listed != 21 {
		t.Errorf("read only: got %d entries and rows, %v", listed, err)
	}
	if err := r.Backup(t.Context(), filepath.Join(t.TempDir(), "before.db")); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	l = openAgain(t, dir)
	if ok, err := l.ClaimSlot(t.Context(), "acme", slotAt(time.Now(), "")); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	counts, err := l.Counts(t.Context())
	if err != nil || len(counts) != 2 || counts[0].Entries+counts[1].Entries != 21 {
		t.Errorf("got %v, %v", counts, err)
	}
	if err := l.Rows(t.Context(), func(w *timesheet.Waiting, r *timesheet.Rejection) error {
		if w.State != timesheet.StateRejected || r.Message != "no time" || !slices.Equal(r.Record, []string{"ada", ""}) {
			t.Errorf("got %+v, %+v", w, r)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// openToRead closes a ledger and opens it for reading.
func openToRead(t *testing.T, l *Ledger, dir string) *Ledger {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), Options{Dir: dir, API: testAPI, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rejectOne(t *testing.T, l *Ledger) {
	t.Helper()
	p, err := l.Plan(t.Context(), "acme", "run", 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Rollback()
	if _, err := p.Reject(&timesheet.Rejection{Reason: timesheet.ReasonBadTime, Message: "no time", Header: []string{"user", "start"}, Record: []string{"ada", ""}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
}

// A reader of a ledger that has roundings sees those, and no empty table of its
// own in their place.
func TestOlderKeepsRounding(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	for _, step := range []string{`INSERT INTO rounding VALUES (1, x'00')`, `PRAGMA user_version = 3`} {
		if _, err := l.db.ExecContext(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	r := openToRead(t, l, dir)
	defer r.Close()
	var n int
	if err := r.reader.QueryRowContext(t.Context(), `SELECT count(*) FROM rounding`).Scan(&n); err != nil || n != 1 {
		t.Errorf("got %d roundings, %v", n, err)
	}
}

// A scratch ledger takes back a plan that is given up, as every other does.
func TestScratch(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	planAll(t, l, "acme", testEntries("acme", 20), 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Dir: dir, API: testAPI, Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := checkSettings(t.Context(), s.db, scratchSettings); err != nil {
		t.Error(err)
	}
	p, err := s.Plan(t.Context(), "globex", "run", 3000, 10)
	if err != nil {
		t.Fatal(err)
	}
	entries := testEntries("globex", 3000)
	for i := range entries {
		if err := p.Add(&entries[i], timesheet.Fate{State: timesheet.StateNew}, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Index(func(timesheet.Fresh) {}); err != nil {
		t.Fatal(err)
	}
	p.Rollback()
	if got := states(t, s); len(got) != 20 {
		t.Errorf("got %d entries", len(got))
	}
	if n := planAll(t, s, "globex", entries, 10); n != 3000 {
		t.Errorf("planned %d entries", n)
	}
	if got := states(t, s); len(got) != 3020 {
		t.Errorf("got %d entries", len(got))
	}
}

// What is held must be held, however long the index of so many takes.
func TestHoldWaitsForTheIndex(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	const n = 40_000
	p, err := l.Plan(t.Context(), "acme", "run", n, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Rollback()
	entries := testEntries("acme", n)
	last := entries[0].Key.Packed(entries[0].Day)
	for i := range entries {
		if err := p.Add(&entries[i], timesheet.Fate{State: timesheet.StateNew}, 0, 1); err != nil {
			t.Fatal(err)
		}
		if key := entries[i].Key.Packed(entries[i].Day); bytes.Compare(key[:], last[:]) > 0 {
			last = key
		}
	}
	if err := p.Index(func(timesheet.Fresh) {}); err != nil {
		t.Fatal(err)
	}
	if err := p.Hold([]timesheet.Packed{last}, timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonDayTotal}); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	held := 0
	if err := l.Entries(t.Context(), Filter{States: []timesheet.State{timesheet.StateHeld}}, func(*timesheet.Waiting) error { held++; return nil }); err != nil || held != 1 {
		t.Errorf("got %d held entries, %v", held, err)
	}
}
