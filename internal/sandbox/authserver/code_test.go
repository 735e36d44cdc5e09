package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// What an authorization request is refused for, told to the client by redirect
// where the client is known for sure, and to the person alone otherwise.
func TestAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	challenge := oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())
	good := url.Values{
		"client_id": {"cli"}, "redirect_uri": {"http://127.0.0.1:4567/callback"}, "response_type": {"code"}, "state": {"st4te"},
		"scope": {"read:timesheets"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	page := func(text string) func(*testing.T, string, error) {
		return func(t *testing.T, to string, err error) {
			t.Helper()
			pe, ok := errors.AsType[*sandboxtest.PageError](err)
			if !ok || pe.Status != http.StatusBadRequest || !strings.Contains(pe.Text, text) {
				t.Errorf("got %v, sent on: %t, want a page with %q", err, to != "", text)
			}
		}
	}
	told := func(code string) func(*testing.T, string, error) {
		return func(t *testing.T, to string, err error) {
			t.Helper()
			// The answer to an implicit request is in the fragment.
			u, _ := url.Parse(strings.Replace(to, "#", "?", 1))
			if err != nil || u.Query().Get("error") != code || u.Query().Get("state") != "st4te" || u.Query().Get("iss") != r.issuer || u.Query().Has("code") {
				t.Errorf("got %q, %v, want %s", u.Query().Get("error"), err, code)
			}
		}
	}
	goes := func(t *testing.T, to string, err error) {
		t.Helper()
		u, _ := url.Parse(to)
		if err != nil || u.Query().Get("code") == "" {
			t.Errorf("got %q, %v, want a code", u.Query().Get("error"), err)
		}
	}
	tests := []struct {
		name   string
		change []string
		want   func(*testing.T, string, error)
	}{
		{"nothing wrong", nil, goes},
		{"IPv6 loopback", []string{"redirect_uri", "http://[::1]:999/callback"}, goes},
		{"audience of the API", []string{"audience", audience}, goes},
		{"no PKCE", []string{"code_challenge", "", "code_challenge_method", ""}, told("invalid_request")},
		{"plain PKCE", []string{"code_challenge_method", "plain"}, told("invalid_request")},
		{"PKCE without a method", []string{"code_challenge_method", ""}, told("invalid_request")},
		{"short challenge", []string{"code_challenge", "short"}, told("invalid_request")},
		{"challenge of other letters", []string{"code_challenge", strings.Repeat("!", 43)}, told("invalid_request")},
		{"challenge with bits beyond 32 bytes", []string{"code_challenge", strings.Repeat("A", 42) + "B"}, told("invalid_request")},
		{"implicit", []string{"response_type", "token"}, told("unsupported_response_type")},
		{"implicit, as such clients ask", []string{"response_type", "token", "code_challenge", "", "code_challenge_method", ""}, told("unsupported_response_type")},
		{"hybrid", []string{"response_type", "code id_token"}, told("unsupported_response_type")},
		{"implicit to a stranger", []string{"response_type", "token", "redirect_uri", "https://evil.example/callback"}, page("invalid redirect_uri")},
		{"a request object", []string{"request", "e30.e30."}, told("request_not_supported")},
		{"an empty request object", []string{"request", ""}, goes},
		{"no page and a login", []string{"prompt", "none login"}, told("invalid_request")},
		{"an unknown prompt", []string{"prompt", "dance"}, told("invalid_request")},
		{"two prompts", []string{"prompt", "login consent"}, goes},
		{"negative age", []string{"max_age", "-1"}, told("invalid_request")},
		{"age in words", []string{"max_age", "young"}, told("invalid_request")},
		{"right resource, wrong audience", []string{"resource", audience, "audience", "https://other.example"}, told("invalid_target")},
		{"wrong resource, right audience", []string{"resource", "https://other.example", "audience", audience}, told("invalid_target")},
		{"resource and audience", []string{"resource", audience, "audience", audience}, goes},
		{"empty fragment", []string{"redirect_uri", "http://127.0.0.1:4567/callback#"}, page("invalid redirect_uri")},
		{"a signed answer", []string{"response_mode", "jwt"}, told("invalid_request")},
		{"a signed answer in the fragment", []string{"response_mode", "fragment.jwt"}, told("invalid_request")},
		{"an answer as a form", []string{"response_mode", "form_post"}, told("invalid_request")},
		{"an unknown way to answer", []string{"response_mode", "pigeon"}, told("invalid_request")},
		{"no response type", []string{"response_type", ""}, told("invalid_request")},
		{"unknown scope", []string{"scope", "read:timesheets everything"}, told("invalid_scope")},
		{"scope of machines alone", []string{"scope", "batch:upload"}, told("access_denied")},
		{"scope beyond the role", []string{"scope", "approve:timesheets"}, told("access_denied")},
		{"unknown resource", []string{"resource", "https://other.example"}, told("invalid_target")},
		{"unknown audience", []string{"audience", "https://other.example"}, told("invalid_target")},
		{"no login without a page", []string{"prompt", "none"}, told("login_required")},
		{"unknown client", []string{"client_id", "stranger"}, page("invalid_client")},
		{"no client", []string{"client_id", ""}, page("invalid_client")},
		{"a machine", []string{"client_id", "machine"}, page("unauthorized_client")},
		{"no redirect", []string{"redirect_uri", ""}, page("invalid_request")},
		{"other path", []string{"redirect_uri", "http://127.0.0.1:4567/other"}, page("invalid redirect_uri")},
		{"query added", []string{"redirect_uri", "http://127.0.0.1:4567/callback?x=1"}, page("invalid redirect_uri")},
		{"fragment", []string{"redirect_uri", "http://127.0.0.1:4567/callback#x"}, page("invalid redirect_uri")},
		{"localhost", []string{"redirect_uri", "http://localhost:4567/callback"}, page("invalid redirect_uri")},
		{"user info", []string{"redirect_uri", "http://evil@127.0.0.1:4567/callback"}, page("invalid redirect_uri")},
		{"other host", []string{"redirect_uri", "https://evil.example/callback"}, page("invalid redirect_uri")},
		{"https on loopback", []string{"redirect_uri", "https://127.0.0.1:4567/callback"}, page("invalid redirect_uri")},
		{"a page's redirect is exact", []string{"client_id", "web", "redirect_uri", "https://page.example:444/ui/callback"}, page("invalid redirect_uri")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			to, err := person("ada").LogIn(t.Context(), r.issuer+"/authorize?"+with(good, tt.change...).Encode())
			tt.want(t, to, err)
		})
	}
	_, err := person("ada").LogIn(t.Context(), r.issuer+"/authorize?"+good.Encode()+"&state=other")
	page("repeated: state")(t, "", err)
}

