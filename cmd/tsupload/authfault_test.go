package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authFault is one misbehaviour of the authorization server, and what a run
// makes of it.
type authFault struct {
	name   string
	answer func(p *authProxy) http.HandlerFunc
	exit   int
	said   []string // patterns in the report
	// How often the server is asked by the first run, and by the second one
	// that follows at once.
	first, second int
	// What the second run ends with, where that is not exit.
	then int
}

// text answers with a body of any kind.
func text(status int, kind, body string, headers ...string) func(*authProxy) http.HandlerFunc {
	return func(*authProxy) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
}

// changed hands on a good answer with one field set; nil takes it out.
func changed(field string, value any) func(*authProxy) http.HandlerFunc {
	return func(p *authProxy) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			status, body := p.token(r)
			fields := map[string]any{}
			_ = json.Unmarshal(body, &fields)
			if fields[field] = value; value == nil {
				delete(fields, field)
			}
			body, _ = json.Marshal(fields)
			sendJSON(w, status, string(body))
		}
	}
}

const html = "<html><form action=/login>canary-page-1f</form></html>"

func authFaults() []authFault {
	busy := []string{"stopped: .*HTTP 429", "hint: .*limits token requests"}
	wait := append([]string{`to be asked again in 15m0s`}, busy...)
	refused := func(what string) []string { return []string{"stopped: .*" + what, "hint: "} }
	return []authFault{
		{"429 for ages", text(429, "application/json", "{}", "Retry-After", "99999999999999999999"), exitUnreachable, wait, 1, 0, exitUnreachable},
		{"429 until next century", text(429, "text/plain", "", "Retry-After", "Tue, 01 Jan 2126 00:00:00 GMT"), exitUnreachable, wait, 1, 0, exitUnreachable},
		{"429 until yesterday", text(429, "text/plain", "", "Retry-After", "Tue, 01 Jan 2019 00:00:00 GMT"), exitUnreachable, busy, 3, 3, exitUnreachable},
		{"429 for a negative time", text(429, "text/html", html, "Retry-After", "-5"), exitUnreachable, busy, 3, 3, exitUnreachable},
		{"503 for an hour", text(503, "text/html", html, "Retry-After", "3600"), exitUnreachable, []string{"HTTP 503, to be asked again in 15m0s"}, 1, 0, exitUnreachable},
		{"a login page", text(200, "text/html", html), exitRefused, refused("HTML page"), 1, 0, exitRefused},
		{"a login page in place of JSON", text(200, "application/json", html), exitRefused, refused("HTML page"), 1, 0, exitRefused},
		{"no JSON", text(200, "application/json", `{"access_`), exitRefused, refused("no access token"), 1, 0, exitRefused},
		{"another kind of token", changed("token_type", "mac"), exitRefused, refused("token_type"), 1, 0, exitRefused},
		{"endless answer", text(200, "application/json", `{"access_token":"`+strings.Repeat("x", 1<<20)+`"}`), exitRefused, refused("larger than 64 KiB"), 1, 0, exitRefused},
		{"wrong secret", text(401, "application/json", `{"error":"invalid_client","error_description":"no planted-canary-secret"}`), exitRefused, refused("invalid_client: no REDACTED"), 1, 0, exitRefused},
		{"no such audience", text(403, "application/json", `{"error":"access_denied"}`), exitRefused, []string{"access_denied", `hint: .*auth\.audience`}, 1, 0, exitRefused},
		{"less scope", changed("scope", "read:timesheets"), exitRefused, refused("lacks scope batch:upload"), 1, 0, exitRefused},
		{"expires_in missing", changed("expires_in", nil), exitOK, nil, 1, 0, exitOK},
		{"expires_in zero", changed("expires_in", 0), exitOK, nil, 1, 0, exitOK},
		{"expires_in negative", changed("expires_in", -3600), exitOK, nil, 1, 0, exitOK},
		{"expires_in as text", changed("expires_in", "3600"), exitOK, nil, 1, 0, exitOK},
		{"expires_in huge", changed("expires_in", json.Number("99999999999999999999")), exitOK, nil, 1, 0, exitOK},
		{"expires_in with a fraction", changed("expires_in", 3600.5), exitRefused, refused(`expires_in is "3600.5", not a whole number`), 1, 0, exitRefused},
		{"cut", func(p *authProxy) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				_, body := p.token(r)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				_, _ = w.Write(body[:len(body)/2])
			}
		}, exitUnreachable, []string{"unexpected EOF", "hint: .*next run tries again"}, 1, 1, exitUnreachable},
		{"reset", func(*authProxy) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = conn.Close()
			}
		}, exitUnreachable, []string{"no token from", "hint: "}, 3, 3, exitUnreachable},
		{"headers without end", func(*authProxy) http.HandlerFunc { return endlessHeaders }, exitUnreachable, []string{"headers exceeded 1048576 bytes", "hint: "}, 3, 3, exitUnreachable},
		{"slow", func(p *authProxy) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				_, body := p.token(r)
				w.Header().Set("Content-Type", "application/json")
				for _, b := range body {
					_, _ = w.Write([]byte{b})
					_ = http.NewResponseController(w).Flush()
				}
			}
		}, exitOK, nil, 1, 0, exitOK},
	}
}

