package rescue

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDo(t *testing.T) {
	t.Parallel()
	if err := Do(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	err := Do(func() error { panic("boom") })
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Error() != "panic: boom" || !strings.Contains(string(e.Stack), "TestDo") {
		t.Errorf("got %v", err)
	}
	if again := Do(func() error { panic(err) }); !errors.Is(again, err) {
		t.Errorf("handed on: got %v", again)
	}
}
