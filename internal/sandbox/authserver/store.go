package authserver

import (
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// store keeps what is under way and what was granted: sessions of people in
// front of our pages, grants, and the tokens that came of them. Of codes and
// tokens it has digests only.
//
// The library loads, changes and saves without a transaction, so everything is
// copied on the way in and out, and requests that redeem the same thing take
// turns (see Server.turn). A machine's grant ends with its answer and is not
// kept.
type store struct {
	deviceTTL, deviceInterval time.Duration

	mu       sync.Mutex
	sessions map[string]*session // by id
	devices  map[string]string   // digest of the device code -> session
	grants   map[string]*goidc.Grant
	codes    map[string]string // digest of an authorization or device code -> grant
	refresh  map[string]string // digest of a refresh token in force -> grant
	spent    map[string]string // digest of a refresh token that was used -> grant
	tokens   map[string]*issued
	swept    time.Time
}

// session is an authorization request whose person has not decided yet.
type session struct {
	goidc.AuthnSession
	// For a device: when it asked last, and how long it has to wait.
	polled   time.Time
	interval time.Duration
}

// issued is an access token.
type issued struct {
	grant, client string
	serial        int64
	expires       time.Time
	revoked       bool
	opaque        *goidc.Token // with a digest for its ID
}

func newStore(deviceTTL, deviceInterval time.Duration) *store {
	return &store{
		deviceTTL: deviceTTL, deviceInterval: deviceInterval,
		sessions: make(map[string]*session), devices: make(map[string]string),
		grants: make(map[string]*goidc.Grant), codes: make(map[string]string),
		refresh: make(map[string]string), spent: make(map[string]string), tokens: make(map[string]*issued),
	}
}

// SaveSession implements goidc.AuthManager and goidc.DeviceAuthManager.
func (s *store) SaveSession(_ context.Context, as *goidc.AuthnSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	old, known := s.sessions[as.ID]
	if !known && as.DeviceCode != "" {
		// The library has no option for it.
		as.ExpiresAt = int(time.Now().Add(s.deviceTTL).Unix())
	}
	n := &session{AuthnSession: *as, interval: s.deviceInterval}
	if known {
		n.polled, n.interval = old.polled, old.interval
	}
	n.Store = maps.Clone(as.Store)
	n.DeviceCode = digestOnce(as.DeviceCode)
	s.sessions[as.ID] = n
	if n.DeviceCode != "" {
		s.devices[n.DeviceCode] = as.ID
	}
	return nil
}

// Session implements goidc.AuthManager and goidc.DeviceAuthManager. One that was
// decided is not found: nobody decides twice.
func (s *store) Session(_ context.Context, id string) (*goidc.AuthnSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id].pending()
}

func (n *session) pending() (*goidc.AuthnSession, error) {
	if n == nil || n.Status != goidc.StatusPending {
		return nil, goidc.ErrNotFound
	}
	return n.copied(), nil
}

func (n *session) copied() *goidc.AuthnSession {
	as := n.AuthnSession
	as.Store = maps.Clone(n.Store)
	return &as
}

// SessionByUserCode implements goidc.DeviceAuthManager.
func (s *store) SessionByUserCode(_ context.Context, code string) (*goidc.AuthnSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sessions {
		if n.UserCode != "" && n.UserCode == code && time.Now().Unix() < int64(n.ExpiresAt) {
			return n.pending()
		}
	}
	return nil, goidc.ErrNotFound
}

// SessionByDeviceCode implements goidc.DeviceAuthManager. The library asks it
// when no grant is found; one that had a grant, which is gone, is not pending.
func (s *store) SessionByDeviceCode(_ context.Context, code string) (*goidc.AuthnSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.sessions[s.devices[digest(code)]]
	if !ok || n.Status == goidc.StatusSuccess {
		return nil, goidc.ErrNotFound
	}
	return n.copied(), nil
}

// polledTooSoon notes that a device asks, and tells whether it did before its
// interval was over; then that grows by five seconds for good (RFC 8628 3.5).
func (s *store) polledTooSoon(code, client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.sessions[s.devices[digest(code)]]
	if !ok || n.ClientID != client {
		return false
	}
	now := time.Now()
	soon := !n.polled.IsZero() && now.Sub(n.polled) < n.interval
	n.polled = now
	if soon {
		n.interval += 5 * time.Second
	}
	return soon
}

