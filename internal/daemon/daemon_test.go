package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of a bubble begins at midnight UTC, 2000-01-01.

func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		b := newBook(t)
		d, _ := build(t, of(
			b.source("a", every(t, "0 * * * *"), record(&starts, "a", time.Minute)),
			b.source("b", every(t, "30 1 * * *"), record(&starts, "b", time.Minute)),
			b.source("never", Schedule{}, record(&starts, "never", 0)),
		))
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Join(starts, ", "); got != "a 01:00, b 01:30, a 02:00" {
			t.Errorf("got %s", got)
		}
		status := d.Status()
		want := Status{
			Source: "b", Schedule: "30 1 * * *", Next: time.Date(2000, 1, 2, 1, 30, 0, 0, time.UTC),
			LastStart: time.Date(2000, 1, 1, 1, 30, 0, 0, time.UTC), LastEnd: time.Date(2000, 1, 1, 1, 31, 0, 0, time.UTC),
		}
		if len(status) != 2 || !status[1].Next.Equal(want.Next) || !status[1].LastStart.Equal(want.LastStart) || !status[1].LastEnd.Equal(want.LastEnd) || status[1].Failures != 0 {
			t.Errorf("got %+v, want %+v", status, want)
		}
	})
}

// What falls due during a run waits for its end, and is caught up once.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		b := newBook(t)
		d, _ := build(t, of(
			b.source("slow", every(t, "0 * * * *"), record(&starts, "slow", 150*time.Minute)),
			b.source("b", every(t, "0 2 * * *"), record(&starts, "b", time.Minute)),
		))
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		if err := d.Run(ctx); !errors.Is(err, ErrCut) { // no drain limit was given
			t.Errorf("got %v", err)
		}
		// slow misses 02:00 and 03:00 itself, and runs once for both.
		if got := strings.Join(starts, ", "); got != "slow 01:00, b 03:30, slow 03:31" {
			t.Errorf("got %s", got)
		}
		// The run that was cut is not done: the next process does it again.
		if r := b.rows["slow"]; len(r) != 3 || r[2].Name != "2000-01-01T03:00" || r[2].First != "2000-01-01T02:00" || r[2].state != Claimed {
			t.Errorf("got %+v", r)
		}
	})
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		now := time.Now()
		b := newBook(t)
		add := func(name, expr string, ago time.Duration, state State) Source {
			s := every(t, expr)
			b.rows[name] = []row{{s.slotAt(s.markAt(now.Add(-ago))), state, 0}}
			return b.source(name, s, record(&starts, name, 0))
		}
		d, _ := build(t, Config{Settings: Settings{RetryAfter: time.Minute, Sources: []Source{
			add("missed", "0 6 * * *", 72*time.Hour, Done),
			add("fresh", "0 6 * * *", time.Hour, Done),
			b.source("new", every(t, "0 6 * * *"), record(&starts, "new", 0)),
			add("future", "@every 1h", -1000*time.Hour, Done), // a clock that was wrong
			add("died", "0 6 * * *", 18*time.Hour, Claimed),
			add("failed", "0 6 * * *", 18*time.Hour, Failed),
		}}})
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Join(starts, ", "); got != "missed 00:00, died 00:00, failed 00:01, future 01:00" {
			t.Errorf("got %s", got)
		}
		if r := b.rows["missed"]; len(r) != 2 || r[1].First != "1999-12-29T06:00" || r[1].Name != "1999-12-31T06:00" || r[1].state != Done {
			t.Errorf("got %+v", r)
		}
		// Only now is it known since when the new source is scheduled.
		starts = nil
		time.Sleep(12 * time.Hour)
		d, _ = build(t, of(b.source("new", every(t, "0 6 * * *"), record(&starts, "new", 0))))
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := d.Run(ctx); err != nil || len(starts) != 1 {
			t.Errorf("got %v, %v", starts, err)
		}
	})
}

func TestFaultyRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		b := newBook(t)
		fails := func(exit int, again bool) work {
			return func(context.Context, <-chan struct{}, func()) Result {
				return Result{Exit: exit, Again: again, Err: errors.New("no luck")}
			}
		}
		d, log := build(t, of(
			b.source("panics", every(t, "0 * * * *"), func(context.Context, <-chan struct{}, func()) Result { panic("boom") }),
			b.source("fails", every(t, "0 * * * *"), fails(6, false)),
			b.source("works", every(t, "0 * * * *"), record(&starts, "works", 0)),
		))
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(starts) != 2 || strings.Count(log.String(), "panic: boom") != 2 || strings.Count(log.String(), "no luck") != 2 {
			t.Errorf("got %v\n%s", starts, log)
		}
		if !strings.Contains(log.String(), "daemon_test.go") {
			t.Error("the log of a panic has no stack")
		}
		for _, s := range d.Status()[:2] {
			if !s.LastErr || s.Failures != 2 || s.Running {
				t.Errorf("got %+v", s)
			}
		}
		if r := b.rows["panics"]; r[len(r)-1].state != Done || r[len(r)-1].exit != 1 {
			t.Errorf("got %+v", r)
		}
	})
}

// A run that failed is repeated after growing waits, until its next slot comes.
func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts, others []string
		left := 9
		b := newBook(t)
		d, log := build(t, Config{Settings: Settings{RetryAfter: time.Minute, Sources: []Source{
			b.source("a", every(t, "0 1,3 * * *"), func(context.Context, <-chan struct{}, func()) Result {
				starts = append(starts, time.Now().UTC().Format("15:04"))
				if left--; left < 0 {
					return Result{}
				}
				return Result{Exit: 5, Again: true, Err: errors.New("unreachable")}
			}),
			b.source("b", every(t, "*/10 1 * * *"), record(&others, "b", 0)),
		}}})
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		// Waits of 1, 2, 4, 8, 16, 30, 30 minutes; then the slot of 03:00 begins anew.
		if got := strings.Join(starts, " "); got != "01:00 01:01 01:03 01:07 01:15 01:31 02:01 02:31 03:00 03:01" {
			t.Errorf("got %s", got)
		}
		if len(others) != 6 {
			t.Errorf("the other source: %v", others)
		}
		if s := d.Status()[0]; s.LastErr || s.Failures != 0 || s.Next.Hour() != 1 {
			t.Errorf("got %+v", s)
		}
		if r := b.rows["a"]; len(r) != 3 || r[1].state != Failed || r[2].First != "2000-01-01T01:00" || r[2].state != Done {
			t.Errorf("got %+v", r)
		}
		if strings.Count(log.String(), "run failed and is repeated") != 9 {
			t.Errorf("got %s", log)
		}
	})
}

// Another process holds the ledger when a slot is due.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		b := newBook(t)
		b.hold(true)
		d, log := build(t, of(b.source("a", every(t, "0 * * * *"), record(&starts, "a", 0))))
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		time.AfterFunc(65*time.Minute, func() { b.hold(false) })
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Join(starts, ", "); got != "a 01:05, a 02:00" {
			t.Errorf("got %s", got)
		}
		if n := strings.Count(log.String(), "another process holds the ledger; the slot waits"); n < 8 || n > 15 {
			t.Errorf("asked %d times", n)
		}
		if s := d.Status()[0]; s.Failures != 0 || s.LastErr {
			t.Errorf("got %+v", s)
		}
	})
}

func TestJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		book := newBook(t)
		var starts []string
		run := func(length time.Duration) {
			d, _ := build(t, Config{Settings: Settings{Jitter: 20 * time.Minute, Sources: []Source{
				book.source("a", every(t, "0 * * * *"), record(&starts, "a", 0)),
				book.source("b", every(t, "0 * * * *"), record(&starts, "b", 0)),
			}}})
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		}
		run(26 * time.Hour)
		if len(starts) != 50 { // from 01:00 to 25:00
			t.Fatalf("got %d runs", len(starts))
		}
		minutes := map[string]bool{}
		for _, s := range starts {
			minutes[s[len(s)-2:]] = true
			if s[len(s)-2:] >= "20" {
				t.Errorf("too late: %s", s)
			}
		}
		if len(minutes) < 10 {
			t.Errorf("hardly spread: %v", minutes)
		}
		if a, b := spread("a", "x", time.Hour), spread("a", "x", time.Hour); a != b {
			t.Errorf("got %v and %v", a, b)
		}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		needs time.Duration // to drain, after it was asked to
		cut   time.Duration // second signal, after the first; 0: none
		want  error
		took  time.Duration
	}{
		{"idle", -1, 0, nil, 0},
		{"drains", 10 * time.Second, 0, nil, 10 * time.Second},
		{"limit", time.Hour, 0, ErrCut, 30 * time.Second},
		{"second signal", time.Hour, 5 * time.Second, ErrCut, 5 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cut := make(chan struct{})
				ctx, first := context.WithCancel(t.Context())
				defer first()
				runs := 0
				b := newBook(t)
				var told notes
				c := Config{Settings: Settings{Drain: 30 * time.Second, Close: 5 * time.Second}, Cut: cut, Notify: told.add}
				c.Sources = []Source{b.source("a", every(t, "0 * * * *"), func(ctx context.Context, stopping <-chan struct{}, _ func()) Result {
					runs++
					<-stopping
					if ctx.Err() != nil {
						t.Error("the first signal cancelled the run")
					}
					select {
					case <-time.After(row.needs):
						return Result{}
					case <-ctx.Done():
						return Result{Exit: 1, Again: true, Err: ctx.Err()}
					}
				})}
				d, _ := build(t, c)
				done := make(chan error, 1)
				go func() { done <- d.Run(ctx) }()
				if row.needs < 0 {
					time.Sleep(30 * time.Minute)
				} else {
					time.Sleep(90 * time.Minute)
				}
				synctest.Wait()
				start := time.Now()
				first()
				if row.cut > 0 {
					time.Sleep(row.cut)
					close(cut)
				}
				if err := <-done; !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
				if took := time.Since(start); took != row.took {
					t.Errorf("took %v, want %v", took, row.took)
				}
				if want := min(1, int(row.needs)+1); runs > want {
					t.Errorf("got %d runs", runs)
				}
				if got := told.count("STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000\n"); got != 1 {
					t.Errorf("the end was announced %d times: %q", got, told.list)
				}
			})
		})
	}
}

// notes is what the service manager was told.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, state)
}

func (n *notes) count(begin string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, s := range n.list {
		if strings.HasPrefix(s, begin) {
			c++
		}
	}
	return c
}

