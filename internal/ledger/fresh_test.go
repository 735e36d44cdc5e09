package ledger

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// What a fresh record is packed from comes out of it again, up to the largest
// values; larger ones are refused and never cut.
func TestFresh(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(fresh{}); got != 37 {
		t.Errorf("a record has %d bytes, want 37", got)
	}
	const (
		person = 1<<personBits - 1
		parcel = 1<<parcelBits - 1
		pos    = 1<<posBits - 1
	)
	for _, c := range []struct {
		person  uint32
		parcel  int64
		pos     int
		seconds timesheet.Seconds
		start   int
		as      traits
	}{
		{0, 0, 0, 0, -1, 0},
		{1, 2, 3, 4, 5, trusted},
		{person, parcel, pos, 168 * 3600, 86_399, trusted | conflict | renewed | notNew},
		{person, 0, pos, 0, 0, notNew},
		{0, parcel, 0, 1, -1, renewed},
	} {
		var f fresh
		if err := f.put(c.person, c.parcel, c.pos); err != nil {
			t.Fatal(err)
		}
		f.last(c.seconds, c.start)
		f.mark(c.as)
		gotParcel, gotPos := f.at()
		seconds, start := f.times()
		if f.person() != c.person || gotParcel != c.parcel || gotPos != c.pos || seconds != c.seconds || start != c.start {
			t.Errorf("got %d %d %d %d %d, want %+v", f.person(), gotParcel, gotPos, seconds, start, c)
		}
		for _, one := range []traits{trusted, conflict, renewed, notNew} {
			if f.is(one) != (c.as&one != 0) {
				t.Errorf("trait %b of %+v", one, c)
			}
		}
	}
	var f fresh
	for _, err := range []error{f.put(person+1, 0, 0), f.put(0, parcel+1, 0), f.put(0, -1, 0), f.put(0, 0, pos+1)} {
		if !errors.Is(err, errTooMuch) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
}

func TestSortByKey(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 20_000, 50_001} {
		all := make([]fresh, n)
		for i := range all {
			all[i].key = timesheet.Packed{byte(i % 7), byte(i * 31), byte(i >> 3 * 17), byte(i >> 8)}
			if err := all[i].put(1, int64(i/100), i%100); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.SortedFunc(slices.Values(all), byKey)
		if err := sortByKey(all); err != nil || !slices.Equal(all, want) {
			t.Errorf("%d are not in order, %v", n, err)
		}
	}
}
