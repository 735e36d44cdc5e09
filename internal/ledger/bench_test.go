package ledger

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func benchLedger(b *testing.B) *Ledger {
	b.Helper()
	dir := b.TempDir()
	if err := Create(b.Context(), dir, "bench", 0); err != nil {
		b.Fatal(err)
	}
	l, err := Open(b.Context(), Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

func benchEntry(h *timesheet.Hasher, i int) timesheet.Entry {
	e := timesheet.Entry{
		Origin: timesheet.Origin{Source: "bench", File: "week.csv", Line: i + 2}, Person: fmt.Sprintf("u-%05d", i*7919%5000), UserType: "Contractor",
		Day: timesheet.Date(2026, 1, 1) + timesheet.Day(i*104729%365), Project: "StoreZero", Notes: "Wrote the migration plan", Duration: timesheet.Seconds(900 * (1 + i%32)),
	}
	e.Digest = sha256.Sum256(fmt.Append(nil, i))
	e.Key = h.ContentKey("bench", e.Digest, 1)
	return e
}

// benchPlan plans entries from..to and commits.
func benchPlan(b *testing.B, l *Ledger, from, to int) {
	b.Helper()
	p, err := l.Plan(b.Context(), "bench", fmt.Sprint(from), to-from, 500)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Rollback()
	var h timesheet.Hasher
	group := make([]timesheet.Entry, 0, 500)
	flush := func() {
		found, err := p.Lookup(group)
		if err != nil {
			b.Fatal(err)
		}
		for i := range group {
			if found[i] != nil {
				continue
			}
			if err := p.Add(&group[i], timesheet.Fate{State: timesheet.StateNew}, i%4, 4); err != nil {
				b.Fatal(err)
			}
		}
		group = group[:0]
	}
	for i := from; i < to; i++ {
		if group = append(group, benchEntry(&h, i)); len(group) == cap(group) {
			flush()
		}
	}
	flush()
	if err := p.Index(func(timesheet.Fresh) {}); err != nil {
		b.Fatal(err)
	}
	if err := p.Days(false, func(timesheet.Day, []timesheet.Known, []timesheet.Fresh) error { return nil }); err != nil {
		b.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		b.Fatal(err)
	}
}

const benchEntries = 20_000

// BenchmarkPlanNew plans entries that the ledger does not know.
func BenchmarkPlanNew(b *testing.B) {
	l := benchLedger(b)
	n := 0
	for b.Loop() {
		benchPlan(b, l, n, n+benchEntries)
		n += benchEntries
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchEntries), "ns/entry")
}

// BenchmarkPlanKnown plans entries that the ledger has.
func BenchmarkPlanKnown(b *testing.B) {
	l := benchLedger(b)
	benchPlan(b, l, 0, benchEntries)
	for b.Loop() {
		benchPlan(b, l, 0, benchEntries)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchEntries), "ns/entry")
}

// BenchmarkCommit settles a Batch and begins the next, durably, from one lane
// and from many: with many, commits are shared.
func BenchmarkCommit(b *testing.B) {
	for _, lanes := range []int{1, 8, 128} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			l := benchLedger(b)
			benchPlan(b, l, 0, max(b.N+lanes*2, 1000))
			ready, err := l.Ready(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			var parcels []int64
			for _, lane := range ready {
				parcels = append(parcels, lane.Parcels...)
			}
			work := make(chan int64, len(parcels))
			for _, id := range parcels {
				work <- id
			}
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range min(lanes, len(parcels)) {
				wg.Go(func() { benchLane(b, l, work, left) })
			}
			wg.Wait()
		})
	}
}

func benchLane(b *testing.B, l *Ledger, work <-chan int64, left <-chan struct{}) {
	b.Helper()
	var pending *timesheet.Settlement
	var p *timesheet.Parcel
	at := 0
	for range left {
		for p == nil || at == len(p.Entries) {
			select {
			case id := <-work:
				var err error
				if p, err = l.Parcel(b.Context(), id); err != nil {
					b.Error(err)
					return
				}
				at = 0
			default:
				return
			}
		}
		batch := timesheet.Batch{Parcel: p.ID, From: at, To: at + 1}
		if err := l.Record(b.Context(), pending, &batch); err != nil {
			b.Error(err)
			return
		}
		at++
		pending = &timesheet.Settlement{Batch: batch, At: time.Now(), Status: 201, All: timesheet.Fate{State: timesheet.StateSent, ID: "1"}}
	}
	if err := l.Record(b.Context(), pending, nil); err != nil {
		b.Error(err)
	}
}
