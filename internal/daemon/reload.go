package daemon

import (
	"context"
	"slices"

	"github.com/exampleco/tsupload/internal/rescue"
)

// reload reads the settings anew, and keeps them for swap. Load says what is
// wrong with them, and what has changed.
func (d *Daemon) reload(ctx context.Context) {
	d.cfg.Notify("RELOADING=1")
	defer func() { d.cfg.Notify("READY=1\n" + d.statusLine()) }()
	var fresh Settings
	err := rescue.Do(func() (err error) { fresh, err = d.cfg.Load(ctx); return err })
	if err == nil && len(jobsOf(fresh.Sources)) == 0 {
		err = ErrNoSchedule
	}
	if err != nil {
		log := d.log
		if hint := hintOf(err); hint != "" {
			log = log.With("hint", hint)
		}
		log.ErrorContext(ctx, "configuration not reloaded; everything stays as it is", "err", err)
		return
	}
	d.pending = &fresh
}

// swap makes settings effective that were read during a run or just now. A
// source keeps its place in its schedule; one that waits after a failure is
// tried at once, for that may be why the settings were changed.
func (d *Daemon) swap(ctx context.Context) {
	if d.pending == nil || ctx.Err() != nil {
		return
	}
	fresh := *d.pending
	d.pending = nil
	before := d.jobs
	jobs := jobsOf(fresh.Sources)
	now := d.clock()
	d.cfg.Settings = fresh
	if fresh.Taken != nil {
		fresh.Taken()
	}
	if fresh.Logger != nil {
		d.log = fresh.Logger
	}
	for _, j := range jobs {
		i := slices.IndexFunc(before, func(old *job) bool { return old.Name == j.Name })
		if i < 0 {
			d.recall(ctx, j, now)
			continue
		}
		old := before[i]
		j.lastStart, j.lastEnd, j.lastErr, j.failures = old.lastStart, old.lastEnd, old.lastErr, old.failures
		j.slot = old.slot
		retry := old.retry
		if !retry.IsZero() {
			retry = now
		}
		mark := old.mark
		if !old.Schedule.equal(j.Schedule) {
			mark = j.Schedule.markAt(now)
		}
		d.cover(j, mark)
		d.plan(j, retry)
		d.log.InfoContext(ctx, "scheduled", "source", j.Name, "schedule", j.Schedule.String(), "next", j.at())
	}
	d.mu.Lock()
	d.jobs = jobs
	d.mu.Unlock()
	d.cfg.Notify(d.statusLine())
	d.log.InfoContext(ctx, "configuration reloaded", "sources", len(jobs))
}
