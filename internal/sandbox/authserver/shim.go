package authserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// Paths of the endpoints.
const (
	TokenPath         = "/token"
	AuthorizePath     = "/authorize"
	DevicePath        = "/device" // where a person enters a user code
	DeviceStartPath   = "/device_authorization"
	IntrospectionPath = "/introspect"
	RevocationPath    = "/revoke"
	KeysPath          = "/jwks"
	OIDCDiscovery     = "/.well-known/openid-configuration"
	OAuthDiscovery    = "/.well-known/oauth-authorization-server" // RFC 8414
)

// shims stands in front of the library and mends what it leaves open:
//   - discovery answers at the path of RFC 8414 too, and says what is true here;
//   - the parameter audience of Auth0 means resource, and no resource means the
//     one API there is (the library would issue a token without aud);
//   - clients are authenticated here, in every way that they may choose;
//   - a device that asks too often is told slow_down;
//   - errors have the statuses of RFC 6749 5.2, and nothing that carries a token
//     is cached;
//   - requests that redeem the same thing take turns.
func (s *Server) shims(library http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+OIDCDiscovery, s.discovery)
	mux.HandleFunc("GET "+OAuthDiscovery, s.discovery)
	mux.Handle("GET "+KeysPath, library)
	mux.HandleFunc("POST "+TokenPath, s.authenticated(s.token(library)))
	mux.HandleFunc("POST "+IntrospectionPath, s.authenticated(s.introspect))
	mux.HandleFunc("POST "+RevocationPath, s.authenticated(s.revoke))
	mux.HandleFunc("POST "+DeviceStartPath, s.authenticated(s.startDevice(library)))

	mux.HandleFunc("GET "+AuthorizePath, s.page(s.authorize(library)))
	mux.HandleFunc("POST "+AuthorizePath, s.page(s.authorize(library)))
	mux.HandleFunc(AuthorizePath+"/{session}", s.page(s.decide(library)))
	mux.HandleFunc("GET "+DevicePath, s.page(s.askUserCode))
	mux.HandleFunc("POST "+DevicePath, s.page(s.takeUserCode))
	mux.HandleFunc(DevicePath+"/{session}", s.page(s.decide(library)))
	return mux
}

// turn gives the requests that name the same secret their turns: what one of
// them redeems, the next finds redeemed.
func (s *Server) turn(secret string) (done func()) {
	m := &s.turns[maphash.String(turnSeed, secret)%uint64(len(s.turns))]
	m.Lock()
	return m.Unlock
}

var turnSeed = maphash.MakeSeed()

// token is the token endpoint.
func (s *Server) token(library http.Handler) func(http.ResponseWriter, *http.Request, Client) {
	return func(w http.ResponseWriter, r *http.Request, c Client) {
		if skew := ordersFrom(r.Context()).Skew; skew != 0 {
			w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
		}
		form := r.PostForm
		grant := form.Get("grant_type")
		if grant == "" {
			badRequest("grant_type is missing").write(w, r)
			return
		}
		if slices.Contains(grantTypes(), grant) && !slices.Contains(c.Grants, grant) {
			(&refusal{http.StatusBadRequest, "unauthorized_client", "the client may not use this grant"}).write(w, r)
			return
		}
		s.setResource(form)
		switch grant {
		case GrantCode:
			defer s.turn(form.Get("code"))()
		case GrantRefresh:
			defer s.turn(form.Get("refresh_token"))()
		case GrantDevice:
			if s.store.polledTooSoon(form.Get("device_code"), c.ID) {
				(&refusal{http.StatusBadRequest, "slow_down", "wait five seconds longer between questions"}).write(w, r)
				return
			}
			defer s.turn(form.Get("device_code"))()
		}
		a := &recorder{header: w.Header()}
		library.ServeHTTP(a, r)
		switch a.status {
		case http.StatusUnauthorized, http.StatusForbidden:
			// The client is known by now: what is refused is the grant.
			a.status = http.StatusBadRequest
		}
		a.send(w)
	}
}

func grantTypes() []string {
	return []string{GrantClientCredentials, GrantCode, GrantRefresh, GrantDevice}
}

// authorize is the authorization endpoint, up to the first page.
func (s *Server) authorize(library http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			s.message(w, r, http.StatusBadRequest, "This request cannot be read", "Go back to the program that sent you here and begin again.")
			return
		}
		for name, values := range r.Form {
			if len(values) > 1 && name != "resource" {
				s.message(w, r, http.StatusBadRequest, "This request is not valid", "A parameter is repeated: "+name)
				return
			}
		}
		form := r.PostForm
		if r.Method == http.MethodGet {
			form = r.URL.Query()
		}
		if strings.Contains(form.Get("redirect_uri"), "#") { // the library does not see an empty fragment
			_ = s.renderError(w, r, goidc.NewError(goidc.ErrorCodeInvalidRequest, "invalid redirect_uri"))
			return
		}
		if err := vetAuthorize(form); err != nil {
			form = onlyWhere(form)
			r = r.WithContext(context.WithValue(r.Context(), refusedKey{}, err))
		}
		s.setResource(form)
		vetMode(form)
		if r.Method == http.MethodGet {
			r.URL.RawQuery = form.Encode()
		} else {
			r.PostForm = form
		}
		library.ServeHTTP(w, r)
	}
}

