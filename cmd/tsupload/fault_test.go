package main

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// faultCase is one misbehaviour of the API on some requests.
type faultCase struct {
	fault, on string
	level     level
}

func (c faultCase) name() string {
	on := c.on
	if on == "" {
		on = "@all"
	}
	return strings.NewReplacer("=", "_").Replace(c.fault+on) + "/" + c.level.name
}

// executed tells whether the entries of a struck request are taken all the same.
func (c faultCase) executed() bool {
	return strings.Contains(c.fault, "-after") || strings.HasPrefix(c.fault, "late") || strings.HasPrefix(c.fault, "slow")
}

// TestFaults is the table of faults: whatever the API does, applied or not, the
// same ending: each entry is there at most once, and ledger, report and exit
// status tell the truth. After up to four clean runs nothing waits for a person
// where the API can help against doubt.
func TestFaults(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	var cases []faultCase
	for i, fault := range []string{
		"status=500", "status-after=500", "status=502", "status-after=502", "status=503", "status-after=503", "status-after=408", "status-after=202",
		"429", "429=0", "429=1", "429=99999999999999999999", "reset", "reset-after", "hang", "hang-after", "cut-after", "html", "html-after", "late=30ms", "slow=80ms",
		"max-items=3", "item=422", "item=429", "item=500", "status=422", "status=409", "revoke", "rotate-keys",
	} {
		for j, on := range []string{"@1", "@every=3", "@p=0.3"} {
			for k, lv := range levels {
				if !full() && (i+j+k)%4 != 0 {
					continue
				}
				if strings.HasPrefix(fault, "max-items") && !strings.Contains(lv.supports, "batch") {
					continue
				}
				cases = append(cases, faultCase{fault, on, lv})
			}
		}
	}
	for i, fault := range []string{"status=500", "status-after=500", "reset-after", "html-after", "status=429", "status=401", "status=403", "status=404", "status=302", "status=422", "late=30ms", "item=422", "item=500"} {
		for k, lv := range levels {
			if !full() && (i+k)%2 != 0 {
				continue
			}
			cases = append(cases, faultCase{fault, "", lv})
		}
	}
	each(t, cases, faultCase.name, func(t *testing.T, c faultCase) { //nolint:thelper // a test
		w := newRig(t, bin, c.level)
		switch {
		case strings.HasPrefix(c.fault, "late"):
			w.settle = 400 * time.Millisecond
		case strings.HasPrefix(c.fault, "hang"):
			w.timeout = 300 * time.Millisecond
		}
		w.grow(13)
		w.faults(0, c.fault+c.on)
		if c.on == "" {
			w.deadline = 5 * time.Second // an API that is always busy is asked until then
		}
		code, out := w.once("")
		w.deadline = 30 * time.Second
		v := w.check("with the fault", true)
		if code == exitOK && v.states[timesheet.StateSent] != len(w.lines) {
			t.Errorf("exit status 0 with %v\n%s", v.states, out)
		}
		if v.states[timesheet.StateInDoubt] > 0 && code != exitPerson && code != exitUnreachable && code != exitRefused && code != exitConfig && code != exitFault {
			t.Errorf("%d in doubt, and the exit status is %d\n%s", v.states[timesheet.StateInDoubt], code, out)
		}
		if c.level.name == "L0" && !c.executed() && v.states[timesheet.StateInDoubt] > 0 && strings.HasPrefix(c.fault, "429") {
			t.Errorf("refused for now is not in doubt: %v\n%s", v.states, out)
		}
		if strings.HasPrefix(c.fault, "late") {
			wait(t, 40*time.Millisecond)
		}
		refused := strings.Contains(c.fault, "=422")
		if c.level.name == "L2key" && c.fault == "item=500" {
			// Under the key the same answer comes again: only a person can tell.
			w.level.settles, refused = false, true
		}
		v = w.settled(4)
		if w.level.settles && !refused && v.states[timesheet.StateSent] != len(w.lines) {
			t.Errorf("got %v, want all sent", v.states)
		}
		if refused && v.states[timesheet.StateSent]+v.states[timesheet.StateRejected]+v.states[timesheet.StateInDoubt] != len(w.lines) {
			t.Errorf("got %v, want each sent, refused or in doubt", v.states)
		}
		if strings.HasPrefix(c.fault, "late") {
			wait(t, 40*time.Millisecond)
			w.check("when nothing comes late any more", true)
		}
		w.integrity()
	})
}

// begin starts the program without waiting for its end.
func (w *rig) begin(out *strings.Builder, args ...string) (*exec.Cmd, func() int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), time.Minute)
	cmd := w.command(ctx, "", args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		w.t.Fatal(err)
	}
	return cmd, func() int {
		defer cancel()
		_ = cmd.Wait()
		if ctx.Err() != nil {
			w.t.Errorf("the program did not end\n%s", out.String())
		}
		return cmd.ProcessState.ExitCode()
	}
}