// What a code is refused for. The code is spent by it, whoever came with it.
func TestCodeRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	verifier := oauth2.GenerateVerifier()
	tests := []struct {
		name   string
		who    string
		change []string
		want   string
	}{
		{"nothing wrong", "", nil, ""},
		{"wrong verifier", "", []string{"code_verifier", oauth2.GenerateVerifier()}, "invalid_grant"},
		{"no verifier", "", []string{"code_verifier", ""}, "invalid_grant"},
		{"the challenge for a verifier", "", []string{"code_verifier", oauth2.S256ChallengeFromVerifier(verifier)}, "invalid_grant"},
		{"wrong redirect", "", []string{"redirect_uri", "http://127.0.0.1:45679/callback"}, "invalid_grant"},
		{"no redirect", "", []string{"redirect_uri", ""}, "invalid_grant"},
		{"another client", "web", []string{"client_id", ""}, "invalid_grant"},
		{"made up", "", []string{"code", "made-up"}, "invalid_grant"},
		{"wider scope", "", []string{"scope", "delete:timesheets"}, "invalid_scope"},
		{"other resource", "", []string{"resource", "https://other.example"}, "invalid_target"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code := r.authorize(r.client("cli", "read:timesheets"), person("ada"), verifier).Get("code")
			form := url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"cli"}, "code": {code},
				"redirect_uri": {"http://127.0.0.1:45678/callback"}, "code_verifier": {verifier},
			}
			a := r.post("/token", tt.who, with(form, tt.change...))
			if a.code() != tt.want || (tt.want != "" && a.status != http.StatusBadRequest) || !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
				t.Errorf("got %d %q, want %q", a.status, a.code(), tt.want)
			}
			if tt.name == "made up" {
				return
			}
			if a := r.post("/token", "", form); a.code() != "invalid_grant" {
				t.Errorf("again: got %d %q", a.status, a.code())
			}
		})
	}
}

