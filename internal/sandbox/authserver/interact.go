package authserver

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// What a session keeps in its Store, and a grant after it.
const (
	browserKey  = "browser"
	authTimeKey = "auth_time"
	begunKey    = "begun"
)

// interact is what happens between an authorization request and its answer: a
// person logs in and consents. The library calls it for every request to
// /authorize, /authorize/{session} and /device/{session}, and keeps the session
// between them.
func (s *Server) interact(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, lc *goidc.Client) (goidc.Status, error) {
	client, ok := s.clients.get(lc.ID)
	if !ok {
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeUnauthorizedClient, "the client is gone")
	}
	here := pageOf(as)
	if r.URL.Path != here {
		// The request itself; from here on the browser that made it goes on alone.
		return s.begin(w, r, as, here)
	}
	browser := identity(r)
	if bound, _ := as.Store[browserKey].(string); browser == "" || bound != digest(browser) {
		s.message(w, r, http.StatusBadRequest, "This page belongs to another browser",
			"Go back to the program that sent you here and begin again. Cookies must be allowed.")
		return goidc.StatusPending, nil
	}
	person, since, known := s.browsers.who(r, s.people)
	if known && mustLogInAgain(as, since) {
		known = false
	}
	if r.Method == http.MethodGet {
		if !known {
			s.loginPage(w, r, here, client, as.LoginHint, "", http.StatusOK)
			return goidc.StatusPending, nil
		}
		return s.offer(w, r, as, client, person, "")
	}
	if !s.browsers.checkForm(r, here) {
		s.message(w, r, http.StatusForbidden, "This form is not valid any more", "Go back, load the page again and repeat it.")
		return goidc.StatusPending, nil
	}
	switch action := r.PostFormValue("action"); {
	case action == "login":
		return s.tryLogin(w, r, here, client)
	case action == "switch":
		s.browsers.logOut(w, r)
		http.Redirect(w, r, here, http.StatusSeeOther)
		return goidc.StatusPending, nil
	case action == "deny":
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeAccessDenied, "the person refused")
	case action == "allow" && known:
		return s.consent(w, r, as, client, person, since)
	default:
		http.Redirect(w, r, here, http.StatusSeeOther)
		return goidc.StatusPending, nil
	}
}

// pageOf is the path of a session's pages.
func pageOf(as *goidc.AuthnSession) string {
	if as.DeviceCode != "" {
		return DevicePath + "/" + as.ID
	}
	return AuthorizePath + "/" + as.ID
}

// begin binds a session to the browser and sends that to the first page.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, here string) (goidc.Status, error) {
	if r.URL.Path != AuthorizePath {
		// The page of a device under the other path, or the reverse.
		s.message(w, r, http.StatusNotFound, "There is nothing at this address", "Go back to the program that sent you here and begin again.")
		return goidc.StatusPending, nil
	}
	if err, refused := r.Context().Value(refusedKey{}).(error); refused {
		return goidc.StatusFailure, err
	}
	if err := vetChallenge(as); err != nil {
		return goidc.StatusFailure, err
	}
	if as.Prompt == goidc.PromptTypeNone {
		if _, _, ok := s.browsers.who(r, s.people); !ok {
			return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeLoginRequired, "nobody is logged in")
		}
		// Consent is asked each time.
		return goidc.StatusFailure, goidc.NewError("consent_required", "the person must be asked")
	}
	as.Store[browserKey], as.Store[begunKey] = digest(s.browsers.identify(w, r)), time.Now()
	http.Redirect(w, r, here, http.StatusSeeOther)
	return goidc.StatusPending, nil
}

// mustLogInAgain tells whether the client wants a fresher login than this one. The
// library knows to the second when a session began; a person can log out and
// come back within one.
func mustLogInAgain(as *goidc.AuthnSession, since time.Time) bool {
	begun, ok := as.Store[begunKey].(time.Time)
	if !ok {
		begun = time.Unix(int64(as.CreatedAt), 0)
	}
	if !since.Before(begun) {
		return false
	}
	return slices.Contains(strings.Fields(string(as.Prompt)), string(goidc.PromptTypeLogin)) ||
		as.MaxAuthnAgeSecs != nil && time.Since(since) > time.Duration(*as.MaxAuthnAgeSecs)*time.Second
}

