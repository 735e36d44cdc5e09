package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/web"
	"github.com/exampleco/tsupload/tokencache"
)

// daemonState is what the listener asks of the daemon, at any time and from
// any goroutine.
type daemonState interface {
	Status() []daemon.Status
	// Progress is when the loop, or the run under way, last got on.
	Progress() time.Time
}

const (
	// stalledAfter is how long a daemon that lives may seem to do nothing: its
	// loop looks at the clock every 30 seconds.
	stalledAfter = 2 * time.Minute
	// closeLimit is how long answers under way may take at the end.
	closeLimit = 3 * time.Second
	// readyFor and tokenFor are how long a look at the ledger and a reading of
	// the token serve all who ask.
	readyFor = 5 * time.Second
	tokenFor = 10 * time.Second
)

// listenError is an address that cannot be listened on.
type listenError struct{ err error }

func (e *listenError) Error() string { return e.err.Error() }
func (e *listenError) Unwrap() error { return e.err }
func (e *listenError) Hint() string {
	return `another daemon may be running: stop it, or set listen.address to another port, or to "" to do without`
}

// serve starts to count, and opens the daemon's listener where one is
// configured. stop closes it; it has to be called once all runs have ended.
func (a *app) serve(ctx context.Context, cfg *config.Config, state daemonState, page http.Handler, log *slog.Logger) (stop func(), err error) {
	a.current.Store(cfg)
	a.metrics = a.newMetrics(cfg, state, log)
	if cfg.Listen.Address == "" {
		return func() {}, nil
	}
	s, err := web.Listen(ctx, web.ServerConfig{
		Address: cfg.Listen.Address, Guarded: func() bool { return !a.current.Load().Listen.Token.IsZero() }, Token: a.listenToken(), Live: []web.Check{a.live(state, time.Now())}, Ready: a.ready(log),
		Metrics: a.metrics.Handler(), Page: page, Logger: log,
	})
	if err != nil {
		return nil, &listenError{err}
	}
	host, _, _ := net.SplitHostPort(s.Addr())
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() && cfg.Listen.Token.IsZero() && page != nil {
		log.WarnContext(ctx, "the status page cannot be seen: beyond loopback it wants listen.token")
	}
	log.InfoContext(ctx, "listening", "addr", s.Addr())
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		s.Close(ctx)
	}, nil
}

// listenToken reads the token that the configuration in force names.
func (a *app) listenToken() func(ctx context.Context) ([]byte, error) {
	secrets := a.resolver(tokencache.NewKeyring())
	return newRecent(tokenFor, func(ctx context.Context) ([]byte, error) {
		s, err := secrets.Read(ctx, a.current.Load().Listen.Token)
		return s.Reveal(), err
	}).get
}

var errStalled = errors.New("nothing has moved for too long")

// live passes while the daemon's loop turns, or a run is under way that may
// still take its time.
func (a *app) live(state daemonState, started time.Time) web.Check {
	return web.Check{Name: "loop", Probe: func(context.Context) error {
		last := state.Progress()
		if last.Before(started) {
			last = started // it has hardly begun
		}
		if time.Since(last) < stalledAfter {
			return nil
		}
		limits := a.current.Load().Run
		for _, s := range state.Status() {
			if s.Running && time.Since(s.LastStart) < limits.Deadline+limits.Drain+time.Minute {
				return nil
			}
		}
		return errStalled
	}}
}

var errDraining = errors.New("the daemon has been told to stop")

// ready passes while runs can be started.
func (a *app) ready(log *slog.Logger) []web.Check {
	said := "" // once is enough, until it changes; the reader is called by one at a time
	openable := newRecent(readyFor, func(ctx context.Context) (struct{}, error) {
		l, err := a.openLedger(ctx, a.current.Load(), true, log)
		if err == nil {
			err = l.Close()
		}
		if err == nil {
			said = ""
			return struct{}{}, nil
		}
		if said != err.Error() {
			said = err.Error()
			log.WarnContext(ctx, "not ready: the ledger cannot be opened", "err", err)
		}
		return struct{}{}, wordsFor(err)
	})
	return []web.Check{
		// There is no listener without a configuration: this one is for the reader.
		{Name: "config", Probe: func(context.Context) error { return nil }},
		{Name: "ledger", Probe: func(ctx context.Context) error {
			_, err := openable.get(ctx)
			return err
		}},
		{Name: "draining", Probe: func(context.Context) error {
			select {
			case <-a.stopping:
				return errDraining
			default:
				return nil
			}
		}},
	}
}

// wordsFor says what is wrong with a ledger to who may not read the log: no
// path, no API.
func wordsFor(err error) error {
	if broken, ok := errors.AsType[*ledger.Error](err); ok {
		switch broken.Kind {
		case ledger.Missing:
			return errors.New("there is none")
		case ledger.OtherAPI:
			return errors.New("it speaks for another API")
		case ledger.Newer:
			return errors.New("a newer program has written it")
		case ledger.Unsafe:
			return errors.New("others can read it, or it is on a network file system")
		case ledger.Broken, ledger.AlreadyThere, ledger.Locked, ledger.Stolen:
		}
	}
	return errors.New("it cannot be opened")
}