// A code that comes again revokes what it led to.
func TestCodeReused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.client("cli")
	verifier := oauth2.GenerateVerifier()
	code := r.authorize(c, person("ada"), verifier).Get("code")
	tok, err := c.Exchange(r.ctx(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if !r.active(tok.AccessToken) || r.Revoked(jti(t, tok.AccessToken)) {
		t.Fatal("a fresh token is not active")
	}
	if _, err := c.Exchange(r.ctx(), code, oauth2.VerifierOption(verifier)); err == nil {
		t.Fatal("a code worked twice")
	}
	if r.active(tok.AccessToken) || !r.Revoked(jti(t, tok.AccessToken)) {
		t.Error("the access token outlived the reuse of its code")
	}
	if _, err := r.refresh(c, tok.RefreshToken); err == nil {
		t.Error("the refresh token outlived the reuse of its code")
	}
}

// However many come with a code at once, it works once.
func TestCodeRace(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.client("cli")
	verifier := oauth2.GenerateVerifier()
	code := r.authorize(c, person("ada"), verifier).Get("code")
	var (
		wg   sync.WaitGroup
		good atomic.Int32
	)
	for range 8 {
		wg.Go(func() {
			if _, err := c.Exchange(r.ctx(), code, oauth2.VerifierOption(verifier)); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 || r.Issued() != 1 {
		t.Errorf("worked %d times, issued %d", good.Load(), r.Issued())
	}
}

// What is granted is what was asked, as far as client, role and consent go.
func TestGrantedScopes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	tests := []struct {
		client, username, asked string
		ticked                  []string
		want                    string
	}{
		{"cli", "ada", "", nil, "read:timesheets create:timesheets delete:timesheets"},
		{"cli", "mia", "", nil, "read:timesheets create:timesheets delete:timesheets approve:timesheets"},
		{"cli", "adam", "approve:timesheets batch:upload", nil, "approve:timesheets"},
		{"cli", "cy", "create:timesheets approve:timesheets", nil, "create:timesheets"},
		{"cli", "mia", "create:timesheets approve:timesheets", []string{"approve:timesheets"}, "approve:timesheets"},
		{"cli", "mia", "create:timesheets create:timesheets", nil, "create:timesheets"},
		{"web", "mia", "read:timesheets create:timesheets approve:timesheets", nil, "read:timesheets"},
	}
	for _, tt := range tests {
		tok := r.logIn(r.client(tt.client, strings.Fields(tt.asked)...), person(tt.username, tt.ticked...))
		about := r.introspect(tok.AccessToken)
		if tok.Extra("scope") != tt.want || about["scope"] != tt.want {
			t.Errorf("%+v: got %v, in the token %v", tt, tok.Extra("scope"), about["scope"])
		}
	}
	// Who is asked for leave to renew and refuses it gives no refresh token.
	tok := r.logIn(r.client("cli", "read:timesheets", "offline_access"), person("ada", "read:timesheets"))
	if tok.RefreshToken != "" || tok.Extra("scope") != "read:timesheets" {
		t.Errorf("got a refresh token, or scope %v", tok.Extra("scope"))
	}
	tok = r.logIn(r.client("cli", "read:timesheets", "offline_access"), person("ada"))
	if tok.RefreshToken == "" {
		t.Error("got no refresh token")
	}
}

// An authorization request may come as a form too.
func TestAuthorizeByForm(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	noRedirects := &http.Client{Transport: r.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noRedirects.PostForm(r.issuer+authserver.AuthorizePath, url.Values{
		"client_id": {"cli"}, "redirect_uri": {"http://127.0.0.1:4567/callback"}, "response_type": {"code"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"},
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/authorize/") {
		t.Errorf("got %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}
