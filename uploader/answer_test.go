package uploader

import (
	"log/slog"
	"net/http"
	"testing"

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
