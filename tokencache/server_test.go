package tokencache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/exampleco/tsupload/tokencache"
)

const canary = "s3cret-canary+/%&"

// authServer is an authorization server with one endpoint whose answer a test may replace.
type authServer struct {
	*httptest.Server

	requests atomic.Int64
	issued   atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
	seen   []*http.Request
	forms  []url.Values
}

func newAuthServer(tb testing.TB, answer http.HandlerFunc) *authServer {
	tb.Helper()
	s := &authServer{answer: answer}
	if answer == nil {
		s.answer = func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, 200, fmt.Sprintf(`{"access_token":"tok-%d","token_type":"Bearer","expires_in":3600}`, s.issued.Add(1)))
		}
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		_ = r.ParseForm()
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.forms = append(s.forms, r.PostForm)
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	tb.Cleanup(s.Close)
	return s
}

func (s *authServer) set(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func sendJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, status, body) }
}

func secretOf(s string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(s), nil }
}

// logBuffer collects log lines from many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newCache(tb testing.TB, cfg tokencache.Config) *tokencache.Cache {
	tb.Helper()
	if cfg.ClientID == "" {
		cfg.ClientID = "client"
	}
	if cfg.Secret == nil {
		cfg.Secret = secretOf(canary)
	}
	c, err := tokencache.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func mustToken(tb testing.TB, c *tokencache.Cache) string {
	tb.Helper()
	tok, err := c.Token(tb.Context())
	if err != nil {
		tb.Fatalf("Token: %v", err)
	}
	return tok.Value
}

func wantRequests(tb testing.TB, s *authServer, want int64) {
	tb.Helper()
	if got := s.requests.Load(); got != want {
		tb.Errorf("authorization server got %d requests, want %d", got, want)
	}
}

func wantNoCanary(tb testing.TB, texts ...string) {
	tb.Helper()
	for _, s := range texts {
		if strings.Contains(s, canary) || strings.Contains(s, url.QueryEscape(canary)) {
			tb.Errorf("the secret is in %q", s)
		}
	}
}

func hintOf(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
