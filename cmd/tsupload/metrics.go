package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/metrics"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// metricsObserver counts runs where somebody wants to know: a listener, or a
// text file.
type metricsObserver struct {
	app *app
	cfg *config.Config
	log *slog.Logger
}

// newMetricsObserver is also called for a configuration that is then refused:
// only a run shows that it is in force.
func (a *app) newMetricsObserver(cfg *config.Config, log *slog.Logger) *metricsObserver {
	if a.metrics == nil && cfg.Metrics.Textfile != "" {
		a.metrics = a.newMetrics(cfg, nil, log)
	}
	return &metricsObserver{app: a, cfg: cfg, log: log}
}

// meter is what counts, and its look at the ledger.
type meter struct {
	*metrics.Metrics
	standing *recent[*metrics.Standing]
}

// newMetrics makes what counts; state is nil where there is no daemon.
func (a *app) newMetrics(cfg *config.Config, state daemonState, log *slog.Logger) *meter {
	c := metrics.Config{Logger: log}
	c.Version, c.Commit, _ = versionInfo()
	for i := range cfg.Sources {
		c.Sources = append(c.Sources, cfg.Sources[i].Name)
	}
	memory := &runMemory{last: map[string]metrics.Run{}, success: map[string]time.Time{}}
	m := &meter{standing: newRecent(standingFor, func(ctx context.Context) (*metrics.Standing, error) { return a.standing(ctx, memory, log) })}
	c.Standing = m.standing.get
	if state != nil {
		c.Clocks = func() []metrics.Clock {
			var clocks []metrics.Clock
			for _, s := range state.Status() {
				clocks = append(clocks, metrics.Clock{Source: s.Source, Next: s.Next, Running: s.Running, Failures: s.Failures})
			}
			return clocks
		}
	}
	m.Metrics = metrics.New(c)
	return m
}

// runStarted notes which configuration is in force.
func (o *metricsObserver) runStarted(context.Context, *observedRun) { o.app.current.Store(o.cfg) }

// runEnded counts the run and writes the text file anew.
func (o *metricsObserver) runEnded(ctx context.Context, r *observedRun) {
	m := o.app.metrics
	if m == nil {
		return
	}
	m.standing.forget() // the run has changed it
	for _, name := range r.sources {
		m.RunEnded(metrics.Run{
			Source: name, Started: r.started, Ended: r.ended, Exit: r.exit, Outcome: metrics.OutcomeOf(r.exit), Entries: met(o.cfg, r.report, name),
		})
	}
	if path := o.cfg.Metrics.Textfile; path != "" {
		if err := m.WriteTextfile(path); err != nil {
			o.log.WarnContext(ctx, "the metrics could not be written", "run_id", r.id, "err", err)
		}
	}
}

// met is what a run met of a source, by what became of it. Nil where the run
// had no report.
func met(cfg *config.Config, r *uploader.Report, name string) map[metrics.Kind]metrics.Tally {
	if r == nil {
		return nil
	}
	sum := map[metrics.Kind]metrics.Tally{}
	add := func(kind metrics.Kind, t uploader.Tally) {
		sum[kind] = metrics.Tally{Entries: sum[kind].Entries + t.Rows, Seconds: sum[kind].Seconds + int64(t.Seconds)}
	}
	for _, s := range r.Sources {
		if s.Name != name {
			continue
		}
		for o, t := range s.Outcomes {
			if kind := kindOf(o.State); kind != "" {
				add(kind, *t)
			}
		}
		add(metrics.KindMissing, uploader.Tally{Rows: s.Missing})
	}
	for id, e := range r.Ends {
		if sourceName(cfg, id) == name {
			add(metrics.KindSent, e.Sent)
			add(metrics.KindRejected, e.Refused)
			add(metrics.KindInDoubt, e.InDoubt)
		}
	}
	return sum
}

func kindOf(s timesheet.State) metrics.Kind {
	switch s {
	case timesheet.StateNew:
		return metrics.KindNew
	case timesheet.StateSent:
		return metrics.KindKnown // what a plan calls sent, an earlier run has sent
	case timesheet.StateRejected:
		return metrics.KindRejected
	case timesheet.StateHeld:
		return metrics.KindHeld
	case timesheet.StateInDoubt, timesheet.StateSending:
		return metrics.KindInDoubt
	case timesheet.StateSkipped:
		return metrics.KindSkipped
	}
	return ""
}

