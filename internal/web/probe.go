package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// probeLimit is how long all checks of a probe may take together.
const probeLimit = 5 * time.Second

// Check is one thing that a probe looks at.
type Check struct {
	Name string
	// Probe returns nil, or what is wrong, in words that anybody may read: no
	// path, no address, no secret.
	Probe func(ctx context.Context) error
}

type verdict struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Wrong string `json:"wrong,omitempty"`
}

// probe answers 200 where all checks pass and 503 where one does not: in one
// line, with ?verbose a line for each check, or in JSON where that is accepted.
func (s *Server) probe(w http.ResponseWriter, r *http.Request, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), probeLimit)
	defer cancel()
	verdicts := make([]verdict, len(checks))
	var wrong []string
	for i, c := range checks {
		verdicts[i] = verdict{Name: c.Name, OK: true}
		if err := c.Probe(ctx); err != nil {
			verdicts[i] = verdict{Name: c.Name, Wrong: err.Error()}
			wrong = append(wrong, c.Name)
		}
	}
	code, status := http.StatusOK, "ok"
	if len(wrong) > 0 {
		code, status = http.StatusServiceUnavailable, "not ok"
	}
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "checks": verdicts})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	if !r.URL.Query().Has("verbose") {
		if len(wrong) > 0 {
			status += ": " + strings.Join(wrong, ", ")
		}
		_, _ = fmt.Fprintln(w, status)
		return
	}
	for _, v := range verdicts {
		if v.OK {
			_, _ = fmt.Fprintf(w, "ok     %s\n", v.Name)
		} else {
			_, _ = fmt.Fprintf(w, "not ok %s: %s\n", v.Name, v.Wrong)
		}
	}
	_, _ = fmt.Fprintln(w, status)
}
