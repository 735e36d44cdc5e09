package uploader

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestRoundedDay(t *testing.T) {
	t.Parallel()
	const m, h = 60, 3600
	for _, c := range []struct {
		r       Rounding
		s, want timesheet.Seconds
	}{
		{Rounding{}, 7*h + 52*m + 1, 7*h + 52*m + 1},
		{Rounding{Unit: 15 * m}, 7*h + 52*m, 7*h + 45*m},
		{Rounding{Unit: 15 * m}, 7*h + 52*m + 29, 7*h + 45*m},
		{Rounding{Unit: 15 * m}, 7*h + 52*m + 30, 8 * h},
		{Rounding{Unit: 15 * m}, 7 * m, 0},
		{Rounding{Unit: 15 * m, Up: true}, 1, 15 * m},
		{Rounding{Unit: 15 * m, Up: true}, 8 * h, 8 * h},
		{Rounding{Unit: 6 * m, Up: true}, 8*h + 1, 8*h + 6*m},
		{Rounding{Unit: 1 * m}, 90, 2 * m},
	} {
		if got := c.r.day(c.s); got != c.want {
			t.Errorf("%+v of %s: got %s, want %s", c.r, c.s.Clock(), got.Clock(), c.want.Clock())
		}
	}
}

// TestShare: lines of a day come in steps of the unit where there is enough for
// each, and in finer ones where there is not.
func TestShare(t *testing.T) {
	t.Parallel()
	const m, h = 60, 3600
	for _, c := range []struct {
		unit, whole timesheet.Seconds
		parts, want []timesheet.Seconds
	}{
		{15 * m, 8 * h, []timesheet.Seconds{6 * h, h + 52*m}, []timesheet.Seconds{6 * h, 2 * h}},
		{15 * m, 8 * h, []timesheet.Seconds{7*h + 7*m, h}, []timesheet.Seconds{7 * h, h}},
		{15 * m, 15 * m, []timesheet.Seconds{5 * m, 5 * m, 6 * m}, []timesheet.Seconds{288, 288, 324}},
		{15 * m, 0, []timesheet.Seconds{5 * m}, []timesheet.Seconds{0}},
		{5 * m, 5 * m, []timesheet.Seconds{2 * m, 2 * m}, []timesheet.Seconds{3 * m, 2 * m}},
		{15 * m, 53 * m, []timesheet.Seconds{50 * m, 3}, []timesheet.Seconds{53*m - 36, 36}},
	} {
		if got := (Rounding{Unit: c.unit}).share(c.whole, c.parts); !slices.Equal(got, c.want) {
			t.Errorf("%s among %v: got %v, want %v", c.whole.Clock(), c.parts, got, c.want)
		}
	}
}

// TestSharesAddUp: whatever is divided, nothing of it is left over or made up,
// and who can have something has it.
func TestSharesAddUp(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		r := Rounding{Unit: []timesheet.Seconds{60, 300, 360, 900, 1800}[rnd.IntN(5)]}
		parts := make([]timesheet.Seconds, 1+rnd.IntN(12))
		sum := timesheet.Seconds(0)
		for i := range parts {
			parts[i] = timesheet.Seconds(1 + rnd.IntN([]int{5, 900, 30000}[rnd.IntN(3)]))
			sum += parts[i]
		}
		whole := r.day(sum)
		if rnd.IntN(3) == 0 {
			whole = max(0, whole-timesheet.Seconds(rnd.IntN(4000)))
		}
		got := timesheet.Seconds(0)
		for i, s := range r.share(whole, parts) {
			got += s
			if s < 0 || s == 0 && whole >= 60*timesheet.Seconds(len(parts)) && parts[i] > 60 {
				t.Fatalf("%s among %v has nothing for %d", whole.Clock(), parts, i)
			}
		}
		if got != whole {
			t.Fatalf("%s among %v comes to %s", whole.Clock(), parts, got.Clock())
		}
	}
}
