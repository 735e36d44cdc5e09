package uploader

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// sending is the state that the lanes of a run share.
type sending struct {
	u        *Uploader
	r        *Report
	deadline time.Time
	// limit is how many entries the API takes in a request; a 413 lowers it.
	limit   atomic.Int64
	settled atomic.Int64
	total   int

	mu      sync.Mutex
	judged  int // of the first entries
	refused int
	err     error  // of the ledger: nothing goes on without it
	trouble string // what the last request that came to nothing came to
}

// The first entries of a run show whether the mapping is right at all.
const (
	judgeFirst = 50
	maxRounds  = 3
)

// send empties the lanes. Parcels that an earlier run planned for another
// number of lanes go first, one plan after the other: within a plan, a
// person's day is always in one lane.
func (u *Uploader) send(ctx context.Context, r *Report) error {
	s := &sending{u: u, r: r, total: r.Total(timesheet.StateNew).Rows}
	s.deadline, _ = ctx.Deadline()
	s.limit.Store(int64(u.cfg.API.BatchSize))
	for range maxRounds {
		ready, err := u.ready(ctx)
		if err != nil || len(ready) == 0 {
			return err
		}
		s.round(ctx, ready)
		if s.err != nil || r.stopped() || ctx.Err() != nil {
			return s.err
		}
	}
	ready, err := u.ready(ctx)
	if err == nil && len(ready) > 0 {
		r.stop(&StopError{Kind: StopUnreachable, Message: "the API puts entries off; they go out with the next run", HintText: "nothing is lost: run again later"})
	}
	return err
}

// round sends what is ready. What comes out of it as new, because the API
// accepts only parts of a batch, is for another round.
func (s *sending) round(ctx context.Context, ready []timesheet.Lane) {
	now := s.u.cfg.API.lanes()
	slices.SortStableFunc(ready, func(a, b timesheet.Lane) int {
		if a.Lanes != b.Lanes && (a.Lanes == now || b.Lanes == now) {
			return map[bool]int{true: 1, false: -1}[a.Lanes == now]
		}
		return a.Lanes - b.Lanes
	})
	for len(ready) > 0 {
		n := 1
		for n < len(ready) && ready[n].Lanes == ready[0].Lanes {
			n++
		}
		s.plan(ctx, ready[:n])
		ready = ready[n:]
	}
}

// plan sends the lanes of plans with one number of lanes, as many at a time as
// the API is to have requests. The fullest go first, so that none is left
// alone at the end.
func (s *sending) plan(ctx context.Context, ready []timesheet.Lane) {
	lanes := make(chan timesheet.Lane)
	var wg sync.WaitGroup
	for range min(s.u.cfg.API.Concurrency, len(ready)) {
		wg.Go(func() {
			l := &laneRun{sending: s}
			for lane := range lanes {
				if err := rescue.Do(func() error { return l.run(ctx, lane.Parcels) }); err != nil {
					s.fail(err)
				}
			}
			if err := rescue.Do(func() error { return l.flush(ctx) }); err != nil {
				s.fail(err)
			}
		})
	}
	for _, lane := range ready {
		lanes <- lane
	}
	close(lanes)
	wg.Wait()
}

// ready lists what there is to send. Entries of other days than --since and
// --until ask for are left to a later run; where a parcel has both, they move
// to one of their own.
func (u *Uploader) ready(ctx context.Context) ([]timesheet.Lane, error) {
	ready, err := u.cfg.Ledger.Ready(ctx, u.feedIDs())
	if err != nil || u.cfg.Since == nil && u.cfg.Until == nil {
		return ready, err
	}
	inside := ready[:0]
	for _, lane := range ready {
		var keep []int64
		for _, id := range lane.Parcels {
			ok, err := u.keepWindow(ctx, id)
			if err != nil {
				return nil, err
			}
			if ok {
				keep = append(keep, id)
			}
		}
		if lane.Parcels = keep; len(keep) > 0 {
			inside = append(inside, lane)
		}
	}
	return inside, nil
}

// keepWindow leaves in a parcel only what is inside of the window; it tells
// whether there is anything.
func (u *Uploader) keepWindow(ctx context.Context, id int64) (bool, error) {
	p, err := u.cfg.Ledger.Parcel(ctx, id)
	if err != nil {
		return false, err
	}
	var outside []int
	inside := false
	for i := p.Settled; i < len(p.Entries); i++ {
		switch day := p.Entries[i].Day; {
		case p.Gone[i]:
		case u.outside(day):
			outside = append(outside, i)
		default:
			inside = true
		}
	}
	if !inside || len(outside) == 0 {
		return inside, nil
	}
	fates := []timesheet.Fate{{State: timesheet.StateNew}}
	return true, u.cfg.Ledger.Decide(ctx, id, outside, fates, "left for a run without this window")
}

// outside tells whether a day is none of --since to --until.
func (u *Uploader) outside(day timesheet.Day) bool {
	return u.cfg.Since != nil && day < *u.cfg.Since || u.cfg.Until != nil && day > *u.cfg.Until
}

func (s *sending) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *sending) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// mayBegin tells whether another Batch may begin, and whether it must be the
// smallest, as a probe. It waits while the breaker is open.
func (s *sending) mayBegin(ctx context.Context) (ok, probe bool) {
	for {
		switch {
		case s.failed() || s.r.stopped():
			return false, false
		case s.u.client.drained():
			s.r.stop(drainedStop())
			return false, false
		case ctx.Err() != nil || time.Until(s.deadline) < s.u.cfg.API.Timeout+2*time.Second:
			// What could not end in time does not begin.
			s.r.stop(outOfTime())
			return false, false
		}
		ok, probe, wait := s.u.client.breaker.admit()
		if ok {
			return true, probe
		}
		if wait == 0 {
			s.mu.Lock()
			said := "the API at " + s.u.cfg.API.URL + " is not reachable or out of order"
			if s.trouble != "" {
				said += ": " + s.trouble
			}
			s.mu.Unlock()
			s.r.stop(&StopError{Kind: StopUnreachable, Message: said, HintText: "nothing is lost: the next run goes on where this one stopped"})
			return false, false
		}
		s.u.client.sleep(ctx, wait)
	}
}

func drainedStop() *StopError {
	return &StopError{Kind: StopDrained, Message: "the run was asked to end; what is left goes out with the next one"}
}

func outOfTime() *StopError {
	return &StopError{Kind: StopDeadline, Message: "the time for this run is over; what is left goes out with the next one", HintText: "run more often, or raise run.deadline"}
}
