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
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/page"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/timesheets"
)

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
	// sandbox-client and a random secret. The secret ends after SecretTTL; zero
	// means 90 days.
	ClientID, ClientSecret string
	SecretTTL              time.Duration
	// ClientKeys are public keys of the machine, which may then sign assertions
	// (private_key_jwt) instead of showing its secret.
	ClientKeys []crypto.PublicKey
	// RefreshTTL is how long a refresh token lasts without use; zero means 30
	// days.
	RefreshTTL time.Duration
	// DeviceTTL is how long a device waits for a person (zero means 10 minutes),
	// and DeviceInterval how long between its questions (5 seconds).
	DeviceTTL, DeviceInterval time.Duration
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
	page   *page.Page
	inject *injector
	people *people.Directory
	log    *slog.Logger

	// What the two servers show each other, and the page of the API to the
	// authorization server.
	internal, apiSecret, webSecret string

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
		cfg.ClientSecret = rand.Text()
	}
	if cfg.SecretTTL <= 0 {
		cfg.SecretTTL = 90 * 24 * time.Hour
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
	s := &Sandbox{
		cfg: cfg, apiURL: baseURL(apiListener), issuer: baseURL(authListener), people: directory, log: cfg.Logger,
		internal: rand.Text(), apiSecret: rand.Text(), webSecret: rand.Text(),
	}
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

func (s *Sandbox) startAuth(ctx context.Context, l net.Listener) error {
	var err error
	s.auth, err = authserver.New(authserver.Config{
		Issuer: s.issuer, Audience: s.Audience(), Clients: s.clients(),
		People: s.people, Claims: s.cfg.Claims, ClaimsURL: s.apiURL + timesheets.InternalClaimsPath, ClaimsToken: s.internal,
		TokenTTL: s.cfg.TokenTTL, RefreshTTL: s.cfg.RefreshTTL, DeviceTTL: s.cfg.DeviceTTL, DeviceInterval: s.cfg.DeviceInterval,
		SigningAlg: s.cfg.SigningAlg, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.inject = &injector{
		seed: s.cfg.Seed, done: ctx.Done(), log: s.log,
		revoke: s.auth.RevokeAll, revokeGrants: s.auth.RevokeGrants, rotate: s.auth.RotateKeys,
	}
	s.inject.set(s.cfg.Faults, s.cfg.Latency)
	s.serve(l, s.authHandler())
	return nil
}

// startAPI comes second: the API fetches the issuer's keys as it starts.
func (s *Sandbox) startAPI(ctx context.Context, l net.Listener) error {
	var err error
	s.page, err = page.New(page.Config{
		URL: s.apiURL, Issuer: s.issuer, Audience: s.Audience(), ClientID: WebClient, ClientSecret: s.webSecret, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.api, err = timesheets.New(ctx, timesheets.Config{
		Issuer: s.issuer, Audience: s.Audience(), JWKSURL: s.auth.JWKSURL(),
		Claims: s.cfg.Claims, People: s.people, Credential: s.internal,
		Introspection: timesheets.Introspection{URL: s.auth.IntrospectionURL(), ClientID: APIClient, ClientSecret: s.apiSecret},
		DB:            s.cfg.DB, Revoked: s.auth.Revoked, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.serve(l, s.apiHandler())
	return nil
}

func (s *Sandbox) serve(l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           timed(h),
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
		if s.page != nil {
			s.page.Close()
		}
		if s.api != nil {
			errs = append(errs, s.api.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// APIURL is api.url for this sandbox.
func (s *Sandbox) APIURL() string { return s.apiURL }

// PageURL is where a person can see the scenario work.
func (s *Sandbox) PageURL() string { return s.apiURL + page.Path }

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

// PersonConfigBlock is like ConfigBlock for who uploads as a person, after
// logging in.
func (s *Sandbox) PersonConfigBlock() string {
	return fmt.Sprintf(`api:
  url: %s
auth:
  as: person
  issuer: %s
  audience: %s
  client_id: %s
`, s.APIURL(), s.Issuer(), s.Audience(), CLIClient)
}
