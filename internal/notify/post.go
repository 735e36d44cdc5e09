package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Bounds of a request.
const (
	requestTimeout = 10 * time.Second // of both attempts together, secret included
	attemptTimeout = 6 * time.Second  // leaves the second one time
	attemptPause   = 500 * time.Millisecond
	attempts       = 2
)

// Secret reads a secret each time it is called.
type Secret func(ctx context.Context) ([]byte, error)

// poster posts to URLs that are secrets: its errors name the host only.
type poster struct{ client *http.Client }

func newPoster(t http.RoundTripper) *poster {
	return &poster{client: &http.Client{
		Transport: t,
		// Where a redirect leads is not what was configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post posts body to the URL that secret yields, changed by at; twice where the
// first attempt meets a fault that may pass.
func (p *poster) post(ctx context.Context, secret Secret, at func(*url.URL), contentType string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	raw, err := secret(ctx)
	if err != nil {
		return err
	}
	u, err := parseURL(strings.TrimSpace(string(raw)))
	if err != nil {
		return err
	}
	if at != nil {
		at(u)
	}
	for n := 1; ; n++ {
		again, err := p.once(ctx, u, contentType, body)
		if err == nil || !again || n == attempts || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(attemptPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

func (p *poster) once(ctx context.Context, u *url.URL, contentType string, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return false, errNoURL
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "tsupload")
	resp, err := p.client.Do(req)
	if err != nil {
		return true, &hostError{u.Host, reasonOf(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	// What is read to its end can be used for the next request.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 16<<10))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return false, nil
	}
	again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
	return again, &hostError{u.Host, fmt.Sprintf("answers with status %d", resp.StatusCode)}
}

// hostError is a request that failed. It says where, but not the URL.
type hostError struct{ host, reason string }

func (e *hostError) Error() string { return e.host + ": " + e.reason }

var errNoURL = errors.New("the secret is not a URL such as https://hooks.example.com/path (http only on loopback)")

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errNoURL
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errNoURL
	}
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// reasonOf tells what a failed request met in words that cannot carry the URL:
// those of net and crypto/tls name addresses and certificates at most, and
// anything else, such as an answer that is no HTTP, may quote what was sent.
func reasonOf(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	if errors.Is(err, context.Canceled) {
		return "given up at the end of the program"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Error()
	}
	if strings.HasPrefix(err.Error(), "tls: ") || strings.HasPrefix(err.Error(), "x509: ") {
		return err.Error()
	}
	return "no usable answer"
}
