package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"status=503", "status-after=500@1", "429", "429=30@every=4", "429=99999999999999999999", "reset@3-5", "reset-after@p=0.2", "hang@2-",
		"hang-after", "cut-after", "html", "html-after", "slow", "slow=500ms", "item=422", "max-items=10", "late=40ms", "forbid", "revoke@2",
		"rotate-keys", "token-status=503", "token-429=5", "token-html", "token-slow", "token-reset", "expires-in=5", "expires-in=missing",
		"expires-in=zero", "expires-in=negative", "expires-in=float", "expires-in=string", "expires-in=huge", "token-revoke", "token-rotate-keys@2",
		"discovery-status=503", "keys-hang", "introspect-html", "token-429=99999999999999999999",
		"skew=-2h", "scope-missing@1", "read-status=500", "read-reset-after", "update-hang-after@1",
	} {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if f.String() != text {
			t.Errorf("got %s, want %s", f, text)
		}
	}
	for _, text := range []string{
		"", "nothing", "status", "status=99", "status=600", "status=x", "429=x", "429=", "reset=1", "slow=x", "slow=-1s", "item", "max-items=0",
		"late", "late=0s", "expires-in", "expires-in=0", "skew", "token-item=422", "read-late=1s", "token-forbid", "read-revoke", "keys-revoke", "expires-in=never", "read-skew=1s",
		"reset@", "reset@0", "reset@5-3", "reset@every=0", "reset@p=2", "reset@p=", "reset@x",
	} {
		_, err := sandbox.ParseFault(text)
		fe, ok := errors.AsType[*sandbox.FaultError](err)
		if !ok {
			t.Errorf("%q: got %v, want a FaultError", text, err)
		} else if !strings.Contains(fe.Hint(), "status=CODE") {
			t.Errorf("%q: the hint does not show the grammar", text)
		}
	}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	for selector, want := range map[string]string{
		"":         "xxxxxxxx",
		"@1":       "x.......",
		"@3-5":     "..xxx...",
		"@6-":      ".....xxx",
		"@every=4": "...x...x",
	} {
		t.Run(selector, func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{Faults: faults(t, "status=503"+selector)})
			if got := strikes(r, 8); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	t.Run("by chance", func(t *testing.T) {
		t.Parallel()
		one := start(t, sandbox.Config{Seed: 7, Faults: faults(t, "status=503@p=0.5")})
		two := start(t, sandbox.Config{Seed: 7, Faults: faults(t, "status=503@p=0.5")})
		a, b := strikes(one, 40), strikes(two, 40)
		if a != b || !strings.Contains(a, "x") || !strings.Contains(a, ".") {
			t.Errorf("got %s and %s", a, b)
		}
	})
}

func strikes(r *rig, n int) string {
	r.t.Helper()
	var b strings.Builder
	for range n {
		r.do(http.MethodGet, "/timesheets", "") // another kind does not count
		if r.upload(entryJSON).status == 201 {
			b.WriteByte('.')
		} else {
			b.WriteByte('x')
		}
	}
	return b.String()
}

