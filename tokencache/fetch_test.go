package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/tokencache"
)

func TestRequestForm(t *testing.T) {
	t.Parallel()
	for _, style := range []tokencache.AuthStyle{tokencache.AuthBasic, tokencache.AuthPost} {
		t.Run(string(style), func(t *testing.T) {
			t.Parallel()
			s := newAuthServer(t, nil)
			c := newCache(t, tokencache.Config{
				TokenURL: s.URL, ClientID: "a b", AuthStyle: style, Scopes: []string{"batch:upload", "read:timesheets"},
				Audience: "https://api", Resources: []string{"r1", "r2"}, Params: url.Values{"organization": {"o"}},
			})
			if got := mustToken(t, c); got != "tok-1" {
				t.Errorf("got token %q, want tok-1", got)
			}
			want := url.Values{
				"grant_type": {"client_credentials"}, "scope": {"batch:upload read:timesheets"}, "audience": {"https://api"},
				"resource": {"r1", "r2"}, "organization": {"o"},
			}
			id, secret, basic := s.seen[0].BasicAuth()
			if style == tokencache.AuthPost {
				want.Set("client_id", "a b")
				want.Set("client_secret", canary)
				if basic {
					t.Error("two ways of authentication in one request")
				}
			} else if id != "a+b" || secret != url.QueryEscape(canary) {
				t.Errorf("basic got %q, want the form-encoded pair", id)
			}
			if d := cmp.Diff(want, s.forms[0]); d != "" {
				t.Errorf("form (-want +got):\n%s", d)
			}
		})
	}
}

func TestExpiresIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, field string
		want        time.Duration
		err         string
	}{
		{"number", `,"expires_in":3600`, time.Hour, ""},
		{"string", `,"expires_in":"3600"`, time.Hour, ""},
		{"ten seconds are believed", `,"expires_in":10`, 10 * time.Second, ""},
		{"missing", ``, 5 * time.Minute, ""},
		{"null", `,"expires_in":null`, 5 * time.Minute, ""},
		{"zero", `,"expires_in":0`, 5 * time.Minute, ""},
		{"negative", `,"expires_in":-1`, 5 * time.Minute, ""},
		{"huge", `,"expires_in":1000000000000000000`, 24 * time.Hour, ""},
		{"beyond 64 bits", `,"expires_in":99999999999999999999999`, 24 * time.Hour, ""},
		{"below 64 bits", `,"expires_in":-99999999999999999999999`, 5 * time.Minute, ""},
		{"float", `,"expires_in":3600.5`, 0, `expires_in is "3600.5", not a whole number`},
		{"exponent", `,"expires_in":1e18`, 0, `expires_in is "1e18"`},
		{"word", `,"expires_in":"soon"`, 0, `expires_in is "soon"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAuthServer(t, answering(200, `{"access_token":"tok","token_type":"bearer"`+tt.field+`}`))
			c := newCache(t, tokencache.Config{TokenURL: s.URL})
			tok, err := c.Token(t.Context())
			if tt.err != "" {
				var refused *tokencache.RefusedError
				if !errors.As(err, &refused) || refused.Code != tokencache.CodeInvalidResponse || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				// Each such answer is a token issued: the next call must not ask again.
				_, _ = c.Token(t.Context())
				wantRequests(t, s, 1)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.ExpiresAt.Sub(tok.ObtainedAt); got != tt.want {
				t.Errorf("got lifetime %s, want %s", got, tt.want)
			}
			_ = mustToken(t, c)
			wantRequests(t, s, 1)
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>" + canary + "</html>"))
		}
	}
	oauthError := func(status int, code string) http.HandlerFunc {
		return answering(status, fmt.Sprintf(`{"error":%q,"error_description":"no\u001b[31m %s\nway"}`, code, canary))
	}
	tests := []struct {
		name     string
		answer   http.HandlerFunc
		code     string // of a RefusedError
		status   int
		text     string
		requests int64
	}{
		{"invalid client", oauthError(401, "invalid_client"), "invalid_client", 401, "no [31m REDACTED way", 1},
		{"unauthorized client", oauthError(400, "unauthorized_client"), "unauthorized_client", 400, "", 1},
		{"invalid scope", oauthError(400, "invalid_scope"), "invalid_scope", 400, "", 1},
		{"invalid target", oauthError(400, "invalid_target"), "invalid_target", 400, "", 1},
		{"grant type", oauthError(400, "unsupported_grant_type"), "unsupported_grant_type", 400, "", 1},
		{"access denied", oauthError(403, "access_denied"), "access_denied", 403, "", 1},
		{"invalid grant", oauthError(400, "invalid_grant"), "invalid_grant", 400, "", 1},
		{"error with 200", oauthError(200, "invalid_scope"), "invalid_scope", 200, "", 1},
		{"strange code", answering(400, `{"error":"a\u001b b"}`), "a__b", 400, "", 1},
		{"bare 401", answering(401, ``), "http_401", 401, "", 1},
		{"bare 404", answering(404, `not here`), "http_404", 404, "", 1},
		{"html 403", html(403), "http_403", 403, "", 1},
		{"html 200", html(200), tokencache.CodeInvalidResponse, 200, "HTML page", 1},
		{"no token", answering(200, `{}`), tokencache.CodeInvalidResponse, 200, "no access token", 1},
		{"not bearer", answering(200, `{"access_token":"t","token_type":"DPoP"}`), tokencache.CodeInvalidResponse, 200, "DPoP", 1},
		{"bad characters", answering(200, `{"access_token":"a\r\nX: b","token_type":"bearer"}`), tokencache.CodeInvalidResponse, 200, "characters", 1},
		{"too large", answering(200, `{"access_token":"`+strings.Repeat("x", 70<<10)+`"}`), tokencache.CodeInvalidResponse, 0, "64 KiB", 1},
		{"too large 403", answering(403, strings.Repeat("x", 70<<10)), "http_403", 403, "", 1},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, tokencache.CodeRedirect, 307, "", 1},
	}
	for _, tt := range tests {
		for _, style := range []tokencache.AuthStyle{tokencache.AuthBasic, tokencache.AuthPost} {
			t.Run(tt.name+"/"+string(style), func(t *testing.T) {
				t.Parallel()
				var log logBuffer
				s := newAuthServer(t, tt.answer)
				c := newCache(t, tokencache.Config{TokenURL: s.URL + "?q=1", AuthStyle: style, Logger: log.logger()})
				_, err := c.Token(t.Context())
				var refused *tokencache.RefusedError
				if !errors.As(err, &refused) {
					t.Fatalf("got %v (%T), want a RefusedError", err, err)
				}
				if refused.Code != tt.code || (tt.status != 0 && refused.Status != tt.status) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want code %s, status %d, %q", err, tt.code, tt.status, tt.text)
				}
				if hintOf(err) == "" {
					t.Error("no hint")
				}
				wantRequests(t, s, tt.requests)
				wantNoCanary(t, err.Error(), fmt.Sprintf("%+v %#v", err, err), hintOf(err), log.String())
				if strings.Contains(err.Error(), "?q=1") {
					t.Errorf("the query is in %q", err)
				}
				// The refusal cools down: the same answer, no second request.
				_, again := c.Token(t.Context())
				if !errors.As(again, &refused) || refused.Code != tt.code || !strings.Contains(again.Error(), "not asked again before") {
					t.Errorf("then got %v, want the same refusal", again)
				}
				wantRequests(t, s, tt.requests)
			})
		}
	}
}

func TestHintAboutReservedCharacters(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, answering(401, `{"error":"invalid_client"}`))
	for secret, want := range map[string]bool{"plain": false, "with+plus": true} {
		c := newCache(t, tokencache.Config{TokenURL: s.URL, Secret: secretOf(secret)})
		_, err := c.Token(t.Context())
		if got := strings.Contains(hintOf(err), "reserved characters"); got != want {
			t.Errorf("secret %q: hint %q, want reserved characters named: %v", secret, hintOf(err), want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	limited := func(status int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			sendJSON(w, status, `{"error":"x"}`)
		}
	}
	tests := []struct {
		name     string
		answer   http.HandlerFunc
		wait     time.Duration
		requests int64
	}{
		{"429 overflowing Retry-After", limited(429, "Retry-After", "9223372036854775807"), 15 * time.Minute, 1},
		{"429 beyond 64 bits", limited(429, "Retry-After", "99999999999999999999999"), 15 * time.Minute, 1},
		{"429 a day", limited(429, "Retry-After", "86400"), 15 * time.Minute, 1},
		{"429 two minutes", limited(429, "Retry-After", "120"), 2 * time.Minute, 1},
		{"429 far date", limited(429, "Retry-After", "Fri, 31 Dec 2099 23:59:59 GMT"), 15 * time.Minute, 1},
		{"429 rate-limit reset", limited(429, "X-RateLimit-Reset", "99999999999"), 15 * time.Minute, 1},
		{"429 quota", limited(429, "Auth0-Client-Quota-Limit", "b=per_hour;q=100;r=0;t=300,b=per_day;q=900;r=5;t=9"), 5 * time.Minute, 1},
		{"503 a day", limited(503, "Retry-After", "86400"), 15 * time.Minute, 1},
		{"501", limited(501), 0, 1},
		{"501 too large", answering(501, strings.Repeat("x", 70<<10)), 0, 1},
		{"temporarily unavailable", answering(400, `{"error":"temporarily_unavailable"}`), 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAuthServer(t, tt.answer)
			c := newCache(t, tokencache.Config{TokenURL: s.URL})
			_, err := c.Token(t.Context())
			var down *tokencache.UnavailableError
			if !errors.As(err, &down) || down.RetryAfter != tt.wait {
				t.Fatalf("got %v, want an UnavailableError with wait %s", err, tt.wait)
			}
			wantRequests(t, s, tt.requests)
			if tt.wait > 0 {
				if _, err := c.Token(t.Context()); !errors.As(err, &down) {
					t.Errorf("then got %v, want an UnavailableError", err)
				}
				wantRequests(t, s, tt.requests)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	s.Close()
	c := newCache(t, tokencache.Config{TokenURL: s.URL + "/token?key=1"})
	_, err := c.Token(t.Context())
	var down *tokencache.UnavailableError
	if !errors.As(err, &down) || down.Err == nil || strings.Contains(err.Error(), "key=1") {
		t.Errorf("got %v, want a network error without the query", err)
	}
}

func TestSecretRotated(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	s.set(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("client_secret") != "new" {
			sendJSON(w, 401, `{"error":"invalid_client"}`)
			return
		}
		sendJSON(w, 200, `{"access_token":"good","expires_in":3600}`)
	})
	var reads atomic.Int64
	c := newCache(t, tokencache.Config{TokenURL: s.URL, AuthStyle: tokencache.AuthPost, Secret: func(context.Context) ([]byte, error) {
		if reads.Add(1) == 1 {
			return []byte("old"), nil
		}
		return []byte("new"), nil
	}})
	if got := mustToken(t, c); got != "good" {
		t.Errorf("got %q, want good", got)
	}
	wantRequests(t, s, 2)
}

func TestSecretUnreadable(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	boom := errors.New("no such file")
	for _, secret := range []func(context.Context) ([]byte, error){
		func(context.Context) ([]byte, error) { return nil, boom },
		secretOf(""),
	} {
		c := newCache(t, tokencache.Config{TokenURL: s.URL, Secret: secret})
		_, err := c.Token(t.Context())
		var se *tokencache.SecretError
		if !errors.As(err, &se) || hintOf(err) == "" {
			t.Errorf("got %v, want a SecretError", err)
		}
	}
	wantRequests(t, s, 0)
}

func TestScopeCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		asked    []string
		expected []string
		check    bool
		said     string
		missing  []string
	}{
		{"absent is as asked", []string{"a", "b"}, nil, true, ``, nil},
		{"equal", []string{"a", "b"}, nil, true, `,"scope":"b a"`, nil},
		{"more", []string{"a"}, nil, true, `,"scope":"b a"`, nil},
		{"less", []string{"a", "b"}, nil, true, `,"scope":"a"`, []string{"b"}},
		{"none", []string{"a", "b"}, nil, true, `,"scope":""`, []string{"a", "b"}},
		{"list", []string{"a", "b"}, nil, true, `,"scope":["a","b"]`, nil},
		{"not checked", []string{"a", "b"}, nil, false, `,"scope":"a"`, nil},
		{"other names", []string{"api/.default"}, []string{"Upload"}, true, `,"scope":"Upload"`, nil},
		{"other names, less", []string{"api/.default"}, []string{"Upload"}, true, `,"scope":"x"`, []string{"Upload"}},
		{"other names, absent", []string{"api/.default"}, []string{"Upload"}, true, ``, nil},
		{"default scope is never granted by name", []string{"api/.default"}, nil, true, `,"scope":"x"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAuthServer(t, answering(200, `{"access_token":"tok","token_type":"bearer","expires_in":3600`+tt.said+`}`))
			c := newCache(t, tokencache.Config{TokenURL: s.URL, Scopes: tt.asked, ExpectedScopes: tt.expected, CheckScope: tt.check})
			err := c.Ready(t.Context())
			var se *tokencache.ScopeError
			switch {
			case tt.missing == nil && err != nil:
				t.Fatal(err)
			case tt.missing == nil:
				return
			case !errors.As(err, &se):
				t.Fatalf("got %v, want a ScopeError", err)
			}
			if d := cmp.Diff(tt.missing, se.Missing); d != "" {
				t.Errorf("missing (-want +got):\n%s", d)
			}
			// The token that is too weak is kept: another one would be as weak, and may be billed.
			_ = c.Ready(t.Context())
			wantRequests(t, s, 1)
		})
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	const oauth, oidc = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	type doc struct {
		path   string
		status int
		ctype  string
		issuer string // suffix to the server's URL
		token  string // "" is the good one
	}
	tests := []struct {
		name   string
		issuer string
		docs   []doc
		err    string
		down   bool
	}{
		{"oauth", "", []doc{{oauth, 200, "application/json", "", ""}}, "", false},
		{"oauth with a path", "/t/1", []doc{{oauth + "/t/1", 200, "application/json", "/t/1", ""}}, "", false},
		{"last slash", "/", []doc{{oauth, 200, "application/json", "/", ""}}, "", false},
		{"openid", "", []doc{{oidc, 200, "application/json", "", ""}}, "", false},
		{"openid with a path", "/t/1/", []doc{{"/t/1" + oidc, 200, "application/json", "/t/1/", ""}}, "", false},
		{"openid after another issuer's", "", []doc{{oauth, 200, "application/json", "/x", ""}, {oidc, 200, "application/json", "", ""}}, "", false},
		{"openid after trouble", "", []doc{{oauth, 501, "", "", ""}, {oidc, 200, "application/json", "", ""}}, "", false},
		{"issuer mismatch by a slash", "", []doc{{oauth, 200, "application/json", "/", ""}}, "the document is of issuer", false},
		{"html", "", []doc{{oauth, 200, "text/html", "", ""}}, "an HTML page", false},
		{"redirect", "", []doc{{oauth, 302, "", "", ""}}, "redirects are not followed", false},
		{"nothing", "", nil, "HTTP 404", false},
		{"plain http elsewhere", "", []doc{{oauth, 200, "application/json", "", "http://example.com/token"}}, "must be https", false},
		{"trouble", "", []doc{{oauth, 501, "", "", ""}, {oidc, 501, "", "", ""}}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var documents atomic.Int64
			var s *httptest.Server
			s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					sendJSON(w, 200, `{"access_token":"tok","expires_in":3600}`)
					return
				}
				documents.Add(1)
				for _, d := range tt.docs {
					if d.path != r.URL.Path {
						continue
					}
					if d.token == "" {
						d.token = s.URL + "/token"
					}
					w.Header().Set("Content-Type", d.ctype)
					w.Header().Set("Location", s.URL+oidc)
					w.WriteHeader(d.status)
					_, _ = fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, s.URL+d.issuer, d.token)
					return
				}
				http.NotFound(w, r)
			}))
			t.Cleanup(s.Close)
			c := newCache(t, tokencache.Config{Issuer: s.URL + tt.issuer})
			tok, err := c.Token(t.Context())
			switch {
			case tt.down:
				if _, ok := errors.AsType[*tokencache.UnavailableError](err); !ok {
					t.Errorf("got %v, want an UnavailableError", err)
				}
			case tt.err != "":
				var refused *tokencache.RefusedError
				if !errors.As(err, &refused) || refused.Code != tokencache.CodeDiscovery || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
			case err != nil:
				t.Error(err)
			default:
				before := documents.Load()
				c.Invalidate(tok.Value)
				_ = mustToken(t, c)
				if got := documents.Load(); got != before {
					t.Errorf("the document was read again: %d reads, want %d", got, before)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := tokencache.Config{TokenURL: "https://a/token", ClientID: "c", Secret: secretOf("s")}
	tests := map[string]func(*tokencache.Config){
		"neither issuer":      func(c *tokencache.Config) { c.TokenURL = "" },
		"must be https":       func(c *tokencache.Config) { c.TokenURL = "http://a.example/token" },
		"not an absolute URL": func(c *tokencache.Config) { c.Issuer = "a.example" },
		"user or a fragment":  func(c *tokencache.Config) { c.Issuer = "https://u:p@a.example" },
		"client_id is empty":  func(c *tokencache.Config) { c.ClientID = "" },
		"no client secret":    func(c *tokencache.Config) { c.Secret = nil },
		"none of basic":       func(c *tokencache.Config) { c.AuthStyle = "auto" },
		"nothing makes":       func(c *tokencache.Config) { c.AuthStyle = tokencache.AuthAssertion },
		"sends no assertion": func(c *tokencache.Config) {
			c.Assert = func([]byte, tokencache.Recipient) (string, error) { return "", nil }
		},
		"set by its own":        func(c *tokencache.Config) { c.Params = url.Values{"client_secret": {"x"}} },
		"is not one name":       func(c *tokencache.Config) { c.Scopes = []string{"a b"} },
		`params: "audience" is`: func(c *tokencache.Config) { c.Audience, c.Params = "a", url.Values{"audience": {"b"}} },
	}
	for want, change := range tests {
		cfg := good
		change(&cfg)
		if _, err := tokencache.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, u := range []string{"http://127.0.0.1:1/t", "http://[::1]/t", "http://localhost/t"} {
		cfg := good
		cfg.TokenURL = u
		if _, err := tokencache.New(cfg); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	base := tokencache.Config{TokenURL: "https://a/t", ClientID: "c", Secret: secretOf("s"), Scopes: []string{"a", "b"}}
	key := func(change func(*tokencache.Config)) string {
		cfg := base
		change(&cfg)
		return newCache(t, cfg).Key()
	}
	want := key(func(*tokencache.Config) {})
	for name, change := range map[string]func(*tokencache.Config){
		"scope order": func(c *tokencache.Config) { c.Scopes = []string{"b", "a"} },
		"secret":      func(c *tokencache.Config) { c.Secret = secretOf("other") },
		"style":       func(c *tokencache.Config) { c.AuthStyle = tokencache.AuthBasic },
	} {
		if got := key(change); got != want {
			t.Errorf("%s changes the key", name)
		}
	}
	seen := map[string]string{want: "base"}
	for name, change := range map[string]func(*tokencache.Config){
		"token url": func(c *tokencache.Config) { c.TokenURL = "https://b/t" },
		"issuer":    func(c *tokencache.Config) { c.Issuer = "https://a" },
		"client":    func(c *tokencache.Config) { c.ClientID = "d" },
		"scopes":    func(c *tokencache.Config) { c.Scopes = []string{"a"} },
		"audience":  func(c *tokencache.Config) { c.Audience = "x" },
		"resource":  func(c *tokencache.Config) { c.Resources = []string{"x"} },
		"params":    func(c *tokencache.Config) { c.Params = url.Values{"organization": {"x"}} },
		"style":     func(c *tokencache.Config) { c.AuthStyle = tokencache.AuthPost },
		"as":        func(c *tokencache.Config) { c.As = "person" },
		"subject":   func(c *tokencache.Config) { c.Subject = "x" },
	} {
		k := key(change)
		if other, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
}

func TestCertificateErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	_, err := c.Token(t.Context())
	if _, ok := errors.AsType[*tokencache.UnavailableError](err); !ok || c.Stats().Requests != 1 {
		t.Errorf("got %v after %d requests, want an UnavailableError after 1", err, c.Stats().Requests)
	}
	if !strings.Contains(hintOf(err), "ca_file") {
		t.Errorf("got hint %q, want ca_file named", hintOf(err))
	}
}

func TestFetchHidesFromTheCallersTrace(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	c := newCache(t, tokencache.Config{TokenURL: s.URL})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { t.Error("the token request was taken for the caller's") },
	})
	if _, err := c.Token(ctx); err != nil {
		t.Error(err)
	}
	wantRequests(t, s, 1)
}
