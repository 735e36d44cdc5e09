package timesheets

import (
	"context"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Lookup finds the claims of a person by the subject of a token. A person who is
// not there is no error, but the zero value.
type Lookup func(ctx context.Context, subject string) (people.Claims, error)

// lookupMax bounds how many tokens' claims are remembered.
const lookupMax = 1024

// lookup is the design in which tokens say only who somebody is: the claims are
// looked up when a token is first seen, and hold for as long as that token does.
type lookup struct {
	ask Lookup

	mu   sync.Mutex
	seen map[string]held // by jti
}

// held is a token's claims.
type held struct {
	claims  people.Claims
	expires time.Time
}

func newLookup(ask Lookup) *lookup { return &lookup{ask: ask, seen: make(map[string]held)} }

// claims returns what the caller's token stands for. What could not be looked up
// is not remembered.
func (l *lookup) claims(ctx context.Context, c *caller) (people.Claims, error) {
	now := time.Now()
	l.mu.Lock()
	known, ok := l.seen[c.jti]
	l.mu.Unlock()
	if ok && now.Before(known.expires) {
		return known.claims, nil
	}
	found, err := l.ask(ctx, c.subject)
	if err != nil {
		return people.Claims{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) >= lookupMax {
		l.forget(now)
	}
	// Within the leeway for clocks a token outlives its expiry: it is looked up
	// anew each time then, and the entry above never outlives the token.
	l.seen[c.jti] = held{claims: found, expires: c.expires}
	return found, nil
}

// forget makes room: what has expired goes, and where nothing has, everything.
func (l *lookup) forget(now time.Time) {
	for jti, h := range l.seen {
		if !now.Before(h.expires) {
			delete(l.seen, jti)
		}
	}
	if len(l.seen) >= lookupMax {
		clear(l.seen)
	}
}
