package daemon

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

func TestParseScheduleRefuses(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"":                              "is empty",
		"  ":                            "is empty",
		"TZ=0":                          "carries a zone",
		"CRON_TZ=Europe/Berlin":         "carries a zone",
		"TZ=UTC 0 6 * * *":              "carries a zone",
		"0 6 * * * TZ=UTC":              "carries a zone",
		"0 6 * *":                       "has 4 fields instead of 5",
		"0 0 6 * * *":                   "has 6 fields instead of 5",
		"60 6 * * *":                    `"60" is no minute (0-59)`,
		"0 24 * * *":                    `"24" is no hour (0-23)`,
		"0 6 0 * *":                     `"0" is no day of month (1-31)`,
		"0 6 * foo *":                   `"foo" is no month`,
		"0 6 * * 8":                     `"8" is no day of week`,
		"*/0 * * * *":                   `is no minute`,
		", * * * *":                     `is no minute`,
		"1,,2 * * * *":                  `is no minute`,
		"5-1 * * * *":                   `is no minute`,
		"0 0 31 2 *":                    "never comes",
		"0 0 30 2 *":                    "never comes",
		"0 0 31 4,6,9,11 *":             "never comes",
		"@every 0s":                     "more often than once a minute",
		"@every -5h":                    "more often than once a minute",
		"@every 59s":                    "more often than once a minute",
		"@every":                        "is not a duration",
		"@every 1x":                     "is not a duration",
		"@fortnightly":                  "is not a schedule",
		"@":                             "is not a schedule",
		strings.Repeat("1,", 200) + "1": "too long",
	} {
		s, err := ParseSchedule(expr, time.UTC)
		var se *ScheduleError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) || se.Hint() == "" || !s.IsZero() {
			t.Errorf("%q: got %v, %v, want %q", expr, s, err, want)
		}
	}
	if _, err := ParseSchedule("@daily", nil); err == nil {
		t.Error("no zone: got no error")
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ expr, zone, from, want string }{
		{"0 6 * * *", "UTC", "2026-03-01T05:59:59Z", "2026-03-01T06:00:00Z 2026-03-02T06:00:00Z"},
		{"0 6 * * *", "UTC", "2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z"},
		{"0 6 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T06:00:00+02:00"},
		{"0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 9 1 * 1", "UTC", "2026-02-25T00:00:00Z", "2026-03-01T09:00:00Z 2026-03-02T09:00:00Z"}, // day 1 or Monday
		{"@daily", "Europe/Berlin", "2026-06-01T12:00:00+02:00", "2026-06-02T00:00:00+02:00"},
		{"@every 90m", "UTC", "2026-03-01T00:00:00.5Z", "2026-03-01T01:30:00Z 2026-03-01T03:00:00Z"},
		// Clocks go forward: as much later as they jump, not skipped.
		{"30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T03:30:00-04:00 2026-03-09T02:30:00-04:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T03:30:00+02:00 2026-03-30T02:30:00+02:00"},
		{"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T01:00:00-03:00 2026-09-07T00:00:00-03:00"},
		{"0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24T01:00:00+03:00 2026-04-25T00:00:00+03:00"},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00"},
		{"*/15 * * * *", "Europe/Berlin", "2026-03-29T00:46:00Z", "2026-03-29T03:00:00+02:00 2026-03-29T03:15:00+02:00 2026-03-29T03:30:00+02:00"},
		// Clocks go back: once.
		{"30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00"},
		{"30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", "2026-11-02T01:30:00-05:00"}, // the second 01:10
	} {
		s, err := ParseSchedule(row.expr, zone(t, row.zone))
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(time.RFC3339, row.from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, due := range s.Upcoming(from, strings.Count(row.want, " ")+1) {
			got = append(got, due.Format(time.RFC3339Nano))
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s in %s after %s: got %v, want %s", row.expr, row.zone, row.from, got, row.want)
		}
	}
	if !(Schedule{}).Next(time.Now()).IsZero() || (Schedule{}).Upcoming(time.Now(), 3) != nil {
		t.Error("the zero Schedule is due")
	}
}

// Whatever parses is due after now, in order, at least a minute apart.
func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"0 6 * * *", "@every 1h", "CRON_TZ=x", "TZ=0", "*/7 1-5,22 ? jan-mar mon", "@weekly", "0 0 31 2 *", ",,,,"} {
		f.Add(s, int64(1_774_700_000))
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, expr string, unix int64) {
		s, err := ParseSchedule(expr, berlin)
		if err != nil {
			return
		}
		now := time.Unix(unix%4_000_000_000, 0)
		for _, due := range s.Upcoming(now, 3) {
			if due.Sub(now) <= 0 || now.Unix() != unix%4_000_000_000 && due.Sub(now) < time.Minute {
				t.Errorf("%q: %v is due after %v", expr, due, now)
			}
			now = due
		}
	})
}
