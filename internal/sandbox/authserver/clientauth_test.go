package authserver_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
)

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	post := with(url.Values{}, "client_id", "machine", "client_secret", secret)
	tests := []struct {
		name      string
		who       string // Basic
		header    string // the Authorization header itself
		form      url.Values
		status    int
		code      string
		challenge bool
	}{
		{"basic", "machine", "", nil, 200, "", false},
		{"post", "", "", post, 200, "", false},
		{"basic with the same id in the form", "machine", "", with(form0(), "client_id", "machine"), 200, "", false},
		{"basic and post", "machine", "", post, 400, "invalid_request", false},
		{"basic and an assertion", "machine", "", with(form0(), "client_assertion", "x"), 400, "invalid_request", false},
		{"post and an assertion", "", "", with(post, "client_assertion", "x"), 400, "invalid_request", false},
		{"two ids", "machine", "", with(form0(), "client_id", "web"), 400, "invalid_request", false},
		{"wrong secret in the form", "", "", with(post, "client_secret", "wrong"), 401, "invalid_client", false},
		{"empty secret", "", "", url.Values{"client_id": {"machine"}, "client_secret": {""}}, 401, "invalid_client", false},
		{"no secret", "", "", with(post, "client_secret", ""), 401, "invalid_client", false},
		{"unknown by basic", "stranger", "", nil, 401, "invalid_client", true},
		{"unknown by post", "", "", with(post, "client_id", "stranger"), 401, "invalid_client", false},
		{"another scheme", "", "Bearer abc", nil, 401, "invalid_client", true},
		{"no Basic at all", "", "Basic !!", nil, 401, "invalid_client", true},
		{"nothing", "", "", nil, 401, "invalid_client", false},
		{"repeated", "", "", url.Values{"client_id": {"machine", "machine"}, "client_secret": {secret}}, 400, "invalid_request", false},
		{"a public client with a secret", "", "", with(post, "client_id", "cli"), 401, "invalid_client", false},
		{"a public client as a machine", "", "", with(form0(), "client_id", "cli"), 400, "unauthorized_client", false},
		{"a resource server as a machine", "api", "", nil, 400, "unauthorized_client", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			form := with(form0(), "grant_type", "client_credentials")
			maps.Copy(form, tt.form)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.issuer+"/token", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tt.who != "" {
				req.SetBasicAuth(tt.who, url.QueryEscape(secret))
			}
			if tt.header != "" {
				req.Header.Set("Authorization", tt.header)
			}
			a := r.do(req)
			if a.status != tt.status || a.code() != tt.code || (a.header.Get("WWW-Authenticate") != "") != tt.challenge {
				t.Errorf("got %d %q, challenge %q", a.status, a.code(), a.header.Get("WWW-Authenticate"))
			}
		})
	}
	a := r.post("/token?client_secret="+url.QueryEscape(secret), "", url.Values{"grant_type": {"client_credentials"}, "client_id": {"machine"}})
	if a.status != 400 {
		t.Errorf("a secret in the query: got %d %q", a.status, a.code())
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.issuer+"/token", strings.NewReader(`{"grant_type":"client_credentials"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a := r.do(req); a.status != 400 || a.code() != "invalid_request" {
		t.Errorf("JSON: got %d %q", a.status, a.code())
	}
	for grant, want := range map[string]string{"password": "unsupported_grant_type", "": "invalid_request", "authorization_code": "unauthorized_client"} {
		if a := r.post("/token", "machine", url.Values{"grant_type": {grant}}); a.status != 400 || a.code() != want {
			t.Errorf("grant %q: got %d %q, want %s", grant, a.status, a.code(), want)
		}
	}
	for form, want := range map[*url.Values]string{
		{"resource": {audience}, "audience": {"https://other.example"}}: "invalid_target",
		{"resource": {"https://other.example"}, "audience": {audience}}: "invalid_target",
		{"resource": {audience}, "audience": {audience}}:                "",
		{"resource": {audience}, "audience": {""}}:                      "",
	} {
		if a := r.post("/token", "machine", with(*form, "grant_type", "client_credentials")); a.code() != want {
			t.Errorf("%v: got %d %q, want %q", *form, a.status, a.code(), want)
		}
	}
	for _, target := range []string{"resource", "audience"} {
		if a := r.post("/token", "machine", url.Values{"grant_type": {"client_credentials"}, target: {"https://other.example"}}); a.status != 400 || a.code() != "invalid_target" {
			t.Errorf("%s: got %d %q", target, a.status, a.code())
		}
	}
}

// form0 is an empty form that with can copy.
func form0() url.Values { return url.Values{} }

type signer struct {
	method jwt.SigningMethod
	key    crypto.Signer
}

func signers(tb testing.TB) map[string]signer {
	tb.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]signer{
		"RS256": {jwt.SigningMethodRS256, rsaKey}, "PS256": {jwt.SigningMethodPS256, rsaKey},
		"ES256": {jwt.SigningMethodES256, ecKey}, "EdDSA": {jwt.SigningMethodEdDSA, edKey},
	}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	known, strange := signers(t), signers(t)
	var keys []crypto.PublicKey
	for _, name := range []string{"RS256", "ES256", "EdDSA"} {
		keys = append(keys, known[name].key.Public())
	}
	r := start(t, withKeys(keys...))
	publicPEM, err := x509.MarshalPKIXPublicKey(known["RS256"].key.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{
			"iss": "machine", "sub": "machine", "aud": r.issuer, "jti": rand.Text(),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		}
	}
	sign := func(m jwt.SigningMethod, key any, c jwt.MapClaims) string {
		t.Helper()
		text, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	try := func(assertion string, more ...string) reply {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
		return r.post("/token", "", with(form, more...))
	}
	for name, s := range known {
		assertion := sign(s.method, s.key, good())
		if a := try(assertion, "client_id", "machine"); a.status != 200 {
			t.Errorf("%s: got %d %v", name, a.status, a.body["error_description"])
		}
		if a := try(assertion); a.status != 401 || a.code() != "invalid_client" {
			t.Errorf("%s again: got %d %q", name, a.status, a.code())
		}
	}
	es := known["ES256"]
	change := func(name string, value any) string {
		c := good()
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
		return sign(es.method, es.key, c)
	}
	critical := jwt.NewWithClaims(es.method, good())
	critical.Header["crit"] = []string{"exp"}
	crit, err := critical.SignedString(es.key)
	if err != nil {
		t.Fatal(err)
	}
	withHeader := func(name string, value any) string {
		t.Helper()
		token := jwt.NewWithClaims(es.method, good())
		token.Header[name] = value
		text, err := token.SignedString(es.key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	thumbprint := func(key crypto.PublicKey) string {
		t.Helper()
		sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(sum)
	}
	ago, ahead := time.Now().Add(-2*time.Minute).Unix(), time.Now().Add(2*time.Minute).Unix()
	for name, assertion := range map[string]string{
		"a strange key":          sign(es.method, strange["ES256"].key, good()),
		"unsigned":               sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()),
		"HMAC with the public":   sign(jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicPEM}), good()),
		"HMAC with the secret":   sign(jwt.SigningMethodHS256, []byte(secret), good()),
		"the token endpoint":     change("aud", r.issuer+"/token"),
		"two audiences":          change("aud", []string{r.issuer, "https://other.example"}),
		"no audience":            change("aud", nil),
		"expired":                change("exp", ago),
		"no expiry":              change("exp", nil),
		"too long":               change("exp", time.Now().Add(time.Hour).Unix()),
		"from the future":        change("iat", ahead),
		"not yet":                change("nbf", ahead),
		"no jti":                 change("jti", nil),
		"another subject":        change("sub", "web"),
		"another issuer":         change("iss", "web"),
		"an unknown issuer":      change("iss", "stranger"),
		"no issuer":              change("iss", nil),
		"nonsense":               "a.b.c",
		"a critical extension":   crit,
		"an unknown kid":         withHeader("kid", "k-1"),
		"the kid of another key": withHeader("kid", thumbprint(known["EdDSA"].key.Public())),
		"a kid that is no text":  withHeader("kid", 7),
		"an access token":        withHeader("typ", "at+jwt"),
		"a type that is no text": withHeader("typ", 7),
		"a longer RSA algorithm": sign(jwt.SigningMethodRS512, known["RS256"].key, good()),
	} {
		if a := try(assertion); a.status != 401 || a.code() != "invalid_client" {
			t.Errorf("%s: got %d %q", name, a.status, a.code())
		}
	}
	for name, value := range map[string]string{"kid": thumbprint(es.key.Public()), "typ": "client-authentication+jwt"} {
		if a := try(withHeader(name, value)); a.status != 200 {
			t.Errorf("%s %s: got %d %v", name, value, a.status, a.body["error_description"])
		}
	}
	if a := try(change("iat", nil)); a.status != 200 { // optional
		t.Errorf("no iat: got %d %q", a.status, a.code())
	}
	if a := try(change("aud", []string{r.issuer})); a.status != 200 { // a list of one
		t.Errorf("audience as a list: got %d %q", a.status, a.code())
	}
	if a := try(sign(es.method, es.key, good()), "client_id", "web"); a.status != 401 {
		t.Errorf("another client_id: got %d %q", a.status, a.code())
	}
	if a := try(sign(es.method, es.key, good()), "client_assertion_type", "urn:other"); a.status != 401 {
		t.Errorf("another type: got %d %q", a.status, a.code())
	}
	// The secret works still.
	if a := r.post("/token", "machine", url.Values{"grant_type": {"client_credentials"}}); a.status != 200 {
		t.Errorf("secret: got %d %q", a.status, a.code())
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	block := func(typ string, key any) []byte {
		t.Helper()
		var der []byte
		var err error
		if typ == "PUBLIC KEY" {
			der, err = x509.MarshalPKIXPublicKey(key)
		} else {
			der, err = x509.MarshalPKCS8PrivateKey(key)
		}
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
	}
	s := signers(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	two := append(block("PUBLIC KEY", s["RS256"].key.Public()), block("PUBLIC KEY", s["EdDSA"].key.Public())...)
	if keys, err := authserver.ParseKeys(two); err != nil || len(keys) != 2 {
		t.Errorf("got %d keys, %v", len(keys), err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":   {nil, "no PEM block"},
		"private": {block("PRIVATE KEY", s["ES256"].key), `of type "PRIVATE KEY", want PUBLIC KEY`},
		"curve":   {block("PUBLIC KEY", p384.Public()), "want RSA, P-256 or Ed25519"},
		"damaged": {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2}}), "no public key"},
	} {
		if _, err := authserver.ParseKeys(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// A machine may have two secrets while one replaces the other, and no more.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	works := func(s string) bool {
		t.Helper()
		return r.post("/token", "", url.Values{"grant_type": {"client_credentials"}, "client_id": {"machine"}, "client_secret": {s}}).status == 200
	}
	check := func(when string, want map[string]bool) {
		t.Helper()
		for s, ok := range want {
			if works(s) != ok {
				t.Errorf("%s: %q works: got %t", when, s, !ok)
			}
		}
	}
	if err := r.AddSecret("machine", authserver.Secret{Value: "second"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	check("two", map[string]bool{secret: true, "second": true})
	if err := r.AddSecret("machine", authserver.Secret{Value: "third"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	check("three", map[string]bool{secret: false, "second": true, "third": true})
	if err := r.AddSecret("machine", authserver.Secret{Value: "fourth"}, 0); err != nil {
		t.Fatal(err)
	}
	check("at once", map[string]bool{"second": false, "third": false, "fourth": true})
	for id, s := range map[string]string{"cli": "x", "stranger": "x", "machine": ""} {
		if err := r.AddSecret(id, authserver.Secret{Value: s}, 0); err == nil {
			t.Errorf("%s: got a secret %q", id, s)
		}
	}
}
