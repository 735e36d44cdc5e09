package main

import (
	"context"
	"errors"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/uploader"
)

// runDaemon reads every source when it is due.
func runDaemon(ctx context.Context, a *app, opts runOptions) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	sources, err := chooseSources(cfg, opts)
	if err != nil {
		return err
	}
	if err := cfg.ForUpload(); err != nil {
		return err
	}
	if a.logFormat == "" && cfg.Origin("log.format") == (config.Origin{}) {
		a.logFormat = "json" // nobody sits before a daemon
		cfg.Log.Format = "json"
	}
	log := a.logger(cfg)
	observers := a.newObservers(cfg, log)
	d := daemon.Config{Drain: cfg.Run.Drain, Cut: a.cut, Logger: log}
	for i := range sources {
		s := sources[i]
		if s.Schedule == "" {
			continue
		}
		location, err := loadLocation(s.Timezone)
		if err != nil {
			return err
		}
		schedule, err := daemon.ParseSchedule(s.Schedule, location)
		if err != nil {
			return err
		}
		d.Sources = append(d.Sources, daemon.Source{Name: s.Name, Schedule: schedule, Run: func(ctx context.Context, stopping <-chan struct{}) error {
			p := pass{app: a, cfg: cfg, sources: []config.Source{s}, log: log, observers: observers}
			return p.scheduled(ctx, stopping)
		}})
	}
	if len(d.Sources) == 0 {
		return usage("give a source a schedule, or run one pass with `tsupload run --once`", "no source has a schedule")
	}
	// A daemon that cannot work is told so now, not at the first slot.
	l, err := a.openLedger(ctx, cfg, true, log)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	running, err := daemon.New(d)
	if err != nil {
		return err
	}
	drain, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	go func() {
		select {
		case <-a.stopping:
			cancel()
		case <-drain.Done():
		}
	}()
	log.InfoContext(ctx, "daemon started", "sources", len(d.Sources))
	err = running.Run(drain)
	log.InfoContext(context.WithoutCancel(ctx), "daemon ended")
	return err
}

// scheduled is one pass of the daemon: the report goes to the log.
func (p *pass) scheduled(ctx context.Context, stopping <-chan struct{}) error {
	began := time.Now()
	r, waiting, err := p.observed(ctx, stopping)
	if r == nil {
		return err
	}
	s := r.Sources[0]
	if s.Err != nil {
		err = errors.Join(err, s.Err)
	}
	p.log.InfoContext(ctx, "run report", "run_id", p.runID, "source", s.Name, "rows", s.Rows, "sent", r.Sent.Rows, "sent_seconds", int64(r.Sent.Seconds), "refused", r.Refused.Rows,
		"in_doubt", r.InDoubt.Rows, "waiting", len(waiting), "unchanged", s.Unchanged, "exit", p.exit(r, waiting), "elapsed", time.Since(began).Round(time.Millisecond).String())
	if r.Stop != nil && r.Stop.Kind != uploader.StopDrained {
		err = errors.Join(err, r.Stop)
	}
	return err
}
