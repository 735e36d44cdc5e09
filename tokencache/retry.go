package tokencache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	retries      = 2
	retryWaitMin = 500 * time.Millisecond
	retryWaitMax = 5 * time.Second
	// What a server may ask us to wait; more is nonsense or someone else's mistake.
	maxRetryAfter = 15 * time.Minute
)

// retrying wraps the way to the authorization server in a few short retries.
func (c *Cache) retrying(base http.RoundTripper) http.RoundTripper {
	return &retryablehttp.RoundTripper{Client: &retryablehttp.Client{
		// This client is the one that would follow a redirect. Its timeout covers one attempt, body included.
		HTTPClient:   &http.Client{Transport: proving{base}, CheckRedirect: noRedirects, Timeout: c.cfg.Timeout / 3},
		Logger:       nil, // the default one prints addresses with their query
		RetryMax:     retries,
		RetryWaitMin: retryWaitMin,
		RetryWaitMax: retryWaitMax,
		CheckRetry:   checkRetry,
		Backoff:      backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler, // else the last answer is lost
		RequestLogHook: func(_ retryablehttp.Logger, req *http.Request, _ int) {
			if req.Method == http.MethodPost {
				c.requests.Add(1)
			}
		},
	}}
}

// checkRetry never returns an error: that would hide the answer's own.
func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // the client keeps its own error when this one is nil
	}
	var unproven *SecretError
	if err != nil {
		return !isCertificateError(err) && !errors.As(err, &unproven), nil
	}
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode < 500 || resp.StatusCode == http.StatusNotImplemented) {
		return false, nil
	}
	// A server that wants more time than we are ready to sit out gets it: the caller is told how much.
	wait, stated := retryAfter(resp.StatusCode, resp.Header, time.Now())
	return !stated || wait <= retryWaitMax, nil
}

func isCertificateError(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify)
}

// backoff is between nothing and the limit, whatever the server says; the library's own can be days, or negative.
func backoff(lo, hi time.Duration, attempt int, resp *http.Response) time.Duration {
	if resp != nil {
		if wait, stated := retryAfter(resp.StatusCode, resp.Header, time.Now()); stated {
			return max(lo/2, min(wait, hi))
		}
	}
	top := min(lo<<min(attempt+1, 10), hi)
	return lo/2 + rand.N(top-lo/2) //nolint:gosec // spreads load, guards nothing
}

// retryAfter reads how long the server wants to be left alone, from Retry-After, else from the rate-limit headers of
// common servers. The result is between 0 and maxRetryAfter; nonsense counts as not stated.
func retryAfter(status int, h http.Header, now time.Time) (time.Duration, bool) {
	if v := strings.TrimSpace(h.Get("Retry-After")); v != "" {
		if d, ok := seconds(v); ok {
			return d, true
		}
		if at, err := http.ParseTime(v); err == nil {
			return min(max(at.Sub(now), 0), maxRetryAfter), true
		}
	}
	// The rest is sent with every answer and says why we wait only when the limit was hit.
	if status != http.StatusTooManyRequests {
		return 0, false
	}
	// Unix seconds; only a moment still to come says anything.
	if at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && at > now.Unix() {
		return min(time.Duration(min(at-now.Unix(), 1<<31))*time.Second, maxRetryAfter), true
	}
	for _, q := range quotas(h) {
		if q.remaining == 0 && q.reset > 0 {
			return min(q.reset, maxRetryAfter), true
		}
	}
	return 0, false
}

// seconds reads a count of seconds of any size; a negative one says nothing.
func seconds(v string) (time.Duration, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	if errors.Is(err, strconv.ErrRange) && v[0] != '-' {
		return maxRetryAfter, true
	}
	if err != nil || n < 0 {
		return 0, false
	}
	return min(time.Duration(min(n, 1<<31))*time.Second, maxRetryAfter), true
}

// quota is one bucket of Auth0's token allotment: "b=per_hour;q=100;r=99;t=60".
type quota struct {
	bucket           string
	limit, remaining int64
	reset            time.Duration
}

func quotas(h http.Header) []quota {
	var out []quota
	for _, of := range []struct{ name, whose string }{{"Auth0-Client-Quota-Limit", ""}, {"Auth0-Organization-Quota-Limit", " of the organization"}} {
		for part := range strings.SplitSeq(h.Get(of.name), ",") {
			q := quota{remaining: -1}
			for field := range strings.SplitSeq(part, ";") {
				k, v, _ := strings.Cut(strings.TrimSpace(field), "=")
				n, err := strconv.ParseInt(v, 10, 64)
				switch {
				case k == "b":
					q.bucket = quote(v, 20) + of.whose
				case err != nil || n < 0:
				case k == "q":
					q.limit = n
				case k == "r":
					q.remaining = n
				case k == "t":
					q.reset = time.Duration(min(n, 1<<31)) * time.Second
				}
			}
			if q.limit > 0 && q.remaining >= 0 {
				out = append(out, q)
			}
		}
	}
	return out
}

// rateLimit is the limit of requests that many servers tell with each answer; the moment of its reset is in Unix seconds.
func rateLimit(h http.Header, asked time.Time) (Allotment, bool) {
	limit, err1 := strconv.ParseInt(h.Get("X-RateLimit-Limit"), 10, 64)
	remaining, err2 := strconv.ParseInt(h.Get("X-RateLimit-Remaining"), 10, 64)
	if err1 != nil || err2 != nil || limit <= 0 || remaining < 0 {
		return Allotment{}, false
	}
	a := Allotment{Bucket: "requests", Limit: limit, Remaining: remaining, ResetAt: asked}
	if at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && at > 0 && at < 1<<34 {
		a.ResetAt = time.Unix(at, 0)
	}
	return a, true
}

// allotments are the quotas and the rate limit in an answer that was asked for at a moment.
func allotments(h http.Header, asked time.Time) []Allotment {
	var list []Allotment
	for _, q := range quotas(h) {
		list = append(list, Allotment{Bucket: q.bucket, Limit: q.limit, Remaining: q.remaining, ResetAt: asked.Add(q.reset)})
	}
	if a, ok := rateLimit(h, asked); ok {
		list = append(list, a)
	}
	return list
}

// noteQuota warns before the allotment ends: then every run would fail.
func (c *Cache) noteQuota(ctx context.Context, h http.Header, now time.Time) {
	for _, a := range allotments(h, now) {
		level := slog.LevelDebug
		if a.Low(now) {
			level = slog.LevelWarn
		}
		c.log.LogAttrs(ctx, level, "token allotment", slog.String("bucket", a.Bucket), slog.Int64("limit", a.Limit),
			slog.Int64("remaining", a.Remaining), slog.Time("reset_at", a.ResetAt.UTC()))
	}
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// formRequest makes a request with a form, which can be repeated.
func formRequest(ctx context.Context, endpoint string, form url.Values) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return req, nil
}
