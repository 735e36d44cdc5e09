package uploader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
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
	err     error // of the ledger: nothing goes on without it
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
func (s *sending) round(ctx context.Context, ready map[int]map[int][]int64) {
	u := s.u
	plans := slices.SortedFunc(maps.Keys(ready), func(a, b int) int {
		if now := u.cfg.API.lanes(); a == now || b == now {
			return map[bool]int{true: 1, false: -1}[a == now]
		}
		return a - b
	})
	for _, lanes := range plans {
		var wg sync.WaitGroup
		slots := make(chan struct{}, u.cfg.API.Concurrency)
		for _, lane := range slices.Sorted(maps.Keys(ready[lanes])) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				l := &laneRun{sending: s}
				if err := l.run(ctx, ready[lanes][lane]); err != nil {
					s.fail(err)
				}
			})
		}
		wg.Wait()
	}
}

// ready lists what there is to send. Entries of other days than --since and
// --until ask for are left to a later run; where a parcel has both, they move
// to one of their own.
func (u *Uploader) ready(ctx context.Context) (map[int]map[int][]int64, error) {
	ready, err := u.cfg.Ledger.Ready(ctx, u.feedIDs())
	if err != nil || u.cfg.Since == nil && u.cfg.Until == nil {
		return ready, err
	}
	for planned, lanes := range ready {
		for lane, parcels := range lanes {
			var keep []int64
			for _, id := range parcels {
				inside, err := u.keepWindow(ctx, id)
				if err != nil {
					return nil, err
				}
				if inside {
					keep = append(keep, id)
				}
			}
			if lanes[lane] = keep; len(keep) == 0 {
				delete(lanes, lane)
			}
		}
		if len(lanes) == 0 {
			delete(ready, planned)
		}
	}
	return ready, nil
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
			s.r.stop(&StopError{Kind: StopUnreachable, Message: "the API at " + s.u.cfg.API.URL + " is not reachable or out of order", HintText: "nothing is lost: the next run goes on where this one stopped"})
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

// laneRun sends one lane's parcels, one Batch after the other.
type laneRun struct {
	*sending
	// pending is how the last Batch ended; it is recorded together with the
	// beginning of the next.
	pending *timesheet.Settlement
}

func (l *laneRun) run(ctx context.Context, parcels []int64) error {
	for _, id := range parcels {
		p, err := l.u.cfg.Ledger.Parcel(ctx, id)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
		if more, err := l.parcel(ctx, p); err != nil || !more {
			return errors.Join(err, l.flush(ctx))
		}
	}
	return l.flush(ctx)
}

func (l *laneRun) flush(ctx context.Context) error {
	if l.pending == nil {
		return nil
	}
	crash.Point("C6")
	s := l.pending
	l.pending = nil
	err := l.u.cfg.Ledger.Record(context.WithoutCancel(ctx), s, nil)
	if err == nil {
		crash.Point("C8")
	}
	return err
}

// keepPace waits as the rate limit wants it, unless the run ends sooner. How the
// last Batch ended does not wait along.
func (l *laneRun) keepPace(ctx context.Context) error {
	wait := l.u.client.limiter.Reserve().Delay()
	if wait > 0 || l.u.client.breaker.isOpen() {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	switch {
	case wait > time.Until(l.deadline):
		l.r.stop(outOfTime())
	case wait > 0:
		l.u.client.sleep(ctx, wait)
	}
	return nil
}

// parcel sends what is left of a parcel; more tells whether to go on with the next.
func (l *laneRun) parcel(ctx context.Context, p *timesheet.Parcel) (more bool, err error) {
	span := int(l.limit.Load())
	for at := p.Settled; at < len(p.Entries); {
		if _, left := next(p, at, 1); len(left) == 0 {
			return true, l.close(ctx, p, at)
		}
		// Nothing has begun yet, and the end of the run may come while waiting.
		if err := l.keepPace(ctx); err != nil {
			return false, err
		}
		ok, probe := l.mayBegin(ctx)
		if !ok {
			return false, nil
		}
		span = max(1, min(span, int(l.limit.Load())))
		take := span
		if probe {
			take = 1
		}
		to, positions := next(p, at, take)
		v, err := l.batch(ctx, p, at, to, positions)
		if err != nil {
			return false, err
		}
		done, err := l.end(ctx, p, at, to, positions, v)
		if err != nil {
			return false, err
		}
		switch {
		case done:
			at = to
			span = min(2*span, int(l.limit.Load()))
		case v.class == Refused || v.class == TooLarge:
			span = max(1, len(positions)/2)
		case v.class == Busy || v.class == NotSent || v.class == InProgress:
			if !l.pause(ctx, v) {
				return false, nil
			}
		default:
			return false, nil // the report says why
		}
	}
	return true, nil
}

// close settles the end of a parcel whose last entries have all moved to
// others, so that it is not looked at again.
func (l *laneRun) close(ctx context.Context, p *timesheet.Parcel, at int) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	n := len(p.Entries)
	s := timesheet.Settlement{Batch: timesheet.Batch{Parcel: p.ID, From: at, To: n}, At: time.Now(), Each: make([]timesheet.Fate, n-at)}
	return l.u.cfg.Ledger.Record(context.WithoutCancel(ctx), &s, nil)
}

// next takes up to n entries from at on that are still in the parcel.
func next(p *timesheet.Parcel, at, n int) (to int, positions []int) {
	for to = at; to < len(p.Entries) && len(positions) < n; to++ {
		if !p.Gone[to] {
			positions = append(positions, to)
		}
	}
	return to, positions
}

// batch makes the intention durable, together with the end of the last Batch,
// and sends.
func (l *laneRun) batch(ctx context.Context, p *timesheet.Parcel, at, to int, positions []int) (verdict, error) {
	req := l.u.client.request(p, positions)
	b := timesheet.Batch{Parcel: p.ID, From: at, To: to, BodyHash: sha256.Sum256(req.body)}
	if l.u.cfg.API.IdempotencyKey && !req.update {
		keys := make([]timesheet.Packed, len(positions))
		for i, pos := range positions {
			keys[i] = p.Keys[pos]
		}
		req.key = idempotencyKey(p.Op, p.Attempts, keys, b.BodyHash)
		b.IdempotencyKey, b.KeyExpires, b.Body = req.key, time.Now().Add(l.u.cfg.API.KeyTTL), req.body
	}
	if l.pending != nil {
		crash.Point("C6")
	}
	settle := l.pending
	l.pending = nil
	if err := l.u.cfg.Ledger.Record(context.WithoutCancel(ctx), settle, &b); err != nil {
		return verdict{}, err
	}
	if settle != nil {
		crash.Point("C8")
	}
	crash.Point("C3")
	v := l.u.client.send(ctx, req)
	if v.class != Accepted {
		l.u.log.InfoContext(ctx, "batch was not simply accepted", "batch", b.Parcel, "entries", len(positions), "status", v.status, "class", string(v.class), "attempt", v.attempts)
	}
	return v, nil
}

// end decides what a verdict means for the entries of a Batch. done tells
// that all of them have an end, so that the lane goes on behind them.
func (l *laneRun) end(ctx context.Context, p *timesheet.Parcel, at, to int, positions []int, v verdict) (done bool, err error) {
	s := &timesheet.Settlement{
		Batch: timesheet.Batch{Parcel: p.ID, From: at, To: to}, At: time.Now(), Status: v.status, Answer: v.answer, Attempts: v.attempts,
	}
	if v.class != Accepted {
		s.Outcome = string(v.class)
	}
	switch v.class {
	case Accepted, PerItem:
		s.Answered = v.class == PerItem
		l.fates(s, positions, v)
	case Refused, TooLarge:
		switch {
		case len(positions) == 1:
			reason := timesheet.ReasonRefusedByAPI
			if v.class == TooLarge {
				reason = timesheet.ReasonTooLarge
			}
			s.All = timesheet.Fate{State: timesheet.StateRejected, Reason: reason, Detail: v.detail}
		case v.class == TooLarge:
			l.limit.Store(int64(max(1, len(positions)/2)))
			s.All = timesheet.Fate{State: timesheet.StateNew}
		case l.u.cfg.API.BatchAtomic:
			s.All = timesheet.Fate{State: timesheet.StateNew}
		case l.u.cfg.API.ReadBack:
			l.readRefused(ctx, s, p, positions, v)
		default:
			// Some of it may have been taken before the refusal.
			s.All = timesheet.Fate{State: timesheet.StateInDoubt, Detail: v.detail + "; it is not known whether the API refuses batches as a whole (api.server.batch_atomic)"}
		}
	case Unknown:
		s.All = timesheet.Fate{State: timesheet.StateInDoubt, Detail: v.detail}
	case Conflict:
		s.All = timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonConflict, Detail: v.detail}
	case InProgress:
		s.All = timesheet.Fate{State: timesheet.StateInDoubt, Detail: "the first request under this key is still being executed"}
	case KeyReused:
		s.All = timesheet.Fate{State: timesheet.StateInDoubt, Detail: v.detail}
	case NotSent, Busy, Unauthorized, Forbidden, Misplaced, NoToken:
		s.All = timesheet.Fate{State: timesheet.StateNew}
	}
	l.stopFor(v)
	l.pending = s
	done = l.tally(s, p, positions)
	// A Batch that ended well waits for the next one's intention; anything
	// else is recorded before the lane does another thing.
	if v.class != Accepted {
		err = l.flush(ctx)
	}
	return done, err
}

