package source

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	retries      = 3
	retryWaitMin = 500 * time.Millisecond
	retryWaitMax = 10 * time.Second
	// maxRetryAfter is how long an export may ask a run to wait.
	maxRetryAfter = time.Minute
	maxRedirects  = 5
)

// newClient makes the client of one fetch. Its own timeout bounds one attempt,
// body included; attempts and waits together are bounded by the context.
func (f *fetch) newClient() *retryablehttp.Client {
	c := retryablehttp.NewClient()
	c.Logger = nil // the default one writes URLs, queries and all, to stderr
	c.RetryMax = retries
	c.RetryWaitMin, c.RetryWaitMax = retryWaitMin, retryWaitMax
	c.CheckRetry = checkRetry
	c.Backoff = backoff
	// Without it the last answer, and so its status, is thrown away.
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.HTTPClient = &http.Client{
		Transport: f.h.Transport,
		Timeout:   f.h.Timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errRedirects
			}
			if !sameOrigin(req.URL, f.first) {
				return errElsewhere
			}
			if req.Method != via[0].Method {
				return errMethod
			}
			return nil
		},
	}
	return c
}

var (
	errRedirects = errors.New("too many redirects")
	errElsewhere = errors.New("the server redirects to another one")
	errMethod    = errors.New("the server redirects to an address that takes no body")
)

func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		if _, ours := errors.AsType[*Error](err); ours {
			return false, nil // the transport has no credentials, and has tried for them
		}
		// What a redirect, a certificate or a bad URL causes does not go away.
		again, _ := retryablehttp.DefaultRetryPolicy(ctx, nil, err)
		return again && !errors.Is(err, errElsewhere) && !errors.Is(err, errRedirects) && !errors.Is(err, errMethod), nil
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return asksToWait(resp) <= maxRetryAfter, nil
	case http.StatusPaymentRequired:
		// Also how a quota that is used up is told; then it says until when.
		wait := asksToWait(resp)
		return wait > 0 && wait <= maxRetryAfter, nil
	default:
		return resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented, nil
	}
}

// backoff waits as long as the server asks, or else a random time below a
// growing bound.
func backoff(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
	if resp != nil {
		if wait := asksToWait(resp); wait > 0 {
			return min(wait, maxRetryAfter)
		}
	}
	bound := min(least<<min(attempt, 16), most)
	return least/2 + rand.N(bound) //nolint:gosec // jitter is no secret
}

// retryAfter reads Retry-After, in seconds or as a date; nonsense is 0. It
// cannot overflow.
func retryAfter(resp *http.Response) time.Duration {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(n, 1<<30)) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return 1 << 30 * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// get asks for a page until there is an answer of 200, or one that ends the
// pages, or an error that says why not.
func (f *fetch) get(ctx context.Context, at *spot) (*http.Response, error) {
	var body any
	if f.h.Body != "" {
		body = []byte(f.body(at))
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, f.h.Method, at.url.String(), body)
	if err != nil {
		return nil, &Error{Message: "the URL cannot be asked for"}
	}
	req.Header.Set("Accept", "text/csv, application/json;q=0.9, */*;q=0.1")
	req.Header.Set("User-Agent", "tsupload")
	if f.h.Body != "" {
		req.Header.Set("Content-Type", f.h.contentType())
	}
	conditional := at.count == 0 && f.condition != nil
	if conditional {
		f.condition.ask(req.Header)
	}
	if err := f.authorize(ctx, req.Header); err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		own, ours := errors.AsType[*Error](err)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case ours:
			return nil, own
		case errors.Is(err, errElsewhere), errors.Is(err, errRedirects), errors.Is(err, errMethod):
			return nil, &Error{Message: "not followed", HintText: "name the final address in http.url; credentials are not sent to another server", Err: noURL(err)}
		}
		hint := "check http.url and the network; run again later"
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
			hint = "check http.url, the certificate on the server, and this machine's clock; http.ca_file names a private authority"
		}
		return nil, &Error{Message: "cannot be reached", HintText: hint, Err: noURL(err)}
	}
	if resp.StatusCode == http.StatusOK || f.ended(at, resp) || conditional && resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
	e := &Error{Message: "the server answered " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Refused = true
		e.HintText = "the credentials of this source are refused: check http.auth and what they may read"
	case code == http.StatusPaymentRequired && asksToWait(resp) > 0:
		e.Message += ": the quota of requests is used up"
		e.HintText = fmt.Sprintf("it begins anew in %s; run again after that, and less often", asksToWait(resp).Round(time.Second))
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		e.HintText = "it is busy; run again later"
		if wait := asksToWait(resp); wait > 0 {
			e.HintText = fmt.Sprintf("it is busy and asks to wait %s; run again after that", wait.Round(time.Second))
		}
	case code >= 500:
		e.HintText = "run again later"
	default:
		e.HintText = "check http.url and its query"
	}
	return nil, e
}

// authorize asks for the secrets and puts them into the header. What a secret's
// own error says may name a file or a key, never its content.
func (f *fetch) authorize(ctx context.Context, h http.Header) error {
	read := func(what string, s Secret) (string, error) {
		b, err := s(ctx)
		if err != nil {
			return "", &Error{Message: what + " cannot be read", Refused: true, HintText: "check the reference to the secret", Err: err}
		}
		text := strings.TrimRight(string(b), "\r\n")
		if strings.ContainsAny(text, "\r\n\x00") {
			return "", &Error{Message: what + " has more than one line", Refused: true, HintText: "check the secret"}
		}
		return text, nil
	}
	for name, s := range f.h.Headers {
		key := "http.headers." + name
		if name == f.h.tokenHeader {
			key = "http.auth.token"
		}
		text, err := read(key, s)
		if err != nil {
			return err
		}
		h.Set(name, text)
	}
	if f.h.Bearer != nil {
		key := "http.auth.bearer"
		if f.h.Token != nil {
			key = "http.auth.token"
		}
		text, err := read(key, f.h.Bearer)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Bearer "+text)
	}
	if f.h.Password != nil {
		text, err := read("http.auth.basic.password", f.h.Password)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(f.h.Username+":"+text)))
	}
	return nil
}

// noURL takes the URL, which may hold secrets in its query, off an error of
// net/http.
func noURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
