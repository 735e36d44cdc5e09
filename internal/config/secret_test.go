package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestSecretPrintsRedacted(t *testing.T) {
	t.Parallel()
	const canary = "hunter2canary"
	s := NewSecret([]byte(canary), "file /x")
	type hidden struct{ s Secret }
	type holder struct{ S Secret }
	var buf bytes.Buffer
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, x := range []any{s, &s, holder{s}, &holder{s}, hidden{s}, []Secret{s}, map[string]Secret{"a": s}} {
			fmt.Fprintf(&buf, f+"\n", x)
		}
	}
	j, err := json.Marshal(holder{s})
	if err != nil || string(j) != `{"S":"REDACTED"}` {
		t.Errorf("got %s, %v", j, err)
	}
	buf.Write(j)
	for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(h).Info("x", "s", s, "p", &s, "h", holder{s}, "u", hidden{s})
	}
	out := buf.String()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), "104 117 110 116"} {
		if strings.Contains(out, form) {
			t.Errorf("shows %q:\n%s", form, out)
		}
	}
	if string(s.Reveal()) != canary || s.From() != "file /x" {
		t.Errorf("got %q from %q", s.Reveal(), s.From())
	}
	if (Secret{}).Reveal() != nil {
		t.Error("the zero Secret reveals something")
	}
}

// resolver sees the variables given as "NAME=value" and one keyring item.
func resolver(pairs ...string) *Resolver {
	var o LoadOptions
	env(pairs...)(&o)
	return NewResolver(ResolverConfig{Getenv: o.Getenv, Keyring: func(_ context.Context, name string) ([]byte, error) {
		if name != "item" {
			return nil, errors.New("no such item")
		}
		return []byte("from keyring"), nil
	}})
}

func write(t *testing.T, path, data string, perm os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cred"), "from credential\n", 0o444)
	file := write(t, filepath.Join(t.TempDir(), "f"), "a\n\n", 0o600)
	r := resolver("CREDENTIALS_DIRECTORY="+dir, "S=from env\r\n")
	for _, row := range []struct {
		ref        SecretRef
		want, from string
	}{
		{SecretRef{File: file}, "a\n", "file " + file}, // exactly one line end goes
		{SecretRef{Env: "S"}, "from env", "env S"},
		{SecretRef{Keyring: "item"}, "from keyring", "keyring item"},
		{SecretRef{Credential: "cred"}, "from credential", "credential cred"},
		{SecretRef{File: filepath.Join(dir, "cred")}, "from credential", "file " + filepath.Join(dir, "cred")},
	} {
		s, err := r.Read(t.Context(), row.ref)
		if err != nil || string(s.Reveal()) != row.want || s.From() != row.from {
			t.Errorf("%v: got %q from %q, %v", row.ref, s.Reveal(), s.From(), err)
		}
	}
	for _, row := range []struct {
		ref  SecretRef
		want string
	}{
		{SecretRef{}, "no reference"},
		{SecretRef{File: filepath.Join(dir, "absent")}, "no such file"},
		{SecretRef{File: dir}, "not a regular file"},
		{SecretRef{File: write(t, filepath.Join(dir, "empty"), "\n", 0o600)}, "is empty"},
		{SecretRef{File: write(t, filepath.Join(dir, "large"), strings.Repeat("x", maxSecret+1), 0o600)}, "larger than 1 MiB"},
		{SecretRef{Env: "ABSENT"}, "not set"},
		{SecretRef{Keyring: "other"}, "no such item"},
		{SecretRef{Credential: "../cred"}, "not the name of a credential"},
		{SecretRef{Credential: "absent"}, "no such file"},
	} {
		_, err := r.Read(t.Context(), row.ref)
		var se *SecretError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), row.want) || se.Hint() == "" && row.ref.Keyring == "" {
			t.Errorf("%v: got %v, want %q", row.ref, err, row.want)
		}
	}
	if _, err := resolver().Read(t.Context(), SecretRef{Credential: "cred"}); err == nil {
		t.Error("a credential without CREDENTIALS_DIRECTORY: got no error")
	}
}

// What is read again is read anew: rotation needs no restart.
func TestSecretRotates(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "f"), "one", 0o600)
	r := resolver()
	for _, want := range []string{"one", "two"} {
		write(t, path, want, 0o600)
		if s, err := r.Read(t.Context(), SecretRef{File: path}); err != nil || string(s.Reveal()) != want {
			t.Errorf("got %q, %v, want %q", s.Reveal(), err, want)
		}
	}
}

