package tokencache

import (
	"context"
	"log/slog"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
)

// flight is a fetch under way; its fields are read after done is closed.
type flight struct {
	done  chan struct{}
	soft  bool
	least time.Duration
	got   *held
	err   error
}

// current returns the entry in memory, or waits for the fetch under way, or starts one.
func (c *Cache) current(ctx context.Context, least time.Duration) (Entry, error) {
	// A fetch joined halfway may end in a token refused meanwhile, or be a failed renewal; one fresh look is enough.
	for again := true; ; again = false {
		if err := ctx.Err(); err != nil {
			return Entry{}, &waitError{err}
		}
		now := time.Now()
		c.mu.Lock()
		if h := c.mem; h != nil && c.acceptable(h, now, false, least) {
			if h.renewable(now) && c.flight == nil && !c.closed && !now.Before(c.softAfter) {
				c.launch(true, 0)
			}
			c.mu.Unlock()
			c.memoryHits.Add(1)
			return h.Entry, nil
		}
		if c.flight == nil {
			if c.closed {
				c.mu.Unlock()
				return Entry{}, ErrClosed
			}
			c.launch(false, least)
		}
		f := c.flight
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return Entry{}, &waitError{ctx.Err()}
		case <-f.done:
		}
		if f.err != nil {
			if again && f.soft {
				continue
			}
			return Entry{}, f.err
		}
		c.mu.Lock()
		refused := c.isRejected(f.got.AccessToken)
		c.mu.Unlock()
		if (refused || f.least < least) && again {
			continue
		}
		return f.got.Entry, nil
	}
}

// launch starts a fetch that no caller's end can stop. It takes nothing from a caller's context either: a trace in there
// watches the caller's own request and must not see ours. The caller of launch holds mu.
func (c *Cache) launch(soft bool, least time.Duration) {
	f := &flight{done: make(chan struct{}), soft: soft, least: least}
	c.flight = f
	c.wg.Go(func() {
		var got *held
		err := rescue.Do(func() (err error) { got, err = c.obtain(c.life, soft, least); return err })
		if err != nil {
			c.failures.Add(1)
		}
		if err != nil && soft {
			c.log.LogAttrs(c.life, slog.LevelWarn, "token renewal failed, the current token stays in use", slog.Any("err", err))
		}
		c.mu.Lock()
		if err != nil {
			c.softAfter = time.Now().Add(softRetry)
		} else {
			c.mem = got
		}
		f.got, f.err = got, err
		c.flight = nil
		c.mu.Unlock()
		close(f.done)
	})
}
