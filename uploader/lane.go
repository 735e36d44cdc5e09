package uploader

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// laneRun sends lanes, one Batch after the other.
type laneRun struct {
	*sending
	// pending is how the last Batch ended; it is recorded together with the
	// beginning of the next, be it of this lane or of another.
	pending *timesheet.Settlement
}

// run sends the parcels of a lane.
func (l *laneRun) run(ctx context.Context, parcels []int64) error {
	for _, id := range parcels {
		p, err := l.u.cfg.Ledger.Parcel(ctx, id)
		if err != nil {
			if ctx.Err() != nil {
				return l.flush(ctx) // the run was ended
			}
			return err
		}
		if more, err := l.parcel(ctx, p); err != nil || !more {
			return errors.Join(err, l.flush(ctx))
		}
	}
	return nil
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
	refused, ends := 0, l.r.ends(p.Source)
	for _, pos := range positions {
		fate := s.All
		if s.Each != nil {
			fate = s.Each[pos-s.Batch.From]
		}
		switch e := &p.Entries[pos]; fate.State {
		case timesheet.StateSent:
			l.r.Sent.addEntry(e)
			ends.Sent.addEntry(e)
		case timesheet.StateRejected, timesheet.StateHeld:
			l.r.Refused.addEntry(e)
			ends.Refused.addEntry(e)
			refused++
		case timesheet.StateInDoubt:
			l.r.InDoubt.addEntry(e)
			ends.InDoubt.addEntry(e)
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
		l.r.stop(&StopError{Kind: StopConfig, Message: "this is not how to upload to " + l.u.cfg.API.URL + ": " + v.detail, HintText: "check api.url: entries go to {url}" + l.u.cfg.API.uploadPath()})
	case KeyReused:
		l.r.stop(&StopError{Kind: StopBug, Message: "the API has seen this idempotency key with another body: " + v.detail, HintText: "this is a fault in tsupload; please report it. The entries are in doubt and are not sent again"})
	default:
		if v.stop != nil { // no token
			l.r.stop(v.stop)
		}
		if v.class == NotSent || v.class == Unknown {
			l.mu.Lock()
			l.trouble = v.detail
			l.mu.Unlock()
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
