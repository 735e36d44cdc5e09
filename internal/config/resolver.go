package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ClientSecretName is the name of the client secret as a systemd credential
// and as an item of the keyring, where no reference is given.
const ClientSecretName = "tsupload-client-secret" //nolint:gosec // a name, not a secret

const (
	maxSecret      = 1 << 20 // systemd's own limit on a credential
	commandTimeout = 30 * time.Second
)

// SecretError is a secret that cannot be read. It names the place, never the
// secret.
type SecretError struct {
	What    string // that is secret; empty: secret
	Place   string // "file /x"
	Message string
	hint    string
	err     error
}

// Error renders place and message.
func (e *SecretError) Error() string {
	return cmp.Or(e.What, "secret") + " from " + e.Place + ": " + e.Message
}

// Hint says what to do.
func (e *SecretError) Hint() string { return e.hint }

// Unwrap is the cause, if there is one.
func (e *SecretError) Unwrap() error { return e.err }

// ResolverConfig is what a Resolver depends on.
type ResolverConfig struct {
	// Getenv looks up an environment variable; nil: there is none.
	Getenv func(string) string
	// Keyring yields an item of the keyring; nil: there is no keyring.
	Keyring func(ctx context.Context, name string) ([]byte, error)
}

// Resolver reads secrets from where references say. It keeps nothing: a secret
// that was replaced is seen at the next use.
type Resolver struct {
	getenv  func(string) string
	keyring func(ctx context.Context, name string) ([]byte, error)
}

// NewResolver makes a Resolver.
func NewResolver(c ResolverConfig) *Resolver {
	r := &Resolver{getenv: c.Getenv, keyring: c.Keyring}
	if r.getenv == nil {
		r.getenv = func(string) string { return "" }
	}
	if r.keyring == nil {
		r.keyring = func(context.Context, string) ([]byte, error) {
			return nil, errors.New("there is no keyring here")
		}
	}
	return r
}

// Read yields the secret that ref names, without its last line end. A file is
// refused when others than its owner can write it, or everybody can read it;
// on a read-only mount and in $CREDENTIALS_DIRECTORY modes mean nothing.
func (r *Resolver) Read(ctx context.Context, ref SecretRef) (Secret, error) {
	place := ref.String()
	refuse := func(err error) (Secret, error) {
		var se *SecretError
		if !errors.As(err, &se) {
			se = &SecretError{Message: err.Error(), err: err}
		}
		se.Place = place
		return Secret{}, se
	}
	var data []byte
	var err error
	switch {
	case ref.File != "":
		data, err = r.file(ref.File)
	case ref.Env != "":
		if data = []byte(r.getenv(ref.Env)); len(data) == 0 {
			err = &SecretError{Message: "the environment variable is not set", hint: "set it for this process, or name another place"}
		}
	case ref.Keyring != "":
		if data, err = r.keyring(ctx, ref.Keyring); err != nil {
			err = &SecretError{Message: err.Error(), hint: "store it with `tsupload auth set-secret`, or name a file", err: err}
		}
	case ref.Credential != "":
		data, err = r.credential(ref.Credential)
	case len(ref.Command) > 0:
		data, err = r.command(ctx, ref.Command)
	default:
		place = "nowhere"
		err = &SecretError{Message: "no reference is given", hint: secretHint}
	}
	if err != nil {
		return refuse(err)
	}
	if data = trimLine(data); len(data) == 0 {
		return refuse(&SecretError{Message: "is empty", hint: "store the secret there"})
	}
	return NewSecret(data, place), nil
}

// ClientSecret reads the client's secret: from ref where one is given, else
// from the systemd credential, TSUPLOAD_CLIENT_SECRET or the keyring,
// whichever has it first.
func (r *Resolver) ClientSecret(ctx context.Context, ref SecretRef) (Secret, error) {
	if !ref.IsZero() {
		return r.Read(ctx, ref)
	}
	if dir := r.getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		// Present but unreadable is a fault; absent means the next place.
		if _, err := os.Stat(filepath.Join(dir, ClientSecretName)); !errors.Is(err, os.ErrNotExist) {
			return r.Read(ctx, SecretRef{Credential: ClientSecretName})
		}
	}
	if r.getenv("TSUPLOAD_CLIENT_SECRET") != "" {
		return r.Read(ctx, SecretRef{Env: "TSUPLOAD_CLIENT_SECRET"})
	}
	s, err := r.Read(ctx, SecretRef{Keyring: ClientSecretName})
	if se, ok := errors.AsType[*SecretError](err); ok {
		se.Message = "no client secret: " + se.Message
		se.hint = "set auth.client_secret to a reference such as {file: PATH}, set TSUPLOAD_CLIENT_SECRET, or store it with `tsupload auth set-secret`"
	}
	return s, err
}

