package uploader

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// TestTwoResultsForOneEntry: an answer that contradicts itself is no evidence,
// whichever of the two comes last.
func TestTwoResultsForOneEntry(t *testing.T) {
	t.Parallel()
	c, err := newClient(&API{URL: "http://127.0.0.1", Batch: true, BatchSize: 2}, http.DefaultTransport, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	req := &request{parcel: &timesheet.Parcel{Keys: make([]timesheet.Packed, 2), Entries: make([]timesheet.Entry, 2), Gone: make([]bool, 2)}, positions: []int{0, 1}, batch: true}
	for body, want := range map[string]Class{
		`{"results":[{"index":0,"status":201},{"index":1,"status":201}]}`:                          Accepted,
		`{"results":[{"index":0,"status":201},{"index":1,"status":422}]}`:                          PerItem,
		`{"results":[{"index":0,"status":422},{"index":0,"status":201},{"index":1,"status":201}]}`: Unknown,
		`{"results":[{"index":0,"status":201},{"index":0,"status":201},{"index":1,"status":201}]}`: Unknown,
		`{"results":[{"index":2,"status":201}]}`:                                                   Unknown,
	} {
		v := verdict{class: Accepted}
		c.checkItems(&v, req, []byte(body))
		if v.class != want {
			t.Errorf("%s: got %s, want %s", body, v.class, want)
		}
	}
}

// TestReadAnswer: a body comes whole whatever its length is said to be, and one
// that is too large is not read to its end.
func TestReadAnswer(t *testing.T) {
	t.Parallel()
	broken := errors.New("reset")
	for _, c := range []struct {
		body   string
		length int64 // as the headers say
	}{
		{`{"id":7}`, 8},
		{`{"id":7}`, -1},
		{`{"id":7}`, 0},
		{`{"id":7}`, 2},
		{`{"id":7}`, 100},
		{"", 0},
		{strings.Repeat("x", 3*keptAnswer), 3 * keptAnswer},
		{strings.Repeat("x", maxAnswer), maxAnswer},
		{strings.Repeat("x", maxAnswer+1), maxAnswer + 1},
	} {
		for _, one := range []func(io.Reader) io.Reader{iotest.DataErrReader, iotest.HalfReader} {
			body, err := readAnswer(&http.Response{ContentLength: c.length, Body: io.NopCloser(one(strings.NewReader(c.body)))})
			if err != nil || string(body) != c.body {
				t.Errorf("%.20q, said to be %d: got %d bytes, %v", c.body, c.length, len(body), err)
			}
		}
		body, err := readAnswer(&http.Response{ContentLength: c.length, Body: io.NopCloser(io.MultiReader(strings.NewReader(c.body), iotest.ErrReader(broken)))})
		if tooLarge := len(c.body) > maxAnswer; !tooLarge && !errors.Is(err, broken) || len(body) != len(c.body) {
			t.Errorf("%.20q, said to be %d, then broken: got %d bytes, %v", c.body, c.length, len(body), err)
		}
	}
	endless := readerFunc(func(b []byte) (int, error) { return len(b), nil })
	if body, err := readAnswer(&http.Response{ContentLength: -1, Body: io.NopCloser(endless)}); err != nil || len(body) <= maxAnswer || len(body) > 2*maxAnswer {
		t.Errorf("without end: got %d bytes, %v", len(body), err)
	}
}