func (s *Server) tryLogin(w http.ResponseWriter, r *http.Request, here string, c Client) (goidc.Status, error) {
	ok, wait := s.browsers.logIn(w, r, s.people)
	switch {
	case ok:
		// 303, so that no browser sends the password on (RFC 9700 4.12).
		http.Redirect(w, r, here, http.StatusSeeOther)
	case wait > 0:
		seconds := strconv.Itoa(int(wait/time.Second) + 1)
		w.Header().Set("Retry-After", seconds)
		s.loginPage(w, r, here, c, r.PostFormValue("username"), "Too many failed logins. Try again in "+seconds+" seconds.", http.StatusTooManyRequests)
	default:
		s.loginPage(w, r, here, c, r.PostFormValue("username"), "Username or password is wrong.", http.StatusUnauthorized)
	}
	return goidc.StatusPending, nil
}

// offer shows what the person may grant, or ends the request where that is
// nothing.
func (s *Server) offer(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, c Client, p people.Person, problem string) (goidc.Status, error) {
	may, beyond := bound(as.Scopes, c, p)
	if len(may) == 0 && as.DeviceCode == "" {
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeAccessDenied, "the client and the role of the person allow none of the scopes")
	}
	s.consentPage(w, r, pageOf(as), as, c, p, may, beyond, problem)
	return goidc.StatusPending, nil
}

// consent takes the person's answer: what was asked, is allowed and is ticked.
func (s *Server) consent(w http.ResponseWriter, r *http.Request, as *goidc.AuthnSession, c Client, p people.Person, since time.Time) (goidc.Status, error) {
	may, _ := bound(as.Scopes, c, p)
	granted := slices.DeleteFunc(may, func(scope string) bool { return !slices.Contains(r.PostForm["scope"], scope) })
	if !slices.ContainsFunc(granted, func(scope string) bool { return scope != ScopeOffline }) {
		return goidc.StatusFailure, goidc.NewError(goidc.ErrorCodeAccessDenied, "the person refused everything")
	}
	if s.cfg.Claims == people.ByReference {
		claims, err := s.askClaims(r.Context(), p.Subject)
		if err != nil {
			s.log.WarnContext(r.Context(), "claims not had from the API", "err", err)
			w.Header().Set("Retry-After", "5")
			return s.offer(w, r, as, c, p, "The Timesheets API does not say what you may do. Try again in a moment.")
		}
		as.Store[claimsKey] = claims
	}
	as.Store[authTimeKey] = since.Unix()
	as.Subject, as.Username = p.Subject, p.Username
	as.GrantedScopes = strings.Join(granted, " ")
	as.GrantedResources = as.Resources
	return goidc.StatusSuccess, nil
}

// deviceDone ends the device grant for the person.
func (s *Server) deviceDone(w http.ResponseWriter, r *http.Request) error {
	s.message(w, r, http.StatusOK, "Done", "The device is connected. You can close this page and go back to it.")
	return nil
}

// renderError shows what cannot be told to a client by a redirect: there is no
// client that we trust to be the right one.
func (s *Server) renderError(w http.ResponseWriter, r *http.Request, err error) error {
	e, ok := errors.AsType[goidc.Error](err)
	switch {
	case ok && e.Code == goidc.ErrorCodeAccessDenied && strings.HasPrefix(r.URL.Path, DevicePath+"/"):
		s.message(w, r, http.StatusOK, "Refused", "The device gets no access. You can close this page.")
	case ok:
		s.message(w, r, http.StatusBadRequest, "This request is not valid",
			"The program that sent you here made a mistake, or its request is too old. ("+string(e.Code)+": "+e.Description+")")
	default:
		s.message(w, r, http.StatusInternalServerError, "Something went wrong", "Go back to the program that sent you here and begin again.")
	}
	return nil
}
