package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// API describes the other end: where it is, what it can do beyond the plain
// contract, and how it wants to be treated.
type API struct {
	URL string // entries go to URL/timesheets/upload
	// Person says that a person uploads own entries: to URL/timesheets, one a request.
	Person bool

	// What the API supports beyond the plain contract.
	Batch, IdempotencyKey, ReadBack, Update bool

	BatchSize   int // entries a request; 1 without Batch
	Concurrency int // lanes, and so requests in flight
	RateLimit   float64
	Timeout     time.Duration // of one attempt
	// MaxRetryAfter caps what a Retry-After can ask for.
	MaxRetryAfter time.Duration
	// RetryWait is the base of the backoff.
	RetryWait time.Duration
	// Resend says that, where nothing can be known, losing is worse than
	// doubling: what is in doubt is sent again.
	Resend bool
	// BareKey sends the idempotency key without quotes.
	BareKey bool
	// Fields maps names on the wire to entry fields, "-" or "=constant"; it is
	// laid over the plain contract.
	Fields  map[string]string
	Headers func(ctx context.Context) (http.Header, error)

	// Settle is how long after an attempt the server may still execute it.
	Settle time.Duration
	// ReadGap is the time between two read-backs that together prove absence.
	ReadGap time.Duration
	// KeyTTL is how long the server remembers an idempotency key.
	KeyTTL time.Duration
	// NotExecuted are statuses that the operator vouches mean "not executed".
	NotExecuted []int
	// BatchAtomic says that a batch refused as a whole left nothing behind.
	BatchAtomic bool
}

// Level is what can be promised with what the API supports.
func (a *API) Level() timesheet.Level {
	switch {
	case a.IdempotencyKey:
		return 2
	case a.ReadBack:
		return 1
	}
	return 0
}

// Promise is the level in words.
func (a *API) Promise() string {
	switch {
	case a.Level() == 2:
		return "each entry exactly once: a request without an answer is repeated under its idempotency key"
	case a.Level() == 1:
		return "each entry exactly once: a request without an answer is settled by reading back"
	case a.Resend:
		return "no entry lost: a request without an answer is sent again and may double"
	}
	return "no entry twice: one without an answer is held in doubt until a person settles it"
}

// uploadPath is where new entries go, below URL.
func (a *API) uploadPath() string {
	if a.Person {
		return "/timesheets"
	}
	return "/timesheets/upload"
}

// parcelSize is how many entries are kept together: a few hundred in batches,
// and fewer one by one, because there are more lanes then, each with a parcel
// that is being filled.
func (a *API) parcelSize() int {
	const batched, single = 500, 64
	switch {
	case a.BatchSize >= batched:
		return a.BatchSize
	case a.BatchSize > 1:
		return batched / a.BatchSize * a.BatchSize
	}
	return single
}

// lanes is how many lanes people's days are spread over. With as many lanes as
// requests in flight, the fullest lane alone would keep a run waiting at its
// end; many small ones even out. Batches are better full, so they get no more
// lanes than they need.
func (a *API) lanes() int {
	const spread = 16
	if a.BatchSize > 1 {
		return a.Concurrency
	}
	return a.Concurrency * spread
}

// resend tells whether a Parcel in doubt may simply be sent again.
func (a *API) resend(p *timesheet.Parcel, now time.Time) bool {
	switch {
	case p.Op == timesheet.OpUpdate:
		return true // replacing twice is replacing once
	case p.IdempotencyKey != "" && a.IdempotencyKey && len(p.Body) > 0:
		return now.Add(a.Timeout + time.Minute).Before(p.KeyExpires)
	}
	return a.Resend && !a.ReadBack
}

// idempotencyKey is the same for the same entries in the same bytes, and for
// nothing else. revision tells how often these entries were begun before: where
// the API has answered that it did not execute them, it would give the same
// answer under the same key for ever.
func idempotencyKey(op timesheet.Op, revision int, keys []timesheet.Packed, body [32]byte) string {
	h := sha256.New()
	h.Write([]byte("tsupload idempotency 1\n" + string(op)))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(revision))
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], uint64(len(keys)))
	h.Write(n[:])
	for i := range keys {
		h.Write(keys[i][:])
	}
	h.Write(body[:])
	return hex.EncodeToString(h.Sum(nil))
}
