package login

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// An assertion is made for one request, so it lives no longer than that may take.
	assertionLife = 90 * time.Second
	// Clocks of two machines differ a little, and servers refuse what was made in their future.
	assertionBack = 10 * time.Second
)

// Assertion makes a client assertion (RFC 7523 section 3) for one token request: issuer and subject are the client, the
// audience is the one given and no other, and its id is never used again.
func (k *Key) Assertion(clientID, audience string, now time.Time) (string, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	claims, err := json.Marshal(struct {
		Issuer    string `json:"iss"`
		Subject   string `json:"sub"`
		Audience  string `json:"aud"`
		ID        string `json:"jti"`
		IssuedAt  int64  `json:"iat"`
		NotBefore int64  `json:"nbf"`
		Expires   int64  `json:"exp"`
	}{
		clientID, clientID, audience, base64.RawURLEncoding.EncodeToString(id),
		now.Add(-assertionBack).Unix(), now.Add(-assertionBack).Unix(), now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if k.ID != "" {
		options = options.WithHeader("kid", k.ID)
	}
	if k.thumbprint != "" {
		options = options.WithHeader("x5t#S256", k.thumbprint)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k.private}, options)
	if err != nil {
		return "", &KeyError{"it cannot sign with " + k.Algorithm, keyHint}
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", &KeyError{"signing failed", keyHint}
	}
	return signed.CompactSerialize()
}

// CheckAssertion looks at an assertion that somebody else made, such as the token of a Kubernetes service account: it has
// to be a JWT that has not expired by now. expires is zero where it does not say. The error is an *AssertionError.
func CheckAssertion(text string, now time.Time) (expires time.Time, err error) {
	const hint = "name the file that the platform writes the token to (on Kubernetes a projected serviceAccountToken)"
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}, &AssertionError{"is no JWT", hint}
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return time.Time{}, &AssertionError{"is no JWT", hint}
	}
	if claims.Expires == nil || *claims.Expires < 0 || *claims.Expires > 1e11 {
		return time.Time{}, nil
	}
	expires = time.Unix(int64(*claims.Expires), 0)
	if !now.Before(expires) {
		return expires, &AssertionError{
			"expired at " + expires.UTC().Format(time.RFC3339), "see why nobody renews the file: on Kubernetes the kubelet does; elsewhere the agent of the platform",
		}
	}
	return expires, nil
}

// AssertionError says why an assertion that was handed to us cannot be used. It never quotes it.
type AssertionError struct {
	// Problem says what is wrong.
	Problem string
	hint    string
}

// Error implements error.
func (e *AssertionError) Error() string { return "the assertion " + e.Problem }

// Hint says what to do.
func (e *AssertionError) Hint() string { return e.hint }
