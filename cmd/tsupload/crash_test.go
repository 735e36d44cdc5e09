package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// crashCase is a death at a point, and perhaps a second one during what the
// next start does about it.
type crashCase struct {
	point string
	level level
	again string
}

func (c crashCase) name() string {
	if c.again == "" {
		return c.point + "/" + c.level.name
	}
	return c.point + "+" + c.again + "/" + c.level.name
}

// TestCrashPoints lets the program die at every point of reliability.md, once
// and again while it recovers, and looks at what that leaves.
//
// C12, power loss after the commit of an intention, is in TestPowerCut, C13 in
// TestCrashWhileCreating, C15 and C16 are in TestDiskFull.
func TestCrashPoints(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	var cases []crashCase
	for i, point := range []string{"C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11"} {
		for j, lv := range levels {
			for k, again := range []string{"", point, "C9"} {
				if point == "C9" && again == "C9" {
					again = "C3"
				}
				if !full() && again != "" && (i+j+k)%6 != 0 {
					continue
				}
				cases = append(cases, crashCase{point, lv, again})
			}
		}
	}
	each(t, cases, crashCase.name, func(t *testing.T, c crashCase) { //nolint:thelper // a test
		w := newRig(t, bin, c.level)
		w.grow(11)
		if c.point == "C9" || c.point == "C10" {
			// These come only where something is in doubt already.
			if code, out := w.once("C5"); code != 137 {
				t.Fatalf("exit status %d\n%s", code, out)
			}
			w.check("after C5", false)
		}
		code, out := w.once(c.point)
		// Only L1 settles what C5 left by reading back.
		if code != 137 && (c.point != "C10" || c.level.name == "L1") {
			t.Errorf("the program did not come to %s: exit status %d\n%s", c.point, code, out)
		}
		w.check("after "+c.point, false)
		if c.again != "" {
			w.grow(3)
			w.once(c.again)
			w.check("after "+c.again, false)
		}
		w.finish()
	})
}

// TestCrashWhileCreating is C13: half a ledger is none, and creating it again
// works.
func TestCrashWhileCreating(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L1"))
	if err := os.RemoveAll(w.state()); err != nil {
		t.Fatal(err)
	}
	w.grow(3)
	if code, out := w.exec("C13", "ledger", "create"); code != 137 {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	if code, out := w.once(""); code != exitConfig {
		t.Errorf("exit status %d without a ledger, want %d\n%s", code, exitConfig, out)
	}
	if code, out := w.exec("", "ledger", "create"); code != exitOK {
		t.Errorf("exit status %d, want 0\n%s", code, out)
	}
	w.finish()
}

// TestDiskFull is C15 and C16, by a limit on the size of files that strikes at
// every step: at the plan, at an intention, at an answer. Nothing leaves without
// a durable intention, the fault is named, and with space again all goes on.
func TestDiskFull(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("needs sh and ulimit")
	}
	type limited struct {
		level  level
		blocks int
	}
	var cases []limited
	for lv, step := range map[string]int{"L0": 24, "L1": 72} {
		if full() {
			step = 4
		}
		for blocks := 16; blocks < 560; blocks += step {
			cases = append(cases, limited{levelNamed(t, lv), blocks})
		}
	}
	var faults, stopped atomic.Int64
	each(t, cases, func(c limited) string { return c.level.name + "/" + strconv.Itoa(c.blocks) }, func(t *testing.T, c limited) { //nolint:thelper // a test
		w := newRig(t, bin, c.level)
		w.timeout = 20 * time.Second // no answer stays out here, it only may be slow
		w.grow(21)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := w.command(ctx, "", "run", "--once")
		cmd.Args = append([]string{"sh", "-c", "ulimit -f " + strconv.Itoa(c.blocks) + `; exec "$0" "$@"`}, cmd.Args...)
		sh, err := exec.LookPath("sh")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = sh
		out, _ := cmd.CombinedOutput()
		code := cmd.ProcessState.ExitCode()
		v := w.check("with a full disk", false)
		if code == exitFault {
			faults.Add(1)
			if v.states[timesheet.StateSent] > 0 {
				stopped.Add(1)
			}
			if !strings.Contains(string(out), "the disk is full") {
				t.Errorf("the fault is not named\n%s", out)
			}
		} else if code != exitOK {
			t.Errorf("exit status %d\n%s", code, out)
		}
		w.finish()
	})
	t.Logf("%d runs met the limit, %d of them in the middle of sending", faults.Load(), stopped.Load())
	if faults.Load() == 0 || stopped.Load() == 0 {
		t.Errorf("%d runs met the limit, %d of them in the middle of sending: the steps miss what they are for", faults.Load(), stopped.Load())
	}
}

