package timesheets

import (
	"net/http"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// kind is what a token speaks for.
type kind int

const (
	stranger kind = iota // neither of the others
	machine
	person
)

// caller is who a good token speaks for, and, once its claims are checked,
// whose entries it may see.
type caller struct {
	kind    kind
	subject string
	client  string
	scopes  []string
	jti     string
	expires time.Time
	claims  people.Claims // of a person
	sees    sight
}

// owner is under whose name the caller's uploads and idempotency keys are kept.
// A person's subject has a form that no client's id has.
func (c *caller) owner() string {
	if c.kind == machine {
		return c.client
	}
	return c.subject
}

// owns tells whether the caller may change the entry: a machine what it
// uploaded itself, a person what is in the person's name, whoever uploaded it.
func (c *caller) owns(e *entry) bool {
	if c.kind == machine {
		return e.client == c.client
	}
	return e.userID == c.claims.UserID
}

// sight is whose entries a caller sees: all, what one machine uploaded, or
// those of some people.
type sight struct {
	all      bool
	uploader string
	people   []string // their user ids
}

func (s sight) covers(e *entry) bool {
	switch {
	case s.all:
		return true
	case s.uploader != "":
		return e.client == s.uploader
	default:
		return slices.Contains(s.people, e.userID)
	}
}

type handler func(w http.ResponseWriter, r *http.Request, c caller)

// guard lets a request through in three steps: is the token good (token.go), is
// its scope enough (scope.go), do the claims allow it (claims.go). The first
// failure answers.
func (s *Server) guard(op operation) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := s.checkToken(w, r)
		if !ok || !s.checkScope(w, r, c, op) || !s.checkClaims(w, r, &c, op) {
			return
		}
		op.do(w, r, c)
	})
}
