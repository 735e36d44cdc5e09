package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// guarded is an export behind a token of an authorization server of its own,
// which is another sandbox's. It drops tokens when told to.
type guarded struct {
	*httptest.Server
	auth     *sandbox.Sandbox
	requests int
	seen     map[string]bool // tokens that came
	revoked  map[string]bool
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	auth, err := sandbox.Start(t.Context(), sandbox.Config{ClientSecret: "planted-export-secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	g := &guarded{auth: auth, seen: map[string]bool{}, revoked: map[string]bool{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.requests++
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" || g.revoked[token] {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.seen[token] = true
		if body, err := io.ReadAll(r.Body); err != nil || !strings.HasPrefix(string(body), `{"from":"2026-`) {
			t.Errorf("got body %s, %v", body, err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"id":"T-1","user_id":"u-1001","date":"2026-11-16","project":"StoreZero","hours":"7.5"}]`)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) source(secret string) string {
	return fmt.Sprintf(`  - name: tracker
    timezone: UTC
    http:
      url: %s/entries
      method: POST
      body: '{"from":"{{since}}"}'
      auth:
        client_credentials: {issuer: %q, client_id: %q, client_secret: {file: %q}, scopes: ["batch:upload"], audience: %q}
`, g.URL, g.auth.Issuer(), g.auth.ClientID(), secret, g.auth.Audience())
}

// TestExportTokens: an export's own token is fetched once, kept between runs,
// and replaced when it is refused.
func TestExportTokens(t *testing.T) {
	t.Parallel()
	g, w := newGuarded(t), newWorld(t)
	w.more = g.source(w.write("export-secret", g.auth.ClientSecret()))
	w.do(exitOK, "ledger", "create")
	for range 2 {
		out, log := w.do(exitOK, "run", "--once", "--source", "tracker")
		if strings.Contains(out+log, g.auth.ClientSecret()) {
			t.Errorf("the secret of the export is in the output:\n%s%s", out, log)
		}
	}
	if len(g.seen) != 1 || g.requests != 2 {
		t.Fatalf("got %d tokens in %d requests, want one in 2", len(g.seen), g.requests)
	}
	for token := range g.seen {
		g.revoked[token] = true
	}
	w.do(exitOK, "run", "--once", "--source", "tracker")
	if len(g.seen) != 2 || g.requests != 4 {
		t.Errorf("got %d tokens in %d requests, want 2 in 4", len(g.seen), g.requests)
	}
	kept, err := filepath.Glob(filepath.Join(w.dir, "state", "tokens", "*"))
	if err != nil || len(kept) == 0 {
		t.Errorf("no token is kept: %v, %v", kept, err)
	}

	// A dry run leaves nothing of it.
	if err := os.RemoveAll(filepath.Join(w.dir, "state", "tokens")); err != nil {
		t.Fatal(err)
	}
	w.do(exitOK, "run", "--dry-run", "--source", "tracker")
	if _, err := os.Stat(filepath.Join(w.dir, "state", "tokens")); !os.IsNotExist(err) {
		t.Errorf("a dry run keeps a token: %v", err)
	}
}

// TestExportTokensSigned: an export's client may sign in place of showing a
// secret, in the way of its server.
func TestExportTokensSigned(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ with, audience, sent, scope string }{
		"plain":    {`scopes: ["batch:upload"]`, "", "hours", "batch:upload"},
		"endpoint": {`scopes: ["batch:upload"], assertion_audience: token_endpoint`, "/token", "hours", "batch:upload"},
		"okta":     {`dialect: okta, scopes: ["batch:upload"]`, "/token", "", "batch:upload"},
		"entra":    {`dialect: entra`, "/token", "", "hours/.default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, w, p := newGuarded(t), newWorld(t), newAuthProxy(t)
			v := &verifier{key: key.Public(), alg: "ES256", kid: "k-1", audience: p.URL + tt.audience, seen: map[string]bool{}}
			p.set(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/.well-known/") {
					sendJSON(w, 200, fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, p.URL, p.URL+"/token"))
					return
				}
				if err := v.check(r); err != nil {
					sendJSON(w, 401, fmt.Sprintf(`{"error":"invalid_client","error_description":%q}`, err))
					return
				}
				if got := r.PostForm; got.Get("audience") != tt.sent || got.Get("scope") != tt.scope {
					t.Errorf("got audience %q and scope %q, want %q and %q", got.Get("audience"), got.Get("scope"), tt.sent, tt.scope)
				}
				sendJSON(w, 200, `{"access_token":"export-token","token_type":"Bearer","expires_in":3600}`)
			})
			text := keyPEM(t, key)
			source, _, _ := strings.Cut(g.source(""), "{issuer:")
			w.more = source + fmt.Sprintf("{issuer: %q, client_id: machine, private_key: {file: %q}, private_key_id: k-1, signing_alg: ES256, audience: hours, %s}\n", p.URL, w.write("key.pem", text), tt.with)
			w.do(exitOK, "ledger", "create")
			out, log := w.do(exitOK, "run", "--once", "--source", "tracker")
			if len(g.seen) != 1 || len(v.seen) != 1 {
				t.Errorf("got %d tokens for %d signatures, want one for one:\n%s%s", len(g.seen), len(v.seen), out, log)
			}
			w.write("key.pem", "no key")
			if err := os.RemoveAll(filepath.Join(w.dir, "state", "tokens")); err != nil {
				t.Fatal(err)
			}
			out, log = w.do(exitRefused, "run", "--once", "--source", "tracker")
			if !strings.Contains(out+log, "no token for the export") || strings.Contains(out+log, "no key\n") {
				t.Errorf("got\n%s%s", out, log)
			}
		})
	}
}

// TestExportTokensRefused: who gets no token asks for no export.
func TestExportTokensRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secret func(w *world, g *guarded) string
		exit   int
		says   string
	}{
		"wrong secret": {func(w *world, _ *guarded) string { return w.write("export-secret", "wrong") }, exitRefused, "invalid_client"},
		"no secret":    {func(w *world, _ *guarded) string { return filepath.Join(w.dir, "nowhere") }, exitRefused, "no token for the export"},
		"server down": {func(w *world, g *guarded) string {
			_ = g.auth.Close()
			return w.write("export-secret", "x")
		}, exitSource, "run again later"},
		"refused for ever": {func(w *world, g *guarded) string {
			g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
			return w.write("export-secret", g.auth.ClientSecret())
		}, exitRefused, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, w := newGuarded(t), newWorld(t)
			w.more = g.source(c.secret(w, g))
			w.do(exitOK, "ledger", "create")
			out, log := w.do(c.exit, "run", "--once", "--source", "tracker")
			if !strings.Contains(out+log, c.says) {
				t.Errorf("nothing says %q:\n%s%s", c.says, out, log)
			}
			if g.requests != 0 {
				t.Errorf("got %d requests without a token", g.requests)
			}
		})
	}
}
