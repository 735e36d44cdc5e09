package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

func subject(tb testing.TB, token string) string {
	tb.Helper()
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil {
		tb.Fatal(err)
	}
	return c.Subject
}

// claimsAPI is an API that knows people, while it is up.
type claimsAPI struct {
	*httptest.Server
	asked atomic.Int32
	role  atomic.Value
	down  atomic.Bool
}

func startClaimsAPI(tb testing.TB) *claimsAPI {
	tb.Helper()
	api := &claimsAPI{}
	api.role.Store(people.RoleManager)
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.asked.Add(1)
		switch {
		case r.Header.Get("Authorization") != "Bearer between-us":
			w.WriteHeader(http.StatusUnauthorized)
		case api.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_ = json.NewEncoder(w).Encode(people.Claims{
				UserID: "from the API about " + r.URL.Query().Get("sub"), UserType: people.Employee,
				Role: api.role.Load().(people.Role), Regions: []string{"EMEA", "APAC"},
			})
		}
	}))
	tb.Cleanup(api.Close)
	return api
}

// With claims by reference, the token is opaque and the claims are those that
// the API gave when it was issued.
func TestReferenceTokens(t *testing.T) {
	t.Parallel()
	api := startClaimsAPI(t)
	r := start(t, func(c *authserver.Config) {
		c.Claims, c.ClaimsURL, c.ClaimsToken = people.ByReference, api.URL, "between-us"
	})
	c := r.client("cli", "read:timesheets")
	tok := r.logIn(c, person("mia"))
	if strings.Contains(tok.AccessToken, ".") {
		t.Fatal("the token is no reference")
	}
	about := r.introspect(tok.AccessToken)
	if about["active"] != true || about["user_id"] != "from the API about user:mia" || about["role"] != "manager" ||
		about["sub"] != "user:mia" || about["aud"] != audience || about["iss"] != r.issuer || about["client_id"] != "cli" ||
		about["scope"] != "read:timesheets" || about["exp"] == nil || about["jti"] == nil {
		t.Errorf("got %v", about)
	}
	id, _ := about["jti"].(string)
	if r.Revoked(id) {
		t.Error("revoked from the start")
	}
	// The claims are asked anew when access is renewed, and not before.
	api.role.Store(people.RoleEmployee)
	if about := r.introspect(tok.AccessToken); about["role"] != "manager" || api.asked.Load() != 1 {
		t.Errorf("got %v, asked %d times", about["role"], api.asked.Load())
	}
	next, err := r.refresh(c, tok.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if about := r.introspect(next.AccessToken); about["role"] != "employee" {
		t.Errorf("renewed: got %v", about["role"])
	}
	// While the API is away nothing is spent.
	api.down.Store(true)
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"cli"}, "refresh_token": {next.RefreshToken}}
	if a := r.post("/token", "", form); a.status != http.StatusServiceUnavailable || a.code() != "temporarily_unavailable" {
		t.Errorf("API away: got %d %q", a.status, a.code())
	}
	_, err = person("mia").LogIn(t.Context(), c.AuthCodeURL("s", s256()...))
	if pe, ok := err.(*sandboxtest.PageError); !ok || pe.Status != 503 || !strings.Contains(pe.Text, "Try again") { //nolint:errorlint // as it is returned
		t.Errorf("API away: got %v", err)
	}
	api.down.Store(false)
	last, err := r.refresh(c, next.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if a := r.post("/revoke", "", url.Values{"client_id": {"cli"}, "token": {last.AccessToken}}); a.status != 200 || r.active(last.AccessToken) {
		t.Errorf("revoked: got %d", a.status)
	}
	if !r.active(next.AccessToken) {
		t.Error("another token went with it")
	}
	if r.RevokeAll(); r.active(next.AccessToken) || !r.Revoked(id) {
		t.Error("active after all were revoked")
	}
	// A machine has no claims to ask for.
	before := api.asked.Load()
	a := r.post("/token", "machine", url.Values{"grant_type": {"client_credentials"}})
	token, _ := a.body["access_token"].(string)
	if !r.active(token) || subject(t, token) != "client:machine" || api.asked.Load() != before {
		t.Errorf("machine: got %d, asked %d more times", a.status, api.asked.Load()-before)
	}
}

// With claims by lookup, a token says who, and nothing else about the person.
func TestLookupTokens(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *authserver.Config) { c.Claims = people.ByLookup })
	about := r.introspect(r.logIn(r.client("cli"), person("mia")).AccessToken)
	for _, name := range []string{"user_id", "user_type", "role", "regions"} {
		if about[name] != nil {
			t.Errorf("%s: got %v", name, about[name])
		}
	}
	if about["sub"] != "user:mia" {
		t.Errorf("got %v", about)
	}
}