// vetAuthorize says what is wrong with an authorization request that the library
// would let pass or call by another name.
func vetAuthorize(form url.Values) error {
	prompts := strings.Fields(form.Get("prompt"))
	_, ageErr := strconv.ParseUint(form.Get("max_age"), 10, 31)
	switch typ := form.Get("response_type"); {
	case typ != "" && typ != "code":
		return goidc.NewError("unsupported_response_type", "response_type must be code")
	case form.Get("request") != "":
		return goidc.NewError("request_not_supported", "request objects are not taken")
	case slices.ContainsFunc(prompts, func(p string) bool { return !slices.Contains(promptValues(), p) }):
		return goidc.NewError(goidc.ErrorCodeInvalidRequest, "prompt has an unknown value")
	case slices.Contains(prompts, string(goidc.PromptTypeNone)) && len(prompts) > 1:
		return goidc.NewError(goidc.ErrorCodeInvalidRequest, "prompt=none stands alone")
	case form.Get("max_age") != "" && ageErr != nil:
		return goidc.NewError(goidc.ErrorCodeInvalidRequest, "max_age is not a number of seconds")
	default:
		return nil
	}
}

func promptValues() []string { return []string{"none", "login", "consent"} }

type refusedKey struct{}

// onlyWhere leaves of a request that is refused what the library needs to know
// whether the client may be told, and where; begin then tells it.
func onlyWhere(form url.Values) url.Values {
	where := url.Values{
		"response_type": {"code"}, "code_challenge_method": {string(goidc.CodeChallengeMethodSHA256)}, "code_challenge": {"-"},
	}
	for _, name := range []string{"client_id", "redirect_uri", "state", "response_mode"} {
		if form.Has(name) {
			where.Set(name, form.Get(name))
		}
	}
	// RFC 6749 4.2.2.1: who asks for a token is answered in the fragment.
	if form.Get("response_mode") == "" && strings.Contains(form.Get("response_type"), "token") {
		where.Set("response_mode", "fragment")
	}
	return where
}

// vetMode puts a mode that is none in the place of one that the library knows
// and we do not have: its refusal then goes where answers go by default, and not
// into a form or a signature.
func vetMode(form url.Values) {
	if mode := form.Get("response_mode"); mode != "" && !slices.Contains(responseModes(), mode) {
		form.Set("response_mode", "unsupported")
	}
}

func responseModes() []string { return []string{"query", "fragment"} }

// decide hands a page's answer to the library, one at a time for a session.
func (s *Server) decide(library http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		defer s.turn(r.PathValue("session"))()
		library.ServeHTTP(w, r)
	}
}

func (s *Server) setResource(form url.Values) {
	// Both are kept, so that one that is wrong is refused beside one that is right.
	targets := slices.Concat(form["resource"], form["audience"])
	slices.Sort(targets)
	targets = slices.DeleteFunc(slices.Compact(targets), func(t string) bool { return t == "" })
	if len(targets) == 0 {
		targets = []string{s.cfg.Audience}
	}
	form["resource"] = targets
	form.Del("audience")
}

// startDevice is the device authorization endpoint (RFC 8628 3.1).
func (s *Server) startDevice(library http.Handler) func(http.ResponseWriter, *http.Request, Client) {
	return func(w http.ResponseWriter, r *http.Request, c Client) {
		if !slices.Contains(c.Grants, GrantDevice) {
			(&refusal{http.StatusBadRequest, "unauthorized_client", "the client may not use this grant"}).write(w, r)
			return
		}
		s.setResource(r.PostForm)
		a := &recorder{header: w.Header()}
		library.ServeHTTP(a, r)
		var answer map[string]any
		if a.status == http.StatusOK && json.Unmarshal(a.body.Bytes(), &answer) == nil {
			code, _ := answer["user_code"].(string)
			answer["user_code"] = showUserCode(code)
			answer["verification_uri"] = s.cfg.Issuer + DevicePath
			answer["verification_uri_complete"] = s.cfg.Issuer + DevicePath + "?user_code=" + showUserCode(code)
			answer["expires_in"] = int(s.cfg.DeviceTTL / time.Second)
			answer["interval"] = max(1, int(s.cfg.DeviceInterval/time.Second))
			a.body.Reset()
			_ = json.NewEncoder(&a.body).Encode(answer)
		}
		a.send(w)
	}
}

// notHere is the library's page for user codes; ours stands in front of it.
func notHere(w http.ResponseWriter, r *http.Request) error {
	http.NotFound(w, r)
	return nil
}

// vetChallenge refuses what the library would let pass: without a method, plain
// is meant (RFC 7636 4.3), and a challenge has one form.
func vetChallenge(as *goidc.AuthnSession) error {
	if as.CodeChallengeMethod != goidc.CodeChallengeMethodSHA256 {
		return goidc.NewError(goidc.ErrorCodeInvalidRequest, "code_challenge_method must be S256")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(as.CodeChallenge); err != nil || len(sum) != sha256.Size || len(as.CodeChallenge) != 43 {
		return goidc.NewError(goidc.ErrorCodeInvalidRequest, "code_challenge is not a SHA-256 in base64url")
	}
	return nil
}

// recorder keeps the library's answer, so that it can be mended. Headers go
// straight through.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *recorder) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *recorder) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *recorder) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

func (a *recorder) send(w http.ResponseWriter) {
	w.WriteHeader(max(a.status, http.StatusOK))
	_, _ = w.Write(a.body.Bytes())
}
