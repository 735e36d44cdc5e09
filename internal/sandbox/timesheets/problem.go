package timesheets

import (
	"encoding/json"
	"net/http"
)

// problem is an RFC 9457 problem document that also carries code and message.
type problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

// WriteProblem answers with a problem document.
func WriteProblem(w http.ResponseWriter, status int, code, message string) {
	writeProblem(w, status, itemError{Code: code, Message: message})
}

func writeProblem(w http.ResponseWriter, status int, e itemError) {
	title := http.StatusText(status)
	if title == "" {
		title = "Status"
	}
	b, err := json.Marshal(problem{
		Type: "about:blank", Title: title, Status: status,
		Detail: e.Message, Code: e.Code, Message: e.Message, Field: e.Field,
	})
	if err != nil {
		b = []byte(`{}`)
	}
	write(w, status, "application/problem+json", b)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		WriteProblem(w, http.StatusInternalServerError, "internal", "the answer cannot be written")
		return
	}
	write(w, status, "application/json", b)
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(status)
	// The client may be gone; there is no one else to tell.
	_, _ = w.Write(body)
}

// challenge adds the challenge of RFC 6750, with the way to the metadata of RFC
// 9728; params is what comes between.
func (s *Server) challenge(w http.ResponseWriter, params string) {
	c := `Bearer realm="timesheets"`
	if params != "" {
		c += ", " + params
	}
	w.Header().Set("WWW-Authenticate", c+`, resource_metadata="`+s.metadataURL+`"`)
}
