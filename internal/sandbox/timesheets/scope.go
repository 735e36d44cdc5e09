package timesheets

import (
	"net/http"
	"slices"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Scopes of the operations.
const (
	ScopeUpload  = "batch:upload"
	ScopeRead    = people.ScopeRead
	ScopeCreate  = people.ScopeCreate
	ScopeDelete  = people.ScopeDelete
	ScopeApprove = people.ScopeApprove
)

// checkScope is step two: does the token carry the scope of the operation.
func (s *Server) checkScope(w http.ResponseWriter, r *http.Request, c caller, op operation) bool {
	scope := op.scope(c.kind)
	if slices.Contains(c.scopes, scope) && !ordersFrom(r.Context()).Forbid {
		return true
	}
	s.challenge(w, `error="insufficient_scope", scope="`+scope+`"`)
	WriteProblem(w, http.StatusForbidden, "insufficient_scope", "the access token lacks the scope "+scope)
	return false
}

// scope is what the operation needs of a caller of this kind. Who must not call
// it at all is still asked for its scope first: what is told is then the lesser
// of two reasons, and the order of the steps stays the same for everybody.
func (op *operation) scope(k kind) string {
	if k == machine && op.machine != "" || op.person == "" {
		return op.machine
	}
	return op.person
}
