package login

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PRIVATE KEY", der)
}

func jwkOf(t *testing.T, key any, id, alg string) []byte {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: id, Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type keys struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newKeys(t *testing.T) keys {
	t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return keys{r, e, d}
}

func certificate(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tsupload"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Each form of key signs with each of its algorithms, and another library takes what comes out.
func TestAssertion(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	sec1, err := x509.MarshalECPrivateKey(k.ec)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tt := range []struct {
		name, alg, id     string
		data              []byte
		public            any
		wantAlg, wantKeyD string
	}{
		{"rsa pkcs8", "", "", pkcs8(t, k.rsa), k.rsa.Public(), "RS256", ""},
		{"rsa pkcs1", "RS256", "k1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa)), k.rsa.Public(), "RS256", "k1"},
		{"rsa pss", "PS256", "", pkcs8(t, k.rsa), k.rsa.Public(), "PS256", ""},
		{"rsa jwk", "", "", jwkOf(t, k.rsa, "k2", "PS256"), k.rsa.Public(), "PS256", "k2"},
		{"ec sec1", "", "", append(pemOf("EC PARAMETERS", []byte{6, 8}), pemOf("EC PRIVATE KEY", sec1)...), k.ec.Public(), "ES256", ""},
		{"ec pkcs8", "ES256", "", pkcs8(t, k.ec), k.ec.Public(), "ES256", ""},
		{"ec jwk, id given", "", "mine", jwkOf(t, k.ec, "its", ""), k.ec.Public(), "ES256", "mine"},
		{"ed25519 pkcs8", "", "", pkcs8(t, k.ed), k.ed.Public(), "EdDSA", ""},
		{"ed25519 jwk in a set", "", "", []byte(`{"keys":[` + string(jwkOf(t, k.ed, "k3", "EdDSA")) + `]}`), k.ed.Public(), "EdDSA", "k3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := ParseKey(tt.data, tt.alg, tt.id)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for range 3 {
				text, err := key.Assertion("client", "https://login.example/", now)
				if err != nil {
					t.Fatal(err)
				}
				var claims struct {
					jwt.RegisteredClaims

					Audience json.RawMessage `json:"aud"`
				}
				token, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return tt.public, nil }, jwt.WithValidMethods([]string{tt.wantAlg}))
				if err != nil {
					t.Fatal(err)
				}
				id, _ := token.Header["kid"].(string)
				if token.Header["typ"] != "JWT" || id != tt.wantKeyD {
					t.Errorf("got header %v, want kid %q", token.Header, tt.wantKeyD)
				}
				if claims.Issuer != "client" || claims.Subject != "client" || string(claims.Audience) != `"https://login.example/"` {
					t.Errorf("got %+v", claims)
				}
				if life := claims.ExpiresAt.Sub(claims.IssuedAt.Time); life < time.Minute || life > 2*time.Minute {
					t.Errorf("got a life of %s, want one to two minutes", life)
				}
				if claims.ID == "" || seen[claims.ID] {
					t.Errorf("jti %q is not fresh", claims.ID)
				}
				seen[claims.ID] = true
			}
		})
	}
}

// A certificate beside the key is named by its thumbprint.
func TestCertificate(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	der := certificate(t, k.rsa)
	key, err := ParseKey(append(pkcs8(t, k.rsa), pemOf("CERTIFICATE", der)...), "PS256", "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Assertion("client", "aud", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); token.Header["x5t#S256"] != want {
		t.Errorf("got %v, want %s", token.Header["x5t#S256"], want)
	}
}

func TestKeysRefused(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-key-4b1d"
	for _, tt := range []struct {
		name, alg string
		data      []byte
		want      string
	}{
		{"text", "", []byte(canary), "neither PEM nor JWK"},
		{"nothing", "", nil, "neither PEM nor JWK"},
		{"damaged PEM", "", pemOf("PRIVATE KEY", []byte(canary)), "damaged"},
		{"encrypted", "", pemOf("ENCRYPTED PRIVATE KEY", []byte(canary)), "is encrypted"},
		{"encrypted in the old way", "", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}}), "is encrypted"},
		{"public key", "", pemOf("PUBLIC KEY", public), "another thing"},
		{"certificate alone", "", pemOf("CERTIFICATE", certificate(t, k.ec)), "neither PEM nor JWK"},
		{"certificate of another", "", append(pkcs8(t, k.ec), pemOf("CERTIFICATE", certificate(t, k.rsa))...), "of another key"},
		{"two keys", "", append(pkcs8(t, k.ec), pkcs8(t, k.ed)...), "several keys"},
		{"short RSA", "", pkcs8(t, short), "1024 bits is too short"},
		{"P-384", "", pkcs8(t, p384), "P-384 is not supported"},
		{"algorithm of another kind", "ES256", pkcs8(t, k.rsa), "cannot sign with ES256"},
		{"algorithm of the JWK", "", jwkOf(t, k.ec, "", "ES512"), "cannot sign with ES512"},
		{"damaged JWK", "", []byte(`{"kty":"RSA","d":"` + canary + `"}`), "no JWK"},
		{"public JWK", "", jwkOf(t, k.ec.Public(), "", ""), "public or a symmetric key"},
		{"symmetric JWK", "", jwkOf(t, []byte(canary+canary), "", ""), "public or a symmetric key"},
		{"two JWKs", "", []byte(`{"keys":[{},{}]}`), "holds 2 keys"},
	} {
		_, err := ParseKey(tt.data, tt.alg, "")
		var bad *KeyError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || bad.Hint() == "" {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error()+bad.Hint(), canary) {
			t.Errorf("%s: the key is in %v", tt.name, err)
		}
	}
}

func TestCheckAssertion(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	jwtOf := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for _, tt := range []struct {
		text, want string
		expires    int64
	}{
		{jwtOf(`{"exp":1800000001}`), "", 1_800_000_001},
		{jwtOf(`{"exp":1800000000}`), "expired at 2027-01-15T08:00:00Z", 1_800_000_000},
		{jwtOf(`{}`), "", 0},
		{jwtOf(`{"exp":1e300}`), "", 0},
		{jwtOf(`{"exp":"soon"}`), "is no JWT", 0},
		{"a.b", "is no JWT", 0},
		{"a.!.c", "is no JWT", 0},
	} {
		expires, err := CheckAssertion(tt.text, now)
		var bad *AssertionError
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || bad.Hint() == ""):
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		case tt.expires == 0 && !expires.IsZero(), tt.expires != 0 && expires.Unix() != tt.expires:
			t.Errorf("%s: got %v, want %d", tt.text, expires, tt.expires)
		}
	}
}

// Whatever stands where the key should be: no panic, and no word of it in the error.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "")
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","d":"AAAA","x":"AAAA"}`), "EdDSA")
	f.Add([]byte(`{"keys":[{"kty":"EC"}]}`), "ES256")
	f.Fuzz(func(t *testing.T, data []byte, alg string) {
		k, err := ParseKey(data, alg, "")
		if err != nil {
			if len(data) > 20 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the key is in %v", err)
			}
			return
		}
		if _, err := k.Assertion("c", "a", time.Unix(0, 0)); err != nil {
			t.Errorf("a key that was taken does not sign: %v", err)
		}
	})
}