// readRefused asks the API what a batch that was refused as a whole has left
// behind. The answer has come, so nothing can be executed later.
func (l *laneRun) readRefused(ctx context.Context, s *timesheet.Settlement, p *timesheet.Parcel, positions []int, v verdict) {
	part := *p
	part.Gone = make([]bool, len(p.Gone))
	for i := range part.Gone {
		part.Gone[i] = !slices.Contains(positions, i)
	}
	found, proof, err := l.u.find(ctx, &part)
	switch {
	case err != nil || !proof:
		s.All = timesheet.Fate{State: timesheet.StateInDoubt, Detail: v.detail + "; reading back did not tell what of it was taken"}
	case len(found) == 0:
		s.All = timesheet.Fate{State: timesheet.StateNew}
	default:
		s.Each = make([]timesheet.Fate, s.Batch.To-s.Batch.From)
		for _, pos := range positions {
			fate := timesheet.Fate{State: timesheet.StateNew}
			if id, ok := found[pos]; ok {
				fate = timesheet.Fate{State: timesheet.StateSent, ID: id}
			}
			s.Each[pos-s.Batch.From] = fate
		}
	}
}

// fates spreads per-item ends over the range of the Batch, gaps included.
func (l *laneRun) fates(s *timesheet.Settlement, positions []int, v verdict) {
	s.All = timesheet.Fate{State: timesheet.StateSent, ID: v.id}
	if v.fates == nil && len(positions) == s.Batch.To-s.Batch.From {
		return
	}
	s.Each = make([]timesheet.Fate, s.Batch.To-s.Batch.From)
	for i, pos := range positions {
		s.Each[pos-s.Batch.From] = s.All
		if v.fates != nil {
			s.Each[pos-s.Batch.From] = v.fates[i]
		}
	}
}

