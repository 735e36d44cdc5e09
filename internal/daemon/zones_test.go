package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Zones with clock changes of all kinds: an hour, half an hour, at midnight, in
// Ramadan, given up, and none.
var manyZones = []string{ // a table
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Helsinki", "Europe/Dublin", "Europe/Moscow", "Europe/Istanbul",
	"Europe/Chisinau", "Atlantic/Azores", "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Anchorage",
	"America/St_Johns", "America/Havana", "America/Santiago", "America/Asuncion", "America/Sao_Paulo", "America/Nuuk", "America/Scoresbysund",
	"America/Port-au-Prince", "America/Tijuana", "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Lagos", "Asia/Beirut", "Asia/Jerusalem",
	"Asia/Gaza", "Asia/Tehran", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Sydney", "Australia/Lord_Howe",
	"Pacific/Auckland", "Pacific/Chatham", "Antarctica/Troll",
}

var manySchedules = []string{ // a table
	"0 */2 * * *", "0 0 * * *", "30 0 * * *", "30 1 * * *", "0 2 * * *", "15 2 * * *", "59 2 * * *", "30 3 * * *",
	"15 1,2,3 * * 0", "*/10 0-3 * * sun", "0 6 1,15 * *", "@every 7h",
}

// world is time as the daemon sees it: it can be set, and stands still while
// the machine sleeps.
type world struct{ offset atomic.Int64 }

func (w *world) now() time.Time { return time.Now().Round(0).Add(time.Duration(w.offset.Load())) }

// names lists every name of a schedule between two local times, both included,
// by the calendar alone.
func names(s Schedule, from, to string) (list []string) {
	t, err := time.Parse(wallName, from)
	if err != nil {
		panic(err)
	}
	for t = s.wall.Next(t.Add(-time.Minute)); t.Format(wallName) <= to; t = s.wall.Next(t) {
		list = append(list, t.Format(wallName))
	}
	return list
}

// checkOnce fails unless every name of the schedule, from the first in the book
// to the newest, is covered by exactly one run.
func checkOnce(t *testing.T, b *book, name string, s Schedule) {
	t.Helper()
	rows := slices.Clone(b.rows[name])
	slices.SortFunc(rows, func(x, y row) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	if len(rows) < 2 {
		t.Errorf("%s: only %d slots", name, len(rows))
		return
	}
	if s.every > 0 {
		return // an instant comes once
	}
	var covered []string
	for _, r := range rows[1:] { // the first is when the source was new
		if r.state != Done {
			t.Errorf("%s: %s is not done", name, r.Name)
		}
		covered = append(covered, names(s, r.First, r.Name)...)
	}
	after, err := time.Parse(wallName, rows[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	want := names(s, after.Add(time.Minute).Format(wallName), rows[len(rows)-1].Name)
	if !slices.Equal(covered, want) {
		i := 0
		for i < len(covered) && i < len(want) && covered[i] == want[i] {
			i++
		}
		t.Errorf("%s: covered %d slots, want %d; they differ from %v and %v on", name, len(covered), len(want), covered[i:min(i+3, len(covered))], want[i:min(i+3, len(want))])
	}
}

// Two years in every zone: each local slot is covered by one run, although the
// daemon is restarted and down at times, clock changes included. A slot comes
// when it is due, unless the daemon is down then.
func TestEverySlotOnce(t *testing.T) {
	t.Parallel()
	for _, name := range manyZones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 17, 0, time.UTC)))
				end := time.Now().AddDate(2, 0, 0)
				b := newBook(t)
				schedules := map[string]Schedule{}
				var sources []Source
				var up time.Time
				for _, expr := range manySchedules {
					s := in(t, expr, name)
					schedules[expr] = s
					sources = append(sources, b.source(expr, s, func(context.Context, <-chan struct{}, func()) Result {
						rows := b.rows[expr]
						slot := rows[len(rows)-1].Slot
						late := time.Since(slot.Due)
						// Times that a change leaves out come after it, among others;
						// they keep their order.
						if began, _ := slot.Due.ZoneBounds(); late > 0 && slot.Due.Sub(began) < 4*time.Hour {
							late = max(0, late-2*time.Hour)
						}
						if slot.Due.After(up) && late != 0 {
							t.Errorf("%s: %s is due at %v, and runs at %v", expr, slot.Name, slot.Due, time.Now())
						}
						return Result{}
					}))
				}
				chance := rand.New(rand.NewPCG(1, uint64(len(name))))
				for time.Now().Before(end) {
					d, err := New(Config{Settings: Settings{Sources: sources, Drain: time.Minute, Logger: slog.New(slog.DiscardHandler)}})
					if err != nil {
						t.Fatal(err)
					}
					d.look = 24 * time.Hour // nobody sets the clock
					up = time.Now()
					for_ := min(time.Duration(chance.IntN(60*24))*time.Hour, time.Until(end)+time.Second)
					if transition := up.Add(for_).In(zone(t, name)); chance.IntN(2) == 0 {
						// Be down over the next clock change.
						if _, change := transition.ZoneBounds(); !change.IsZero() && change.Before(end) {
							for_ = change.Sub(up) - time.Duration(chance.IntN(180))*time.Minute
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), for_)
					err = d.Run(ctx)
					cancel()
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(chance.IntN(5*60)) * time.Minute)
				}
				for expr, s := range schedules {
					checkOnce(t, b, expr, s)
				}
			})
		})
	}
}

