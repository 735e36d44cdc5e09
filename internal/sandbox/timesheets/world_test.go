package timesheets

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

var designs = []people.Design{people.InToken, people.ByLookup, people.ByReference}

// world is a server of one design, and an issuer for it whose every token a test
// may forge.
type world struct {
	*Server
	t      *testing.T
	design people.Design
	issuer *issuer
	key    *ecdsa.PrivateKey

	asked         atomic.Int64 // about tokens
	directoryDown atomic.Bool
	lookups       atomic.Int64
	revoked       sync.Map // jti
	references    sync.Map // token to the answer about it
}

func newWorld(t *testing.T, design people.Design, down bool) *world {
	t.Helper()
	w := &world{t: t, design: design, key: newKey(t)}
	w.issuer = newIssuer(t, map[string]*ecdsa.PrivateKey{"one": w.key, "two": newKey(t)})
	w.issuer.down.Store(down)
	introspection := httptest.NewServer(http.HandlerFunc(w.introspect))
	t.Cleanup(introspection.Close)
	passwords := make(map[string]string)
	for _, p := range people.ExampleCo() {
		passwords[p.Username] = "unused"
	}
	directory, err := people.New(people.ExampleCo(), passwords)
	if err != nil {
		t.Fatal(err)
	}
	w.Server, err = New(t.Context(), Config{
		Issuer: "https://issuer", Audience: "https://api/v1", Claims: design, JWKSURL: w.issuer.URL,
		Introspection: Introspection{URL: introspection.URL, ClientID: "the api", ClientSecret: "50% se:cret"},
		Credential:    "shown by the issuer", People: directory,
		Lookup: func(_ context.Context, subject string) (people.Claims, error) {
			w.lookups.Add(1)
			if w.directoryDown.Load() {
				return people.Claims{}, errors.New("down")
			}
			p, _ := directory.BySubject(subject)
			return p.Claims(), nil
		},
		Revoked: func(jti string) bool { _, ok := w.revoked.Load(jti); return ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// introspect is RFC 7662, for the tokens that were made by it.
func (w *world) introspect(rw http.ResponseWriter, r *http.Request) {
	w.asked.Add(1)
	if w.issuer.down.Load() {
		http.Error(rw, "down", http.StatusBadGateway)
		return
	}
	if id, secret, _ := r.BasicAuth(); id != "the+api" || secret != "50%25+se%3Acret" {
		http.Error(rw, "who?", http.StatusUnauthorized)
		return
	}
	said := map[string]any{"active": false}
	if known, ok := w.references.Load(r.PostFormValue("token")); ok {
		said = known.(map[string]any)
		if _, revoked := w.revoked.Load(said["jti"]); revoked {
			said = map[string]any{"active": false}
		}
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(said)
}

// edit changes a token before it is signed.
type edit func(head map[string]any, c jwt.MapClaims)

// token makes a good token of a subject, changed by the edits.
func (w *world) token(subject string, scopes []string, edits ...edit) string {
	w.t.Helper()
	client, machine := strings.CutPrefix(subject, "client:")
	if !machine {
		client = "web"
	}
	c := jwt.MapClaims{"sub": subject, "client_id": client, "scope": strings.Join(scopes, " "), "jti": rand.Text(), "aud": "https://api/v1"}
	if p, ok := w.people.BySubject(subject); ok && w.design != people.ByLookup {
		c["user_id"], c["user_type"], c["role"], c["regions"] = p.UserID, p.UserType, p.Role, p.Regions
	}
	all := func(head map[string]any, into jwt.MapClaims) {
		maps.Copy(into, c)
		for _, e := range edits {
			e(head, into)
		}
	}
	if w.design != people.ByReference {
		return sign(w.t, w.key, jwt.SigningMethodES256, all)
	}
	now := time.Now()
	said := jwt.MapClaims{"active": true, "iss": "https://issuer", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	all(map[string]any{}, said)
	token := rand.Text()
	w.references.Store(token, map[string]any(said))
	return token
}

// onlyEntry makes an entry of Ada, who works in EMEA, uploaded by client m, the
// only one that is stored.
func (w *world) onlyEntry() int64 {
	w.t.Helper()
	list := []entry{{client: "m", userID: "001", userType: "Employee", date: "2026-01-05T00:00:00.000Z", project: "P", hours: "7.5"}}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if _, err := w.store.conn.ExecContext(w.t.Context(), `DELETE FROM entries`); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.add(w.t.Context(), list); err != nil {
		w.t.Fatal(err)
	}
	return list[0].id
}

// send has the server answer a request; header is name, value, ...
func (w *world) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	w.ServeHTTP(rw, r)
	return rw
}
