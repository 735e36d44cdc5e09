// Package timesheets is the sandbox's Timesheets API: real HTTP, real token
// checks, SQLite. It is what the uploader is tested against, and a reference for
// whoever implements the real API, so the three steps of authorization (token,
// scope, claims) are three functions in auth.go.
//
// Invariants:
//   - An upload, its idempotency key and its answer are committed in one
//     transaction: a key that was answered has its entries, and the reverse.
//   - A client that goes away does not undo what its request began.
//   - 401 means that the token is missing or no good, 403 that it is good and
//     not enough; a JWKS that cannot be reached is a 503 and never a 401.
package timesheets

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Config is what a Server needs.
type Config struct {
	// Issuer and Audience are what a token must name.
	Issuer, Audience string
	// JWKSURL is where the issuer publishes its keys.
	JWKSURL string
	// DB is the path of the SQLite file; empty means in memory.
	DB string
	// Revoked tells whether the token with this id was revoked; nil means none
	// ever is.
	Revoked func(jti string) bool
	Logger  *slog.Logger
}

// Server is the API. It is safe for concurrent use.
type Server struct {
	mux      *http.ServeMux
	store    *store
	verifier *verifier
	revoked  func(jti string) bool
	audience string
	issuer   string
	log      *slog.Logger
	running  *running

	cancel context.CancelFunc // ends the refresh of the JWKS and late commits
	late   sync.WaitGroup
	done   <-chan struct{}
}

// New opens the database and fetches the issuer's keys; an issuer that does not
// answer yet is asked again when the first token comes.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Revoked == nil {
		cfg.Revoked = func(string) bool { return false }
	}
	if cfg.Issuer == "" || cfg.Audience == "" || cfg.JWKSURL == "" {
		return nil, errors.New("timesheets: issuer, audience and JWKS URL are required")
	}
	ctx, cancel := context.WithCancel(ctx)
	v, err := newVerifier(ctx, cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	st, err := openStore(ctx, cfg.DB)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Server{
		mux: http.NewServeMux(), store: st, verifier: v, revoked: cfg.Revoked,
		audience: cfg.Audience, issuer: cfg.Issuer, log: cfg.Logger,
		running: newRunning(), cancel: cancel, done: ctx.Done(),
	}
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	s.mux.Handle("POST /timesheets/upload", s.guard(operation{scope: ScopeUpload, machine: true}, s.upload))
	s.mux.Handle("GET /timesheets", s.guard(operation{scope: ScopeRead, machine: true}, s.list))
	s.mux.Handle("GET /timesheets/{id}", s.guard(operation{scope: ScopeRead, machine: true}, s.get))
	s.mux.Handle("PUT /timesheets/{id}", s.guard(operation{scope: ScopeUpload, machine: true}, s.replace))
	s.mux.Handle("DELETE /timesheets/{id}", s.guard(operation{scope: ScopeDelete, machine: true}, s.remove))
	s.mux.HandleFunc("GET /.well-known/oauth-protected-resource", s.metadata)

	s.mux.HandleFunc("/timesheets", notAllowed("GET"))
	s.mux.HandleFunc("/timesheets/{id}", notAllowed("GET, PUT, DELETE"))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		WriteProblem(w, http.StatusNotFound, "not_found", "there is nothing at this address")
	})
}

func notAllowed(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", methods)
		WriteProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "this address takes "+methods)
	}
}

// metadata is RFC 9728: where tokens for this API come from.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"resource":                 s.audience,
		"authorization_servers":    []string{s.issuer},
		"scopes_supported":         []string{ScopeUpload, ScopeRead, ScopeDelete},
		"bearer_methods_supported": []string{"header"},
	})
}

// ServeHTTP answers the API's operations.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// RFC 6750 2.3 is not offered: query strings end up in logs.
	if r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		challenge(w, `error="invalid_request"`)
		WriteProblem(w, http.StatusBadRequest, "invalid_request", "a token in the query is refused; send it in the Authorization header")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Close drops commits that are still to come late and closes the database.
func (s *Server) Close() error {
	s.cancel()
	s.late.Wait()
	return s.store.close()
}

// Stats is what the database holds now.
func (s *Server) Stats(ctx context.Context, lists bool) (Stats, error) {
	return s.store.stats(ctx, lists)
}

// Approve marks an entry approved, after which it can no longer be changed. It
// reports false where there is no such entry.
func (s *Server) Approve(ctx context.Context, id string) (bool, error) {
	return s.store.approve(ctx, id)
}

// Orders changes how one request is answered; the sandbox's faults give them.
// The zero value changes nothing.
type Orders struct {
	// Forbid answers 403 after the token was found good.
	Forbid bool
	// MaxItems replaces the most items that an array may have.
	MaxItems int
	// ItemStatus, when not zero, refuses one item of an array (the middle one),
	// or the object, with this status.
	ItemStatus int
	// Late commits after this time. Before, Drop ends the connection.
	Late time.Duration
	Drop func()
}

type ordersKey struct{}

// WithOrders returns a context whose request is answered by o.
func WithOrders(ctx context.Context, o Orders) context.Context {
	return context.WithValue(ctx, ordersKey{}, o)
}

func ordersFrom(ctx context.Context) Orders {
	o, _ := ctx.Value(ordersKey{}).(Orders)
	return o
}