// TestTogether starts several processes on one ledger: one works, the others
// end with the status for that.
func TestTogether(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L1"))
	w.grow(30)
	w.faults(20 * time.Millisecond)
	w.writeConfig()
	var ends []func() int
	for range 5 {
		var out strings.Builder
		_, end := w.begin(&out, "run", "--once")
		ends = append(ends, end)
	}
	codes := map[int]int{}
	for _, end := range ends {
		codes[end()]++
	}
	if codes[exitOK] == 0 || codes[exitOK]+codes[exitLocked] != 5 || codes[exitLocked] == 0 {
		t.Errorf("got exit statuses %v, want 0 and %d", codes, exitLocked)
	}
	w.check("after five processes", true)
	w.finish()
}

// updates is an installation that replaces what it sent when the row changes.
func updates(t *testing.T, bin, supports string) *rig {
	t.Helper()
	w := newRig(t, bin, level{name: "update", supports: supports, more: "  batch_size: 3\n", settles: true})
	w.ids, w.extra = true, "    on_change: update\n"
	w.grow(7)
	if code, out := w.once(""); code != exitOK {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	return w
}

// edit changes the duration of some rows.
func (w *rig) edit(by timesheet.Seconds, rows ...int) {
	for _, i := range rows {
		w.lines[i].seconds += by
	}
	w.writeExport()
}

// converge runs until the API holds exactly what the export says.
func (w *rig) converge(runs int) {
	w.t.Helper()
	w.faults(0)
	var code int
	var out string
	for range runs {
		code, out = w.once("")
		if code == exitOK && w.differs() == 0 {
			break
		}
	}
	if n := w.differs(); n != 0 || code != exitOK {
		w.t.Errorf("%d rows differ at the API, exit status %d\n%s", n, code, out)
	}
	w.check("after updates", true)
	w.integrity()
}

// differs counts rows of the export that the API holds otherwise, or not.
func (w *rig) differs() int {
	w.t.Helper()
	keys := map[string]timesheet.Packed{}
	for _, e := range w.entries() {
		keys[e.ID] = e.Key
	}
	stored := w.stats().Bodies
	n := 0
	for _, l := range w.lines {
		e := timesheet.Waiting{Person: l.person, Day: l.day, Project: l.project, Seconds: l.seconds, Key: keys[l.id]}
		if stored[w.body(&e)] != 1 {
			n++
		}
	}
	return n
}

// TestUpdates lets replacements go wrong in every way. They are harmless to
// repeat, so all end well; and a row that changes again while its change is in
// doubt, or back, ends as it reads.
func TestUpdates(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	type updateCase struct{ supports, crash, fault, then string }
	var cases []updateCase
	for i, supports := range []string{"batch, update", "batch, read_back, update", "batch, idempotency_key, read_back, update"} {
		for j, crash := range []string{"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"} {
			for k, then := range []string{"", "revert", "again"} {
				if !full() && (i+j+k)%3 != 0 {
					continue
				}
				cases = append(cases, updateCase{supports, crash, "", then})
			}
		}
		for j, fault := range []string{"status=500", "status-after=500", "reset", "reset-after", "html-after", "hang-after", "cut-after", "429=0"} {
			if !full() && (i+j)%3 != 0 {
				continue
			}
			cases = append(cases, updateCase{supports, "", "update-" + fault, ""}, updateCase{supports, "", "update-" + fault, "revert"})
		}
	}
	each(t, cases, func(c updateCase) string {
		return strings.ReplaceAll(c.supports, ", ", "+") + "/" + c.crash + c.fault + c.then
	}, func(t *testing.T, c updateCase) { //nolint:thelper // a test
		w := updates(t, bin, c.supports)
		w.edit(60, 1, 4)
		if c.fault != "" {
			w.faults(0, c.fault)
			if strings.Contains(c.fault, "hang") {
				w.timeout = 300 * time.Millisecond
			}
			w.deadline = 5 * time.Second
		}
		code, out := w.once(c.crash)
		w.deadline = 30 * time.Second
		if c.crash != "" && code != 137 {
			t.Errorf("the program did not come to %s: exit status %d\n%s", c.crash, code, out)
		}
		switch c.then {
		case "revert":
			w.edit(-60, 1, 4)
		case "again":
			w.edit(120, 1)
		}
		w.converge(4)
	})
}

// TestUpdateOfApproved: what is approved can no longer be replaced; a person is
// told, and nothing changes.
func TestUpdateOfApproved(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := updates(t, bin, "batch, read_back, update")
	for _, e := range w.entries() {
		if e.ID != w.lines[2].id {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.sandbox.APIURL()+"/_sandbox/approve/"+e.Remote, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusNoContent {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
	}
	w.edit(60, 2, 3)
	for n := range 3 {
		code, out := w.once("")
		if code != exitPerson || w.differs() != 1 {
			t.Errorf("run %d: exit status %d, %d rows differ, want one\n%s", n, code, w.differs(), out)
		}
	}
	w.integrity()
}
