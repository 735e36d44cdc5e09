package source

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unsafe"

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

// What is kept of a row for the length of a read must not keep the row.
func TestNamesAreNoPartsOfRows(t *testing.T) {
	t.Parallel()
	res, err := read(t, Config{Stdin: strings.NewReader("user,date,hours,project,notes\nada,2026-03-02,1,Website,a\nada,2026-03-03,1,Website,b\n")})
	if err != nil || len(res.entries) != 2 {
		t.Fatalf("got %v, %v", res, err)
	}
	one, two := &res.entries[0], &res.entries[1]
	if unsafe.StringData(one.Person) != unsafe.StringData(two.Person) || unsafe.StringData(one.Project) != unsafe.StringData(two.Project) {
		t.Error("each row has names of its own")
	}
}
