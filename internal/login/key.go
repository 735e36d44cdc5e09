package login

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// KeyError says why something is no key that can sign assertions. It never quotes the key.
type KeyError struct {
	// Problem says what is wrong.
	Problem string
	hint    string
}

// Error implements error.
func (e *KeyError) Error() string { return "private key: " + e.Problem }

// Hint says what to do.
func (e *KeyError) Hint() string { return e.hint }

const keyHint = "give a private key as PEM (PKCS#8, PKCS#1 or SEC1) or JWK: RSA of at least 2048 bits, P-256 or Ed25519"

// minRSA is what RFC 7518 section 3.3 asks for.
const minRSA = 2048

// Key signs client assertions.
type Key struct {
	// Algorithm is RS256, PS256, ES256 or EdDSA.
	Algorithm string
	// ID is the key id that goes into the header; empty: none.
	ID string
	// Bits is the size of the key.
	Bits int

	private    crypto.Signer
	thumbprint string // of the certificate that came with the key; empty: none
}

// ParseKey reads a private key: PEM in the forms PKCS#8, PKCS#1 and SEC1, or a JWK (RFC 7517). A certificate in the same
// PEM has to belong to the key, and is named in the header of assertions (x5t#S256), by which Entra ID finds it. alg is
// RS256, PS256, ES256 or EdDSA; empty, it follows from the key: RS256 for RSA, and what a JWK says before that. id beats a
// JWK's own. The error is a *KeyError.
func ParseKey(data []byte, alg, id string) (*Key, error) {
	k := &Key{Algorithm: alg, ID: id}
	var err error
	if t := bytes.TrimSpace(data); len(t) > 0 && t[0] == '{' {
		err = k.fromJWK(t)
	} else {
		err = k.fromPEM(data)
	}
	if err != nil {
		return nil, err
	}
	var able []string
	switch p := k.private.(type) {
	case *rsa.PrivateKey:
		k.Bits, able = p.N.BitLen(), []string{"RS256", "PS256"}
		if k.Bits < minRSA {
			return nil, &KeyError{fmt.Sprintf("RSA of %d bits is too short", k.Bits), keyHint}
		}
	case *ecdsa.PrivateKey:
		k.Bits, able = p.Curve.Params().BitSize, []string{"ES256"}
		if p.Curve != elliptic.P256() {
			return nil, &KeyError{"the curve " + p.Curve.Params().Name + " is not supported", keyHint}
		}
	case ed25519.PrivateKey:
		k.Bits, able = 256, []string{"EdDSA"}
	default:
		return nil, &KeyError{"the kind of key is not supported", keyHint}
	}
	switch {
	case k.Algorithm == "":
		k.Algorithm = able[0]
	case !slices.Contains(able, k.Algorithm):
		return nil, &KeyError{"it cannot sign with " + k.Algorithm, "this key signs with " + strings.Join(able, " or ")}
	}
	return k, nil
}

func (k *Key) fromJWK(data []byte) error {
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &list) == nil && list.Keys != nil {
		if len(list.Keys) != 1 {
			return &KeyError{fmt.Sprintf("the JWK set holds %d keys", len(list.Keys)), "give the one key to sign with"}
		}
		data = list.Keys[0]
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(data) != nil { // its text may quote the key
		return &KeyError{"it is no JWK that can be read", keyHint}
	}
	signer, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return &KeyError{"the JWK is a public or a symmetric key", keyHint}
	}
	k.private = signer
	if k.ID == "" {
		k.ID = jwk.KeyID
	}
	if k.Algorithm == "" {
		k.Algorithm = jwk.Algorithm
	}
	return nil
}

func (k *Key) fromPEM(data []byte) error {
	var certificate *x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		switch block.Type {
		case "CERTIFICATE":
			if certificate != nil {
				continue // of those who signed the first
			}
			var err error
			if certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
				return &KeyError{"the certificate beside it cannot be read", "remove it, or put the client's own certificate there"}
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if k.private != nil {
				return &KeyError{"the PEM holds several keys", "give the one key to sign with"}
			}
			if block.Headers["DEK-Info"] != "" {
				return encrypted()
			}
			if err := k.fromDER(block); err != nil {
				return err
			}
		case "ENCRYPTED PRIVATE KEY":
			return encrypted()
		case "EC PARAMETERS": // openssl writes them before the key
		default:
			return &KeyError{"the PEM holds another thing than a private key", keyHint}
		}
	}
	if k.private == nil {
		return &KeyError{"it is neither PEM nor JWK", keyHint}
	}
	if certificate == nil {
		return nil
	}
	public, ok := k.private.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(certificate.PublicKey) {
		return &KeyError{"the certificate beside it is of another key", "put the key and its own certificate into one file"}
	}
	sum := sha256.Sum256(certificate.Raw)
	k.thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}

func encrypted() error {
	return &KeyError{"it is encrypted", "decrypt it (openssl pkey) into a file of mode 600, or let {command: [...]} print it"}
}

func (k *Key) fromDER(block *pem.Block) error {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return &KeyError{"the PEM is damaged", keyHint}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return &KeyError{"the kind of key is not supported", keyHint}
	}
	k.private = signer
	return nil
}
