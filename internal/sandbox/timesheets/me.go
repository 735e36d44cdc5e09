package timesheets

import "net/http"

// me answers GET /me: the claims that this API decides by.
func (s *Server) me(w http.ResponseWriter, _ *http.Request, c caller) {
	answer := c.claims
	if answer.Regions == nil {
		answer.Regions = []string{}
	}
	writeJSON(w, http.StatusOK, answer)
}
