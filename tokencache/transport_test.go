package tokencache_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/tokencache"
)

// api is an API that accepts one token and says so about others.
type api struct {
	*httptest.Server

	mu        sync.Mutex
	good      string
	challenge string
	status    int // of a refusal; 401 when zero
	bodies    []string
	tokens    []string
}

func newAPI(tb testing.TB, good string) *api {
	tb.Helper()
	a := &api{good: good}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		tok := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		a.mu.Lock()
		defer a.mu.Unlock()
		a.bodies, a.tokens = append(a.bodies, string(body)), append(a.tokens, tok)
		if tok == a.good {
			w.WriteHeader(http.StatusCreated)
			return
		}
		if a.challenge != "" {
			w.Header().Set("WWW-Authenticate", a.challenge)
		}
		w.WriteHeader(max(a.status, 401))
	}))
	tb.Cleanup(a.Close)
	return a
}

func (a *api) requests() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tokens)
}

// watch fails the test when a request could be repeated below the transport.
func watch(tb testing.TB, next http.RoundTripper) http.RoundTripper {
	tb.Helper()
	return tripper(func(req *http.Request) (*http.Response, error) {
		if req.GetBody != nil {
			tb.Error("GetBody is set below the transport")
		}
		return next.RoundTrip(req)
	})
}

func newTransport(tb testing.TB, c *tokencache.Cache, origins ...string) *tokencache.Transport {
	tb.Helper()
	base := &http.Transport{}
	tb.Cleanup(base.CloseIdleConnections)
	return &tokencache.Transport{Base: watch(tb, base), Cache: c, Origins: origins}
}

// post returns the status of the answer.
func post(ctx context.Context, tr http.RoundTripper, url, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Idempotency-Key", "k")
	resp, err := tr.RoundTrip(req)
	if req.Header.Get("Authorization") != "" || req.GetBody == nil {
		return 0, errors.New("the caller's request was changed")
	}
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestTransportReplaysOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		challenge string
		status    int
		sends     int
		final     int
	}{
		{"", 401, 2, 201},
		{"Bearer", 401, 2, 201},
		{`Bearer realm="x"`, 401, 2, 201},
		{`Bearer realm="a, error=\"b\"", error="invalid_token"`, 401, 2, 201},
		{`Basic realm="x", bearer error=invalid_token, error_description="expired"`, 401, 2, 201},
		{`Digest error="invalid_request", Bearer realm="y"`, 401, 2, 201},
		{`Bearer error="invalid_request"`, 401, 1, 401},
		{`Bearer scope="batch:upload", error="insufficient_scope"`, 401, 1, 401},
		{"", 403, 1, 403},
		{`Bearer error="invalid_token"`, 403, 1, 403},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, tt.challenge), func(t *testing.T) {
			t.Parallel()
			s, a := newAuthServer(t, nil), newAPI(t, "tok-2")
			a.challenge, a.status = tt.challenge, tt.status
			tr := newTransport(t, newCache(t, tokencache.Config{TokenURL: s.URL}), a.URL+"/api")
			status, err := post(t.Context(), tr, a.URL+"/x", "payload")
			if err != nil || status != tt.final {
				t.Fatalf("got %d, %v; want status %d", status, err, tt.final)
			}
			if a.requests() != tt.sends {
				t.Errorf("got %d sends, want %d", a.requests(), tt.sends)
			}
			for _, b := range a.bodies {
				if b != "payload" {
					t.Errorf("got body %q, want it the same each time", b)
				}
			}
			if refused := tt.final != 201; refused != (tr.Diagnosis() != nil) {
				t.Errorf("got diagnosis %q", tr.Diagnosis())
			}
		})
	}
}