// Each fault on an upload: what the client sees, and whether it was executed.
func TestUploadFaults(t *testing.T) {
	t.Parallel()
	batch := "[" + entryJSON + "," + entryJSON + "," + entryJSON + "]"
	reset := func(t *testing.T, _ reply, err error) {
		t.Helper()
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v, want a reset", err)
		}
	}
	status := func(want int) func(*testing.T, reply, error) {
		return func(t *testing.T, a reply, err error) {
			t.Helper()
			if err != nil || a.status != want {
				t.Errorf("got %v, %v, want %d", a, err, want)
			}
		}
	}
	html := func(t *testing.T, a reply, err error) {
		t.Helper()
		if err != nil || a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "<html>") {
			t.Errorf("got %v, %v", a, err)
		}
	}
	timeout := func(t *testing.T, _ reply, err error) {
		t.Helper()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a timeout", err)
		}
	}
	tests := []struct {
		fault, body string
		stored      int64
		check       func(t *testing.T, a reply, err error)
	}{
		{"status=503@1", "", 0, status(503)},
		{"status=401@1", "", 0, status(401)},
		{"status=204@1", "", 0, status(204)},
		{"status=202@1", "", 0, status(202)},
		{"status-after=500@1", "", 1, status(500)},
		{"429=7@1", "", 0, func(t *testing.T, a reply, err error) {
			t.Helper()
			status(429)(t, a, err)
			if a.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After: got %q", a.header.Get("Retry-After"))
			}
		}},
		{"reset@1", "", 0, reset},
		{"reset-after@1", "", 1, reset},
		{"hang@1", "", 0, timeout},
		{"hang-after@1", "", 1, timeout},
		{"html@1", "", 0, html},
		{"html-after@1", "", 1, html},
		{"cut-after@1", "", 1, func(t *testing.T, a reply, err error) {
			t.Helper()
			if !errors.Is(err, io.ErrUnexpectedEOF) || a.status != 201 || a.body == "" {
				t.Errorf("got %v, %v", a, err)
			}
		}},
		{"slow=100ms@1", "", 1, func(t *testing.T, a reply, err error) {
			t.Helper()
			status(201)(t, a, err)
			if a.decode(t)["user_id"] != "007" {
				t.Errorf("got %v", a)
			}
		}},
		{"item=422@1", "", 0, status(422)},
		{"item=409@1", batch, 2, func(t *testing.T, a reply, err error) {
			t.Helper()
			status(207)(t, a, err)
			if !strings.Contains(a.body, `{"index":1,"status":409,"error":{"code":"refused"`) {
				t.Errorf("got %v", a)
			}
		}},
		{"max-items=2@1", batch, 0, status(413)},
		{"max-items=3@1", batch, 3, status(200)},
		{"forbid@1", "", 0, func(t *testing.T, a reply, err error) {
			t.Helper()
			status(403)(t, a, err)
			if !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Errorf("got %v", a)
			}
		}},
		{"revoke@1", "", 0, func(t *testing.T, a reply, err error) {
			t.Helper()
			status(401)(t, a, err)
			if !strings.Contains(a.header.Get("WWW-Authenticate"), "invalid_token") {
				t.Errorf("got %v", a)
			}
		}},
		{"rotate-keys@1", "", 1, status(201)},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{Faults: faults(t, tt.fault)})
			r.token()
			body := tt.body
			if body == "" {
				body = entryJSON
			}
			ctx := t.Context()
			if strings.HasPrefix(tt.fault, "hang") {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			a, err := r.try(ctx, http.MethodPost, "/timesheets/upload", body)
			tt.check(t, a, err)
			if s := r.stats(); s.Entries != tt.stored {
				t.Errorf("entries: got %d, want %d", s.Entries, tt.stored)
			}
			// The second request is an ordinary one; with a new token if need be.
			r.tok = ""
			if a := r.upload(entryJSON); a.status != 201 {
				t.Errorf("afterwards: got %v", a)
			}
		})
	}
}

func TestLateCommit(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "late=300ms@1")})
	r.token()
	begin := time.Now()
	if a, err := r.try(t.Context(), http.MethodPost, "/timesheets/upload", entryJSON, "Idempotency-Key", "k"); err == nil {
		t.Fatalf("got %v, want a reset", a)
	}
	// While the commit is under way, its key says so; afterwards it replays.
	saw409 := false
	for {
		a := r.upload(entryJSON, "Idempotency-Key", "k")
		if a.status == 409 {
			saw409 = saw409 || a.decode(t)["code"] == "idempotency_in_progress"
			continue
		}
		if a.status != 201 || a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("got %v", a)
		}
		break
	}
	if took := time.Since(begin); took < 300*time.Millisecond || !saw409 {
		t.Errorf("committed after %s, in progress seen: %t", took, saw409)
	}
	if s := r.stats(); s.Entries != 1 {
		t.Errorf("entries: got %d, want 1", s.Entries)
	}
}

