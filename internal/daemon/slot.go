package daemon

import (
	"hash/fnv"
	"time"
)

// Slot is a time at which a source is due.
type Slot struct {
	// Name is the local date and wall time, 2026-03-29T02:30, whether that time
	// comes once, twice or never; with @every the instant, 2026-03-29T00:30:00Z.
	// One run stands for each name.
	Name string
	// First is the earliest slot that was missed and that the run of this one
	// stands for; Name where there is none.
	First string
	// Due is when the slot comes. One that the clock change jumps over comes as
	// much later as the clock jumps.
	Due time.Time
}

const (
	wallName    = "2006-01-02T15:04"
	instantName = "2006-01-02T15:04:05Z"
	// oldest bounds how far back missed slots are looked for.
	oldest = 400 * 24 * time.Hour
)

// A mark is where a source is in its schedule: the newest slot that is covered,
// as wall time written as UTC, or as an instant with @every. Going by marks, a
// name comes once and none is left out, whatever the zone's clock does.

// markAt is the mark of everything up to t.
func (s Schedule) markAt(t time.Time) time.Time {
	if s.every > 0 {
		return t.UTC().Truncate(time.Second)
	}
	return asUTC(t.In(s.zone)).Truncate(time.Minute)
}

// markOf is the mark of a slot of this schedule, or of one that it replaces.
func (s Schedule) markOf(slot Slot) time.Time {
	layout := wallName
	if s.every > 0 {
		layout = instantName
	}
	if t, err := time.Parse(layout, slot.Name); err == nil {
		return t
	}
	return s.markAt(slot.Due)
}

// slotAt is the slot at a mark.
func (s Schedule) slotAt(mark time.Time) Slot {
	slot := Slot{Name: mark.Format(wallName)}
	if s.every > 0 {
		slot.Name, slot.Due = mark.Format(instantName), mark.In(s.zone)
	} else {
		slot.Due = s.instant(mark)
	}
	slot.First = slot.Name
	return slot
}

// after is the mark that follows.
func (s Schedule) after(mark time.Time) time.Time {
	if s.every > 0 {
		return mark.Add(s.every)
	}
	return s.wall.Next(mark)
}

// covered is the newest slot after mark that has come at now, standing for all
// of them, and how many they are; none is 0.
func (s Schedule) covered(mark, now time.Time) (slot Slot, newest time.Time, n int) {
	if limit := s.markAt(now.Add(-oldest)); mark.Before(limit) {
		mark = limit
	}
	newest = mark
	if s.every > 0 {
		if n = int(now.Sub(mark) / s.every); n > 0 {
			newest = mark.Add(time.Duration(n) * s.every)
			slot = s.slotAt(newest)
		}
		return slot, newest, max(n, 0)
	}
	first := ""
	for next := s.after(mark); !next.IsZero() && !s.instant(next).After(now); next = s.after(next) {
		if n++; n == 1 {
			first = next.Format(wallName)
		}
		newest = next
	}
	if n > 0 {
		slot = s.slotAt(newest)
		slot.First = first
	}
	return slot, newest, n
}

// equal tells whether two schedules are due at the same times.
func (s Schedule) equal(other Schedule) bool {
	return s.expr == other.expr && s.zone.String() == other.zone.String()
}

// spread is how much later than its slot a source is run, so that installations
// with one schedule do not all come at once. It is the same after a restart.
func spread(source, slot string, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(source + "\x00" + slot))
	// The low bits of FNV hardly differ between names that differ at the end.
	sum := h.Sum64()
	sum ^= sum >> 32
	return time.Duration(sum % uint64(most)).Truncate(time.Second)
}
