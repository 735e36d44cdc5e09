package authserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/luikyv/go-oidc/pkg/goidc"
)

const (
	assertionType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLeeway  = 30 * time.Second
	assertionMaxLife = 10 * time.Minute
)

// assertions checks private_key_jwt (RFC 7523): the issuer is the only audience
// (the update of that RFC, draft-ietf-oauth-rfc7523bis, closes an attack with
// it), and each jti works once.
type assertions struct {
	parser *jwt.Parser
	issuer string

	mu   sync.Mutex
	seen map[string]time.Time // client and jti, until when to remember
}

func newAssertions(issuer string) *assertions {
	return &assertions{
		issuer: issuer,
		seen:   make(map[string]time.Time),
		parser: jwt.NewParser(
			jwt.WithValidMethods(assertionAlgs()), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
			jwt.WithLeeway(assertionLeeway), jwt.WithStrictDecoding()),
	}
}

// verify returns the client that signed. claimed is the request's client_id,
// which may be empty. The errors quote nothing of the assertion.
func (a *assertions) verify(assertion, typ, claimed string, known *clients) (Client, error) {
	if typ != assertionType {
		return Client{}, errors.New("client_assertion_type is not jwt-bearer")
	}
	var (
		claims jwt.RegisteredClaims
		client Client
	)
	_, err := a.parser.ParseWithClaims(assertion, &claims, func(t *jwt.Token) (any, error) {
		// RFC 7515 4.1.11: what must be understood, and is not, is refused.
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("crit names extensions")
		}
		// A JWT of another kind was not made to authenticate a client (RFC 8725 3.11).
		if typ, ok := t.Header["typ"]; ok && !isAssertionType(typ) {
			return nil, errors.New("typ is that of another kind of JWT")
		}
		var ok bool
		if client, ok = known.get(claims.Issuer); !ok {
			return nil, errors.New("iss is no client")
		}
		kid, named := t.Header["kid"]
		set := jwt.VerificationKeySet{}
		for _, k := range client.Keys {
			if fits(k, t.Method) && (!named || kid == thumbprint(k)) {
				set.Keys = append(set.Keys, k)
			}
		}
		if len(set.Keys) == 0 {
			return nil, errors.New("the client has no such key")
		}
		return set, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Client{}, errors.New("it is expired")
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued), errors.Is(err, jwt.ErrTokenNotValidYet):
		return Client{}, errors.New("it is not valid yet")
	case err != nil:
		return Client{}, errors.New("it is malformed, of another type, unsigned, or signed with a key that is not the client's (kid must be the key's thumbprint of RFC 7638, or left out)")
	case claims.Subject != claims.Issuer || (claimed != "" && claimed != claims.Issuer):
		return Client{}, errors.New("iss, sub and client_id differ")
	case len(claims.Audience) != 1 || claims.Audience[0] != a.issuer:
		return Client{}, errors.New("aud must be the issuer and nothing else")
	case time.Until(claims.ExpiresAt.Time) > assertionMaxLife:
		return Client{}, errors.New("it lives too long")
	case claims.ID == "":
		return Client{}, errors.New("it has no jti")
	case !a.first(claims.Issuer+"\x00"+claims.ID, claims.ExpiresAt.Add(assertionLeeway)):
		return Client{}, errors.New("its jti was used before")
	}
	return client, nil
}

// first tells whether this id is seen for the first time, and remembers it until
// the assertion is expired anyway.
func (a *assertions) first(id string, until time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for old, end := range a.seen {
		if now.After(end) {
			delete(a.seen, old)
		}
	}
	if _, ok := a.seen[id]; ok {
		return false
	}
	a.seen[id] = until
	return true
}

func isAssertionType(typ any) bool {
	s, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(s), "application/") {
	case "jwt", "client-authentication+jwt":
		return true
	default:
		return false
	}
}

// thumbprint is the kid of a key (RFC 7638): keys are registered without one.
func thumbprint(key crypto.PublicKey) string {
	sum, err := (&goidc.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// fits tells whether a key is one for this algorithm, so that nothing is tried
// with a key of another kind.
func fits(key crypto.PublicKey, m jwt.SigningMethod) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return m == jwt.SigningMethodRS256 || m == jwt.SigningMethodPS256
	case *ecdsa.PublicKey:
		return m == jwt.SigningMethodES256 && k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return m == jwt.SigningMethodEdDSA
	default:
		return false
	}
}

// ParseKeys reads public keys from PEM blocks of the type PUBLIC KEY: RSA of at
// least 2048 bits, P-256 or Ed25519.
func ParseKeys(data []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("a PEM block of type %q, want PUBLIC KEY", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("a PEM block that is no public key")
		}
		if k, ok := key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			return nil, errors.New("an RSA key of less than 2048 bits")
		}
		if !fits(key, jwt.SigningMethodRS256) && !fits(key, jwt.SigningMethodES256) && !fits(key, jwt.SigningMethodEdDSA) {
			return nil, fmt.Errorf("a key of type %T, want RSA, P-256 or Ed25519", key)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block with a public key")
	}
	return keys, nil
}
