package daemon

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when runs are due. The zero Schedule is never due.
type Schedule struct {
	expr  string
	zone  *time.Location
	wall  cron.Schedule // of five fields, in wall time written as UTC
	every time.Duration // of @every; wall is nil then
}

// ScheduleError is an expression that is no schedule.
type ScheduleError struct {
	Expr    string
	Message string
	hint    string
}

// Error names the expression and what is wrong with it.
func (e *ScheduleError) Error() string { return fmt.Sprintf("schedule %q: %s", e.Expr, e.Message) }

// Hint says how a schedule is written.
func (e *ScheduleError) Hint() string { return e.hint }

const scheduleHint = `five fields (minute, hour, day of month, month, day of week) such as "0 6 * * *", or @daily, or @every 1h`

var fieldNames = [...]string{"minute (0-59)", "hour (0-23)", "day of month (1-31)", "month (1-12 or jan-dec)", "day of week (0-6 or sun-sat)"}

// ParseSchedule reads five cron fields, a descriptor (@hourly, @daily,
// @weekly, @monthly, @yearly) or "@every 1h30m", in the given zone. It refuses
// what the cron library takes and then never runs, runs more often than once a
// minute, or panics over.
func ParseSchedule(expr string, zone *time.Location) (s Schedule, err error) {
	refuse := func(message, hint string) error {
		return &ScheduleError{Expr: expr, Message: message, hint: hint}
	}
	defer func() {
		if r := recover(); r != nil {
			s, err = Schedule{}, refuse("is not a schedule", scheduleHint)
		}
	}()
	text := strings.TrimSpace(expr)
	switch {
	case text == "":
		return Schedule{}, refuse("is empty", scheduleHint)
	case len(text) > 200:
		return Schedule{}, refuse("is too long", scheduleHint)
	case zone == nil:
		return Schedule{}, refuse("has no zone", "set timezone to an IANA name such as Europe/Berlin, or UTC")
	case strings.Contains(strings.ToUpper(text), "TZ="):
		return Schedule{}, refuse("carries a zone", "remove TZ=...; the key timezone says in which zone it is meant")
	}
	s = Schedule{expr: text, zone: zone}
	if d, ok := strings.CutPrefix(text, "@every"); ok {
		if s.every, err = time.ParseDuration(strings.TrimSpace(d)); err != nil {
			return Schedule{}, refuse(fmt.Sprintf("%q is not a duration", strings.TrimSpace(d)), "write @every 1h, or @every 15m")
		}
		if s.every < time.Minute {
			return Schedule{}, refuse("is more often than once a minute", "at least @every 1m")
		}
		// The library drops fractions of a second; so do we, where it shows.
		s.every = s.every.Truncate(time.Second)
		return s, nil
	}
	if !strings.HasPrefix(text, "@") {
		if message := badField(text); message != "" {
			return Schedule{}, refuse(message, scheduleHint)
		}
	}
	if s.wall, err = parse(text); err != nil {
		return Schedule{}, refuse("is not a schedule", scheduleHint)
	}
	// Five years from the beginning of a leap year: a date that does not come
	// until then never does.
	if s.wall.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, refuse("names a date that never comes", "check day of month and month")
	}
	return s, nil
}

// parse leaves the zone out: times are wall times, written as UTC.
func parse(text string) (cron.Schedule, error) {
	s, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(text)
	if spec, ok := s.(*cron.SpecSchedule); ok {
		spec.Location = time.UTC
	}
	return s, err
}

// badField names the first field that is wrong, "" where none is.
func badField(text string) string {
	fields := strings.Fields(text)
	if len(fields) != len(fieldNames) {
		return fmt.Sprintf("has %d fields instead of 5", len(fields))
	}
	for i, f := range fields {
		alone := [...]string{"*", "*", "*", "*", "*"}
		alone[i] = f
		_, err := parse(strings.Join(alone[:], " "))
		// The library takes "1,,2" and "," in silence.
		if err != nil || strings.HasPrefix(f, ",") || strings.HasSuffix(f, ",") || strings.Contains(f, ",,") {
			return fmt.Sprintf("%q is no %s", f, fieldNames[i])
		}
	}
	return ""
}

// String is the expression.
func (s Schedule) String() string { return s.expr }

// IsZero tells whether s is never due.
func (s Schedule) IsZero() bool { return s.wall == nil && s.every == 0 }

// Next is the first time after t at which a run is due; the zero time for the
// zero Schedule. The library alone would skip a slot that the clock change
// jumps over (and, where that is midnight, the whole day) and take one twice
// that is repeated in autumn. Here the former is due as much later as the
// clock jumps, the latter once.
func (s Schedule) Next(t time.Time) time.Time {
	t = t.Round(0) // wall time decides, also across a suspended machine
	if s.every > 0 {
		return t.Truncate(time.Second).Add(s.every).In(s.zone)
	}
	if s.wall == nil {
		return time.Time{}
	}
	t = t.In(s.zone)
	wall := asUTC(t)
	for {
		if wall = s.wall.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if due := s.instant(wall); due.After(t) {
			return due
		}
	}
}

// instant is when a wall time, written as UTC, comes in the schedule's zone.
func (s Schedule) instant(wall time.Time) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, s.zone)
	// A time that does not exist comes back from time.Date as one on either
	// side of the gap.
	if short := wall.Sub(asUTC(t)); short > 0 {
		t = t.Add(short)
	}
	return t
}

func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// Upcoming lists the next n times after t, for display.
func (s Schedule) Upcoming(t time.Time, n int) []time.Time {
	var list []time.Time
	for range n {
		if t = s.Next(t); t.IsZero() {
			break
		}
		list = append(list, t)
	}
	return list
}
