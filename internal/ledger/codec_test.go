package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// FuzzCodec packs an entry made of anything and gets it back; and decodes
// anything without a panic.
func FuzzCodec(f *testing.F) {
	f.Add("p1", "Zürich", "week.csv", "t-1", "Contractor", "task", "said \"hi\"", int64(3600), int32(19000), 7, int64(1700000000), 3600, []byte{1, 2})
	f.Add("", "", "f", "", "", "", "", int64(0), int32(-1), 12<<32|3, int64(0), 0, []byte{})
	f.Add("a\x00b", "\xff", "x", "y", "z", "", "\n", int64(-5), int32(1<<30), 1<<30, int64(-1), -43200, []byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, person, project, file, id, userType, task, notes string, seconds int64, day int32, line int, unix int64, offset int, noise []byte) {
		if file == "" {
			file = "-" // a file name is never empty
		}
		line &= 1<<40 - 1
		offset %= 86400
		unix %= 1 << 40
		var zero timesheet.Entry
		e := timesheet.Entry{
			Origin: timesheet.Origin{Source: "s", File: file, Line: line & (1<<32 - 1), Column: line >> 32}, ID: id, Person: person, Project: project, UserType: userType, Task: task, Notes: notes,
			Duration: timesheet.Seconds(seconds), Day: timesheet.Day(day), Start: time.Unix(unix, 0).In(time.FixedZone("", offset)),
		}
		other := e
		other.Origin.File, other.Start, other.End = "other", time.Time{}, e.Start
		var p packer
		want := []timesheet.Entry{e, e, other, e}
		for i := range want {
			p.add(timesheet.Packed{byte(i)}, uint64(i), &want[i])
		}
		keys, got, err := unpack("s", p.records, p.facts, p.rest, p.n)
		if err != nil || len(got) != len(want) {
			t.Fatal(err)
		}
		for i := range want {
			g, w := got[i], want[i]
			if !g.Start.Equal(w.Start) || !g.End.Equal(w.End) || g.Start.IsZero() != w.Start.IsZero() || zoneOf(g.Start) != zoneOf(w.Start) {
				t.Fatalf("got %s, want %s", g.Start, w.Start)
			}
			g.Start, g.End, w.Start, w.End = zero.Start, zero.End, zero.Start, zero.End
			if g != w || keys[i] != (timesheet.Packed{byte(i)}) {
				t.Fatalf("got %+v, want %+v", g, w)
			}
		}
		// Cut anywhere, it is refused.
		for n := range len(p.facts) {
			if _, _, err := unpack("s", p.records, p.facts[:n], p.rest, p.n); err == nil {
				t.Fatalf("facts of %d bytes are taken for %d", n, len(p.facts))
			}
		}
		_, _, _ = unpack("s", p.records, noise, p.rest, p.n)
		_, _, _ = unpack("s", p.records, p.facts, noise, p.n)
	})
}

func zoneOf(t time.Time) int {
	_, offset := t.Zone()
	return offset
}

func TestPositions(t *testing.T) {
	t.Parallel()
	got := getPositions([]byte{0, 2, 0, 0, 7, 255, 0}, 4) // one is beyond the end, one is half
	if want := []bool{true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
