package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
)

// outcome is how a turn ended.
type outcome struct {
	Result
	busy     bool // another process has it
	skipped  bool // the slot was done already
	panicked *rescue.Error
}

// one runs the job's slot to its end. It returns an error only when the run had
// to be cancelled.
func (d *Daemon) one(ctx context.Context, j *job, now time.Time) error {
	if !d.take(j, now) {
		return nil
	}
	slot, id := j.slot, d.cfg.NewID()
	log := d.log.With("source", j.Name, "slot", slot.Name, "run_id", id)
	// The first signal must not cut a request whose answer would be lost.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	start := time.Now()
	d.started(j, d.clock())
	if slot.First != slot.Name {
		log = log.With("missed_since", slot.First)
	}
	log.InfoContext(ctx, "run started")
	done := make(chan outcome, 1)
	go func() { done <- d.turn(runCtx, ctx.Done(), j.Source, slot, id) }()
	out, cut := d.wait(ctx, done, cancel)
	d.ended(j, &out)
	log = log.With("elapsed", time.Since(start).Round(time.Millisecond).String())
	d.follow(j, &out)
	if hint := hintOf(out.Err); hint != "" {
		log = log.With("hint", hint)
	}
	switch {
	case out.busy:
		log.WarnContext(ctx, "another process holds the ledger; the slot waits", "err", out.Err, "next", j.at())
	case out.skipped:
		log.InfoContext(ctx, "the slot was run before", "next", j.at())
	case out.panicked != nil:
		log.ErrorContext(ctx, "run panicked", "err", out.panicked, "stack", string(out.panicked.Stack), "next", j.at())
	case cut && out.Err != nil:
		log.WarnContext(ctx, "run cancelled", "err", out.Err)
	case out.Err != nil && !j.retry.IsZero():
		log.ErrorContext(ctx, "run failed and is repeated", "err", out.Err, "exit", out.Exit, "failures", j.failures, "next", j.at())
	case out.Err != nil:
		log.ErrorContext(ctx, "run failed", "err", out.Err, "exit", out.Exit, "next", j.at())
	default:
		log.InfoContext(ctx, "run ended", "exit", out.Exit, "next", j.at())
	}
	if cut {
		return ErrCut
	}
	d.cfg.Notify(d.statusLine())
	return nil
}

// hintOf is what an error says to do; empty where it does not.
func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// exitOf is the exit status that an error stands for, 1 where it names none.
func exitOf(err error) int {
	if e, ok := errors.AsType[interface {
		error
		Exit() int
	}](err); ok {
		return e.Exit()
	}
	return 1
}

// turn claims the slot, runs the source, and records the end, all under the same
// lock.
func (d *Daemon) turn(ctx context.Context, stopping <-chan struct{}, s Source, slot Slot, id string) (out outcome) {
	err := rescue.Do(func() error {
		turn, err := s.Begin(ctx, id)
		if err != nil {
			return err
		}
		err = rescue.Do(func() error {
			mine, err := turn.Claim(ctx, slot)
			if err != nil || !mine {
				out.skipped = err == nil
				return err
			}
			if err := rescue.Do(func() error { out.Result = turn.Run(ctx, stopping, d.alive); return nil }); err != nil {
				out.Result = Result{Exit: 1, Err: err}
			}
			state := Done
			if out.Again {
				if closed(stopping) {
					return nil // stays claimed: the next process goes on at once
				}
				state = Failed
			}
			return turn.Done(context.WithoutCancel(ctx), slot, state, out.Exit)
		})
		return errors.Join(err, turn.Close())
	})
	switch {
	case errors.Is(err, ErrBusy):
		out.busy, out.Err = true, err
	case err != nil:
		// What cannot be recorded may be a full disk: it may pass.
		out.Exit, out.Again, out.Err = exitOf(err), true, errors.Join(out.Err, err)
	}
	if p, ok := errors.AsType[*rescue.Error](out.Err); ok {
		// Repeating it would hit the same bug.
		out.panicked, out.Again = p, false
	}
	return out
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// follow decides when the slot is run again, if it is.
func (d *Daemon) follow(j *job, out *outcome) {
	now := d.clock()
	switch {
	case out.busy:
		wait := longestBusy
		if j.busy < 6 {
			wait = min(firstBusy<<j.busy, longestBusy)
		}
		j.busy++
		d.plan(j, now.Add(wait))
	case out.Again && d.cfg.RetryAfter > 0:
		wait := longestRetry
		if j.tries < 16 {
			wait = min(d.cfg.RetryAfter<<j.tries, longestRetry)
		}
		j.tries++
		j.busy = 0
		d.plan(j, now.Add(wait))
	default:
		j.busy = 0
	}
}

// wait waits for the run to end, cancelling it when draining takes too long or
// the second signal comes.
func (d *Daemon) wait(ctx context.Context, done <-chan outcome, cancel func()) (out outcome, cut bool) {
	stop, hangup := ctx.Done(), d.cfg.Hangup
	var limit <-chan time.Time
	var second <-chan struct{}
	tick := time.NewTicker(d.feedEvery())
	defer tick.Stop()
	for {
		select {
		case out = <-done:
			return out, cut
		case <-tick.C:
			d.feed()
		case <-hangup:
			d.reload(ctx)
		case <-stop:
			d.stopping(ctx)
			t := time.NewTimer(d.cfg.Drain)
			defer t.Stop()
			stop, hangup, limit, second = nil, nil, t.C, d.cfg.Cut
			continue
		case <-limit:
			cut = true
		case <-second:
			cut = true
		}
		if cut {
			cancel()
			limit, second = nil, nil
		}
	}
}