func TestTransportSecond401(t *testing.T) {
	t.Parallel()
	s, a := newAuthServer(t, nil), newAPI(t, "none")
	tr := newTransport(t, newCache(t, tokencache.Config{TokenURL: s.URL}), a.URL)
	status, err := post(t.Context(), tr, a.URL, "x")
	if err != nil || status != http.StatusUnauthorized || a.requests() != 2 {
		t.Fatalf("got %v, %v after %d sends; want 401 after 2", status, err, a.requests())
	}
	if d := strings.Join(tr.Diagnosis(), "\n"); !strings.Contains(d, "HTTP 401") || !strings.Contains(d, "opaque") || strings.Contains(d, "tok-") {
		t.Errorf("got diagnosis %q", d)
	}
	// The replacement was refused too, so more tokens are not the cure.
	for range 5 {
		if status, err := post(t.Context(), tr, a.URL, "x"); err != nil || status != 401 {
			t.Fatalf("got %v, %v; want 401", status, err)
		}
	}
	wantRequests(t, s, 2)
}

func TestTransportStorm(t *testing.T) {
	t.Parallel()
	s, a := newAuthServer(t, nil), newAPI(t, "tok-2")
	c := newCache(t, tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(t.TempDir(), nil), LockDir: t.TempDir()})
	tr := newTransport(t, c, a.URL)
	_ = mustToken(t, c)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprint(i), 1000)
			if status, err := post(t.Context(), tr, a.URL, body); err != nil || status != 201 {
				t.Errorf("got %v, %v; want 201", status, err)
			}
		})
	}
	wg.Wait()
	wantRequests(t, s, 2)
}

// An API that takes no token at all: many requests at once cost a few tokens, not one each, and after a minute it may be
// tried again.
func TestTransportFruitlessStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var issued, asked atomic.Int64
		c := newCache(t, tokencache.Config{TokenURL: "https://auth.example/token", Transport: tripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			body := fmt.Sprintf(`{"access_token":"tok-%d"}`, issued.Add(1))
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req, Body: io.NopCloser(strings.NewReader(body))}, nil
		})})
		tr := &tokencache.Transport{Cache: c, Origins: []string{"https://api.example"}, Base: tripper(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Duration(asked.Add(1)*37%50+1) * time.Millisecond) // the later request may have the earlier answer
			return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Request: req, Body: http.NoBody}, nil
		})}
		storm := func() {
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 2 * time.Millisecond)
					if status, err := post(t.Context(), tr, "https://api.example/x", "body"); err != nil || status != 401 {
						t.Errorf("got %v, %v; want 401", status, err)
					}
				})
			}
			wg.Wait()
		}
		storm()
		if got := issued.Load(); got > 3 {
			t.Errorf("%d tokens were issued, want at most 3", got)
		}
		before := issued.Load()
		time.Sleep(2 * time.Minute)
		_, _ = post(t.Context(), tr, "https://api.example/x", "body")
		if got := issued.Load() - before; got != 1 {
			t.Errorf("%d tokens were issued after a while, want 1", got)
		}
	})
}

func TestTransportBodyCannotBeRebuilt(t *testing.T) {
	t.Parallel()
	s, a := newAuthServer(t, nil), newAPI(t, "tok-2")
	tr := newTransport(t, newCache(t, tokencache.Config{TokenURL: s.URL}), a.URL)
	send := func() int {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL, io.NopCloser(bytes.NewReader([]byte("x"))))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := send(); got != 401 || a.requests() != 1 {
		t.Errorf("got %d after %d sends, want 401 after 1", got, a.requests())
	}
	if got := send(); got != 201 {
		t.Errorf("got %d, want 201: the refused token is gone all the same", got)
	}
}

// closeable tells whether a request's body was closed.
type closeable struct {
	io.Reader
	closed atomic.Bool
}

func (c *closeable) Close() error {
	c.closed.Store(true)
	return nil
}

func TestTransportWithoutToken(t *testing.T) {
	t.Parallel()
	s, a := newAuthServer(t, answering(401, `{"error":"invalid_client"}`)), newAPI(t, "")
	tr := newTransport(t, newCache(t, tokencache.Config{TokenURL: s.URL}), a.URL)
	body := &closeable{Reader: strings.NewReader("x")}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL, body)
	_, err := (&http.Client{Transport: tr}).Do(req) //nolint:bodyclose // there is none
	var refused *tokencache.RefusedError
	if !errors.As(err, &refused) || a.requests() != 0 || !body.closed.Load() {
		t.Errorf("got %v, %d sends, body closed: %v; want a RefusedError, nothing sent, the body closed", err, a.requests(), body.closed.Load())
	}
	if err := tr.Ready(t.Context()); !errors.As(err, &refused) {
		t.Errorf("Ready: got %v, want a RefusedError", err)
	}
}

