package authserver

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// Grant types that a Client can be registered for.
const (
	GrantClientCredentials = string(goidc.GrantClientCredentials)
	GrantCode              = string(goidc.GrantAuthorizationCode)
	GrantRefresh           = string(goidc.GrantRefreshToken)
	GrantDevice            = string(goidc.GrantDeviceCode)
)

// Client is a registered client of the server. One with neither Secrets nor
// Keys is public.
type Client struct {
	ID string
	// Name is what people read on the consent page.
	Name   string
	Grants []string
	// Secrets may be two, so that one can be replaced while the other works.
	Secrets []Secret
	// Keys verify assertions of private_key_jwt: RSA, P-256 or Ed25519.
	Keys []crypto.PublicKey
	// Redirects are compared exactly; for a Native client, a loopback address
	// may have any port (RFC 8252 7.3).
	Redirects []string
	Native    bool
	// Scopes is the allow-list: what the client can be granted at most.
	Scopes []string
	// Introspects permits the client, a resource server, to introspect tokens.
	Introspects bool
}

func (c Client) public() bool { return len(c.Secrets) == 0 && len(c.Keys) == 0 }

// Secret is a client secret and when it ends; a zero Expires is never.
type Secret struct {
	Value   string
	Expires time.Time
}

// maxSecrets is how many secrets of a client can be valid at once.
const maxSecrets = 2

// clients is who may talk to the server, with secrets hashed.
type clients struct {
	mu     sync.RWMutex
	m      map[string]Client // without secrets
	hashes map[string][]secretHash
}

type secretHash struct {
	hash    string
	expires time.Time
}

func newClients(list []Client) (*clients, error) {
	cs := &clients{m: make(map[string]Client), hashes: make(map[string][]secretHash)}
	for _, c := range list {
		if _, ok := cs.m[c.ID]; ok || c.ID == "" {
			return nil, fmt.Errorf("authserver: client %q is registered twice or has no id", c.ID)
		}
		if len(c.Secrets) > maxSecrets {
			return nil, fmt.Errorf("authserver: client %s has more than %d secrets", c.ID, maxSecrets)
		}
		for i, s := range c.Secrets {
			hash, err := hashSecret(s.Value)
			if err != nil {
				return nil, err
			}
			cs.hashes[c.ID] = append(cs.hashes[c.ID], secretHash{hash, s.Expires})
			c.Secrets = slices.Clone(c.Secrets)
			c.Secrets[i].Value = ""
		}
		cs.m[c.ID] = c
	}
	return cs, nil
}

func (cs *clients) get(id string) (Client, bool) {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	c, ok := cs.m[id]
	return c, ok
}

// verify tells whether the secret is one of the client's that are in force.
func (cs *clients) verify(id, secret string) bool {
	cs.mu.RLock()
	hashes := cs.hashes[id]
	cs.mu.RUnlock()
	now := time.Now()
	ok := false
	for _, h := range hashes {
		if (h.expires.IsZero() || now.Before(h.expires)) && verifySecret(h.hash, secret) == nil {
			ok = true
		}
	}
	return ok
}

// add gives a client a new secret; those before it end at oldUntil, if not
// sooner.
func (cs *clients) add(id string, s Secret, oldUntil time.Time) error {
	hash, err := hashSecret(s.Value)
	if err != nil {
		return err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c, ok := cs.m[id]; !ok || len(c.Secrets) == 0 {
		return errors.New("authserver: there is no such client with a secret")
	}
	now := time.Now()
	list := []secretHash{{hash, s.Expires}}
	for _, h := range cs.hashes[id] {
		if h.expires.IsZero() || h.expires.After(oldUntil) {
			h.expires = oldUntil
		}
		if h.expires.After(now) && len(list) < maxSecrets {
			list = append(list, h)
		}
	}
	cs.hashes[id] = list
	return nil
}

// register is the library's view of a client. The client is authenticated in
// front of the library, which is told the outcome by way of Basic.
func register(c Client) *goidc.Client {
	app := goidc.ApplicationTypeWeb
	if c.Native {
		app = goidc.ApplicationTypeNative
	}
	meta := goidc.ClientMeta{
		Name: c.Name, ApplicationType: app, RedirectURIs: c.Redirects,
		TokenAuthnMethod: goidc.AuthnMethodSecretBasic,
		// What exceeds the client's allow-list is left out of the grant and not
		// refused: the answer says what was granted, and the library can only
		// refuse.
		ScopeIDs: strings.Join(allScopes(), " "),
	}
	for _, g := range c.Grants {
		meta.GrantTypes = append(meta.GrantTypes, goidc.GrantType(g))
		if g == GrantCode {
			meta.ResponseTypes = []goidc.ResponseType{goidc.ResponseTypeCode}
		}
	}
	return &goidc.Client{ID: c.ID, ClientMeta: meta}
}
