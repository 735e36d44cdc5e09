package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// lane makes the steps of a lane that goes through two parcels: of each kind
// of receipt, ending with a request under way.
func laneSteps(tb testing.TB, l *Ledger) []step {
	tb.Helper()
	planAll(tb, l, "a", testEntries("a", 20), 10)
	ids := mustReady(tb, l)
	if len(ids) != 2 {
		tb.Fatalf("got parcels %v, want two", ids)
	}
	at := time.UnixMilli(1_700_000_000_000)
	batch := func(parcel int64, from, to int) *timesheet.Batch {
		return &timesheet.Batch{
			Parcel: parcel, From: from, To: to, BodyHash: [32]byte{byte(parcel), byte(to)},
			IdempotencyKey: fmt.Sprintf("key-%d-%d", parcel, to), KeyExpires: at.Add(time.Hour), Body: fmt.Appendf(nil, "body-%d-%d", parcel, to),
		}
	}
	accepted := func(b *timesheet.Batch, id, answer string) *timesheet.Settlement {
		at = at.Add(300 * time.Millisecond)
		return &timesheet.Settlement{Batch: *b, At: at, Status: 201, Attempts: 1, Answer: []byte(answer), All: timesheet.Fate{State: timesheet.StateSent, ID: id}}
	}
	var steps []step
	var last *timesheet.Settlement
	next := func(b *timesheet.Batch, s func() *timesheet.Settlement) {
		steps = append(steps, step{settle: last, begin: b})
		last = s()
	}
	for i := range 6 { // ids, one by one: their receipts lie together
		b := batch(ids[0], i, i+1)
		id := fmt.Sprintf("r%d", i) + []string{"", `"`, `\`, "ü", "\n", "<"}[i]
		next(b, func() *timesheet.Settlement { return accepted(b, id, "") })
	}
	b := batch(ids[0], 6, 8) // words
	next(b, func() *timesheet.Settlement { return accepted(b, "", "created two") })
	c := batch(ids[0], 8, 10) // nothing at all
	next(c, func() *timesheet.Settlement { return accepted(c, "", "") })
	d := batch(ids[1], 0, 5) // item by item
	next(d, func() *timesheet.Settlement {
		s := accepted(d, "", "")
		s.Each = fates("sent", "sent", "sent", "sent", "sent")
		return s
	})
	next(batch(ids[1], 5, 7), func() *timesheet.Settlement { return nil })
	return steps
}

// dump is all that the ledger tells of its entries.
func dump(tb testing.TB, l *Ledger) []string {
	tb.Helper()
	var lines []string
	if err := l.Entries(tb.Context(), Filter{}, func(w *timesheet.Waiting) error {
		events, err := l.History(tb.Context(), w)
		lines = append(lines, fmt.Sprint(w.Ref, w.State, w.Remote, w.Parcel, w.Pos))
		for _, e := range events {
			if e.What != "planned" && e.What != "sending" { // at the test's own time
				lines = append(lines, fmt.Sprint("  ", e.At.Truncate(2*time.Second).UTC(), e.What, e.Detail))
			}
		}
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	counts, err := l.Counts(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range counts {
		lines = append(lines, fmt.Sprint(c.State, c.Entries, c.Seconds))
	}
	for _, id := range mustReady(tb, l) {
		p := parcelOf(tb, l, id)
		lines = append(lines, fmt.Sprint(p.ID, p.Settled, p.Begun, p.Attempts, p.IdempotencyKey, p.KeyExpires.UTC(), string(p.Body)))
	}
	return lines
}

// TestJournal: whatever way steps are recorded in, and whoever looks, the
// ledger says the same.
func TestJournal(t *testing.T) {
	t.Parallel()
	direct, _ := testLedger(t)
	for _, s := range laneSteps(t, direct) {
		tx, err := direct.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.settle != nil {
			if err := direct.writer.settle(t.Context(), tx, s.settle); err != nil {
				t.Fatal(err)
			}
		}
		if err := direct.writer.begin(t.Context(), tx, s.begin); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want := dump(t, direct)

	l, dir := testLedger(t)
	for _, s := range laneSteps(t, l) {
		if err := l.Record(t.Context(), s.settle, s.begin); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := l.reader.QueryRowContext(t.Context(), `SELECT count(*) FROM journal`).Scan(&rows); err != nil || rows == 0 {
		t.Fatalf("the journal has %d rows, %v; it was not used", rows, err)
	}
	beside, err := Open(t.Context(), Options{Dir: dir, API: testAPI, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, dump(t, beside)); diff != "" {
		t.Errorf("a reader beside the run sees something else (-want +got):\n%s", diff)
	}
	if err := beside.Close(); err != nil {
		t.Fatal(err)
	}
	killed := openAgain(t, copyOf(t, dir))
	if diff := cmp.Diff(want, dump(t, killed)); diff != "" {
		t.Errorf("after a kill (-want +got):\n%s", diff)
	}
	if n, err := killed.Recover(t.Context()); n != 2 || err != nil {
		t.Errorf("recovered %d entries, %v; want the 2 under way", n, err)
	}
	if diff := cmp.Diff(want, dump(t, l)); diff != "" {
		t.Errorf("the run itself sees something else (-want +got):\n%s", diff)
	}
	if err := l.reader.QueryRowContext(t.Context(), `SELECT count(*) FROM journal`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("the journal has %d rows after it was folded, %v", rows, err)
	}
	// Ids that came together lie together, and notes go with the end of a parcel.
	var receipts, contents int
	if err := l.reader.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM receipt), (SELECT count(*) FROM content)`).Scan(&receipts, &contents); err != nil || receipts != 5 || contents != 1 {
		t.Errorf("got %d receipts and the notes of %d parcels, %v; want 5 and 1", receipts, contents, err)
	}
}

// A journal that tells of a parcel that is not there is no journal of this ledger.
func TestJournalOfNoParcel(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	b := appendStep([]byte{journalVersion}, &step{begin: &timesheet.Batch{Parcel: 7, To: 1}}, time.Now())
	if _, err := l.db.ExecContext(t.Context(), `INSERT INTO journal(steps) VALUES (?)`, b); err != nil {
		t.Fatal(err)
	}
	_, err := l.Counts(t.Context())
	if err == nil || !strings.Contains(err.Error(), "parcel 7") {
		t.Errorf("got %v", err)
	}
}

// copyOf is the state directory as a kill leaves it.
func copyOf(tb testing.TB, dir string) string {
	tb.Helper()
	to := filepath.Join(tb.TempDir(), "killed")
	if err := os.Mkdir(to, 0o700); err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{fileName, fileName + "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return to
}

// TestJournalRefuses: a request that does not follow what is settled is not
// begun, whether the journal or the table knows it.
func TestJournalRefuses(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "a", testEntries("a", 4), 10)
	id := only(t, l).ID
	begin := func(from, to int) error {
		return l.Record(t.Context(), nil, &timesheet.Batch{Parcel: id, From: from, To: to})
	}
	if err := begin(1, 2); err == nil {
		t.Error("a request began after entries that are not settled")
	}
	if err := begin(0, 2); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 2} {
		if err := begin(at, at+2); err == nil {
			t.Errorf("a second request of the parcel began at %d", at)
		}
	}
	s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: id, To: 2}, At: time.Now(), All: timesheet.Fate{State: timesheet.StateSent}}
	if err := l.Record(t.Context(), s, &timesheet.Batch{Parcel: id, From: 2, To: 4}); err != nil {
		t.Error(err)
	}
}