// Whatever the authorization server does: the run ends with the exact status
// and says what to do, nothing goes out without a token, and the server is not
// stormed, by the next run neither.
func TestAuthFaults(t *testing.T) {
	t.Parallel()
	for _, f := range authFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newAuthProxy(t)
			p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
			p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
			p.do(exitOK, "ledger", "create")
			answer := f.answer(p)
			p.set(answer)
			begin := time.Now()
			out, log := p.do(f.exit, "run", "--once", "-vv")
			contains(t, out+log, f.said...)
			if got := p.requests(); got != f.first {
				t.Errorf("the first run asked %d times, want %d", got, f.first)
			}
			p.set(answer)
			p.write("in/more.csv", "user_id,date,project,hours\nu-2,2026-11-16,Apollo,8\n")
			p.do(f.then, "run", "--once")
			if got := p.requests(); got != f.second {
				t.Errorf("the second run asked %d times, want %d", got, f.second)
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			want := 0.0
			if f.exit == exitOK {
				want = 2
			}
			if got := p.entries(); got != want {
				t.Errorf("the API has %v entries, want %v", got, want)
			}
			if strings.Contains(p.said.String(), "canary-page-1f") {
				t.Error("the page of the server is shown")
			}
		})
	}
}

// entries is how many the API has.
func (p *authProxy) entries() float64 {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.box.APIURL()+"/_sandbox/stats?lists=false", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct{ Entries float64 }
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		p.t.Fatal(err)
	}
	return stats.Entries
}

// A server that never answers: the run ends in bounded time.
func TestAuthHangs(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\nrun: {deadline: 4s}\n"
	p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
	p.do(exitOK, "ledger", "create")
	gone := make(chan struct{})
	p.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	})
	defer close(gone)
	begin := time.Now()
	out, log := p.do(exitUnreachable, "run", "--once")
	contains(t, out+log, "hint: ")
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := p.requests(); got > 1 {
		t.Errorf("asked %d times, want once", got)
	}
}

// The secret is replaced on disk between the request and its refusal.
func TestAuthSecretRotated(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	file := p.write("secret", "old-canary")
	p.auth = fmt.Sprintf("  client_secret: {file: %q}\n  auth_style: post\n", file)
	p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
	p.do(exitOK, "ledger", "create")
	p.set(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("client_secret") != "new-canary" {
			p.write("secret", "new-canary")
			sendJSON(w, 401, `{"error":"invalid_client"}`)
			return
		}
		p.issue(w, r)
	})
	p.do(exitOK, "run", "--once", "-vv")
	if got := p.requests(); got != 2 {
		t.Errorf("asked %d times, want 2", got)
	}
	if strings.Contains(p.said.String(), "-canary") {
		t.Error("a secret is shown")
	}
}