// Somebody sets the clock by an hour, forth and back, and lets the machine sleep
// for eight: whatever is missed is caught up once, whatever comes again is not
// run again.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	for _, zoneName := range []string{"UTC", "Europe/Berlin", "America/New_York"} {
		for _, step := range []time.Duration{time.Hour, -time.Hour, 8 * time.Hour} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprint(zoneName, " ", step, " ", restart), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						testClockStep(t, zoneName, step, restart)
					})
				})
			}
		}
	}
}

func testClockStep(t *testing.T, zoneName string, step time.Duration, restart bool) {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC))) // the clocks of Berlin change in the night
	b := newBook(t)
	w := &world{}
	var runs int
	var sources []Source
	for _, expr := range []string{"*/20 * * * *", "30 2 * * *", "0 */3 * * *", "@every 40m"} {
		sources = append(sources, b.source(expr, in(t, expr, zoneName), func(context.Context, <-chan struct{}, func()) Result {
			runs++
			return Result{}
		}))
	}
	live := func(for_ time.Duration) {
		d, err := New(Config{Settings: Settings{Sources: sources, Drain: time.Minute, Logger: slog.New(slog.DiscardHandler)}})
		if err != nil {
			t.Fatal(err)
		}
		d.clock = w.now
		ctx, cancel := context.WithTimeout(t.Context(), for_)
		defer cancel()
		for at := 95 * time.Minute; at < for_; at += 275 * time.Minute {
			timer := time.AfterFunc(at, func() { w.offset.Add(int64(step)) })
			defer timer.Stop()
		}
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	if restart {
		for range 12 {
			live(4 * time.Hour)
			w.offset.Add(int64(step))
		}
	} else {
		live(32 * time.Hour)
	}
	for _, s := range sources {
		checkOnce(t, b, s.Name, s.Schedule)
		if n := len(b.rows[s.Name]); s.Name != "30 2 * * *" && n < 5 {
			t.Errorf("%s: only %d slots", s.Name, n)
		}
	}
	// What was missed is one run: there are no more of them than looks at a
	// clock that goes on.
	if most := 4 * 32 * 4; runs > most {
		t.Errorf("%d runs", runs)
	}
}

// After eight hours of sleep there is one run, for all that was missed.
func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		w := &world{}
		d, _ := build(t, of(b.source("a", every(t, "*/15 * * * *"), func(context.Context, <-chan struct{}, func()) Result { return Result{} })))
		d.clock = w.now
		ctx, cancel := context.WithTimeout(t.Context(), 32*time.Minute)
		defer cancel()
		time.AfterFunc(31*time.Minute, func() { w.offset.Store(int64(8 * time.Hour)) })
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
		rows := b.rows["a"]
		if len(rows) != 4 || rows[3].First != "2000-01-01T00:45" || rows[3].Name != "2000-01-01T08:30" || rows[3].state != Done {
			t.Errorf("got %+v", rows)
		}
	})
}
