package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

const testAPI = "https://timesheets.example.com"

func testLedger(tb testing.TB) (l *Ledger, dir string) {
	tb.Helper()
	dir = filepath.Join(tb.TempDir(), "state")
	if err := Create(tb.Context(), dir, testAPI, 0); err != nil {
		tb.Fatal(err)
	}
	return openAgain(tb, dir), dir
}

func openAgain(tb testing.TB, dir string) *Ledger {
	tb.Helper()
	l, err := Open(tb.Context(), Options{Dir: dir, API: testAPI})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

// testEntry is the i-th entry of a source.
func testEntry(source string, i int) timesheet.Entry {
	var h timesheet.Hasher
	e := timesheet.Entry{
		Origin: timesheet.Origin{Source: source, File: "week.csv", Line: i + 2},
		Person: fmt.Sprintf("p%d", i%3), UserType: "Contractor", Day: timesheet.Date(2024, 3, 4) + timesheet.Day(i/7), Project: "Zürich", Notes: fmt.Sprintf("n%d", i),
		Duration: timesheet.Seconds(60 * (i + 1)),
	}
	e.Digest = h.Digest(&timesheet.Values{Person: e.Person, Date: e.Day.String(), Seconds: e.Duration, Project: e.Project, Notes: e.Notes})
	e.Key = h.ContentKey(source, e.Digest, 1)
	return e
}

func testEntries(source string, n int) []timesheet.Entry {
	list := make([]timesheet.Entry, n)
	for i := range list {
		list[i] = testEntry(source, i)
	}
	return list
}

// planAll plans what is new of entries and returns how many that were.
func planAll(tb testing.TB, l *Ledger, source string, entries []timesheet.Entry, size int) int {
	tb.Helper()
	p, err := l.Plan(tb.Context(), source, "run", len(entries), size)
	if err != nil {
		tb.Fatal(err)
	}
	defer p.Rollback()
	found, err := p.Lookup(entries)
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for i := range entries {
		if found[i] != nil {
			continue
		}
		n++
		if err := p.Add(&entries[i], timesheet.Fate{State: timesheet.StateNew}, 0, 1); err != nil {
			tb.Fatal(err)
		}
	}
	if err := p.Index(func(timesheet.Fresh) {}); err != nil {
		tb.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		tb.Fatal(err)
	}
	return n
}

// states lists the state of every entry, and fails where one is there twice or
// the counts disagree.
func states(tb testing.TB, l *Ledger) map[timesheet.Packed]*timesheet.Waiting {
	tb.Helper()
	all := map[timesheet.Packed]*timesheet.Waiting{}
	listed, listedHours := map[timesheet.State]int{}, map[timesheet.State]timesheet.Seconds{}
	if err := l.Entries(tb.Context(), Filter{}, func(w *timesheet.Waiting) error {
		if all[w.Key] != nil {
			tb.Errorf("%s is there twice: %s and %s", w.Ref, all[w.Key].State, w.State)
		}
		c := *w
		all[w.Key] = &c
		listed[w.State]++
		listedHours[w.State] += w.Seconds
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	counts, err := l.Counts(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	counted, countedHours := map[timesheet.State]int{}, map[timesheet.State]timesheet.Seconds{}
	for _, c := range counts {
		counted[c.State] += c.Entries
		countedHours[c.State] += c.Seconds
	}
	if !maps.Equal(listed, counted) || !maps.Equal(listedHours, countedHours) {
		tb.Errorf("listed %v, %v; counted %v, %v", listed, listedHours, counted, countedHours)
	}
	return all
}

func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return -1
}

func fates(states ...timesheet.State) []timesheet.Fate {
	list := make([]timesheet.Fate, len(states))
	for i, s := range states {
		list[i] = timesheet.Fate{State: s}
		if s == timesheet.StateSent {
			list[i].ID = fmt.Sprintf("remote-%d", i)
		}
	}
	return list
}

func only(tb testing.TB, l *Ledger) *timesheet.Parcel {
	tb.Helper()
	ready, err := l.Ready(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if len(ready) != 1 || len(ready[0].Parcels) != 1 {
		tb.Fatalf("got parcels %v, want one", ready)
	}
	return parcelOf(tb, l, ready[0].Parcels[0])
}

func parcelOf(tb testing.TB, l *Ledger, id int64) *timesheet.Parcel {
	tb.Helper()
	p, err := l.Parcel(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func doubtful(tb testing.TB, l *Ledger) []*timesheet.Parcel {
	tb.Helper()
	list, err := l.InDoubt(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// TestEach: every entry of an answer has its own end, gaps included, and the
// receipts are of the right entries.
func TestEach(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	entries := testEntries("a", 9)
	planAll(t, l, "a", entries, 100)
	// Two entries leave the parcel before it is sent.
	p, err := l.Plan(t.Context(), "a", "run", 9, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Hold([]timesheet.Packed{entries[2].Key.Packed(entries[2].Day), entries[6].Key.Packed(entries[6].Day)}, timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonDayTotal}); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	parcel := only(t, l)
	if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: parcel.ID, To: 8}); err != nil {
		t.Fatal(err)
	}
	const sent, doubt, rejected, fresh = timesheet.StateSent, timesheet.StateInDoubt, timesheet.StateRejected, timesheet.StateNew
	s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: parcel.ID, To: 8}, At: time.Now(), Each: fates(sent, rejected, "", sent, doubt, fresh, "", sent)}
	if err := l.Record(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	all := states(t, l)
	for i, want := range []timesheet.State{sent, rejected, timesheet.StateHeld, sent, doubt, fresh, timesheet.StateHeld, sent, fresh} {
		w := all[entries[i].Key.Packed(entries[i].Day)]
		if w == nil || w.State != want {
			t.Errorf("entry %d: got %+v, want %s", i, w, want)
			continue
		}
		if remote := fmt.Sprintf("remote-%d", i); want == sent && w.Remote != remote {
			t.Errorf("entry %d: got receipt %q, want %q", i, w.Remote, remote)
		}
		if w.Origin != entries[i].Origin || w.Person != entries[i].Person || w.Seconds != entries[i].Duration || w.Project != entries[i].Project {
			t.Errorf("entry %d: got %+v", i, w)
		}
	}
	// What is still to be sent has kept all that is sent.
	for _, id := range mustReady(t, l) {
		parcel := parcelOf(t, l, id)
		for i := parcel.Settled; i < len(parcel.Entries); i++ {
			e := parcel.Entries[i]
			if !parcel.Gone[i] && (e.Notes == "" || e.UserType != "Contractor") {
				t.Errorf("parcel %d lost content: %+v", id, e)
			}
		}
	}
}

func mustReady(tb testing.TB, l *Ledger) []int64 {
	tb.Helper()
	ready, err := l.Ready(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	var ids []int64
	for _, lane := range ready {
		ids = append(ids, lane.Parcels...)
	}
	slices.Sort(ids)
	return ids
}

// TestRecoverKeepsTheRequest: whatever dies and however often, a request in
// doubt can be sent again byte for byte under its key.
func TestRecoverKeepsTheRequest(t *testing.T) {
	t.Parallel()
	for _, to := range []int{5, 3} { // the whole parcel, and a part of it
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			t.Parallel()
			l, dir := testLedger(t)
			planAll(t, l, "a", testEntries("a", 5), 100)
			parcel := only(t, l)
			expires := time.Now().Add(time.Hour).Truncate(time.Millisecond)
			body := []byte(`[{"some":"bytes"}]`)
			if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: parcel.ID, To: to, IdempotencyKey: "key", KeyExpires: expires, Body: body}); err != nil {
				t.Fatal(err)
			}
			var since time.Time
			for round := range 3 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = openAgain(t, dir)
				for range 2 { // doing it again does no harm
					if _, err := l.Recover(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				list := doubtful(t, l)
				if len(list) != 1 {
					t.Fatalf("round %d: %d parcels in doubt", round, len(list))
				}
				p := list[0]
				if p.IdempotencyKey != "key" || !bytes.Equal(p.Body, body) || !p.KeyExpires.Equal(expires) || len(p.Entries) != to || p.Since.Before(since) || p.Attempts != round+1 {
					t.Fatalf("round %d: got %+v", round, p)
				}
				since = p.Since
				got := map[timesheet.State]int{}
				for _, w := range states(t, l) {
					got[w.State]++
				}
				if got[timesheet.StateInDoubt] != to || got[timesheet.StateNew] != 5-to {
					t.Fatalf("round %d: %v", round, got)
				}
				if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: p.ID, To: to, IdempotencyKey: p.IdempotencyKey, KeyExpires: p.KeyExpires, Body: p.Body}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestPartOfADoubt: when the doubt about some entries of a request has ended, the
// request cannot be sent again any more, since it would send them too.
func TestPartOfADoubt(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	entries := testEntries("a", 4)
	planAll(t, l, "a", entries, 100)
	p := only(t, l)
	if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: p.ID, To: 4, IdempotencyKey: "key", KeyExpires: time.Now().Add(time.Hour), Body: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Recover(t.Context()); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	found := []timesheet.Fate{{State: timesheet.StateSent, ID: "x3"}, {State: timesheet.StateSent, ID: "x1"}}
	if err := l.Decide(t.Context(), p.ID, []int{3, 1}, found, "read back"); err != nil {
		t.Fatal(err)
	}
	all := states(t, l)
	for i, remote := range map[int]string{1: "x1", 3: "x3"} {
		if w := all[entries[i].Key.Packed(entries[i].Day)]; w.State != timesheet.StateSent || w.Remote != remote {
			t.Errorf("entry %d: got %s %q, want %q", i, w.State, w.Remote, remote)
		}
	}
	rest := doubtful(t, l)
	if len(rest) != 1 || rest[0].IdempotencyKey != "" || len(rest[0].Body) > 0 {
		t.Errorf("got %+v, want two entries in doubt that cannot be sent as they were", rest)
	}
}

// TestAnsweredDoubt: an item that the API answered for without an end would be
// answered the same under the same key.
func TestAnsweredDoubt(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		l, _ := testLedger(t)
		planAll(t, l, "a", testEntries("a", 1), 100)
		p := only(t, l)
		if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: p.ID, To: 1, IdempotencyKey: "key", Body: []byte("[]")}); err != nil {
			t.Fatal(err)
		}
		s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, To: 1}, At: time.Now(), Answered: answered, Each: fates(timesheet.StateInDoubt)}
		if err := l.Record(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
		if got := doubtful(t, l); len(got) != 1 || (got[0].IdempotencyKey == "") != answered {
			t.Errorf("answered %t: got %+v", answered, got)
		}
	}
}

// TestBeginFollows: a Batch that does not begin where the last one ended is
// refused, and so is a second one while the first is on the wire.
func TestBeginFollows(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "a", testEntries("a", 6), 100)
	id := only(t, l).ID
	for _, c := range []struct {
		from, to int
		ok       bool
	}{{1, 2, false}, {0, 2, true}, {0, 2, false}, {2, 4, false}, {0, 7, false}} {
		err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: id, From: c.from, To: c.to})
		if (err == nil) != c.ok {
			t.Errorf("%d to %d: %v", c.from, c.to, err)
		}
	}
	settle := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: id, To: 2}, At: time.Now(), All: timesheet.Fate{State: timesheet.StateSent}, Answer: []byte("ok")}
	if err := l.Record(t.Context(), settle, &timesheet.Batch{Parcel: id, From: 2, To: 6}); err != nil {
		t.Error(err)
	}
	// Settling twice must not be possible together with a beginning.
	if err := l.Record(t.Context(), settle, &timesheet.Batch{Parcel: id, From: 2, To: 6}); err == nil {
		t.Error("the same end was recorded twice")
	}
}