// TestDrain: the first signal lets what is in flight end, and nothing of it is
// in doubt.
func TestDrain(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	each(t, levels, func(l level) string { return l.name }, func(t *testing.T, lv level) { //nolint:thelper // a test
		w := newRig(t, bin, lv)
		w.timeout = 10 * time.Second
		w.grow(60)
		w.faults(60 * time.Millisecond)
		var out strings.Builder
		cmd, end := w.begin(&out, "run", "--once")
		eventually(t, "something is sent", func() bool { return w.stats().Uploads >= 3 })
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := end(); code != 143 {
			t.Errorf("exit status %d, want 143\n%s", code, out.String())
		}
		v := w.check("after SIGTERM", true)
		if v.states[timesheet.StateInDoubt]+v.states[timesheet.StateSending] > 0 || v.states[timesheet.StateSent] == 0 || v.states[timesheet.StateNew] == 0 {
			t.Errorf("got %v, want some sent, some new and none in doubt", v.states)
		}
		w.finish()
		if w.look(true).states[timesheet.StateSent] != len(w.lines) {
			t.Errorf("got %v, want all sent", w.look(true).states)
		}
	})
}

// TestSecondSignal: the second signal ends the run at once; what was in flight
// is in doubt, and recorded.
func TestSecondSignal(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	each(t, levels, func(l level) string { return l.name }, func(t *testing.T, lv level) { //nolint:thelper // a test
		w := newRig(t, bin, lv)
		w.timeout = 20 * time.Second
		w.deadline = 10 * time.Minute
		w.grow(20)
		w.faults(0, "hang-after@3-")
		var out strings.Builder
		cmd, end := w.begin(&out, "run", "--once")
		eventually(t, "a request hangs", func() bool { return w.stats().Uploads >= 4 })
		for range 2 {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			wait(t, 30*time.Millisecond)
		}
		if code := end(); code != 143 {
			t.Errorf("exit status %d, want 143\n%s", code, out.String())
		}
		v := w.check("after two signals", true)
		if v.states[timesheet.StateInDoubt] == 0 || v.states[timesheet.StateSending] > 0 {
			t.Errorf("got %v, want what hung in doubt\n%s", v.states, out.String())
		}
		w.timeout = 400 * time.Millisecond
		w.finish()
	})
}

// TestDrainLimit: one signal, and after run.drain the run ends as if by a second.
func TestDrainLimit(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L2"))
	w.timeout = 5 * time.Minute
	w.deadline, w.drain = 10*time.Minute, 200*time.Millisecond
	w.grow(20)
	w.faults(0, "hang-after@3-")
	var out strings.Builder
	cmd, end := w.begin(&out, "run", "--once")
	eventually(t, "a request hangs", func() bool { return w.stats().Uploads >= 4 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := end(); code != 143 {
		t.Errorf("exit status %d, want 143\n%s", code, out.String())
	}
	if v := w.check("after the drain limit", true); v.states[timesheet.StateInDoubt] == 0 || v.states[timesheet.StateSending] > 0 {
		t.Errorf("got %v, want what hung in doubt\n%s", v.states, out.String())
	}
	w.timeout = 400 * time.Millisecond
	w.finish()
}

// TestDeadline: what could not end in time does not begin.
func TestDeadline(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.deadline = 5 * time.Second
	w.grow(300)
	w.faults(40 * time.Millisecond)
	code, out := w.once("")
	v := w.check("after the deadline", true)
	if code != exitUnreachable || v.states[timesheet.StateInDoubt] > 0 || v.states[timesheet.StateNew] == 0 || v.states[timesheet.StateSent] == 0 {
		t.Errorf("exit status %d, %v\n%s", code, v.states, out)
	}
	w.deadline = 30 * time.Second
	w.finish()
}

// TestRateLimitAtTheEnd: waiting for the rate limit beyond the deadline must not
// forget that the request before was accepted.
func TestRateLimitAtTheEnd(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.timeout, w.deadline, w.rateLine = 400*time.Millisecond, 8*time.Second, "  rate_limit: 0.4\n"
	w.grow(12)
	code, out := w.once("")
	if v := w.check("after the deadline", true); code != exitUnreachable || v.states[timesheet.StateSent] == 0 || v.states[timesheet.StateInDoubt] > 0 {
		t.Errorf("exit status %d, %v\n%s", code, v.states, out)
	}
	w.deadline, w.rateLine = 30*time.Second, ""
	w.finish()
}

// TestBusyAfterDoubt: a request without an answer is repeated under its key, and
// the repetition is put off. That says nothing about the first one: it goes on
// under the same key, and not in another batch under another.
func TestBusyAfterDoubt(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L2key"))
	w.grow(13)
	w.deadline = 5 * time.Second
	w.faults(0, "reset-after@1-3", "429=60@4-")
	code, out := w.once("")
	v := w.check("put off", true)
	if v.states[timesheet.StateInDoubt] == 0 || code != exitUnreachable && code != exitPerson {
		t.Errorf("exit status %d, %v\n%s", code, v.states, out)
	}
	w.deadline = 30 * time.Second
	w.finish()
}