// TestJournalOfAnother: what another process has taken over is not written to.
func TestJournalOfAnother(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "a", testEntries("a", 4), 10)
	id := only(t, l).ID
	if _, err := l.db.ExecContext(t.Context(), `UPDATE meta SET value = 'other' WHERE name = 'lease'`); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: id, To: 1}); kindOf(err) != Stolen {
		t.Errorf("got %v, want an error that says so", err)
	}
}

// FuzzJournal: a damaged journal is an error, never a panic or a huge block of
// memory.
func FuzzJournal(f *testing.F) {
	s := step{
		settle: &timesheet.Settlement{Batch: timesheet.Batch{Parcel: 7, To: 2}, Status: 200, At: time.UnixMilli(1), Each: fates("sent", "sent")},
		begin:  &timesheet.Batch{Parcel: 8, To: 1, IdempotencyKey: "k", Body: []byte("b")},
	}
	f.Add(appendStep([]byte{journalVersion}, &s, time.UnixMilli(2)))
	// More ids than any row can hold.
	f.Add(append([]byte{journalVersion, hasSettle | hasIDs, 7, 2, 2, 200, 1}, binary.AppendUvarint(nil, math.MaxUint64)...))
	f.Fuzz(func(_ *testing.T, row []byte) {
		all := folding{parcels: map[int64]*folded{}}
		_ = all.add(row, func(int64) (settled, n int, err error) { return 0, 0, context.Canceled })
		_ = all.add(row, func(int64) (settled, n int, err error) { return 0, 2, nil })
	})
}
