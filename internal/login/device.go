package login

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Prompt is what a person needs for the device grant.
type Prompt struct {
	// Address is the page to open, on any machine.
	Address string
	// Code is to be typed there.
	Code string
	// Complete is the page with the code filled in; empty where the server has none.
	Complete string
	// ExpiresIn is how long the code holds.
	ExpiresIn time.Duration
}

// WithDevice lets a person log in with a browser anywhere (RFC 8628). show is called once; the code in it has to be shown
// even where there is a page with it filled in, so that the person can compare. It fails like WithBrowser.
func (c *Config) WithDevice(ctx context.Context, show func(Prompt) error) (Tokens, error) {
	if c.Server.DeviceEndpoint == "" {
		return Tokens{}, &Error{
			Kind: Refused, Problem: "the authorization server does not offer the device grant (device_authorization_endpoint)",
			hint: "log in with a browser on this machine: leave out --device, or use --no-browser and open the address by hand",
		}
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	conf, err := c.client(ctx)
	if err != nil {
		return Tokens{}, err
	}
	da, err := conf.DeviceAuth(c.through(ctx, c.base()), c.params()...)
	if err != nil {
		if outer.Err() != nil {
			return Tokens{}, outer.Err()
		}
		return Tokens{}, tokenError(ctx, "device request", err)
	}
	if da.DeviceCode == "" || da.UserCode == "" || !isWeb(da.VerificationURI) {
		return Tokens{}, &Error{Kind: Refused, Problem: "device request: the authorization server's answer lacks a code or a page to type it"}
	}
	p := Prompt{Address: plain(da.VerificationURI, 500), Code: plain(da.UserCode, 60), ExpiresIn: c.timeout()}
	if isWeb(da.VerificationURIComplete) {
		p.Complete = plain(da.VerificationURIComplete, 500)
	}
	if !da.Expiry.IsZero() {
		p.ExpiresIn = min(p.ExpiresIn, time.Until(da.Expiry))
	}
	if err := show(p); err != nil {
		return Tokens{}, err
	}
	// The library divides by nothing and multiplies by a second: keep both sane.
	if da.Interval < 1 {
		da.Interval = defaultInterval
	}
	da.Interval = min(da.Interval, maxInterval)
	deadline := da.Expiry
	poll := &polling{next: c.base(), interval: time.Duration(da.Interval) * time.Second}
	tok, err := conf.DeviceAccessToken(c.through(ctx, poll), da, c.params()...)
	switch {
	case err == nil:
		return c.tokens(tok, poll.asked)
	case outer.Err() != nil:
		return Tokens{}, outer.Err()
	case errors.Is(err, context.DeadlineExceeded) && (ctx.Err() != nil || !deadline.IsZero() && !time.Now().Before(deadline)):
		if poll.trouble != "" {
			return Tokens{}, &Error{Kind: Unavailable, Problem: "device login: the authorization server " + poll.trouble + ", until the time was over"}
		}
		return Tokens{}, &Error{Kind: Expired, Problem: "nobody logged in within the time"}
	}
	return Tokens{}, tokenError(ctx, "device login", err)
}

const (
	defaultInterval = 5 // seconds, RFC 8628 section 3.2
	maxInterval     = 5 * 60
	// A person is still at the login page while the server is away for a while.
	longestBackoff = 5 * time.Minute
)

// isWeb says whether a page may be shown to a person as one to open.
func isWeb(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopbackHost(u.Host))
}

// polling carries the polls of the device grant. The library ends at the first that gets no answer, though the login may
// be under way; here it is sent again, ever more slowly (RFC 8628 section 3.5), until its context ends.
type polling struct {
	next     http.RoundTripper
	interval time.Duration
	asked    time.Time // the last poll
	trouble  string    // how it ended, where that was no answer
}

// RoundTrip implements http.RoundTripper.
func (p *polling) RoundTrip(req *http.Request) (*http.Response, error) {
	// A tick of the library's that fell due while we waited must not make two polls in a row.
	if early := p.interval - time.Since(p.asked); !p.asked.IsZero() && early > 0 && !pause(req.Context(), early) {
		return nil, req.Context().Err()
	}
	wait := p.interval
	for {
		p.asked = time.Now().Round(0)
		resp, err := p.once(req)
		if err == nil {
			p.trouble = ""
			if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
				p.trouble = "answered HTTP " + strconv.Itoa(resp.StatusCode)
			}
		} else if req.Context().Err() == nil {
			p.trouble = "did not answer"
		}
		if req.Context().Err() != nil || err == nil && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			return resp, err
		}
		wait = min(wait*2, longestBackoff)
		if !pause(req.Context(), wait) {
			return nil, req.Context().Err()
		}
		again := req.Clone(req.Context())
		if req.GetBody == nil {
			return nil, errors.New("the request cannot be repeated")
		}
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req = again
	}
}

// pause says whether the time passed before the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once reads the answer too: one that is cut off is none.
func (p *polling) once(req *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// atMost keeps a number of seconds from the other end within what a duration can hold.
func atMost(seconds float64) int64 {
	const day = 24 * 60 * 60
	if math.IsNaN(seconds) || seconds < 0 {
		return 0
	}
	return int64(min(seconds, day))
}
