package notify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// shelf is a Book in memory.
type shelf struct {
	waiting map[string]Waiting
	days    map[string][]PersonDay
	changed time.Time
	err     error
}

func (b *shelf) Waiting(context.Context) (map[string]Waiting, error) { return b.waiting, b.err }
func (b *shelf) Changed(context.Context, string) (time.Time, error)  { return b.changed, b.err }
func (b *shelf) Hours(_ context.Context, source string, since timesheet.Day) ([]PersonDay, error) {
	var found []PersonDay
	for _, d := range b.days[source] {
		if d.Day >= since {
			found = append(found, d)
		}
	}
	return found, b.err
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func day(t *testing.T, text string) timesheet.Day {
	t.Helper()
	d, err := timesheet.ParseDay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ear(t *testing.T, b *shelf, place *time.Location, now, holidays string) *listener {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", now, place)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{book: b, now: at.UTC(), sources: []Source{{Name: "acme", Location: place}}, holidays: calendar{}, read: map[string][]PersonDay{}}
	for h := range strings.FieldsSeq(holidays) {
		l.holidays[day(t, h)] = true
	}
	return l
}

func TestWorkingDays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		zone, last, now, holidays string
		n                         int
		want                      bool
	}{
		// 2026-11-16 is a Monday. Today does not count: it is not over.
		{"Europe/Berlin", "2026-11-16", "2026-11-17 23:59", "", 1, false},
		{"Europe/Berlin", "2026-11-16", "2026-11-18 00:00", "", 1, true},
		{"Europe/Berlin", "2026-11-16", "2026-11-18 12:00", "", 2, false},
		{"Europe/Berlin", "2026-11-16", "2026-11-19 06:00", "", 2, true},
		{"Europe/Berlin", "2026-11-25", "2026-11-24 12:00", "", 1, true},
		{"Europe/Berlin", "2026-11-24", "2026-11-24 12:00", "", 1, false},
		// A weekend is no work, nor is a holiday.
		{"Europe/Berlin", "2026-11-20", "2026-11-23 12:00", "", 1, false},
		{"Europe/Berlin", "2026-11-20", "2026-11-24 00:01", "", 1, true},
		{"Europe/Berlin", "2026-11-20", "2026-11-24 12:00", "2026-11-23", 1, false},
		{"Europe/Berlin", "2026-11-20", "2026-11-25 12:00", "2026-11-23", 1, true},
		{"Europe/Berlin", "2026-11-21", "2026-11-24 12:00", "", 1, true}, // worked on a Saturday
		// The same moment is another day elsewhere.
		{"Pacific/Auckland", "2026-11-16", "2026-11-18 00:30", "", 1, true},
		{"America/Los_Angeles", "2026-11-16", "2026-11-17 03:30", "", 1, false}, // 00:30 in Auckland
		// Days on which clocks change are days like others.
		{"Europe/Berlin", "2026-03-27", "2026-03-30 23:59", "", 1, false},
		{"Europe/Berlin", "2026-03-27", "2026-03-31 00:00", "", 1, true},
		{"Europe/Berlin", "2026-10-23", "2026-10-26 23:59", "", 1, false},
		{"Europe/Berlin", "2026-10-23", "2026-10-27 00:00", "", 1, true},
		{"America/Havana", "2026-03-06", "2026-03-09 23:59", "", 1, false}, // midnight of the 8th does not exist
		// An entry ahead of time is none yet.
		{"Europe/Berlin", "2026-11-30", "2026-11-20 12:00", "", 3, true},
		{"Europe/Berlin", "", "2026-11-20 12:00", "", 3, true}, // never had one
	} {
		b := &shelf{days: map[string][]PersonDay{}}
		if row.last != "" {
			b.days["acme"] = []PersonDay{{"ada", day(t, row.last), 3600}, {"bob", day(t, row.last) - 1, 3600}}
		}
		found, err := ear(t, b, zone(t, row.zone), row.now, row.holidays).listen(t.Context(), []Rule{{Source: "acme", User: "ada", WorkingDays: row.n}})
		if err != nil || len(found) != 1 || found[0].user != "ada" || found[0].on != row.want {
			t.Errorf("%+v: got %+v, %v", row, found, err)
		}
	}
}

func TestWeekHours(t *testing.T) {
	t.Parallel()
	friday := Rule{Source: "acme", User: "ada", Expected: 38*3600 + 1800, Below: 1800, Above: 3600, Weekday: time.Friday, Clock: 12 * time.Hour}
	last := friday
	last.Weekday, last.Clock, last.LastWeek = time.Monday, 10*time.Hour, true
	night := friday
	night.Weekday, night.Clock = time.Sunday, 2*time.Hour+30*time.Minute
	// The hours of the week from 2026-11-16, and nothing else; the rest is 0.
	for _, row := range []struct {
		rule          Rule
		zone          string
		hours         float64
		now, holidays string
		want          bool
		week          string
	}{
		{friday, "Europe/Berlin", 38.5, "2026-11-20 12:00", "", false, "W47"},
		{friday, "Europe/Berlin", 38, "2026-11-20 12:00", "", false, "W47"},
		{friday, "Europe/Berlin", 37.9, "2026-11-20 12:00", "", true, "W47"},
		{friday, "Europe/Berlin", 39.5, "2026-11-22 23:59", "", false, "W47"},
		{friday, "Europe/Berlin", 39.6, "2026-11-26 00:00", "", true, "W47"},
		{friday, "Europe/Berlin", 38.5, "2026-11-20 11:59", "", true, "W46"}, // not yet: the week before is judged
		{friday, "Europe/Berlin", 38.5, "2026-11-27 12:00", "", true, "W48"},
		{friday, "Asia/Kolkata", 38.5, "2026-11-20 12:00", "", false, "W47"},
		{friday, "Europe/Berlin", 30.8, "2026-11-20 12:00", "2026-11-18", false, "W47"}, // a fifth off
		{friday, "Europe/Berlin", 38.5, "2026-11-20 12:00", "2026-11-21", false, "W47"}, // a Saturday
		{last, "Europe/Berlin", 38.5, "2026-11-23 10:00", "", false, "W47"},
		{last, "Europe/Berlin", 38.5, "2026-11-23 09:59", "", true, "W46"},
	} {
		b := &shelf{days: map[string][]PersonDay{"acme": {
			{"ada", day(t, "2026-11-16"), timesheet.Seconds(row.hours * 3600 / 2)},
			{"ada", day(t, "2026-11-22"), timesheet.Seconds(row.hours * 3600 / 2)},
			{"bob", day(t, "2026-11-16"), 99 * 3600},
		}}}
		found, err := ear(t, b, zone(t, row.zone), row.now, row.holidays).listen(t.Context(), []Rule{row.rule})
		if err != nil || len(found) != 1 || found[0].on != row.want || !strings.Contains(found[0].text, row.week) {
			t.Errorf("%s in %s, %g hours: got %+v, %v", row.now, row.zone, row.hours, found, err)
		}
	}
}