// TestModel does random things that a run does, and compares with a plain map.
// TSUPLOAD_FULL=1 in the environment does more of them.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := uint64(8)
	if os.Getenv("TSUPLOAD_FULL") != "" {
		seeds = 200
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			model(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func model(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	l, dir := testLedger(t)
	want := map[timesheet.Packed]timesheet.State{}
	planned := 0
	ends := []timesheet.State{timesheet.StateSent, timesheet.StateNew, timesheet.StateRejected, timesheet.StateHeld, timesheet.StateInDoubt}
	random := func(p *timesheet.Parcel, from, to int) []timesheet.Fate {
		each := make([]timesheet.Fate, to-from)
		for i := range each {
			if !p.Gone[from+i] {
				each[i] = timesheet.Fate{State: ends[rnd.IntN(len(ends))]}
				want[p.Keys[from+i]] = each[i].State
			}
		}
		return each
	}
	for range 40 {
		switch rnd.IntN(6) {
		case 0: // more rows
			planned += 1 + rnd.IntN(9)
			entries := testEntries("a", planned)
			planAll(t, l, "a", entries, 1+rnd.IntN(12))
			for i := range entries {
				if key := entries[i].Key.Packed(entries[i].Day); want[key] == "" {
					want[key] = timesheet.StateNew
				}
			}
		case 1, 2: // a batch, and its end or a death
			ids := mustReady(t, l)
			if len(ids) == 0 {
				continue
			}
			p := parcelOf(t, l, ids[rnd.IntN(len(ids))])
			from, to := p.Settled, p.Settled+1+rnd.IntN(len(p.Entries)-p.Settled)
			b := &timesheet.Batch{Parcel: p.ID, From: from, To: to, IdempotencyKey: "k", Body: []byte("b")}
			if err := l.Record(t.Context(), nil, b); err != nil {
				t.Fatal(err)
			}
			switch rnd.IntN(3) {
			case 0:
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = openAgain(t, dir)
				if _, err := l.Recover(t.Context()); err != nil {
					t.Fatal(err)
				}
				for i := from; i < to; i++ {
					if !p.Gone[i] {
						want[p.Keys[i]] = timesheet.StateInDoubt
					}
				}
			case 1:
				s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, From: from, To: to}, At: time.Now(), Each: random(p, from, to)}
				if err := l.Record(t.Context(), s, nil); err != nil {
					t.Fatal(err)
				}
			default:
				state := ends[rnd.IntN(len(ends))]
				s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, From: from, To: to}, At: time.Now(), All: timesheet.Fate{State: state}}
				for i := from; i < to; i++ {
					if !p.Gone[i] {
						want[p.Keys[i]] = state
					}
				}
				if err := l.Record(t.Context(), s, nil); err != nil {
					t.Fatal(err)
				}
			}
		case 3: // the same request again
			if list := doubtful(t, l); len(list) > 0 {
				p := list[rnd.IntN(len(list))]
				n := len(p.Entries)
				if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: p.ID, To: n}); err != nil {
					t.Fatal(err)
				}
				s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, To: n}, At: time.Now(), Each: random(p, 0, n)}
				if err := l.Record(t.Context(), s, nil); err != nil {
					t.Fatal(err)
				}
			}
		case 4: // evidence, or a person
			if list := doubtful(t, l); len(list) > 0 {
				p := list[rnd.IntN(len(list))]
				var at []int
				var decided []timesheet.Fate
				for i := range p.Entries {
					if !p.Gone[i] && rnd.IntN(2) == 0 {
						at = append(at, i)
						decided = append(decided, timesheet.Fate{State: []timesheet.State{timesheet.StateSent, timesheet.StateNew, timesheet.StateSkipped}[rnd.IntN(3)]})
						want[p.Keys[i]] = decided[len(decided)-1].State
					}
				}
				if len(at) > 0 {
					if err := l.Decide(t.Context(), p.ID, at, decided, "test"); err != nil {
						t.Fatal(err)
					}
				}
			}
		case 5: // gone from the source before it was sent
			for key, state := range want {
				if state != timesheet.StateNew && state != timesheet.StateHeld && state != timesheet.StateRejected {
					continue
				}
				p, err := l.Plan(t.Context(), "a", "run", planned, 10)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Hold([]timesheet.Packed{key}, timesheet.Fate{State: timesheet.StateSkipped, Reason: timesheet.ReasonWithdrawn}); err != nil {
					t.Fatal(err)
				}
				if err := p.Commit(); err != nil {
					t.Fatal(err)
				}
				want[key] = timesheet.StateSkipped
				break
			}
		}
		got := states(t, l)
		for key, state := range want {
			if got[key] == nil || got[key].State != state {
				t.Fatalf("%s: got %+v, want %s", timesheet.Ref(key), got[key], state)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("got %d entries, want %d", len(got), len(want))
		}
		// The index tells the same as the list.
		p, err := l.Plan(t.Context(), "a", "run", planned, 10)
		if err != nil {
			t.Fatal(err)
		}
		if planned > 0 {
			entries := testEntries("a", planned)
			found, err := p.Lookup(entries)
			if err != nil {
				t.Fatal(err)
			}
			for i := range entries {
				if found[i] == nil || found[i].State != want[found[i].Key] {
					t.Fatalf("look-up of entry %d: got %+v, want %s", i, found[i], want[entries[i].Key.Packed(entries[i].Day)])
				}
			}
		}
		p.Rollback()
	}
}

