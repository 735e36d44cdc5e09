package source

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

const benchRows = 200_000

// benchFile writes a plain export: seven columns, the last one quoted now and
// then. It is the same at every call.
func benchFile(tb testing.TB, rows int, id string) string {
	tb.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	projects := []string{"Internal", "Apollo", "StoreZero", "Website"}
	notes := []string{"Wrote the migration plan", `"Said ""ship it"", shipped it"`, "Review", "", "Fixed the cart, part two"}
	notes[4] = `"` + notes[4] + `"`
	var b bytes.Buffer
	b.WriteString(id + ",user_id,user_type,date,project,hours,notes\n")
	for i := range rows {
		day := timesheet.Date(2026, time.January, 1) + timesheet.Day(rnd.IntN(300))
		fmt.Fprintf(&b, "TS-%09d,u-%05d,employee,%s,%s,%d.%02d,%s\n", i, rnd.IntN(3000), day, projects[rnd.IntN(4)],
			rnd.IntN(8), 25*rnd.IntN(3)+25, notes[rnd.IntN(5)])
	}
	path := filepath.Join(tb.TempDir(), "bench.csv")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func benchReading(b *testing.B, id string) *Reading {
	b.Helper()
	s, err := New(Config{Name: "bench", Files: []string{benchFile(b, benchRows, id)}, Location: time.UTC})
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.Open(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	b.SetBytes(r.units[0].stamp.size)
	b.ReportAllocs()
	return r
}

// The measure of the others: encoding/csv alone.
func BenchmarkBareCSV(b *testing.B) {
	r := benchReading(b, "id")
	for b.Loop() {
		cr := csv.NewReader(io.NewSectionReader(r.units[0].f, 0, r.units[0].stamp.size))
		cr.ReuseRecord = true
		for {
			if _, err := cr.Read(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	r := benchReading(b, "id")
	for b.Loop() {
		r.units[0].hashed = false
		if _, err := r.Fingerprint(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSurvey(b *testing.B) {
	r := benchReading(b, "id")
	for b.Loop() {
		if sv, err := r.Survey(context.Background()); err != nil || sv.Rows != benchRows {
			b.Fatal(sv.Rows, err)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	for _, id := range []string{"id", "row"} {
		b.Run(map[string]string{"id": "trusted", "row": "content"}[id], func(b *testing.B) {
			r := benchReading(b, id)
			if _, err := r.Survey(context.Background()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n := 0
				if err := r.Rows(context.Background(), func(row *timesheet.Row) error {
					if row.Entry != nil {
						n++
					}
					return nil
				}); err != nil || n != benchRows {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	var h timesheet.Hasher
	v := timesheet.Values{Person: "u-02535", Date: "2026-07-05", Seconds: 23400, Project: "Internal", Notes: "Wrote the migration plan"}
	b.ReportAllocs()
	for b.Loop() {
		d := h.Digest(&v)
		_ = h.ContentKey("bench", d, 1)
	}
}
