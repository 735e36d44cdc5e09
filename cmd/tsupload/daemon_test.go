//go:build !windows

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// The daemon is run as a process here, against a sandbox in the test's. Its
// sources are due daily; missed makes them due at the start.

const daily = "    schedule: \"0 6 * * *\"\n"

// missed records that sources were run two days ago, so that they have missed a
// slot since.
func (w *rig) missed(sources ...string) {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), ledger.Options{Dir: w.state()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	due := time.Now().UTC().AddDate(0, 0, -2).Truncate(24 * time.Hour).Add(6 * time.Hour)
	for _, source := range sources {
		s := ledger.Slot{Name: due.Format("2006-01-02T15:04"), Due: due}
		s.First = s.Name
		if ok, err := l.ClaimSlot(w.t.Context(), source, s); err != nil || !ok {
			w.t.Fatal(ok, err)
		}
		if err := l.EndSlot(w.t.Context(), source, s.Name, ledger.SlotDone, 0); err != nil {
			w.t.Fatal(err)
		}
	}
}

// slot is the newest slot of a source.
func (w *rig) slot(source string) ledger.Slot {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), ledger.Options{Dir: w.state(), ReadOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	s, err := l.LastSlot(w.t.Context(), source, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// running is a daemon under way.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	out  lockedLog // all that it says
}

func (r *running) log() string { return r.out.String() }

// daemon starts `run`; a run that failed is repeated after a moment.
func (w *rig) daemon(env ...string) *running {
	w.t.Helper()
	return w.crashing("", env...)
}

// crashing is a daemon that dies or panics at a place.
func (w *rig) crashing(crash string, env ...string) *running {
	w.t.Helper()
	r := &running{t: w.t, cmd: w.command(context.WithoutCancel(w.t.Context()), crash, "run"), done: make(chan struct{})}
	r.cmd.Env = append(append(r.cmd.Env, "TSUPLOAD_RUN_RETRY_AFTER=100ms"), env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.done) }()
	w.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.done
		if w.t.Failed() {
			w.t.Log(r.log())
		}
	})
	return r
}

// says waits until the log has a line with all parts, n times.
func (r *running) says(n int, parts ...string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("the daemon says %q", parts), func() bool {
		found := 0
		for line := range strings.Lines(r.log()) {
			has := true
			for _, p := range parts {
				has = has && strings.Contains(line, p)
			}
			if has {
				found++
			}
		}
		return found >= n
	})
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the daemon and returns its exit status; -1 when it was killed.
func (r *running) end(s os.Signal) int {
	r.t.Helper()
	r.signal(s)
	select {
	case <-r.done:
	case <-time.After(time.Minute):
		r.t.Fatalf("the daemon did not end")
	}
	return r.cmd.ProcessState.ExitCode()
}

// namesRuns checks that each line from the start of a run to its end has its id,
// once, and that each run has one of its own.
func (r *running) namesRuns() {
	r.t.Helper()
	id, seen := "", map[string]bool{}
	for line := range strings.Lines(r.log()) {
		found := regexp.MustCompile(`"run_id":"([^"]+)"`).FindAllStringSubmatch(line, -1)
		starts := strings.Contains(line, `"run started"`)
		switch {
		case starts && (len(found) != 1 || seen[found[0][1]]):
			r.t.Errorf("a run without an id of its own: %s", line)
		case starts:
			id = found[0][1]
			seen[id] = true
		case id != "" && (len(found) != 1 || found[0][1] != id):
			r.t.Errorf("not a line of run %s, or not once: %s", id, line)
		}
		if strings.Contains(line, `"run ended"`) || strings.Contains(line, `"run failed`) {
			id = ""
		}
	}
	if len(seen) < 3 {
		r.t.Errorf("got %d runs", len(seen))
	}
}

