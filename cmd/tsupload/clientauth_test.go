package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// verifier is what an authorization server does with assertions: signature,
// algorithm, issuer, subject, audience, expiry, and each id once.
type verifier struct {
	key      crypto.PublicKey
	alg      string
	kid      string
	audience string

	mu   sync.Mutex
	seen map[string]bool
}

func (v *verifier) check(r *http.Request) error {
	form := r.PostForm
	if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || r.Header.Get("Authorization") != "" || form.Has("client_secret") {
		return fmt.Errorf("not one assertion: %v", r.Header)
	}
	var claims jwt.RegisteredClaims
	token, err := jwt.ParseWithClaims(form.Get("client_assertion"), &claims, func(*jwt.Token) (any, error) { return v.key, nil },
		jwt.WithValidMethods([]string{v.alg}), jwt.WithIssuer("machine"), jwt.WithSubject("machine"), jwt.WithExpirationRequired())
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	kid, _ := token.Header["kid"].(string)
	switch {
	case len(claims.Audience) != 1 || claims.Audience[0] != v.audience:
		return fmt.Errorf("audience %v", claims.Audience)
	case claims.ID == "" || v.seen[claims.ID]:
		return fmt.Errorf("jti %q was used before", claims.ID)
	case kid != v.kid:
		return fmt.Errorf("kid %q", kid)
	}
	v.seen[claims.ID] = true
	return nil
}

func keyPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// With a key in place of a secret, with each algorithm: uploads go out, each
// token request has its own signature, and neither key nor signature is shown.
func TestPrivateKey(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			var key crypto.Signer
			var err error
			switch alg {
			case "ES256":
				key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			case "EdDSA":
				_, key, err = ed25519.GenerateKey(rand.Reader)
			default:
				key, err = rsa.GenerateKey(rand.Reader, 2048)
			}
			if err != nil {
				t.Fatal(err)
			}
			p := newAuthProxy(t)
			text := keyPEM(t, key)
			p.auth = fmt.Sprintf("  private_key: {file: %q}\n  private_key_id: k-1\n  signing_alg: %s\n", p.write("client.pem", text), alg)
			v := &verifier{key: key.Public(), alg: alg, kid: "k-1", audience: p.URL + "/token", seen: map[string]bool{}}
			asked := 0
			p.set(func(w http.ResponseWriter, r *http.Request) {
				if err := v.check(r); err != nil {
					sendJSON(w, 401, fmt.Sprintf(`{"error":"invalid_client","error_description":%q}`, err))
					return
				}
				if asked++; asked == 1 {
					sendJSON(w, 503, "{}") // taken, and then lost: the repetition needs a signature of its own
					return
				}
				p.issue(w, r)
			})
			p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
			p.do(exitOK, "ledger", "create")
			p.do(exitOK, "run", "--once", "-vv")
			if got := p.requests(); got != 2 {
				t.Errorf("got %d token requests, want 2", got)
			}
			out, _ := p.do(exitOK, "auth", "status", "-vv")
			contains(t, out, `private key +file \S+client.pem, `+alg+`, key id k-1`)
			p.do(exitOK, "doctor", "-vv")
			shown := p.said.String() + p.stored()
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, "--") && strings.Contains(shown, strings.TrimSpace(line)) {
					t.Errorf("the key is in\n%s", shown)
				}
			}
			for _, form := range p.forms {
				if a := form.Get("client_assertion"); a == "" || strings.Contains(shown, a) {
					t.Errorf("assertion %q is missing, or is in\n%s", a, shown)
				}
			}
		})
	}
}

// A key that the server does not know, and one that cannot be read.
func TestPrivateKeyRefused(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := newAuthProxy(t)
	p.auth = fmt.Sprintf("  private_key: {file: %q}\n", p.write("client.pem", keyPEM(t, key)))
	p.set(func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, 401, `{"error":"invalid_client","error_description":"cannot verify `+r.PostForm.Get("client_assertion")+`"}`)
	})
	for range 2 {
		_, log := p.do(exitRefused, "auth", "token", "-vv")
		contains(t, log, `invalid_client: cannot verify REDACTED`, `hint: .*auth\.assertion_audience`)
	}
	if got := p.requests(); got != 1 {
		t.Errorf("got %d token requests, want 1", got)
	}
	p.write("client.pem", "canary-key-4b1d")
	_, log := p.do(exitRefused, "auth", "token", "-vv")
	contains(t, log, `client assertion: private key: it is neither PEM nor JWK`, `hint: give a private key`)
	p.write("client.pem", keyPEM(t, key))
	if err := os.Chmod(p.dir+"/client.pem", 0o644); err != nil {
		t.Fatal(err)
	}
	_, log = p.do(exitRefused, "auth", "token", "-vv")
	contains(t, log, `client credentials: private key from file \S+: everybody can read it`, `hint: chmod 600`)
	if strings.Contains(p.said.String(), "canary-key-4b1d") {
		t.Error("the key is shown")
	}
}

