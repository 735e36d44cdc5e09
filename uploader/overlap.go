package uploader

import (
	"cmp"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// What a Feed does about entries of one person that overlap in time.
const (
	OverlapWarn   = "warn"   // says how many there are, and sends them
	OverlapHold   = "hold"   // holds those that are not sent yet
	OverlapReject = "reject" // refuses those that are not sent yet
)

// leastOverlap is how long two entries must run together to overlap: trackers
// that cut times to the minute let neighbours touch by less.
const leastOverlap = 60

// overlaps finds the entries of one read that overlap others of the same
// person. What the plan adds, the ledger's index of it has already; of what was
// known before, sixteen bytes an entry are kept.
type overlaps struct {
	people map[string]uint32
	busy   []busy
	// judged are entries that an earlier plan held or refused: they may go out
	// once nothing overlaps them any more.
	judged map[timesheet.Packed]busy
	// found are the entries that overlap another.
	found map[timesheet.Packed]bool
}

// busy is when a person worked: from start, in seconds into the day, on the
// wall.
type busy struct {
	person         uint32
	day            timesheet.Day
	start, seconds uint32
}

func newOverlaps(feed *Feed) *overlaps {
	if feed.Overlap != OverlapHold && feed.Overlap != OverlapReject {
		return nil
	}
	return &overlaps{people: map[string]uint32{}, judged: map[timesheet.Packed]busy{}, found: map[timesheet.Packed]bool{}}
}

func (o *overlaps) person(name string) uint32 {
	id, ok := o.people[name]
	if !ok {
		id = uint32(len(o.people))
		o.people[string([]byte(name))] = id // it may be a part of a whole record
	}
	return id
}

// known notes an entry of the read that was planned before.
func (o *overlaps) known(e *timesheet.Entry, k *timesheet.Known) {
	if e.Start.IsZero() || k.State == timesheet.StateSkipped {
		return
	}
	h, m, s := e.Start.Clock()
	b := busy{person: o.person(e.Person), day: k.Key.Day(), start: uint32(h*3600 + m*60 + s), seconds: uint32(max(e.Duration, 0))}
	if mayBeMended(k) {
		o.judged[k.Key] = b
		return
	}
	if k.State == timesheet.StateRejected {
		return
	}
	o.busy = append(o.busy, b)
	// The day before the new entry's has no turn of its own where all of it is known.
	if end := b.start + b.seconds; end > 86400 {
		o.busy = append(o.busy, busy{person: b.person, day: b.day + 1, seconds: end - 86400})
	}
}

// stretch is an entry on its person's day.
type stretch struct {
	from, to int // seconds
	key      timesheet.Packed
	open     bool // not sent yet, under key
}

// find goes through the days of the read and marks what overlaps.
func (o *overlaps) find(tx Planning) error {
	slices.SortFunc(o.busy, func(a, b busy) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.person, b.person))
	})
	judged := map[busy][]stretch{} // by person and day
	for key, b := range o.judged {
		at := busy{person: b.person, day: b.day}
		judged[at] = append(judged[at], stretch{int(b.start), int(b.start + b.seconds), key, true})
	}
	var last timesheet.Day
	late := map[string][]stretch{} // of the last day, into this one
	return tx.Days(false, func(day timesheet.Day, known []timesheet.Known, added []timesheet.Fresh) error {
		days := map[string][]stretch{}
		for i := range added {
			if f := &added[i]; f.Start >= 0 {
				days[f.Person] = append(days[f.Person], stretch{f.Start, f.Start + int(f.Seconds), f.Key, f.New})
			}
		}
		for i := range known {
			if _, ours := o.judged[known[i].Key]; ours && days[known[i].Person] == nil {
				days[known[i].Person] = []stretch{}
			}
		}
		next := map[string][]stretch{}
		for name, day1 := range days {
			id := o.person(name)
			if day == last+1 {
				day1 = append(day1, late[name]...)
			}
			day1 = append(day1, judged[busy{person: id, day: day}]...)
			for _, b := range o.on(day, id) {
				day1 = append(day1, stretch{from: int(b.start), to: int(b.start + b.seconds)})
			}
			day1 = append(day1, o.after(day, id, day1)...)
			for _, s := range day1 {
				if s.to > 86400 && s.from < 86400 {
					s.from, s.to = s.from-86400, s.to-86400
					next[name] = append(next[name], s)
				}
			}
			o.mark(day1)
		}
		last, late = day, next
		return nil
	})
}

// on is when a person worked on a day, by entries that are known.
func (o *overlaps) on(day timesheet.Day, person uint32) []busy {
	by := func(b busy, at busy) int { return cmp.Or(cmp.Compare(b.day, at.day), cmp.Compare(b.person, at.person)) }
	from, _ := slices.BinarySearchFunc(o.busy, busy{day: day, person: person}, by)
	to := from
	for to < len(o.busy) && o.busy[to].day == day && o.busy[to].person == person {
		to++
	}
	return o.busy[from:to]
}

// after is what the day after has, where something of this day reaches into it:
// it may have nothing new, and so no turn of its own.
func (o *overlaps) after(day timesheet.Day, person uint32, of []stretch) (next []stretch) {
	if !slices.ContainsFunc(of, func(s stretch) bool { return s.to > 86400 }) {
		return nil
	}
	for _, b := range o.on(day+1, person) {
		next = append(next, stretch{from: 86400 + int(b.start), to: 86400 + int(b.start+b.seconds)})
	}
	return next
}

// mark goes along a person's day and finds what begins before another ends.
func (o *overlaps) mark(day []stretch) {
	slices.SortFunc(day, func(a, b stretch) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var longest stretch // of those so far, the one that ends last
	for i, s := range day {
		if i > 0 && min(longest.to, s.to)-s.from >= leastOverlap {
			for _, x := range []stretch{longest, s} {
				if x.open {
					o.found[x.key] = true
				}
			}
		}
		if i == 0 || s.to > longest.to {
			longest = s
		}
	}
}

// overlapping tells whether an entry that is not sent yet overlaps another, and
// that matters.
func (p *plan) overlapping(key timesheet.Packed) bool {
	return p.overlaps != nil && p.overlaps.found[key]
}

// overlapFate is what becomes of new entries that overlap others.
func (p *plan) overlapFate() timesheet.Fate {
	fate := timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonOverlap, Detail: "runs while another entry of the same person does"}
	if p.feed.Overlap == OverlapReject {
		fate.State = timesheet.StateRejected
	}
	return fate
}

// overlapsOn counts new entries of one person's day that begin before another
// ends.
func overlapsOn(day []timesheet.Fresh) int {
	timed := slices.DeleteFunc(slices.Clone(day), func(f timesheet.Fresh) bool { return f.Start < 0 })
	slices.SortFunc(timed, func(a, b timesheet.Fresh) int { return a.Start - b.Start })
	n, end := 0, 0
	for _, f := range timed {
		if min(end, f.Start+int(f.Seconds))-f.Start >= leastOverlap {
			n++
		}
		end = max(end, f.Start+int(f.Seconds))
	}
	return n
}
