package page

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	cookieName = "tsupload_ui"
	// maxSessions bounds the memory; the oldest ends when there are more.
	maxSessions  = 1000
	loginTime    = 10 * time.Minute
	sessionLimit = 12 * time.Hour
)

// session is one browser, from the beginning of a login to its end. Only flash
// changes; it and the store are guarded by the store's lock.
type session struct {
	id      string
	expires time.Time
	begun   *begun // of a login that is under way; nil once logged in
	token   string
	scopes  []string
	proof   string // what every form of this session carries
	flash   string // to be said on the next page
}

// begun is a login under way.
type begun struct{ state, verifier string }

func (s *session) may(scope string) bool { return slices.Contains(s.scopes, scope) }

func (s *session) proves(proof string) bool {
	return subtle.ConstantTimeCompare([]byte(proof), []byte(s.proof)) == 1
}

// Proof is for the forms of the page.
func (s *session) Proof() string { return s.proof }

// sessions are those that have not ended.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
}

func newSessions() *sessions { return &sessions{m: make(map[string]*session)} }

// add keeps a session under a new name.
func (all *sessions) add(s *session, lifetime time.Duration) {
	now := time.Now()
	s.id, s.proof, s.expires = rand.Text(), rand.Text(), now.Add(min(lifetime, sessionLimit))
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.m) >= maxSessions {
		var first *session
		for _, other := range all.m {
			if first == nil || other.expires.Before(first.expires) {
				first = other
			}
		}
		delete(all.m, first.id)
	}
	all.m[s.id] = s
}

// find returns the session of this name; nil where there is none any more.
func (all *sessions) find(id string) *session {
	all.mu.Lock()
	defer all.mu.Unlock()
	s := all.m[id]
	if s != nil && !time.Now().Before(s.expires) {
		delete(all.m, id)
		return nil
	}
	return s
}

func (all *sessions) end(s *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.m, s.id)
}

// say leaves a sentence for the next page.
func (all *sessions) say(s *session, text string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	s.flash = text
}

// said takes the sentence that was left.
func (all *sessions) said(s *session) string {
	all.mu.Lock()
	defer all.mu.Unlock()
	text := s.flash
	s.flash = ""
	return text
}

func (p *Page) cookie(w http.ResponseWriter, value string, lifetime time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure: the sandbox speaks HTTP, on loopback
		Name: cookieName, Value: value, Path: Path, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(lifetime / time.Second),
	})
}

// any returns the browser's session, logged in or not.
func (p *Page) any(r *http.Request) *session {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	return p.sessions.find(c.Value)
}

// session returns the browser's session; nil where nobody is logged in.
func (p *Page) session(r *http.Request) *session {
	if s := p.any(r); s != nil && s.begun == nil {
		return s
	}
	return nil
}