func TestGetter(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]Value{"plain": {Text: "plain"}, "e": {Secret: SecretRef{Env: "S"}}} {
		if got, err := resolver("S=e").Getter(v)(t.Context()); err != nil || string(got) != want {
			t.Errorf("%v: got %q, %v", v, got, err)
		}
	}
	if got, err := resolver().Getter(Value{Secret: SecretRef{Env: "S"}})(t.Context()); err == nil || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSecretFileModes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing on Windows")
	}
	dir := t.TempDir()
	for perm, ok := range map[os.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o440: true,
		0o644: false, 0o604: false, 0o660: false, 0o620: false, 0o602: false, 0o666: false,
	} {
		path := write(t, filepath.Join(dir, fmt.Sprintf("%o", perm)), "s", perm)
		_, err := resolver().Read(t.Context(), SecretRef{File: path})
		if (err == nil) != ok {
			t.Errorf("%04o: got %v, want ok %v", perm, err, ok)
		}
		var se *SecretError
		if !ok && (!errors.As(err, &se) || !strings.Contains(se.Hint(), "chmod 600 "+path)) {
			t.Errorf("%04o: the hint has no chmod: %v", perm, err)
		}
		link := filepath.Join(dir, fmt.Sprintf("link%o", perm))
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		// A link out of the credentials' directory does not lend its trust.
		cred := t.TempDir()
		if err := os.Symlink(path, filepath.Join(cred, "c")); err != nil {
			t.Fatal(err)
		}
		if _, err := resolver("CREDENTIALS_DIRECTORY="+cred).Read(t.Context(), SecretRef{Credential: "c"}); (err == nil) != ok {
			t.Errorf("%04o through a link: got %v, want ok %v", perm, err, ok)
		}
	}
}

func TestClientSecretOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ClientSecretName), "c", 0o400)
	keyring := NewResolver(ResolverConfig{Keyring: func(_ context.Context, name string) ([]byte, error) { return []byte(name), nil }})
	for _, row := range []struct {
		r    *Resolver
		ref  SecretRef
		want string
	}{
		{resolver("CREDENTIALS_DIRECTORY="+dir, "TSUPLOAD_CLIENT_SECRET=e", "X=x"), SecretRef{Env: "X"}, "env X"},
		{resolver("CREDENTIALS_DIRECTORY="+dir, "TSUPLOAD_CLIENT_SECRET=e"), SecretRef{}, "credential " + ClientSecretName},
		{resolver("CREDENTIALS_DIRECTORY="+t.TempDir(), "TSUPLOAD_CLIENT_SECRET=e"), SecretRef{}, "env TSUPLOAD_CLIENT_SECRET"},
		{keyring, SecretRef{}, "keyring " + ClientSecretName},
	} {
		if s, err := row.r.ClientSecret(t.Context(), row.ref); err != nil || s.From() != row.want {
			t.Errorf("got %q, %v, want %q", s.From(), err, row.want)
		}
	}
	_, err := NewResolver(ResolverConfig{}).ClientSecret(t.Context(), SecretRef{})
	var se *SecretError
	if !errors.As(err, &se) || !strings.Contains(se.Hint(), "TSUPLOAD_CLIENT_SECRET") {
		t.Errorf("got %v", err)
	}
	// A reference that fails is not replaced by the next place.
	if _, err := resolver("TSUPLOAD_CLIENT_SECRET=e").ClientSecret(t.Context(), SecretRef{File: filepath.Join(dir, "absent")}); err == nil {
		t.Error("got no error")
	}
}

// TestMain lets this program be the one that a {command: ...} runs.
func TestMain(m *testing.M) {
	switch os.Getenv("CONFIG_TEST_COMMAND") {
	case "print":
		fmt.Println("from command", strings.Join(os.Args[1:], " "))
	case "fail":
		fmt.Println("hunter2canary")
		fmt.Fprintln(os.Stderr, "hunter2canary")
		os.Exit(3)
	case "flood":
		for range 2 * maxSecret / 64 {
			fmt.Println(strings.Repeat("x", 64))
		}
	case "hang":
		<-time.After(time.Hour)
	default:
		os.Exit(m.Run())
	}
}

func TestSecretCommand(t *testing.T) {
	t.Setenv("CONFIG_TEST_COMMAND", "print") // for the child; this process is past TestMain
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := resolver()
	// No shell: what looks like one is an argument.
	s, err := r.Read(t.Context(), SecretRef{Command: []string{self, "$(id)", "a b"}})
	if err != nil || string(s.Reveal()) != "from command $(id) a b" || s.From() != "command "+self {
		t.Errorf("got %q from %q, %v", s.Reveal(), s.From(), err)
	}
	t.Setenv("CONFIG_TEST_COMMAND", "fail")
	_, err = r.Read(t.Context(), SecretRef{Command: []string{self}})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || strings.Contains(err.Error(), "hunter2canary") {
		t.Errorf("got %v", err)
	}
	t.Setenv("CONFIG_TEST_COMMAND", "flood")
	if _, err = r.Read(t.Context(), SecretRef{Command: []string{self}}); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("got %v", err)
	}
	t.Setenv("CONFIG_TEST_COMMAND", "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = r.Read(ctx, SecretRef{Command: []string{self}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err = r.Read(t.Context(), SecretRef{Command: []string{"/no/such/program"}}); err == nil {
		t.Error("got no error")
	}
}
