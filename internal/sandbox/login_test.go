package sandbox_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// cli is tsupload on a person's computer, seen as any other client.
func (r *rig) cli(scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: sandbox.CLIClient, Scopes: scopes, RedirectURL: "http://127.0.0.1:45678/callback",
		Endpoint: oauth2.Endpoint{
			AuthURL: r.Issuer() + "/authorize", TokenURL: r.Issuer() + "/token", DeviceAuthURL: r.Issuer() + "/device_authorization",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

func (r *rig) ctx() context.Context {
	return context.WithValue(r.t.Context(), oauth2.HTTPClient, r.http)
}

func (r *rig) person(username string, scopes ...string) sandboxtest.Person {
	return sandboxtest.Person{Username: username, Password: r.Password(username), Scopes: scopes}
}

// logIn goes through the code flow.
func (r *rig) logIn(c *oauth2.Config, p sandboxtest.Person) (*oauth2.Token, url.Values) {
	r.t.Helper()
	verifier := oauth2.GenerateVerifier()
	redirect, err := p.LogIn(r.t.Context(), c.AuthCodeURL("st4te", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(redirect)
	if err != nil {
		r.t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code") == "" {
		return nil, q
	}
	tok, err := c.Exchange(r.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		r.t.Fatal(err)
	}
	return tok, q
}

// In each design a person logs in, logs hours, and is seen by who may see them.
func TestLogIn(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByLookup, people.ByReference} {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{Claims: design})
			c := r.cli("create:timesheets", "read:timesheets", "approve:timesheets")
			tok, q := r.logIn(c, r.person("ada"))
			if q.Get("state") != "st4te" || q.Get("iss") != r.Issuer() {
				t.Errorf("answer: got %v", q)
			}
			if got := tok.Extra("scope"); got != "create:timesheets read:timesheets" {
				t.Errorf("scope: got %v", got)
			}
			if design != people.ByReference {
				claims := decodeClaims(t, tok.AccessToken)
				if claims["sub"] != "user:ada" || claims["aud"] != r.Audience() || claims["client_id"] != sandbox.CLIClient {
					t.Errorf("claims: got %v", claims)
				}
				if _, has := claims["user_id"]; has != (design == people.InToken) {
					t.Errorf("claims: got %v", claims)
				}
			}
			as := func(tok *oauth2.Token) []string { return []string{"Authorization", "Bearer " + tok.AccessToken} }
			mine := strings.Replace(strings.Replace(entryJSON, `"007"`, `"001"`, 1), "Contractor", "Employee", 1)
			if a := r.do(http.MethodPost, "/timesheets", mine, as(tok)...); a.status != http.StatusCreated {
				t.Errorf("own entry: got %d %s", a.status, a.body)
			}
			if a := r.do(http.MethodPost, "/timesheets", entryJSON, as(tok)...); a.status != http.StatusForbidden {
				t.Errorf("another's entry: got %d %s", a.status, a.body)
			}
			if a := r.do(http.MethodPost, "/timesheets/upload", mine, as(tok)...); a.status != http.StatusForbidden {
				t.Errorf("upload: got %d %s", a.status, a.body)
			}
			for username, sees := range map[string]bool{"ada": true, "mia": true, "adam": true, "max": false, "cy": false} {
				tok, _ := r.logIn(c, r.person(username))
				if a := r.do(http.MethodGet, "/timesheets", "", as(tok)...); a.status != http.StatusOK || strings.Contains(a.body, "StoreZero") != sees {
					t.Errorf("%s: got %d %s", username, a.status, a.body)
				}
			}
			again, err := c.TokenSource(r.ctx(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
			if err != nil || again.RefreshToken == tok.RefreshToken || again.AccessToken == tok.AccessToken {
				t.Fatalf("refresh: got %v", err)
			}
			if a := r.do(http.MethodGet, "/timesheets", "", as(again)...); a.status != http.StatusOK {
				t.Errorf("renewed: got %d %s", a.status, a.body)
			}
			if a := r.upload(entryJSON); a.status != http.StatusCreated {
				t.Errorf("the machine: got %d %s", a.status, a.body)
			}
			// The API knows what was revoked, if it did not see it a moment before.
			again, err = c.TokenSource(r.ctx(), &oauth2.Token{RefreshToken: again.RefreshToken}).Token()
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.http.PostForm(r.Issuer()+"/revoke", url.Values{"client_id": {sandbox.CLIClient}, "token": {again.RefreshToken}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if a := r.do(http.MethodGet, "/timesheets", "", as(again)...); resp.StatusCode != http.StatusOK || a.status != http.StatusUnauthorized {
				t.Errorf("revoked: got %d, then %d %s", resp.StatusCode, a.status, a.body)
			}
		})
	}
}

// The machine's secret can be replaced while the old one works.
func TestNewSecret(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{ClientSecret: "old"})
	set := func(body string) int { return r.do(http.MethodPost, "/_sandbox/secret", body).status }
	works := func(secret string) bool {
		c := r.credentials()
		c.ClientSecret = secret
		_, err := r.fetch(c)
		return err == nil
	}
	if got := set(`{"secret":"new","old_valid_for":"1h"}`); got != http.StatusNoContent || !works("old") || !works("new") {
		t.Errorf("beside the old one: got %d", got)
	}
	if got := set(`{"secret":"newest"}`); got != http.StatusNoContent || works("old") || works("new") || !works("newest") {
		t.Errorf("at once: got %d", got)
	}
	for body, want := range map[string]int{
		`{}`: 422, `{"secret":"x","old_valid_for":"soon"}`: 422, `{"secret":"x","old_valid_for":"-1h"}`: 422, `{`: 400, `{"secrets":""}`: 400,
	} {
		if got := set(body); got != want {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
	}
}

func TestLogInRefused(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	c := r.cli("read:timesheets", "delete:timesheets")
	p := r.person("cy")
	p.Deny = true
	if _, q := r.logIn(c, p); q.Get("error") != "access_denied" || q.Get("state") != "st4te" || q.Get("iss") != r.Issuer() {
		t.Errorf("denied: got %v", q)
	}
	if _, q := r.logIn(c, r.person("cy", "nothing")); q.Get("error") != "access_denied" {
		t.Errorf("nothing ticked: got %v", q)
	}
	if tok, _ := r.logIn(c, r.person("cy", "delete:timesheets")); tok.Extra("scope") != "delete:timesheets" {
		t.Errorf("one refused: got %v", tok.Extra("scope"))
	}
	p = r.person("cy")
	p.Password = "wrong"
	_, err := p.LogIn(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "Username or password is wrong") {
		t.Errorf("wrong password: got %v", err)
	}
}

func TestDeviceLogIn(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{DeviceInterval: 1})
	c := r.cli("create:timesheets")
	da, err := c.DeviceAuth(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if len(da.UserCode) != 9 || da.VerificationURIComplete != da.VerificationURI+"?user_code="+da.UserCode || da.Interval != 1 {
		t.Errorf("got %+v", da)
	}
	typed := strings.ToLower(strings.Replace(da.UserCode, "-", " ", 1))
	if err := r.person("cy").Connect(t.Context(), da.VerificationURI, typed); err != nil {
		t.Fatal(err)
	}
	tok, err := c.DeviceAccessToken(r.ctx(), da)
	if err != nil {
		t.Fatal(err)
	}
	if claims := decodeClaims(t, tok.AccessToken); claims["sub"] != "user:cy" || claims["user_id"] != "007" || tok.RefreshToken == "" {
		t.Errorf("got %v", claims)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	if status, body, err := sandboxtest.Open(t.Context(), r.Issuer()+"/device"); err != nil || status != http.StatusOK || !strings.Contains(body, "Connect a device") {
		t.Errorf("got %d, %v", status, err)
	}
}

func decodeClaims(tb testing.TB, token string) jwt.MapClaims {
	tb.Helper()
	var c jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		tb.Fatal(err)
	}
	return c
}
