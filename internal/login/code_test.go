package login_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/internal/login/logintest"
)

func configFor(s *logintest.Server) *login.Config {
	return &login.Config{
		Server: login.Server{
			Issuer: s.Issuer(), AuthorizationEndpoint: s.URL + "/authorize", TokenEndpoint: s.URL + "/token", DeviceEndpoint: s.URL + "/device",
			IssInAnswers: true,
		},
		ClientID: logintest.ClientID, Scopes: []string{"create:timesheets", "offline_access"}, Timeout: 20 * time.Second,
	}
}

// open is a browser that goes wherever it is sent.
func open(t *testing.T, address string) (status int, body string, header http.Header) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Errorf("open: %v", err)
		return 0, "", nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header
}

func inBrowser(t *testing.T, see func(status int, body string, header http.Header)) func(context.Context, string) error {
	t.Helper()
	return func(_ context.Context, address string) error {
		status, body, header := open(t, address)
		if see != nil {
			see(status, body, header)
		}
		return nil
	}
}

func TestBrowser(t *testing.T) {
	t.Parallel()
	s := logintest.New(t)
	s.Without = []string{"offline_access"}
	before := time.Now()
	tokens, err := configFor(s).WithBrowser(t.Context(), login.Browser{Show: inBrowser(t, func(status int, body string, header http.Header) {
		if status != http.StatusOK || header.Get("Cache-Control") != "no-store" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("got %d %v", status, header)
		}
		for _, secret := range s.Secrets() {
			if strings.Contains(body, secret) {
				t.Errorf("the page holds a secret: %s", body)
			}
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	if tokens.Access == "" || tokens.Refresh == "" || strings.Join(tokens.Scopes, " ") != "create:timesheets" {
		t.Errorf("got scopes %v, tokens %t %t", tokens.Scopes, tokens.Access != "", tokens.Refresh != "")
	}
	if tokens.ObtainedAt.Before(before.Round(0)) || tokens.ExpiresAt.Sub(before) < 59*time.Minute {
		t.Errorf("obtained %s, expires %s", tokens.ObtainedAt, tokens.ExpiresAt)
	}
	if tokens.String() != "REDACTED" {
		t.Errorf("printed as %s", tokens)
	}
}

// Whatever the redirect brings, but for the one right answer, ends the login with the kind of error that says whose
// fault it is, and with no token.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(url.Values)
		kind   login.Kind
		says   string
	}{
		{"denied", func(v url.Values) {
			v.Del("code")
			v.Set("error", "access_denied")
			v.Set("error_description", "no\x1b[31m!\n")
		}, login.Denied, "access_denied: no [31m!"},
		{"other error", func(v url.Values) { v.Del("code"); v.Set("error", "invalid_scope") }, login.Refused, "invalid_scope"},
		{"server in trouble", func(v url.Values) { v.Del("code"); v.Set("error", "temporarily_unavailable") }, login.Unavailable, "temporarily_unavailable"},
		{"wrong state", func(v url.Values) { v.Set("state", v.Get("state")+"x") }, login.Refused, "state"},
		{"no state", func(v url.Values) { v.Del("state") }, login.Refused, "state"},
		{"error with a wrong state", func(v url.Values) { v.Set("state", "x"); v.Set("error", "access_denied") }, login.Refused, "state"},
		{"wrong iss", func(v url.Values) { v.Set("iss", "https://evil.example") }, login.Refused, `"https://evil.example"`},
		{"no iss", func(v url.Values) { v.Del("iss") }, login.Refused, "issuer"},
		{"error of another issuer", func(v url.Values) { v.Set("iss", "https://evil.example"); v.Set("error", "access_denied") }, login.Refused, "evil"},
		{"no code", func(v url.Values) { v.Del("code") }, login.Refused, "neither a code nor an error"},
		{"two codes", func(v url.Values) { v.Add("code", "another") }, login.Refused, "two of code"},
		{"foreign code", func(v url.Values) { v.Set("code", "another") }, login.Refused, "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := logintest.New(t)
			s.Answer = tc.change
			tokens, err := configFor(s).WithBrowser(t.Context(), login.Browser{Show: inBrowser(t, func(_ int, body string, _ http.Header) {
				if strings.Contains(body, "evil") || strings.Contains(body, "denied") {
					t.Errorf("the page repeats the answer: %s", body)
				}
			})})
			var e *login.Error
			if !errors.As(err, &e) || e.Kind != tc.kind || !strings.Contains(e.Error(), tc.says) || e.Hint() == "" || strings.ContainsAny(e.Error(), "\n\x1b") {
				t.Errorf("got %v, want kind %s that says %q", err, tc.kind, tc.says)
			}
			if tokens.Access != "" {
				t.Error("got a token all the same")
			}
			for _, secret := range s.Secrets() {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds a secret: %v", err)
				}
			}
		})
	}
}