// The watchdog hears of progress, and of nothing else.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told notes
		b := newBook(t)
		stuck := make(chan struct{})
		d, _ := build(t, Config{
			Notify: told.add, Watchdog: time.Minute,
			Settings: Settings{Sources: []Source{b.source("a", every(t, "0 * * * *"), func(_ context.Context, _ <-chan struct{}, alive func()) Result {
				for range 20 {
					time.Sleep(30 * time.Second)
					alive()
				}
				<-stuck
				return Result{}
			})}},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		fed := func(for_ time.Duration) int {
			before := told.count("WATCHDOG=1")
			time.Sleep(for_)
			synctest.Wait()
			return told.count("WATCHDOG=1") - before
		}
		if n := fed(30*time.Minute + time.Second); n < 60 {
			t.Errorf("idle: told %d times in half an hour", n)
		}
		if n := fed(30 * time.Minute); n < 60 { // 01:00:01
			t.Errorf("idle: told %d times in half an hour", n)
		}
		if n := fed(10 * time.Minute); n < 18 || n > 22 {
			t.Errorf("at work: told %d times in ten minutes", n)
		}
		if n := fed(time.Minute); n > 1 {
			t.Errorf("stuck since a moment: told %d times", n)
		}
		if n := fed(time.Hour); n != 0 {
			t.Errorf("stuck: told %d times", n)
		}
		if since := time.Since(d.Progress()); since < time.Hour {
			t.Errorf("progress %v ago", since)
		}
		close(stuck)
		if n := fed(10 * time.Minute); n < 15 {
			t.Errorf("going on: told %d times", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if told.count("READY=1\nSTATUS=1 source; next run: a at 2000-01-01T01:00:00Z") != 1 || told.count("STATUS=running a since 2000-01-01T01:00:00Z") != 1 {
			t.Errorf("got %q", told.list)
		}
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		var told notes
		b := newBook(t)
		hangup := make(chan os.Signal, 1)
		answers := make(chan Settings, 5)
		settings := func(sources ...Source) Settings { return Settings{Sources: sources, RetryAfter: time.Minute} }
		fail := func(context.Context, <-chan struct{}, func()) Result {
			starts = append(starts, "broken"+time.Now().UTC().Format(" 15:04"))
			return Result{Exit: 7, Again: true, Err: errors.New("no file")}
		}
		d, log := build(t, Config{
			Settings: settings(
				b.source("a", every(t, "0 * * * *"), record(&starts, "old", 20*time.Minute)),
				b.source("gone", every(t, "10 1 * * *"), record(&starts, "gone", 0)),
				b.source("broken", every(t, "50 1 * * *"), fail),
			),
			Hangup: hangup, Notify: told.add,
			Load: func(context.Context) (Settings, error) {
				select {
				case s := <-answers:
					return s, nil
				default:
					return Settings{}, errors.New("line 3: nonsense")
				}
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 140*time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		at := func(clock string) {
			t.Helper()
			to, err := time.Parse("15:04:05", clock)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(time.Date(2000, 1, 1, to.Hour(), to.Minute(), to.Second(), 0, time.UTC)))
			synctest.Wait()
		}
		signal := func() { hangup <- os.Interrupt; synctest.Wait() }

		at("00:30:00") // a bad file changes nothing
		signal()
		if !strings.Contains(log.String(), "line 3: nonsense") || told.count("RELOADING=1") != 1 || told.count("READY=1") != 2 || len(d.Status()) != 3 {
			t.Errorf("a bad file: %q\n%s", told.list, log)
		}
		answers <- settings() // nor does one without a schedule
		signal()
		if !strings.Contains(log.String(), ErrNoSchedule.Error()) {
			t.Errorf("no schedule:\n%s", log)
		}
		at("01:05:00") // under a run: read now, effective after it
		answers <- settings(
			b.source("a", every(t, "0 * * * *"), record(&starts, "new", 0)),
			b.source("broken", every(t, "50 1 * * *"), fail),
		)
		signal()
		if len(d.Status()) != 3 || told.count("RELOADING=1") != 3 {
			t.Error("swapped under a run")
		}
		at("01:21:00")
		if names := d.Status(); len(names) != 2 || !names[0].LastStart.Equal(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)) {
			t.Errorf("got %+v", names)
		}
		at("01:53:10") // repeated at 01:51 and 01:53, then at 01:57; but the mended one at once
		answers <- settings(
			b.source("a", every(t, "0 * * * *"), record(&starts, "new", 0)),
			b.source("broken", every(t, "50 1 * * *"), record(&starts, "mended", 0)),
			b.source("added", every(t, "30 * * * *"), record(&starts, "added", 0)),
		)
		signal()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{"old 01:00", "broken 01:50", "broken 01:51", "broken 01:53", "mended 01:53", "new 02:00"}
		if !slices.Equal(starts, want) {
			t.Errorf("got %v, want %v", starts, want)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(of(Source{Name: "a"})); !errors.Is(err, ErrNoSchedule) {
		t.Errorf("got %v", err)
	}
}
