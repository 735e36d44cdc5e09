package source

import (
	"errors"
	"io"
	"testing"

	"github.com/exampleco/tsupload/internal/rescue"
)

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom") }

// A panic in one of the goroutines that read reaches the one that waits for them.
func TestDecodeAllPanics(t *testing.T) {
	t.Parallel()
	each := func(*record, string, *frame) error { return nil }
	layout := &table{delim: ',', header: make([]string, fieldCount)}
	for i := range layout.at {
		layout.at[i] = i
	}
	err := decodeAll(panicking{}, layout, &Limits{Line: 1000, Field: 1000}, each)
	if p, ok := errors.AsType[*rescue.Error](err); !ok || p.Value != "boom" || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
