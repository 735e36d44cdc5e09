package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type run = func(ctx context.Context, stopping <-chan struct{}) error

func every(tb testing.TB, expr string) Schedule {
	tb.Helper()
	s, err := ParseSchedule(expr, time.UTC)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// record is a run that notes when it started and takes a while.
func record(starts *[]string, name string, takes time.Duration) run {
	return func(ctx context.Context, _ <-chan struct{}) error {
		*starts = append(*starts, name+time.Now().UTC().Format(" 15:04"))
		select {
		case <-time.After(takes):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func build(tb testing.TB, c Config) (*Daemon, *bytes.Buffer) {
	tb.Helper()
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	d, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return d, &log
}

// The clock of a bubble begins at midnight UTC, 2000-01-01.

func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		d, _ := build(t, Config{Sources: []Source{
			{Name: "a", Schedule: every(t, "0 * * * *"), Run: record(&starts, "a", time.Minute)},
			{Name: "b", Schedule: every(t, "30 1 * * *"), Run: record(&starts, "b", time.Minute)},
			{Name: "never", Run: func(context.Context, <-chan struct{}) error { t.Error("ran"); return nil }},
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Join(starts, ", "); got != "a 01:00, b 01:30, a 02:00" {
			t.Errorf("got %s", got)
		}
	})
}

// What falls due during a run waits for its end, and is caught up once.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		d, _ := build(t, Config{Sources: []Source{
			{Name: "slow", Schedule: every(t, "0 * * * *"), Run: record(&starts, "slow", 150*time.Minute)},
			{Name: "b", Schedule: every(t, "0 2 * * *"), Run: record(&starts, "b", time.Minute)},
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		if err := d.Run(ctx); !errors.Is(err, ErrCut) { // no drain limit was given
			t.Errorf("got %v", err)
		}
		// slow misses 02:00 and 03:00 itself, and runs once for both.
		if got := strings.Join(starts, ", "); got != "slow 01:00, b 03:30, slow 03:31" {
			t.Errorf("got %s", got)
		}
	})
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		now := time.Now()
		d, _ := build(t, Config{Sources: []Source{
			{Name: "missed", Schedule: every(t, "0 6 * * *"), LastRun: now.Add(-72 * time.Hour), Run: record(&starts, "missed", 0)},
			{Name: "fresh", Schedule: every(t, "0 6 * * *"), LastRun: now.Add(-time.Hour), Run: record(&starts, "fresh", 0)},
			{Name: "new", Schedule: every(t, "0 6 * * *"), Run: record(&starts, "new", 0)},
			{Name: "future", Schedule: every(t, "@every 1h"), LastRun: now.Add(1000 * time.Hour), Run: record(&starts, "future", 0)},
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if got := strings.Join(starts, ", "); got != "missed 00:00, future 01:00" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFaultyRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts []string
		d, log := build(t, Config{Sources: []Source{
			{Name: "panics", Schedule: every(t, "0 * * * *"), Run: func(context.Context, <-chan struct{}) error { panic("boom") }},
			{Name: "fails", Schedule: every(t, "0 * * * *"), Run: func(context.Context, <-chan struct{}) error { return errors.New("no luck") }},
			{Name: "works", Schedule: every(t, "0 * * * *"), Run: record(&starts, "works", 0)},
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(starts) != 2 || strings.Count(log.String(), "boom") < 2 || strings.Count(log.String(), "no luck") != 2 {
			t.Errorf("got %v\n%s", starts, log)
		}
		if !strings.Contains(log.String(), "daemon_test.go") {
			t.Error("the log of a panic has no stack")
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
				d, _ := build(t, Config{Drain: 30 * time.Second, Cut: cut, Sources: []Source{{
					Name: "a", Schedule: every(t, "0 * * * *"), Run: func(ctx context.Context, stopping <-chan struct{}) error {
						runs++
						<-stopping
						if ctx.Err() != nil {
							t.Error("the first signal cancelled the run")
						}
						select {
						case <-time.After(row.needs):
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					},
				}}})
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
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Sources: []Source{{Name: "a"}}}); !errors.Is(err, ErrNoSchedule) {
		t.Errorf("got %v", err)
	}
}
