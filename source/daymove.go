package source

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// dayMove moves the days of a twin by whole weeks, all by as many.
type dayMove struct {
	format timesheet.DateFormat // of dates that are not ISO's, where it is known
	zone   *time.Location
	today  timesheet.Day

	seen  map[timesheet.Day]struct{}
	plain map[timesheet.Day]struct{} // of them, in dates that have no year in front
	by    timesheet.Day
}

var (
	stampTail = `(?:[T ]\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AaPp][Mm]\b|Z| ?[+-]\d\d:?\d\d)?)?`
	dateShape = `(?:\d{4}[-./]\d\d?[-./]\d\d?|\d\d?[-./]\d\d?[-./](?:\d{4}|\d\d)\b|\d{8}T\d{6}Z?)`
	// dateWhole is a date, perhaps with a time of day, or a range of dates.
	dateWhole = regexp.MustCompile(`^'?` + dateShape + stampTail + `(?: ?[-–] ?` + dateShape + `)?$`)
	dateParts = regexp.MustCompile(`\b(?:(\d{4})([-./])(\d\d?)[-./](\d\d?)|(\d\d?)([-./])(\d\d?)[-./](\d{4}|\d\d)|(\d{4})(\d\d)(\d\d)T)`)
)

// wholeDate tells whether s is nothing but a date or a range of them.
func wholeDate(s string) bool { return dateWhole.MatchString(s) }

// move moves the dates in s; while collecting it only notes them.
func (d *dayMove) move(s string, collect bool) string {
	var b strings.Builder
	last := 0
	for _, at := range dateParts.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(s[last:at[0]])
		last = at[1]
		group := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return s[at[2*i]:at[2*i+1]]
		}
		var text string
		switch {
		case group(1) != "":
			text = d.date(group(1), group(3), group(4), group(2), false, collect)
		case group(9) != "":
			text = d.date(group(9), group(10), group(11), "", false, collect) + "T"
		default:
			text = d.date(group(8), group(5), group(7), group(6), true, collect)
		}
		b.WriteString(text)
	}
	b.WriteString(s[last:])
	if collect {
		return s
	}
	return b.String()
}

// date moves one date; with behind the year stands last, and one and two may be
// day and month or month and day.
func (d *dayMove) date(year, one, two, sep string, behind, collect bool) string {
	join := func(year, one, two string) string {
		if behind {
			return one + sep + two + sep + year
		}
		return year + sep + one + sep + two
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s)
		return n
	}
	padded := func(n int, like string) string { return fmt.Sprintf("%0*d", len(like), n) }
	y, month, day := number(year), number(one), number(two)
	swapped := behind && d.dayFirst(month, day)
	if swapped {
		month, day = day, month
	}
	full := y
	if len(year) == 2 {
		full += 2000
	}
	at := timesheet.Date(full, time.Month(month), day)
	if t := at.Time(); t.Year() != full || int(t.Month()) != month || t.Day() != day {
		// No date. It stays none with a year that is as long.
		return join(padded(max(y-4*int(1+max(-d.by, d.by)/1461), 0), year), one, two)
	}
	if collect {
		d.seen[at] = struct{}{}
		if behind {
			d.plain[at] = struct{}{}
		}
		return ""
	}
	t := d.to(at).Time()
	full, month, day = t.Year(), int(t.Month()), t.Day()
	if len(year) == 2 {
		full %= 100
	}
	if swapped {
		return join(padded(full, year), padded(day, one), padded(month, two))
	}
	return join(padded(full, year), padded(month, one), padded(day, two))
}

// dayFirst tells whether the first of two numbers is the day.
func (d *dayMove) dayFirst(one, two int) bool {
	f := d.format.String()
	first := strings.IndexByte(f, 'D') < strings.IndexByte(f, 'M')
	if f == isoFormat {
		first = true // nothing tells
	}
	if first && two > 12 || !first && one > 12 {
		return !first
	}
	return first
}

