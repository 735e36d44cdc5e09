package uploader

import (
	"fmt"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// A plan in which so many new entries equal sent ones under other keys does
// not come from new work, but from a new way of reading old work.
const (
	suspectAtLeast = 5
	suspectPart    = 5 // one in five
)

// readingError refuses a plan that would send history again.
type readingError struct {
	suspects, added int
}

func (e *readingError) Error() string {
	return fmt.Sprintf("%d of %d new entries equal sent ones in person, date and duration, under other keys: the source is read in another way than before; nothing of it was sent", e.suspects, e.added)
}

// Hint names the likely causes.
func (e *readingError) Hint() string {
	return "look for a change of the source's id (or of its name, where it has no id of its own), of columns (id, project, task, notes, start, end) or of the export's settings, and undo it; or start a new source for days from now on with --since"
}

// judgement is what the judge finds over all days, before anything is moved.
type judgement struct {
	suspects, added int
	changed         []timesheet.Packed // new entries that look like edits of sent ones
	overfull        []timesheet.Packed // new entries of days that are too long
	overlapping     []timesheet.Packed // new entries that run while others do
	doubled         []timesheet.Packed // new entries whose id stands for something else too
	withdrawn       []timesheet.Packed // planned, never sent, gone from the source
	released        []timesheet.Packed // held or refused for what is no longer so
	missing         []timesheet.Packed // sent, gone from the source
	back            []timesheet.Packed // flagged as missing, but in rows that are refused
	rounded         []timesheet.Packed // planned, with no time left of the rounded day
	roundings       []timesheet.Rounded
	// kept are entries that do not go out, with why: what follows of the same row
	// over midnight does not either.
	kept map[timesheet.Packed]timesheet.Reason
}

// personDay is one person's day in a plan.
type personDay struct {
	total   timesheet.Seconds
	present bool // the read has rows of it
	added   []timesheet.Fresh
	absent  []timesheet.Known
	held    []timesheet.Known // held or refused so far for what the read may have mended
	former  []timesheet.Known // what sources have sent that are no longer configured
	lines   lines
}

// judge looks at every day as a whole and moves entries of the plan that must
// not simply go out.
func (p *plan) judge(survey *timesheet.Survey) error {
	v := judgement{kept: map[timesheet.Packed]timesheet.Reason{}}
	window := p.window(survey)
	if window != nil {
		p.tx.Cover(*window)
	}
	if p.overlaps != nil {
		if err := p.overlaps.find(p.tx); err != nil {
			return err
		}
	}
	if err := p.tx.Days(p.feed.Rounding.Unit > 0, func(day timesheet.Day, known []timesheet.Known, added []timesheet.Fresh) error {
		complete := survey.Complete && (survey.Window == nil || survey.Window.Has(day))
		for name, d := range p.byPerson(known, added) {
			// Who is gone as a whole need not have deleted anything: the export may
			// only not show that person any more.
			d.present = d.present || window != nil && window.Has(day) && p.people[name]
			if err := p.judgePerson(&v, name, day, d, complete); err != nil {
				return err
			}
		}
		return p.round(&v, roundTogether)
	}); err != nil {
		return err
	}
	if v.suspects >= suspectAtLeast && v.suspects*suspectPart > v.added {
		return &readingError{suspects: v.suspects, added: v.added}
	}
	if err := p.round(&v, 0); err != nil {
		return err
	}
	for _, m := range []struct {
		keys []timesheet.Packed
		fate timesheet.Fate
	}{
		{v.changed, timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonChanged, Detail: "an entry of this person and day that was sent is no longer in the source"}},
		{v.overfull, timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonDayTotal, Detail: "the person's day is longer than max_hours_per_day"}},
		{v.overlapping, p.overlapFate()},
		{v.doubled, timesheet.Fate{State: timesheet.StateRejected, Reason: timesheet.ReasonDuplicateID, Detail: "its id stands for two contents in one read"}},
		{v.rounded, timesheet.Fate{State: timesheet.StateSkipped, Reason: timesheet.ReasonRounded}},
		{v.withdrawn, timesheet.Fate{State: timesheet.StateSkipped, Reason: timesheet.ReasonWithdrawn}},
		{v.released, timesheet.Fate{State: timesheet.StateNew}},
	} {
		if len(m.keys) == 0 {
			continue
		}
		if err := p.tx.Hold(m.keys, m.fate); err != nil {
			return err
		}
	}
	back, err := p.tx.SeenMissing()
	if err != nil {
		return err
	}
	p.report.Withdrawn, p.report.Missing = len(v.withdrawn), len(v.missing)
	return p.tx.Missing(v.missing, append(back, v.back...))
}

