package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const token = "canary-token-90c1"

func handle(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func constant(secret string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(secret), nil }
}

// start listens and returns a base URL on loopback.
func start(t *testing.T, c ServerConfig) string {
	t.Helper()
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	c.Metrics = handle("figures")
	s, err := Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return "http://127.0.0.1:" + port
}

// answer is what is looked at of one.
type answer struct {
	StatusCode int
	Header     http.Header
}

func ask(t *testing.T, method, url string, change func(*http.Request)) (answer, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(text)
}

// Who may see what, by where the listener is and whether there is a token.
func TestAccess(t *testing.T) {
	t.Parallel()
	bearer := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "bearer "+v) }
	}
	basic := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("anybody", v) }
	}
	for _, at := range []struct {
		name, address string
		token         func(context.Context) ([]byte, error)
		plain         int // without a token
		wrong, right  int
	}{
		{"loopback", "127.0.0.1:0", nil, 200, 200, 200},
		{"loopback with a token", "127.0.0.1:0", constant(token), 401, 401, 200},
		{"everywhere", "0.0.0.0:0", constant(token), 401, 401, 200},
		{"everywhere without a token", "0.0.0.0:0", nil, 403, 403, 403},
		{"everywhere with an empty token", "0.0.0.0:0", constant(""), 401, 503, 503},
		{"everywhere with an unreadable token", "0.0.0.0:0", func(context.Context) ([]byte, error) { return nil, errors.New("no file") }, 401, 503, 503},
	} {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			url := start(t, ServerConfig{Address: at.address, Token: at.token, Page: handle("hours"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			for _, path := range []string{"/livez", "/readyz", "/metrics"} {
				if resp, text := ask(t, http.MethodGet, url+path, nil); resp.StatusCode != http.StatusOK {
					t.Errorf("%s: got %d %s", path, resp.StatusCode, text)
				}
			}
			for _, row := range []struct {
				what   string
				change func(*http.Request)
				want   int
			}{
				{"nothing", nil, at.plain},
				{"wrong bearer", bearer("x"), at.wrong},
				{"empty bearer", bearer(""), at.wrong},
				{"a part of it", bearer(token[:5]), at.wrong},
				{"wrong password", basic("x"), at.wrong},
				{"empty password", basic(""), at.wrong},
				{"bearer", bearer(token), at.right},
				{"password", basic(token), at.right},
			} {
				resp, text := ask(t, http.MethodGet, url, row.change)
				if row.what == "empty bearer" && resp.StatusCode == http.StatusUnauthorized && row.want == 503 {
					continue // net/http drops the blank, so that no token was presented
				}
				if resp.StatusCode != row.want {
					t.Errorf("%s: got %d, want %d", row.what, resp.StatusCode, row.want)
				}
				if shown := strings.Contains(text, "hours"); shown != (row.want == 200) {
					t.Errorf("%s: got %q", row.what, text)
				}
				if row.want == 401 && len(resp.Header.Values("WWW-Authenticate")) != 2 {
					t.Errorf("%s: got %v", row.what, resp.Header)
				}
				// What is not there is nobody's business either.
				if resp, _ := ask(t, http.MethodGet, url+"/other", row.change); resp.StatusCode != map[bool]int{true: 404, false: row.want}[row.want == 200] {
					t.Errorf("%s: /other: got %d", row.what, resp.StatusCode)
				}
			}
			if strings.Contains(log.String(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

// A token in the query is none: it would end up in logs.
func TestTokenInQuery(t *testing.T) {
	t.Parallel()
	url := start(t, ServerConfig{Token: constant(token), Page: handle("hours")})
	if resp, _ := ask(t, http.MethodGet, url+"/?access_token="+token, nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	local, everywhere := start(t, ServerConfig{}), start(t, ServerConfig{Address: "0.0.0.0:0"})
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:9464": 200, "127.0.0.1": 200, "127.1.2.3:80": 200, "[::1]:9464": 200, "[::1]": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.nip.io:9464": 421, "10.0.0.1": 421, "[::2]:80": 421,
	} {
		change := func(r *http.Request) { r.Host = host }
		for _, path := range []string{"/metrics", "/livez", "/"} {
			want := want
			if path == "/" && want == 200 {
				want = 404 // there is no page
			}
			if resp, _ := ask(t, http.MethodGet, local+path, change); resp.StatusCode != want {
				t.Errorf("%s%s: got %d, want %d", host, path, resp.StatusCode, want)
			}
		}
		if resp, _ := ask(t, http.MethodGet, everywhere+"/metrics", change); resp.StatusCode != http.StatusOK {
			t.Errorf("%s, not on loopback: got %d", host, resp.StatusCode)
		}
	}
}

func TestMethodsAndBodies(t *testing.T) {
	t.Parallel()
	url := start(t, ServerConfig{Page: handle("hours")})
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"} {
		if resp, _ := ask(t, method, url, nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got %d %v", method, resp.StatusCode, resp.Header)
		}
	}
	if resp, text := ask(t, http.MethodHead, url, nil); resp.StatusCode != http.StatusOK || text != "" {
		t.Errorf("HEAD: got %d %q", resp.StatusCode, text)
	}
	if resp, _ := ask(t, http.MethodGet, url, func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), 4
	}); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body: got %d", resp.StatusCode)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 2*maxHeader))
	// Cut while it is still being sent, or answered.
	if resp, err := http.DefaultClient.Do(req); err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a long header: got %d", resp.StatusCode)
		}
	}
}

// Every answer is hardened, refusals too; the page replaces the policy alone.
func TestHeaders(t *testing.T) {
	t.Parallel()
	url := start(t, ServerConfig{Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-x'")
	})})
	for path, wantPolicy := range map[string]string{"/": "default-src 'none'; style-src 'sha256-x'", "/livez": policy, "/metrics": policy, "/absent": policy} {
		resp, _ := ask(t, http.MethodGet, url+path, nil)
		if got := resp.Header.Get("Content-Security-Policy"); got != wantPolicy {
			t.Errorf("%s: got policy %q", path, got)
		}
		for _, h := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control", "Cross-Origin-Resource-Policy"} {
			if resp.Header.Get(h) == "" {
				t.Errorf("%s has no %s", path, h)
			}
		}
		if resp.Header.Get("Server") != "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: got %v", path, resp.Header)
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	good := Check{"loop", func(context.Context) error { return nil }}
	bad := Check{"ledger", func(context.Context) error { return errors.New("there is none") }}
	url := start(t, ServerConfig{Live: []Check{good}, Ready: []Check{good, bad}})
	for _, row := range []struct {
		path string
		code int
		text string
	}{
		{"/livez", 200, "ok\n"},
		{"/livez?verbose", 200, "ok     loop\nok\n"},
		{"/readyz", 503, "not ok: ledger\n"},
		{"/readyz?verbose", 503, "ok     loop\nnot ok ledger: there is none\nnot ok\n"},
	} {
		if resp, text := ask(t, http.MethodGet, url+row.path, nil); resp.StatusCode != row.code || text != row.text {
			t.Errorf("%s: got %d %q", row.path, resp.StatusCode, text)
		}
	}
	resp, text := ask(t, http.MethodGet, url+"/readyz", func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	var got struct {
		Status string
		Checks []struct {
			Name, Wrong string
			OK          bool
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != http.StatusServiceUnavailable || got.Status != "not ok" || len(got.Checks) != 2 || got.Checks[1].Wrong == "" || !got.Checks[0].OK {
		t.Errorf("got %d %s, %v", resp.StatusCode, text, err)
	}
}

// One connection too many is closed, and there is room again when one ends.
func TestConnections(t *testing.T) {
	t.Parallel()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner, 1)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	next := func() net.Conn {
		select {
		case c := <-accepted:
			return c
		case <-time.After(10 * time.Second):
			t.Fatal("there is no room for a connection")
			return nil
		}
	}
	first := dial()
	defer first.Close()
	held := next()
	second := dial()
	defer second.Close()
	if _, err := bufio.NewReader(second).ReadByte(); err == nil {
		t.Error("the second connection is served")
	}
	_ = held.Close()
	_ = held.Close() // makes no more room than there is
	third := dial()
	defer third.Close()
	_ = next().Close()
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	url := start(t, ServerConfig{})
	addr := strings.TrimPrefix(url, "http://")
	_, err := Listen(t.Context(), ServerConfig{Address: addr})
	if err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v", err)
	}
}

// A page that panics is no danger to the others.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	url := start(t, ServerConfig{Page: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error(fmt.Sprint("got ", resp.Status))
	}
	if resp, _ := ask(t, http.MethodGet, url+"/livez", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// All IPv4 addresses are those of IPv4.
func TestListenIPv4(t *testing.T) {
	t.Parallel()
	s, err := Listen(t.Context(), ServerConfig{Address: "0.0.0.0:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if !strings.HasPrefix(s.Addr(), "0.0.0.0:") {
		t.Errorf("listening on %s", s.Addr())
	}
}
