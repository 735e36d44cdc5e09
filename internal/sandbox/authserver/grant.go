package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// claimsKey is where a grant keeps the claims that the API gave.
const claimsKey = "claims"

// machineSubject is the subject of tokens that a client got for itself.
func machineSubject(clientID string) string { return "client:" + clientID }

func isMachine(g *goidc.Grant) bool { return g.Subject == g.ClientID }

// grantHandler decides what is granted, before the library keeps it.
func (s *Server) grantHandler(ctx context.Context, typ goidc.GrantType, grant *goidc.Grant) error {
	if isMachine(grant) {
		return s.limitMachine(ctx, grant)
	}
	if typ != goidc.GrantRefreshToken {
		return nil // was bounded when the person consented
	}
	// The role may be another one by now.
	p, ok := s.people.BySubject(grant.Subject)
	c, known := s.clients.get(grant.ClientID)
	if !ok || !known {
		return goidc.NewError(goidc.ErrorCodeInvalidGrant, "the person or the client is gone")
	}
	may, _ := bound(grant.Scopes, c, p)
	if len(may) == 0 {
		return goidc.NewError(goidc.ErrorCodeInvalidGrant, "nothing is left of what was granted")
	}
	grant.Scopes = strings.Join(may, " ")
	if s.cfg.Claims == people.ByReference {
		claims, err := s.askClaims(ctx, grant.Subject)
		if err != nil {
			s.log.WarnContext(ctx, "claims not had from the API", "err", err)
			return goidc.NewError("temporarily_unavailable", "the API does not say what the person may do").
				WithStatusCode(http.StatusServiceUnavailable)
		}
		if grant.Store == nil {
			grant.Store = make(map[string]any)
		}
		grant.Store[claimsKey] = claims
	}
	return nil
}

// limitMachine grants what was asked for and is allowed. A client that asks for
// nothing, or for nothing it may have, is granted all it may have: Auth0 does
// the former, and the latter keeps a lesser grant visible in the answer, where
// an empty one would be left out and so mean "as requested" (RFC 6749 5.1).
func (s *Server) limitMachine(ctx context.Context, grant *goidc.Grant) error {
	c, _ := s.clients.get(grant.ClientID)
	allowed := slices.DeleteFunc(slices.Clone(c.Scopes), func(scope string) bool {
		return slices.Contains(ordersFrom(ctx).WithoutScope, scope)
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

// remove takes names out of a list of scopes, but never the last one.
func remove(scopes string, names []string) string {
	left := slices.DeleteFunc(strings.Fields(scopes), func(s string) bool { return slices.Contains(names, s) })
	if len(left) == 0 {
		return scopes
	}
	return strings.Join(left, " ")
}

// tokenOptions chooses the form of a token.
func (s *Server) tokenOptions(ctx context.Context, grant *goidc.Grant, _ *goidc.Client) goidc.TokenOptions {
	ttl := s.cfg.TokenTTL
	if o := ordersFrom(ctx); o.Lifetime > 0 {
		ttl = o.Lifetime
	}
	if s.cfg.Claims == people.ByReference && !isMachine(grant) {
		return goidc.NewOpaqueTokenOptions(int(ttl / time.Second))
	}
	return goidc.NewJWTTokenOptions(s.keys.alg, int(ttl/time.Second))
}

// tokenIssued remembers an access token, so that it can be revoked.
func (s *Server) tokenIssued(_ context.Context, token *goidc.Token, _ *goidc.Grant) error {
	s.issued.Add(1)
	id := token.ID
	if token.Format == goidc.TokenFormatOpaque {
		id = digest(token.ID)
	}
	s.store.noteToken(id, issued{
		grant: token.GrantID, client: token.ClientID, serial: serialOf(token.ID), expires: time.Unix(int64(token.ExpiresAt), 0),
	})
	return nil
}

// claims are added to, and win over, those of the library.
func (s *Server) claims(ctx context.Context, token *goidc.Token, grant *goidc.Grant) map[string]any {
	claims := make(map[string]any)
	if isMachine(grant) {
		// RFC 9700 4.15: a client must not be able to pass for a person.
		claims[goidc.ClaimSubject] = machineSubject(grant.ClientID)
	} else if c, ok := s.claimsOf(grant); ok {
		claims["user_id"], claims["user_type"], claims["role"], claims["regions"] = c.UserID, c.UserType, c.Role, c.Regions
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

// claimsOf is the claims that go with a person's token; none where the API looks
// them up itself.
func (s *Server) claimsOf(grant *goidc.Grant) (people.Claims, bool) {
	switch s.cfg.Claims {
	case people.InToken:
		p, ok := s.people.BySubject(grant.Subject)
		return p.Claims(), ok
	case people.ByReference:
		c, ok := grant.Store[claimsKey].(people.Claims)
		return c, ok
	default:
		return people.Claims{}, false
	}
}

// idTokenClaims say who the person is.
func (s *Server) idTokenClaims(_ context.Context, grant *goidc.Grant) map[string]any {
	p, ok := s.people.BySubject(grant.Subject)
	if !ok {
		return nil
	}
	return map[string]any{goidc.ClaimName: p.Name, goidc.ClaimPreferredUsername: p.Username, goidc.ClaimAuthTime: grant.Store[authTimeKey]}
}

// mayRefresh tells whether a grant comes with a refresh token: not where it was
// asked for by name and refused.
func mayRefresh(_ context.Context, _ *goidc.Client, grant *goidc.Grant) bool {
	asked := slices.Contains(strings.Fields(grant.AuthParams.Scopes), ScopeOffline)
	return !asked || slices.Contains(strings.Fields(grant.Scopes), ScopeOffline)
}

// tokenID is a jti. It begins with the serial number, so that "all tokens so
// far" is one number and not a list.
func (s *Server) tokenID(context.Context) string {
	return strconv.FormatInt(s.serial.Add(1), 10) + "." + randomHex(12)
}

// opaqueToken is a reference token, which begins with its serial number too.
func (s *Server) opaqueToken(context.Context, *goidc.Grant) string {
	return strconv.FormatInt(s.serial.Add(1), 10) + "_" + randomHex(24)
}

// serialOf reads the number back; 0 where there is none.
func serialOf(id string) int64 {
	end := strings.IndexAny(id, "._")
	n, err := strconv.ParseInt(id[:max(end, 0)], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
