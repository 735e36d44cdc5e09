package source

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// stated is a duration that the row itself states, with how far it may be from
// the truth.
type stated struct {
	set     bool
	sec     timesheet.Seconds
	below   timesheet.Seconds // the truth may be this much less
	above   timesheet.Seconds // or this much more
	clock   bool              // h:mm(:ss)
	exact   bool              // to the second
	damage  damage            // then sec is not known
	text    string
	ofField field
}

// durationField is the column that a complaint about the length points at.
func (c *converter) durationField() field {
	for _, f := range []field{fieldDuration, fieldHours} {
		if c.t.has(f) {
			return f
		}
	}
	return fieldEnd
}

// duration settles how long the row is: start and end beat h:mm, which beats
// decimal hours; what disagrees by more than its writing explains is refused.
func (c *converter) duration(rec *record, start, end *moment) (timesheet.Seconds, timesheet.Reason, *fault) {
	var ways [2]stated
	for i, w := range []struct {
		text   string
		f      field
		format string
	}{{rec.Duration, fieldDuration, c.cfg.DurationFormat}, {rec.Hours, fieldHours, ""}} {
		if w.text == "" {
			continue
		}
		if f := c.stated(&ways[i], unguard(clean(w.text)), w.f, w.format); f != nil {
			return 0, "", f
		}
	}
	timed := c.t.has(fieldStart) && c.t.has(fieldEnd)
	for i := range ways {
		w := &ways[i]
		switch {
		case w.damage.name == "" || timed && start.set && end.set:
		case timed && start.set && (c.t.lay.preset != nil || w.damage.rest == 0):
			*w = stated{} // a running timer's 0:00:00
		default:
			return 0, "", w.spoilt()
		}
	}
	best := &ways[0]
	if !best.set || !best.clock && ways[1].clock {
		best = &ways[1]
		if !best.set {
			best = &ways[0]
		}
	}
	switch {
	case timed && start.set && end.set:
		sec, f := c.between(start, end, best, ways[:])
		if f != nil {
			return sec, "", f
		}
		if sec == 0 {
			return 0, timesheet.ReasonZero, nil
		}
		return sec, "", nil
	case timed && start.set && (!best.set || best.sec == 0 || c.t.lay.preset != nil):
		// A tracker states how long a timer has run so far; more is to come.
		return 0, timesheet.ReasonRunning, nil
	case timed && end.set && !start.set:
		return 0, "", &fault{timesheet.ReasonMissing, fieldStart, "there is an end but no start", "fill in the start"}
	case !best.set:
		f := c.durationField()
		return 0, "", &fault{timesheet.ReasonMissing, f, "the row does not say how long it was", "fill in the hours, or take the row out"}
	}
	if other := &ways[1]; best == &ways[0] && other.set {
		if best.sec-best.below > other.sec+other.above || best.sec+best.above < other.sec-other.below {
			return best.sec, "", &fault{
				timesheet.ReasonDisagree, fieldHours,
				fmt.Sprintf("the row says both %s and %s", quote(best.text), quote(other.text)), "mend whichever is wrong",
			}
		}
	}
	if best.sec == 0 {
		return 0, timesheet.ReasonZero, nil
	}
	return best.sec, "", nil
}

// between is the time between start and end, where what the row states besides
// agrees with it.
func (c *converter) between(start, end *moment, best *stated, ways []stated) (timesheet.Seconds, *fault) {
	sec := c.span(start, end, best)
	slack := timesheet.Seconds(0)
	if c.t.lay.preset != nil && (start.minutes || end.minutes) {
		slack = 59 // cut to the minute, each
	}
	for i := range ways {
		w := &ways[i]
		switch {
		case !w.set:
		case w.damage.name != "":
			if !w.damage.proven(sec) {
				return sec, w.spoilt()
			}
		case w.sec < 0:
			return w.sec, nil // refused as what it is
		case w.agrees(sec, slack):
		case w.agrees(sec+c.shift(start, end), slack):
			// The clocks changed meanwhile. How long it was, the tracker knows; the
			// zone only tells why the wall says otherwise.
			if sec += c.shift(start, end); w.exact {
				sec = w.sec
			}
		default:
			if d := damaged(w.text); w.ofField == fieldDuration && d.proven(sec) {
				continue // a fraction of a day looks like hours
			}
			f := &fault{
				timesheet.ReasonDisagree, w.ofField,
				fmt.Sprintf("start and end are %s apart, but the row says %s", sec.Clock(), quote(w.text)),
				"mend whichever is wrong",
			}
			if off := max(sec-w.sec, w.sec-sec) - 43200; off >= -w.above-slack && off <= w.above+slack {
				f.message += ", 12 hours off: AM or PM was lost or changed"
				f.hint = exportAgain
			}
			return sec, f
		}
	}
	// A time without seconds is less exact than a duration that has them.
	if best.set && best.exact && slack > 0 {
		sec = best.sec
	}
	return sec, nil
}

// agrees tells whether sec, which may be off by slack, is what the row states.
func (w *stated) agrees(sec, slack timesheet.Seconds) bool {
	return sec+slack >= w.sec-w.below && sec-slack <= w.sec+w.above
}

// shift is by how much a change of the clocks, between start and end or in the
// hour around them, made the time that passed longer than the wall says.
func (c *converter) shift(start, end *moment) timesheet.Seconds {
	if start.hasOffset || end.hasOffset {
		return 0
	}
	_, before := c.at(start).Add(-time.Hour).Zone()
	_, after := c.at(end).Add(time.Hour).Zone()
	return timesheet.Seconds(before - after)
}

// spoilt refuses a duration that a spreadsheet damaged.
func (w *stated) spoilt() *fault {
	return &fault{timesheet.ReasonDamaged, w.ofField, quote(w.text) + " " + w.damage.name, exportAgain}
}

