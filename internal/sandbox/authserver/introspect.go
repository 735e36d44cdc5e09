package authserver

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/luikyv/go-oidc/pkg/goidc"
)

// introspect is RFC 7662, for resource servers. Refresh tokens are none of their
// business and inactive.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request, c Client) {
	if !c.Introspects {
		(&refusal{http.StatusForbidden, "access_denied", "the client is no resource server"}).write(w, r)
		return
	}
	token := r.PostForm.Get("token")
	if token == "" {
		badRequest("token is missing").write(w, r)
		return
	}
	answer := s.about(r, token)
	if answer == nil {
		answer = map[string]any{}
	}
	answer["active"] = len(answer) > 0
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// about is what there is to say of an access token that is good; nil for any
// other.
func (s *Server) about(r *http.Request, token string) map[string]any {
	id, claims := s.read(token)
	rec, ok := s.store.token(id)
	if !ok || rec.revoked || rec.serial <= s.revoked.Load() {
		return nil
	}
	if rec.opaque != nil {
		t := rec.opaque
		if time.Now().Unix() >= int64(t.ExpiresAt) {
			return nil
		}
		grant, err := s.store.Grant(r.Context(), t.GrantID)
		if err != nil {
			return nil
		}
		claims = map[string]any{
			"iss": s.cfg.Issuer, "sub": grant.Subject, "client_id": t.ClientID, "scope": t.Scopes,
			"iat": t.CreatedAt, "exp": t.ExpiresAt, "jti": strings.TrimPrefix(id, digestPrefix),
		}
		maps.Copy(claims, s.claims(r.Context(), t, grant))
	}
	if claims == nil {
		return nil
	}
	claims["token_type"] = string(goidc.TokenTypeBearer)
	if sub, _ := claims["sub"].(string); sub != "" {
		if p, ok := s.people.BySubject(sub); ok {
			claims["username"] = p.Username
		}
	}
	return claims
}

// read tells under which id an access token is known. For a signed one it
// returns its claims too, after checking signature and time.
func (s *Server) read(token string) (id string, claims jwt.MapClaims) {
	if strings.Count(token, ".") != 2 {
		return digest(token), nil
	}
	parsed, err := jwt.NewParser(
		jwt.WithValidMethods([]string{string(s.keys.alg)}), jwt.WithIssuer(s.cfg.Issuer), jwt.WithExpirationRequired(),
	).Parse(token, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if typ, _ := t.Header["typ"].(string); typ != "at+jwt" {
			return nil, errors.New("no access token")
		}
		key, ok := s.keys.public(kid)
		if !ok {
			return nil, errors.New("no such key")
		}
		return key, nil
	})
	if err != nil {
		return "", nil
	}
	claims, _ = parsed.Claims.(jwt.MapClaims)
	id, _ = claims["jti"].(string)
	return id, claims
}

// revoke is RFC 7009. A refresh token takes its whole grant along; an access
// token goes alone. What nobody knows is as good as revoked.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request, c Client) {
	token := r.PostForm.Get("token")
	if token == "" {
		badRequest("token is missing").write(w, r)
		return
	}
	defer s.turn(token)()
	found, mine := s.store.revokeRefresh(token, c.ID)
	if !found {
		if id, _ := s.read(token); id != "" {
			found, mine = s.store.revokeToken(id, c.ID)
		}
	}
	if found && !mine {
		(&refusal{http.StatusBadRequest, "invalid_grant", "the token was issued to another client"}).write(w, r)
		return
	}
	w.WriteHeader(http.StatusOK)
}
