package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// recent keeps what was read for a while, so that little happens however often
// somebody asks from outside. One asks at a time; the others wait for it.
type recent[T any] struct {
	keep time.Duration
	read func(ctx context.Context) (T, error)
	// age counts calls of forget, which must not wait for a read under way.
	age atomic.Int64

	mu      sync.Mutex
	at      time.Time
	readAge int64
	value   T
	err     error
}

func newRecent[T any](keep time.Duration, read func(ctx context.Context) (T, error)) *recent[T] {
	return &recent[T]{keep: keep, read: read}
}

// get returns what was read lately, its error too, or reads it again.
func (r *recent[T]) get(ctx context.Context) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	age := r.age.Load()
	if !r.at.IsZero() && r.readAge == age && time.Since(r.at) < r.keep {
		return r.value, r.err
	}
	value, err := r.read(ctx)
	if ctx.Err() != nil {
		return value, err // the asker gave up; that says nothing
	}
	r.at, r.readAge, r.value, r.err = time.Now(), age, value, err
	return value, err
}

// forget lets the next get read again.
func (r *recent[T]) forget() { r.age.Add(1) }
