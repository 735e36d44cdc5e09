package authserver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// limitScopes grants what was asked for and is allowed. A client that asks for
// nothing, or for nothing it may have, is granted all it may have: Auth0 does
// the former, and the latter keeps a lesser grant visible in the answer, where
// an empty one would be left out and so mean "as requested" (RFC 6749 5.1).
func (s *Server) limitScopes(ctx context.Context, _ goidc.GrantType, grant *goidc.Grant) error {
	allowed := slices.DeleteFunc(slices.Clone(s.clients[grant.ClientID].Scopes), func(scope string) bool {
		return scope == ordersFrom(ctx).WithoutScope
	})
	if len(allowed) == 0 {
		return goidc.WrapError(goidc.ErrorCodeInvalidScope, "invalid scope", errors.New("the client may be granted no scope"))
	}
	granted := slices.DeleteFunc(strings.Fields(grant.Scopes), func(scope string) bool {
		return !slices.Contains(allowed, scope)
	})
	if len(granted) == 0 {
		granted = allowed
	}
	grant.Scopes = strings.Join(granted, " ")
	return nil
}

// claims are added to, and win over, those of the library.
func (s *Server) claims(ctx context.Context, token *goidc.Token, grant *goidc.Grant) map[string]any {
	claims := make(map[string]any)
	if grant.Subject == grant.ClientID {
		// RFC 9700 4.15: a client must not be able to pass for a person.
		claims[goidc.ClaimSubject] = MachineSubject(grant.ClientID)
	}
	if len(token.Resources) == 1 {
		claims[goidc.ClaimAudience] = token.Resources[0]
	}
	if skew := int(ordersFrom(ctx).Skew.Seconds()); skew != 0 {
		claims[goidc.ClaimIssuedAt] = token.CreatedAt + skew
		claims[goidc.ClaimExpiry] = token.ExpiresAt + skew
	}
	return claims
}

// MachineSubject is the subject of tokens that a client got for itself.
func MachineSubject(clientID string) string { return "client:" + clientID }

// grants keeps the grants of people. A machine's grant ends with its answer and
// is not kept: nothing ever asks for it, and the library's own map would scan
// itself for the oldest once it is full.
type grants struct {
	mu sync.Mutex
	m  map[string]*goidc.Grant
}

func newGrants() *grants { return &grants{m: make(map[string]*goidc.Grant)} }

// SaveGrant implements goidc.GrantManager.
func (g *grants) SaveGrant(_ context.Context, grant *goidc.Grant) error {
	if grant.Subject == grant.ClientID {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m[grant.ID] = grant
	return nil
}

// Grant implements goidc.GrantManager.
func (g *grants) Grant(_ context.Context, id string) (*goidc.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if grant, ok := g.m[id]; ok {
		return grant, nil
	}
	return nil, goidc.ErrNotFound
}

// once remembers the ids of assertions, so that each is used at most once.
type once struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newOnce() *once { return &once{seen: make(map[string]bool)} }

func (o *once) consume(_ context.Context, jti string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[jti] {
		return errors.New("jti was used before")
	}
	o.seen[jti] = true
	return nil
}
