package daemon

import (
	"context"
	"time"
)

// longestRetry bounds the waits before a failed run is repeated, longestBusy
// those for another process to let go of the ledger.
const (
	longestRetry = 30 * time.Minute
	firstBusy    = time.Second
	longestBusy  = time.Minute
)

// job is a source and where it is in its schedule; owned by the loop of Run.
type job struct {
	Source
	mark time.Time // the newest slot that is covered, or being run
	due  time.Time // when the slot after it is run
	slot Slot      // the slot that is run, or to be run again
	// retry is when slot is run again; zero: it is not.
	retry time.Time
	busy  int // attempts in vain to begin
	tries int // failed runs of slot

	// What Status tells, under the daemon's mutex.
	next               time.Time
	lastStart, lastEnd time.Time
	began              time.Time // the run before the one under way
	running, lastErr   bool
	failures           int
}

// at is when the job has something to do.
func (j *job) at() time.Time {
	if !j.retry.IsZero() && j.retry.Before(j.due) {
		return j.retry
	}
	return j.due
}

// cover moves the mark, and with it the time of the next slot.
func (d *Daemon) cover(j *job, mark time.Time) {
	next := j.Schedule.slotAt(j.Schedule.after(mark))
	j.mark, j.due = mark, next.Due.Add(spread(j.Name, next.Name, d.cfg.Jitter))
	d.plan(j, j.retry)
}

// plan says when the job's slot is run again; the zero time: it is not.
func (d *Daemon) plan(j *job, retry time.Time) {
	j.retry = retry
	d.mu.Lock()
	defer d.mu.Unlock()
	j.next = j.at()
}

// take gives the slot to run now: the newest that has come, standing for all
// before it that were not run, or else the one to be repeated. It returns false
// where there is none of them.
func (d *Daemon) take(j *job, now time.Time) bool {
	slot, mark, n := j.Schedule.covered(j.mark, now)
	again := !j.retry.IsZero()
	if n > 0 {
		if again {
			slot.First = j.slot.First
		}
		j.slot, j.busy, j.tries = slot, 0, 0
	}
	j.retry = time.Time{}
	d.cover(j, mark)
	return n > 0 || again
}

// recall finds out which slot of a source was run last. One that was missed
// since is due at once; so is one whose run died.
func (d *Daemon) recall(ctx context.Context, j *job, now time.Time) {
	log := d.log.With("source", j.Name, "schedule", j.Schedule.String())
	var last Last
	if j.Last != nil {
		var err error
		if last, err = j.Last(ctx, now.Add(wrongClock)); err != nil {
			log.WarnContext(ctx, "cannot read which slot was run last", "err", err)
		}
	}
	retry := time.Time{}
	if last.Slot.Name == "" {
		// From now on it is known when the source was first scheduled, so that a
		// slot missed before the first run is caught up as well.
		mark := j.Schedule.markAt(now)
		d.cover(j, mark)
		d.begin(ctx, j, mark)
	} else {
		j.slot = last.Slot
		switch {
		case last.State == Claimed:
			retry = now
		case last.State == Failed && d.cfg.RetryAfter > 0:
			retry = now.Add(d.cfg.RetryAfter)
		}
		d.cover(j, j.Schedule.markOf(last.Slot))
		d.plan(j, retry)
	}
	log.InfoContext(ctx, "scheduled", "last", last.Slot.Name, "next", j.at())
}

// begin records the moment from which a new source is due.
func (d *Daemon) begin(ctx context.Context, j *job, mark time.Time) {
	if j.Last == nil {
		return
	}
	turn, err := j.Begin(ctx, d.cfg.NewID())
	if err == nil {
		slot := j.Schedule.slotAt(mark)
		if _, err = turn.Claim(ctx, slot); err == nil {
			err = turn.Done(ctx, slot, Done, 0)
		}
		if closed := turn.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		// The first run makes up for it.
		d.log.DebugContext(ctx, "cannot record a new source", "source", j.Name, "err", err)
	}
}

// setBack sees to it that a clock that was set back keeps no source waiting for
// the old time to come again. Names that come twice by that are run once all
// the same, unless the clock was wrong by more than a day.
func (d *Daemon) setBack(ctx context.Context, now time.Time) {
	d.log.WarnContext(ctx, "the clock was set back", "now", now)
	for _, j := range d.jobs {
		here := j.Schedule.markAt(now)
		if j.mark.After(here) && (j.Schedule.every > 0 || j.mark.Sub(here) > wrongClock) {
			d.cover(j, here)
		}
		if latest := now.Add(longestRetry); j.retry.After(latest) {
			d.plan(j, latest)
		}
	}
}
