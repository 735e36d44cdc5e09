// Package authserver is the sandbox's authorization server: OAuth 2.0 with
// discovery (RFC 8414 and OpenID Connect), JWKS and signed access tokens in the
// form of RFC 9068. Machines use client credentials; people log in and consent,
// by authorization code with PKCE or by the device grant, and their programs
// renew access with refresh tokens that rotate.
//
// The core of the protocol is luikyv/go-oidc. What that library leaves open or
// does differently from the servers our users meet is mended in front of it
// (shim.go), client authentication, introspection and revocation are ours. No
// type of the library leaves this package, so that it can be replaced.
//
// Invariants:
//   - Every token names exactly one audience, and a machine's token has a
//     subject ("client:ID") that no person can have.
//   - A token never carries a scope outside its client's allow-list, nor, for a
//     person, beyond the role and the consent; the answer always says which
//     scopes were granted.
//   - Client secrets, passwords, codes, refresh tokens and opaque tokens are kept
//     as hashes only.
//   - Codes work once; a code or refresh token that comes again revokes all that
//     it led to.
//
// It is a reference for tests and demonstrations, not a product: keys, clients
// and grants live in memory and end with the process.
package authserver

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Lifetimes that are no setting.
const (
	codeTTL    = time.Minute
	sessionTTL = 15 * time.Minute // a person in front of our pages
	loginTTL   = 8 * time.Hour
)

// Config is what a Server needs.
type Config struct {
	// Issuer is the server's own URL, without a path and a final slash.
	Issuer string
	// Audience is the one API that tokens are issued for.
	Audience string
	Clients  []Client
	// People can log in; nil means nobody.
	People *people.Directory
	// Claims is how a person's claims reach the API; the default is in the token.
	Claims people.Design
	// ClaimsURL and ClaimsToken are where and with which bearer token claims are
	// asked from the API, for people.ByReference: GET ClaimsURL?sub=SUBJECT
	// answers with people.Claims as JSON.
	ClaimsURL, ClaimsToken string
	// TokenTTL is the lifetime of access tokens; zero means an hour.
	TokenTTL time.Duration
	// RefreshTTL is how long a refresh token lasts without use; zero means 30
	// days. Each use begins it anew.
	RefreshTTL time.Duration
	// DeviceTTL is how long a device code lasts (zero means 10 minutes), and
	// DeviceInterval how long a device waits between questions (5 seconds).
	DeviceTTL, DeviceInterval time.Duration
	// SigningAlg is ES256 (the default, instant to start) or RS256.
	SigningAlg string
	Logger     *slog.Logger
}

