package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/exampleco/tsupload/internal/sandbox"
)

const entryJSON = `{"user_id":"007","user_type":"Contractor","date":"2017-05-10T00:00:00.000Z","project":"StoreZero","hours":5}`

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a sandbox and a client of it.
type rig struct {
	*sandbox.Sandbox
	t    testing.TB
	http *http.Client
	tok  string
}

func start(tb testing.TB, cfg sandbox.Config) *rig {
	tb.Helper()
	s, err := sandbox.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	// A client of its own: a connection that a fault broke is nobody else's.
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	tb.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &rig{Sandbox: s, t: tb, http: client}
}

func faults(tb testing.TB, texts ...string) []sandbox.Fault {
	tb.Helper()
	var list []sandbox.Fault
	for _, text := range texts {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

func (r *rig) credentials() *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID: r.ClientID(), ClientSecret: r.ClientSecret(), TokenURL: r.Issuer() + "/token",
		AuthStyle: oauth2.AuthStyleInHeader, EndpointParams: map[string][]string{"audience": {r.Audience()}},
	}
}

func (r *rig) fetch(c *clientcredentials.Config) (*oauth2.Token, error) {
	return c.Token(context.WithValue(r.t.Context(), oauth2.HTTPClient, r.http))
}

func (r *rig) token() string {
	r.t.Helper()
	if r.tok == "" {
		tok, err := r.fetch(r.credentials())
		if err != nil {
			r.t.Fatal(err)
		}
		r.tok = tok.AccessToken
	}
	return r.tok
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func (a reply) decode(tb testing.TB) map[string]any {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		tb.Fatalf("answer %q: %v", a.body, err)
	}
	return m
}

