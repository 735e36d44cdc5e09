package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/timesheets"
)

const htmlPage = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\">Please sign in.</form></body></html>\n"

// injector makes requests fail as ordered.
type injector struct {
	seed   uint64
	done   <-chan struct{} // closed when the sandbox ends
	revoke func()
	// revokeGrants takes refresh tokens along.
	revokeGrants func()
	rotate       func() error
	log          *slog.Logger

	mu      sync.Mutex
	faults  []*armed
	latency time.Duration
	counts  [kinds]int
}

// armed is a fault with the state that its selector needs.
type armed struct {
	Fault
	chance *rand.Rand
}

// set replaces the faults and begins to count anew.
func (in *injector) set(faults []Fault, latency time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.faults, in.latency, in.counts = nil, latency, [kinds]int{}
	for i, f := range faults {
		in.faults = append(in.faults, &armed{f, rand.New(rand.NewPCG(in.seed, uint64(i)))}) //nolint:gosec // chance, not secrecy
	}
}

// draw counts a request and returns the faults that strike it.
func (in *injector) draw(k kind) (struck []Fault, latency time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.counts[k]++
	for _, f := range in.faults {
		if f.kind == k && f.choose.picks(in.counts[k], f.chance) {
			struck = append(struck, f.Fault)
		}
	}
	return struck, in.latency
}

// wait returns after d, or sooner when the client or the sandbox goes.
func (in *injector) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-in.done:
	}
}

// serve answers one request of a kind, with whatever was ordered for it.
func (in *injector) serve(w http.ResponseWriter, r *http.Request, k kind, next http.Handler) {
	struck, latency := in.draw(k)
	if k <= tokens {
		in.wait(r.Context(), latency)
	}
	if len(struck) == 0 {
		next.ServeHTTP(w, r)
		return
	}
	var (
		api    timesheets.Orders
		auth   authserver.Orders
		decide *Fault
		says   *string // what the answer says of expires_in
	)
	for _, f := range struck {
		switch f.name {
		case "revoke":
			in.revoke()
			if k == tokens {
				in.revokeGrants()
			}
		case "rotate-keys":
			if err := in.rotate(); err != nil {
				in.log.WarnContext(r.Context(), "keys not rotated", "err", err)
			}
		case "forbid":
			api.Forbid = true
		case "item":
			api.ItemStatus = f.n
		case "max-items":
			api.MaxItems = f.n
		case "late":
			api.Late, api.Drop = f.d, func() { reset(w) }
		case "expires-in":
			if text, ok := lifetimes[f.arg]; ok {
				says = &text
			}
			auth.Lifetime = time.Duration(f.n) * time.Second
		case "skew":
			auth.Skew = f.d
		case "scope-missing":
			auth.WithoutScope = []string{authserver.ScopeUpload, authserver.ScopeCreate}
		default:
			if decide == nil {
				decide = &f
			}
		}
	}
	ctx := timesheets.WithOrders(r.Context(), api)
	ctx = authserver.WithOrders(ctx, auth)
	r = r.WithContext(ctx)
	if says != nil {
		next = withExpiry(next, *says)
	}
	if decide == nil {
		next.ServeHTTP(w, r)
		return
	}
	in.answer(w, r, k, *decide, next)
}

// answer gives the answer that f decides.
func (in *injector) answer(w http.ResponseWriter, r *http.Request, k kind, f Fault, next http.Handler) {
	switch f.name {
	case "status":
		writeStatus(w, k, f.n)
	case "429":
		if f.arg != "" {
			w.Header().Set("Retry-After", f.arg)
		}
		writeStatus(w, k, http.StatusTooManyRequests)
	case "html":
		writeHTML(w)
	case "reset":
		reset(w)
	case "hang":
		// Without the body read to its end, the server does not notice that the
		// client has gone.
		_, _ = io.Copy(io.Discard, r.Body)
		in.hang(r)

	case "status-after":
		run(next, r)
		writeStatus(w, k, f.n)
	case "html-after":
		run(next, r)
		writeHTML(w)
	case "reset-after":
		run(next, r)
		reset(w)
	case "hang-after":
		run(next, r)
		in.hang(r)
	case "cut-after":
		a := run(next, r)
		a.copyHeader(w)
		w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()+64))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()[:a.body.Len()/2])
		// The server closes the connection of an answer shorter than declared.
	case "slow":
		in.trickle(w, r, run(next, r), f.d)
	}
}

func (in *injector) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-in.done:
	}
	panic(http.ErrAbortHandler) // no answer, not even an empty one
}

// trickle sends an answer in ten pieces over d.
func (in *injector) trickle(w http.ResponseWriter, r *http.Request, a *recorder, d time.Duration) {
	const pieces = 10
	if d == 0 {
		d = 2 * time.Second
	}
	a.copyHeader(w)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(a.status)
	out := http.NewResponseController(w)
	step := a.body.Len()/pieces + 1
	for a.body.Len() > 0 {
		_ = out.Flush()
		in.wait(r.Context(), d/pieces)
		if _, err := w.Write(a.body.Next(step)); err != nil {
			return
		}
	}
}

// reset ends the connection with RST instead of an answer.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func writeHTML(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, htmlPage)
}

// writeStatus answers with a status that a fault ordered, in the form of the
// server that is asked.
func writeStatus(w http.ResponseWriter, k kind, status int) {
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified:
		w.WriteHeader(status)
	case status < 300:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	case k >= tokens:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		code := "temporarily_unavailable"
		switch status {
		case http.StatusBadRequest:
			code = "invalid_request"
		case http.StatusUnauthorized:
			code = "invalid_client"
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		case http.StatusForbidden:
			code = "access_denied"
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"`+code+`","error_description":"ordered by a fault of the sandbox"}`)
	default:
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="timesheets", error="invalid_token"`)
		}
		timesheets.WriteProblem(w, status, "fault", "ordered by a fault of the sandbox")
	}
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// run executes a request and keeps its answer.
func run(h http.Handler, r *http.Request) *recorder {
	a := &recorder{header: make(http.Header), status: http.StatusOK}
	h.ServeHTTP(a, r)
	return a
}

// Header implements http.ResponseWriter.
func (a *recorder) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *recorder) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *recorder) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *recorder) copyHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
}

// withExpiry replaces expires_in in a token's answer by this JSON, or leaves it
// out.
func withExpiry(next http.Handler, says string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := run(next, r)
		body := a.body.Bytes()
		var fields map[string]json.RawMessage
		if json.Unmarshal(body, &fields) == nil && fields["expires_in"] != nil {
			fields["expires_in"] = json.RawMessage(says)
			if says == "" {
				delete(fields, "expires_in")
			}
			if b, err := json.Marshal(fields); err == nil {
				body = b
			}
		}
		a.copyHeader(w)
		w.WriteHeader(a.status)
		_, _ = w.Write(body)
	})
}
