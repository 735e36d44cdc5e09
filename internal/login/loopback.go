package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// redirectPath is the path of the redirect. A server that compares redirects exactly, but for the port (RFC 8252 section
// 7.3), has to know http://127.0.0.1/callback.
const redirectPath = "/callback"

// expected is what an answer must show to count.
type expected struct {
	state, issuer string
	issRequired   bool
}

// answer is what the browser brought: a code, or why there is none.
type answer struct {
	code string
	err  error
}

// loopback listens for one answer.
type loopback struct {
	redirect string
	want     expected
	server   *http.Server
	got      chan answer
	once     sync.Once
	served   sync.WaitGroup
}

// listen binds 127.0.0.1, or [::1] on a machine without it.
func listen(ctx context.Context, port int, want expected) (*loopback, error) {
	var lc net.ListenConfig
	nl, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		var err6 error
		if nl, err6 = lc.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(port))); err6 != nil || port != 0 && inUse(err) {
			if err6 == nil {
				_ = nl.Close()
			}
			e := &Error{Kind: Local, Problem: "no port of 127.0.0.1 to be had for the answer of the login page", Err: plainNet(err)}
			if port != 0 {
				e.Kind, e.Problem = Port, "port "+strconv.Itoa(port)+" of 127.0.0.1 is not to be had for the answer of the login page"
				e.hint = "choose another --redirect-port, leave it out for a free one, or try --device"
			}
			return nil, e
		}
	}
	l := &loopback{redirect: "http://" + nl.Addr().String() + redirectPath, want: want, got: make(chan answer, 1)}
	l.server = &http.Server{
		Handler: l, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: nil,
	}
	l.server.SetKeepAlivesEnabled(false)
	l.served.Go(func() { _ = l.server.Serve(nl) })
	return l, nil
}

// inUse tells a port that is taken from a machine without IPv4: a taken one is not to be evaded.
func inUse(err error) bool {
	addr, ok := errors.AsType[*net.OpError](err)
	return ok && addr.Op == "listen" && !errors.As(err, new(*net.AddrError))
}

func plainNet(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// wait returns the code of the one answer.
func (l *loopback) wait(ctx context.Context) (string, error) {
	select {
	case a := <-l.got:
		return a.code, a.err
	case <-ctx.Done():
		return "", &Error{Kind: Expired, Problem: "nobody logged in within the time"}
	}
}

// close lets the browser have its page and takes nothing more.
func (l *loopback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		_ = l.server.Close()
	}
	l.served.Wait()
}

// ServeHTTP takes the first answer and no other.
func (l *loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "text/html; charset=utf-8")
	switch {
	case r.URL.Path != redirectPath || !isLoopbackHost(r.Host):
		page(w, http.StatusNotFound, "There is nothing here.")
		return
	case r.Method != http.MethodGet:
		h.Set("Allow", http.MethodGet)
		page(w, http.StatusMethodNotAllowed, "There is nothing here.")
		return
	}
	taken := false
	var a answer
	l.once.Do(func() {
		taken = true
		a.code, a.err = l.want.read(r.URL.RawQuery)
	})
	switch {
	case !taken:
		page(w, http.StatusGone, "The login was answered before. You can close this page.")
		return
	case a.err != nil:
		page(w, http.StatusBadRequest, "The login failed. tsupload says why. You can close this page.")
	default:
		page(w, http.StatusOK, "tsupload has the answer. You can close this page and go back to the terminal.")
	}
	_ = http.NewResponseController(w).Flush()
	l.got <- a
}

func isLoopbackHost(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// page says a sentence of ours; nothing of the request is in it.
func page(w http.ResponseWriter, status int, sentence string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tsupload</title></head><body><p>"+sentence+"</p></body></html>\n")
}

// read decides what an answer is worth. Before state and issuer are right nothing else of it is believed, not even that
// it is an error.
func (e *expected) read(query string) (string, error) {
	v, err := url.ParseQuery(query)
	if err != nil {
		return "", &Error{Kind: Refused, Problem: "the answer of the login page cannot be read"}
	}
	for _, name := range []string{"state", "iss", "code", "error"} {
		if len(v[name]) > 1 {
			return "", &Error{Kind: Refused, Problem: "the answer of the login page has two of " + name}
		}
	}
	if subtle.ConstantTimeCompare([]byte(v.Get("state")), []byte(e.state)) != 1 {
		return "", &Error{
			Kind: Refused, Problem: "the answer does not belong to this login (state)",
			hint: "log in again, and finish it on the page that opens; an older page, or somebody else's link, answered this one",
		}
	}
	switch iss := v.Get("iss"); {
	case iss == "" && e.issRequired:
		return "", &Error{Kind: Refused, Problem: "the answer does not name its issuer, as the authorization server's do", hint: issHint}
	case iss != "" && iss != e.issuer:
		return "", &Error{Kind: Refused, Problem: "the answer is of issuer " + quote(iss) + ", asked was " + quote(e.issuer), hint: issHint}
	}
	if code := v.Get("error"); code != "" {
		switch code {
		case "access_denied", "consent_required":
			return "", &Error{Kind: Denied, Problem: "the access was denied" + said(code, v.Get("error_description"))}
		case "temporarily_unavailable", "server_error":
			return "", &Error{Kind: Unavailable, Problem: "the login page gave up" + said(code, v.Get("error_description"))}
		}
		return "", &Error{Kind: Refused, Problem: "the authorization server refused" + said(code, v.Get("error_description")), hint: refusalHint(code)}
	}
	if v.Get("code") == "" {
		return "", &Error{Kind: Refused, Problem: "the answer of the login page has neither a code nor an error"}
	}
	return v.Get("code"), nil
}

const issHint = "another authorization server answered than auth.issuer names; do not log in there"
