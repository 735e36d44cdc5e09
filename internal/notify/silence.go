package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// lookBack is how many days of entries are looked at. Who has had none for
// longer is not missed any more, unless a rule names the person.
const lookBack = 100

// Rule is something that is expected: exactly one of WorkingDays, Expected and
// UnchangedFor is set.
type Rule struct {
	Source string // empty: all sources together
	User   string // empty: everybody who has entries
	// WorkingDays without an entry are too many.
	WorkingDays int
	// Expected is the time of a week, judged at Weekday and Clock, give or take
	// Below and Above.
	Expected, Below, Above timesheet.Seconds
	Weekday                time.Weekday
	Clock                  time.Duration
	LastWeek               bool // the week before the deadline's
	// UnchangedFor is how long a source may bring nothing new.
	UnchangedFor time.Duration
}

// PersonDay is what one person has logged on one day.
type PersonDay struct {
	Person  string
	Day     timesheet.Day
	Seconds timesheet.Seconds
}

// Waiting are the entries and rows of a source that need a person.
type Waiting struct {
	Rejected int `json:"rejected"`
	Held     int `json:"held"`
	InDoubt  int `json:"in_doubt"`
}

// Book is the record that is looked at, by the names of sources. What it reads
// must be cheap: it is asked after each run.
type Book interface {
	// Waiting counts what needs a person; sources without are left out.
	Waiting(ctx context.Context) (map[string]Waiting, error)
	// Hours lists who has logged what since a day, that day included.
	Hours(ctx context.Context, source string, since timesheet.Day) ([]PersonDay, error)
	// Changed is when the source last brought something new; zero: not known.
	Changed(ctx context.Context, source string) (time.Time, error)
}

// listener evaluates rules against one Book at one moment.
type listener struct {
	book     Book
	now      time.Time
	sources  []Source
	holidays calendar
	read     map[string][]PersonDay
}

// finding is what a look at one matter came to. The key is the same at each
// look.
type finding struct {
	key          string
	kind         Kind
	source, user string
	on           bool   // there is a problem
	count        int    // more of it is told again, as is another exit status
	text         string // the problem, or that it is over
}