// TestLookups: loading all and asking for some give the same answers.
func TestLookups(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "other", testEntries("other", 900), 500)
	entries := testEntries("a", 120)
	planAll(t, l, "a", entries, 50)
	ids := mustReady(t, l)
	last := parcelOf(t, l, ids[len(ids)-1])
	if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: last.ID, To: 9}); err != nil {
		t.Fatal(err)
	}
	s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: last.ID, To: 9}, At: time.Now(), Each: fates("sent", "sent", "rejected", "in_doubt", "held", "new", "sent", "sent", "sent")}
	if err := l.Record(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	ask := append(testEntries("a", 160), testEntry("nobody", 1))
	var answers [2][]*timesheet.Known
	for i, rows := range []int{len(ask), 5000} {
		p, err := l.Plan(t.Context(), "a", "run", rows, 50)
		if err != nil {
			t.Fatal(err)
		}
		if (p.bulk != nil) != (i == 1) {
			t.Fatalf("%d rows: everything loaded: %t", rows, p.bulk != nil)
		}
		if answers[i], err = p.Lookup(ask); err != nil {
			t.Fatal(err)
		}
		p.Rollback()
	}
	for i := range ask {
		a, b := answers[0][i], answers[1][i]
		if (a == nil) != (b == nil) || (a != nil) != (i < 120) || a != nil && *a != *b {
			t.Errorf("entry %d: got %+v and %+v", i, a, b)
		}
	}
}