// window is the days on which everything absent is gone, also where the read
// has no row of the day at all; nil where there are none.
func (p *plan) window(survey *timesheet.Survey) *timesheet.Window {
	if !survey.Complete || p.cfg.Since != nil || p.cfg.Until != nil || p.feed.Part {
		return nil
	}
	return survey.Window
}

func (p *plan) byPerson(known []timesheet.Known, added []timesheet.Fresh) map[string]*personDay {
	days := make(map[string]*personDay, len(added))
	of := func(name string) *personDay {
		d := days[name]
		if d == nil {
			d = &personDay{}
			days[name] = d
		}
		return d
	}
	for _, k := range known {
		d := of(k.Person)
		if k.Source != p.feed.ID {
			// A source that is configured beside this one has hours of its own;
			// one that no longer is may be this one under its old id.
			if atAPI(k.State) && !slices.Contains(p.cfg.Configured, k.Source) {
				d.former = append(d.former, k)
			}
			continue
		}
		if !k.Seen {
			d.absent = append(d.absent, k)
			continue
		}
		d.present = true
		if mayBeMended(&k) {
			d.held = append(d.held, k)
		}
		if k.State != timesheet.StateSkipped && k.State != timesheet.StateRejected {
			d.total += k.Seconds
		}
		if p.feed.Rounding.Unit > 0 || k.Rounding != 0 {
			d.lines.known(&k, p.changes)
		}
	}
	for _, f := range added {
		d := of(f.Person)
		d.present = true
		d.total += f.Seconds
		d.added = append(d.added, f)
	}
	return days
}

// mayBeMended tells whether an entry is held or refused for what a later read
// may no longer show.
func mayBeMended(k *timesheet.Known) bool {
	switch k.Reason {
	case timesheet.ReasonDayTotal, timesheet.ReasonChanged, timesheet.ReasonDuplicateID, timesheet.ReasonOverlap:
		return true
	default:
		return false
	}
}

// atAPI tells whether the API has, or may have, an entry.
func atAPI(s timesheet.State) bool {
	return s == timesheet.StateSent || s == timesheet.StateSending || s == timesheet.StateInDoubt
}

