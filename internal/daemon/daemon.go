package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// look is the longest time between two looks at the clock.
const look = 30 * time.Second

// ErrCut is returned by Run when a run had to be cancelled: the drain limit
// had passed, or the second signal came.
var ErrCut = errors.New("the run under way was cancelled before it had drained")

// ErrNoSchedule is returned by New when no source has a schedule.
var ErrNoSchedule = errors.New("no source has a schedule")

// Source is something that is run on a schedule.
type Source struct {
	Name     string
	Schedule Schedule
	// LastRun is when the source was last run, by an earlier process; zero: not
	// known. A slot missed since is caught up at the start.
	LastRun time.Time
	// Run does one run. When stopping is closed it begins nothing new and
	// returns once what is under way has ended; when ctx is cancelled it
	// returns at once.
	Run func(ctx context.Context, stopping <-chan struct{}) error
}

// Config is what a Daemon is made of.
type Config struct {
	// Sources without a schedule are never started.
	Sources []Source
	// Drain is how long a run may go on after the first signal.
	Drain time.Duration
	// Cut is closed by the second signal; nil: there is none.
	Cut    <-chan struct{}
	Logger *slog.Logger
}

// Daemon starts runs on their schedules.
type Daemon struct {
	slots []*slot
	drain time.Duration
	cut   <-chan struct{}
	log   *slog.Logger
}

// slot is a source and when it is due next; owned by the loop of Run.
type slot struct {
	Source
	next time.Time
	last time.Time // start of the last run by this process
}

// New makes a Daemon. It refuses to be one that would never do anything.
func New(c Config) (*Daemon, error) {
	d := &Daemon{drain: c.Drain, cut: c.Cut, log: c.Logger}
	for _, s := range c.Sources {
		if !s.Schedule.IsZero() {
			d.slots = append(d.slots, &slot{Source: s})
		}
	}
	if len(d.slots) == 0 {
		return nil, ErrNoSchedule
	}
	return d, nil
}

// Run starts runs until ctx is cancelled, drains, and returns: nil when the
// last run came to its own end, ErrCut when it had to be cancelled.
func (d *Daemon) Run(ctx context.Context) error {
	now := clock()
	for _, s := range d.slots {
		s.next = s.Schedule.Next(now)
		if !s.LastRun.IsZero() {
			// In the past when a slot was missed: due at once.
			s.next = earlier(s.next, s.Schedule.Next(s.LastRun))
		}
		d.log.InfoContext(ctx, "scheduled", "source", s.Name, "schedule", s.Schedule.String(), "next", s.next)
	}
	for ctx.Err() == nil {
		before := now
		now = clock()
		if now.Before(before.Add(-time.Minute)) {
			// The clock was set back. Without this, @every would wait for the
			// old time to come again.
			for _, s := range d.slots {
				s.next = earlier(s.next, s.Schedule.Next(now))
			}
		}
		s := slices.MinFunc(d.slots, func(a, b *slot) int {
			// Of those due together the one that has waited longest.
			return cmp.Or(a.next.Compare(b.next), a.last.Compare(b.last))
		})
		if wait := s.next.Sub(now); wait > 0 {
			pause(ctx, min(wait, look))
			continue
		}
		// From now on, not from the slot: all that was missed is one run. What
		// falls due during the run is in the past when it ends, and caught up.
		s.next, s.last = s.Schedule.Next(now), now
		if err := d.one(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// clock is the wall time, without the monotonic reading that stands still
// while a machine is suspended.
func clock() time.Time { return time.Now().Round(0) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func pause(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// one does one run to its end. It returns an error only when the run had to be
// cancelled.
func (d *Daemon) one(ctx context.Context, s *slot) error {
	// The first signal must not cut a request whose answer would be lost.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	log := d.log.With("source", s.Name)
	log.InfoContext(ctx, "run started")
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- protect(runCtx, ctx.Done(), s.Run) }()

	err, cut := d.wait(ctx, done, cancel)
	elapsed := time.Since(start).Round(time.Millisecond)
	p, panicked := errors.AsType[*panicError](err)
	switch {
	case panicked:
		log.ErrorContext(ctx, "run panicked", "err", p, "stack", string(p.stack), "elapsed", elapsed.String())
	case err != nil && cut:
		log.WarnContext(ctx, "run cancelled", "err", err, "elapsed", elapsed.String())
	case err != nil:
		log.ErrorContext(ctx, "run failed", "err", err, "next", s.next, "elapsed", elapsed.String())
	default:
		log.InfoContext(ctx, "run ended", "next", s.next, "elapsed", elapsed.String())
	}
	if cut {
		return ErrCut
	}
	return nil
}

// wait waits for the run to end, cancelling it when draining takes too long or
// the second signal comes.
func (d *Daemon) wait(ctx context.Context, done <-chan error, cancel func()) (err error, cut bool) {
	select {
	case err = <-done:
		return err, false
	case <-ctx.Done():
	}
	d.log.InfoContext(ctx, "draining", "limit", d.drain)
	limit := time.NewTimer(d.drain)
	defer limit.Stop()
	select {
	case err = <-done:
		return err, false
	case <-limit.C:
	case <-d.cut:
	}
	cancel()
	return <-done, true
}

// panicError is a panic of a run.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func protect(ctx context.Context, stopping <-chan struct{}, run func(context.Context, <-chan struct{}) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	return run(ctx, stopping)
}
