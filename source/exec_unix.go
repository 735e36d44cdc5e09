//go:build unix

package source

import (
	"os/exec"
	"syscall"
)

// own gives the program a process group of its own, so that what it has
// started ends together with it.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
