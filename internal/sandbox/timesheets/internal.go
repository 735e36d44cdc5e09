package timesheets

import (
	"crypto/subtle"
	"net/http"
	"strings"
)

// InternalClaimsPath is where the authorization server asks for the claims of a
// person (?sub=), in the design in which tokens are references.
const InternalClaimsPath = "/_internal/claims"

// internalClaims answers the authorization server, and nobody else.
func (s *Server) internalClaims(w http.ResponseWriter, r *http.Request) {
	scheme, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(shown), []byte(s.credential)) != 1 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="internal"`)
		WriteProblem(w, http.StatusUnauthorized, "unauthorized", "this address is for the authorization server")
		return
	}
	found, ok := s.people.BySubject(r.URL.Query().Get("sub"))
	if !ok {
		WriteProblem(w, http.StatusNotFound, "not_found", "there is no such person")
		return
	}
	writeJSON(w, http.StatusOK, found.Claims())
}
