package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/daemon"
)

// A configuration that is refused leaves nothing behind; one that is taken is
// in force for the listener and for who is told at once, not at the next run.
func TestReloadInForce(t *testing.T) {
	t.Parallel()
	const told = "notify: {hook: {command: [/bin/true]}}\n"
	s := newServed(t, "log: {format: text}\nlisten: {address: '127.0.0.1:0'}\n"+told)
	path := filepath.Join(s.dir, "tsupload.yaml")
	read, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	idle := string(read)
	scheduled := strings.Replace(idle, "csv:", "schedule: '0 6 * * *', csv:", 1)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sv := &service{app: s.app}
	write(scheduled)
	if _, err := sv.start(); err != nil {
		t.Fatal(err)
	}
	s.cfg = sv.cfg
	s.open(&fakeDaemon{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	before, watching := sv.cfg, s.notifiers.inUse
	check := func(when string, want int, watched bool) {
		t.Helper()
		if code, _ := s.get("/"); code != want {
			t.Errorf("%s: the page answers %d, want %d", when, code, want)
		}
		if (s.notifiers.inUse != nil) != watched {
			t.Errorf("%s: got %v, want silence to be watched: %t", when, s.notifiers.inUse, watched)
		}
	}
	check("at the start", http.StatusOK, true)

	write(strings.Replace(idle, told, "", 1))
	if _, err := sv.reload(t.Context()); !errors.Is(err, daemon.ErrNoSchedule) {
		t.Errorf("got %v, want that nothing has a schedule", err)
	}
	if sv.cfg != before || s.notifiers.inUse != watching {
		t.Error("a configuration that is refused is in force")
	}

	write(strings.Replace(strings.Replace(scheduled, told, "", 1), "'127.0.0.1:0'", "'127.0.0.1:0', token: {env: LISTEN_TOKEN}", 1))
	settings, err := sv.reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check("before it is taken", http.StatusOK, true)
	settings.Taken()
	check("with a token and without notifications", http.StatusUnauthorized, false)
	if code, _ := s.get("/", "Authorization", "Bearer canary-token-90c1"); code != http.StatusOK {
		t.Errorf("with the token: got %d", code)
	}

	write(scheduled)
	if settings, err = sv.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	settings.Taken()
	check("without a token again", http.StatusOK, true)
}
