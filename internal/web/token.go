package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// allowed tells whether a request may see more than the probes and the
// metrics, and answers it where it may not.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request) bool {
	if s.cfg.Token == nil || s.cfg.Guarded != nil && !s.cfg.Guarded() {
		if !s.loopback {
			refuse(w, http.StatusForbidden, "beyond loopback this wants a token, and none is configured: set listen.token")
		}
		return s.loopback
	}
	if given, ok := presented(r); ok {
		token, err := s.cfg.Token(r.Context())
		if err != nil || len(token) == 0 {
			s.cfg.Logger.WarnContext(r.Context(), "the token of the listener cannot be read", "err", err)
			refuse(w, http.StatusServiceUnavailable, "the token cannot be checked now")
			return false
		}
		if equal(given, token) {
			return true
		}
	}
	// A browser asks its user for the password; programs send the token itself.
	w.Header().Add("WWW-Authenticate", `Basic realm="tsupload", charset="UTF-8"`)
	w.Header().Add("WWW-Authenticate", `Bearer realm="tsupload"`)
	refuse(w, http.StatusUnauthorized, "send the token: as a bearer token, or as the password of HTTP basic with any user name")
	return false
}

// presented finds the token that a request carries.
func presented(r *http.Request) ([]byte, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return []byte(password), true
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return []byte(strings.TrimSpace(token)), ok && strings.EqualFold(scheme, "Bearer")
}

// equal takes as long whatever differs, the length included.
func equal(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
