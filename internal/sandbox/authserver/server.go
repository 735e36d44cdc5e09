// Package authserver is the sandbox's authorization server: OAuth 2.0 with
// discovery (RFC 8414 and OpenID Connect), JWKS and signed access tokens in the
// form of RFC 9068. The protocol is luikyv/go-oidc; what that library leaves
// open or does differently from the servers our users meet is mended in front
// of it, in shim.go. No type of the library leaves this package, so that it can
// be replaced.
//
// Invariants:
//   - Every token names exactly one audience, and a machine's token has a
//     subject ("client:ID") that no person can have.
//   - A token never carries a scope outside its client's allow-list, and the
//     answer always says which scopes were granted.
//   - Client secrets are kept as salted hashes only.
//
// It is a reference for tests and demonstrations, not a product: keys and
// clients live in memory and end with the process.
package authserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"
)

// Scopes that the sandbox's API knows.
const (
	ScopeUpload  = "batch:upload"
	ScopeRead    = "read:timesheets"
	ScopeCreate  = "create:timesheets"
	ScopeDelete  = "delete:timesheets"
	ScopeApprove = "approve:timesheets"
)

// Client is a registered client of the server.
type Client struct {
	ID     string
	Secret string
	// Scopes is the allow-list: what the client can be granted at most.
	Scopes []string
}

// Config is what a Server needs.
type Config struct {
	// Issuer is the server's own URL, without a path and a final slash.
	Issuer string
	// Audience is the one API that tokens are issued for.
	Audience string
	Clients  []Client
	// TokenTTL is the lifetime of access tokens; zero means an hour.
	TokenTTL time.Duration
	// SigningAlg is ES256 (the default, instant to start) or RS256.
	SigningAlg string
	Logger     *slog.Logger
}

// Server is the authorization server. It is safe for concurrent use.
type Server struct {
	handler http.Handler
	keys    *keyring
	clients map[string]Client // without secrets
	cfg     Config
	log     *slog.Logger

	// serial numbers the tokens; every jti begins with it, so that "all tokens
	// so far" is one number and not a list.
	serial  atomic.Int64
	revoked atomic.Int64 // tokens up to this serial are revoked
	issued  atomic.Int64
}

// New returns a server for the clients of cfg, with a fresh signing key.
func New(cfg Config) (*Server, error) {
	if cfg.TokenTTL <= 0 {
		cfg.TokenTTL = time.Hour
	}
	if cfg.SigningAlg == "" {
		cfg.SigningAlg = string(goidc.ES256)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Issuer == "" || cfg.Audience == "" || len(cfg.Clients) == 0 {
		return nil, errors.New("authserver: issuer, audience and at least one client are required")
	}
	keys, err := newKeyring(goidc.SignatureAlgorithm(cfg.SigningAlg))
	if err != nil {
		return nil, err
	}
	s := &Server{keys: keys, cfg: cfg, log: cfg.Logger, clients: make(map[string]Client)}

	var registered []*goidc.Client
	for _, c := range cfg.Clients {
		hash, err := hashSecret(c.Secret)
		if err != nil {
			return nil, err
		}
		registered = append(registered, register(c.ID, hash))
		c.Secret = ""
		s.clients[c.ID] = c
	}
	s.cfg.Clients = nil

	alg := goidc.SignatureAlgorithm(cfg.SigningAlg)
	op, err := provider.New(cfg.Issuer, newGrants(), keys.set,
		provider.WithClientCredentialsGrant(),
		provider.WithSecretBasicAuthn(),
		provider.WithSecretPostAuthn(),
		provider.WithClientSecretVerifier(verifySecret),
		provider.WithStaticClients(registered[0], registered[1:]...),
		provider.WithScopes(
			goidc.NewScope(ScopeUpload), goidc.NewScope(ScopeRead), goidc.NewScope(ScopeCreate),
			goidc.NewScope(ScopeDelete), goidc.NewScope(ScopeApprove)),
		provider.WithResourceIndicatorsRequired(cfg.Audience),
		provider.WithIDTokenSignatureAlgs(alg),
		provider.WithTokenOptions(func(ctx context.Context, _ *goidc.Grant, _ *goidc.Client) goidc.TokenOptions {
			ttl := cfg.TokenTTL
			if o := ordersFrom(ctx); o.Lifetime > 0 {
				ttl = o.Lifetime
			}
			return goidc.NewJWTTokenOptions(alg, int(ttl/time.Second))
		}),
		provider.WithJWTIDFunc(func(context.Context) string {
			return strconv.FormatInt(s.serial.Add(1), 10) + "." + randomHex(12)
		}),
		provider.WithGrantHandler(s.limitScopes),
		provider.WithTokenClaims(s.claims),
		provider.WithTokenHandler(func(context.Context, *goidc.Token, *goidc.Grant) error {
			s.issued.Add(1)
			return nil
		}),
		provider.WithJTIConsumer(newOnce().consume),
		provider.WithErrorHandler(func(ctx context.Context, err error) {
			s.log.DebugContext(ctx, "authorization server refused a request", "err", err)
		}),
	)
	if err != nil {
		return nil, err
	}
	s.handler = s.shims(op.Handler())
	return s, nil
}

// ServeHTTP answers the OAuth endpoints.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// TokenPath is the path of the token endpoint.
const TokenPath = "/token"

// JWKSURL is where the signing keys are published.
func (s *Server) JWKSURL() string { return s.cfg.Issuer + "/jwks" }

// Issued is the number of access tokens issued so far.
func (s *Server) Issued() int64 { return s.issued.Load() }

// RotateKeys makes a new key the signing key. The one before stays published,
// so that tokens signed with it keep working; older ones are withdrawn.
func (s *Server) RotateKeys() error { return s.keys.rotate() }

// RevokeAll revokes every access token issued so far.
func (s *Server) RevokeAll() { s.revoked.Store(s.serial.Load()) }

// Revoked tells whether the access token with this jti has been revoked.
func (s *Server) Revoked(jti string) bool {
	head, _, _ := strings.Cut(jti, ".")
	n, err := strconv.ParseInt(head, 10, 64)
	return err == nil && n <= s.revoked.Load()
}

// Orders changes how one token request is answered; the sandbox's faults give
// them. The zero value changes nothing.
type Orders struct {
	// Lifetime replaces the configured lifetime of the token.
	Lifetime time.Duration
	// Skew is how far the server's clock is ahead of the true time.
	Skew time.Duration
	// WithoutScope is never granted.
	WithoutScope string
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
