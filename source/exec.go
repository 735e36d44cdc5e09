package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Exec describes an export that a program prints. There is no shell, unless
// the command is one.
type Exec struct {
	// Command is the program and its arguments.
	Command []string
	// Timeout is the longest time that the program may take. Default: one minute.
	Timeout time.Duration
	// Dir is where it runs. Default: where we do.
	Dir string
}

const (
	execGrace  = 2 * time.Second // for a pipe that a grandchild keeps open
	execStderr = 4 << 10         // bytes of standard error that are kept
)

func (s *Source) checkExec(e *Exec) error {
	fill(&e.Timeout, time.Minute)
	if len(e.Command) == 0 || e.Command[0] == "" {
		return s.fault("exec.command names no program", "write [PROGRAM, ARGUMENT, ...]")
	}
	s.cfg.Exec = e
	return nil
}

// openExec spools what the program prints. Only one that ends with status 0 has
// printed everything.
func (r *Reading) openExec(ctx context.Context) error {
	e := r.s.cfg.Exec
	name := filepath.Base(e.Command[0])
	u, err := newSpool(r.s.cfg.SpoolDir, name)
	if err != nil {
		return r.s.place(name, err)
	}
	r.units = append(r.units, u)
	out := &bounded{f: u.f, left: r.s.cfg.Limits.File}
	said := &tail{}
	within, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	cmd := exec.CommandContext(within, e.Command[0], e.Command[1:]...) //nolint:gosec // the operator names the program
	cmd.Dir, cmd.Env = e.Dir, environ()
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = execGrace
	own(cmd)
	began := time.Now()
	err = cmd.Run()
	r.s.log.DebugContext(ctx, "command ended", "file", name, "elapsed", time.Since(began).String(), "err", err)
	const hint = "run it by hand, as the user that tsupload runs as: it has to print the export and exit with 0"
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case out.left < 0:
		err = &Error{Message: fmt.Sprintf("the command printed more than %d bytes", r.s.cfg.Limits.File), HintText: "have it print a shorter time"}
	case within.Err() != nil:
		err = &Error{Message: fmt.Sprintf("the command took longer than %s", e.Timeout) + said.quoted(), HintText: "raise exec.timeout, or have it print a shorter time"}
	case failed:
		err = &Error{Message: "the command ended with " + exit.String() + said.quoted(), HintText: hint}
	case errors.Is(err, exec.ErrWaitDelay):
		err = &Error{Message: "the command ended, but something that it started still holds its output", HintText: "have it wait for what it starts"}
	case err != nil:
		err = &Error{Message: "the command cannot be run", HintText: "name a program on the PATH, or its full path", Err: causeOf(err)}
	}
	if err == nil {
		err = u.seal()
	}
	if err != nil {
		return r.s.place(name, err)
	}
	if !u.ended && u.stamp.size > 0 {
		r.cutNote(u)
	}
	return nil
}

// causeOf is the cause alone, where err names the program again.
func causeOf(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// environ is what the program sees of our environment: not what is meant for
// us, secrets among it.
func environ() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TSUPLOAD_") {
			env = append(env, v)
		}
	}
	return env
}

// bounded writes to a file until it is full; its error ends the program.
type bounded struct {
	f    *os.File
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("too much output")
	}
	return b.f.Write(p)
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if n := len(t.kept); n > execStderr {
		t.kept = append(t.kept[:0], t.kept[n-execStderr:]...)
	}
	return len(p), nil
}

// quoted is the last line that says something, as part of a message.
func (t *tail) quoted() string {
	const most = 300
	lines := strings.FieldsFunc(strings.ToValidUTF8(string(t.kept), "\uFFFD"), func(c rune) bool { return c == '\n' || c == '\r' })
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(strings.Map(func(c rune) rune {
			if unicode.IsGraphic(c) {
				return c
			}
			return ' '
		}, line))
		if line == "" {
			continue
		}
		if c := []rune(line); len(c) > most {
			line = string(c[:most]) + "…"
		}
		return "; it said: " + line
	}
	return ""
}
