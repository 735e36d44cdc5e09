package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

const redacted = "REDACTED"

// Secret is a secret in memory. However it is printed, marshalled or logged it
// shows REDACTED; only Reveal yields it.
type Secret struct {
	// A closure, because fmt prints unexported fields of a surrounding struct
	// without asking their methods: a function shows as an address.
	reveal func() []byte
	from   string
}

// NewSecret wraps value; from says where it was found.
func NewSecret(value []byte, from string) Secret {
	kept := slices.Clone(value)
	return Secret{reveal: func() []byte { return slices.Clone(kept) }, from: from}
}

// Reveal yields a copy of the secret, nil of the zero Secret.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// From says where the secret was found ("file /x"), never what it is.
func (s Secret) From() string { return s.from }

// String is REDACTED.
func (s Secret) String() string { return redacted }

// GoString is REDACTED.
func (s Secret) GoString() string { return redacted }

// Format prints REDACTED, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText is REDACTED.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is REDACTED.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalYAML is REDACTED.
func (s Secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue is REDACTED.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// IsZero tells whether no reference is given.
func (r SecretRef) IsZero() bool { return len(r.given()) == 0 }

// given lists the kinds of reference that are set.
func (r SecretRef) given() []string {
	var kinds []string
	for _, k := range []struct{ name, value string }{
		{"file", r.File}, {"env", r.Env}, {"keyring", r.Keyring}, {"credential", r.Credential}, {"command", strings.Join(r.Command, " ")},
	} {
		if k.value != "" {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}

// String names the place: "file /x", "env NAME", "keyring NAME", "credential
// NAME", or "command PROGRAM" without its arguments, which may carry more than
// names; "" where no reference is given.
func (r SecretRef) String() string {
	switch {
	case r.File != "":
		return "file " + r.File
	case r.Env != "":
		return "env " + r.Env
	case r.Keyring != "":
		return "keyring " + r.Keyring
	case r.Credential != "":
		return "credential " + r.Credential
	case len(r.Command) > 0:
		return "command " + r.Command[0]
	}
	return ""
}

// String shows text as it is and a reference as a reference.
func (v Value) String() string {
	if !v.Secret.IsZero() {
		return v.Secret.String()
	}
	return v.Text
}
