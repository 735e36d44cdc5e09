package authserver

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"
)

// Secrets of machines are long and random, so the count guards against a
// careless choice and not against guessing; a token request stays cheap.
const pbkdf2Rounds = 10_000

// register is the library's view of a client. Which scopes it may have is
// decided by limitScopes, which can grant less than was asked; the library can
// only refuse.
func register(id, hash string) *goidc.Client {
	return &goidc.Client{ID: id, Secret: hash, ClientMeta: goidc.ClientMeta{
		GrantTypes: []goidc.GrantType{goidc.GrantClientCredentials},
		// The library knows one method per client; the shim turns post into basic.
		TokenAuthnMethod: goidc.AuthnMethodSecretBasic,
		ScopeIDs:         strings.Join([]string{ScopeUpload, ScopeRead, ScopeCreate, ScopeDelete, ScopeApprove}, " "),
	}}
}

// hashSecret renders a secret as salt and hash, both in hex.
func hashSecret(secret string) (string, error) {
	if secret == "" {
		return "", errors.New("authserver: a client without a secret")
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	sum, err := pbkdf2.Key(sha256.New, secret, salt, pbkdf2Rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(salt) + ":" + hex.EncodeToString(sum), nil
}

func verifySecret(_ context.Context, stored, presented string) error {
	saltHex, sumHex, _ := strings.Cut(stored, ":")
	salt, err := hex.DecodeString(saltHex)
	if err != nil {
		return err
	}
	want, err := hex.DecodeString(sumHex)
	if err != nil {
		return err
	}
	got, err := pbkdf2.Key(sha256.New, presented, salt, pbkdf2Rounds, sha256.Size)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return errors.New("wrong secret")
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