// tally adds a settlement to the report.
func (l *laneRun) tally(s *timesheet.Settlement, p *timesheet.Parcel, positions []int) (done bool) {
	done = true
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	refused := 0
	for _, pos := range positions {
		fate := s.All
		if s.Each != nil {
			fate = s.Each[pos-s.Batch.From]
		}
		switch d := p.Entries[pos].Duration; fate.State {
		case timesheet.StateSent:
			l.r.Sent.add(d)
		case timesheet.StateRejected, timesheet.StateHeld:
			l.r.Refused.add(d)
			refused++
		case timesheet.StateInDoubt:
			l.r.InDoubt.add(d)
		case timesheet.StateNew:
			if s.Each == nil {
				done = false
			}
		default: // has moved to another parcel
		}
	}
	if done {
		l.judgeMapping(len(positions), refused)
		if n := l.settled.Add(int64(len(positions))); l.u.cfg.Progress != nil {
			l.u.cfg.Progress(int(n), l.total)
		}
	}
	return done
}

// judgeMapping stops a run whose first entries are refused in numbers.
func (l *laneRun) judgeMapping(n, refused int) {
	l.judged, l.refused = l.judged+n, l.refused+refused
	if before := l.judged - n; before >= judgeFirst || l.judged < judgeFirst {
		return
	}
	if float64(l.refused) > l.u.cfg.MaxRejectRatio*float64(l.judged) && l.r.Stop == nil {
		l.r.Stop = &StopError{
			Kind:     StopRejects,
			Message:  fmt.Sprintf("the API refused %d of the first %d entries; the rest was not sent", l.refused, l.judged),
			HintText: "this looks like a wrong mapping: compare api.fields, people and projects with what the API says (`tsupload entries --state rejected`)",
		}
	}
}

// stopFor ends the run where no other request could end better.
func (l *laneRun) stopFor(v verdict) {
	switch v.class {
	case Unauthorized:
		l.r.stop(&StopError{Kind: StopAuth, Message: "the API refused the token, and a new one too: " + v.detail, HintText: l.u.diagnosis()})
	case Forbidden:
		l.r.stop(&StopError{Kind: StopAuth, Message: "the API does not allow the upload: " + v.detail, HintText: l.u.diagnosis()})
	case Misplaced:
		l.r.stop(&StopError{Kind: StopConfig, Message: "this is not how to upload to " + l.u.cfg.API.URL + ": " + v.detail, HintText: "check api.url: entries go to {url}/timesheets/upload"})
	case KeyReused:
		l.r.stop(&StopError{Kind: StopBug, Message: "the API has seen this idempotency key with another body: " + v.detail, HintText: "this is a fault in tsupload; please report it. The entries are in doubt and are not sent again"})
	default:
		if v.stop != nil { // no token
			l.r.stop(v.stop)
		}
	}
}

// pause waits as a busy API asks, or backs off.
func (l *laneRun) pause(ctx context.Context, v verdict) bool {
	wait := v.wait
	if wait == 0 {
		wait = jitter(l.u.cfg.API.RetryWait, v.attempts)
	}
	if wait > l.u.cfg.API.MaxRetryAfter || time.Until(l.deadline) < wait+l.u.cfg.API.Timeout+2*time.Second {
		l.r.stop(&StopError{Kind: StopUnreachable, Message: fmt.Sprintf("the API asks to wait %s or more, longer than a run waits (api.max_retry_after, run.deadline)", wait.Round(time.Second)), HintText: "nothing is lost: the next run goes on where this one stopped"})
		return false
	}
	return l.u.client.sleep(ctx, wait)
}
