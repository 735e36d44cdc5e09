package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/exampleco/tsupload/internal/config"
	scheduler "github.com/exampleco/tsupload/internal/daemon"
)

// runDaemon reads every source when it is due.
func runDaemon(ctx context.Context, a *app, opts runOptions) error {
	s := &service{app: a, opts: opts}
	settings, err := s.start()
	if err != nil {
		return err
	}
	if len(settings.Sources) == 0 {
		return usage("give a source a schedule, or run one pass with `tsupload run --once`", "no source has a schedule")
	}
	log := s.log
	// A daemon that cannot work is told so now, not at the first slot.
	l, err := a.openLedger(ctx, s.cfg, true, log)
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	c := scheduler.Config{Settings: settings, NewID: newRunID, Cut: a.cut, Load: s.reload, Notify: systemdNotify(log), Watchdog: watchdog(log, s.cfg)}
	if a.hangup != nil {
		hangup, stop := a.hangup()
		defer stop()
		c.Hangup = hangup
	}
	running, err := scheduler.New(c)
	if err != nil {
		return err
	}
	page := a.newPage(a.current.Load, nextOf(running), log)
	stopServing, err := a.serve(ctx, s.cfg, running, page, log)
	if err != nil {
		return err
	}
	defer stopServing()
	defer a.watchSilence(ctx)()
	drain, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-a.stopping:
			cancel()
		case <-drain.Done():
		}
	})
	defer waiting.Wait()
	defer cancel()
	err = running.Run(drain)
	s.log.InfoContext(context.WithoutCancel(ctx), "daemon ended")
	return err
}

// nextOf tells the page what the daemon has in mind.
func nextOf(d *scheduler.Daemon) nextRun {
	return func(source string) (next time.Time, running bool) {
		for _, s := range d.Status() {
			if s.Source == source {
				return s.Next, s.Running
			}
		}
		return time.Time{}, false
	}
}

// systemdNotify speaks to systemd, where that has started the program.
func systemdNotify(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Debug("cannot notify the service manager", "err", err)
		}
	}
}

// watchdog is how often systemd wants to hear of progress; 0 where it does not.
func watchdog(log *slog.Logger, cfg *config.Config) time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog's interval cannot be read; it is not fed", "err", err)
		return 0
	}
	longest := cfg.API.Timeout
	for i := range cfg.Sources {
		if h := cfg.Sources[i].HTTP; h != nil {
			longest = max(longest, h.Timeout)
		}
		if e := cfg.Sources[i].Exec; e != nil {
			longest = max(longest, e.Timeout)
		}
	}
	if every > 0 && every < 2*longest {
		log.Warn("one request may take longer than the watchdog waits", "watchdog", every.String(), "request", longest.String(), "hint", "set WatchdogSec to at least "+(2*longest).String())
	}
	return every
}

// service is the daemon's configuration and what is made of it.
type service struct {
	*app
	opts runOptions
	cfg  *config.Config
	log  *slog.Logger
}

// start reads the configuration for the first time.
func (s *service) start() (scheduler.Settings, error) {
	_, settings, err := s.settings(func(*config.Config) error { return nil })
	if err == nil {
		settings.Taken()
	}
	return settings, err
}

// settings reads the configuration and makes of it what the daemon needs, if
// check allows it. Observers are made anew each time.
func (s *service) settings(check func(*config.Config) error) (*config.Config, scheduler.Settings, error) {
	none := scheduler.Settings{}
	cfg, err := s.load()
	if err != nil {
		return nil, none, err
	}
	if cfg.Origin("log.format") == (config.Origin{}) {
		cfg.Log.Format = "json" // nobody sits before a daemon
	}
	if err := check(cfg); err != nil {
		return nil, none, err
	}
	sources, err := chooseSources(cfg, s.opts)
	if err != nil {
		return nil, none, err
	}
	if err := cfg.ForUpload(); err != nil {
		return nil, none, err
	}
	log := s.logger(cfg)
	settings := scheduler.Settings{Drain: cfg.Run.Drain, Close: cfg.Notify.Wait, Jitter: cfg.Run.Jitter, RetryAfter: cfg.Run.RetryAfter, Logger: log}
	watch := s.newNotifier(cfg, log)
	observers := s.newObservers(cfg, watch, log)
	settings.Taken = func() {
		s.cfg, s.log = cfg, log
		s.current.Store(cfg)
		s.notifiers.use(watch)
	}
	for i := range sources {
		if sources[i].Schedule == "" {
			continue
		}
		if _, err := s.newFeed(&sources[i], feedOptions{spool: cfg.State.Dir}, log); err != nil {
			return nil, none, err
		}
		location, err := loadLocation(sources[i].Timezone)
		if err != nil {
			return nil, none, err
		}
		schedule, err := scheduler.ParseSchedule(sources[i].Schedule, location)
		if err != nil {
			return nil, none, err
		}
		t := turns{pass{app: s.app, cfg: cfg, sources: sources[i : i+1], log: log, observers: observers}}
		settings.Sources = append(settings.Sources, scheduler.Source{Name: sources[i].Name, Schedule: schedule, Last: t.last, Begin: t.begin})
	}
	return cfg, settings, nil
}
