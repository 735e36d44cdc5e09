package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/ledger"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, otherRow, badRow)
	_, log := w.do(exitConfig, "status")
	contains(t, log, `hint: .*ledger create`)

	w.do(exitOK, "ledger", "create")
	out, _ := w.do(exitOK, "status")
	contains(t, out, `nothing yet`, `no run yet`, `token: none is kept`, `next run +\d{4}-\d\d-\d\d 06:00 UTC`)

	w.do(exitPerson, "run", "--once")
	out, _ = w.do(exitOK, "status")
	contains(t, out, `sent +2 +15:30:00`, `rejected \(bad_duration\) +1 `, `last run +\S+ \S+ UTC, exit 3`, `1 entry rejected, the oldest for less than a minute`, `scopes batch:upload`)

	out, _ = w.do(exitOK, "status", "-o", "json")
	for _, o := range w.objects(out, "source") {
		for _, s := range o["states"].([]any) {
			if s := s.(map[string]any); s["state"] == "sent" && (s["entries"] != 2.0 || s["seconds"] != 55800.0) {
				t.Errorf("got %v", s)
			}
		}
	}
	if n := len(w.objects(out, "run")) + len(w.objects(out, "ledger")) + len(w.objects(out, "token")); n != 3 {
		t.Errorf("got %d lines of run, ledger and token, want 3:\n%s", n, out)
	}
}

func TestEntriesAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, otherRow, badRow)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	for _, c := range []struct {
		args string
		want int
	}{
		{"", 3},
		{"--state sent", 2},
		{"--state rejected --state sent", 3},
		{"--state held", 0},
		{"--person u-2", 1},
		{"--source acme", 3},
		{"--since 2026-11-17", 1},
		{"--until 2026-11-16", 2},
		{"--limit 1", 1},
	} {
		out, _ := w.do(exitOK, append([]string{"entries", "-o", "json"}, strings.Fields(c.args)...)...)
		if got := len(w.objects(out, "entry")); got != c.want {
			t.Errorf("entries %s: got %d, want %d", c.args, got, c.want)
		}
	}
	out, _ := w.do(exitOK, "why", "hours.csv:2")
	contains(t, out, `state +sent`, `hours\.csv:2`, `8:00:00`, `API's id +\S+`, `planned`, `sent +id `)
	ref := w.refs("sent")[0]
	out, _ = w.do(exitOK, "why", ref[:len(ref)-3], "-o", "json")
	o := w.objects(out, "why")
	if len(o) != 1 || o[0]["ref"] != ref || len(o[0]["history"].([]any)) != 3 || len(o[0]["key"].(string)) != 32 {
		t.Errorf("got %v", o)
	}
	out, _ = w.do(exitOK, "why", "hours.csv:4")
	contains(t, out, `rejected \(bad_duration\)`, `a row that never became an entry`)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, _ := w.do(exitOK, "config", "validate")
	if n := strings.Count(out, "06:00 UTC"); n != upcomingRuns {
		t.Errorf("got %d runs:\n%s", n, out)
	}
	out, _ = w.do(exitOK, "config", "show")
	contains(t, out, `api.url .*# .*tsupload.yaml:2`)
	out, _ = w.do(exitOK, "config", "show", "-o", "json")
	if len(w.objects(out, "setting")) < 20 {
		t.Errorf("got:\n%s", out)
	}
	out, _ = w.do(exitOK, "config", "schema")
	contains(t, out, `json-schema.org`)
	w.more = "    oops: 1\n"
	_, log := w.do(exitConfig, "config", "validate")
	contains(t, log, `tsupload.yaml:\d+:\d+: .*oops`)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, _ := w.do(exitOK, "version")
	contains(t, out, `^tsupload dev.* go1\.`)
	out, _ = w.do(exitOK, "version", "-o", "json")
	if o := w.objects(out, "version"); len(o) != 1 {
		t.Errorf("got %s", out)
	}
}

func TestSandboxCommand(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	code := run(t.Context(), environment{
		args: []string{"sandbox", "--fault", "429=1@2"}, stdout: &out, stderr: &log, getenv: func(string) string { return "" }, signals: stopAtOnce(),
	})
	if code != exitOK {
		t.Fatalf("got exit %d: %s", code, log.String())
	}
	contains(t, out.String(), `url: http://127\.0\.0\.1:\d+`, `export TSUPLOAD_CLIENT_SECRET=[0-9A-Z]{26}\n`)

	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("of my own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	code = run(t.Context(), environment{
		args: []string{"sandbox", "--client-secret-file", file}, stdout: &out, stderr: &log, getenv: func(string) string { return "" }, signals: stopAtOnce(),
	})
	if code != exitOK || strings.Contains(out.String(), "of my own") || strings.Contains(out.String(), "export ") {
		t.Errorf("got exit %d:\n%s", code, out.String())
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, _ := w.do(exitOK, "auth", "status")
	contains(t, out, `client secret +file `, `token +none is kept`)
	first, _ := w.do(exitOK, "auth", "token")
	again, _ := w.do(exitOK, "auth", "token", "--min-ttl", "1m")
	if strings.Count(first, ".") != 2 || first != again {
		t.Errorf("got %q, then %q", first, again)
	}
	other, _ := w.do(exitOK, "auth", "token", "--min-ttl", "2h")
	if other == first {
		t.Error("a token that ends too soon was printed")
	}
	out, _ = w.do(exitOK, "auth", "status", "-o", "json")
	if strings.Contains(out, strings.TrimSpace(other)) {
		t.Error("status shows the token")
	}
	if o := w.objects(out, "auth"); len(o) != 1 || o[0]["kept"] != true || o[0]["seconds_left"].(float64) < 3000 {
		t.Errorf("got %s", out)
	}
	for _, bad := range []string{"", "\n", "two\nlines\n", strings.Repeat("x", maxSecret+1)} {
		w.stdin = bad
		w.do(exitUsage, "auth", "set-secret")
	}
}

// A run that a signal ended did not find the API unreachable.
func TestEnding(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for want, r := range map[string]ledger.Run{
		"goes on, or died":      {Started: began},
		"exit 5 after 2s":       {Started: began, Ended: began.Add(2 * time.Second), Exit: 5, Summary: `{"stop":"unreachable"}`},
		"asked to end after 2s": {Started: began, Ended: began.Add(2 * time.Second), Exit: 5, Summary: `{"stop":"drained"}`},
		"exit 0 after 1m0.001s": {Started: began, Ended: began.Add(time.Minute + time.Millisecond)},
	} {
		if got := ending(&r); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