// A server that does not name itself in answers is believed without, unless it names another.
func TestIssuerOptional(t *testing.T) {
	t.Parallel()
	s := logintest.New(t)
	s.Answer = func(v url.Values) { v.Del("iss") }
	c := configFor(s)
	c.Server.IssInAnswers = false
	if _, err := c.WithBrowser(t.Context(), login.Browser{Show: inBrowser(t, nil)}); err != nil {
		t.Error(err)
	}
	s.Answer = func(v url.Values) { v.Set("iss", "https://evil.example") }
	if _, err := c.WithBrowser(t.Context(), login.Browser{Show: inBrowser(t, nil)}); err == nil {
		t.Error("an answer of another issuer was taken")
	}
}

// Other paths, methods, names and a second answer get nothing and change nothing; afterwards nobody listens.
func TestListener(t *testing.T) {
	t.Parallel()
	s := logintest.New(t)
	var redirect string
	tokens, err := configFor(s).WithBrowser(t.Context(), login.Browser{Show: func(_ context.Context, address string) error {
		u, _ := url.Parse(address)
		redirect = u.Query().Get("redirect_uri")
		if host, _, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimSuffix(redirect, "/callback"), "http://")); host != "127.0.0.1" {
			t.Errorf("listens at %s", redirect)
		}
		base := strings.TrimSuffix(redirect, "/callback")
		for _, path := range []string{"/", "/favicon.ico", "/callback/", "/callback/x?code=1"} {
			if status, _, header := open(t, base+path); status != http.StatusNotFound || header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %d %v", path, status, header)
			}
		}
		resp, err := http.PostForm(redirect, url.Values{"code": {"x"}})
		if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: got %v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		// A name that points here is somebody else's page (DNS rebinding).
		req, _ := http.NewRequest(http.MethodGet, redirect+"?code=1", nil)
		req.Host = "evil.example"
		if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("foreign host: got %v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		// The right answer, and at once another.
		if status, _, _ := open(t, address); status != http.StatusOK {
			t.Errorf("got %d", status)
		}
		if resp, err := http.Get(redirect + "?code=second&state=x"); err == nil {
			if resp.StatusCode != http.StatusGone {
				t.Errorf("second answer: got %d", resp.StatusCode)
			}
			resp.Body.Close()
		}
		return nil
	}})
	if err != nil || tokens.Access == "" {
		t.Fatalf("got %v", err)
	}
	if resp, err := http.Get(redirect); err == nil {
		resp.Body.Close()
		t.Error("somebody still listens")
	}
}

func TestPinnedPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	s := logintest.New(t)
	_, err = configFor(s).WithBrowser(t.Context(), login.Browser{Port: port, Show: func(context.Context, string) error {
		t.Error("the browser opened before the port was there")
		return nil
	}})
	var e *login.Error
	if !errors.As(err, &e) || e.Kind != login.Port || !strings.Contains(err.Error(), strconv.Itoa(port)) || !strings.Contains(e.Hint(), "--redirect-port") {
		t.Errorf("got %v", err)
	}
	_ = taken.Close()
	_, err = configFor(s).WithBrowser(t.Context(), login.Browser{Port: port, Show: func(_ context.Context, address string) error {
		if !strings.Contains(address, url.QueryEscape("http://127.0.0.1:"+strconv.Itoa(port)+"/callback")) {
			t.Errorf("got %s", address)
		}
		open(t, address)
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestBrowserEnds(t *testing.T) {
	t.Parallel()
	s := logintest.New(t)
	nothing := login.Browser{Show: func(context.Context, string) error { return nil }}
	c := configFor(s)
	c.Timeout = 50 * time.Millisecond
	var e *login.Error
	if _, err := c.WithBrowser(t.Context(), nothing); !errors.As(err, &e) || e.Kind != login.Expired {
		t.Errorf("nobody logs in: got %v", err)
	}
	c.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.WithBrowser(ctx, login.Browser{Show: func(context.Context, string) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	failed := errors.New("no terminal")
	if _, err := c.WithBrowser(t.Context(), login.Browser{Show: func(context.Context, string) error { return failed }}); !errors.Is(err, failed) {
		t.Errorf("cannot be shown: got %v", err)
	}
}

// Answers of the token endpoint that are none.
func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		status     int
		kind       login.Kind
		life       time.Duration // of the token, where one is right
	}{
		{"html", "<html>canary</html>", 200, login.Refused, 0},
		{"empty", "", 200, login.Refused, 0},
		{"no token", `{"token_type":"Bearer"}`, 200, login.Refused, 0},
		{"not bearer", `{"access_token":"canary","token_type":"DPoP"}`, 200, login.Refused, 0},
		{"refused", `{"error":"invalid_client","error_description":"who?"}`, 401, login.Refused, 0},
		{"trouble", "canary", 503, login.Unavailable, 0},
		{"too many", "canary", 429, login.Unavailable, 0},
		{"huge", strings.Repeat("x", 70<<10), 200, login.Unavailable, 0},
		{"float", `{"access_token":"canary","token_type":"Bearer","expires_in":3600.5}`, 200, "", time.Hour},
		{"text", `{"access_token":"canary","token_type":"Bearer","expires_in":"60"}`, 200, "", time.Minute},
		{"nonsense", `{"access_token":"canary","token_type":"Bearer","expires_in":{}}`, 200, "", -1},
		{"negative", `{"access_token":"canary","token_type":"Bearer","expires_in":-1}`, 200, "", -1},
		{"missing", `{"access_token":"canary","token_type":"Bearer"}`, 200, "", -1},
		{"for ever", `{"access_token":"canary","token_type":"Bearer","expires_in":1e300}`, 200, "", 24 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := logintest.New(t)
			s.Token = func(w http.ResponseWriter, _ url.Values) bool {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
				return true
			}
			tokens, err := configFor(s).WithBrowser(t.Context(), login.Browser{Show: inBrowser(t, nil)})
			var e *login.Error
			switch {
			case tc.kind != "":
				if !errors.As(err, &e) || e.Kind != tc.kind || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v, want kind %s", err, tc.kind)
				}
			case err != nil:
				t.Errorf("got %v", err)
			case tc.life < 0:
				if !tokens.ExpiresAt.IsZero() {
					t.Errorf("expires %s, want not known", tokens.ExpiresAt)
				}
			default:
				if got := tokens.ExpiresAt.Sub(tokens.ObtainedAt).Round(time.Second); got != tc.life {
					t.Errorf("lives %s, want %s", got, tc.life)
				}
			}
		})
	}
}

// Parameters go with every request, all their values too.
func TestParams(t *testing.T) {
	t.Parallel()
	s := logintest.New(t)
	var form url.Values
	s.Token = func(_ http.ResponseWriter, f url.Values) bool { form = f; return false }
	c := configFor(s)
	c.Params = url.Values{"audience": {"api"}, "resource": {"https://a.example", "https://b.example"}}
	var asked url.Values
	_, err := c.WithBrowser(t.Context(), login.Browser{Show: func(_ context.Context, address string) error {
		u, _ := url.Parse(address)
		asked = u.Query()
		open(t, address)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []url.Values{asked, form} {
		if got.Get("audience") != "api" || strings.Join(got["resource"], " ") != "https://a.example https://b.example" {
			t.Errorf("got %v", got)
		}
	}
}
