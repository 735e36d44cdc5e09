package uploader

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// benchParcel is a parcel of n ordinary entries.
func benchParcel(n int) *timesheet.Parcel {
	p := &timesheet.Parcel{Op: timesheet.OpCreate, Keys: make([]timesheet.Packed, n), Entries: make([]timesheet.Entry, n), Gone: make([]bool, n)}
	var h timesheet.Hasher
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Person, e.UserType, e.Project, e.Notes = fmt.Sprintf("u-%04d", i%50), "Contractor", "Zürich roll-out", "Said \"ship it\""
		e.Day, e.Duration, e.ID = timesheet.Date(2026, 11, 1+i%20), timesheet.Seconds(900*(1+i%32)), fmt.Sprintf("TS-%09d", i)
		e.Key = h.IDKey("bench", e.ID)
		p.Keys[i] = e.Key.Packed(e.Day)
	}
	return p
}

func benchClient(b *testing.B, a API) *client {
	b.Helper()
	c, err := newClient(&a, http.DefaultTransport, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func positionsOf(n int) []int {
	positions := make([]int, n)
	for i := range positions {
		positions[i] = i
	}
	return positions
}

// BenchmarkEncode makes the body of a batch of 500; the unit is an entry.
func BenchmarkEncode(b *testing.B) {
	const n = 500
	c, p, positions := benchClient(b, API{URL: "http://127.0.0.1", Batch: true, BatchSize: n}), benchParcel(n), positionsOf(n)
	b.ReportAllocs()
	for b.Loop() {
		c.request(p, positions)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
}

// BenchmarkAnswer reads the usual answer to a batch of 500.
func BenchmarkAnswer(b *testing.B) {
	const n = 500
	c, p := benchClient(b, API{URL: "http://127.0.0.1", Batch: true, BatchSize: n}), benchParcel(n)
	body := []byte(`{"results":[`)
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"index":%d,"status":201,"id":"%d"}`, i, i+1000)
	}
	body = append(body, `]}`...)
	req := &request{parcel: p, positions: positionsOf(n), batch: true}
	b.ReportAllocs()
	for b.Loop() {
		v := verdict{class: Accepted}
		if c.checkItems(&v, req, body); v.class != Accepted {
			b.Fatal(v.detail)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
}

// BenchmarkSingleAnswer reads the usual answer to one entry.
func BenchmarkSingleAnswer(b *testing.B) {
	c := benchClient(b, API{URL: "http://127.0.0.1"})
	req := &request{parcel: benchParcel(1), positions: positionsOf(1)}
	body := []byte(`{"id":1000}`)
	b.ReportAllocs()
	for b.Loop() {
		v := verdict{class: Accepted}
		if c.check(&v, req, &http.Response{StatusCode: http.StatusCreated}, body); v.class != Accepted {
			b.Fatal(v.detail)
		}
	}
}
