package authserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// showUserCode renders a code for people, in two halves.
func showUserCode(code string) string {
	if len(code) != 8 {
		return code
	}
	return code[:4] + "-" + code[4:]
}

// readUserCode forgives what people do to a code: case, dashes and blanks
// (RFC 8628 6.1).
func readUserCode(typed string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		default:
			return -1
		}
	}, typed)
}

// askUserCode is the page where a person enters the code that a device shows. A
// code in the address is only filled in: the person still has to say that it is
// the one on the device (RFC 8628 5.4).
func (s *Server) askUserCode(w http.ResponseWriter, r *http.Request) {
	s.userCodePage(w, r, showUserCode(readUserCode(r.URL.Query().Get("user_code"))), "", http.StatusOK)
}

// takeUserCode sends who knows a code to its session.
func (s *Server) takeUserCode(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !s.browsers.checkForm(r, DevicePath) {
		s.message(w, r, http.StatusForbidden, "This form is not valid any more", "Go back, load the page again and repeat it.")
		return
	}
	typed := r.PostFormValue("user_code")
	from := address(r)
	if wait := s.browsers.userCodes.blocked(from); wait > 0 {
		seconds := strconv.Itoa(int(wait/time.Second) + 1)
		w.Header().Set("Retry-After", seconds)
		s.userCodePage(w, r, typed, "Too many wrong codes. Try again in "+seconds+" seconds.", http.StatusTooManyRequests)
		return
	}
	as, err := s.store.SessionByUserCode(r.Context(), readUserCode(typed))
	if err == nil {
		defer s.turn(as.ID)()
		as, err = s.store.Session(r.Context(), as.ID) // as it is when our turn comes
	}
	if err != nil {
		s.browsers.userCodes.fail(from)
		s.userCodePage(w, r, typed, "No device waits with this code. It may be too old, or mistyped.", http.StatusNotFound)
		return
	}
	as.Store[browserKey] = digest(identity(r))
	if err := s.store.SaveSession(r.Context(), as); err != nil {
		s.message(w, r, http.StatusInternalServerError, "Something went wrong", "Begin again on your device.")
		return
	}
	http.Redirect(w, r, pageOf(as), http.StatusSeeOther)
}