// What the platform signs is read again for each token.
func TestAssertionFile(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	file := p.write("token", "e30.e30.first-canary\n")
	p.auth = fmt.Sprintf("  assertion: {file: %q}\n", file)
	p.set(nil)
	out, _ := p.do(exitOK, "auth", "token", "-vv")
	first := strings.TrimSpace(out)
	p.write("token", "e30.e30.second-canary\n")
	out, _ = p.do(exitOK, "auth", "token", "--min-ttl", "24h", "-vv")
	if second := strings.TrimSpace(out); second == first || second == "" {
		t.Errorf("got %q again", second)
	}
	for i, want := range []string{"e30.e30.first-canary", "e30.e30.second-canary"} {
		if got := p.forms[i]; got.Get("client_assertion") != want || got.Get("client_id") != "machine" || got.Has("client_secret") {
			t.Errorf("request %d: got %v, want %s", i+1, got, want)
		}
	}
	out, _ = p.do(exitOK, "auth", "status", "-vv")
	contains(t, out, `assertion +file \S+token`)
	p.write("token", "<html>third-canary</html>\n")
	_, log := p.do(exitRefused, "auth", "token", "--min-ttl", "24h")
	contains(t, log, `client assertion: the assertion is no JWT`, `hint: .*Kubernetes`)
	if strings.Contains(p.said.String(), "-canary") {
		t.Errorf("the assertion is in\n%s", p.said.String())
	}
}

// An assertion lives from one to two minutes.
func TestAssertionLife(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := newAuthProxy(t)
	p.auth = fmt.Sprintf("  private_key: {file: %q}\n", p.write("client.pem", keyPEM(t, key)))
	p.do(exitOK, "auth", "token")
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(p.forms[0].Get("client_assertion"), &claims); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(claims.ExpiresAt.Time); left < time.Minute || left > 2*time.Minute {
		t.Errorf("got %s left, want one to two minutes", left)
	}
}

// The sandbox's own server looks at signatures for real: by the issuer that is
// discovered, each id once.
func TestPrivateKeyAtTheSandbox(t *testing.T) {
	t.Parallel()
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.Start(t.Context(), sandbox.Config{ClientKeys: []crypto.PublicKey{rsaKey.Public(), ecKey.Public(), edKey.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	for i, tt := range []struct {
		alg string
		key crypto.Signer
	}{{"RS256", rsaKey}, {"PS256", rsaKey}, {"ES256", ecKey}, {"EdDSA", edKey}} {
		p := newAuthProxy(t)
		p.auth = fmt.Sprintf("  private_key: {file: %q}\n  signing_alg: %s\n", p.write("client.pem", keyPEM(t, tt.key)), tt.alg)
		p.template = func(text string) string {
			return strings.NewReplacer(p.box.APIURL(), box.APIURL(), "token_url: "+p.URL+"/token", "issuer: "+box.Issuer()+"\n  audience: "+box.Audience(), "client_id: machine", "client_id: "+box.ClientID()).Replace(text)
		}
		p.write("in/hours.csv", fmt.Sprintf("user_id,date,project,hours\nu-%d,2026-11-16,Apollo,8\n", i))
		p.do(exitOK, "ledger", "create")
		out, _ := p.do(exitOK, "run", "--once", "-vv")
		contains(t, out, "sent 1 entry")
		p.do(exitOK, "doctor", "--fresh-token")
		// A server that wants itself as the audience does not take the endpoint.
		p.auth += "  assertion_audience: token_endpoint\n"
		_, log := p.do(exitRefused, "auth", "token", "--min-ttl", "24h")
		contains(t, log, "invalid_client", `hint: .*auth\.assertion_audience`)
	}
}
