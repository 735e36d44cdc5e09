package uploader

import (
	"net/http"
	"sync"
	"time"
)

// Limits of the breaker.
const (
	opensAfter = 5 // failures in a row
	maxProbes  = 3 // before the run gives up
)

// breaker stops lanes from running against an API that is down. It opens after
// failures in a row, of which an answer 2xx that is no evidence is one, and
// never because of a 4xx. While it is open, one lane after a pause may send one
// entry; when that works, all go on.
type breaker struct {
	mu     sync.Mutex
	base   time.Duration
	failed int
	open   bool
	probes int // that failed
	until  time.Time
	probe  bool // one is under way
}

func newBreaker(base time.Duration) *breaker { return &breaker{base: base} }

// saw takes note of how an attempt ended.
func (b *breaker) saw(class Class, resp *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	down := class == NotSent || class == Unknown && (resp == nil || resp.StatusCode >= 500 || resp.StatusCode < 300) || class == Busy && resp != nil && resp.StatusCode >= 500
	if !down {
		if class != NoToken {
			b.failed, b.open, b.probes, b.probe = 0, false, 0, false
		}
		return
	}
	b.failed++
	if b.open {
		b.probes++
		b.probe = false
		b.until = time.Now().Add(b.base << min(b.probes, 5))
		return
	}
	if b.failed >= opensAfter {
		b.open, b.until = true, time.Now().Add(b.base)
	}
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// admit says whether a lane may send now: freely, as the probe with one entry,
// after a wait, or not any more in this run.
func (b *breaker) admit() (ok, probe bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return true, false, 0
	case b.probes >= maxProbes:
		return false, false, 0
	case b.probe:
		return false, false, b.base
	}
	if wait := time.Until(b.until); wait > 0 {
		return false, false, wait
	}
	b.probe = true
	return true, true, 0
}
