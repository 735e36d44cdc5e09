package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"sync"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// published is how many keys the JWKS holds: the one that signs and the one
// before it.
const published = 2

// keyring holds the signing keys, newest first; the library signs with the
// first one of the right algorithm.
type keyring struct {
	alg goidc.SignatureAlgorithm

	mu   sync.Mutex
	keys []goidc.JSONWebKey // replaced, never changed in place
}

func newKeyring(alg goidc.SignatureAlgorithm) (*keyring, error) {
	k := &keyring{alg: alg}
	return k, k.rotate()
}

func (k *keyring) rotate() error {
	jwk := goidc.JSONWebKey{KeyID: randomHex(8), Algorithm: string(k.alg), Use: string(goidc.KeyUsageSignature)}
	switch k.alg {
	case goidc.ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		jwk.Key = key
	case goidc.RS256:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return err
		}
		jwk.Key = key
	default:
		return fmt.Errorf("authserver: signing algorithm %q is neither ES256 nor RS256", k.alg)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := append([]goidc.JSONWebKey{jwk}, k.keys...)
	k.keys = slices.Clip(keys[:min(len(keys), published)])
	return nil
}

// set is a goidc.JWKSFunc.
func (k *keyring) set(context.Context) (goidc.JSONWebKeySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return goidc.JSONWebKeySet{Keys: k.keys}, nil
}

// public is the published key with this id.
func (k *keyring) public(id string) (any, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, jwk := range k.keys {
		if jwk.KeyID == id {
			return jwk.Public().Key, true
		}
	}
	return nil, false
}