func TestLateCommitDroppedByClose(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "late=1h")})
	r.token()
	if a, err := r.try(t.Context(), http.MethodPost, "/timesheets/upload", entryJSON); err == nil {
		t.Fatalf("got %v, want a reset", a)
	}
	if err := r.Close(); err != nil { // and does not wait for an hour
		t.Fatal(err)
	}
}

// Tokens signed before and after several rotations in a row are good, as long
// as their key is published.
func TestRotateKeys(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "rotate-keys")})
	for i := range 5 {
		if a := r.upload(entryJSON); a.status != 201 {
			t.Fatalf("%d: old token: got %v", i, a)
		}
		r.tok = "" // signed with the new key
	}
}

func TestTokenFaults(t *testing.T) {
	t.Parallel()
	refused := func(status int, code string) func(*testing.T, *rig, *oauth2.Token, error) {
		return func(t *testing.T, _ *rig, _ *oauth2.Token, err error) {
			t.Helper()
			re, ok := errors.AsType[*oauth2.RetrieveError](err)
			if !ok || re.Response.StatusCode != status || re.ErrorCode != code {
				t.Errorf("got %v, want %d %s", err, status, code)
			}
		}
	}
	uploadGets := func(status int) func(*testing.T, *rig, *oauth2.Token, error) {
		return func(t *testing.T, r *rig, tok *oauth2.Token, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if a := r.upload(entryJSON, "Authorization", "Bearer "+tok.AccessToken); a.status != status {
				t.Errorf("upload: got %v, want %d", a, status)
			}
		}
	}
	// The answer's expires_in, as it stands there. What a client makes of it is
	// the client's affair.
	says := func(want string) func(*testing.T, *rig, *oauth2.Token, error) {
		return func(t *testing.T, r *rig, _ *oauth2.Token, _ error) {
			t.Helper()
			r.SetFaults(faults(t, "expires-in="+map[string]string{
				"0": "zero", "-3600": "negative", "3600.5": "float", `"3600"`: "string", "9223372036854775807": "huge",
			}[want]+"@1"), 0)
			resp, err := r.http.PostForm(r.Issuer()+"/token", url.Values{
				"grant_type": {"client_credentials"}, "client_id": {r.ClientID()}, "client_secret": {r.ClientSecret()},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var m map[string]json.RawMessage
			if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || string(m["expires_in"]) != want || m["access_token"] == nil {
				t.Errorf("got %s, %v, want %s", m["expires_in"], err, want)
			}
		}
	}
	tests := []struct {
		fault  string
		issued int64
		check  func(t *testing.T, r *rig, tok *oauth2.Token, err error)
	}{
		{"token-status=503@1", 0, refused(503, "temporarily_unavailable")},
		{"token-status=401@1", 0, refused(401, "invalid_client")},
		{"token-status-after=500@1", 1, refused(500, "temporarily_unavailable")},
		{"token-429=9@1", 0, func(t *testing.T, r *rig, tok *oauth2.Token, err error) {
			t.Helper()
			refused(429, "temporarily_unavailable")(t, r, tok, err)
			if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.Response.Header.Get("Retry-After") != "9" {
				t.Errorf("Retry-After: got %q", re.Response.Header.Get("Retry-After"))
			}
		}},
		{"token-html@1", 0, func(t *testing.T, _ *rig, _ *oauth2.Token, err error) {
			t.Helper()
			if err == nil {
				t.Error("HTML taken for a token")
			}
		}},
		{"token-reset@1", 0, func(t *testing.T, _ *rig, _ *oauth2.Token, err error) {
			t.Helper()
			if err == nil {
				t.Error("got no error")
			}
		}},
		{"token-slow=100ms@1", 1, uploadGets(201)},
		{"expires-in=90@1", 1, func(t *testing.T, _ *rig, tok *oauth2.Token, err error) {
			t.Helper()
			if left := time.Until(tok.Expiry); err != nil || left > 90*time.Second || left < 60*time.Second {
				t.Errorf("got %v, %v", tok, err)
			}
		}},
		{"expires-in=missing@1", 1, func(t *testing.T, r *rig, tok *oauth2.Token, err error) {
			t.Helper()
			if err != nil || !tok.Expiry.IsZero() {
				t.Errorf("got %v, %v", tok, err)
			}
			uploadGets(201)(t, r, tok, err)
		}},
		{"expires-in=zero@1", 1, says("0")},
		{"expires-in=negative@1", 1, says("-3600")},
		{"expires-in=float@1", 1, says("3600.5")},
		{"expires-in=string@1", 1, says(`"3600"`)},
		{"expires-in=huge@1", 1, says("9223372036854775807")},
		{"token-429=99999999999999999999@1", 0, func(t *testing.T, r *rig, tok *oauth2.Token, err error) {
			t.Helper()
			refused(429, "temporarily_unavailable")(t, r, tok, err)
			if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.Response.Header.Get("Retry-After") != "99999999999999999999" {
				t.Errorf("Retry-After: got %q", re.Response.Header.Get("Retry-After"))
			}
		}},
		{"token-cut-after@1", 1, func(t *testing.T, _ *rig, _ *oauth2.Token, err error) {
			t.Helper()
			if err == nil {
				t.Error("half an answer taken for a token")
			}
		}},
		{"token-rotate-keys@1", 1, uploadGets(201)},
		{"skew=-2h@1", 1, uploadGets(401)},
		{"skew=2h@1", 1, uploadGets(401)},
		{"skew=10s@1", 1, uploadGets(201)},
		{"scope-missing@1", 1, func(t *testing.T, r *rig, tok *oauth2.Token, err error) {
			t.Helper()
			if err != nil || tok.Extra("scope") != "read:timesheets delete:timesheets" {
				t.Errorf("got %v, %v", tok, err)
			}
			uploadGets(403)(t, r, tok, err)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{Faults: faults(t, tt.fault)})
			c := r.credentials()
			c.Scopes = []string{"batch:upload"}
			tok, err := r.fetch(c)
			if got := r.auth().TokensIssued; got != tt.issued {
				t.Errorf("issued: got %d, want %d", got, tt.issued)
			}
			tt.check(t, r, tok, err)
			r.tok = ""
			if a := r.upload(entryJSON); a.status != 201 {
				t.Errorf("afterwards: got %v", a)
			}
		})
	}
}

// auth is the statistics, asked without a token.
func (r *rig) auth() (s sandbox.Stats) {
	r.t.Helper()
	resp, err := r.http.Get(r.APIURL() + "/_sandbox/stats")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// Metadata, keys and introspection fail as ordered, and nothing else with them;
// a latency is not theirs.
func TestMetadataFaults(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "discovery-status=503@1", "keys-html@1"), Latency: time.Minute})
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := r.http.Get(r.Issuer() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Content-Type")
	}
	for _, want := range []int{503, 200} {
		if got, _ := get("/.well-known/oauth-authorization-server"); got != want {
			t.Errorf("discovery: got %d, want %d", got, want)
		}
	}
	// The first fetch was the API's own, as it started.
	if got, media := get("/jwks"); got != 200 || media != "application/json" {
		t.Errorf("keys: got %d %s", got, media)
	}
}

