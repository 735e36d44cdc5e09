package uploader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/time/rate"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// Limits of the protocol that nobody needs to set.
const (
	maxAnswer   = 1 << 20         // bytes of an answer; more is no evidence
	keptAnswer  = 4 << 10         // of a receipt
	maxAttempts = 8               // of one Batch in one run
	longestNap  = 5 * time.Second // that a Batch waits in flight; longer waits settle it first
	backoffCap  = time.Minute
	stillAlive  = 5 * time.Second // between two words of a long wait
)

// client talks to the API. It repeats a request by itself only where that is
// proved harmless: nothing was executed, or the target makes repeating safe.
type client struct {
	api     *API
	enc     *encoder
	http    *retryablehttp.Client
	limiter *rate.Limiter
	breaker *breaker
	log     *slog.Logger
	// stopping ends waiting between attempts.
	stopping <-chan struct{}
	requests atomic.Int64
	// alive is told of every answer, and that a wait goes on.
	alive func()
}

// request is one Batch, ready to send.
type request struct {
	method, url string
	body        []byte
	key         string // idempotency key
	update      bool
	parcel      *timesheet.Parcel
	positions   []int // of the parcel's entries, in the order of the body
	batch       bool  // the body is an array
}

// idempotent tells whether the target makes repeating harmless.
func (r *request) idempotent() bool { return r.key != "" || r.update }

// verdict is how a request ended.
type verdict struct {
	class    Class
	status   int
	detail   string
	wait     time.Duration // that a busy API asked for
	attempts int
	id       string
	fates    []timesheet.Fate // with PerItem, one for each position
	answer   []byte
	stop     *StopError // with NoToken
}

func newClient(a *API, transport http.RoundTripper, log *slog.Logger) (*client, error) {
	if a.BatchSize < 1 {
		a.BatchSize = 1
	}
	if a.Person && a.Batch {
		return nil, errConfig("a person cannot upload batches")
	}
	if a.Concurrency < 1 {
		a.Concurrency = 1
	}
	if a.Timeout <= 0 {
		a.Timeout = 30 * time.Second
	}
	if a.RetryWait <= 0 {
		a.RetryWait = time.Second
	}
	if a.MaxRetryAfter <= 0 {
		a.MaxRetryAfter = 15 * time.Minute
	}
	a.URL = strings.TrimSuffix(a.URL, "/")
	enc, err := newEncoder(a)
	if err != nil {
		return nil, err
	}
	c := &client{api: a, enc: enc, log: log, breaker: newBreaker(a.RetryWait), limiter: rate.NewLimiter(rate.Inf, 1), alive: func() {}}
	if a.RateLimit > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(a.RateLimit), 1)
	}
	if transport == nil {
		transport = http.DefaultTransport
	}
	c.http = &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: bounded{transport, a.Timeout},
			// A redirect would turn the POST into a GET, or carry people's hours elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     maxAttempts - 1,
		CheckRetry:   c.checkRetry,
		Backoff:      c.backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return c, nil
}

// attempt is what CheckRetry must know of the request it judges.
type attempt struct {
	req   *request
	wrote atomic.Bool
	n     int
	// open says that an earlier attempt may have been executed. Whatever a later
	// one comes to, short of an answer to the request itself, does not change that.
	open bool
}

// verdict is what all attempts together mean, of which the last was class.
func (a *attempt) verdict(class Class) Class {
	if !a.open {
		return class
	}
	switch class {
	case Accepted, PerItem, Refused, KeyReused, InProgress, Conflict, Unknown:
		return class // what the API says of the request is true of all attempts
	default:
		return Unknown
	}
}

type attemptKey struct{}

var jsonType = []string{"application/json"} // a constant list

// checkRetry lets a request go again inside the call where that is harmless
// and soon.
func (c *client) checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok || ctx.Err() != nil {
		return false, nil //nolint:nilerr // the error of the request stays what it is
	}
	a.n++
	c.requests.Add(1)
	c.alive()
	class := c.classify(resp, err, a.wrote.Load(), a.req)
	if class != Accepted { // the body of that decides
		c.breaker.saw(class, resp)
	}
	a.wrote.Store(false)
	if class == Accepted || !class.again(a.req.idempotent()) || a.n >= maxAttempts || c.breaker.isOpen() || c.drained() {
		a.wrote.Store(class != NotSent)
		return false, nil
	}
	if resp != nil {
		if wait, asked := retryAfter(resp.Header, time.Now(), c.api.MaxRetryAfter); asked && wait > longestNap {
			return false, nil
		}
	}
	a.open = a.open || class == Unknown || class == InProgress
	c.log.DebugContext(ctx, "request is repeated", "class", string(class), "attempt", a.n)
	return true, nil
}

func (c *client) drained() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// backoff is what the server asks for, and at least full jitter: a server that
// asks for no wait at all is not to be hammered.
func (c *client) backoff(_, _ time.Duration, n int, resp *http.Response) time.Duration {
	wait := min(jitter(c.api.RetryWait, n), longestNap)
	if resp != nil {
		if asked, ok := retryAfter(resp.Header, time.Now(), longestNap); ok {
			wait = max(wait, asked)
		}
	}
	return wait
}

// jitter is random(0, min(cap, base·2^n)).
func jitter(base time.Duration, n int) time.Duration {
	limit := backoffCap
	if n < 16 {
		limit = min(backoffCap, base<<n)
	}
	return rand.N(limit + 1) //nolint:gosec // spreading load needs no secret
}

