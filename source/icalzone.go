package source

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// zones are the time zones of a calendar: those of the tz database by their
// names, and those that the calendar describes itself (VTIMEZONE).
type zones struct {
	own   map[string]*ownZone
	known map[string]*time.Location // nil: no such zone
}

const (
	mostZones       = 1000
	mostObservances = 1000
)

// ownZone is a VTIMEZONE (RFC 5545, section 3.6.5).
type ownZone struct {
	observances []*observance
	unread      string // what of it is not understood
}

// observance is one stretch of a zone: from each onset on, to is the offset.
type observance struct {
	start    int64 // first onset, on the wall, in seconds since 1970
	from, to int64 // offsets in seconds
	yearly   bool
	month    time.Month
	weekday  time.Weekday
	nth      int   // of the month; -1 the last; 0: the one among days
	days     []int // of the month
	until    int64 // of an onset, in UTC; 0 for ever
	dates    []int64
}

// instant is a stamp of a calendar.
type instant struct {
	wall   int64 // in seconds since 1970
	offset int64
	// offsetAt gives the zone's offset at a moment; nil: the stamp floats.
	offsetAt func(unix int64) int64
}

func (i instant) floats() bool { return i.offsetAt == nil }

// String writes i as an export of CSV would.
func (i instant) String() string {
	wall, offset := i.wall, i.offset
	if offset%60 != 0 {
		wall, offset = wall-offset, 0
	}
	text := time.Unix(wall, 0).UTC().Format("2006-01-02T15:04:05")
	switch {
	case i.floats():
		return text
	case offset == 0:
		return text + "Z"
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	return fmt.Sprintf("%s%c%02d:%02d", text, sign, offset/3600, offset/60%60)
}

// at makes the instant of a time on the wall. One that comes twice is the first;
// one that does not come has the offset from before the gap (section 3.3.5).
func at(wall int64, offsetAt func(int64) int64) instant {
	i := instant{wall: wall, offsetAt: offsetAt}
	if offsetAt == nil {
		return i
	}
	before, after := offsetAt(wall-86400), offsetAt(wall+86400)
	if i.offset = before; before != after && offsetAt(wall-before) != before && offsetAt(wall-after) == after {
		i.offset = after
	}
	return i
}

// add is days of the calendar and then seconds later.
func (i instant) add(days, sec int64) (instant, error) {
	then := at(i.wall+days*86400, i.offsetAt)
	if i.floats() {
		then.wall += sec
	} else {
		unix := then.wall - then.offset + sec
		then.offset = i.offsetAt(unix)
		then.wall = unix + then.offset
	}
	if y := time.Unix(then.wall, 0).UTC().Year(); y < 1 || y > 9999 {
		return then, errors.New("DURATION ends in a year that does not exist")
	}
	return then, nil
}

const calendarStamp = "20060102T150405"

// parseStamp reads a stamp as seconds on the wall.
func parseStamp(text string) (wall int64, err error) {
	if len(text) != len(calendarStamp) {
		return 0, errors.New("is not a date and time such as 20260302T090000")
	}
	t, err := time.Parse(calendarStamp, text)
	if err != nil {
		return 0, errors.New("is a date or time that does not exist")
	}
	return t.Unix(), nil
}

// moment reads a DTSTART or DTEND.
func (z *zones) moment(p *property) (instant, error) {
	text, zone := p.value, p.params["TZID"]
	if utc, ok := strings.CutSuffix(text, "Z"); ok {
		wall, err := parseStamp(utc)
		if err != nil {
			return instant{}, fmt.Errorf("%s: %s %w", p.name, quote(text), err)
		}
		return instant{wall: wall, offsetAt: func(int64) int64 { return 0 }}, nil
	}
	wall, err := parseStamp(text)
	if err != nil {
		return instant{}, fmt.Errorf("%s: %s %w", p.name, quote(text), err)
	}
	if zone == "" {
		return instant{wall: wall}, nil
	}
	offsetAt, err := z.zone(zone)
	if err != nil {
		return instant{}, err
	}
	return at(wall, offsetAt), nil
}

// zone gives the offsets of the zone called name. The tz database goes before
// what the calendar says, which often is of one year only.
func (z *zones) zone(name string) (func(int64) int64, error) {
	loc, seen := z.known[name]
	if !seen {
		if loc = loadZone(name); len(z.known) < mostZones {
			z.known[name] = loc
		}
	}
	if loc != nil {
		return func(unix int64) int64 {
			_, offset := time.Unix(unix, 0).In(loc).Zone()
			return int64(offset)
		}, nil
	}
	own := z.own[name]
	switch {
	case own == nil:
		return nil, fmt.Errorf("the time zone %s is neither in the calendar nor a known one such as Europe/Berlin", quote(name))
	case own.unread != "":
		return nil, fmt.Errorf("the time zone %s has %s, which is not read", quote(name), own.unread)
	case len(own.observances) == 0:
		return nil, fmt.Errorf("the time zone %s has no offset in the calendar", quote(name))
	}
	return own.offsetAt, nil
}

// loadZone is the zone of the tz database that a TZID means; some programs put
// a path in front.
func loadZone(name string) *time.Location {
	for range 8 {
		if name != "Local" && (strings.Contains(name, "/") && name[0] != '/' || name == "UTC" || name == "GMT") {
			if loc, err := time.LoadLocation(name); err == nil {
				return loc
			}
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return nil
		}
		name = rest
	}
	return nil
}

// offsetAt is the offset of the latest onset at or before unix; before the
// first one, what that changed from.
func (z *ownZone) offsetAt(unix int64) int64 {
	year := time.Unix(unix, 0).UTC().Year()
	var best, first *observance
	var bestAt int64
	for _, o := range z.observances {
		if first == nil || o.start-o.from < first.start-first.from {
			first = o
		}
		consider := func(wall int64) {
			onset := wall - o.from
			if onset <= unix && (best == nil || onset > bestAt) && (o.until == 0 || onset <= o.until || wall == o.start) && wall >= o.start {
				best, bestAt = o, onset
			}
		}
		consider(o.start)
		for _, d := range o.dates {
			consider(d)
		}
		if o.yearly {
			for y := year - 1; y <= year+1; y++ {
				if wall, ok := o.onset(y); ok {
					consider(wall)
				}
			}
			// The last one of a rule that has ended may be of long ago.
			if o.until != 0 {
				y := time.Unix(o.until, 0).UTC().Year()
				for _, y := range []int{y - 1, y, y + 1} {
					if wall, ok := o.onset(y); ok {
						consider(wall)
					}
				}
			}
		}
	}
	if best == nil {
		return first.from
	}
	return best.to
}

// onset is when, in a year, the rule of o comes, on the wall.
func (o *observance) onset(year int) (int64, bool) {
	clock := ((o.start % 86400) + 86400) % 86400
	days := time.Date(year, o.month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	first := time.Date(year, o.month, 1, 0, 0, 0, 0, time.UTC)
	day := 0
	switch {
	case o.nth == 0:
		for _, d := range o.days {
			if d >= 1 && d <= days && first.AddDate(0, 0, d-1).Weekday() == o.weekday {
				day = d
				break
			}
		}
	case o.nth > 0:
		day = 1 + (int(o.weekday)-int(first.Weekday())+7)%7 + 7*(o.nth-1)
	default:
		last := first.AddDate(0, 0, days-1)
		day = days - (int(last.Weekday())-int(o.weekday)+7)%7 + 7*(o.nth+1)
	}
	if day < 1 || day > days {
		return 0, false
	}
	return first.AddDate(0, 0, day-1).Unix() + clock, true
}

// readZones reads a calendar to its end for the zones in it.
func readZones(in *calendarReader) (*zones, error) {
	z := &zones{own: map[string]*ownZone{}, known: map[string]*time.Location{}}
	var zone *ownZone
	var name string
	var o *observance
	read := 0
	for {
		p, err := in.property()
		if errors.Is(err, io.EOF) {
			return z, nil
		}
		if err != nil {
			return nil, err
		}
		if len(in.inside) < 2 || in.inside[1] != "VTIMEZONE" {
			if zone != nil && name != "" && len(z.own) < mostZones {
				z.own[name] = zone
			}
			zone, o = nil, nil
			continue
		}
		if p.name == "BEGIN" && len(in.inside) == 2 {
			zone, name = &ownZone{}, ""
			continue
		}
		if zone == nil {
			continue
		}
		switch {
		case len(in.inside) == 2 && p.name == "TZID":
			name = p.value
		case len(in.inside) == 2 && p.name == "END":
			o = nil
		case len(in.inside) == 3 && p.name == "BEGIN":
			o = &observance{}
			if read++; read > mostObservances {
				zone.unread = "too many changes"
				continue
			}
			zone.observances = append(zone.observances, o)
		case len(in.inside) == 3 && o != nil:
			if err := o.take(&p); err != nil {
				zone.unread = p.name + " " + err.Error()
			}
		}
	}
}

// take reads one property of an observance.
func (o *observance) take(p *property) (err error) {
	switch p.name {
	case "DTSTART":
		o.start, err = parseStamp(p.value)
	case "TZOFFSETFROM":
		o.from, err = parseOffset(p.value)
	case "TZOFFSETTO":
		o.to, err = parseOffset(p.value)
	case "RDATE":
		for text := range strings.SplitSeq(p.value, ",") {
			wall, bad := parseStamp(text)
			if bad != nil || len(o.dates) == mostObservances {
				return fmt.Errorf("with %s", quote(text))
			}
			o.dates = append(o.dates, wall)
		}
	case "RRULE":
		err = o.rule(p.value)
	}
	if err != nil {
		return fmt.Errorf("with %s", quote(p.value))
	}
	return nil
}

var errRule = errors.New("a rule that is not read")

// rule reads the rules that zones have: once a year, on a weekday of a month.
func (o *observance) rule(text string) (err error) {
	for part := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch strings.ToUpper(key) {
		case "FREQ":
			o.yearly = strings.EqualFold(value, "YEARLY")
		case "BYMONTH":
			var n int
			if n, err = strconv.Atoi(value); err != nil || n < 1 || n > 12 {
				return errRule
			}
			o.month = time.Month(n)
		case "BYDAY":
			if len(value) < 2 {
				return errRule
			}
			at := slices.Index([]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}, strings.ToUpper(value[len(value)-2:]))
			if nth := value[:len(value)-2]; nth != "" {
				o.nth, err = strconv.Atoi(nth)
			}
			if err != nil || at < 0 || o.nth < -5 || o.nth > 5 {
				return errRule
			}
			o.weekday = time.Weekday(at)
		case "BYMONTHDAY":
			for d := range strings.SplitSeq(value, ",") {
				n, err := strconv.Atoi(d)
				if err != nil || n < 1 || n > 31 || len(o.days) == 31 {
					return errRule
				}
				o.days = append(o.days, n)
			}
		case "UNTIL":
			if o.until, err = parseStamp(strings.TrimSuffix(value, "Z")); err != nil {
				return errRule
			}
		case "INTERVAL":
			if value != "1" {
				return errRule
			}
		case "WKST":
		default:
			return errRule
		}
	}
	if !o.yearly || o.month == 0 || (o.nth == 0) == (len(o.days) == 0) {
		return errRule
	}
	return nil
}

// parseOffset reads +0100 or -053000.
func parseOffset(text string) (int64, error) {
	if len(text) != 5 && len(text) != 7 || text[0] != '+' && text[0] != '-' || digitsOnly(text[1:]) != len(text)-1 {
		return 0, errRule
	}
	n := func(i int) int64 { return int64(text[i]-'0')*10 + int64(text[i+1]-'0') }
	sec := n(1)*3600 + n(3)*60
	if len(text) == 7 {
		sec += n(5)
	}
	if n(1) > 23 || n(3) > 59 {
		return 0, errRule
	}
	if text[0] == '-' {
		sec = -sec
	}
	return sec, nil
}
