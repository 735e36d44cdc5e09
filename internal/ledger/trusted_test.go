package ledger

import (
	"fmt"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// withIDs are entries that their tracker gives ids, all moved by some days.
func withIDs(from, to int, moved timesheet.Day) []timesheet.Entry {
	var h timesheet.Hasher
	var list []timesheet.Entry
	for i := from; i < to; i++ {
		e := testEntry("a", i)
		e.ID = fmt.Sprint("T", i)
		e.Key = h.IDKey("a", e.ID)
		e.Day += moved
		list = append(list, e)
	}
	return list
}

// TestMovedEntries: an entry with an id is known when its day has changed, in
// whichever way it is looked for, and of whichever plan it is.
func TestMovedEntries(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	planAll(t, l, "a", withIDs(0, 400, 0), 50)
	planAll(t, l, "without ids", testEntries("without ids", 5), 50)
	known := func(name string, entries []timesheet.Entry, rows int, inMemory, byID bool) {
		t.Helper()
		p, err := l.Plan(t.Context(), "a", "run", rows, 50)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Rollback()
		found, err := p.Lookup(entries)
		if err != nil {
			t.Fatal(err)
		}
		if (p.bulk != nil) != inMemory || p.byID != byID {
			t.Errorf("%s: all in memory %t, the table filled %t", name, p.bulk != nil, p.byID)
		}
		for i, k := range found {
			if k == nil || k.Key != entries[i].Key.Packed(k.Key.Day()) || k.Key.Day() == entries[i].Day {
				t.Fatalf("%s: entry %d: got %+v", name, i, k)
			}
		}
	}
	known("few of a large read", withIDs(0, 3, 30), 400, true, false)
	known("many of a large read", withIDs(0, 400, 30), 400, true, true)
	known("of a small read", withIDs(100, 110, 30), 10, false, true)

	// What plans add is in the table as soon as it is needed.
	if n := planAll(t, l, "a", withIDs(395, 405, 0), 50); n != 5 {
		t.Errorf("%d are new", n)
	}
	known("of a small plan", withIDs(395, 405, 30), 10, false, true)
	if n := planAll(t, l, "a", withIDs(0, 800, 0), 50); n != 395 {
		t.Errorf("%d are new", n)
	}
	known("of a large plan", withIDs(790, 800, 30), 10, false, true)
	if n := planAll(t, l, "a", withIDs(795, 805, 0), 50); n != 5 {
		t.Errorf("%d are new", n)
	}
	known("of both", withIDs(795, 805, 30), 10, false, true)
	known("and of all before", withIDs(0, 10, 30), 10, false, true)
	var ids, of int
	if err := l.db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM trusted), (SELECT count(*) FROM entry)`).Scan(&ids, &of); err != nil || ids != 800 || of != 810 {
		t.Errorf("%d ids of %d entries, %v", ids, of, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAgain(t, dir)
	known("after a restart", withIDs(0, 10, 30), 10, false, true)
}

// TestMigrateTrusted: where earlier programs have filled the table with every
// plan, only what is planned from now on is missing in it.
func TestMigrateTrusted(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	planAll(t, l, "a", withIDs(0, 30, 0), 10)
	planAll(t, l, "a", withIDs(25, 31, 0), 10) // small: fills it
	if _, err := l.db.ExecContext(t.Context(), `DELETE FROM meta WHERE name = 'trusted_to'; DELETE FROM trusted WHERE day < (SELECT max(day) FROM trusted); PRAGMA user_version = 4`); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAgain(t, dir)
	planAll(t, l, "a", withIDs(0, 60, 0), 10)
	p, err := l.Plan(t.Context(), "a", "run", 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Rollback()
	entries := append(withIDs(0, 1, 90), withIDs(50, 51, 90)...)
	found, err := p.Lookup(entries)
	// The first shows that nothing before is read again: it was taken out.
	if err != nil || found[0] != nil || found[1] == nil {
		t.Errorf("got %v, %v", found, err)
	}
}
