package authserver_test

import (
	"context"
	"crypto"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	audience = "https://timesheets.example/api"
	redirect = "https://page.example/ui/callback"
	secret   = "planted machine secret +%/"
)

// rig is a server on loopback and what a client needs to talk to it.
type rig struct {
	*authserver.Server
	t      testing.TB
	issuer string
	http   *http.Client
}

func password(username string) string { return "planted-" + username }

// config is a server with one client of each kind.
func config(tb testing.TB, issuer string) authserver.Config {
	tb.Helper()
	passwords := make(map[string]string)
	for _, p := range people.ExampleCo() {
		passwords[p.Username] = password(p.Username)
	}
	directory, err := people.New(people.ExampleCo(), passwords)
	if err != nil {
		tb.Fatal(err)
	}
	secrets := []authserver.Secret{{Value: secret}}
	return authserver.Config{
		Issuer: issuer, Audience: audience, People: directory,
		Clients: []authserver.Client{
			{
				ID: "machine", Grants: []string{authserver.GrantClientCredentials}, Secrets: secrets,
				Scopes: []string{authserver.ScopeUpload, authserver.ScopeRead},
			},
			{
				ID: "cli", Name: "a program", Native: true, Scopes: authserver.PersonScopes(),
				Grants:    []string{authserver.GrantCode, authserver.GrantDevice, authserver.GrantRefresh},
				Redirects: []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
			},
			{
				ID: "web", Name: "a page", Secrets: secrets, Redirects: []string{redirect},
				Grants: []string{authserver.GrantCode, authserver.GrantRefresh},
				Scopes: []string{authserver.ScopeRead, authserver.ScopeOpenID, authserver.ScopeOffline},
			},
			{ID: "api", Secrets: secrets, Introspects: true},
		},
	}
}

func start(tb testing.TB, change func(*authserver.Config)) *rig {
	tb.Helper()
	r := &rig{t: tb, http: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.ServeHTTP(w, req) }))
	tb.Cleanup(srv.Close)
	tb.Cleanup(r.http.CloseIdleConnections)
	r.issuer = srv.URL
	cfg := config(tb, srv.URL)
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.Server, err = authserver.New(cfg); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) ctx() context.Context {
	return context.WithValue(r.t.Context(), oauth2.HTTPClient, r.http)
}

func (r *rig) client(id string, scopes ...string) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: id, Scopes: scopes, RedirectURL: "http://127.0.0.1:45678/callback",
		Endpoint: oauth2.Endpoint{
			AuthURL: r.issuer + "/authorize", TokenURL: r.issuer + "/token",
			DeviceAuthURL: r.issuer + "/device_authorization", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	if id == "web" {
		c.ClientSecret, c.RedirectURL, c.Endpoint.AuthStyle = secret, redirect, oauth2.AuthStyleInHeader
	}
	return c
}

func person(username string, scopes ...string) sandboxtest.Person {
	return sandboxtest.Person{Username: username, Password: password(username), Scopes: scopes}
}

// authorize goes through the pages and returns the answer's parameters.
func (r *rig) authorize(c *oauth2.Config, p sandboxtest.Person, verifier string, extra ...oauth2.AuthCodeOption) url.Values {
	r.t.Helper()
	extra = append(extra, oauth2.S256ChallengeOption(verifier))
	to, err := p.LogIn(r.t.Context(), c.AuthCodeURL("st4te", extra...))
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		r.t.Fatal(err)
	}
	if want := c.RedirectURL + "?"; !strings.HasPrefix(to, want) {
		r.t.Fatalf("sent to %s, want %s", to, want)
	}
	return u.Query()
}

// logIn goes through the code flow.
func (r *rig) logIn(c *oauth2.Config, p sandboxtest.Person) *oauth2.Token {
	r.t.Helper()
	verifier := oauth2.GenerateVerifier()
	tok, err := c.Exchange(r.ctx(), r.authorize(c, p, verifier).Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		r.t.Fatal(err)
	}
	return tok
}

func (r *rig) refresh(c *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	return c.TokenSource(r.ctx(), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

// reply is an answer in JSON.
type reply struct {
	status int
	header http.Header
	body   map[string]any
}

func (a reply) code() string { s, _ := a.body["error"].(string); return s }

// post sends a form; who authenticates, by Basic, if it is not "".
func (r *rig) post(path, who string, form url.Values) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if who != "" {
		req.SetBasicAuth(url.QueryEscape(who), url.QueryEscape(secret))
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) reply {
	r.t.Helper()
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := reply{status: resp.StatusCode, header: resp.Header}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.body); err != nil {
			r.t.Fatalf("answer of %d bytes: %v", len(b), err)
		}
	}
	return a
}

func (r *rig) introspect(token string) map[string]any {
	r.t.Helper()
	a := r.post("/introspect", "api", url.Values{"token": {token}})
	if a.status != http.StatusOK {
		r.t.Fatalf("introspect: got %d %q", a.status, a.code())
	}
	return a.body
}

func (r *rig) active(token string) bool {
	r.t.Helper()
	on, _ := r.introspect(token)["active"].(bool)
	return on
}

// with copies a form and changes it; an empty value takes the parameter out.
func with(form url.Values, pairs ...string) url.Values {
	form = maps.Clone(form)
	for i := 0; i < len(pairs); i += 2 {
		form[pairs[i]] = []string{pairs[i+1]}
		if pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	return form
}

func withKeys(keys ...crypto.PublicKey) func(*authserver.Config) {
	return func(c *authserver.Config) { c.Clients[0].Keys = keys }
}

// s256 is a challenge whose verifier nobody needs.
func s256() []oauth2.AuthCodeOption {
	return []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(oauth2.GenerateVerifier())}
}
