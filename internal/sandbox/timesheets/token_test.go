package timesheets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer publishes keys and counts how often it is asked.
type issuer struct {
	*httptest.Server
	fetches atomic.Int64
	down    atomic.Bool
	instead atomic.Pointer[string] // answered in place of the keys
	keys    atomic.Value           // []map[string]string
}

func newIssuer(t *testing.T, kids map[string]*ecdsa.PrivateKey) *issuer {
	t.Helper()
	is := &issuer{}
	is.publish(t, kids)
	is.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		is.fetches.Add(1)
		if is.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		if text := is.instead.Load(); text != nil {
			_, _ = io.WriteString(w, *text)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": is.keys.Load()})
	}))
	t.Cleanup(is.Close)
	return is
}

func (is *issuer) publish(t *testing.T, kids map[string]*ecdsa.PrivateKey) {
	t.Helper()
	keys := []map[string]string{}
	for kid, key := range kids {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		keys = append(keys, map[string]string{
			"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:]),
		})
	}
	is.keys.Store(keys)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newServer(t *testing.T, is *issuer) *Server {
	t.Helper()
	s, err := New(t.Context(), Config{Issuer: "https://issuer", Audience: "https://api", JWKSURL: is.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask(s *Server, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/timesheets", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// sign makes a good token, changed by edit.
func sign(t *testing.T, key any, method jwt.SigningMethod, edit func(head map[string]any, c jwt.MapClaims)) string {
	t.Helper()
	now := time.Now()
	c := jwt.MapClaims{
		"iss": "https://issuer", "aud": "https://api", "sub": "client:m", "client_id": "m", "jti": "1.x",
		"scope": ScopeRead, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	tok := jwt.NewWithClaims(method, c)
	tok.Header["typ"], tok.Header["kid"] = "at+jwt", "one"
	if edit != nil {
		edit(tok.Header, c)
	}
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenStep(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	s := newServer(t, newIssuer(t, map[string]*ecdsa.PrivateKey{"one": key, "two": newKey(t)}))
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	claim := func(name string, value any) func(map[string]any, jwt.MapClaims) {
		return func(_ map[string]any, c jwt.MapClaims) {
			if value == nil {
				delete(c, name)
				return
			}
			c[name] = value
		}
	}
	header := func(name string, value any) func(map[string]any, jwt.MapClaims) {
		return func(h map[string]any, _ jwt.MapClaims) {
			if value == nil {
				delete(h, name)
				return
			}
			h[name] = value
		}
	}
	tests := []struct {
		name   string
		edit   func(map[string]any, jwt.MapClaims)
		status int
	}{
		{"good", nil, 200},
		{"long form of typ", header("typ", "application/AT+jwt"), 200},
		{"id token", header("typ", "JWT"), 401},
		{"no typ", header("typ", nil), 401},
		{"no kid among two keys", header("kid", nil), 401},
		{"a critical extension", header("crit", []string{"exp"}), 401},
		{"kid of the other key", header("kid", "two"), 401},
		{"other issuer", claim("iss", "https://issuer/"), 401},
		{"no issuer", claim("iss", nil), 401},
		{"other audience", claim("aud", "https://other"), 401},
		{"audience among several", claim("aud", []string{"https://other", "https://api"}), 200},
		{"no audience", claim("aud", nil), 401},
		{"expired, within leeway", claim("exp", ago(10*time.Second)), 200},
		{"expired", claim("exp", ago(40*time.Second)), 401},
		{"no expiry", claim("exp", nil), 401},
		{"not yet", claim("nbf", ago(-time.Minute)), 401},
		{"from the future", claim("iat", ago(-time.Minute)), 401},
		{"no jti", claim("jti", nil), 401},
		{"no client", claim("client_id", nil), 401},
		{"no subject", claim("sub", nil), 401},
		{"a person", claim("sub", "m"), 403},
		{"another machine's subject", claim("sub", "client:other"), 403},
		{"no scope", claim("scope", nil), 403},
		{"part of a scope", claim("scope", "read:timesheets2 read"), 403},
		{"among scopes", claim("scope", "a read:timesheets b"), 200},
	}
	for _, tt := range tests {
		if w := ask(s, sign(t, key, jwt.SigningMethodES256, tt.edit)); w.Code != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, w.Code, w.Body, tt.status)
		}
	}
	if w := ask(s, sign(t, []byte("secret"), jwt.SigningMethodHS256, nil)); w.Code != 401 {
		t.Errorf("HS256: got %d", w.Code)
	}
	if w := ask(s, sign(t, jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, nil)); w.Code != 401 {
		t.Errorf("none: got %d", w.Code)
	}
}

func TestNoKidWithOneKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	s := newServer(t, newIssuer(t, map[string]*ecdsa.PrivateKey{"one": key}))
	tok := sign(t, key, jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { delete(h, "kid") })
	if w := ask(s, tok); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
}

func TestKeysUnavailable(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	is := newIssuer(t, map[string]*ecdsa.PrivateKey{"one": key})
	is.down.Store(true)
	s := newServer(t, is)
	w := ask(s, sign(t, key, jwt.SigningMethodES256, nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("down: got %d %v", w.Code, w.Header())
	}
	is.down.Store(false)
	if w := ask(s, sign(t, key, jwt.SigningMethodES256, nil)); w.Code != 200 {
		t.Errorf("up again: got %d", w.Code)
	}
	// A known key needs no issuer.
	is.down.Store(true)
	if w := ask(s, sign(t, key, jwt.SigningMethodES256, func(_ map[string]any, c jwt.MapClaims) { c["jti"] = "2.y" })); w.Code != 200 {
		t.Errorf("down, known key: got %d", w.Code)
	}
}

// A flood of unknown keys while the issuer is down neither becomes one of
// fetches, nor puts off the end of it by more than seconds.
func TestKeysAfterOutageAndFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := &issuer{}
		one, late := newKey(t), newKey(t)
		is.publish(t, map[string]*ecdsa.PrivateKey{"one": one})
		v, err := newVerifierOver(t.Context(), Config{Issuer: "https://issuer", Audience: "https://api", JWKSURL: "https://issuer/keys", Logger: slog.New(slog.DiscardHandler)}, roundTripper(func(r *http.Request) (*http.Response, error) {
			is.fetches.Add(1)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			if is.down.Load() {
				return nil, io.ErrUnexpectedEOF
			}
			body, err := json.Marshal(map[string]any{"keys": is.keys.Load()})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body))}, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		named := func(kid string, key *ecdsa.PrivateKey) string {
			return sign(t, key, jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = kid })
		}
		junk := named("junk", newKey(t))
		// fetches counts those of a minute in which somebody sends junk all the time.
		fetches := func(want error) int64 {
			before := is.fetches.Load()
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if _, err := v.check(t.Context(), junk); err == nil || want != nil && !errors.Is(err, want) {
					t.Fatalf("junk: got %v", err)
				}
			}
			return is.fetches.Load() - before
		}
		is.down.Store(true)
		if n := fetches(errKeysUnavailable); n < 10 || n > 10+60/5+1 {
			t.Errorf("down: a minute of unknown keys cost %d fetches", n)
		}
		is.down.Store(false)
		is.publish(t, map[string]*ecdsa.PrivateKey{"one": one, "late": late})
		back, good := time.Now(), named("late", late)
		for {
			if _, err := v.check(t.Context(), good); err == nil {
				break
			}
			_, _ = v.check(t.Context(), junk)
			if time.Sleep(5 * time.Millisecond); time.Since(back) > time.Minute {
				t.Fatal("the new key is not found")
			}
		}
		if took := time.Since(back); took > 6*time.Second {
			t.Errorf("up again: a good key was refused for %s", took)
		}
		if n := fetches(nil); n > 3 {
			t.Errorf("up: a minute of unknown keys cost %d fetches", n)
		}
	})
}