// A redirect is not followed: the other host gets no credentials, and no
// request at all.
func TestAuthRedirect(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newAuthProxy(t)
		p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
		p.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/token", status) })
		for range 2 {
			_, log := p.do(exitRefused, "auth", "token", "-vv")
			contains(t, log, "redirects are not followed", `hint: .*auth\.token_url`)
		}
		if got := p.requests(); got != 1 {
			t.Errorf("%d: asked %d times, want once", status, got)
		}
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("the other host got %d requests", got)
	}
}

// What happens to tokens and keys at the server, and to its clock.
func TestAuthServerChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		faults []string
		exit   int
		tokens float64 // at most: two requests at once may each replace a token
		said   []string
	}{
		{[]string{"revoke@1"}, exitOK, 2, nil},
		{[]string{"rotate-keys@1"}, exitOK, 1, nil},
		{[]string{"token-rotate-keys"}, exitOK, 1, nil},
		{[]string{"skew=5s"}, exitOK, 1, nil},
		{[]string{"skew=-5s"}, exitOK, 1, nil},
		{[]string{"skew=2h"}, exitRefused, 3, []string{"stopped: ", "hint: ", `this machine's clock is (2h0m0s|1h59m59s) behind the authorization server's`}},
		{[]string{"skew=-2h"}, exitRefused, 3, []string{"stopped: ", "hint: ", `by this machine's clock the token expired 1h0m\ds ago`}},
	} {
		t.Run(strings.Join(tt.faults, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, goodRow, otherRow)
			w.do(exitOK, "ledger", "create")
			w.faults(tt.faults...)
			out, log := w.do(tt.exit, "run", "--once", "-vv")
			contains(t, out+log, tt.said...)
			if got := w.tokens(); got > tt.tokens || got == 0 {
				t.Errorf("%v tokens were issued, want 1 to %v", got, tt.tokens)
			}
		})
	}
}

// tokens is how many the sandbox has issued.
func (w *world) tokens() float64 {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), http.MethodGet, w.sandbox.APIURL()+"/_sandbox/stats?lists=false", nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct {
		Tokens float64 `json:"tokens_issued"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		w.tb.Fatal(err)
	}
	return stats.Tokens
}

// Many processes whose common token ends at once fetch one between them. Each
// asks twice at the same time.
func TestOneTokenForManyProcesses(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	p := newAuthProxy(t)
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
	p.set(changed("expires_in", 3)(p)) // of which the last second and a half is not used
	p.do(exitOK, "auth", "token")
	wait(t, 1600*time.Millisecond)
	p.set(func(w http.ResponseWriter, r *http.Request) {
		wait(t, 300*time.Millisecond) // long enough for all to come
		p.issue(w, r)
	})
	config := p.configure()
	got := make([]string, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, bin, "--config", config, "auth", "token")
			cmd.Dir = p.dir
			cmd.Env = []string{"HOME=" + p.dir, "TSUPLOAD_CLIENT_SECRET=" + p.box.ClientSecret()}
			var out, log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &log
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, log.String())
			}
			got[i] = out.String()
		})
	}
	all.Wait()
	if n := p.requests(); n != 1 {
		t.Errorf("%d processes asked %d times, want once", len(got), n)
	}
	for _, token := range got {
		if token != got[0] || !strings.HasPrefix(token, "eyJ") {
			t.Error("the processes have different tokens, or none")
		}
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "state", "tokens", "*.count"))
	if err != nil || len(files) != 1 {
		t.Errorf("got the counts %v, %v", files, err)
	}
	out, _ := p.do(exitOK, "auth", "status")
	contains(t, out, `tokens +2 fetched and 7 saved since`)
}
