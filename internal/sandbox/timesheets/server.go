// Package timesheets is the sandbox's Timesheets API: real HTTP, real token
// checks, SQLite. It is what the uploader is tested against, and a reference for
// whoever implements the real API, so the three steps of authorization are three
// files: token.go, scope.go and claims.go, called by guard.go. What the API can
// do is one list, in operation.go: routes, checks and OpenAPI document are made
// from it.
//
// Invariants:
//   - An upload, its idempotency key and its answer are committed in one
//     transaction: a key that was answered has its entries, and the reverse.
//   - A client that goes away does not undo what its request began.
//   - 401 means that the token is missing or no good, 403 that it is good and
//     not enough; an issuer or directory that cannot be reached is a 503 and
//     never a 401.
//   - Nobody is shown that an entry exists which is not theirs to see.
package timesheets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Config is what a Server needs.
type Config struct {
	// Issuer and Audience are what a token must name. Audience is a URL on the
	// host of the API.
	Issuer, Audience string
	// Claims is how the claims of people reach the API; empty means
	// people.InToken. Tokens of machines are checked the same way.
	Claims people.Design
	// JWKSURL is where the issuer publishes its keys; not for people.ByReference.
	JWKSURL string
	// Introspection and Credential are for people.ByReference: how to ask about
	// tokens, and what the issuer shows when it asks for claims.
	Introspection Introspection
	Credential    string
	// People are those whom the API knows, and where they work; nil is nobody.
	People *people.Directory
	// Lookup is for people.ByLookup; the default looks into People.
	Lookup Lookup
	// DB is the path of the SQLite file; empty means in memory.
	DB string
	// Revoked tells whether the signed token with this id was revoked; nil means
	// none ever is. About a reference token the issuer is asked.
	Revoked func(jti string) bool
	Logger  *slog.Logger
}

// Server is the API. It is safe for concurrent use.
type Server struct {
	mux        *http.ServeMux
	ops        []operation
	document   []byte // OpenAPI
	store      *store
	tokens     checker
	lookup     *lookup // nil where the claims come with the token
	people     *people.Directory
	revoked    func(jti string) bool
	credential string

	audience, issuer  string
	base, metadataURL string

	log     *slog.Logger
	running *running

	cancel context.CancelFunc // ends the refresh of the JWKS and late commits
	late   sync.WaitGroup
	done   <-chan struct{}
}

// New opens the database and fetches the issuer's keys; an issuer that does not
// answer yet is asked again when the first token comes.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{
		mux: http.NewServeMux(), people: cfg.People, revoked: cfg.Revoked, credential: cfg.Credential,
		audience: cfg.Audience, issuer: cfg.Issuer, log: cfg.Logger,
		running: newRunning(), cancel: cancel, done: ctx.Done(),
	}
	s.metadataURL, s.base = locate(cfg.Audience)
	s.ops = s.operations()
	s.routes()
	if err := s.open(ctx, cfg); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// complete fills in the defaults and says what is missing.
func (cfg *Config) complete() error {
	if cfg.Issuer == "" || cfg.Audience == "" {
		return errors.New("timesheets: issuer and audience are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Revoked == nil || cfg.Claims == people.ByReference {
		cfg.Revoked = func(string) bool { return false }
	}
	var err error
	if cfg.People == nil {
		if cfg.People, err = people.New(nil, nil); err != nil {
			return err
		}
	}
	cfg.Claims, err = people.ParseDesign(string(cmp.Or(cfg.Claims, people.InToken)))
	switch {
	case err != nil:
		return fmt.Errorf("timesheets: %w", err)
	case cfg.Claims != people.ByReference && cfg.JWKSURL == "":
		return errors.New("timesheets: the JWKS URL is required")
	case cfg.Claims == people.ByReference && (cfg.Introspection.URL == "" || cfg.Introspection.ClientID == "" || cfg.Credential == ""):
		return errors.New("timesheets: introspection and a credential for the issuer are required")
	}
	if cfg.Lookup == nil {
		directory := cfg.People
		cfg.Lookup = func(_ context.Context, subject string) (people.Claims, error) {
			p, _ := directory.BySubject(subject)
			return p.Claims(), nil
		}
	}
	return nil
}

// open makes what can fail, and what depends on the design.
func (s *Server) open(ctx context.Context, cfg Config) error {
	var err error
	if s.document, err = s.describe(); err != nil {
		return fmt.Errorf("timesheets: OpenAPI document: %w", err)
	}
	switch cfg.Claims {
	case people.ByReference:
		s.tokens = newIntrospector(ctx, cfg)
		s.mux.HandleFunc("GET "+InternalClaimsPath, s.internalClaims)
	case people.ByLookup:
		s.lookup = newLookup(cfg.Lookup)
		fallthrough
	default:
		if s.tokens, err = newVerifier(ctx, cfg); err != nil {
			return err
		}
	}
	s.store, err = openStore(ctx, cfg.DB)
	return err
}

// ServeHTTP answers the API's operations.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// RFC 6750 2.3 is not offered: query strings end up in logs.
	if r.URL.RawQuery != "" && r.URL.Query().Has("access_token") {
		s.malformed(w, "a token in the query is refused; send it in the Authorization header")
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

// refusal is what an entry is refused with by order.
func (o Orders) refusal() *itemError {
	return &itemError{Code: "refused", Message: "this entry is refused by order of a fault", status: o.ItemStatus}
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
