// Package logintest is an authorization server for tests of logins, as strict as one can be: refresh tokens are good for
// one use, and a second use ends the whole login. Nobody types anything there: whoever opens the login page is logged in.
package logintest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ClientID is the one client, which is public.
const ClientID = "native-client"

// Server is a running authorization server. Its exported functions may be set before use and see each request first.
type Server struct {
	*httptest.Server
	// Answer, when set, may change the answer of the login page.
	Answer func(answer url.Values)
	// Token, when set, may answer a token request itself, which it tells by returning true. done says that the request was
	// carried out already and what it would be answered with.
	Token func(w http.ResponseWriter, form url.Values) bool
	// Revoke, when set, may answer a revocation itself, which it tells by returning true.
	Revoke func(w http.ResponseWriter, form url.Values) bool
	// AfterRotation, when set, is called when a refresh token was replaced, before the answer is sent.
	AfterRotation func()
	// Polls are the answers to polls of the device grant, in their order; the login is granted after the last.
	Polls []string
	// ExpiresIn is that of access tokens, 3600 when zero.
	ExpiresIn int
	// Without leaves scopes out of what is granted.
	Without []string
	// NoRefresh gives no refresh tokens.
	NoRefresh bool

	mu       sync.Mutex
	codes    map[string]grant
	tokens   map[string]refresh
	dead     map[string]bool // families
	device   grant
	polls    int
	requests map[string]int
	revoked  []string
	secrets  []string
	access   map[string]string // token -> family
}

type grant struct {
	challenge, redirect string
	scopes              []string
}

type refresh struct {
	family string
	scopes []string
	used   bool
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{codes: map[string]grant{}, tokens: map[string]refresh{}, dead: map[string]bool{}, requests: map[string]int{}, access: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /device", s.deviceCode)
	mux.HandleFunc("POST /revoke", s.revoke)
	s.Server = httptest.NewServer(mux)
	tb.Cleanup(s.Close)
	return s
}

// Issuer is the server's own name.
func (s *Server) Issuer() string { return s.URL }

// Requests is how often a path was asked for; grants are counted as token:GRANT.
func (s *Server) Requests(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[what]
}

// Revoked lists the kinds of tokens that were given back, in their order.
func (s *Server) Revoked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.revoked)
}

// Secrets lists every code, state, challenge, token and device code so far.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.secrets)
}

// Alive says whether a login has not been ended.
func (s *Server) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dead) == 0
}

// EndLogins ends every login.
func (s *Server) EndLogins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.tokens {
		s.dead[r.family] = true
	}
}

func (s *Server) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[what]++
}

func (s *Server) secret() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	v := "canary-" + hex.EncodeToString(b)
	s.secrets = append(s.secrets, v)
	return v
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"device_authorization_endpoint": s.URL + "/device", "revocation_endpoint": s.URL + "/revoke",
		"scopes_supported": []string{"create:timesheets", "read:timesheets", "offline_access"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func (s *Server) granted(asked string) []string {
	return slices.DeleteFunc(strings.Fields(asked), func(scope string) bool { return slices.Contains(s.Without, scope) })
}

func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	s.count("authorize")
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 {
		http.Error(w, "not a request with PKCE", http.StatusBadRequest)
		return
	}
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Path != "/callback" || redirect.Hostname() != "127.0.0.1" && redirect.Hostname() != "::1" {
		http.Error(w, "not a redirect to loopback", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	code := s.secret()
	s.codes[code] = grant{challenge: q.Get("code_challenge"), redirect: redirect.String(), scopes: s.granted(q.Get("scope"))}
	s.secrets = append(s.secrets, q.Get("state"), q.Get("code_challenge"))
	s.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {s.URL}}
	if s.Answer != nil {
		s.Answer(answer)
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusSeeOther) //nolint:gosec // to loopback, see above
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	form := r.PostForm
	s.count("token:" + form.Get("grant_type"))
	if s.Token != nil && s.Token(w, form) {
		return
	}
	if form.Get("client_id") != ClientID {
		refuse(w, "invalid_client")
		return
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		s.mu.Lock()
		g, ok := s.codes[form.Get("code")]
		delete(s.codes, form.Get("code"))
		s.secrets = append(s.secrets, form.Get("code_verifier"))
		s.mu.Unlock()
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		if !ok || form.Get("redirect_uri") != g.redirect || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
			refuse(w, "invalid_grant")
			return
		}
		s.issue(w, "", g.scopes)
	case "refresh_token":
		s.refresh(w, form)
	case "urn:ietf:params:oauth:grant-type:device_code":
		s.mu.Lock()
		answer := ""
		if s.polls < len(s.Polls) {
			answer = s.Polls[s.polls]
		}
		s.polls++
		g := s.device
		s.mu.Unlock()
		if answer != "" {
			refuse(w, answer)
			return
		}
		s.issue(w, "", g.scopes)
	default:
		refuse(w, "unsupported_grant_type")
	}
}

func (s *Server) refresh(w http.ResponseWriter, form url.Values) {
	s.mu.Lock()
	name := form.Get("refresh_token")
	t, ok := s.tokens[name]
	bad := !ok || t.used || s.dead[t.family]
	if ok && t.used {
		s.dead[t.family] = true
	}
	t.used = true
	if ok {
		s.tokens[name] = t
	}
	s.mu.Unlock()
	if bad {
		refuse(w, "invalid_grant")
		return
	}
	if s.AfterRotation != nil {
		s.AfterRotation()
	}
	s.issue(w, t.family, t.scopes)
}

func (s *Server) issue(w http.ResponseWriter, family string, scopes []string) {
	s.mu.Lock()
	if family == "" {
		family = s.secret()
	}
	access := s.secret()
	s.access[access] = family
	life := s.ExpiresIn
	if life == 0 {
		life = 3600
	}
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": life, "scope": strings.Join(scopes, " ")}
	if !s.NoRefresh {
		name := s.secret()
		s.tokens[name] = refresh{family: family, scopes: scopes}
		answer["refresh_token"] = name
	}
	s.mu.Unlock()
	send(w, http.StatusOK, answer)
}

func (s *Server) deviceCode(w http.ResponseWriter, r *http.Request) {
	s.count("device")
	_ = r.ParseForm()
	s.mu.Lock()
	code := s.secret()
	s.device, s.polls = grant{scopes: s.granted(r.PostForm.Get("scope"))}, 0
	s.mu.Unlock()
	send(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": "WDJB-MJHT", "verification_uri": s.URL + "/activate", "verification_uri_complete": s.URL + "/activate?user_code=WDJB-MJHT",
		"expires_in": 600, "interval": 1,
	})
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	s.count("revoke")
	_ = r.ParseForm()
	if s.Revoke != nil && s.Revoke(w, r.PostForm) {
		return
	}
	s.mu.Lock()
	s.revoked = append(s.revoked, r.PostForm.Get("token_type_hint"))
	if t, ok := s.tokens[r.PostForm.Get("token")]; ok {
		s.dead[t.family] = true
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

func refuse(w http.ResponseWriter, code string) {
	send(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": "the server says " + code})
}

func send(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
