package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestRoundedDays: whatever came when, and whatever was sent before, a person's
// lines of a day add up to the rounded day, a second run sends nothing, and the
// API has what the ledger says. Hours sent before there was rounding stay.
func TestRoundedDays(t *testing.T) {
	t.Parallel()
	for seed, c := range []struct {
		rounding string
		unit     int
		up, late bool
	}{
		{"15m", 900, false, false}, {"15m up", 900, true, false}, {"6m", 360, false, true}, {"30m up", 1800, true, true}, {"5m", 300, false, false}, {"1m up", 60, true, false},
	} {
		t.Run(c.rounding, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			w := newWorld(t)
			w.more = "    rounding: " + c.rounding + "\n"
			w.do(exitOK, "ledger", "create")
			lines := []string{"user_id,date,project,duration,notes"}
			for pass := range 6 {
				before := w.more
				if c.late && pass < 2 {
					w.more = ""
				}
				for range 1 + rnd.IntN(12) {
					length := 1 + rnd.IntN([]int{300, 2000, 9000}[rnd.IntN(3)])
					lines = append(lines, fmt.Sprintf("u-%d,2026-11-%02d,Project%d,%d:%02d:%02d,n%d", rnd.IntN(2), 16+rnd.IntN(3), rnd.IntN(3), length/3600, length/60%60, length%60, len(lines)))
				}
				w.write("in/hours.csv", lines...)
				now := time.Now()
				want := exitOK
				if pass == 3 { // planned and rounded, but not sent
					w.faults("429=86400")
					want = exitUnreachable
				}
				out, _ := w.do(want, "run", "--once")
				w.faults()
				if pass == 3 {
					continue
				}
				if again, _ := w.do(exitOK, "run", "--once"); !strings.Contains(again, "sent 0 entries") {
					t.Fatalf("pass %d, %s: a second run sent something\n%s\n%s", pass, time.Since(now), out, again)
				}
				w.do(exitOK, "check")
				w.checkDays(pass, c.unit, c.up, c.late)
				w.more = before
			}
		})
	}
}

// checkDays holds the ledger against the rounded days.
func (w *world) checkDays(pass, unit int, up, late bool) {
	w.tb.Helper()
	type day struct{ person, day string }
	read, sent, fresh := map[day]int{}, map[day]int{}, map[day]bool{}
	out, _ := w.do(exitOK, "entries", "-o", "json")
	for _, e := range w.objects(out, "entry") {
		at := day{e["person"].(string), e["day"].(string)}
		seconds, add := int(e["seconds"].(float64)), int(e["rounding"].(float64))
		switch {
		case e["state"] == "sent":
			read[at] += seconds
			sent[at] += seconds + add
			fresh[at] = fresh[at] || add != 0
			if seconds+add <= 0 {
				w.tb.Errorf("pass %d: an entry of %d seconds was sent", pass, seconds+add)
			}
		case e["state"] == "skipped" && e["reason"] == "rounded":
			read[at] += seconds
		default:
			w.tb.Fatalf("pass %d: %v", pass, e)
		}
	}
	for at, s := range read {
		add := unit / 2
		if up {
			add = unit - 1
		}
		want := (s + add) / unit * unit
		if late && (!fresh[at] || sent[at] > want) {
			continue // what was sent before there was rounding cannot be taken back
		}
		if sent[at] != want {
			w.tb.Errorf("pass %d, %v: read %d seconds, sent %d, want %d", pass, at, s, sent[at], want)
		}
	}
}
