package authserver

import (
	"sync"
	"time"
)

// limiter counts failures by key, such as a username or an address: after max of
// them the key is blocked until the window, which began with the first, is over.
type limiter struct {
	max    int
	window time.Duration

	mu sync.Mutex
	m  map[string]*failures
}

type failures struct {
	n     int
	since time.Time
}

func newLimiter(most int, window time.Duration) *limiter {
	return &limiter{max: most, window: window, m: make(map[string]*failures)}
}

// blocked returns how long the key has to wait; 0 is not at all.
func (l *limiter) blocked(key string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	f, ok := l.m[key]
	if !ok || f.n < l.max {
		return 0
	}
	return max(0, f.since.Add(l.window).Sub(now))
}

// fail counts a failure.
func (l *limiter) fail(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for k, f := range l.m {
		if now.Sub(f.since) >= l.window {
			delete(l.m, k)
		}
	}
	f, ok := l.m[key]
	if !ok {
		f = &failures{since: now}
		l.m[key] = f
	}
	f.n++
}

// clear forgets the failures of a key.
func (l *limiter) clear(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.m, key)
}
