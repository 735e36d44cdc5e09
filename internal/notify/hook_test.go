//go:build unix

package notify

import (
	"log/slog"
	"os"
	"testing"
	"time"
)

// A hook that ends well has done its work, also where something that it has
// started still holds its output; it is not run again for that.
func TestHookLeavesAChild(t *testing.T) {
	t.Parallel()
	h := Hook{Command: []string{"/bin/sh", "-c", "sleep 10 & exit 0"}, Timeout: time.Minute, Getenv: os.Getenv}
	if err := h.run(t.Context(), &Event{Event: Failure}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("got %v, want that it was told", err)
	}
	h.Command[2] = "sleep 10 & exit 3"
	if err := h.run(t.Context(), &Event{Event: Failure}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a hook that fails is told to have failed")
	}
}
