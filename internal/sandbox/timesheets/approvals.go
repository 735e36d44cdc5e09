package timesheets

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// decide answers PUT /approvals/{id}: {"approved": true}, or false to take it
// back. Repeating it changes nothing more.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, c caller) {
	raw, ok := readBody(w, r)
	if !ok {
		return
	}
	var decision struct {
		Approved *bool `json:"approved"`
	}
	if !json.Valid(raw) {
		WriteProblem(w, http.StatusBadRequest, "malformed_json", "the body is not valid JSON")
		return
	}
	if bad := checkNames(raw, "approved"); bad != nil {
		writeProblem(w, bad.code(), *bad)
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&decision); err != nil || decision.Approved == nil {
		writeProblem(w, http.StatusUnprocessableEntity, *invalid("approved", "must be true or false, and the only field"))
		return
	}
	ctx := context.WithoutCancel(r.Context())
	var body []byte
	found, err := s.store.change(ctx, c.sees, r.PathValue("id"), func(e entry) error {
		if c.owns(&e) && c.claims.Role != people.RoleAdministrator {
			return errOwnHours
		}
		e.approved = *decision.Approved
		body = e.appendJSON(nil)
		return s.store.decide(ctx, e.id, e.approved)
	})
	s.answerOne(w, r, found, err, http.StatusOK, body)
}
