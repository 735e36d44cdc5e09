package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Status is how a source stands.
type Status struct {
	Source, Schedule string
	// Next is when it is run next: at its next slot, or before that, when a run
	// that failed is repeated.
	Next time.Time
	// LastStart and LastEnd are those of the last run of this process; zero where
	// there was none.
	LastStart, LastEnd time.Time
	Running            bool
	// LastErr says that the last run failed, Failures how many have in a row.
	LastErr  bool
	Failures int
}

// Status tells how every source with a schedule stands, in the order of the
// settings. It may be called at any time, from any goroutine.
func (d *Daemon) Status() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Status, len(d.jobs))
	for i, j := range d.jobs {
		list[i] = Status{
			Source: j.Name, Schedule: j.Schedule.String(), Next: j.next, LastStart: j.lastStart, LastEnd: j.lastEnd,
			Running: j.running, LastErr: j.lastErr, Failures: j.failures,
		}
	}
	return list
}

// Progress is when the loop, or the run under way, last made a step. It may be
// called at any time, from any goroutine.
func (d *Daemon) Progress() time.Time { return time.Unix(0, d.progress.Load()) }

func (d *Daemon) alive() {
	d.progress.Store(time.Now().UnixNano())
	d.steps.Add(1)
}

func (d *Daemon) started(j *job, at time.Time) {
	d.alive()
	d.mu.Lock()
	j.running, j.began, j.lastStart = true, j.lastStart, at
	d.mu.Unlock()
	d.cfg.Notify("STATUS=running " + j.Name + " since " + at.Format(time.RFC3339))
}

func (d *Daemon) ended(j *job, out *outcome) {
	d.alive()
	d.mu.Lock()
	defer d.mu.Unlock()
	j.running = false
	if out.busy || out.skipped {
		j.lastStart = j.began // it has not been a run
		return
	}
	j.lastEnd, j.lastErr = d.clock(), out.Err != nil
	if j.failures++; out.Err == nil {
		j.failures = 0
	}
}

// statusLine is what systemctl status shows.
func (d *Daemon) statusLine() string {
	next := slices.MinFunc(d.jobs, func(a, b *job) int { return a.at().Compare(b.at()) })
	noun := "sources"
	if len(d.jobs) == 1 {
		noun = "source"
	}
	return fmt.Sprintf("STATUS=%d %s; next run: %s at %s", len(d.jobs), noun, next.Name, next.at().Format(time.RFC3339))
}

// feedEvery is how often the loop looks whether there is progress to tell of.
func (d *Daemon) feedEvery() time.Duration {
	if d.cfg.Watchdog <= 0 {
		return d.look
	}
	return max(min(d.look, d.cfg.Watchdog/3), time.Millisecond)
}

// feed tells the service manager's watchdog that all is well, if there was
// progress since it was last told: one who is stuck is not to be kept alive.
func (d *Daemon) feed() {
	// Not by the clock, which may be set back.
	if steps := d.steps.Load(); d.cfg.Watchdog > 0 && steps != d.fed {
		d.fed = steps
		d.cfg.Notify("WATCHDOG=1")
	}
}

// margin is what ending takes besides the limits.
const margin = 15 * time.Second

// stopping tells that the daemon ends, and how long that may take.
func (d *Daemon) stopping(ctx context.Context) {
	if d.stops {
		return
	}
	d.stops = true
	d.log.InfoContext(ctx, "draining", "limit", d.cfg.Drain.String())
	d.cfg.Notify(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=ending what is under way", (d.cfg.Drain + d.cfg.Close + margin).Microseconds()))
}
