package uploader

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Rounding is to what a person's day is rounded: all entries of the source that
// are sent, or about to be, together. The zero Rounding rounds nothing.
type Rounding struct {
	Unit timesheet.Seconds
	Up   bool // else to the nearest, a half up
	Name string
}

// day is how long a day of s is when it is rounded.
func (r Rounding) day(s timesheet.Seconds) timesheet.Seconds {
	if r.Unit <= 0 {
		return s
	}
	add := r.Unit / 2
	if r.Up {
		add = r.Unit - 1
	}
	return (s + add) / r.Unit * r.Unit
}

// share divides a whole among parts in proportion: in steps of the unit, where
// that leaves something for each; else of a hundredth of an hour, which hours
// are written in without a remainder, or of a minute; else of a second. The
// shares add up to the whole.
func (r Rounding) share(whole timesheet.Seconds, parts []timesheet.Seconds) []timesheet.Seconds {
	fine := timesheet.Seconds(60)
	if r.Unit%36 == 0 {
		fine = 36
	}
	if shares, ok := inSteps(whole, r.Unit, parts, false); ok {
		return shares
	}
	if shares, ok := inSteps(whole, fine, parts, true); ok {
		return shares
	}
	shares, _ := inSteps(whole, 1, parts, true)
	return shares
}

// inSteps divides in steps, by the largest remainders, with all set those of
// parts that have nothing first; ok tells whether all parts have something. What
// is less than a step goes to the longest.
func inSteps(whole, step timesheet.Seconds, parts []timesheet.Seconds, all bool) (shares []timesheet.Seconds, ok bool) {
	sum := timesheet.Seconds(0)
	for _, p := range parts {
		sum += p
	}
	if sum == 0 {
		return make([]timesheet.Seconds, len(parts)), false
	}
	steps := whole / step
	shares = make([]timesheet.Seconds, len(parts))
	order := make([]int, len(parts))
	longest, left := 0, steps
	for i, p := range parts {
		shares[i] = p * steps / sum
		left -= shares[i]
		order[i] = i
		if p > parts[longest] {
			longest = i
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if none := cmp.Compare(min(shares[a], 1), min(shares[b], 1)); all && none != 0 {
			return none
		}
		return cmp.Compare(parts[b]*steps%sum, parts[a]*steps%sum)
	})
	for _, i := range order[:left] {
		shares[i]++
	}
	ok = true
	for i := range shares {
		ok = ok && shares[i] > 0
		shares[i] *= step
	}
	shares[longest] += whole - steps*step
	return shares, ok
}

// line is an entry of a person's day that is about to be sent.
type line struct {
	key      timesheet.Packed
	seconds  timesheet.Seconds
	rounding timesheet.Seconds // as planned before
	change   bool              // it replaces one that is sent
	fresh    bool              // this plan adds it
	skipped  bool              // so far its time was in that of the others
	seen     bool              // the read has it
}

// lines are what a person's day comes to at the API.
type lines struct {
	read, sent timesheet.Seconds // of what the API has, or may have
	open       []line
}

// known counts an entry that was planned before.
func (l *lines) known(k *timesheet.Known, changed map[timesheet.Packed]timesheet.Seconds) {
	switch {
	case k.State == timesheet.StateSent && changed[k.Key] > 0:
		l.open = append(l.open, line{key: k.Key, seconds: changed[k.Key], change: true, seen: k.Seen})
	case atAPI(k.State):
		l.read, l.sent = l.read+k.Seconds, l.sent+k.Seconds+k.Rounding
	case k.State == timesheet.StateNew:
		l.open = append(l.open, line{key: k.Key, seconds: k.Seconds, rounding: k.Rounding, seen: k.Seen})
	case k.State == timesheet.StateSkipped && k.Reason == timesheet.ReasonRounded:
		l.open = append(l.open, line{key: k.Key, seconds: k.Seconds, skipped: true, seen: k.Seen})
	default: // not sent
	}
}

// roundDay makes the lines of a person's day add up to the rounded day: what is
// sent stays, and what is not takes the remainder. Where no remainder is left,
// it is not sent.
func (p *plan) roundDay(v *judgement, name string, day timesheet.Day, l *lines) {
	if len(l.open) == 0 {
		return
	}
	slices.SortFunc(l.open, func(a, b line) int { return bytes.Compare(a.key[:], b.key[:]) })
	parts := make([]timesheet.Seconds, len(l.open))
	shares, total := parts, l.read
	for i := range l.open {
		parts[i] = l.open[i].seconds
		total += parts[i]
	}
	if p.feed.Rounding.Unit > 0 {
		shares = p.feed.Rounding.share(max(0, p.feed.Rounding.day(total)-l.sent), parts)
	}
	for i := range l.open {
		at, share := &l.open[i], shares[i]
		if share == 0 && at.change {
			share = at.seconds // a replacement cannot be left out, nor be of no hours
		}
		switch {
		case share == 0:
			if !at.skipped {
				v.rounded = append(v.rounded, at.key)
				if at.seen || at.fresh {
					p.report.move(timesheet.StateSkipped, timesheet.ReasonRounded, name, day, at.seconds)
				}
			}
			continue
		case at.skipped:
			v.released = append(v.released, at.key)
			if at.seen {
				p.report.release(timesheet.StateSkipped, timesheet.ReasonRounded, name, day, at.seconds)
			}
		}
		add := share - at.seconds
		if add != at.rounding || at.change {
			v.roundings = append(v.roundings, timesheet.Rounded{Key: at.key, Change: at.change, Add: add})
		}
		if at.seen || at.fresh {
			p.report.round(at.change, name, day, add)
		}
	}
}
