package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Hook is a program that is run with an event in its environment.
type Hook struct {
	Command []string // program and arguments; there is no shell
	Timeout time.Duration
	On      []string // as of a Webhook
	// Getenv yields what the program gets of our environment: PATH, HOME and
	// LANG, and nothing else, because the rest may hold secrets.
	Getenv func(string) string
}

const (
	maxOutput = 1 << 10         // of a hook, in the log
	hookGrace = 2 * time.Second // for a pipe that a grandchild keeps open
)

// environment is all that the program sees.
func (h *Hook) environment(e *Event) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if v := h.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	add := func(name, value string) { env = append(env, "TSUPLOAD_"+name+"="+value) }
	add("EVENT", string(e.Event))
	add("OF", string(e.Of))
	add("SOURCE", e.Source)
	add("TEXT", strings.ReplaceAll(e.Text, "\x00", ""))
	add("SINCE", e.Since.UTC().Format(time.RFC3339))
	add("REMINDER", strconv.FormatBool(e.Reminder))
	add("RUN_ID", e.Run)
	add("EXIT", strconv.Itoa(e.Exit))
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"READ", int64(e.Read)},
		{"SENT", int64(e.Sent)},
		{"SENT_SECONDS", int64(e.SentSeconds)},
		{"REJECTED", int64(e.Rejected)},
		{"HELD", int64(e.Held)},
		{"IN_DOUBT", int64(e.InDoubt)},
	} {
		add(c.name, strconv.FormatInt(c.n, 10))
	}
	if e.User != "" {
		add("USER", strings.ReplaceAll(e.User, "\x00", ""))
	}
	return env
}

// run runs the program to its end, at most for its timeout.
func (h *Hook) run(ctx context.Context, e *Event, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...) //nolint:gosec // the operator names the program
	cmd.Env = h.environment(e)
	own(cmd)
	cmd.WaitDelay = hookGrace
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if text := strings.TrimSpace(string(out.kept)); text != "" {
		log.InfoContext(ctx, "hook said", "run_id", e.Run, "event", string(e.Event), "source", e.Source, "output", strings.ToValidUTF8(text, "\uFFFD"), "bytes", out.n)
	}
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		// It ended well, and left something behind that still has its output.
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the hook took longer than %s", h.Timeout)
	case err != nil:
		return fmt.Errorf("the hook: %w", err)
	}
	return nil
}

// head keeps the beginning of what is written to it.
type head struct {
	kept []byte
	n    int
}

// Write never fails: a hook that talks a lot is let talk.
func (h *head) Write(b []byte) (int, error) {
	h.n += len(b)
	h.kept = append(h.kept, b[:min(len(b), maxOutput-len(h.kept))]...)
	return len(b), nil
}
