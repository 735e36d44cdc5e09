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

func TestLogIn(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByLookup} {
		r := start(t, sandbox.Config{Claims: design})
		tok, q := r.logIn(r.cli("create:timesheets", "read:timesheets", "approve:timesheets"), r.person("ada"))
		if q.Get("state") != "st4te" || q.Get("iss") != r.Issuer() {
			t.Errorf("answer: got %v", q)
		}
		if got := tok.Extra("scope"); got != "create:timesheets read:timesheets" {
			t.Errorf("scope: got %v", got)
		}
		if tok.RefreshToken == "" {
			t.Error("no refresh token")
		}
		claims := decodeClaims(t, tok.AccessToken)
		if claims["sub"] != "user:ada" || claims["aud"] != r.Audience() || claims["client_id"] != sandbox.CLIClient {
			t.Errorf("claims: got %v", claims)
		}
		if _, has := claims["user_id"]; has != (design == people.InToken) {
			t.Errorf("%s: claims: got %v", design, claims)
		}
		again, err := r.cli().TokenSource(r.ctx(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
		if err != nil || again.RefreshToken == tok.RefreshToken || again.AccessToken == tok.AccessToken {
			t.Errorf("refresh: got %v, %v", again, err)
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
