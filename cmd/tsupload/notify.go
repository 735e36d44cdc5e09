package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/notify"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

// silenceLook is how often a daemon looks at silence between runs.
const silenceLook = 10 * time.Minute

// notifier tells people of runs, as an observer.
type notifier struct {
	app  *app
	ids  map[string]string // of sources, by name
	wait time.Duration     // of notify.wait
	*notify.Notifier
}

// notifiers are those of one invocation: a reload makes another, while the one
// before may still have messages on their way.
type notifiers struct {
	mu    sync.Mutex
	all   []*notifier
	inUse *notifier // of the configuration in force; nil where that has none
	wait  time.Duration
}

// use makes n the one that looks at silence between runs.
func (l *notifiers) use(n *notifier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse = n
	if n != nil {
		l.wait = n.wait
	}
}

// newNotifier makes the notifier that cfg asks for; nil where it asks for none.
func (a *app) newNotifier(cfg *config.Config, log *slog.Logger) *notifier {
	c := &cfg.Notify
	n := &notifier{app: a, ids: map[string]string{}, wait: c.Wait}
	secrets := a.resolver(tokencache.NewKeyring())
	read := func(ref config.SecretRef) notify.Secret {
		if ref.IsZero() {
			return nil
		}
		return func(ctx context.Context) ([]byte, error) {
			s, err := secrets.Read(ctx, ref)
			return s.Reveal(), err
		}
	}
	made := notify.Config{
		Ping: read(c.Ping), Remind: c.Remind, Dir: cfg.State.Dir, Worse: uploader.Worse, Logger: log.With("component", "notify"),
		Open: func(ctx context.Context) (notify.Book, func() error, error) {
			l, err := a.openLedger(ctx, cfg, true, log)
			if err != nil {
				return nil, nil, err
			}
			return &book{l, n.ids}, l.Close, nil
		},
	}
	asked := made.Ping != nil
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		n.ids[s.Name] = s.ID
		made.Sources = append(made.Sources, notify.Source{Name: s.Name, Location: zoneOf(s), Ping: read(s.Ping)})
		asked = asked || !s.Ping.IsZero()
	}
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		made.Webhooks = append(made.Webhooks, notify.Webhook{URL: read(w.URL), Preset: w.Preset, Template: w.Template, On: w.On})
	}
	if c.Hook != nil {
		made.Hook = &notify.Hook{Command: c.Hook.Command, Timeout: c.Hook.Timeout, On: c.Hook.On, Getenv: a.getenv}
	}
	if !asked && len(made.Webhooks) == 0 && made.Hook == nil {
		return nil
	}
	for _, text := range c.Holidays {
		if d, err := timesheet.ParseDay(text); err == nil { // checked when it was loaded
			made.Holidays = append(made.Holidays, d)
		}
	}
	for i := range c.Silence {
		made.Rules = append(made.Rules, ruleOf(&c.Silence[i]))
	}
	transport, err := newTransport("", 4, 10*time.Second)
	if err != nil {
		return nil // only a file of authorities can fail, and there is none
	}
	made.Transport = transport
	n.Notifier = notify.New(made)
	a.notifiers.mu.Lock()
	defer a.notifiers.mu.Unlock()
	a.notifiers.all = append(a.notifiers.all, n)
	return n
}

func ruleOf(s *config.Silence) notify.Rule {
	whole := func(hours float64) timesheet.Seconds { return timesheet.Seconds(math.Round(hours * 3600)) }
	r := notify.Rule{
		Source: s.Source, User: s.User, WorkingDays: s.WorkingDays, Expected: whole(s.ExpectedHours), Below: whole(s.Below), Above: whole(s.Above),
		LastWeek: s.Week == "last", UnchangedFor: s.UnchangedFor,
	}
	if s.ExpectedHours > 0 {
		r.Weekday, r.Clock, _ = config.ParseDeadline(s.Deadline) // checked when it was loaded
	}
	return r
}

