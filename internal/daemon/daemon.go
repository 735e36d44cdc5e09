package daemon

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// look is the longest time between two looks at the clock.
	look = 30 * time.Second
	// wrongClock is how far ahead of the clock a slot may be that was run; one
	// further ahead was run under a clock that was wrong.
	wrongClock = 24 * time.Hour
)

// ErrCut is returned by Run when a run had to be cancelled: the drain limit
// had passed, or the second signal came.
var ErrCut = errors.New("the run under way was cancelled before it had drained")

// ErrNoSchedule is returned by New when no source has a schedule.
var ErrNoSchedule = errors.New("no source has a schedule")

// ErrBusy is what Begin returns when another process is running or writing:
// nothing has happened, and the slot is asked for again soon.
var ErrBusy = errors.New("another process holds the ledger")

// Source is something that is run on a schedule.
type Source struct {
	Name     string
	Schedule Schedule
	// Last tells which slot was claimed last, by any process, leaving out those
	// due after until; the zero Last: none ever. Nil: nothing is recorded.
	Last func(ctx context.Context, until time.Time) (Last, error)
	// Begin gives a Turn, which the caller closes; ErrBusy where another process
	// has one. run is the id of its run. An error may have a method Exit, the exit
	// status it stands for.
	Begin func(ctx context.Context, run string) (Turn, error)
}

// Last is the newest slot of a source that was claimed, and how it ended.
type Last struct {
	Slot  Slot
	State State
}

// State is how far the run of a slot has come.
type State int

// States of slots.
const (
	Claimed State = iota // its run goes on, or has died
	Failed               // its run failed, and may go better when repeated
	Done
)

// Turn is the right to run a source. No other process has one at the same time.
type Turn interface {
	// Claim records that the slot is run now. It returns false when the slot
	// is done already, by itself or with later ones; otherwise the claim is
	// durable.
	Claim(ctx context.Context, slot Slot) (bool, error)
	// Run does one run. When stopping is closed it begins nothing new and
	// returns once what is under way has ended; when ctx is cancelled it
	// returns at once. It calls alive, from any goroutine, with every step that
	// it makes.
	Run(ctx context.Context, stopping <-chan struct{}, alive func()) Result
	// Done records how the run of a claimed slot ended.
	Done(ctx context.Context, slot Slot, state State, exit int) error
	Close() error
}

// Result is how a run ended.
type Result struct {
	Exit int
	// Again says that what is left may be done by running again soon.
	Again bool
	// Err is why the run failed; nil where it did not.
	Err error
}

// Settings are what a reload can change.
type Settings struct {
	// Sources without a schedule are never started.
	Sources []Source
	// Drain is how long a run may go on after the first signal, and Close how
	// long the program may then take to end.
	Drain, Close time.Duration
	// Jitter is the most that a run starts after its slot.
	Jitter time.Duration
	// RetryAfter is the wait before a failed run is repeated; it doubles up to
	// half an hour. 0 repeats none.
	RetryAfter time.Duration
	Logger     *slog.Logger
	// Taken is called when a reload makes these settings effective; may be nil.
	Taken func()
}

// Config is what a Daemon is made of.
type Config struct {
	Settings
	// NewID makes the id that a run has in the log; nil: it has none.
	NewID func() string
	// Cut is closed by the second signal; nil: there is none.
	Cut <-chan struct{}
	// Hangup tells that Load is to be called; nil: never.
	Hangup <-chan os.Signal
	// Load reads the settings anew. Where it returns an error, everything stays
	// as it is.
	Load func(ctx context.Context) (Settings, error)
	// Notify tells the service manager, in the words of sd_notify(3); may be nil.
	Notify func(state string)
	// Watchdog is how often the service manager must hear that all is well; 0:
	// it does not watch.
	Watchdog time.Duration
}

// Daemon starts runs on their schedules.
type Daemon struct {
	cfg Config
	log *slog.Logger
	// pending are settings that wait for the end of the run under way; owned by Run.
	pending *Settings

	mu   sync.Mutex
	jobs []*job // the list, and what Status tells of a job

	progress atomic.Int64 // nanoseconds since 1970
	steps    atomic.Uint64
	fed      uint64 // steps that the watchdog was told of; owned by Run
	stops    bool   // the end was announced; owned by Run

	// clock is the wall clock; tests set it, as people do.
	clock func() time.Time
	// look is the longest time between two looks at it.
	look time.Duration
}

// New makes a Daemon. It refuses to be one that would never do anything.
func New(c Config) (*Daemon, error) {
	d := &Daemon{cfg: c, log: c.Logger, clock: wallClock, look: look}
	if d.cfg.NewID == nil {
		d.cfg.NewID = func() string { return "" }
	}
	if d.cfg.Notify == nil {
		d.cfg.Notify = func(string) {}
	}
	if d.jobs = jobsOf(c.Sources); len(d.jobs) == 0 {
		return nil, ErrNoSchedule
	}
	d.alive()
	return d, nil
}

func jobsOf(sources []Source) []*job {
	var jobs []*job
	for _, s := range sources {
		if !s.Schedule.IsZero() {
			jobs = append(jobs, &job{Source: s})
		}
	}
	return jobs
}

// Run starts runs until ctx is cancelled, drains, and returns: nil when the
// last run came to its own end, ErrCut when it had to be cancelled.
func (d *Daemon) Run(ctx context.Context) error {
	now := d.clock()
	for _, j := range d.jobs {
		d.recall(ctx, j, now)
	}
	d.log.InfoContext(ctx, "daemon started", "sources", len(d.jobs))
	d.cfg.Notify("READY=1\n" + d.statusLine())
	for ctx.Err() == nil {
		before := now
		now = d.clock()
		d.alive()
		d.feed()
		if now.Before(before.Add(-time.Minute)) {
			d.setBack(ctx, now)
		}
		j := slices.MinFunc(d.jobs, func(a, b *job) int {
			// Of those due together the one that has waited longest.
			return cmp.Or(a.at().Compare(b.at()), a.lastStart.Compare(b.lastStart))
		})
		if wait := j.at().Sub(now); wait > 0 {
			d.pause(ctx, min(wait, d.feedEvery()))
			continue
		}
		if err := d.one(ctx, j, now); err != nil {
			return err
		}
		d.swap(ctx)
	}
	d.stopping(ctx)
	return nil
}

// wallClock leaves out the monotonic reading, which stands still while a machine
// is suspended.
func wallClock() time.Time { return time.Now().Round(0) }

func (d *Daemon) pause(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.cfg.Hangup:
		d.reload(ctx)
		d.swap(ctx)
	case <-ctx.Done():
	}
}