// SaveGrant implements goidc.GrantManager.
func (s *store) SaveGrant(ctx context.Context, grant *goidc.Grant) error {
	if grant.Subject == grant.ClientID {
		return nil
	}
	if without := ordersFrom(ctx).WithoutScope; len(without) > 0 {
		grant.Scopes = remove(grant.Scopes, without)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	g := *grant
	g.Store = maps.Clone(grant.Store)
	g.AuthCode, g.DeviceCode, g.RefreshToken = digestOnce(g.AuthCode), digestOnce(g.DeviceCode), digestOnce(g.RefreshToken)
	old := s.grants[g.ID]
	if old != nil && g.RefreshToken == "" {
		g.RefreshToken = old.RefreshToken
	}
	if old != nil && old.RefreshToken != "" && old.RefreshToken != g.RefreshToken {
		delete(s.refresh, old.RefreshToken)
		s.spent[old.RefreshToken] = g.ID
	}
	s.grants[g.ID] = &g
	for _, code := range []string{g.AuthCode, g.DeviceCode} {
		if code != "" {
			s.codes[code] = g.ID
		}
	}
	if g.RefreshToken != "" {
		s.refresh[g.RefreshToken] = g.ID
	}
	if g.RevokedAt != 0 {
		s.revokeTokensOf(g.ID)
	}
	return nil
}

// Grant implements goidc.GrantManager.
func (s *store) Grant(_ context.Context, id string) (*goidc.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(id)
}

// grant returns a copy, without its refresh token: saving it again keeps the
// one there is.
func (s *store) grant(id string) (*goidc.Grant, error) {
	found, ok := s.grants[id]
	if !ok || found.RevokedAt != 0 {
		return nil, goidc.ErrNotFound
	}
	g := *found
	g.Store = maps.Clone(found.Store)
	g.RefreshToken = ""
	return &g, nil
}

// GrantByAuthCode implements goidc.AuthManager.
func (s *store) GrantByAuthCode(ctx context.Context, code string) (*goidc.Grant, error) {
	return s.grantByCode(ctx, code)
}

// GrantByDeviceCode implements goidc.DeviceAuthManager.
func (s *store) GrantByDeviceCode(ctx context.Context, code string) (*goidc.Grant, error) {
	return s.grantByCode(ctx, code)
}

// grantByCode returns the grant with a refresh token that was never seen before,
// where it has one: the library made one when the person consented, long before
// the client comes for it, and that one is not kept but its digest.
func (s *store) grantByCode(ctx context.Context, code string) (*goidc.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.grant(s.codes[digest(code)])
	if err != nil {
		return nil, err
	}
	if s.grants[g.ID].RefreshToken != "" && g.AuthCodeConsumedAt == 0 && g.DeviceCodeConsumedAt == 0 {
		g.RefreshToken = newRefreshToken(ctx)
	}
	return g, nil
}

func newRefreshToken(context.Context) string { return "rt_" + rand.Text() + rand.Text() }

// GrantByRefreshToken implements goidc.RefreshTokenManager. A token that was
// used before has leaked, or its answer was lost; which, nobody can tell, so the
// whole family is revoked (RFC 9700 4.14.2).
func (s *store) GrantByRefreshToken(_ context.Context, token string) (*goidc.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.spent[digest(token)]; ok {
		s.revokeGrant(id)
		return nil, goidc.ErrNotFound
	}
	return s.grant(s.refresh[digest(token)])
}

// SaveToken implements goidc.OpaqueTokenManager; tokenIssued has noted it before.
func (s *store) SaveToken(_ context.Context, token *goidc.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := *token
	t.ID = digest(token.ID)
	if rec, ok := s.tokens[t.ID]; ok {
		rec.opaque = &t
	}
	return nil
}

// Token implements goidc.OpaqueTokenManager. Introspection is ours, so the
// library has nothing to ask for.
func (s *store) Token(context.Context, string) (*goidc.Token, error) { return nil, goidc.ErrNotFound }

// noteToken remembers an access token by its jti, or by the digest of an opaque
// one.
func (s *store) noteToken(id string, rec issued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.tokens[id] = &rec
}

// token returns what is known of an access token.
func (s *store) token(id string) (issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.tokens[id]
	if !ok {
		return issued{}, false
	}
	return *rec, true
}

// revokeToken revokes one access token of a client; mine is false where it is
// another's.
func (s *store) revokeToken(id, client string) (found, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, ok := s.tokens[id]
	if !ok {
		return false, false
	}
	if rec.client == client {
		rec.revoked = true
	}
	return true, rec.client == client
}

// revokeRefresh revokes the family of a refresh token, used or not.
func (s *store) revokeRefresh(token, client string) (found, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.refresh[digest(token)]
	if !ok {
		id, ok = s.spent[digest(token)]
	}
	g := s.grants[id]
	if !ok || g == nil {
		return false, false
	}
	if g.ClientID == client {
		s.revokeGrant(id)
	}
	return true, g.ClientID == client
}

// revokeAllGrants revokes what people have granted so far.
func (s *store) revokeAllGrants() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.grants {
		s.revokeGrant(id)
	}
}

func (s *store) revokeGrant(id string) {
	if g, ok := s.grants[id]; ok && g.RevokedAt == 0 {
		g.RevokedAt = int(time.Now().Unix())
		s.revokeTokensOf(id)
	}
}

func (s *store) revokeTokensOf(grant string) {
	for _, rec := range s.tokens {
		if rec.grant == grant {
			rec.revoked = true
		}
	}
}

// sweep forgets what ended a while ago, once a minute. A grant is remembered
// until its last token is over, so that a late reuse is still noticed.
func (s *store) sweep() {
	now := time.Now()
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	const late = 10 * time.Minute
	for id, n := range s.sessions {
		if now.After(time.Unix(int64(n.ExpiresAt), 0).Add(late)) {
			delete(s.sessions, id)
			delete(s.devices, n.DeviceCode)
		}
	}
	used := make(map[string]bool)
	for id, rec := range s.tokens {
		if now.After(rec.expires.Add(late)) {
			delete(s.tokens, id)
			continue
		}
		used[rec.grant] = true
	}
	for id, g := range s.grants {
		end := max(g.RefreshTokenExpiresAt, g.AuthCodeExpiresAt, g.DeviceCodeExpiresAt)
		if !used[id] && now.After(time.Unix(int64(end), 0).Add(late)) {
			delete(s.grants, id)
		}
	}
	for _, index := range []map[string]string{s.codes, s.refresh, s.spent} {
		maps.DeleteFunc(index, func(_, grant string) bool { return s.grants[grant] == nil })
	}
}
