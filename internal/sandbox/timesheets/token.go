package timesheets

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// maxToken bounds the token; a larger one is nothing that our issuer makes.
const maxToken = 8 << 10

// checker finds out whom a token speaks for. Its error is errKeysUnavailable or
// errIntrospectionUnavailable where that could not be found out, and anything
// else where the token is no good.
type checker interface {
	check(ctx context.Context, token string) (caller, error)
}

const badToken = "the access token is expired, revoked, malformed or for another API"

// checkToken is step one: 401 when the token is missing or no good, 400 when
// the request is malformed, 503 when it cannot be found out (a 401 would make
// clients throw away good tokens).
func (s *Server) checkToken(w http.ResponseWriter, r *http.Request) (caller, bool) {
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		s.malformed(w, "more than one Authorization header")
		return caller{}, false
	}
	scheme, token := "", ""
	if len(headers) == 1 {
		scheme, token, _ = strings.Cut(headers[0], " ")
		token = strings.TrimSpace(token)
	}
	if !strings.EqualFold(scheme, "Bearer") {
		// RFC 6750 3.1: who sent no token is told no error code.
		s.challenge(w, "")
		WriteProblem(w, http.StatusUnauthorized, "unauthorized", "this operation needs an access token")
		return caller{}, false
	}
	if token == "" || len(token) > maxToken || strings.ContainsAny(token, " \t,") {
		s.malformed(w, "the Authorization header is malformed")
		return caller{}, false
	}
	c, err := s.tokens.check(r.Context(), token)
	switch {
	case errors.Is(err, errKeysUnavailable):
		unavailable(w, "keys_unavailable", "the issuer's keys cannot be fetched, so no token can be checked")
		return caller{}, false
	case errors.Is(err, errIntrospectionUnavailable):
		unavailable(w, "introspection_unavailable", "the issuer cannot be asked, so no token can be checked")
		return caller{}, false
	case err == nil && s.revoked(c.jti):
		err = errors.New("revoked")
	}
	if err != nil {
		s.log.DebugContext(r.Context(), "token refused", "err", err)
		s.challenge(w, `error="invalid_token", error_description="`+badToken+`"`)
		WriteProblem(w, http.StatusUnauthorized, "unauthorized", badToken)
		return caller{}, false
	}
	return c, true
}

// malformed answers a request whose token is not where and how RFC 6750 wants it.
func (s *Server) malformed(w http.ResponseWriter, message string) {
	s.challenge(w, `error="invalid_request"`)
	WriteProblem(w, http.StatusBadRequest, "invalid_request", message)
}

// unavailable answers when somebody whom the API needs does not answer.
func unavailable(w http.ResponseWriter, code, message string) {
	w.Header().Set("Retry-After", "5")
	WriteProblem(w, http.StatusServiceUnavailable, code, message)
}
