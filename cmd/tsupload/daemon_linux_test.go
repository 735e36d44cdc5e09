package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// The disk is full for a while: the daemon says so, stays, and goes on when
// there is room.
func TestDaemonDiskFull(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L2"))
	if err := os.RemoveAll(w.state()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tsupload-test", w.state(), "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("this needs a small file system of its own, and so root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(w.state(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := ledger.Create(t.Context(), w.state(), w.sandbox.APIURL(), 0); err != nil {
		t.Fatal(err)
	}
	w.extra = daily
	w.missed("acme")
	filler := filepath.Join(w.state(), "filler")
	fill := func() {
		t.Helper()
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, size := range []int{16 << 10, 1 << 10} {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
	}
	d := w.daemon()
	d.says(1, `"run failed and is repeated"`, `"exit":7`) // there is no export yet
	fill()
	w.grow(400)
	d.says(2, `"run failed and is repeated"`, `"exit":1`)
	if n := w.stats().Uploads; n != 0 {
		t.Errorf("%d requests without a record", n)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGHUP) // do not wait for the next attempt
	d.says(1, `"run ended"`, `"exit":0`)
	if code := d.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	if v := w.check("after a full disk", true); v.states[timesheet.StateSent] != len(w.lines) {
		t.Errorf("got %v", v.states)
	}
	if !strings.Contains(d.log(), "disk is full") && !strings.Contains(d.log(), "no space left") {
		t.Error("nobody says that the disk is full")
	}
	w.integrity()
}
