package timesheets

import (
	"sync"
	"time"
)

// mostVerdicts bounds the memory; beyond it all are forgotten.
const mostVerdicts = 256

// verdicts remembers tokens that were found good. The zero value is empty.
type verdicts struct {
	mu   sync.Mutex
	good map[string]verdict
}

type verdict struct {
	caller
	until time.Time
}

// recall gives whom a token speaks for, as long as that holds.
func (v *verdicts) recall(token string, now time.Time) (caller, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.good[token]
	return known.caller, ok && now.Before(known.until)
}

// remember notes a good token until it is to be looked at anew, or ends.
func (v *verdicts) remember(token string, c caller, again, ends time.Time) {
	if ends.Before(again) {
		again = ends
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.good == nil || len(v.good) >= mostVerdicts {
		v.good = make(map[string]verdict)
	}
	v.good[token] = verdict{caller: c, until: again}
}