// to is where a day is moved. What is still to come stays so, and what is too
// old as well.
func (d *dayMove) to(at timesheet.Day) timesheet.Day {
	by := max(d.by, -d.by)
	switch {
	case at > d.today && (at+by).Time().Year() > 9999:
		return at - by%7305
	case at > d.today:
		return at + by
	case at < year2000:
		return at - by
	}
	return at + d.by
}

const (
	leastWeeks = 4
	mostWeeks  = 20 * 52
)

// choose picks by how much: so that as many days as can be stay on their side
// of the clock changes, and that what told the order of day and month, or that
// nothing did, goes on doing so.
func (d *dayMove) choose() {
	low, high := d.today, year2000
	for at := range d.seen {
		if at >= year2000 && at <= d.today {
			low, high = min(low, at), max(high, at)
		}
	}
	zone := d.zone
	if zone == nil || zone.String() == "UTC" {
		// The zone of the export is not known; most have the same changes.
		if z, err := time.LoadLocation("Europe/Berlin"); err == nil {
			zone = z
		}
	}
	class := map[timesheet.Day][2]int{}
	classOf := func(at timesheet.Day) [2]int {
		c, ok := class[at]
		if !ok {
			y, m, day := at.Time().Date()
			_, c[0] = time.Date(y, m, day, 0, 0, 0, 0, zone).Zone()
			_, c[1] = time.Date(y, m, day+1, 0, 0, 0, 0, zone).Zone()
			class[at] = c
		}
		return c
	}
	told := false
	for at := range d.plain {
		told = told || at.Time().Day() > 12
	}
	best, pool := 0, []timesheet.Day(nil)
	for w := -mostWeeks; w <= mostWeeks; w++ {
		by := timesheet.Day(7 * w)
		if w > -leastWeeks && w < leastWeeks || low+by < year2000 || high+by > d.today {
			continue
		}
		cost, tells := 0, false
		for at := range d.seen {
			if at < year2000 || at > d.today {
				continue
			}
			if classOf(at) != classOf(at+by) {
				cost++
			}
			if _, plain := d.plain[at]; plain {
				tells = tells || (at+by).Time().Day() > 12
			}
		}
		if len(d.plain) > 0 && tells != told {
			cost += 1 << 20
		}
		// A day in fifty may be on the other side, or few ways would be left.
		slack := len(d.seen) / 50
		switch {
		case len(pool) == 0 || cost < best-slack:
			best, pool = cost, append(pool[:0], by)
		case cost <= best+slack:
			best, pool = min(best, cost), append(pool, by)
		}
	}
	if d.by = -7 * leastWeeks; len(pool) > 0 {
		d.by = pool[rand.IntN(len(pool))] //nolint:gosec // the days of a twin are no secret that anything hangs on
	}
}

// moved moves the day of t and counts days since 1970.
func (d *dayMove) moved(t time.Time, collect bool) int64 {
	at := timesheet.DayOf(t.UTC())
	if collect {
		d.seen[at] = struct{}{}
		return int64(at)
	}
	return int64(d.to(at))
}

// short moves a day without a year, such as Mon 3/2, in the newest year in which
// it is that day of the week.
func (d *dayMove) short(s string, collect bool) string {
	m := shortDay.FindStringSubmatch(fold(s))
	one, _ := strconv.Atoi(m[2])
	two, _ := strconv.Atoi(m[3])
	year := time.Now().Year()
	for y := year; y > year-28; y-- {
		at := timesheet.Date(y, time.Month(one), two)
		t := at.Time()
		if int(t.Month()) != one || t.Day() != two || !strings.EqualFold(t.Format("Mon"), m[1]) || at > d.today {
			continue
		}
		if collect {
			d.seen[at] = struct{}{}
			return s
		}
		t = d.to(at).Time()
		i := strings.LastIndexByte(s, ' ')
		return fmt.Sprintf("%s %d/%d", s[:i], int(t.Month()), t.Day())
	}
	return s
}