func (w *rig) export(name string, people ...string) {
	w.t.Helper()
	text := "user_id,date,project,hours\n"
	for _, p := range people {
		text += p + ",2024-05-06,Apollo,8\n"
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func another(name string) string {
	return fmt.Sprintf("  - name: %s\n    timezone: UTC\n%s    csv: {path: %s.csv, settle_file: 0s}\n", name, daily, name)
}

// Three sources, one of them broken: the others are read, it is repeated. The
// configuration is read anew by SIGHUP, all of it or nothing.
func TestDaemonSources(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L1"))
	w.grow(8)
	w.export("third.csv", "x-1", "x-2")
	w.extra = daily + another("broken") + another("third")
	w.missed("acme", "broken", "third", "fourth")
	d := w.daemon()
	d.says(1, `"run ended"`, `"source":"acme"`, `"exit":0`)
	d.says(1, `"run ended"`, `"source":"third"`, `"exit":0`)
	d.says(2, `"run failed and is repeated"`, `"source":"broken"`, `"exit":7`)
	if n := len(w.stats().Bodies); n == 0 || w.stats().Uploads == 0 || byState(w.entries())[timesheet.StateSent] != 10 {
		t.Errorf("got %v", byState(w.entries()))
	}

	d.namesRuns()

	path := filepath.Join(w.dir, "tsupload.yaml")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d.signal(syscall.SIGHUP)
	}
	// Two faults, both told; then what must not change; then no such file.
	write(strings.Replace(strings.Replace(string(good), "concurrency: 3", "concurrency: many", 1), "timezone: UTC", "timezone: Mars/Olympus", 1))
	d.says(1, `"configuration not reloaded`)
	d.says(1, `"fault of the configuration"`, `"key":"api.concurrency"`)
	d.says(1, `"fault of the configuration"`, `"key":"sources[0].timezone"`)
	write(strings.NewReplacer("dir: state}", "dir: elsewhere}", "\n  id: ", "\n  id: other-", `address: ""`, "address: 127.0.0.1:1").Replace(string(good)))
	d.says(2, `"configuration not reloaded`)
	d.says(1, "state.dir may not change while the daemon runs", "api.id may not change while the daemon runs", "listen.address may not change")
	if strings.Contains(d.log(), `"configuration reloaded"`) {
		t.Error("a bad file was taken over")
	}
	// The broken source mended, another one added, and a third gone.
	w.export("broken.csv", "y-1")
	w.export("fourth.csv", "z-1")
	write(strings.Replace(string(good), another("third"), another("fourth"), 1))
	d.says(1, `"configuration read"`, `"changed":"source fourth, source third"`)
	d.says(1, `"configuration reloaded"`, `"sources":3`)
	d.says(1, `"run ended"`, `"source":"broken"`, `"exit":0`)
	d.says(1, `"run ended"`, `"source":"fourth"`, `"exit":0`)
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if got := byState(w.entries()); got[timesheet.StateSent] != 12 || len(got) != 1 {
		t.Errorf("got %v", got)
	}
	// What is done is not done again by the next process.
	d = w.daemon()
	d.says(3, `"scheduled"`)
	if code := d.end(os.Interrupt); code != 0 || strings.Contains(d.log(), `"run started"`) {
		t.Errorf("exit status %d; want no run", code)
	}
}

// SIGTERM while entries are sent: what is in flight ends, nothing is in doubt,
// the status is 0. The next daemon goes on at once.
func TestDaemonTerminated(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	each(t, levels, func(l level) string { return l.name }, func(t *testing.T, lv level) { //nolint:thelper // a test
		w := newRig(t, bin, lv)
		w.timeout = 10 * time.Second
		w.extra = daily
		w.grow(60)
		w.missed("acme")
		w.faults(60 * time.Millisecond)
		d := w.daemon()
		eventually(t, "something is sent", func() bool { return w.stats().Uploads >= 3 })
		if code := d.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		v := w.check("after SIGTERM", true)
		if v.states[timesheet.StateInDoubt]+v.states[timesheet.StateSending] > 0 || v.states[timesheet.StateSent] == 0 || v.states[timesheet.StateNew] == 0 {
			t.Errorf("got %v, want some sent, some new and none in doubt", v.states)
		}
		if s := w.slot("acme"); s.State != ledger.SlotClaimed {
			t.Errorf("the slot is %s", s.State)
		}
		w.faults(0)
		d = w.daemon()
		d.says(1, `"run ended"`, `"exit":0`)
		if code := d.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		if v := w.check("after the next daemon", true); v.states[timesheet.StateSent] != len(w.lines) {
			t.Errorf("got %v, want all sent", v.states)
		}
		if s := w.slot("acme"); s.State != ledger.SlotDone || s.Exit != 0 {
			t.Errorf("the slot is %+v", s)
		}
		w.integrity()
	})
}

// A daemon that is killed while it sends leaves a slot that the next one runs
// again, and that settles what was in flight.
func TestDaemonKilled(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	each(t, levels, func(l level) string { return l.name }, func(t *testing.T, lv level) { //nolint:thelper // a test
		w := newRig(t, bin, lv)
		w.extra = daily
		w.grow(200) // more than is sent before the second kill, on a slow machine too
		w.missed("acme")
		w.faults(40 * time.Millisecond)
		for n := 1; n <= 2; n++ {
			before := w.stats().Uploads
			d := w.daemon()
			eventually(t, "something is sent", func() bool { return w.stats().Uploads >= before+2 })
			if code := d.end(os.Kill); code != -1 {
				t.Errorf("exit status %d", code)
			}
			w.check("after SIGKILL", true)
		}
		w.faults(0)
		d := w.daemon()
		if lv.settles {
			d.says(1, `"run ended"`, `"exit":0`)
		} else {
			d.says(1, `"run ended"`, `"exit":3`) // nobody but a person can tell
		}
		if code := d.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		v := w.check("after the next daemon", true)
		if v.states[timesheet.StateNew]+v.states[timesheet.StateSending] > 0 || lv.settles && v.states[timesheet.StateSent] != len(w.lines) {
			t.Errorf("got %v", v.states)
		}
		w.integrity()
	})
}

// A panic anywhere in a run is reported, with its stack, and survived; another
// source is read. What the run had begun is settled later.
func TestDaemonPanics(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	// In planning, in its transaction, in a lane before and after the request, in
	// the ledger's writer, in the token's fetch.
	each(t, []string{"C0", "C1", "C3", "C5", "C7", "C11"}, func(point string) string { return point }, func(t *testing.T, point string) { //nolint:thelper // a test
		w := newRig(t, bin, levelNamed(t, "L2"))
		w.extra = daily + another("other")
		w.grow(12)
		w.missed("acme", "other")
		d := w.crashing("panic:" + point)
		d.says(1, `"run panicked"`, `"source":"acme"`, "panic: at "+point, "report it", "goroutine ")
		d.says(1, `"source":"other"`, `"elapsed"`, `"next"`)
		if strings.Count(d.log(), `"run started","source":"acme"`) != 1 {
			t.Error("a run that panicked is repeated")
		}
		if code := d.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
		w.check("after a panic", false)
		w.extra = ""
		w.finish()
	})
}

// The API is away for a while: the run is repeated until it is back.
func TestDaemonOutage(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L2"))
	w.extra = daily
	w.grow(10)
	w.missed("acme")
	cfg := sandbox.Config{
		Seed: 11, Addr: strings.TrimPrefix(w.sandbox.APIURL(), "http://"), AuthAddr: strings.TrimPrefix(w.sandbox.Issuer(), "http://"), ClientSecret: w.sandbox.ClientSecret(),
	}
	if err := w.sandbox.Close(); err != nil {
		t.Fatal(err)
	}
	d := w.daemon()
	d.says(3, `"run failed and is repeated"`, `"exit":5`)
	if s := w.slot("acme"); s.State != ledger.SlotFailed && s.State != ledger.SlotClaimed {
		t.Errorf("the slot is %s", s.State)
	}
	back, err := sandbox.Start(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = back.Close() })
	w.sandbox = back
	d.says(1, `"run ended"`, `"exit":0`)
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	if v := w.check("after the outage", true); v.states[timesheet.StateSent] != len(w.lines) {
		t.Errorf("got %v", v.states)
	}
}

