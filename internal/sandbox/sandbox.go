// Package sandbox is the other end: an authorization server and the Timesheets
// API, real HTTP on loopback, with faults and latency to order. It is what
// rehearsals, tests and the demonstration talk to. It shares no code with the
// client, so that each checks the other.
//
// Invariants:
//   - It listens on loopback addresses only, unless told otherwise by name.
//   - What it answered as accepted is committed; what a fault says was executed
//     was executed, and nothing else was.
//   - Stats counts what is stored, from the database, never from memory.
package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/timesheets"
)

// NoScopeClient is a second client, with the secret of the first, that is
// granted no batch:upload.
const NoScopeClient = "sandbox-noscope"

// Config is what a Sandbox is started with. The zero value starts one in
// memory, on free ports.
type Config struct {
	// Addr and AuthAddr are where the API and the authorization server listen;
	// the default of both is 127.0.0.1:0.
	Addr, AuthAddr string
	// DB is the SQLite file of the API; empty means in memory.
	DB string
	// Faults and Latency are in force from the first request. Latency delays
	// every request but those for metadata, keys and to the admin endpoints.
	Faults  []Fault
	Latency time.Duration
	// Seed decides the faults with @p.
	Seed uint64
	// TokenTTL is the lifetime of access tokens; the default is an hour.
	TokenTTL time.Duration
	// ClientID and ClientSecret are the machine's credentials; the defaults are
	// sandbox-client and a random secret.
	ClientID, ClientSecret string
	// Passwords are those of the people of ExampleCo, by username; who is not
	// named gets a random one.
	Passwords map[string]string
	// Claims is how the claims of a person reach the API; the default is in the
	// token.
	Claims people.Design
	// SigningAlg is ES256 (the default) or RS256.
	SigningAlg string
	// AllowPublic permits addresses other than loopback.
	AllowPublic bool
	Logger      *slog.Logger
}

// Sandbox is a running pair of servers.
type Sandbox struct {
	cfg    Config
	apiURL string
	issuer string
	auth   *authserver.Server
	api    *timesheets.Server
	inject *injector
	people *people.Directory
	log    *slog.Logger

	requests, uploads, replays atomic.Int64

	servers  []*http.Server
	serving  sync.WaitGroup
	stop     context.CancelFunc
	closing  sync.Once
	closeErr error
}

// AddressError is an address that the sandbox refuses to listen on.
type AddressError struct{ Addr string }

// Error implements error.
func (e *AddressError) Error() string {
	return fmt.Sprintf("sandbox: %s is not a loopback address", e.Addr)
}

// Hint says how to listen there all the same.
func (e *AddressError) Hint() string {
	return "the sandbox is for tests and hands out tokens freely; listen on 127.0.0.1, or allow public addresses explicitly"
}

// Start starts both servers. They stop when ctx ends or at Close.
func Start(ctx context.Context, cfg Config) (*Sandbox, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.AuthAddr == "" {
		cfg.AuthAddr = "127.0.0.1:0"
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "sandbox-client"
	}
	if cfg.ClientSecret == "" {
		secret := make([]byte, 16)
		rand.Read(secret)
		cfg.ClientSecret = hex.EncodeToString(secret)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Claims == "" {
		cfg.Claims = people.InToken
	}
	if _, err := people.ParseDesign(string(cfg.Claims)); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	directory, err := hire(&cfg)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	apiListener, err := listen(ctx, cfg.Addr, cfg.AllowPublic)
	if err != nil {
		return nil, err
	}
	authListener, err := listen(ctx, cfg.AuthAddr, cfg.AllowPublic)
	if err != nil {
		return nil, errors.Join(err, apiListener.Close())
	}
	if cfg.AllowPublic {
		cfg.Logger.WarnContext(ctx, "the sandbox may listen beyond loopback; it is for tests only")
	}
	s := &Sandbox{cfg: cfg, apiURL: baseURL(apiListener), issuer: baseURL(authListener), people: directory, log: cfg.Logger}
	// What the servers start must end with Close and not before it, so that a
	// request under way is not torn apart by the context of whoever started us.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if err := s.startAuth(inner, authListener); err != nil {
		stop()
		return nil, errors.Join(err, apiListener.Close(), authListener.Close())
	}
	if err := s.startAPI(inner, apiListener); err != nil {
		return nil, errors.Join(err, apiListener.Close(), s.Close())
	}
	go func() {
		select {
		case <-ctx.Done():
			if err := s.Close(); err != nil {
				s.log.WarnContext(ctx, "sandbox closed", "err", err)
			}
		case <-inner.Done():
		}
	}()
	return s, nil
}