// TestRowInTwoFiles: the second copy of a row is taken back, and what is sent of
// the parcel skips it.
func TestRowInTwoFiles(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	entries := testEntries("a", 4)
	p, err := l.Plan(t.Context(), "a", "run", 6, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 2, 1, 3, 0} {
		if err := p.Add(&entries[i], timesheet.Fate{State: timesheet.StateNew}, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	twice, seconds := 0, timesheet.Seconds(0)
	err = p.Index(func(f timesheet.Fresh) { twice, seconds = twice+1, seconds+f.Seconds })
	if err != nil || twice != 2 || seconds != entries[0].Duration+entries[1].Duration {
		t.Fatalf("got %d, %d, %v", twice, seconds, err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := only(t, l).Gone; !slices.Equal(got, []bool{false, false, false, true, false, true}) {
		t.Errorf("got %v", got)
	}
	if len(states(t, l)) != 4 {
		t.Error("not four entries")
	}
	if n := planAll(t, l, "a", entries, 100); n != 0 {
		t.Errorf("%d are new the second time", n)
	}
}

// TestAmendment: a replaced entry is one entry, known by its new content, and can
// be replaced again.
func TestAmendment(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	e := testEntry("a", 1)
	e.ID = "t-1"
	planAll(t, l, "a", []timesheet.Entry{e}, 100)
	finish := func(id string) {
		t.Helper()
		p := only(t, l)
		if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: p.ID, To: 1}); err != nil {
			t.Fatal(err)
		}
		s := &timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, To: 1}, At: time.Now(), All: timesheet.Fate{State: timesheet.StateSent, ID: id}}
		if err := l.Record(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	finish("14")
	for round, answer := range []string{"14", "", "14"} { // one answer names no id
		e.Duration++
		e.Digest[0]++
		p, err := l.Plan(t.Context(), "a", "run", 1, 100)
		if err != nil {
			t.Fatal(err)
		}
		found, err := p.Lookup([]timesheet.Entry{e})
		if err != nil || found[0] == nil || found[0].State != timesheet.StateSent || found[0].Digest == e.Digest.Short() {
			t.Fatal(found, err)
		}
		if ok, err := p.Amend(&e, found[0], timesheet.Fate{State: timesheet.StateNew}, 0, 1); err != nil || !ok {
			t.Fatal(round, ok, err)
		}
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
		if got := only(t, l); got.Op != timesheet.OpUpdate || got.Target != "14" {
			t.Fatalf("round %d: got %+v", round, got)
		}
		finish(answer)
		for _, w := range states(t, l) {
			if w.State != timesheet.StateSent || w.Seconds != e.Duration {
				t.Errorf("round %d: got %+v", round, w)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	set := func(t *testing.T, dir, query string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		api    string
		want   Kind
	}{
		{"missing", func(t *testing.T, dir string) { t.Helper(); remove(t, filepath.Join(dir, fileName)) }, testAPI, Missing},
		{"other API", func(*testing.T, string) {}, "https://elsewhere.example.com", OtherAPI},
		{"newer", func(t *testing.T, dir string) { t.Helper(); set(t, dir, "PRAGMA user_version = 99") }, testAPI, Newer},
		{"readable by others", func(t *testing.T, dir string) { t.Helper(); chmod(t, filepath.Join(dir, fileName), 0o644) }, testAPI, Unsafe},
		{"writable directory", func(t *testing.T, dir string) { t.Helper(); chmod(t, dir, 0o777) }, testAPI, Unsafe},
		{"empty file", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, fileName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, testAPI, Broken},
		{"no database", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, fileName), bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, testAPI, Broken},
		{"directory", func(t *testing.T, dir string) {
			t.Helper()
			remove(t, filepath.Join(dir, fileName))
			if err := os.Mkdir(filepath.Join(dir, fileName), 0o700); err != nil {
				t.Fatal(err)
			}
		}, testAPI, Broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS == "windows" && c.want == Unsafe {
				t.Skip("no modes")
			}
			dir := filepath.Join(t.TempDir(), "state")
			if err := Create(t.Context(), dir, testAPI, 0); err != nil {
				t.Fatal(err)
			}
			c.damage(t, dir)
			l, err := Open(t.Context(), Options{Dir: dir, API: c.api})
			if err == nil {
				_ = l.Close()
			}
			if kindOf(err) != c.want {
				t.Fatalf("got %v, want kind %d", err, c.want)
			}
			if hint, ok := errors.AsType[*Error](err); ok && hint.HintText == "" && c.want != Broken {
				t.Errorf("no hint with %v", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestOneWriter(t *testing.T) {
	t.Parallel()
	l, dir := testLedger(t)
	if _, err := Open(t.Context(), Options{Dir: dir, API: testAPI}); kindOf(err) != Locked {
		t.Errorf("got %v, want locked", err)
	}
	// Reading needs no lock, and cannot write.
	reader, err := Open(t.Context(), Options{Dir: dir, API: testAPI, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	planAll(t, l, "a", testEntries("a", 3), 10)
	if len(states(t, reader)) != 3 {
		t.Error("the reader does not see what is committed")
	}
	if _, err := reader.Plan(t.Context(), "a", "run", 1, 10); kindOf(err) != Broken {
		t.Errorf("got %v from planning without the lock", err)
	}
	if err := reader.Absent(t.Context(), 1, time.Now()); kindOf(err) != Broken {
		t.Errorf("got %v from writing without the lock", err)
	}
	if err := Create(t.Context(), dir, testAPI, 0); kindOf(err) != AlreadyThere {
		t.Errorf("got %v, want that the ledger is kept", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	// Whoever takes the lease takes the right to write.
	if _, err := l.db.ExecContext(t.Context(), `UPDATE meta SET value = 'other' WHERE name = 'lease'`); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), nil, &timesheet.Batch{Parcel: 1, To: 1}); kindOf(err) != Stolen {
		t.Errorf("got %v, want that the ledger was taken over", err)
	}
}

// TestRecordOutlivesTheRun: what happened is recorded although the run is over.
func TestRecordOutlivesTheRun(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "a", testEntries("a", 3), 10)
	id := only(t, l).ID
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Record(ctx, nil, &timesheet.Batch{Parcel: id, To: 3}); err != nil {
		t.Error(err)
	}
	if _, err := l.Recover(ctx); err != nil {
		t.Error(err)
	}
	if err := l.Decide(ctx, id, nil, []timesheet.Fate{{State: timesheet.StateSent}}, "test"); err != nil {
		t.Error(err)
	}
	for _, w := range states(t, l) {
		if w.State != timesheet.StateSent {
			t.Errorf("got %s", w.State)
		}
	}
}

func TestBackupWhileOpen(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	planAll(t, l, "a", testEntries("a", 30), 10)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Backup(t.Context(), filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	if err := l.Backup(t.Context(), filepath.Join(dir, fileName)); kindOf(err) != AlreadyThere {
		t.Errorf("got %v, want that the backup is kept", err)
	}
	if got := states(t, openAgain(t, dir)); len(got) != 30 {
		t.Errorf("got %d entries", len(got))
	}
}

// TestSettings: a commit that is not synced would send twice after a power
// failure; a typing error in a setting is silent.
func TestSettings(t *testing.T) {
	t.Parallel()
	l, _ := testLedger(t)
	if err := checkSettings(t.Context(), l.db, settings); err != nil {
		t.Error(err)
	}
	if _, err := l.db.ExecContext(t.Context(), "PRAGMA synchronous = normal"); err != nil {
		t.Fatal(err)
	}
	if err := checkSettings(t.Context(), l.db, settings); err == nil {
		t.Error("synchronous=normal is taken")
	}
	for version, want := range map[string]bool{"3.51.3": true, "3.51.2": false, "3.52": true, "4.0.0": true, "3.9.9": false, "3.51.10": true} {
		if got := atLeast(version, 3, 51, 3); got != want {
			t.Errorf("%s: got %t", version, got)
		}
	}
}

// TestLibcVersion: modernc.org/sqlite works with exactly the libc it was made with.
func TestLibcVersion(t *testing.T) {
	t.Parallel()
	list := func(format, module string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", format, module).Output()
		if err != nil {
			t.Skipf("go list: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	mod, err := os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`modernc\.org/libc (v\S+)`).FindSubmatch(mod)
	if got := list("{{.Version}}", "modernc.org/libc"); want == nil || got != string(want[1]) {
		t.Errorf("libc is %s, sqlite wants %s", got, want)
	}
}