// Another process holds the ledger when the slot is due.
func TestDaemonLocked(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.extra = daily
	w.grow(3)
	w.missed("acme")
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: w.state()})
	if err != nil {
		t.Fatal(err)
	}
	d := w.daemon()
	d.says(1, `"another process holds the ledger; the slot waits"`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d.says(1, `"run ended"`, `"exit":0`)
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

// What systemd is told.
func TestDaemonNotify(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.extra = daily
	w.grow(30)
	w.missed("acme")
	w.faults(30 * time.Millisecond)
	dir, err := os.MkdirTemp("", "ts") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			told = append(told, string(b[:n]))
			mu.Unlock()
		}
	})
	t.Cleanup(func() { _ = socket.Close(); reading.Wait() })
	hears := func(n int, begin string) {
		t.Helper()
		eventually(t, "systemd hears "+begin, func() bool {
			mu.Lock()
			defer mu.Unlock()
			count := 0
			for _, s := range told {
				if strings.HasPrefix(s, begin) {
					count++
				}
			}
			return count >= n
		})
	}
	d := w.daemon("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=150000")
	hears(1, "READY=1\nSTATUS=1 source; next run: acme at ")
	hears(1, "STATUS=running acme since ")
	hears(4, "WATCHDOG=1")
	d.says(1, `"run ended"`)
	hears(1, "STATUS=1 source; next run: acme at ")
	hears(8, "WATCHDOG=1")
	d.signal(syscall.SIGHUP)
	hears(1, "RELOADING=1")
	hears(2, "READY=1\n")
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	hears(1, "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000\n")
	d.says(1, "one request may take longer than the watchdog waits")
}

// The state volume goes away under a daemon, and comes back: nothing is made in
// its place, the failure has the status that run --once would have, and the
// runs go on.
func TestDaemonLosesItsLedger(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L1"))
	w.grow(4)
	w.extra = daily + another("broken")
	w.missed("acme", "broken")
	d := w.daemon()
	d.says(1, `"run failed and is repeated"`, `"source":"broken"`, `"exit":7`)
	state, gone := filepath.Join(w.dir, "state"), filepath.Join(w.dir, "gone")
	if err := os.Rename(state, gone); err != nil {
		t.Fatal(err)
	}
	d.says(1, `"run failed and is repeated"`, `"source":"broken"`, `"exit":6`, "there is no ledger")
	if _, err := os.Lstat(state); err == nil {
		t.Error("a state directory was made")
	}
	if err := os.Rename(gone, state); err != nil {
		t.Fatal(err)
	}
	w.export("broken.csv", "y-1")
	d.says(1, `"run ended"`, `"source":"broken"`, `"exit":0`)
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
