package login_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/login"
)

func TestFindBrowser(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, os string
		env      map[string]string
		there    []string
		want     string
	}{
		{"desktop", "linux", map[string]string{"DISPLAY": ":0"}, []string{"xdg-open"}, "/bin/xdg-open"},
		{"wayland", "linux", map[string]string{"WAYLAND_DISPLAY": "w"}, []string{"x-www-browser"}, "/bin/x-www-browser"},
		{"windows below linux", "linux", map[string]string{"WSL_DISTRO_NAME": "Debian"}, []string{"wslview"}, "/bin/wslview"},
		{"server", "linux", nil, []string{"xdg-open"}, ""},
		{"desktop without", "linux", map[string]string{"DISPLAY": ":0"}, nil, ""},
		{"named", "linux", map[string]string{"BROWSER": "gone:firefox --new-window %s:w3m"}, []string{"firefox", "w3m"}, "/bin/firefox --new-window %s"},
		{"mac", "darwin", nil, []string{"open"}, "/bin/open"},
		{"windows", "windows", nil, []string{"rundll32"}, "/bin/rundll32 url.dll,FileProtocolHandler"},
	} {
		o := login.Opener{
			OS: tc.os, Getenv: func(name string) string { return tc.env[name] },
			LookPath: func(name string) (string, error) {
				if !slices.Contains(tc.there, name) {
					return "", exec.ErrNotFound
				}
				return "/bin/" + name, nil
			},
		}
		if got := strings.Join(o.Find(), " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// The address is one argument, whatever is in it, and no shell reads it.
func TestOpen(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the browser of this test is a script")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "browser")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >\"$0.args\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	const address = "https://as.example/authorize?a=1&b=$(touch x);'\""
	for _, tc := range []struct {
		command []string
		want    string
	}{
		{[]string{script}, address + "\n"},
		{[]string{script, "--new", "url=%s"}, "--new\nurl=" + address + "\n"},
	} {
		if err := login.Open(t.Context(), tc.command, address); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(script + ".args"); err != nil || string(got) != tc.want {
			t.Errorf("got %q, %v; want %q", got, err, tc.want)
		}
	}
	var e *login.Error
	if err := login.Open(t.Context(), []string{"/bin/false"}, address); !errors.As(err, &e) || strings.Contains(err.Error(), "authorize") {
		t.Errorf("fails: got %v", err)
	}
	if err := login.Open(t.Context(), []string{filepath.Join(dir, "none")}, address); !errors.As(err, &e) {
		t.Errorf("absent: got %v", err)
	}
}
