package authserver

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
)

// Secrets of machines are long and random, so the count guards against a
// careless choice and not against guessing; a token request stays cheap.
const pbkdf2Rounds = 10_000

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

func verifySecret(stored, presented string) error {
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

// digestPrefix marks a value that is a digest already. Codes and tokens that
// this server makes never begin like this.
const digestPrefix = "sha256:"

// digest is what is kept of a code or a token of ours. They are random and long
// enough that neither salt nor many rounds are needed.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return digestPrefix + hex.EncodeToString(sum[:])
}

// digestOnce is digest for values that may be one already, because the library
// saves again what it loaded.
func digestOnce(token string) string {
	if token == "" || strings.HasPrefix(token, digestPrefix) {
		return token
	}
	return digest(token)
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