func TestTransportReplacementRefused(t *testing.T) {
	t.Parallel()
	s, a := newAuthServer(t, nil), newAPI(t, "none")
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	_ = mustToken(t, c)
	s.set(answering(400, `{"error":"unauthorized_client"}`))
	_, err := post(t.Context(), newTransport(t, c, a.URL), a.URL, "x")
	var refused *tokencache.RefusedError
	if !errors.As(err, &refused) || a.requests() != 1 {
		t.Errorf("got %v after %d sends, want a RefusedError after 1", err, a.requests())
	}
}

func TestTransportOrigins(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	var sent atomic.Int64
	base := tripper(func(req *http.Request) (*http.Response, error) {
		sent.Add(1)
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
	})
	tr := &tokencache.Transport{Base: base, Cache: c, Origins: []string{"https://API.example/v1"}}
	for url, want := range map[string]bool{
		"https://api.example/x": true, "https://api.example:443/x": true, "https://API.EXAMPLE": true,
		"http://api.example/x": false, "https://api.example:444/": false, "https://api.example.evil/": false, "https://evil/https://api.example": false,
	} {
		before := sent.Load()
		_, err := post(t.Context(), tr, url, "x")
		var oe *tokencache.OriginError
		if want && (err != nil || sent.Load() != before+1) {
			t.Errorf("%s: got %v, want it sent", url, err)
		}
		if !want && (!errors.As(err, &oe) || sent.Load() != before) {
			t.Errorf("%s: got %v, want an OriginError and nothing sent", url, err)
		}
	}
	if _, err := post(t.Context(), &tokencache.Transport{Base: base, Cache: c}, "https://api.example", "x"); err == nil {
		t.Error("without origins the token went out")
	}
}

func jwtOf(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	now := time.Now().Unix()
	c := newCache(t, tokencache.Config{
		Issuer: "https://issuer.example/", Audience: "https://api.example", Scopes: []string{"batch:upload", "read:timesheets"}, CheckScope: true,
	})
	tests := []struct {
		name, payload string
		want          []string
	}{
		{"good", fmt.Sprintf(`{"iss":"https://issuer.example/","aud":"https://api.example","exp":%d,"scope":"batch:upload read:timesheets"}`, now+600), []string{
			`audience is ["https://api.example"], as configured`, `issuer is "https://issuer.example/", as configured`, "valid for another", "scopes: batch:upload read:timesheets",
		}},
		{"bad", fmt.Sprintf(`{"iss":"https://issuer.example","aud":["x","y"],"exp":%d,"nbf":%d,"iat":%d,"permissions":["batch:upload"]}`, now-600, now+600, now+600), []string{
			`audience is ["x" "y"], configured is ["https://api.example"]`, `configured is "https://issuer.example/"`, "expired 10m", "valid only in", "behind the authorization server's", "missing: read:timesheets",
		}},
		{"empty", `{}`, []string{"no audience", "no issuer", "no expiry", "no scope"}},
		{"hostile", `{"iss":"a\u001b[2J\n` + strings.Repeat("x", 5000) + `","exp":1e300,"aud":5,"scope":{}}`, []string{"no audience", "no expiry", "..."}},
	}
	for _, tt := range tests {
		token := jwtOf(tt.payload)
		got := strings.Join(c.Diagnose(token), "\n")
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: got %q, want %q in it", tt.name, got, w)
			}
		}
		if strings.ContainsAny(got, "\x1b") || len(got) > 2000 || strings.Contains(got, token) {
			t.Errorf("%s: got %q, want it harmless", tt.name, got)
		}
	}
	if got := newCache(t, tokencache.Config{Issuer: "https://i"}).Diagnose("opaque"); len(got) != 2 || !strings.Contains(got[1], "audience") {
		t.Errorf("got %q, want a word about the audience", got)
	}
}
