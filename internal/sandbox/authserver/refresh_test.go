package authserver_test

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

func jti(tb testing.TB, token string) string {
	tb.Helper()
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		tb.Fatal(err)
	}
	return c.ID
}

func refusedWith(err error, code string) bool {
	re, ok := errors.AsType[*oauth2.RetrieveError](err)
	return ok && re.ErrorCode == code && re.Response.StatusCode == http.StatusBadRequest
}

// A refresh token that comes again ends the family: those after it, and the
// access tokens of all.
func TestRefreshReused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.client("cli")
	first := r.logIn(c, person("ada"))
	other := r.logIn(c, person("ada"))
	second, err := r.refresh(c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	third, err := r.refresh(c, second.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.refresh(c, first.RefreshToken); !refusedWith(err, "invalid_grant") {
		t.Fatalf("reused: got %v", err)
	}
	if _, err := r.refresh(c, third.RefreshToken); !refusedWith(err, "invalid_grant") {
		t.Errorf("the newest of the family: got %v", err)
	}
	for i, tok := range []*oauth2.Token{first, second, third} {
		if r.active(tok.AccessToken) || !r.Revoked(jti(t, tok.AccessToken)) {
			t.Errorf("access token %d is still active", i)
		}
	}
	if _, err := r.refresh(c, other.RefreshToken); err != nil || !r.active(other.AccessToken) {
		t.Errorf("another login of the same person: got %v", err)
	}
}

// Ten processes with the same refresh token get one answer, also while the API
// is asked for claims in between.
func TestRefreshRace(t *testing.T) {
	t.Parallel()
	api := startClaimsAPI(t)
	r := start(t, func(c *authserver.Config) {
		c.Claims, c.ClaimsURL, c.ClaimsToken = people.ByReference, api.URL, "between-us"
	})
	c := r.client("cli")
	tok := r.logIn(c, person("ada"))
	var (
		wg   sync.WaitGroup
		good atomic.Int32
	)
	for range 10 {
		wg.Go(func() {
			if _, err := r.refresh(c, tok.RefreshToken); err == nil {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("worked %d times", good.Load())
	}
}

func TestRefreshRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	tests := []struct {
		name, who string
		change    []string
		want      string
	}{
		{"nothing wrong", "", nil, ""},
		{"narrower scope", "", []string{"scope", "read:timesheets"}, ""},
		{"wider scope", "", []string{"scope", "read:timesheets delete:timesheets"}, "invalid_scope"},
		{"unknown scope", "", []string{"scope", "everything"}, "invalid_scope"},
		{"other resource", "", []string{"resource", "https://other.example"}, "invalid_target"},
		{"another client", "web", []string{"client_id", ""}, "invalid_grant"},
		{"a machine", "machine", []string{"client_id", ""}, "unauthorized_client"},
		{"made up", "", []string{"refresh_token", "rt_made_up"}, "invalid_grant"},
		{"its digest", "", []string{"refresh_token", "sha256:00"}, "invalid_grant"},
		{"none", "", []string{"refresh_token", ""}, "invalid_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tok := r.logIn(r.client("cli", "read:timesheets", "create:timesheets"), person("ada"))
			form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"cli"}, "refresh_token": {tok.RefreshToken}}
			a := r.post("/token", tt.who, with(form, tt.change...))
			if a.code() != tt.want || (tt.want != "" && a.status != http.StatusBadRequest) {
				t.Fatalf("got %d %q, want %q", a.status, a.code(), tt.want)
			}
			if tt.want != "" {
				// A refusal costs nothing.
				if _, err := r.refresh(r.client("cli"), tok.RefreshToken); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				return
			}
			if tt.change == nil {
				return
			}
			// A narrower token does not narrow the grant.
			next, _ := a.body["refresh_token"].(string)
			again, err := r.refresh(r.client("cli"), next)
			if a.body["scope"] != "read:timesheets" || err != nil || again.Extra("scope") != "read:timesheets create:timesheets" {
				t.Errorf("got %v, then %v", a.body["scope"], err)
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.client("cli")
	tok := r.logIn(c, person("ada"))
	revoke := func(who, token string) reply {
		form := url.Values{"token": {token}}
		if who == "" {
			form.Set("client_id", "cli")
		}
		return r.post("/revoke", who, form)
	}
	if a := revoke("web", tok.RefreshToken); a.status != http.StatusBadRequest || a.code() != "invalid_grant" {
		t.Errorf("another client's refresh token: got %d %q", a.status, a.code())
	}
	if a := revoke("web", tok.AccessToken); a.status != http.StatusBadRequest || !r.active(tok.AccessToken) {
		t.Errorf("another client's access token: got %d %q", a.status, a.code())
	}
	if a := revoke("", "nobody's"); a.status != http.StatusOK {
		t.Errorf("unknown: got %d %q", a.status, a.code())
	}
	if a := revoke("", ""); a.status != http.StatusBadRequest || a.code() != "invalid_request" {
		t.Errorf("none: got %d %q", a.status, a.code())
	}
	// An access token goes alone.
	if a := revoke("", tok.AccessToken); a.status != http.StatusOK || r.active(tok.AccessToken) || !r.Revoked(jti(t, tok.AccessToken)) {
		t.Errorf("access token: got %d %q", a.status, a.code())
	}
	next, err := r.refresh(c, tok.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	// A refresh token takes all along.
	if a := revoke("", next.RefreshToken); a.status != http.StatusOK || r.active(next.AccessToken) {
		t.Errorf("refresh token: got %d %q", a.status, a.code())
	}
	if _, err := r.refresh(c, next.RefreshToken); !refusedWith(err, "invalid_grant") {
		t.Errorf("afterwards: got %v", err)
	}
	m := r.post("/token", "machine", url.Values{"grant_type": {"client_credentials"}})
	token, _ := m.body["access_token"].(string)
	if a := revoke("machine", token); a.status != http.StatusOK || r.active(token) {
		t.Errorf("a machine's token: got %d %q", a.status, a.code())
	}
}

func TestIntrospectionRefuses(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	tok := r.logIn(r.client("cli"), person("ada"))
	for who, want := range map[string]int{"web": http.StatusForbidden, "machine": http.StatusForbidden, "stranger": http.StatusUnauthorized} {
		if a := r.post("/introspect", who, url.Values{"token": {tok.AccessToken}}); a.status != want || a.body["active"] != nil {
			t.Errorf("%s: got %d %q, want %d", who, a.status, a.code(), want)
		}
	}
	if a := r.post("/introspect", "", url.Values{"token": {tok.AccessToken}, "client_id": {"cli"}}); a.status != http.StatusForbidden {
		t.Errorf("a public client: got %d %q", a.status, a.code())
	}
	if a := r.post("/introspect", "api", nil); a.status != http.StatusBadRequest {
		t.Errorf("no token: got %d %q", a.status, a.code())
	}
	// A refresh token is none of the API's business, and asking does not spend it.
	for _, token := range []string{tok.RefreshToken, tok.AccessToken + "x", "a.b.c", "made-up"} {
		if about := r.introspect(token); len(about) != 1 || about["active"] != false {
			t.Errorf("got %v", about)
		}
	}
	if _, err := r.refresh(r.client("cli"), tok.RefreshToken); err != nil {
		t.Error(err)
	}
	if r.RevokeAll(); r.active(tok.AccessToken) {
		t.Error("active after all were revoked")
	}
}
