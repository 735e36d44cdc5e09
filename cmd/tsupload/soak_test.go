//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// footprint is what a process must not take more of with every run.
type footprint struct {
	heap, goroutines, descriptors int
}

func (f footprint) String() string {
	return fmt.Sprintf("%d KiB of heap, %d goroutines, %d descriptors", f.heap>>10, f.goroutines, f.descriptors)
}

func measure() footprint {
	runtime.GC()
	runtime.GC() // finalizers of the first free more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{heap: int(m.HeapAlloc), goroutines: runtime.NumGoroutine(), descriptors: -1}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.descriptors = len(entries)
	}
	return f
}

// repeating is a source's turn whose run is always to be done again.
type repeating struct {
	daemon.Turn
	ended func(daemon.Result)
}

func (r repeating) Run(ctx context.Context, stopping <-chan struct{}, alive func()) daemon.Result {
	result := r.Turn.Run(ctx, stopping, alive)
	r.ended(result)
	result.Again = true
	return result
}

// TestSoak does many short runs in one daemon of this process, with a reload
// between any two, and every tenth with something to send: memory, goroutines
// and descriptors stay as they are. TSUPLOAD_SOAK_RUNS says how many (60).
//
// It measures the process, so it runs beside no other test.
func TestSoak(t *testing.T) {
	runs := setting("TSUPLOAD_SOAK_RUNS", 60)
	w := newRig(t, "", levelNamed(t, "L2"))
	w.extra = daily
	w.grow(5)
	w.missed("acme")
	var log lastLines
	s := w.service(&log)

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	hangup := make(chan os.Signal, 1)
	n := 0
	var early, late []footprint
	ended := func(r daemon.Result) {
		if n++; r.Exit != exitOK {
			t.Errorf("run %d: exit %d, %v", n, r.Exit, r.Err)
		}
		switch {
		case n > runs/4 && n <= runs/2 && n%max(1, runs/20) == 0:
			early = append(early, measure())
		case n > 3*runs/4 && n%max(1, runs/20) == 0:
			late = append(late, measure())
		}
		if n%10 == 0 {
			w.grow(1)
		}
		if n >= runs {
			cancel()
			return
		}
		select {
		case hangup <- syscall.SIGHUP: // which has the run repeated at once
		default:
		}
	}
	wrap := func(settings daemon.Settings, err error) (daemon.Settings, error) {
		for i, source := range settings.Sources {
			settings.Sources[i].Begin = func(ctx context.Context, run string) (daemon.Turn, error) {
				turn, err := source.Begin(ctx, run)
				return repeating{turn, ended}, err
			}
		}
		return settings, err
	}
	settings, err := wrap(s.start())
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(daemon.Config{Settings: settings, Hangup: hangup, Load: func(ctx context.Context) (daemon.Settings, error) { return wrap(s.reload(ctx)) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n != runs {
		t.Fatalf("%d runs, want %d\n%s", n, runs, log.text())
	}
	w.check("after the soak", false)
	if got := byState(w.entries())[timesheet.StateSent]; got < len(w.lines)-1 {
		t.Errorf("%d of %d entries sent", got, len(w.lines))
	}
	// The least of several: what a collection has not reached yet is no leak.
	least := func(list []footprint, of func(footprint) int) int {
		values := make([]int, len(list))
		for i, f := range list {
			values[i] = of(f)
		}
		return slices.Min(values)
	}
	for _, c := range []struct {
		what  string
		of    func(footprint) int
		slack int
	}{
		{"bytes of heap", func(f footprint) int { return f.heap }, 2 << 20},
		{"goroutines", func(f footprint) int { return f.goroutines }, 3},
		{"descriptors", func(f footprint) int { return f.descriptors }, 3},
	} {
		if before, after := least(early, c.of), least(late, c.of); after > before+c.slack {
			t.Errorf("%s: %d, then %d", c.what, before, after)
		}
	}
	t.Logf("%d runs; early %v; late %v", n, early[0], late[len(late)-1])
}

// service is the daemon's configuration in this process.
func (w *rig) service(log io.Writer) *service {
	w.t.Helper()
	w.writeConfig()
	env := map[string]string{"TSUPLOAD_CLIENT_SECRET": w.sandbox.ClientSecret(), "TSUPLOAD_CONFIG": filepath.Join(w.dir, "tsupload.yaml"), "GOGC": "100"}
	return &service{app: &app{
		environment: environment{stdout: log, stderr: log, stdin: strings.NewReader(""), getenv: func(name string) string { return env[name] }},
		stopping:    make(chan struct{}), cut: make(chan struct{}), overrides: map[string]string{}, output: "table",
	}}
}

// told is an observer that notes what it hears.
type told struct{ list []string }

func (o *told) runStarted(context.Context, *observedRun) { o.list = append(o.list, "start") }

func (o *told) runEnded(_ context.Context, r *observedRun) {
	o.list = append(o.list, fmt.Sprintf("end %d %t", r.exit, r.report != nil))
}

// Observers hear of a run that panicked and of one that could not even begin, but
// not of one that waits for another process.
func TestTurnIsObserved(t *testing.T) {
	t.Parallel()
	w := newRig(t, "", levelNamed(t, "L0"))
	w.grow(2)
	s := w.service(&lastLines{})
	if _, err := s.start(); err != nil {
		t.Fatal(err)
	}
	o := &told{}
	turns := turns{pass{app: s.app, cfg: s.cfg, sources: s.cfg.Sources, log: s.log, observers: []observer{o}}}
	slot := daemon.Slot{Name: "2026-11-24T06:00", First: "2026-11-24T06:00", Due: time.Now()}
	first, err := turns.begin(t.Context(), newRunID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := turns.begin(t.Context(), newRunID()); !errors.Is(err, daemon.ErrBusy) || len(o.list) > 0 {
		t.Errorf("got %v, %v", err, o.list)
	}
	if ok, err := first.Claim(t.Context(), slot); err != nil || !ok {
		t.Errorf("got %v, %v", ok, err)
	}
	if r := first.Run(t.Context(), nil, func() {}); r.Exit != exitOK || r.Again || r.Err != nil {
		t.Errorf("got %+v", r)
	}
	if err := errors.Join(first.Done(t.Context(), slot, daemon.Done, 0), first.Close()); err != nil {
		t.Error(err)
	}
	w.grow(1)
	for _, before := range []bool{false, true} { // the uploader
		panics, err := turns.begin(t.Context(), newRunID())
		if err != nil {
			t.Fatal(err)
		}
		if before {
			panics.(*turn).cfg = nil
		}
		if r := panics.Run(t.Context(), nil, func() { panic("while planning") }); r.Exit != exitFault || r.Err == nil {
			t.Errorf("got %+v", r)
		}
		if err := panics.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Rename(filepath.Join(w.state(), "ledger.db"), filepath.Join(w.state(), "away.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := turns.begin(t.Context(), newRunID()); exitCode(err) != exitConfig {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(o.list, ", "); got != "start, end 0 true, start, end 1 true, start, end 1 false, start, end 6 false" {
		t.Errorf("got %s", got)
	}
}

// lastLines keeps the end of a log.
type lastLines struct{ b []byte }

func (l *lastLines) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	l.b = append(l.b[:0], l.b[max(0, len(l.b)-8<<10):]...)
	return len(p), nil
}

func (l *lastLines) text() string { return string(l.b) }
