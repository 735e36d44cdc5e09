package tokencache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// After a replacement was refused as well, more tokens will not help; for this long none is fetched because of a 401.
	refusedRest = time.Minute
	// So many replacements that the API has not taken yet may there be.
	maxUnproven = 2
)

// Transport puts the token on requests to the listed origins. An answer 401 that calls the token invalid, or gives no
// reason, drops the token and sends the request once more with another one; a second 401, and any 403, is returned as it
// is, and [Transport.Diagnosis] says what is known about the token. It belongs directly above the network's transport,
// under whatever repeats requests. Its fields are set once, before use.
type Transport struct {
	// Base carries the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
	// Cache gives the tokens.
	Cache *Cache
	// Origins lists where the token may go, each as scheme://host or a URL below it. Other requests fail unsent.
	Origins []string

	parse   sync.Once
	origins map[string]bool // Origins in one spelling

	mu        sync.Mutex
	refused   [sha256.Size]byte // the replacement that was refused as well
	refusedAt time.Time
	diagnosis []string
	// unproven are tokens that replaced refused ones and that the API has not taken yet; many requests at once would
	// otherwise fetch one after the other before the first learns that it does not help.
	unproven   [][sha256.Size]byte
	unprovenAt time.Time   // of the last
	doubtful   atomic.Bool // there are some
}

// Ready says whether a token with the expected scopes can be had.
func (t *Transport) Ready(ctx context.Context) error { return t.Cache.Ready(ctx) }

// Diagnosis lists facts about the token the API refused last, by a second 401 or a 403; nil if none was refused.
func (t *Transport) Diagnosis() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.diagnosis)
}

// RoundTrip implements http.RoundTripper. If no token can be had the cache's error is returned and nothing was sent, or,
// after a 401, nothing was executed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := t.allowed(req.URL); err != nil {
		closeBody(req.Body)
		return nil, err
	}
	tok, err := t.Cache.Token(ctx)
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	resp, err := t.send(req, req.Body, tok)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusForbidden:
		t.proved()
		t.note(tok, resp)
		return resp, nil
	case http.StatusUnauthorized:
	default:
		t.proved()
		return resp, nil
	}
	if !readChallenge(resp.Header).renewable() || t.resting(tok) {
		t.note(tok, resp)
		return resp, nil
	}
	t.Cache.Invalidate(tok.Value) //nolint:contextcheck // a refused token is dropped even when the request is over
	body, ok := rewind(req)
	if !ok {
		t.note(tok, resp)
		return resp, nil
	}
	next, err := t.Cache.Token(ctx)
	if err != nil || next.Value == tok.Value {
		closeBody(body)
		if err != nil {
			drain(resp)
			return nil, err
		}
		t.noteRefused(tok, resp)
		return resp, nil
	}
	t.replaced(next)
	drain(resp)
	resp, err = t.send(req, body, next)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		t.noteRefused(next, resp)
	case http.StatusForbidden:
		t.proved()
		t.note(next, resp)
	default:
		t.proved()
	}
	return resp, nil
}

// proved notes that the API takes tokens.
func (t *Transport) proved() {
	if !t.doubtful.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unproven = nil
	t.doubtful.Store(false)
}

// replaced notes a token that came in place of a refused one.
func (t *Transport) replaced(tok Token) {
	sum := sha256.Sum256([]byte(tok.Value))
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.unprovenAt) >= refusedRest {
		t.unproven = nil
	}
	if !slices.Contains(t.unproven, sum) {
		t.unproven, t.unprovenAt = append(t.unproven, sum), time.Now()
		t.doubtful.Store(true)
	}
}

// send passes on a copy that net/http cannot repeat by itself: with an idempotency key and GetBody it would send a POST
// again on a connection that broke, and nobody would know.
func (t *Transport) send(req *http.Request, body io.ReadCloser, tok Token) (*http.Response, error) {
	out := req.WithContext(req.Context())
	out.Body = body
	out.GetBody = nil
	// The lists in it are shared; one of our own is put in.
	if out.Header = maps.Clone(req.Header); out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header["Authorization"] = []string{"Bearer " + tok.Value}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(out)
}

// rewind gives the body a second time, if it can be had.
func rewind(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

func (t *Transport) resting(tok Token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.unproven) >= maxUnproven && time.Since(t.unprovenAt) < refusedRest {
		return true
	}
	return !t.refusedAt.IsZero() && time.Since(t.refusedAt) < refusedRest && t.refused == sha256.Sum256([]byte(tok.Value))
}

func (t *Transport) noteRefused(tok Token, resp *http.Response) {
	t.note(tok, resp)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused, t.refusedAt = sha256.Sum256([]byte(tok.Value)), time.Now()
}

// note keeps what is known about a refused token.
func (t *Transport) note(tok Token, resp *http.Response) {
	facts := []string{fmt.Sprintf("the API answered HTTP %d", resp.StatusCode)}
	c := readChallenge(resp.Header)
	if c.code != "" {
		facts[0] += ", error " + c.code
	}
	if c.about != "" {
		facts = append(facts, "the API says: "+strings.ReplaceAll(c.about, tok.Value, "REDACTED"))
	}
	if c.scope != "" {
		facts = append(facts, "the API wants scope "+strings.ReplaceAll(c.scope, tok.Value, "REDACTED"))
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if off := time.Since(at).Round(time.Second); off.Abs() > clockDoubt {
			facts = append(facts, "this machine's clock is "+ahead(off)+" the API's")
		}
	}
	facts = append(facts, t.Cache.Diagnose(tok.Value)...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.diagnosis = facts
}

func (t *Transport) allowed(u *url.URL) error {
	t.parse.Do(func() {
		t.origins = make(map[string]bool, len(t.Origins))
		for _, o := range t.Origins {
			if ou, err := url.Parse(o); err == nil {
				t.origins[origin(ou)] = true
			}
		}
	})
	if at := origin(u); !t.origins[at] {
		return &OriginError{Origin: at}
	}
	return nil
}

// origin is scheme, host and port in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	scheme := strings.ToLower(u.Scheme)
	if port == "" {
		switch scheme {
		case "http":
			port = "80"
		case "https":
			port = "443"
		}
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// drain lets the connection be used again when little is left to read.
func drain(resp *http.Response) {
	_, err := io.CopyN(io.Discard, resp.Body, 4<<10)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = resp.Body.Close()
		return
	}
	_ = resp.Body.Close()
}

func closeBody(b io.Closer) {
	if b != nil {
		_ = b.Close()
	}
}