// standingFor is how long a look at the ledger serves all who ask.
const standingFor = 10 * time.Second

// standing reads the ledger beside whoever writes it.
func (a *app) standing(ctx context.Context, memory *runMemory, log *slog.Logger) (*metrics.Standing, error) {
	cfg := a.current.Load()
	l, err := a.openLedger(ctx, cfg, true, log)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	counts, err := l.Counts(ctx)
	if err != nil {
		return nil, err
	}
	unsent, err := l.Unsent(ctx)
	if err != nil {
		return nil, err
	}
	if err := memory.look(ctx, l, cfg); err != nil {
		return nil, err
	}
	var ids []string
	for i := range cfg.Sources {
		ids = append(ids, cfg.Sources[i].ID)
	}
	for _, c := range counts {
		if !slices.Contains(ids, c.Source) {
			ids = append(ids, c.Source)
		}
	}
	s := &metrics.Standing{Bytes: l.Size()}
	for _, id := range ids {
		one := sourceStanding(s, sourceName(cfg, id))
		one.Last, one.LastSuccess = memory.of(one.Name)
		if at := unsent[id]; !at.IsZero() && (one.OldestUnsent.IsZero() || at.Before(one.OldestUnsent)) {
			one.OldestUnsent = at
		}
		for _, c := range counts {
			if c.Source == id {
				t := one.Open[c.State]
				one.Open[c.State] = metrics.Tally{Entries: t.Entries + c.Entries, Seconds: t.Seconds + int64(c.Seconds)}
			}
		}
	}
	return s, nil
}

// sourceStanding finds the source by name or adds it. The id of a source that
// is no longer configured may be the name of another: they are told as one.
func sourceStanding(s *metrics.Standing, name string) *metrics.Source {
	i := slices.IndexFunc(s.Sources, func(has metrics.Source) bool { return has.Name == name })
	if i < 0 {
		i = len(s.Sources)
		s.Sources = append(s.Sources, metrics.Source{Name: name, Open: map[timesheet.State]metrics.Tally{}})
	}
	return &s.Sources[i]
}

// runMemory knows the last run and the last success of every source. The
// ledger is asked for many runs once, and from then on for the newest alone.
type runMemory struct {
	mu      sync.Mutex
	last    map[string]metrics.Run
	success map[string]time.Time
	deep    bool
}

const (
	newestRuns = 200
	manyRuns   = 50_000 // a month of a run a minute
)

func (m *runMemory) of(name string) (last metrics.Run, success time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[name], m.success[name]
}

func (m *runMemory) look(ctx context.Context, l *ledger.Ledger, cfg *config.Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	runs, err := l.LastRuns(ctx, newestRuns)
	if err != nil {
		return err
	}
	m.add(runs)
	all := !slices.ContainsFunc(cfg.Sources, func(s config.Source) bool { return m.success[s.Name].IsZero() })
	if m.deep || all || len(runs) < newestRuns {
		return nil
	}
	if runs, err = l.LastRuns(ctx, manyRuns); err != nil {
		return err
	}
	m.add(runs)
	m.deep = true
	return nil
}

func (m *runMemory) add(runs []ledger.Run) {
	for i := range runs {
		r := &runs[i]
		if r.Ended.IsZero() {
			continue // goes on, or died
		}
		t := totalsOf(r)
		if t.Stop == string(uploader.StopDrained) {
			continue // somebody asked it to end: that is no failure, and no success
		}
		done := r.Exit == exitOK || r.Exit == exitPerson && t.Problem == ""
		for name := range strings.SplitSeq(t.Sources, ",") {
			if r.Ended.After(m.last[name].Ended) {
				m.last[name] = metrics.Run{Source: name, Started: r.Started, Ended: r.Ended, Exit: r.Exit}
			}
			if done && r.Ended.After(m.success[name]) {
				m.success[name] = r.Ended
			}
		}
	}
}
