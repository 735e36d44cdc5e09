package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// world is a sandbox, a configuration that speaks to it, and one source with
// files, for tests that call run directly.
type world struct {
	tb       testing.TB
	dir      string
	sandbox  *sandbox.Sandbox
	supports string
	server   string // under api.server
	more     string // further sources
	stdin    string
}

func newWorld(tb testing.TB, rows ...string) *world {
	tb.Helper()
	s, err := sandbox.Start(tb.Context(), sandbox.Config{ClientSecret: "planted-canary-secret"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	w := &world{tb: tb, dir: tb.TempDir(), sandbox: s, supports: "batch, idempotency_key, read_back, update"}
	if len(rows) > 0 {
		w.write("in/hours.csv", append([]string{"user_id,date,project,hours,notes"}, rows...)...)
	}
	return w
}

// write makes a file that has been quiet for long.
func (w *world) write(name string, lines ...string) string {
	w.tb.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.tb.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		w.tb.Fatal(err)
	}
	return path
}

// configure writes the configuration; do does so by itself.
func (w *world) configure() string {
	secret := w.write("secret", w.sandbox.ClientSecret())
	return w.write("tsupload.yaml", fmt.Sprintf(`api:
  url: %s
  supports: [%s]
  retry_wait: 1ms
  server: {%s}
auth:
  issuer: %s
  audience: %s
  client_id: %s
  client_secret: {file: %q}
state: {dir: %q}
sources:
  - name: acme
    timezone: UTC
    schedule: "0 6 * * *"
    csv: {path: %q}
%s`, w.sandbox.APIURL(), w.supports, w.server, w.sandbox.Issuer(), w.sandbox.Audience(), w.sandbox.ClientID(), secret,
		filepath.Join(w.dir, "state"), filepath.Join(w.dir, "in", "*.csv"), w.more))
}

// do calls the program and fails unless it ends with the given status.
func (w *world) do(want int, args ...string) (stdout, stderr string) {
	w.tb.Helper()
	var out, log bytes.Buffer
	got := run(w.tb.Context(), environment{
		args: append([]string{"--config", w.configure()}, args...), stdin: strings.NewReader(w.stdin), stdout: &out, stderr: &log,
		getenv: func(string) string { return "" },
	})
	if got != want {
		w.tb.Fatalf("tsupload %s: got exit %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), log.String())
	}
	for _, text := range []string{out.String(), log.String()} {
		if strings.Contains(text, w.sandbox.ClientSecret()) {
			w.tb.Errorf("tsupload %s shows the client secret", strings.Join(args, " "))
		}
		if strings.Contains(text, "private note") && args[0] != "rejects" {
			w.tb.Errorf("tsupload %s shows what a person wrote in a note", strings.Join(args, " "))
		}
	}
	return out.String(), log.String()
}

func (w *world) faults(texts ...string) {
	w.tb.Helper()
	var faults []sandbox.Fault
	for _, text := range texts {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			w.tb.Fatal(err)
		}
		faults = append(faults, f)
	}
	w.sandbox.SetFaults(faults, 0)
}

// objects reads what was written with -o json.
func (w *world) objects(text, kind string) (list []map[string]any) {
	w.tb.Helper()
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			w.tb.Fatalf("%q: %s", line, err)
		}
		if o["schema"] != 1.0 || o["type"] == nil {
			w.tb.Errorf("%s has no type or schema", line)
		}
		if o["type"] == kind {
			list = append(list, o)
		}
	}
	return list
}

// refs lists the references of entries in a state.
func (w *world) refs(state string) (refs []string) {
	w.tb.Helper()
	out, _ := w.do(exitOK, "entries", "--state", state, "-o", "json")
	for _, o := range w.objects(out, "entry") {
		refs = append(refs, o["ref"].(string))
	}
	slices.Sort(refs)
	return refs
}

func contains(tb testing.TB, text string, parts ...string) {
	tb.Helper()
	for _, p := range parts {
		if !regexp.MustCompile(p).MatchString(text) {
			tb.Errorf("got:\n%s\nwant %s", text, p)
		}
	}
}

const (
	goodRow  = "u-1,2026-11-16,Apollo,8,private note"
	otherRow = "u-2,2026-11-16,Website,7.5,private note"
	badRow   = "u-1,2026-11-17,Apollo,eight,private note"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow)
	w.do(exitOK, "ledger", "create")
	for _, args := range [][]string{
		{"entries", "--state", "lost"},
		{"entries", "--since", "16.11.2026"},
		{"entries", "--since", "2026-11-17", "--until", "2026-11-16"},
		{"entries", "--source", "nobody"},
		{"entries", "--limit", "-1"},
		{"why"},
		{"why", "nonsense"},
		{"why", "hours.csv:99"},
		{"resolve", "2026-11-16/00000"},
		{"resolve", "--sent"},
		{"resolve", "--sent", "--skip", "2026-11-16/00000"},
		{"resolve", "--sent", "2026-11-16/00000"},
		{"ledger", "unmake"},
		{"ledger", "create", "--assume-sent-before", "soon"},
		{"ledger", "create", "--assume-sent-before", "2999-01-01"},
		{"ledger", "backup"},
		{"auth", "token", "--min-ttl", "-1s"},
		{"doctor", "--timeout", "0s"},
		{"doctor", "tomorrow"},
		{"rejects", "retry"},
		{"rejects", "retry", filepath.Join(w.dir, "nothing.csv")},
		{"rejects", "retry", filepath.Join(w.dir, "in/hours.csv")},
		{"sandbox", "--fault", "nonsense"},
		{"sandbox", "--listen", "0.0.0.0:0"},
		{"status", "-o", "xml"},
	} {
		if _, log := w.do(exitUsage, args...); !strings.Contains(log, "hint: ") {
			t.Errorf("%s: no hint in %q", args, log)
		}
	}
}

func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"status"},
		{"entries"},
		{"why"},
		{"resolve"},
		{"rejects"},
		{"rejects", "export"},
		{"rejects", "retry"},
		{"check"},
		{"ledger"},
		{"ledger", "create"},
		{"ledger", "adopt"},
		{"ledger", "backup"},
		{"auth"},
		{"auth", "status"},
		{"auth", "token"},
		{"auth", "set-secret"},
		{"doctor"},
		{"config"},
		{"config", "validate"},
		{"config", "show"},
		{"config", "schema"},
		{"sandbox"},
		{"version"},
	} {
		var out, log bytes.Buffer
		if code := run(t.Context(), environment{args: append(args, "--help"), stdout: &out, stderr: &log, getenv: os.Getenv}); code != exitOK {
			t.Errorf("%s: got exit %d: %s", args, code, log.String())
		}
		contains(t, out.String(), `Examples:\n  \S+`, `(?m)^Exit status:`)
	}
}

// stopAtOnce ends a program that runs until it is told to stop.
func stopAtOnce() chan os.Signal {
	c := make(chan os.Signal, 1)
	c <- syscall.SIGTERM
	return c
}
