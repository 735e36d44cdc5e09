package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Source is a source that there is.
type Source struct {
	Name     string
	Location *time.Location
	// Ping is its own check; nil: that of all sources.
	Ping Secret
}

// Config is what a Notifier is made of.
type Config struct {
	Sources  []Source
	Ping     Secret // nil: none
	Webhooks []Webhook
	Hook     *Hook // nil: none
	// Remind is after how long a problem that lasts is told again; 0: never.
	Remind   time.Duration
	Holidays []timesheet.Day
	Rules    []Rule
	// Dir is the state directory, where it is kept what was told.
	Dir string
	// Open opens the record of entries for one look; close ends it.
	Open func(ctx context.Context) (book Book, closeBook func() error, err error)
	// Worse is the exit status that counts of two.
	Worse     func(a, b int) int
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Notifier tells people. Its methods return at once, and may be called from
// several goroutines; the work is done in the background, until Close.
type Notifier struct {
	cfg      Config
	log      *slog.Logger
	poster   *poster
	worse    func(a, b int) int
	holidays calendar
	checks   map[string]*check // by source; the empty name is for those without one of their own
	targets  map[string][]string
	keeper   *keeper
	looks    *line

	ctx    context.Context // of the work; ended by Close
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New makes a Notifier. Close it.
func New(cfg Config) *Notifier {
	n := &Notifier{
		cfg: cfg, log: cfg.Logger, poster: newPoster(cfg.Transport), worse: cfg.Worse, holidays: calendar{}, checks: map[string]*check{}, targets: map[string][]string{},
		keeper: &keeper{dir: cfg.Dir, log: cfg.Logger},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	for _, d := range cfg.Holidays {
		n.holidays[d] = true
	}
	if cfg.Ping != nil {
		n.checks[""] = &check{url: cfg.Ping, line: n.newLine()}
	}
	for _, s := range cfg.Sources {
		if s.Ping != nil {
			n.checks[s.Name] = &check{url: s.Ping, line: n.newLine()}
		}
	}
	for i := range cfg.Webhooks {
		n.targets[webhookName(i)] = cfg.Webhooks[i].On
	}
	if cfg.Hook != nil {
		n.targets["hook"] = cfg.Hook.On
	}
	n.looks = n.newLine()
	return n
}

func webhookName(i int) string { return "webhook " + strconv.Itoa(i+1) }

func (n *Notifier) newLine() *line { return &line{ctx: n.ctx, owner: &n.work, log: n.log} }

// Started tells the checks that a run of these sources begins.
func (n *Notifier) Started(run string, sources []string) {
	done := map[*check]bool{}
	for _, name := range sources {
		if c := n.checkOf(name); c != nil && !done[c] {
			done[c] = true
			n.started(c, run)
		}
	}
}

func (n *Notifier) checkOf(source string) *check {
	if c := n.checks[source]; c != nil && source != "" {
		return c
	}
	return n.checks[""]
}

// Ended tells the checks how a run ended, and everybody what it changed. It
// looks at the silence rules as Check does.
func (n *Notifier) Ended(r Run) {
	byCheck := map[*check][]SourceRun{}
	for _, s := range r.Sources {
		if c := n.checkOf(s.Name); c != nil {
			byCheck[c] = append(byCheck[c], s)
		}
	}
	for c, sources := range byCheck {
		n.ended(c, r.ID, sources)
	}
	n.lookAt(&r, time.Now())
}

// Check looks at what is told without a run: silence, and entries that wait.
// A daemon calls it now and then, so that a deadline is not told only after
// the next run.
func (n *Notifier) Check(now time.Time) { n.lookAt(nil, now) }

func (n *Notifier) lookAt(r *Run, now time.Time) {
	if len(n.targets) == 0 {
		return
	}
	now = now.Round(0).UTC()
	n.looks.add(func(ctx context.Context) { n.look(ctx, r, now) })
}

// Close waits for messages on their way until ctx ends, gives up what is left,
// and returns when nothing of the Notifier runs any more. Whoever has not got
// a message gets it from the next run.
func (n *Notifier) Close(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		n.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.log.WarnContext(ctx, "notifications given up", "err", ctx.Err())
	}
	n.cancel()
	<-done
}

// look finds out what there is to tell and tells it.
func (n *Notifier) look(ctx context.Context, r *Run, now time.Time) {
	l := &look{now: now, exits: map[string]int{}, counts: map[string]Counts{}}
	for _, s := range n.cfg.Sources {
		l.sources = append(l.sources, s.Name)
	}
	n.consult(ctx, l)
	if r != nil {
		l.run = r.ID
		for _, s := range r.Sources {
			c := s.Counts
			if known, ok := l.counts[s.Name]; ok {
				c.Waiting = known.Waiting
			}
			l.exits[s.Name], l.counts[s.Name] = s.Exit, c
			if !s.Aborted {
				l.findings = append(l.findings, failureOf(&s))
			}
		}
	}
	var messages []message
	n.keeper.change(ctx, func(s *state) { messages = s.update(l, n.cfg.Remind, n.targets) })
	if len(messages) > 0 {
		n.deliver(ctx, messages)
	}
}

func failureOf(s *SourceRun) finding {
	f := finding{key: "failure source=" + s.Name, kind: Failure, source: s.Name, on: s.Failed, count: s.Exit, text: sourceName(s.Name) + ": works again"}
	if s.Failed {
		f.text = sourceName(s.Name) + ": the run failed: " + meaning(s.Exit)
	}
	return f
}

// consult finds what the record of entries tells. Where it cannot be read,
// what was told stays as it is.
func (n *Notifier) consult(ctx context.Context, l *look) {
	book, closeBook, err := n.cfg.Open(ctx)
	if err != nil {
		n.log.WarnContext(ctx, "the ledger cannot be read for notifications", "err", err)
		return
	}
	defer func() { _ = closeBook() }()
	waiting, err := book.Waiting(ctx)
	if err != nil {
		n.log.WarnContext(ctx, "the ledger cannot be read for notifications", "err", err)
		return
	}
	for _, s := range n.cfg.Sources {
		w := waiting[s.Name]
		l.counts[s.Name] = Counts{Waiting: w}
		l.findings = append(l.findings,
			waitingFor(s.Name, Rejected, w.Rejected, "refused and need a person"),
			waitingFor(s.Name, Held, w.Held, "held and wait for a person"),
			waitingFor(s.Name, InDoubt, w.InDoubt, "in doubt: nobody knows whether they arrived"))
	}
	ear := listener{book: book, now: l.now, sources: n.cfg.Sources, holidays: n.holidays, read: map[string][]PersonDay{}}
	found, err := ear.listen(ctx, n.cfg.Rules)
	if err != nil {
		n.log.WarnContext(ctx, "the ledger cannot be read for notifications", "err", err)
		return
	}
	l.findings, l.ruled = append(l.findings, found...), true
}

func waitingFor(source string, kind Kind, entries int, what string) finding {
	f := finding{key: fmt.Sprintf("%s source=%s", kind, source), kind: kind, source: source, on: entries > 0, count: entries}
	noun := "entries are"
	if entries == 1 {
		noun = "entry is"
	}
	f.text = fmt.Sprintf("%s: %d %s %s; see `tsupload status`", sourceName(source), entries, noun, what)
	if entries == 0 {
		f.text = fmt.Sprintf("%s: no entries are %s any more", sourceName(source), map[Kind]string{Rejected: "refused", Held: "held", InDoubt: "in doubt"}[kind])
	}
	return f
}

// deliver sends messages to all their targets at once, to each in their order.
// A target that fails is left alone until the next look.
func (n *Notifier) deliver(ctx context.Context, messages []message) {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		done []func(*state)
	)
	for name := range n.targets {
		all.Go(func() {
			for i := range messages {
				m := &messages[i]
				if !slices.Contains(m.to, name) {
					continue
				}
				if err := n.send(ctx, name, &m.event); err != nil {
					n.log.WarnContext(ctx, "notification failed; it is tried again after a later run", "target", name, "run_id", m.event.Run, "event", string(m.event.Event), "source", m.event.Source, "err", err)
					return
				}
				n.log.InfoContext(ctx, "notified", "target", name, "run_id", m.event.Run, "event", string(m.event.Event), "source", m.event.Source)
				mu.Lock()
				done = append(done, func(s *state) { s.delivered(m.key, &m.event, name) })
				mu.Unlock()
			}
		})
	}
	all.Wait()
	// Also when the time is up: what arrived must not be told twice.
	n.keeper.change(context.WithoutCancel(ctx), func(s *state) {
		for _, d := range done {
			d(s)
		}
	})
}

func (n *Notifier) send(ctx context.Context, target string, e *Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if target == "hook" {
		return n.cfg.Hook.run(ctx, e, n.log)
	}
	for i := range n.cfg.Webhooks {
		if webhookName(i) == target {
			return n.cfg.Webhooks[i].send(ctx, n.poster, e)
		}
	}
	return fmt.Errorf("there is no target %s", target)
}
