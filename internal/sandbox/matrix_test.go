package sandbox_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// ask sends a form to the token endpoint.
func (r *rig) ask(form url.Values) reply {
	r.t.Helper()
	resp, err := r.http.PostForm(r.Issuer()+"/token", form)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body strings.Builder
	if err := resp.Write(&body); err != nil {
		r.t.Fatal(err)
	}
	_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
	return reply{status: resp.StatusCode, header: resp.Header, body: text}
}

// granted are the tokens of an answer.
type granted struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (a reply) granted(tb testing.TB) granted {
	tb.Helper()
	var g granted
	if err := json.Unmarshal([]byte(a.body), &g); err != nil || a.status != http.StatusOK || g.Access == "" {
		tb.Fatalf("got %d %s", a.status, a.body)
	}
	return g
}

// refused fails unless the token endpoint refused in exactly this way.
func (a reply) refused(tb testing.TB, what string, status int, code string) {
	tb.Helper()
	m := a.decode(tb)
	if a.status != status || m["error"] != code || !strings.Contains(a.header.Get("Cache-Control"), "no-store") || m["access_token"] != nil {
		tb.Errorf("%s: got %d %v %s, want %d %s", what, a.status, a.header, a.body, status, code)
	}
}

// code is what a manager's consent gives, with the request for a token that it is for.
func (r *rig) code() url.Values {
	r.t.Helper()
	verifier := oauth2.GenerateVerifier()
	c := r.cli("create:timesheets", "read:timesheets", "delete:timesheets", "approve:timesheets")
	back, err := r.person("mia").LogIn(r.t.Context(), c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		r.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		r.t.Fatal(err)
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "code_verifier": {verifier},
		"client_id": {c.ClientID}, "redirect_uri": {c.RedirectURL},
	}
}

// everywhere calls every operation of the API with a token, and fails unless
// each that needs one refuses it, or each that is for people does not.
func (r *rig) everywhere(what, token string, good bool) {
	r.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Security []any    `json:"security"`
			Callers  []string `json:"x-callers"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(r.do(http.MethodGet, "/openapi.json", "").body), &doc); err != nil {
		r.t.Fatal(err)
	}
	asked := 0
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if len(op.Security) == 0 {
				continue
			}
			asked++
			at := what + ": " + method + " " + path
			a := r.do(strings.ToUpper(method), strings.Replace(path, "{id}", "1", 1), "", "Authorization", "Bearer "+token)
			if good {
				// That the request itself is empty is found out later.
				if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && len(op.Callers) > 0 && op.Callers[len(op.Callers)-1] == "person" {
					r.t.Errorf("%s: got %d %s", at, a.status, a.body)
				}
				continue
			}
			const message = "the access token is expired, revoked, malformed or for another API"
			challenge := `Bearer realm="timesheets", error="invalid_token", error_description="` + message + `", resource_metadata="` +
				r.APIURL() + `/.well-known/oauth-protected-resource/api"`
			problem := `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"` + message + `","code":"unauthorized","message":"` + message + `"}`
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != challenge || a.body != problem {
				r.t.Errorf("%s: got %d %q %s", at, a.status, a.header.Get("WWW-Authenticate"), a.body)
			}
		}
	}
	if asked < 9 {
		r.t.Errorf("%s: only %d operations need a token", what, asked)
	}
}

// What may be used once is used once, and what came of it ends where it is used
// again: no operation of the API takes it any more, in any design.
func TestMatrixOfReuse(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByLookup, people.ByReference} {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{Claims: design})

			form := r.code()
			wrong := maps.Clone(form)
			wrong.Set("code_verifier", oauth2.GenerateVerifier())
			r.ask(wrong).refused(t, "wrong verifier", http.StatusBadRequest, "invalid_grant")
			wrong = r.code()
			wrong.Del("code_verifier")
			if a := r.ask(wrong); a.status != http.StatusBadRequest {
				t.Errorf("no verifier: got %d %s", a.status, a.body)
			}

			form = r.code()
			first := r.ask(form).granted(t)
			if design != people.ByReference { // where what was good is not asked about for seconds
				r.everywhere("before", first.Access, true)
			}
			r.ask(form).refused(t, "reused code", http.StatusBadRequest, "invalid_grant")
			r.everywhere("of a reused code", first.Access, false)
			refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {sandbox.CLIClient}, "refresh_token": {first.Refresh}}
			r.ask(refresh).refused(t, "refresh token of a reused code", http.StatusBadRequest, "invalid_grant")

			first = r.ask(r.code()).granted(t)
			refresh.Set("refresh_token", first.Refresh)
			second := r.ask(refresh).granted(t)
			r.ask(refresh).refused(t, "reused refresh token", http.StatusBadRequest, "invalid_grant")
			refresh.Set("refresh_token", second.Refresh)
			r.ask(refresh).refused(t, "refresh token of the same login", http.StatusBadRequest, "invalid_grant")
			r.everywhere("before a reused refresh token", first.Access, false)
			r.everywhere("after a reused refresh token", second.Access, false)

			// Another login is not touched by it.
			r.everywhere("another login", r.ask(r.code()).granted(t).Access, true)
		})
	}
}

// A signed assertion is good once; its jti is remembered.
func TestMatrixOfAssertions(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, sandbox.Config{ClientKeys: []crypto.PublicKey{key.Public()}})
	request := func(jti string) url.Values {
		now := time.Now()
		signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": r.ClientID(), "sub": r.ClientID(), "aud": r.Issuer(), "jti": jti, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {signed},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
	}
	first := request("one")
	token := r.ask(first).granted(t).Access
	r.ask(first).refused(t, "the same assertion", http.StatusUnauthorized, "invalid_client")
	r.ask(request("one")).refused(t, "replayed jti", http.StatusUnauthorized, "invalid_client")
	r.ask(request("two")).granted(t)
	if a := r.do(http.MethodGet, "/timesheets", "", "Authorization", "Bearer "+token); a.status != http.StatusOK {
		t.Errorf("the token of the first: got %d %s", a.status, a.body)
	}
}

// An authorization server that does not answer is not the token's fault.
func TestMatrixOfOutages(t *testing.T) {
	t.Parallel()
	down := func(r *rig, token, code string) {
		t.Helper()
		a := r.do(http.MethodGet, "/timesheets", "", "Authorization", "Bearer "+token)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || a.header.Get("WWW-Authenticate") != "" || a.decode(t)["code"] != code {
			t.Errorf("got %d %v %s, want 503 %s", a.status, a.header, a.body, code)
		}
	}
	r := start(t, sandbox.Config{Faults: faults(t, "keys-status=500")})
	down(r, r.token(), "keys_unavailable")
	r.SetFaults(nil, 0)
	if a := r.upload(entryJSON); a.status != http.StatusCreated {
		t.Errorf("afterwards: got %d %s", a.status, a.body)
	}
	r = start(t, sandbox.Config{Claims: people.ByReference})
	token := r.ask(r.code()).granted(t).Access
	for _, fault := range []string{"introspect-status=500", "introspect-html", "introspect-reset", "introspect-cut-after"} {
		r.SetFaults(faults(t, fault), 0)
		down(r, token, "introspection_unavailable")
	}
	r.SetFaults(nil, 0)
	r.everywhere("afterwards", token, true)
}
