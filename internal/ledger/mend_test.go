package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestMend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Create(t.Context(), dir, "api", 0); err != nil {
		t.Fatal(err)
	}
	row, other, first, second := timesheet.Packed{1}, timesheet.Packed{2}, timesheet.Packed{3}, timesheet.Packed{4, 5}
	for _, became := range []map[timesheet.Packed][]timesheet.Packed{{row: {first}}, {row: {second}, other: {first, second}}} {
		l, err := Open(t.Context(), Options{Dir: dir, API: "api"})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Mend(t.Context(), became); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(t.Context(), Options{Dir: dir, API: "api", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := l.Mended(t.Context())
	want := map[timesheet.Packed][]timesheet.Packed{row: {first, second}, other: {first, second}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if err := l.Mend(t.Context(), want); err == nil {
		t.Error("a ledger that is open for reading was written to")
	}
}