func (p *plan) judgePerson(v *judgement, name string, day timesheet.Day, d *personDay, complete bool) error {
	if _, refused := p.refused[name][day]; refused {
		d.present = true
	}
	proof := d.present && complete && !p.feed.Part
	here := d.absent[:0]
	for i := range d.absent {
		k := &d.absent[i]
		if atAPI(k.State) && p.strangers[k.Key.ID()] {
			if err := p.stranger(v, d, k); err != nil {
				return err
			}
			continue
		}
		elsewhere, err := p.elsewhere(k)
		if err != nil {
			return err
		}
		if !elsewhere || p.feed.Part {
			here = append(here, *k)
		}
		if (!proof || elsewhere) && !k.Missing && p.feed.Rounding.Unit > 0 {
			d.lines.known(k, nil)
		}
	}
	if d.absent = here; p.feed.Part {
		d.absent = partial(d)
	}
	gone := map[timesheet.Seconds]int{}
	anyGone := false
	for _, k := range d.absent {
		switch {
		case atAPI(k.State):
			gone[k.Seconds]++
			anyGone = true
			if proof && k.State == timesheet.StateSent {
				v.missing = append(v.missing, k.Key)
			}
		case proof && k.State != timesheet.StateSkipped:
			v.withdrawn = append(v.withdrawn, k.Key)
		}
		if proof {
			if err := p.laterParts(v, k.Key); err != nil {
				return err
			}
		}
	}
	overfull := p.feed.MaxPerDay > 0 && d.total > p.feed.MaxPerDay
	for _, k := range d.held {
		still := overfull || p.overlapping(k.Key)
		switch k.Reason {
		case timesheet.ReasonChanged:
			still = still || anyGone
		case timesheet.ReasonDuplicateID:
			still = still || p.bad[k.Key.ID()]
		default: // held for the day as it is
		}
		if why, row := v.kept[k.Key.Prev()]; row && why == k.Reason {
			still = true
		}
		if still {
			v.kept[k.Key] = k.Reason
		}
		if !still && !p.feed.Part {
			v.released = append(v.released, k.Key)
			p.report.release(k.State, k.Reason, name, day, k.Seconds)
			if p.feed.Rounding.Unit > 0 || k.Rounding != 0 {
				d.lines.open = append(d.lines.open, line{key: k.Key, seconds: k.Seconds, rounding: k.Rounding, seen: true})
			}
		}
	}
	for _, k := range d.former {
		gone[k.Seconds]++
	}
	for _, f := range d.added {
		if !f.New {
			if f.State == timesheet.StateSent { // assumed to be
				d.lines.read, d.lines.sent = d.lines.read+f.Seconds, d.lines.sent+f.Seconds
			}
			continue
		}
		v.added++
		if gone[f.Seconds] > 0 {
			gone[f.Seconds]--
			v.suspects++
		}
		switch p.keep(v, &f, anyGone, overfull) {
		case timesheet.ReasonDuplicateID:
			v.doubled = append(v.doubled, f.Key)
			p.report.move(timesheet.StateRejected, timesheet.ReasonDuplicateID, name, day, f.Seconds)
		case timesheet.ReasonChanged:
			v.changed = append(v.changed, f.Key)
			p.report.move(timesheet.StateHeld, timesheet.ReasonChanged, name, day, f.Seconds)
		case timesheet.ReasonOverlap:
			v.overlapping = append(v.overlapping, f.Key)
			fate := p.overlapFate()
			p.report.move(fate.State, fate.Reason, name, day, f.Seconds)
		case timesheet.ReasonDayTotal:
			v.overfull = append(v.overfull, f.Key)
			p.report.move(timesheet.StateHeld, timesheet.ReasonDayTotal, name, day, f.Seconds)
		default:
			if p.feed.Rounding.Unit > 0 {
				d.lines.open = append(d.lines.open, line{key: f.Key, seconds: f.Seconds, fresh: true})
			}
		}
	}
	p.roundDay(v, name, day, &d.lines)
	if p.feed.Overlap == OverlapWarn {
		p.report.Overlaps += overlapsOn(d.added)
	}
	return nil
}

// stranger takes an entry that was sent, and whose row is refused now because of
// its person, for what it is: not gone.
func (p *plan) stranger(v *judgement, d *personDay, k *timesheet.Known) error {
	d.total += k.Seconds
	if p.feed.Rounding.Unit > 0 || k.Rounding != 0 {
		d.lines.known(k, nil)
	}
	if k.State == timesheet.StateSent {
		p.report.Strangers++
	}
	for key := k.Key; k != nil; key = key.Next() {
		v.back = append(v.back, key)
		var err error
		if k, err = p.tx.Peek(key.Next()); err != nil {
			return err
		}
	}
	return nil
}

// keep tells why a new entry does not go out; empty where it does.
func (p *plan) keep(v *judgement, f *timesheet.Fresh, anyGone, overfull bool) (why timesheet.Reason) {
	switch {
	case p.bad[f.Key.ID()] || f.Conflict:
		why = timesheet.ReasonDuplicateID
	case anyGone && !f.Trusted:
		why = timesheet.ReasonChanged
	case p.overlapping(f.Key):
		why = timesheet.ReasonOverlap
	case overfull:
		why = timesheet.ReasonDayTotal
	}
	if p.report.Split == 0 {
		return why
	}
	if why == "" {
		why = v.kept[f.Key.Prev()]
	}
	if why != "" {
		v.kept[f.Key] = why
	}
	return why
}

// roundTogether is how many roundings are written together.
const roundTogether = 16384

// round writes down how entries are rounded, if they are more than most.
func (p *plan) round(v *judgement, most int) error {
	if len(v.roundings) <= most {
		return nil
	}
	err := p.tx.Round(v.roundings)
	v.roundings = v.roundings[:0]
	return err
}

// partial makes of what a read of only some rows lacks what can still be said:
// it counts towards the day, and what an earlier complete read has found
// missing may be what a row of this one is an edit of.
func partial(d *personDay) (missing []timesheet.Known) {
	for _, k := range d.absent {
		if k.State != timesheet.StateSkipped && k.State != timesheet.StateRejected && !k.Missing {
			d.total += k.Seconds
		}
		if k.Missing {
			missing = append(missing, k)
		}
	}
	return missing
}