// token-revoke takes refresh tokens along, before the request is answered.
func TestRevokeGrants(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	tok, _ := r.logIn(r.cli(), r.person("ada"))
	r.SetFaults(faults(t, "token-revoke@1"), 0)
	_, err := r.cli().TokenSource(r.ctx(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "invalid_grant" || re.Response.StatusCode != http.StatusBadRequest {
		t.Errorf("got %v", err)
	}
}

func TestReadAndUpdateFaults(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "read-status=500@1", "update-status-after=502@1")})
	r.upload(entryJSON)
	if a := r.do(http.MethodGet, "/timesheets", ""); a.status != 500 {
		t.Errorf("read: got %v", a)
	}
	if a := r.do(http.MethodPut, "/timesheets/1", strings.Replace(entryJSON, "5}", "6}", 1)); a.status != 502 {
		t.Errorf("update: got %v", a)
	}
	if a := r.do(http.MethodGet, "/timesheets/1", ""); a.status != 200 || a.decode(t)["hours"] != 6.0 {
		t.Errorf("read again: got %v", a)
	}
}

func TestAdminFaults(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{Faults: faults(t, "status=500")})
	set := func(body string, header ...string) int {
		return r.do(http.MethodPost, "/_sandbox/faults", body, header...).status
	}
	if got := set(`{"faults":["status=418@2"],"latency":"60ms"}`); got != 204 {
		t.Fatalf("got %d", got)
	}
	begin := time.Now()
	if a := r.upload(entryJSON); a.status != 201 {
		t.Errorf("first: got %v", a)
	}
	if took := time.Since(begin); took < 60*time.Millisecond {
		t.Errorf("latency: took %s", took)
	}
	if a := r.upload(entryJSON); a.status != 418 {
		t.Errorf("second: got %v", a)
	}
	for body, want := range map[string]int{
		`{"faults":["nothing"]}`: 422, `{"latency":"x"}`: 422, `{`: 400, `{"fault":[]}`: 400, `{}`: 204,
	} {
		if got := set(body); got != want {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
	}
	if got := set(`{}`, "Content-Type", "text/plain"); got != 415 {
		t.Errorf("text/plain: got %d", got)
	}
}