// send sends one Batch, whose intention is durable, and says how it ended.
func (c *client) send(ctx context.Context, req *request) verdict {
	a := &attempt{req: req}
	var v verdict
	for {
		v = c.once(ctx, req, a)
		v.attempts = a.n
		if class := a.verdict(v.class); class != v.class {
			v.class, v.detail = class, "an earlier attempt may have been executed; the last one: "+v.detail
		}
		a.open = a.open || v.class == Unknown
		// An answer that came but is no evidence: where repeating is harmless
		// it is worth asking again.
		if v.class != Unknown || !req.idempotent() || v.status == 0 || a.n >= maxAttempts || c.drained() || c.breaker.isOpen() {
			return v
		}
		if !c.sleep(ctx, jitter(c.api.RetryWait, a.n)) {
			return v
		}
	}
}

// sleep waits, unless somebody ends the run.
func (c *client) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	tick := time.NewTicker(stillAlive)
	defer tick.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-tick.C:
			c.alive()
		case <-ctx.Done():
			return false
		case <-c.stopping:
			return false
		}
	}
}

// once is one call of the retrying client.
func (c *client) once(ctx context.Context, req *request, a *attempt) verdict {
	trace := &httptrace.ClientTrace{WroteHeaders: func() {
		a.wrote.Store(true)
		crash.Point("C4")
	}}
	ctx = httptrace.WithClientTrace(context.WithValue(ctx, attemptKey{}, a), trace)
	r, err := retryablehttp.NewRequestWithContext(ctx, req.method, req.url, req.body)
	if err != nil {
		return verdict{class: NotSent, detail: "the request could not be made"}
	}
	r.Header["Content-Type"], r.Header["Accept"] = jsonType, jsonType
	if req.key != "" {
		r.Header.Set("Idempotency-Key", c.keyHeader(req.key))
	}
	if err := c.addHeaders(ctx, r.Header); err != nil {
		return verdict{class: NoToken, stop: &StopError{Kind: StopAuth, Message: "a header of api.headers cannot be had", Err: err}}
	}
	resp, err := c.http.Do(r)
	crash.Point("C5")
	class := c.classify(resp, err, a.wrote.Load(), req)
	if err != nil || resp == nil {
		return verdict{class: class, detail: describe(err), stop: asToken(err)}
	}
	defer resp.Body.Close()
	v := verdict{class: class, status: resp.StatusCode}
	if wait, asked := retryAfter(resp.Header, time.Now(), c.api.MaxRetryAfter); asked {
		v.wait = wait
	}
	body, err := readAnswer(resp)
	switch {
	case class != Accepted:
		v.detail = problem(resp, body)
		if class == Refused && req.key != "" && strings.Contains(v.detail, "idempotency_key_reused") {
			v.class = KeyReused
		}
		if class == Forbidden && c.api.Person && strings.HasPrefix(v.detail, "status 403: not_own") {
			v.class = Refused // this entry is somebody else's; others may be one's own
		}
		if class == Conflict || class == InProgress {
			v.class = conflictClass(class, req)
		}
	case err != nil:
		v.class, v.detail = Unknown, "the answer was cut off"
	case len(body) > maxAnswer:
		v.class, v.detail = Unknown, fmt.Sprintf("the answer is larger than %d bytes", maxAnswer)
	default:
		c.check(&v, req, resp, body)
	}
	if class == Accepted {
		c.breaker.saw(v.class, resp)
	}
	return v
}

// conflictClass tells "still running" from "holds something else": a replaced
// entry that is approved by now cannot be replaced any more.
func conflictClass(class Class, req *request) Class {
	if req.update {
		return Conflict
	}
	return class
}

func (c *client) keyHeader(key string) string {
	if c.api.BareKey {
		return key
	}
	return `"` + key + `"` // a string of RFC 8941, as the IETF draft has it
}

func (c *client) addHeaders(ctx context.Context, h http.Header) error {
	if c.api.Headers == nil {
		return nil
	}
	more, err := c.api.Headers(ctx)
	if err != nil {
		return err
	}
	maps.Copy(h, more)
	return nil
}

// request makes the request of some entries of a parcel.
func (c *client) request(p *timesheet.Parcel, positions []int) *request {
	req := &request{method: http.MethodPost, url: c.api.URL + c.api.uploadPath(), parcel: p, positions: positions, batch: c.api.Batch}
	if p.Op == timesheet.OpUpdate {
		req.method, req.url, req.update, req.batch = http.MethodPut, c.api.URL+"/timesheets/"+url.PathEscape(p.Target), true, false
	}
	b := make([]byte, 0, 160*len(positions)+2)
	if req.batch {
		b = append(b, '[')
	}
	for i, pos := range positions {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.enc.append(b, &p.Entries[pos], p.Keys[pos])
	}
	if req.batch {
		b = append(b, ']')
	}
	req.body = b
	return req
}

// describe says in words of ours what happened to a connection; the error of
// net/http would bring the URL with its query along.
func describe(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "the run was ended while the request was under way"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return clean(err.Error())
}

// asToken finds the reason why there is no token in the error of a request.
func asToken(err error) *StopError {
	stop, _ := errors.AsType[*StopError](err)
	return stop
}
