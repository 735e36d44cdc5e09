package source

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// quotaHeaders are pairs of headers: requests left, and when they begin anew.
var quotaHeaders = [][2]string{
	{"X-Toggl-Quota-Remaining", "X-Toggl-Quota-Resets-In"},
	{"X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	{"Ratelimit-Remaining", "Ratelimit-Reset"},
}

// usedUp is how long no further request is allowed, by the headers; 0 where one
// is, or nothing is said.
func usedUp(h http.Header) time.Duration {
	var wait time.Duration
	for _, pair := range quotaHeaders {
		if strings.TrimSpace(h.Get(pair[0])) != "0" {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(h.Get(pair[1])), 10, 64)
		if err != nil || n < 0 {
			continue
		}
		d := time.Duration(min(n, 1<<30)) * time.Second
		// Some give the seconds until then, others the time, in seconds or in
		// milliseconds of Unix.
		switch {
		case n >= 1e14:
			continue
		case n >= 1e11:
			d = time.Until(time.UnixMilli(n))
		case n >= 1e8:
			d = time.Until(time.Unix(n, 0))
		}
		wait = max(wait, d)
	}
	return wait
}

// asksToWait is how long the server wants us to wait: what it says outright,
// or else until the quota begins anew.
func asksToWait(resp *http.Response) time.Duration {
	if wait := retryAfter(resp); wait > 0 {
		return wait
	}
	return usedUp(resp.Header)
}

// pause waits between two pages where no request is left, instead of asking
// and being refused.
func (f *fetch) pause(ctx context.Context, h http.Header) error {
	wait := usedUp(h)
	if wait <= 0 {
		return nil
	}
	if wait > maxRetryAfter {
		return &Error{
			Message:  "the quota of requests is used up, and there are more pages",
			HintText: fmt.Sprintf("it begins anew in %s; run again after that, or ask for a shorter time with http.since", wait.Round(time.Second)),
		}
	}
	f.s.log.InfoContext(ctx, "waiting for the quota of the export", "wait", wait)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