// A deadline is what clocks show, whatever they do that day.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		zone  string
		d     deadline
		now   string // UTC
		at    string // in the zone
		weeks timesheet.Day
	}{
		{"Europe/Berlin", deadline{time.Sunday, 12 * time.Hour}, "2026-03-29T10:00:00Z", "2026-03-29 12:00 CEST", 0},
		{"Europe/Berlin", deadline{time.Sunday, 12 * time.Hour}, "2026-03-29T09:59:59Z", "2026-03-22 12:00 CET", 0},
		{"Europe/Berlin", deadline{time.Sunday, 12 * time.Hour}, "2026-10-25T11:00:00Z", "2026-10-25 12:00 CET", 0},
		{"Europe/Berlin", deadline{time.Sunday, 12 * time.Hour}, "2026-10-25T10:59:59Z", "2026-10-18 12:00 CEST", 0},
		{"Europe/Berlin", deadline{time.Sunday, 150 * time.Minute}, "2026-03-29T01:30:00Z", "2026-03-29 03:30 CEST", 0}, // 02:30 does not exist
		{"America/New_York", deadline{time.Friday, 12 * time.Hour}, "2026-11-20T17:00:00Z", "2026-11-20 12:00 EST", 0},
		{"America/New_York", deadline{time.Friday, 12 * time.Hour}, "2026-11-20T16:59:59Z", "2026-11-13 12:00 EST", 0},
		{"Pacific/Auckland", deadline{time.Monday, 0}, "2026-11-15T11:00:00Z", "2026-11-16 00:00 NZDT", 0},
		{"UTC", deadline{time.Wednesday, 23*time.Hour + 59*time.Minute}, "2027-01-01T00:00:00Z", "2026-12-30 23:59 UTC", 0},
	} {
		now, err := time.Parse(time.RFC3339, row.now)
		if err != nil {
			t.Fatal(err)
		}
		at, monday := row.d.last(now.In(zone(t, row.zone)))
		if got := at.Format("2006-01-02 15:04 MST"); got != row.at || monday != timesheet.DayOf(at).Monday() {
			t.Errorf("%s %s in %s: got %s in the week of %s, want %s", row.now, row.d.weekday, row.zone, got, monday, row.at)
		}
	}
}

// Without a user everybody counts who has entries; without a source all sources do.
func TestEverybody(t *testing.T) {
	t.Parallel()
	b := &shelf{days: map[string][]PersonDay{
		"acme":  {{"ada", day(t, "2026-11-19"), 3600}, {"bob", day(t, "2026-11-10"), 3600}, {"gone", day(t, "2026-06-01"), 3600}},
		"other": {{"bob", day(t, "2026-11-19"), 3600}, {"eve", day(t, "2026-11-10"), 3600}},
	}}
	l := ear(t, b, time.UTC, "2026-11-20 12:00", "")
	l.sources = append(l.sources, Source{Name: "other", Location: time.UTC})
	found, err := l.listen(t.Context(), []Rule{{WorkingDays: 3}, {Source: "acme", WorkingDays: 3}})
	var silent []string
	for _, f := range found {
		if f.on {
			silent = append(silent, f.source+"/"+f.user)
		}
	}
	if got := strings.Join(silent, " "); err != nil || got != "/eve acme/bob" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUnchanged(t *testing.T) {
	t.Parallel()
	b := &shelf{changed: time.Date(2026, 11, 17, 5, 0, 0, 0, time.UTC)}
	rules := []Rule{{Source: "acme", UnchangedFor: 72 * time.Hour}}
	for now, want := range map[string]bool{"2026-11-20 05:59": false, "2026-11-20 06:00": true} {
		found, err := ear(t, b, zone(t, "Europe/Berlin"), now, "").listen(t.Context(), rules)
		if err != nil || len(found) != 1 || found[0].on != want {
			t.Errorf("%s: got %+v, %v", now, found, err)
		}
		if want && found[0].text != "source acme: nothing new since 2026-11-17 06:00 CET" {
			t.Errorf("got %q", found[0].text)
		}
	}
	b.err = errors.New("broken")
	if _, err := ear(t, b, time.UTC, "2026-11-20 12:00", "").listen(t.Context(), rules); err == nil {
		t.Error("a book that cannot be read: got no error")
	}
}
