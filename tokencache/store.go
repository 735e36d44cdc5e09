package tokencache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// ErrNotFound is returned by [Store.Load] when nothing usable is kept under the key.
var ErrNotFound = errors.New("no token stored")

// Entry is a token as it is kept.
type Entry struct {
	// AccessToken is the token itself; empty in the entry of a login.
	AccessToken string
	// RefreshToken is what a person's login left, from which access tokens are made; empty in the entry of an access token.
	RefreshToken string
	// Scopes lists what the token allows: what the server said, else what was asked for.
	Scopes []string
	// ObtainedAt is the moment before the request was sent.
	ObtainedAt time.Time
	// ExpiresAt is the end of the token's life.
	ExpiresAt time.Time
	// RefreshAt is when renewal starts.
	RefreshAt time.Time
	// Issuer is the issuer or the token endpoint that was asked.
	Issuer string
	// ClientID is the client the token belongs to.
	ClientID string
	// Allotments are what the server said is left of tokens, where it says so.
	Allotments []Allotment
}

// Allotment is how many tokens, or requests for them, a server grants in a time, and how many of them were left when it
// granted the last.
type Allotment struct {
	// Bucket is the server's name for it, such as per_hour; "requests" is the rate limit of its answers.
	Bucket string `json:"bucket"`
	// Limit and Remaining count tokens.
	Limit     int64 `json:"limit"`
	Remaining int64 `json:"remaining"`
	// ResetAt is when it is full again.
	ResetAt time.Time `json:"reset_at"`
}

// Low says that less than a tenth is left, as far as is known.
func (a Allotment) Low(now time.Time) bool { return a.Remaining*10 < a.Limit && now.Before(a.ResetAt) }

// Format implements fmt.Formatter; no token is ever printed.
func (e Entry) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "token REDACTED until "+e.ExpiresAt.UTC().Format(time.RFC3339))
}

// LogValue implements slog.LogValuer; the token is never logged.
func (e Entry) LogValue() slog.Value {
	return slog.GroupValue(slog.Time("expires_at", e.ExpiresAt), slog.Any("scopes", e.Scopes))
}

// MarshalJSON masks the token; a store has its own encoding.
func (e Entry) MarshalJSON() ([]byte, error) { return []byte(`"REDACTED"`), nil }

// Store keeps one entry per key. Implementations are safe for concurrent use by goroutines; the cache adds its own lock
// between processes. Save is durable enough when the next process finds the entry; losing it costs one token.
type Store interface {
	// Load returns the entry under key, or ErrNotFound. Any other error is reported once and counts as not found.
	Load(ctx context.Context, key string) (Entry, error)
	// Save replaces the entry under key as a whole.
	Save(ctx context.Context, key string, e Entry) error
	// Delete removes the entry under key; removing nothing is no error.
	Delete(ctx context.Context, key string) error
}

// MemoryStore is a Store that several caches of one process may share.
type MemoryStore struct {
	mu      sync.Mutex
	entries map[string]Entry
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{entries: make(map[string]Entry)} }

// Load implements Store.
func (s *MemoryStore) Load(_ context.Context, key string) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return Entry{}, ErrNotFound
	}
	return e, nil
}

// Save implements Store.
func (s *MemoryStore) Save(_ context.Context, key string, e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key] = e
	return nil
}

// Delete implements Store.
func (s *MemoryStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}
