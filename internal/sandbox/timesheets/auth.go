package timesheets

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Scopes of the operations.
const (
	ScopeUpload = "batch:upload"
	ScopeRead   = "read:timesheets"
	ScopeDelete = "delete:timesheets"
)

// maxToken bounds the token; a larger one is nothing that our issuer makes.
const maxToken = 8 << 10

// operation is what a request must be allowed to do.
type operation struct {
	scope string
	// machine operations refuse the token of a person.
	machine bool
}

// caller is who a good token speaks for.
type caller struct {
	client  string
	machine bool
	scopes  []string
	jti     string
}

type handler func(w http.ResponseWriter, r *http.Request, c caller)

// guard lets a request through in three steps: is the token good, is its scope
// enough, do its claims allow it. The first failure answers.
func (s *Server) guard(op operation, next handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := s.checkToken(w, r)
		if !ok || !checkScope(w, r, c, op) || !checkClaims(w, c, op) {
			return
		}
		next(w, r, c)
	})
}

// checkToken is step one: 401 when the token is missing or no good, 400 when
// the request is malformed, 503 when the issuer's keys cannot be had (a 401
// would make clients throw away good tokens).
func (s *Server) checkToken(w http.ResponseWriter, r *http.Request) (caller, bool) {
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		challenge(w, `error="invalid_request"`)
		WriteProblem(w, http.StatusBadRequest, "invalid_request", "more than one Authorization header")
		return caller{}, false
	}
	scheme, token := "", ""
	if len(headers) == 1 {
		scheme, token, _ = strings.Cut(headers[0], " ")
		token = strings.TrimSpace(token)
	}
	if !strings.EqualFold(scheme, "Bearer") {
		// RFC 6750 3.1: who sent no token is told no error code.
		challenge(w, "")
		WriteProblem(w, http.StatusUnauthorized, "unauthorized", "this operation needs an access token")
		return caller{}, false
	}
	if token == "" || len(token) > maxToken || strings.ContainsAny(token, " \t,") {
		challenge(w, `error="invalid_request"`)
		WriteProblem(w, http.StatusBadRequest, "invalid_request", "the Authorization header is malformed")
		return caller{}, false
	}
	c, err := s.verifier.verify(r.Context(), token)
	if errors.Is(err, errKeysUnavailable) {
		w.Header().Set("Retry-After", "5")
		WriteProblem(w, http.StatusServiceUnavailable, "keys_unavailable", "the issuer's keys cannot be fetched, so no token can be checked")
		return caller{}, false
	}
	if err == nil && s.revoked(c.jti) {
		err = errors.New("revoked")
	}
	if err != nil {
		s.log.DebugContext(r.Context(), "token refused", "err", err)
		challenge(w, `error="invalid_token", error_description="the access token is expired, revoked, malformed or for another API"`)
		WriteProblem(w, http.StatusUnauthorized, "unauthorized", "the access token is expired, revoked, malformed or for another API")
		return caller{}, false
	}
	return c, true
}

// checkScope is step two.
func checkScope(w http.ResponseWriter, r *http.Request, c caller, op operation) bool {
	if slices.Contains(c.scopes, op.scope) && !ordersFrom(r.Context()).Forbid {
		return true
	}
	challenge(w, `error="insufficient_scope", scope="`+op.scope+`"`)
	WriteProblem(w, http.StatusForbidden, "insufficient_scope", "the access token lacks the scope "+op.scope)
	return false
}

// checkClaims is step three: whose token it is. It carries no challenge, because
// no other scope would help.
func checkClaims(w http.ResponseWriter, c caller, op operation) bool {
	if c.machine || !op.machine {
		return true
	}
	WriteProblem(w, http.StatusForbidden, "machine_only", "this operation is for machines, and the token speaks for a person")
	return false
}