// span is the time between start and end: on the wall, so that a change of the
// clocks does not add or take an hour; by the offsets, where both have one.
func (c *converter) span(start, end *moment, said *stated) timesheet.Seconds {
	if start.hasOffset && end.hasOffset && start.hasDay && end.hasDay {
		return timesheet.Seconds(end.unix() - start.unix())
	}
	if end.hasDay {
		return timesheet.Seconds(end.day-start.day)*86400 + end.clock - start.clock
	}
	end.day = start.day
	sec := end.clock - start.clock
	// Without a day of its own, an end before the start is on the next one; so is
	// an equal one of a row that states a whole day.
	if sec < 0 || sec == 0 && said.set && said.sec == 86400 {
		end.day++
		sec += 86400
	}
	return sec
}

// stated reads one duration.
func (c *converter) stated(w *stated, text string, f field, format string) *fault {
	if text == "" {
		return nil
	}
	var err error
	if p := c.t.lay.preset; p != nil && format == "" && f == fieldDuration {
		format = p.durations
	}
	*w = stated{set: true, text: text, ofField: f, below: 1, above: 1}
	if p := c.t.lay.preset; p != nil && p.worked {
		if text == "-" {
			*w = stated{} // nothing
			return nil
		}
		if sec, ok := worked(text); ok {
			w.sec, w.exact, w.clock = sec, true, true
			return nil
		}
	}
	if format == "iso" {
		if format = "seconds"; text[0] == 'P' {
			sec, ok := parseISO(text)
			if !ok {
				return &fault{timesheet.ReasonBadDuration, f, quote(text) + " is not a duration such as PT1H30M15S", "mend the value"}
			}
			w.sec, w.exact, w.clock = sec, true, true
			return nil
		}
	}
	switch {
	case format == decimalMinutes:
		// Cut to whole ones by some versions, never rounded up.
		w.sec, err = parseMinutes(text)
		w.clock, w.above = true, 59
	case format == "minutes" || format == "seconds":
		var n int64
		n, err = timesheet.ParseCount(text)
		if w.sec = timesheet.Seconds(n); format == "minutes" {
			w.sec, w.below, w.above = w.sec*60, 59, 59
		}
		w.clock, w.exact = true, format == "seconds"
	case format == "h:mm" || format == "" && strings.Contains(text, ":"):
		if p := c.t.lay.preset; p != nil && p.unpadded {
			if sec, ok := padded(text); ok {
				w.sec, w.exact, w.clock = sec, true, true
				return nil
			}
		}
		if w.sec, w.exact, err = timesheet.ParseClock(text); !w.exact {
			// Cut to the minute by some trackers, never rounded up.
			w.above = 59
		}
		w.clock = true
	default:
		var decimals int
		w.sec, decimals, err = timesheet.ParseHours(ungroup(text, c.form.decimal), c.form.decimal)
		// Half a unit of the second decimal is 18 s, of the third 1.8 s.
		switch {
		case decimals <= 2:
			w.below, w.above = 18, 18
		case decimals == 3:
			w.below, w.above = 2, 2
		}
	}
	if err != nil {
		// Too many decimals are a fraction of a day only beside start and end.
		if d := damaged(text); d.name != "" && (f == fieldDuration && c.t.has(fieldStart) || !fraction.MatchString(text)) {
			w.damage = d
			return nil
		}
		return &fault{timesheet.ReasonBadDuration, f, quote(text) + " " + err.Error(), "mend the value, or set duration_format or decimal"}
	}
	return nil
}

var (
	millis     = regexp.MustCompile(`^\d{1,9}$`)
	hoursWords = regexp.MustCompile(`^(?:(\d{1,4})h)? ?(?:(\d{1,4})m)?$`)
)

// worked reads whole milliseconds, to the nearest second, and hours and minutes
// such as 1h 30m.
func worked(text string) (timesheet.Seconds, bool) {
	if millis.MatchString(text) {
		n, err := strconv.ParseInt(text, 10, 64)
		return timesheet.Seconds((n + 500) / 1000), err == nil
	}
	m := hoursWords.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	return addUp(m[1:], 3600, 60)
}

// addUp is a duration of so many of each unit; an empty number is none.
func addUp(numbers []string, units ...timesheet.Seconds) (sum timesheet.Seconds, ok bool) {
	for i, unit := range units {
		if numbers[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(numbers[i], 10, 64)
		if err != nil {
			return 0, false
		}
		sum += timesheet.Seconds(n) * unit
	}
	return sum, true
}

// decimalMinutes are minutes with a part, which is written with a point in every
// language.
const decimalMinutes = "minutes with a part"

var minutes = regexp.MustCompile(`^\d{1,7}(\.\d{1,20})?$`)

func parseMinutes(text string) (timesheet.Seconds, error) {
	if !minutes.MatchString(text) {
		return 0, errors.New("is not a number of minutes such as 90.5")
	}
	// A millionth of a minute is far below what is rounded to, and no float can
	// come in between.
	whole, part, _ := strings.Cut(text, ".")
	millionths, err := strconv.ParseInt(whole+(part + "000000")[:6], 10, 64)
	return timesheet.Seconds((millionths*60 + 500_000) / 1_000_000), err
}

// isoDuration is a duration of ISO 8601 in hours, minutes and seconds, which
// some APIs give with fractions of a second.
var isoDuration = regexp.MustCompile(`^PT(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,7})(?:\.\d{1,9})?S)?$`)

// parseISO reads PT1H30M15S.
func parseISO(text string) (timesheet.Seconds, bool) {
	m := isoDuration.FindStringSubmatch(text)
	if m == nil || text == "PT" {
		return 0, false
	}
	return addUp(m[1:], 3600, 60, 1)
}
