package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/golang-jwt/jwt/v5"
)

const maxForm = 64 << 10

// refusal is an error answer of RFC 6749 5.2.
type refusal struct {
	status      int
	code        string
	description string
}

func badRequest(description string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", description}
}

func (e *refusal) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		// RFC 6749 5.2: who used the header is told by a challenge.
		h.Set("WWW-Authenticate", `Basic realm="token"`)
	}
	w.WriteHeader(e.status)
	// The client may be gone; there is no one else to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": e.code, "error_description": e.description})
}

// once are parameters that may appear once (RFC 6749 3.2).
var once = []string{
	"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "code",
	"code_verifier", "redirect_uri", "refresh_token", "device_code", "token", "token_type_hint",
}

// authenticated lets through the requests of clients that are who they say they
// are, with their form read.
func (s *Server) authenticated(next func(http.ResponseWriter, *http.Request, Client)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
		if e := readForm(w, r); e != nil {
			e.write(w, r)
			return
		}
		c, e := s.authenticate(r)
		if e != nil {
			s.log.DebugContext(r.Context(), "client refused", "code", e.code, "reason", e.description)
			e.write(w, r)
			return
		}
		next(w, vouchFor(r, c.ID), c)
	}
}

func readForm(w http.ResponseWriter, r *http.Request) *refusal {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return badRequest("the body must be a form")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return badRequest("the form cannot be read")
	}
	for _, name := range once {
		if len(r.PostForm[name]) > 1 {
			return badRequest("a parameter is repeated: " + name)
		}
		if name != "client_id" && r.URL.Query().Has(name) {
			return badRequest("parameters belong into the body")
		}
	}
	return nil
}

// authenticate finds out which client asks. A secret may come by Basic or in
// the form; a client that has keys may sign an assertion; a public client says
// its id. More than one way in one request is refused (RFC 6749 2.3).
func (s *Server) authenticate(r *http.Request) (Client, *refusal) {
	unknown := &refusal{http.StatusUnauthorized, "invalid_client", "client authentication failed"}
	id, secret, assertion := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), r.PostForm.Get("client_assertion")
	basic := r.Header.Get("Authorization") != ""
	ways := 0
	for _, used := range []bool{basic, r.PostForm.Has("client_secret"), r.PostForm.Has("client_assertion")} {
		if used {
			ways++
		}
	}
	if ways > 1 {
		return Client{}, badRequest("more than one way of client authentication")
	}
	if basic {
		basicID, basicSecret, e := basicAuth(r)
		if e != nil {
			return Client{}, e
		}
		if id != "" && id != basicID {
			return Client{}, badRequest("client_id is not the one in the Authorization header")
		}
		id, secret = basicID, basicSecret
	}
	if assertion != "" {
		c, err := s.assertions.verify(assertion, r.PostForm.Get("client_assertion_type"), id, s.clients)
		if err != nil {
			unknown.description = "the client assertion was refused: " + err.Error()
			return Client{}, unknown
		}
		return c, nil
	}
	c, ok := s.clients.get(id)
	switch {
	case !ok:
		// Takes as long as a wrong secret.
		_ = verifySecret(s.nobody, secret)
		return Client{}, unknown
	case ways == 0 && c.public():
		return c, nil
	case secret != "" && s.clients.verify(id, secret):
		return c, nil
	default:
		return Client{}, unknown
	}
}

// basicAuth reads Basic; both parts are form-encoded inside it (RFC 6749 2.3.1).
func basicAuth(r *http.Request) (id, secret string, e *refusal) {
	rawID, rawSecret, ok := r.BasicAuth()
	if !ok || len(r.Header["Authorization"]) > 1 {
		return "", "", &refusal{http.StatusUnauthorized, "invalid_client", "the Authorization header is not Basic"}
	}
	id, err := url.QueryUnescape(rawID)
	if err != nil {
		return "", "", badRequest("the client id in the Authorization header is not form-encoded")
	}
	if secret, err = url.QueryUnescape(rawSecret); err != nil {
		return "", "", badRequest("the client secret in the Authorization header is not form-encoded")
	}
	return id, secret, nil
}

type vouchedKey struct{}

// vouchFor rewrites a request for the library: whatever the client showed is
// taken out, and Basic with its id stands for it. The library's question whether
// that is right is answered from the context, which nobody outside can write.
func vouchFor(r *http.Request, id string) *http.Request {
	r = r.Clone(context.WithValue(r.Context(), vouchedKey{}, id))
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		r.PostForm.Del(name)
		r.Form.Del(name)
	}
	r.PostForm.Set("client_id", id)
	r.Form.Set("client_id", id)
	r.SetBasicAuth(id, "-")
	return r
}

func vouched(ctx context.Context, _, _ string) error {
	if id, _ := ctx.Value(vouchedKey{}).(string); id == "" {
		return errors.New("the client was not authenticated")
	}
	return nil
}

// assertionAlgs are the algorithms of private_key_jwt. A symmetric one would let
// whoever knows the public key sign.
func assertionAlgs() []string {
	return []string{
		jwt.SigningMethodRS256.Alg(), jwt.SigningMethodPS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg(),
	}
}