// closeNotifiers waits, within the limit of the configuration, for messages on
// their way. The second signal ends the wait.
func (a *app) closeNotifiers(ctx context.Context) {
	a.notifiers.mu.Lock()
	defer a.notifiers.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, a.notifiers.wait)
	defer cancel()
	for _, n := range a.notifiers.all {
		n.Close(ctx)
	}
	a.notifiers.all = nil
}

// watchSilence looks at silence, and at what waits, between the runs of a
// daemon, until stop is called.
func (a *app) watchSilence(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(silenceLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				a.notifiers.mu.Lock()
				if n := a.notifiers.inUse; n != nil {
					n.Check(now)
				}
				a.notifiers.mu.Unlock()
			}
		}
	})
	return func() { cancel(); watching.Wait() }
}

func (n *notifier) runStarted(_ context.Context, r *observedRun) {
	n.app.notifiers.use(n)
	n.Started(r.id, r.sources)
}

func (n *notifier) runEnded(_ context.Context, r *observedRun) {
	run := notify.Run{ID: r.id}
	for _, name := range r.sources {
		run.Sources = append(run.Sources, n.sourceRun(r, name))
	}
	n.Ended(run)
}

// sourceRun is what a run came to for one of its sources.
func (n *notifier) sourceRun(r *observedRun, name string) notify.SourceRun {
	s := notify.SourceRun{Name: name}
	for _, w := range r.waiting {
		if w.Source == n.ids[name] {
			addWaiting(&s.Waiting, w.State, 1)
		}
	}
	if s.Waiting != (notify.Waiting{}) {
		s.Exit = exitPerson
	}
	if r.report != nil {
		if e := r.report.Ends[n.ids[name]]; e != nil {
			s.Sent, s.SentSeconds = e.Sent.Rows, e.Sent.Seconds
		}
		for _, of := range r.report.Sources {
			if of.Name == name {
				s.Read, s.Failed, s.Exit = of.Rows, of.Err != nil, uploader.Worse(s.Exit, of.Exit())
			}
		}
		if stop := r.report.Stop; stop != nil {
			s.Exit, s.Failed = uploader.Worse(s.Exit, stop.Exit()), true
			s.Aborted = stop.Kind == uploader.StopDrained
		}
	}
	if r.err != nil {
		s.Failed = true
	}
	if r.err != nil || len(r.sources) == 1 {
		s.Exit = r.exit
	}
	cut := n.app.signalled() != nil && (errors.Is(r.err, context.Canceled) || s.Aborted)
	// What --expect-hours does not find is for the person who gave it.
	s.Aborted = s.Aborted || cut || r.exit == exitDifferent
	return s
}

// addWaiting counts n of a state, if they need a person.
func addWaiting(w *notify.Waiting, state timesheet.State, n int) {
	switch state {
	case timesheet.StateRejected:
		w.Rejected += n
	case timesheet.StateHeld:
		w.Held += n
	case timesheet.StateInDoubt:
		w.InDoubt += n
	default:
	}
}

// book is the ledger by the names of sources instead of their ids.
type book struct {
	l   *ledger.Ledger
	ids map[string]string
}

func (b *book) Waiting(ctx context.Context) (map[string]notify.Waiting, error) {
	counts, err := b.l.Counts(ctx)
	if err != nil {
		return nil, err
	}
	waiting := map[string]notify.Waiting{}
	for name, id := range b.ids {
		var w notify.Waiting
		for _, c := range counts {
			if c.Source == id {
				addWaiting(&w, c.State, c.Entries)
			}
		}
		waiting[name] = w
	}
	return waiting, nil
}

func (b *book) Hours(ctx context.Context, source string, since timesheet.Day) ([]notify.PersonDay, error) {
	days, err := b.l.Hours(ctx, b.ids[source], since)
	if err != nil {
		return nil, err
	}
	list := make([]notify.PersonDay, len(days))
	for i, d := range days {
		list[i] = notify.PersonDay{Person: d.Person, Day: d.Day, Seconds: d.Seconds}
	}
	return list, nil
}

func (b *book) Changed(ctx context.Context, source string) (time.Time, error) {
	return b.l.Changed(ctx, b.ids[source])
}