// listen looks at every rule.
func (l *listener) listen(ctx context.Context, rules []Rule) ([]finding, error) {
	var all []finding
	for i := range rules {
		found, err := l.rule(ctx, &rules[i])
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (l *listener) rule(ctx context.Context, r *Rule) ([]finding, error) {
	if r.UnchangedFor > 0 {
		return l.unchanged(ctx, r)
	}
	people, location, err := l.people(ctx, r)
	if err != nil || location == nil {
		return nil, err
	}
	names := make([]string, 0, len(people))
	for name := range people {
		names = append(names, name)
	}
	slices.Sort(names)
	var found []finding
	for _, name := range names {
		f := finding{kind: Silence, source: r.Source, user: name}
		if r.WorkingDays > 0 {
			l.days(r, &f, people[name], l.now.In(location))
		} else {
			l.week(r, &f, people[name], l.now.In(location))
		}
		found = append(found, f)
	}
	return found, nil
}

// people are the hours by day of those whom a rule is about, and the zone that
// its days are in.
func (l *listener) people(ctx context.Context, r *Rule) (map[string]map[timesheet.Day]timesheet.Seconds, *time.Location, error) {
	people := map[string]map[timesheet.Day]timesheet.Seconds{}
	if r.User != "" {
		people[r.User] = nil
	}
	var location *time.Location
	for _, s := range l.sources {
		if r.Source != "" && r.Source != s.Name {
			continue
		}
		location = cmp.Or(location, s.Location)
		if _, ok := l.read[s.Name]; !ok {
			days, err := l.book.Hours(ctx, s.Name, timesheet.DayOf(l.now.In(s.Location))-lookBack)
			if err != nil {
				return nil, nil, err
			}
			l.read[s.Name] = days
		}
		for _, d := range l.read[s.Name] {
			if r.User != "" && d.Person != r.User {
				continue
			}
			if people[d.Person] == nil {
				people[d.Person] = map[timesheet.Day]timesheet.Seconds{}
			}
			people[d.Person][d.Day] += d.Seconds
		}
	}
	return people, location, nil
}

// days looks for a person's last entry.
func (l *listener) days(r *Rule, f *finding, days map[timesheet.Day]timesheet.Seconds, now time.Time) {
	today := timesheet.DayOf(now)
	from := l.holidays.back(today, r.WorkingDays, today-lookBack)
	f.key = fmt.Sprintf("silence days=%d source=%s user=%s", r.WorkingDays, r.Source, f.user)
	f.on = true
	last, ever := timesheet.Day(0), false
	latest := l.latest(r, today)
	for d := range days {
		if d > latest {
			continue // what is dated ahead tells nothing of today
		}
		if d >= from {
			f.on = false
		}
		if !ever || d > last {
			last, ever = d, true
		}
	}
	switch {
	case !f.on:
		f.text = fmt.Sprintf("%s: entries of %s again", sourceName(r.Source), f.user)
	case ever:
		f.text = fmt.Sprintf("%s: no entries of %s for %s, the last on %s", sourceName(r.Source), f.user, count(r.WorkingDays, "working day"), last)
	default:
		f.text = fmt.Sprintf("%s: no entries of %s for %s", sourceName(r.Source), f.user, count(r.WorkingDays, "working day"))
	}
}

// latest is what day it is where the day is furthest on, of a rule's sources.
func (l *listener) latest(r *Rule, today timesheet.Day) timesheet.Day {
	for _, s := range l.sources {
		if r.Source == "" || r.Source == s.Name {
			today = max(today, timesheet.DayOf(l.now.In(s.Location)))
		}
	}
	return today
}

// week adds up a person's week.
func (l *listener) week(r *Rule, f *finding, days map[timesheet.Day]timesheet.Seconds, now time.Time) {
	_, monday := deadline{r.Weekday, r.Clock}.last(now)
	if r.LastWeek {
		monday -= 7
	}
	var sum timesheet.Seconds
	for d := monday; d < monday+7; d++ {
		sum += days[d]
	}
	expected := r.Expected - r.Expected*timesheet.Seconds(l.holidays.holidays(monday))/5
	f.on = sum < expected-r.Below || sum > expected+r.Above
	year, week := monday.Time().ISOWeek()
	f.key = fmt.Sprintf("silence hours=%d-%d+%d at=%d+%s last=%t source=%s week=%s user=%s", r.Expected, r.Below, r.Above, r.Weekday, r.Clock, r.LastWeek, r.Source, monday, f.user)
	f.text = fmt.Sprintf("%s: %s has %s hours in week %d-W%02d, expected are %s", sourceName(r.Source), f.user, sum.Clock(), year, week, expected.Clock())
}

// unchanged asks when a source last brought something.
func (l *listener) unchanged(ctx context.Context, r *Rule) ([]finding, error) {
	at, err := l.book.Changed(ctx, r.Source)
	if err != nil || at.IsZero() {
		return nil, err
	}
	f := finding{
		key: fmt.Sprintf("silence unchanged=%s source=%s", r.UnchangedFor, r.Source), kind: Silence, source: r.Source,
		on: l.now.Sub(at) >= r.UnchangedFor, text: sourceName(r.Source) + ": brings something new again",
	}
	if f.on {
		f.text = fmt.Sprintf("%s: nothing new since %s", sourceName(r.Source), at.In(l.locationOf(r.Source)).Format("2006-01-02 15:04 MST"))
	}
	return []finding{f}, nil
}

func (l *listener) locationOf(source string) *time.Location {
	for _, s := range l.sources {
		if s.Name == source && s.Location != nil {
			return s.Location
		}
	}
	return time.UTC
}

func sourceName(name string) string {
	if name == "" {
		return "all sources"
	}
	return "source " + name
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
