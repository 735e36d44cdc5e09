package authserver_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
)

// A client that knows nothing of us, and only the standards, discovers the
// server, logs in, verifies the ID token and renews its access.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(c *authserver.Config) { c.SigningAlg = alg })
			ctx := oidc.ClientContext(r.ctx(), r.http)
			provider, err := oidc.NewProvider(ctx, r.issuer)
			if err != nil {
				t.Fatal(err)
			}
			c := r.client("web", oidc.ScopeOpenID, oidc.ScopeOfflineAccess, "read:timesheets")
			c.Endpoint = provider.Endpoint()
			if c.Endpoint.AuthURL != r.issuer+"/authorize" || c.Endpoint.DeviceAuthURL != r.issuer+"/device_authorization" {
				t.Errorf("endpoints: got %+v", c.Endpoint)
			}
			c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader

			verifier := oauth2.GenerateVerifier()
			q := r.authorize(c, person("mia"), verifier, oidc.Nonce("n0nce"))
			if q.Get("state") != "st4te" || q.Get("iss") != r.issuer {
				t.Errorf("answer: got %v", q)
			}
			tok, err := c.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := tok.Extra("id_token").(string)
			id, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(ctx, raw)
			if err != nil {
				t.Fatal(err)
			}
			var claims struct {
				Name     string `json:"name"`
				Username string `json:"preferred_username"`
				AuthTime int64  `json:"auth_time"`
			}
			if err := id.Claims(&claims); err != nil {
				t.Fatal(err)
			}
			if id.Subject != "user:mia" || id.Nonce != "n0nce" || claims.Name != "Mia Roth" || claims.Username != "mia" {
				t.Errorf("ID token: got %+v, %+v", id, claims)
			}
			if age := time.Since(time.Unix(claims.AuthTime, 0)); age < 0 || age > time.Minute {
				t.Errorf("auth_time: %s ago", age)
			}
			// An access token is no ID token, and the reverse.
			if _, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(ctx, tok.AccessToken); err == nil {
				t.Error("an access token passed for an ID token")
			}
			if r.active(raw) {
				t.Error("an ID token passed for an access token")
			}
			if got := tok.Extra("scope"); got != "openid offline_access read:timesheets" {
				t.Errorf("scope: got %v", got)
			}
			tok.Expiry = time.Now().Add(-time.Minute)
			again, err := c.TokenSource(ctx, tok).Token()
			if err != nil || again.AccessToken == tok.AccessToken || again.RefreshToken == tok.RefreshToken {
				t.Errorf("refresh: got %v", err)
			}
			if err := r.RotateKeys(); err != nil {
				t.Fatal(err)
			}
			again, err = r.refresh(c, again.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ = again.Extra("id_token").(string)
			if _, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(ctx, raw); err != nil {
				t.Errorf("after the keys rotated: %v", err)
			}
		})
	}
}

func TestForeignMachine(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		c := clientcredentials.Config{
			ClientID: "machine", ClientSecret: secret, TokenURL: r.issuer + "/token", AuthStyle: style, Scopes: []string{"batch:upload"},
		}
		tok, err := c.Token(r.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if tok.RefreshToken != "" || tok.Extra("scope") != "batch:upload" {
			t.Errorf("got a refresh token, or scope %v", tok.Extra("scope"))
		}
		about := r.introspect(tok.AccessToken)
		if about["active"] != true || about["sub"] != "client:machine" || about["aud"] != audience || about["token_type"] != "Bearer" || about["username"] != nil {
			t.Errorf("got %v", about)
		}
	}
}

func TestForeignDevice(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *authserver.Config) { c.DeviceInterval = time.Second })
	c := r.client("cli", "read:timesheets", "approve:timesheets")
	da, err := c.DeviceAuth(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := person("max").Connect(t.Context(), da.VerificationURIComplete, ""); err != nil {
		t.Fatal(err)
	}
	tok, err := c.DeviceAccessToken(r.ctx(), da)
	if err != nil {
		t.Fatal(err)
	}
	about := r.introspect(tok.AccessToken)
	if about["sub"] != "user:max" || about["role"] != "manager" || about["scope"] != "read:timesheets approve:timesheets" || about["username"] != "max" {
		t.Errorf("got %v", about)
	}
	if _, err := r.refresh(c, tok.RefreshToken); err != nil {
		t.Error(err)
	}
	// The code worked once; again, it ends what it led to.
	if _, err := c.DeviceAccessToken(r.ctx(), da); err == nil {
		t.Error("a device code worked twice")
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.issuer+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := r.do(req)
		if a.status != http.StatusOK || a.body["issuer"] != r.issuer {
			t.Fatalf("%s: got %d %v", path, a.status, a.body)
		}
		// What it names is there; what is not there, it does not name.
		for name, value := range a.body {
			at, ok := value.(string)
			if !ok || name == "issuer" {
				continue
			}
			method := http.MethodPost
			if name == "jwks_uri" || name == "authorization_endpoint" {
				method = http.MethodGet
			}
			req, err := http.NewRequestWithContext(t.Context(), method, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed {
				t.Errorf("%s: %s %s answers %d", name, method, at, resp.StatusCode)
			}
		}
		if a.body["userinfo_endpoint"] != nil || a.body["registration_endpoint"] != nil {
			t.Errorf("names what is not there: %v", a.body)
		}
	}
	for _, path := range []string{"/userinfo", "/register", "/par", "/"} {
		resp, err := r.http.Get(r.issuer + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, resp.StatusCode)
		}
	}
}
