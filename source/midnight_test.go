package source

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// checkParts checks what must hold of every row over midnight.
func checkParts(tb testing.TB, row *timesheet.Row) {
	tb.Helper()
	e := row.Entry
	sum, key, packed, from := timesheet.Seconds(0), e.Key, e.Key.Packed(e.Day), e.Start
	for i := range row.Parts {
		p := &row.Parts[i]
		if p.Duration <= 0 || p.Key != key || p.Key.Packed(p.Day) != packed || p.Digest != e.Digest || p.Origin != e.Origin || p.Day != e.Day+timesheet.Day(i) || !p.Start.Equal(from) {
			tb.Errorf("%s: part %d is not what follows: %v to %v, %s on %s", e.Origin, i, p.Start, p.End, p.Duration.Clock(), p.Day)
		}
		if packed.Next().Prev() != packed || packed.Prev().Next() != packed || key.Next() == key {
			tb.Errorf("%s: part %d does not lead back", e.Origin, i)
		}
		sum, key, packed, from = sum+p.Duration, key.Next(), packed.Next(), p.End
	}
	if n := len(row.Parts); n > 0 && (n == 1 || sum != e.Duration || !row.Parts[n-1].End.Equal(e.End)) {
		tb.Errorf("%s: %d parts of %s come to %s", e.Origin, n, e.Duration.Clock(), sum.Clock())
	}
}

// TestOverMidnight: where a day ends is decided in the source's zone, and a
// change of the clocks makes no part longer or shorter than it was.
func TestOverMidnight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, start, end, want string }{
		{"Europe/Berlin", "2026-11-17 22:00:00", "2026-11-18 01:30:00", "2026-11-17 2:00:00, 2026-11-18 1:30:00"},
		{"Europe/Berlin", "2026-11-17 22:00:00", "2026-11-18 00:00:00", ""},
		{"Europe/Berlin", "2026-11-18 00:00:00", "2026-11-18 03:00:00", ""},
		{"Europe/Berlin", "2026-11-17 23:59:59", "2026-11-18 00:00:01", "2026-11-17 0:00:01, 2026-11-18 0:00:01"},
		// On the wall, where nothing else is said, and as time passed, by offsets.
		{"Europe/Berlin", "2026-03-28 22:00:00", "2026-03-29 04:00:00", "2026-03-28 2:00:00, 2026-03-29 4:00:00"},
		{"Europe/Berlin", "2026-03-28T22:00:00+01:00", "2026-03-29T04:00:00+02:00", "2026-03-28 2:00:00, 2026-03-29 3:00:00"},
		{"Europe/Berlin", "2026-10-24T22:00:00+02:00", "2026-10-25T04:00:00+01:00", "2026-10-24 2:00:00, 2026-10-25 5:00:00"},
		// In UTC it is one day, in the zone it is two; and the other way about.
		{"Europe/Berlin", "2026-11-17T22:30:00Z", "2026-11-17T23:30:00Z", "2026-11-17 0:30:00, 2026-11-18 0:30:00"},
		{"Europe/Berlin", "2026-11-17T23:30:00Z", "2026-11-18T00:30:00Z", ""},
		// Midnight does not exist: the clocks jump from 00:00 to 01:00.
		{"Africa/Cairo", "2026-04-23T22:00:00+02:00", "2026-04-24T02:00:00+03:00", "2026-04-23 2:00:00, 2026-04-24 1:00:00"},
		{"America/Sao_Paulo", "2017-10-14T22:00:00-03:00", "2017-10-15T02:00:00-02:00", "2017-10-14 2:00:00, 2017-10-15 1:00:00"},
		// It comes twice; the day ends with the second.
		{"America/Sao_Paulo", "2018-02-17T22:00:00-02:00", "2018-02-18T02:00:00-03:00", "2018-02-17 3:00:00, 2018-02-18 2:00:00"},
		// It comes twice, and both are of the new day.
		{"America/Havana", "2026-10-31T22:00:00-04:00", "2026-11-01T02:00:00-05:00", "2026-10-31 2:00:00, 2026-11-01 3:00:00"},
		{"UTC", "2026-11-17 22:00:00", "2026-11-19 02:00:00", "2026-11-17 2:00:00, 2026-11-18 24:00:00, 2026-11-19 2:00:00"},
	} {
		t.Run(c.zone+" "+c.start, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{
				Location: zone, User: "u-1", Rules: Rules{MaxPerEntry: 72 * 3600},
				Stdin: strings.NewReader("start,end,project\n" + c.start + "," + c.end + ",Apollo\n"), Columns: map[string]string{"start": "start", "end": "end", "project": "project"},
			}
			res, err := read(t, cfg)
			if err != nil || len(res.entries) != 1 {
				t.Fatal(err, res)
			}
			var got []string
			for _, parts := range res.parts {
				for _, p := range parts {
					got = append(got, fmt.Sprintf("%s %s", p.Day, p.Duration.Clock()))
				}
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, ", "), c.want)
			}
		})
	}
}

// TestDayStart holds the start of every day against what a walk along the
// seconds around it finds.
func TestDayStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/Havana", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut", "Atlantic/Azores", "Pacific/Apia", "Australia/Lord_Howe", "America/Nuuk"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for d := timesheet.Date(2009, 1, 1); d < timesheet.Date(2019, 1, 1); d++ {
			at := dayStart(d, zone)
			if before := timesheet.DayOf(at.Add(-time.Second)); before >= d || timesheet.DayOf(at) < d {
				t.Fatalf("%s: %s begins at %s, after %s", name, d, at, before)
			}
			for ahead := time.Minute; ahead < 4*time.Hour; ahead += 15 * time.Minute {
				if timesheet.DayOf(at.Add(ahead)) < d {
					t.Fatalf("%s: %s begins at %s, and it is the day before once more", name, d, at)
				}
			}
		}
	}
}