func (c *Config) defaults() error {
	for d, def := range map[*time.Duration]time.Duration{
		&c.TokenTTL: time.Hour, &c.RefreshTTL: 30 * 24 * time.Hour, &c.DeviceTTL: 10 * time.Minute, &c.DeviceInterval: 5 * time.Second,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.SigningAlg == "" {
		c.SigningAlg = string(goidc.ES256)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Claims == "" {
		c.Claims = people.InToken
	}
	if c.People == nil {
		var err error
		if c.People, err = people.New(nil, nil); err != nil {
			return err
		}
	}
	switch {
	case c.Issuer == "" || c.Audience == "" || len(c.Clients) == 0:
		return errors.New("authserver: issuer, audience and at least one client are required")
	case c.Claims == people.ByReference && (c.ClaimsURL == "" || c.ClaimsToken == ""):
		return errors.New("authserver: claims by reference need the API's address and a token for it")
	}
	return nil
}

// Server is the authorization server. It is safe for concurrent use.
type Server struct {
	handler    http.Handler
	keys       *keyring
	clients    *clients
	people     *people.Directory
	store      *store
	assertions *assertions
	browsers   *browsers
	nobody     string // hash of a secret that nobody has
	cfg        Config // without clients
	log        *slog.Logger
	http       *http.Client

	turns [64]sync.Mutex // see turn

	// serial numbers the tokens.
	serial  atomic.Int64
	revoked atomic.Int64 // tokens up to this serial are revoked
	issued  atomic.Int64
}

// New returns a server for the clients of cfg, with a fresh signing key.
func New(cfg Config) (*Server, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	keys, err := newKeyring(goidc.SignatureAlgorithm(cfg.SigningAlg))
	if err != nil {
		return nil, err
	}
	registry, err := newClients(cfg.Clients)
	if err != nil {
		return nil, err
	}
	s := &Server{
		keys: keys, clients: registry, people: cfg.People, log: cfg.Logger,
		store:      newStore(cfg.DeviceTTL, cfg.DeviceInterval),
		assertions: newAssertions(cfg.Issuer),
		browsers:   newBrowsers(),
		http:       &http.Client{Timeout: claimsTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if s.nobody, err = hashSecret(rand.Text()); err != nil {
		return nil, err
	}
	var registered []*goidc.Client
	for _, c := range cfg.Clients {
		registered = append(registered, register(c))
	}
	cfg.Clients = nil
	s.cfg = cfg

	op, err := provider.New(cfg.Issuer, s.store, keys.set, s.options(registered)...)
	if err != nil {
		return nil, err
	}
	s.handler = s.shims(op.Handler())
	return s, nil
}

func (s *Server) options(registered []*goidc.Client) []provider.Option {
	var scopes []goidc.Scope
	for _, name := range allScopes() {
		scopes = append(scopes, goidc.NewScope(name))
	}
	return []provider.Option{
		provider.WithClientCredentialsGrant(),
		provider.WithAuthCodeGrant(s.store, goidc.ResponseTypeCode),
		provider.WithAuthCodeLifetime(int(codeTTL / time.Second)),
		provider.WithAuthSessionLifetime(int(sessionTTL / time.Second)),
		provider.WithRefreshTokenGrant(s.store),
		provider.WithRefreshTokenRotation(),
		provider.WithRefreshTokenLifetime(int(s.cfg.RefreshTTL / time.Second)),
		provider.WithRefreshTokenFunc(newRefreshToken),
		provider.WithRefreshTokenShouldIssue(mayRefresh),
		provider.WithDeviceGrant(s.store, notHere, s.deviceDone),
		provider.WithOpaqueTokens(s.store),
		provider.WithOpaqueTokenFunc(s.opaqueToken),
		provider.WithPKCERequired(goidc.CodeChallengeMethodSHA256),
		provider.WithIssuerResponseParameter(),
		provider.WithPolicies(goidc.NewPolicy("person", func(*http.Request, *goidc.AuthnSession, *goidc.Client) bool { return true }, s.interact)),
		provider.WithErrorRenderer(s.renderError),

		provider.WithSecretBasicAuthn(),
		provider.WithClientSecretVerifier(vouched),
		provider.WithStaticClients(registered[0], registered[1:]...),
		provider.WithScopes(scopes...),
		provider.WithResourceIndicatorsRequired(s.cfg.Audience),
		provider.WithIDTokenSignatureAlgs(s.keys.alg),
		provider.WithIDTokenClaims(s.idTokenClaims),
		provider.WithTokenOptions(s.tokenOptions),
		provider.WithJWTIDFunc(s.tokenID),
		provider.WithGrantHandler(s.grantHandler),
		provider.WithTokenClaims(s.claims),
		provider.WithTokenHandler(s.tokenIssued),
		// Assertions are checked in front of the library; this only keeps it from
		// warning that nobody does.
		provider.WithJTIConsumer(func(context.Context, string) error { return errors.New("not in use") }),
		provider.WithErrorHandler(func(ctx context.Context, err error) {
			s.log.DebugContext(ctx, "authorization server refused a request", "err", err)
		}),
	}
}

// ServeHTTP answers the OAuth endpoints and the pages for people.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// JWKSURL is where the signing keys are published.
func (s *Server) JWKSURL() string { return s.cfg.Issuer + KeysPath }

// IntrospectionURL is where a resource server asks about a token (RFC 7662).
func (s *Server) IntrospectionURL() string { return s.cfg.Issuer + IntrospectionPath }

// Issued is the number of access tokens issued so far.
func (s *Server) Issued() int64 { return s.issued.Load() }

// RotateKeys makes a new key the signing key. The one before stays published,
// so that tokens signed with it keep working; older ones are withdrawn.
func (s *Server) RotateKeys() error { return s.keys.rotate() }

// RevokeAll revokes every access token issued so far.
func (s *Server) RevokeAll() { s.revoked.Store(s.serial.Load()) }

// RevokeGrants revokes what people granted so far: their refresh tokens, and the
// access tokens that came of them.
func (s *Server) RevokeGrants() { s.store.revokeAllGrants() }

// Revoked tells whether the access token with this jti, of the token or of its
// introspection, has been revoked, alone or with its grant or with all.
func (s *Server) Revoked(jti string) bool {
	if n := serialOf(jti); n > 0 && n <= s.revoked.Load() {
		return true
	}
	rec, ok := s.store.token(jti)
	if !ok {
		rec, ok = s.store.token(digestPrefix + jti)
	}
	return ok && (rec.revoked || rec.serial <= s.revoked.Load())
}

// AddSecret gives a client another secret; a zero expires is never. Those before
// it work for keep longer, at most one of them, so that a secret can be replaced
// without a gap.
func (s *Server) AddSecret(clientID string, secret Secret, keep time.Duration) error {
	return s.clients.add(clientID, secret, time.Now().Add(keep))
}

// Orders changes how one token request is answered; the sandbox's faults give
// them. The zero value changes nothing.
type Orders struct {
	// Lifetime replaces the configured lifetime of the token.
	Lifetime time.Duration
	// Skew is how far the server's clock is ahead of the true time.
	Skew time.Duration
	// WithoutScope is never granted, unless nothing else is left.
	WithoutScope []string
}

type ordersKey struct{}

// WithOrders returns a context whose token request is answered by o.
func WithOrders(ctx context.Context, o Orders) context.Context {
	return context.WithValue(ctx, ordersKey{}, o)
}

func ordersFrom(ctx context.Context) Orders {
	o, _ := ctx.Value(ordersKey{}).(Orders)
	return o
}
