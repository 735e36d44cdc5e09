package main

import (
	"context"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// observer is told of every run, those of run --once and of the daemon alike,
// but not of dry runs and rehearsals. What goes wrong in it is its own affair:
// it logs, and changes neither the run nor its exit status.
type observer interface {
	runStarted(ctx context.Context, r *observedRun)
	runEnded(ctx context.Context, r *observedRun)
}

// observedRun is one run as observers see it. What follows sources is set when
// the run has ended.
type observedRun struct {
	id      string
	started time.Time
	sources []string // their names

	ended   time.Time
	report  *uploader.Report // nil where the run failed before it had one
	waiting []*timesheet.Waiting
	exit    int
	err     error
}

// observed does one run and tells the observers.
func (p *pass) observed(ctx context.Context, stopping <-chan struct{}) (*uploader.Report, []*timesheet.Waiting, error) {
	if p.runID == "" { // the daemon has named its runs
		p.runID = newRunID()
	}
	if p.opts.dryRun || p.opts.sandbox {
		return p.run(ctx, stopping)
	}
	r := &observedRun{id: p.runID, started: time.Now(), sources: make([]string, len(p.sources))}
	for i := range p.sources {
		r.sources[i] = p.sources[i].Name
	}
	for _, o := range p.observers {
		o.runStarted(ctx, r)
	}
	// Whoever was told of the start hears of the end.
	r.err = rescue.Do(func() (err error) { r.report, r.waiting, err = p.run(ctx, stopping); return err })
	r.ended = time.Now()
	if r.err != nil {
		r.exit = exitCode(r.err)
	} else {
		r.exit = p.exit(r.report, r.waiting)
	}
	for _, o := range p.observers {
		// Also after a signal: somebody waits for the end of what was started.
		o.runEnded(context.WithoutCancel(ctx), r)
	}
	return r.report, r.waiting, r.err
}