// What is not understood is not passed over: an order for a fault would seem to
// have been carried out.
func TestAdminIsStrict(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	for _, tt := range []struct{ path, body, code, field string }{
		{"faults", `{"faults":[],"fault":[]}`, "unknown_field", "fault"},
		{"secret", `{"secret":"x","valid_for":"1h"}`, "unknown_field", "valid_for"},
		{"faults", `{"Faults":["status=500"]}`, "malformed_json", "faults"},
		{"faults", `{"faults":[],"faults":["status=500"]}`, "malformed_json", ""},
		{"faults", `{"faults":["status=500"]}{}`, "malformed_json", ""},
		{"secret", `{"secret":"x"} x`, "malformed_json", ""},
		{"faults", `{"latency":5}`, "malformed_json", "latency"},
		{"secret", `{"secret":["x"]}`, "malformed_json", "secret"},
		{"faults", `null`, "malformed_json", ""},
		{"faults", `["status=500"]`, "malformed_json", ""},
		{"faults", `{"latency":"1s"` + strings.Repeat(" ", 1<<20) + `}`, "too_large", ""},
	} {
		a := r.do(http.MethodPost, "/_sandbox/"+tt.path, tt.body)
		var p struct{ Code, Field string }
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 400 || p.Code != tt.code || p.Field != tt.field {
			t.Errorf("%s %.60s: got %d %s", tt.path, tt.body, a.status, a.body)
		}
	}
	if a := r.upload(entryJSON); a.status != 201 {
		t.Errorf("a fault was taken all the same: got %v", a)
	}
}

// A page in a browser can make its own name mean this machine, and then call the
// admin endpoints as same origin (DNS rebinding).
func TestAdminIsCalledByAddress(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	for host, want := range map[string]int{
		"evil.example": 404, "evil.example:80": 404, "127.0.0.1.evil.example": 404,
		"127.0.0.1": 200, "127.0.0.1:1": 200, "[::1]:80": 200, "localhost": 200, "LOCALHOST:80": 200,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.APIURL()+"/_sandbox/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}
