package timesheets

import (
	"net/http"
	"slices"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// checkClaims is step three: who the caller is decides whether the operation is
// theirs, and whose entries they see. Its refusals carry no challenge, because
// no other scope would help.
//
// What lies outside of what the caller sees is answered by the handlers as if it
// did not exist (404, or a list without it): a 403 would tell that it does.
func (s *Server) checkClaims(w http.ResponseWriter, r *http.Request, c *caller, op operation) bool {
	switch {
	case c.kind == stranger:
		WriteProblem(w, http.StatusForbidden, "unknown_subject", "the access token speaks for neither a person nor the machine that it names")
		return false
	case c.kind == machine && op.machine == "":
		WriteProblem(w, http.StatusForbidden, "person_only", "this operation is for people, and the access token speaks for a machine")
		return false
	case c.kind == person && op.person == "":
		WriteProblem(w, http.StatusForbidden, "machine_only", "this operation is for machines, and the access token speaks for a person")
		return false
	case c.kind == machine:
		c.sees = sight{uploader: c.client}
		return true
	}
	if s.lookup != nil {
		found, err := s.lookup.claims(r.Context(), c)
		if err != nil {
			s.log.WarnContext(r.Context(), "claims not looked up", "err", err)
			unavailable(w, "directory_unavailable", "the directory cannot be asked, so it is not known what this person may do")
			return false
		}
		c.claims = found
	}
	if c.claims.UserID == "" || len(c.claims.Role.Scopes()) == 0 {
		WriteProblem(w, http.StatusForbidden, "unknown_person", "this API does not know the person that the access token speaks for, or their role")
		return false
	}
	if len(op.roles) > 0 && !slices.Contains(op.roles, c.claims.Role) {
		WriteProblem(w, http.StatusForbidden, "wrong_role", "this operation is not for the role "+string(c.claims.Role))
		return false
	}
	c.sees = s.sightOf(c.claims)
	return true
}

// sightOf is whose entries a person sees: their own; a manager also those of the
// people in the regions granted; an administrator all. Where people work, the
// API's own directory says. Who is not in it is seen by administrators alone.
func (s *Server) sightOf(c people.Claims) sight {
	switch c.Role {
	case people.RoleAdministrator:
		return sight{all: true}
	case people.RoleManager:
		seen := []string{c.UserID}
		for _, p := range s.people.All() {
			if p.UserID != c.UserID && slices.ContainsFunc(p.Regions, func(r string) bool { return slices.Contains(c.Regions, r) }) {
				seen = append(seen, p.UserID)
			}
		}
		return sight{people: seen}
	default:
		return sight{people: []string{c.UserID}}
	}
}
