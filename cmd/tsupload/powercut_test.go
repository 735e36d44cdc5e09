package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// A kill leaves what the program has written to the kernel's cache, a power cut
// only what it has synced. These tests watch the program with strace, kill it,
// and put its ledger back to what a disk could hold: all that was synced, and
// of the rest any part.

// needTrace skips the test where nobody can look on.
func needTrace(t *testing.T) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "strace", "--seccomp-bpf", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fsync", "timeout", "10s", "true").Run(); err != nil {
		t.Skip("needs strace, and a system that lets it trace: ", err)
	}
}

// traced is cmd under strace, with more of its options.
func traced(t *testing.T, cmd *exec.Cmd, options ...string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(append([]string{path, "--seccomp-bpf", "-f", "-qq", "-e", "signal=none"}, options...), cmd.Args...)
	cmd.Path = path
}

// diskFile is a file and what was done to it.
type diskFile struct {
	base []byte
	ops  []*diskOp
}

// diskOp is one change of a file, on its way to the disk.
type diskOp struct {
	at     int64
	data   []byte // nil: the file is cut to at
	gone   bool   // the file is removed
	done   bool
	synced bool
}

// disk is what is known of the files of a ledger.
type disk map[string]*diskFile

// readDisk is a disk on which all is synced.
func readDisk(t *testing.T, paths ...string) disk {
	t.Helper()
	d := disk{}
	for _, path := range paths {
		base, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		d[path] = &diskFile{base: base}
	}
	return d
}

var (
	traceCall   = regexp.MustCompile(`^(\d+) +(pwrite64|ftruncate|fsync|fdatasync|unlink|unlinkat)\((.*)$`)
	traceResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>.*= (-?\d+)`)
	traceEnd    = regexp.MustCompile(`\) += (-?\d+)[^"]*$`)
	traceArgs   = regexp.MustCompile(`^(?:\d+<([^>]*)>|AT_FDCWD[^,]*)?(?:, )?(?:"([^"]*)")?(?:, )?(\d+)?(?:, (\d+))?`)
)