// trimLine removes exactly one line end: what an editor adds, not what the
// secret ends in.
func trimLine(b []byte) []byte {
	if t, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		return bytes.TrimSuffix(t, []byte("\r"))
	}
	return b
}

// credentialName tells whether name is a file of $CREDENTIALS_DIRECTORY and
// not a way out of it.
func credentialName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\\:\x00")
}

func (r *Resolver) credential(name string) ([]byte, error) {
	if !credentialName(name) {
		return nil, &SecretError{Message: "is not the name of a credential", hint: "a name without / or \\"}
	}
	dir := r.getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, &SecretError{
			Message: "CREDENTIALS_DIRECTORY is not set",
			hint:    "credentials exist in a systemd unit with LoadCredential=" + name + ":PATH; elsewhere use {file: PATH}",
		}
	}
	return r.file(filepath.Join(dir, name))
}

func (r *Resolver) file(path string) ([]byte, error) {
	// Asked before opening: opening a pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, &SecretError{Message: "is not a regular file", hint: "name a file that holds the secret only"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fileError(err)
	}
	if !r.inCredentials(path) && modesMatter(f) {
		if err := checkMode(path, info.Mode().Perm()); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, fileError(err)
	case len(data) > maxSecret:
		return nil, &SecretError{Message: "is larger than 1 MiB", hint: "name a file that holds the secret only"}
	}
	return data, nil
}

func fileError(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return &SecretError{Message: pe.Err.Error(), hint: "the file has to exist and be readable for the user that runs tsupload", err: err}
	}
	return err
}

func checkMode(path string, perm os.FileMode) error {
	hint := "chmod 600 " + path
	switch {
	case perm&0o022 != 0:
		return &SecretError{Message: fmt.Sprintf("others than its owner can write it (mode %04o)", perm), hint: hint}
	case perm&0o004 != 0:
		return &SecretError{
			Message: fmt.Sprintf("everybody can read it (mode %04o)", perm),
			hint:    hint + " (or 640, for a group)",
		}
	}
	return nil
}

// inCredentials tells whether path lies in $CREDENTIALS_DIRECTORY, whose modes
// are systemd's affair.
func (r *Resolver) inCredentials(path string) bool {
	dir := r.getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return false
	}
	realDir, err1 := filepath.EvalSymlinks(dir)
	realPath, err2 := filepath.EvalSymlinks(path)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(realDir, realPath)
	return err == nil && filepath.IsLocal(rel)
}

// command runs argv without a shell. What it prints on standard error is
// dropped: nobody knows what is in it.
func (r *Resolver) command(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the operator names the program
	// A grandchild that keeps the pipe open must not keep us.
	cmd.WaitDelay = 2 * time.Second
	out := &capped{}
	cmd.Stdout = out
	const hint = "run it by hand: it has to print the secret and exit 0"
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.over:
		return nil, &SecretError{Message: "prints more than 1 MiB", hint: hint}
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, &SecretError{Message: "took longer than " + FormatDuration(commandTimeout), hint: hint, err: ctx.Err()}
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exit):
		return nil, &SecretError{Message: fmt.Sprintf("ended with %s", exit.ProcessState), hint: hint}
	case err != nil:
		return nil, &SecretError{Message: err.Error(), hint: "name a program on the PATH, or its full path", err: err}
	}
	return out.data.Bytes(), nil
}

// capped keeps at most maxSecret bytes.
type capped struct {
	data bytes.Buffer
	over bool
}

// Write fails once there is too much, which ends the program.
func (c *capped) Write(b []byte) (int, error) {
	if c.data.Len()+len(b) > maxSecret {
		c.over = true
		return 0, errors.New("too much output")
	}
	return c.data.Write(b)
}

// Getter reads v each time it is called: its text, or the secret that it
// refers to.
func (r *Resolver) Getter(v Value) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		if v.Secret.IsZero() {
			return []byte(v.Text), nil
		}
		s, err := r.Read(ctx, v.Secret)
		return s.Reveal(), err
	}
}