// try sends a request with the machine's token; header is name, value, ...
func (r *rig) try(ctx context.Context, method, path, body string, header ...string) (reply, error) {
	token := r.token() //nolint:contextcheck // not part of the request that ctx bounds
	req, err := http.NewRequestWithContext(ctx, method, r.APIURL()+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = nil
		if header[i+1] != "" {
			req.Header[header[i]] = strings.Split(header[i+1], "\n")
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

func (r *rig) do(method, path, body string, header ...string) reply {
	r.t.Helper()
	a, err := r.try(r.t.Context(), method, path, body, header...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (r *rig) upload(body string, header ...string) reply {
	r.t.Helper()
	return r.do(http.MethodPost, "/timesheets/upload", body, header...)
}

func (r *rig) stats() sandbox.Stats {
	r.t.Helper()
	var s sandbox.Stats
	if err := json.Unmarshal([]byte(r.do(http.MethodGet, "/_sandbox/stats", "").body), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestSession(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	a := r.upload(entryJSON)
	if a.status != http.StatusCreated {
		t.Fatalf("upload: got %d %s", a.status, a.body)
	}
	m := a.decode(t)
	var sent map[string]any
	if err := json.Unmarshal([]byte(entryJSON), &sent); err != nil {
		t.Fatal(err)
	}
	for k, v := range sent {
		if m[k] != v {
			t.Errorf("echo of %s: got %v, want %v", k, m[k], v)
		}
	}
	if id, ok := m["id"].(string); !ok || id == "" {
		t.Errorf("id: got %v", m["id"])
	}
	r.upload(strings.ReplaceAll(entryJSON, ",", " ,\n")) // the same entry, other white space

	s := r.stats()
	sum := sha256.Sum256([]byte(entryJSON))
	if n := s.Bodies[hex.EncodeToString(sum[:])]; n != 2 {
		t.Errorf("bodies: got %v, want 2 of the entry", s.Bodies)
	}
	if s.Uploads != 2 || s.Entries != 2 || s.Duplicates != 1 || s.TokensIssued != 1 || s.Replays != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		resp, err := r.http.Get(r.Issuer() + path)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		resp.Body.Close()
		if m["issuer"] != r.Issuer() || m["token_endpoint"] != r.Issuer()+"/token" || m["jwks_uri"] != r.Issuer()+"/jwks" {
			t.Errorf("%s: got %v", path, m)
		}
	}
	if a := r.do(http.MethodGet, "/.well-known/oauth-protected-resource", ""); a.decode(t)["resource"] != r.Audience() {
		t.Errorf("resource metadata: got %s", a.body)
	}
}

func TestTokenIsRFC9068(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			r := start(t, sandbox.Config{SigningAlg: alg, TokenTTL: 10 * time.Minute})
			claims := jwt.MapClaims{}
			tok, _, err := jwt.NewParser().ParseUnverified(r.token(), claims)
			if err != nil {
				t.Fatal(err)
			}
			if tok.Header["typ"] != "at+jwt" || tok.Header["alg"] != alg || tok.Header["kid"] == nil {
				t.Errorf("header: got %v", tok.Header)
			}
			want := map[string]any{
				"iss": r.Issuer(), "aud": r.Audience(), "sub": "client:" + r.ClientID(), "client_id": r.ClientID(),
				"scope": "batch:upload read:timesheets delete:timesheets",
			}
			for k, v := range want {
				if claims[k] != v {
					t.Errorf("claim %s: got %v, want %v", k, claims[k], v)
				}
			}
			if claims["jti"] == nil || claims["exp"].(float64)-claims["iat"].(float64) != 600 {
				t.Errorf("claims: got %v", claims)
			}
			if a := r.upload(entryJSON); a.status != http.StatusCreated {
				t.Errorf("upload: got %d %s", a.status, a.body)
			}
		})
	}
}

func TestTokenEndpoint(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	// x/oauth2 and a plain form agree on what is refused, and how.
	tests := []struct {
		name, body   string
		user, pass   string
		status       int
		code, scopes string
	}{
		{name: "basic", body: "grant_type=client_credentials", user: r.ClientID(), pass: r.ClientSecret(), status: 200},
		{name: "post", body: "grant_type=client_credentials&client_id=" + r.ClientID() + "&client_secret=" + r.ClientSecret(), status: 200},
		{name: "asked scope", body: "grant_type=client_credentials&scope=batch:upload", user: r.ClientID(), pass: r.ClientSecret(), status: 200, scopes: "batch:upload"},
		{name: "scope of another", body: "grant_type=client_credentials&scope=batch:upload", user: sandbox.NoScopeClient, pass: r.ClientSecret(), status: 200, scopes: "read:timesheets"},
		{name: "unknown scope", body: "grant_type=client_credentials&scope=nothing", user: r.ClientID(), pass: r.ClientSecret(), status: 400, code: "invalid_scope"},
		{name: "audience", body: "grant_type=client_credentials&audience=" + r.Audience(), user: r.ClientID(), pass: r.ClientSecret(), status: 200},
		{name: "resource", body: "grant_type=client_credentials&resource=" + r.Audience(), user: r.ClientID(), pass: r.ClientSecret(), status: 200},
		{name: "unknown audience", body: "grant_type=client_credentials&audience=https://other", user: r.ClientID(), pass: r.ClientSecret(), status: 400, code: "invalid_target"},
		{name: "wrong secret, basic", body: "grant_type=client_credentials", user: r.ClientID(), pass: "no", status: 401, code: "invalid_client"},
		{name: "wrong secret, post", body: "grant_type=client_credentials&client_secret=no&client_id=" + r.ClientID(), status: 401, code: "invalid_client"},
		{name: "unknown client", body: "grant_type=client_credentials", user: "nobody", pass: "no", status: 401, code: "invalid_client"},
		{name: "no client", body: "grant_type=client_credentials", status: 401, code: "invalid_client"},
		{name: "both ways", body: "grant_type=client_credentials&client_secret=x", user: r.ClientID(), pass: r.ClientSecret(), status: 400, code: "invalid_request"},
		{name: "other grant", body: "grant_type=password", user: r.ClientID(), pass: r.ClientSecret(), status: 400, code: "unsupported_grant_type"},
		{name: "repeated", body: "grant_type=client_credentials&scope=a&scope=b", user: r.ClientID(), pass: r.ClientSecret(), status: 400, code: "invalid_request"},
	}
	issued := int64(0)
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Issuer()+"/token", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if tt.user != "" {
			req.SetBasicAuth(tt.user, tt.pass)
		}
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || (tt.code != "" && m["error"] != tt.code) {
			t.Errorf("%s: got %d %v, want %d %s", tt.name, resp.StatusCode, m, tt.status, tt.code)
		}
		if tt.status == 200 {
			issued++
		}
		if tt.scopes != "" && m["scope"] != tt.scopes {
			t.Errorf("%s: got scope %v, want %s", tt.name, m["scope"], tt.scopes)
		}
		if got, want := resp.Header.Get("WWW-Authenticate") != "", tt.status == 401 && tt.user != ""; got != want {
			t.Errorf("%s: challenge: got %t, want %t", tt.name, got, want)
		}
		if !strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: Cache-Control: got %q", tt.name, resp.Header.Get("Cache-Control"))
		}
	}
	r.tok = "none"
	if got := r.stats().TokensIssued; got != issued {
		t.Errorf("tokens issued: got %d, want %d", got, issued)
	}

	c := r.credentials()
	c.AuthStyle = oauth2.AuthStyleInParams
	if _, err := r.fetch(c); err != nil {
		t.Errorf("post by x/oauth2: %v", err)
	}
	c.ClientSecret = "no"
	_, err := r.fetch(c)
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "invalid_client" {
		t.Errorf("wrong secret by x/oauth2: got %v", err)
	}
}

// A secret with reserved characters travels form-encoded inside Basic.
func TestSecretWithReservedCharacters(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{ClientID: "a b", ClientSecret: "p%:+ä /&="})
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		c := r.credentials()
		c.AuthStyle = style
		if _, err := r.fetch(c); err != nil {
			t.Errorf("style %d: %v", style, err)
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		_, err := sandbox.Start(t.Context(), sandbox.Config{Addr: addr})
		if _, ok := errors.AsType[*sandbox.AddressError](err); !ok {
			t.Errorf("%s: got %v, want an AddressError", addr, err)
		}
		if _, err := sandbox.Start(t.Context(), sandbox.Config{AuthAddr: addr}); err == nil {
			t.Errorf("auth %s: got no error", addr)
		}
	}
	r := start(t, sandbox.Config{Addr: "0.0.0.0:0", AllowPublic: true})
	if a := r.upload(entryJSON); a.status != http.StatusCreated {
		t.Errorf("public: got %d", a.status)
	}
}

func TestStopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sandbox.Start(ctx, sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for { // the port closes some time after the context
		resp, err := http.Get(s.APIURL())
		if err != nil {
			break
		}
		resp.Body.Close()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestConfigBlock(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	var c struct {
		API  struct{ URL string }
		Auth struct {
			Issuer, Audience string
			ClientID         string `yaml:"client_id"`
		}
	}
	if err := yaml.Unmarshal([]byte(r.ConfigBlock()), &c); err != nil {
		t.Fatal(err)
	}
	if c.API.URL != r.APIURL() || c.Auth.Issuer != r.Issuer() || c.Auth.Audience != r.Audience() || c.Auth.ClientID != r.ClientID() {
		t.Errorf("got %+v", c)
	}
	if strings.Contains(r.ConfigBlock(), r.ClientSecret()) {
		t.Error("the secret is in the block")
	}
}

// The entries of a database in a file are there after a restart, and so are the
// answers to idempotency keys.
func TestDatabaseInFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/sand box.db"
	for i := range 2 {
		r := start(t, sandbox.Config{DB: path})
		a := r.upload(entryJSON, "Idempotency-Key", "k")
		if a.status != http.StatusCreated || (a.header.Get("Idempotency-Replayed") != "") != (i == 1) {
			t.Errorf("start %d: got %d %v", i, a.status, a.header)
		}
		if s := r.stats(); s.Entries != 1 || s.Replays != int64(i) {
			t.Errorf("start %d: got %+v", i, s)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogsNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := start(t, sandbox.Config{Logger: testLogger(&log)})
	r.upload(entryJSON)
	r.upload(entryJSON, "Authorization", "Bearer "+r.token()+"x")
	c := r.credentials()
	c.ClientSecret = "wrong-canary"
	if _, err := r.fetch(c); err == nil {
		t.Fatal("wrong secret accepted")
	}
	tok, secret := r.token(), r.ClientSecret()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{tok, secret, "wrong-canary", "StoreZero"} {
		if strings.Contains(log.String(), canary) {
			t.Errorf("log contains %q:\n%s", canary, log.String())
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged at debug level")
	}
}