// unhex reads what strace -xx writes.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// follow takes note of what strace has seen. A sync holds for what was written
// before it began.
func (d disk) follow(t *testing.T, trace io.Reader) {
	t.Helper()
	begun := map[string]func(ok bool){} // what each thread is about
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := traceResume.FindStringSubmatch(line); m != nil {
			if end := begun[m[1]]; end != nil {
				end(!strings.HasPrefix(m[3], "-"))
			}
			delete(begun, m[1])
			continue
		}
		call := traceCall.FindStringSubmatch(line)
		if call == nil {
			continue
		}
		args := traceArgs.FindStringSubmatch(call[3])
		path := string(unhex(t, args[1]))
		if strings.HasPrefix(call[2], "unlink") {
			path = string(unhex(t, args[2]))
		}
		f := d[path]
		if f == nil {
			continue
		}
		end := f.call(t, call[2], args)
		if m := traceEnd.FindStringSubmatch(line); m != nil {
			end(!strings.HasPrefix(m[1], "-"))
		} else {
			begun[call[1]] = end
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// call is the beginning of a system call; what it returns is its end.
func (f *diskFile) call(t *testing.T, name string, args []string) (end func(ok bool)) {
	t.Helper()
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	op := &diskOp{}
	switch name {
	case "pwrite64":
		op.data, op.at = unhex(t, args[2]), number(args[4])
	case "ftruncate":
		op.at = number(args[3])
	case "unlink", "unlinkat":
		op.gone = true
	default: // a sync
		before := f.ops
		return func(ok bool) {
			for _, op := range before {
				op.synced = op.synced || ok && op.done
			}
		}
	}
	f.ops = append(f.ops, op)
	return func(ok bool) { op.done = ok }
}

// cut leaves of each file what a power cut could: what was synced, and of the
// rest, sector by sector, as much as keep says of the file. It tells whether there was a
// rest.
func (d disk) cut(t *testing.T, rnd *rand.Rand, keep func() float64) (some bool) {
	t.Helper()
	for path, f := range d {
		content, there, part := f.base, len(f.base) > 0, keep()
		for _, op := range f.ops {
			some = some || !op.synced
			kept := func() bool { return op.synced || rnd.Float64() < part }
			switch {
			case op.gone:
				if kept() {
					content, there = nil, false
				}
			case op.data == nil:
				if kept() {
					content, there = resized(content, op.at), true
				}
			default:
				const sector = 512
				for from := 0; from < len(op.data); from += sector {
					if !kept() {
						continue
					}
					bytes := op.data[from:min(from+sector, len(op.data))]
					at := op.at + int64(from)
					content, there = resized(content, max(int64(len(content)), at+int64(len(bytes)))), true
					copy(content[at:], bytes)
				}
			}
		}
		err := os.Remove(path)
		if there {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return some
}

// resized is b with n bytes, in memory of its own.
func resized(b []byte, n int64) []byte {
	out := make([]byte, n)
	copy(out, b)
	return out
}

// powerCut runs the program, kills it after a while, and takes from its ledger
// what was not synced, but for a part to keep. It tells whether the program was killed before it ended,
// and whether there was anything to take.
func (w *rig) powerCut(rnd *rand.Rand, after time.Duration, keep func() float64, lies bool) (killed, took bool) {
	w.t.Helper()
	db := filepath.Join(w.state(), "ledger.db")
	d := readDisk(w.t, db, db+"-wal", db+"-journal")
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, "", "run", "--once")
	cmd.Args = append([]string{"timeout", "-s", "KILL", fmt.Sprintf("%.4fs", after.Seconds())}, cmd.Args...)
	trace := filepath.Join(w.dir, "trace")
	options := []string{"-y", "-xx", "-s", "16777216", "-o", trace}
	if lies { // as a disk would that syncs nothing
		options = append(options, "-e", "trace=pwrite64,ftruncate,unlink,unlinkat")
	} else { // each sync takes long, so that many a cut comes before its end
		options = append(options, "-e", "trace=pwrite64,ftruncate,unlink,unlinkat,fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=4000")
	}
	traced(w.t, cmd, options...)
	out, _ := cmd.CombinedOutput()
	// timeout and strace end as what they killed did.
	if code := cmd.ProcessState.ExitCode(); code != -1 && code != 137 || ctx.Err() != nil {
		if ctx.Err() != nil || lies {
			w.t.Fatalf("it was not killed: %v\n%s", cmd.ProcessState, out)
		}
		return false, false
	}
	f, err := os.Open(trace)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	d.follow(w.t, f)
	_ = os.Remove(db + "-shm") // it was memory
	return true, d.cut(w.t, rnd, keep)
}

// TestPowerCut takes the power away at random moments while the API misbehaves:
// what was not synced may be gone, and yet nothing is lost or there twice.
func TestPowerCut(t *testing.T) {
	needTrace(t)
	bin := builtProgram(t)
	t.Parallel()
	cuts := setting("TSUPLOAD_POWER_CUTS", 4)
	var all atomic.Int64
	t.Cleanup(func() {
		if cuts >= 10 && all.Load() == 0 { // a few may all come too early
			t.Error("no power cut came when something was not synced")
		}
	})
	for _, lv := range levels {
		t.Run(lv.name, func(t *testing.T) {
			t.Parallel()
			rnd := chance(t)
			w := newRig(t, bin, lv)
			w.timeout, w.settle = 300*time.Millisecond, 700*time.Millisecond
			n, effective := 0, 0
			for tries := 0; n < cuts && tries < 3*cuts+10; tries++ {
				w.grow(1 + rnd.IntN(8))
				w.faults(0, misbehaviour...)
				keep := func() float64 { return []float64{0, 1, rnd.Float64()}[rnd.IntN(3)] }
				killed, took := w.powerCut(rnd, time.Duration(20+rnd.IntN(230))*time.Millisecond, keep, false)
				if killed {
					n++
				}
				if took {
					effective++
				}
				w.check(fmt.Sprint("after power cut ", n), false)
			}
			all.Add(int64(effective))
			v := w.subside()
			t.Logf("%s: %d power cuts, %d of them could take something; %d entries, %v; twice %d, lost %d", lv.name, n, effective, len(w.lines), v.states, v.twice, v.lost)
		})
	}
}

// TestControlUnsynced: on a disk that syncs nothing, a power cut takes the
// ledger's word of what was sent, and the harness sees that.
func TestControlUnsynced(t *testing.T) {
	needTrace(t)
	bin := builtProgram(t)
	t.Parallel()
	rnd := chance(t)
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.timeout, w.rateLine = 20*time.Second, "  rate_limit: 20\n"
	w.grow(200)
	for range 12 {
		w.powerCut(rnd, time.Second, func() float64 { return 0 }, true)
		v := w.look(false)
		if v.twice > 0 || len(v.faults) > 0 {
			return
		}
	}
	t.Errorf("%d entries are at the API: this harness would not see what a power cut takes", w.stats().Entries)
}

// TestFailingDisk has a write or a sync fail: the n-th of each thread, as strace
// counts. Nothing leaves without a durable intention, the fault is named, and
// when the disk works again all goes on.
func TestFailingDisk(t *testing.T) {
	needTrace(t)
	bin := builtProgram(t)
	t.Parallel()
	type failing struct {
		level level
		what  string
	}
	var cases []failing
	step := 3
	if full() {
		step = 1
	}
	for i, lv := range []string{"L0", "L1", "L2"} {
		for n := 1 + i; n < 20; n += step {
			cases = append(cases, failing{levelNamed(t, lv), "fsync:error=EIO:when=" + strconv.Itoa(n)}, failing{levelNamed(t, lv), "pwrite64:error=EIO:when=" + strconv.Itoa(2*n)})
		}
	}
	var faults, sent atomic.Int64
	each(t, cases, func(c failing) string { return c.level.name + "/" + c.what }, func(t *testing.T, c failing) { //nolint:thelper // a test
		w := newRig(t, bin, c.level)
		w.timeout = 20 * time.Second // no answer stays out here, it only may be slow
		w.grow(21)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := w.command(ctx, "", "run", "--once")
		traced(t, cmd, "-o", os.DevNull, "-e", "trace=fsync,pwrite64", "-e", "inject="+c.what)
		out, _ := cmd.CombinedOutput()
		v := w.check("with a failing disk", false)
		switch code := cmd.ProcessState.ExitCode(); code {
		case exitFault:
			faults.Add(1)
			if v.states[timesheet.StateSent] > 0 {
				sent.Add(1)
			}
			if _, hint, _ := strings.Cut(string(out), "hint: "); !strings.Contains(hint, "the disk ") {
				t.Errorf("the fault is not named\n%s", out)
			}
		case exitOK:
		default:
			t.Errorf("exit status %d\n%s", code, out)
		}
		w.finish()
	})
	t.Logf("%d runs met the fault, %d of them after something was sent", faults.Load(), sent.Load())
	if int(faults.Load()) < len(cases)/4 {
		t.Errorf("of %d runs %d met the fault: the steps miss what they are for", len(cases), faults.Load())
	}
}