// Whatever is no key set says nothing about a token, and takes no key away.
func TestKeysUnreadable(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"a page": "<html>maintenance</html>", "half an answer": `{"keys":[{"kty":"EC",`, "nothing": "", "an object": "{}", "null": "null",
		"too much": `{"keys":[],"x":"` + strings.Repeat("x", maxJWKS) + `"}`,
	} {
		key, late := newKey(t), newKey(t)
		is := newIssuer(t, map[string]*ecdsa.PrivateKey{"one": key, "two": newKey(t)})
		s := newServer(t, is)
		is.instead.Store(&answer)
		w := ask(s, sign(t, late, jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "late" }))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: got %d %v", name, w.Code, w.Header())
		}
		if w := ask(s, sign(t, key, jwt.SigningMethodES256, nil)); w.Code != 200 {
			t.Errorf("%s, known key: got %d", name, w.Code)
		}
		is.instead.Store(nil)
		is.publish(t, map[string]*ecdsa.PrivateKey{"late": late, "two": newKey(t)})
		if w := ask(s, sign(t, late, jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "late" })); w.Code != 200 {
			t.Errorf("%s, afterwards: got %d", name, w.Code)
		}
	}
}

func TestRotationAndFlood(t *testing.T) {
	t.Parallel()
	one, two := newKey(t), newKey(t)
	keys := map[string]*ecdsa.PrivateKey{"one": one}
	is := newIssuer(t, keys)
	s := newServer(t, is)
	keys = maps.Clone(keys)
	keys["two"] = two
	is.publish(t, keys)
	if w := ask(s, sign(t, two, jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "two" })); w.Code != 200 {
		t.Errorf("new key: got %d", w.Code)
	}
	begin := time.Now()
	for range 100 {
		tok := sign(t, newKey(t), jwt.SigningMethodES256, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "junk" })
		if w := ask(s, tok); w.Code != 401 {
			t.Fatalf("junk: got %d", w.Code)
		}
	}
	if n := is.fetches.Load(); n > 15 {
		t.Errorf("100 unknown keys cost %d fetches", n)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("100 unknown keys held requests for %s", took)
	}
}