// hire gives everybody at ExampleCo a password, which cfg has afterwards.
func hire(cfg *Config) (*people.Directory, error) {
	staff := people.ExampleCo()
	passwords := maps.Clone(cfg.Passwords)
	if passwords == nil {
		passwords = make(map[string]string)
	}
	for _, p := range staff {
		if passwords[p.Username] == "" {
			passwords[p.Username] = rand.Text()
		}
	}
	cfg.Passwords = passwords
	return people.New(staff, passwords)
}

func (s *Sandbox) startAuth(ctx context.Context, l net.Listener) error {
	var err error
	s.auth, err = authserver.New(authserver.Config{
		Issuer:   s.issuer,
		Audience: s.Audience(),
		Clients: []authserver.Client{
			{
				ID: s.cfg.ClientID, Secret: s.cfg.ClientSecret,
				Scopes: []string{authserver.ScopeUpload, authserver.ScopeRead, authserver.ScopeDelete},
			},
			{ID: NoScopeClient, Secret: s.cfg.ClientSecret, Scopes: []string{authserver.ScopeRead}},
		},
		TokenTTL: s.cfg.TokenTTL, SigningAlg: s.cfg.SigningAlg, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.inject = &injector{seed: s.cfg.Seed, done: ctx.Done(), revoke: s.auth.RevokeAll, rotate: s.auth.RotateKeys, log: s.log}
	s.inject.set(s.cfg.Faults, s.cfg.Latency)
	s.serve(l, s.authHandler())
	return nil
}

// startAPI comes second: the API fetches the issuer's keys as it starts.
func (s *Sandbox) startAPI(ctx context.Context, l net.Listener) error {
	var err error
	s.api, err = timesheets.New(ctx, timesheets.Config{
		Issuer: s.issuer, Audience: s.Audience(), JWKSURL: s.auth.JWKSURL(),
		DB: s.cfg.DB, Revoked: s.auth.Revoked, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.serve(l, s.apiHandler())
	return nil
}

func (s *Sandbox) serve(l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("sandbox stopped serving", "addr", l.Addr().String(), "err", err)
		}
	})
}

// listen opens a listener, on loopback unless public is allowed.
func listen(ctx context.Context, addr string, public bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: listen: %w", err)
	}
	if ip := net.ParseIP(host); !public && host != "localhost" && !ip.IsLoopback() {
		return nil, &AddressError{Addr: addr}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return l, nil
}

// baseURL is how clients on this machine reach a listener.
func baseURL(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "http://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Close stops both servers at once, without waiting for requests under way, and
// drops commits that are still to come late. It may be called more than once.
func (s *Sandbox) Close() error {
	s.closing.Do(func() {
		s.stop()
		var errs []error
		for _, srv := range s.servers {
			errs = append(errs, srv.Close())
		}
		s.serving.Wait()
		if s.api != nil {
			errs = append(errs, s.api.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// APIURL is api.url for this sandbox.
func (s *Sandbox) APIURL() string { return s.apiURL }

// Issuer is auth.issuer for this sandbox.
func (s *Sandbox) Issuer() string { return s.issuer }

// Audience is auth.audience for this sandbox.
func (s *Sandbox) Audience() string { return s.apiURL + "/api" }

// ClientID is the id of the machine client.
func (s *Sandbox) ClientID() string { return s.cfg.ClientID }

// ClientSecret is the secret of the machine client.
func (s *Sandbox) ClientSecret() string { return s.cfg.ClientSecret }

// People are who can log in.
func (s *Sandbox) People() []people.Person { return s.people.All() }

// Password is what this person logs in with; empty for who is not there.
func (s *Sandbox) Password(username string) string { return s.cfg.Passwords[username] }

// SetFaults replaces the faults and the latency; requests count anew.
func (s *Sandbox) SetFaults(faults []Fault, latency time.Duration) { s.inject.set(faults, latency) }

// ConfigBlock is the part of a configuration file that speaks to this sandbox.
// The secret is not in it, but read from TSUPLOAD_CLIENT_SECRET.
func (s *Sandbox) ConfigBlock() string {
	return fmt.Sprintf(`api:
  url: %s
  supports: [batch, idempotency_key, read_back, update]
auth:
  issuer: %s
  audience: %s
  client_id: %s
  client_secret: {env: TSUPLOAD_CLIENT_SECRET}
`, s.APIURL(), s.Issuer(), s.Audience(), s.ClientID())
}
