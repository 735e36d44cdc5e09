package main

import (
	"context"
	"sync"
	"time"
)

// drainWithin gives a context that ends when the first signal was limit ago, for
// one pass; the daemon sees to its own runs. end has to be called.
func (a *app) drainWithin(ctx context.Context, limit time.Duration) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-a.stopping:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); waiting.Wait() }
}
