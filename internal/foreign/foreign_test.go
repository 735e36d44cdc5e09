// Package foreign_test runs the real program against a server that is not
// ours: Node and express, an opaque token, the plain contract and nothing
// else. What passes here depends on none of the sandbox's niceties.
//
// Where Node is absent, or its packages cannot be had, the test is skipped
// with a word; TSUPLOAD_REQUIRE_NODE=1 makes both a failure.
package foreign_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	clientID = "payroll machine" // reserved characters, because basic must encode them
	secret   = "s3cret: +/%&="
	audience = "https://timesheets.example.com/api"
)

// export has two equal rows: people do log the same thing twice.
const export = `user_id,user_type,date,project,hours
007,Contractor,2024-05-13,StoreZero,5
007,Contractor,2024-05-13,Depot,2.5
007,Contractor,2024-05-14,StoreZero,7.75
008,Contractor,2024-05-14,StoreZero,1.25
008,Contractor,2024-05-14,StoreZero,1.25
`

// body is what the plain contract puts on the wire.
type body struct {
	UserID   string  `json:"user_id"`
	UserType string  `json:"user_type"`
	Date     string  `json:"date"`
	Project  string  `json:"project"`
	Hours    float64 `json:"hours"`
}

var want = map[body]int{
	{"007", "Contractor", "2024-05-13T00:00:00.000Z", "StoreZero", 5}:    1,
	{"007", "Contractor", "2024-05-13T00:00:00.000Z", "Depot", 2.5}:      1,
	{"007", "Contractor", "2024-05-14T00:00:00.000Z", "StoreZero", 7.75}: 1,
	{"008", "Contractor", "2024-05-14T00:00:00.000Z", "StoreZero", 1.25}: 2,
}

func TestForeignServer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("installs npm packages and builds the program")
	}
	server := install(t)
	program := build(t)

	for _, tc := range []struct {
		name string
		auth string // what the configuration says of the authorization server
	}{
		{"issuer", "issuer: %s/"},
		{"token_url", "token_url: %s/oauth/token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			url := start(t, server)
			dir := t.TempDir()
			file := filepath.Join(dir, "hours.csv")
			config := filepath.Join(dir, "tsupload.yaml")
			write(t, file, export)
			write(t, config, fmt.Sprintf(`api:
  url: %s
auth:
  %s
  audience: %s
  client_id: %s
state:
  dir: %q
sources:
  - name: hours
    timezone: Europe/Berlin
    csv: {path: %q}
`, url, fmt.Sprintf(tc.auth, url), audience, clientID, filepath.Join(dir, "state"), file))

			run(t, program, dir, "ledger", "create", "--config", config)
			run(t, program, dir, "run", "--once", "--config", config, file)
			first := arrived(t, url)
			if diff := cmp.Diff(want, first.multiset()); diff != "" {
				t.Fatalf("after the first run (-want +got):\n%s", diff)
			}

			run(t, program, dir, "run", "--once", "--config", config, file)
			if diff := cmp.Diff(first, arrived(t, url)); diff != "" {
				t.Errorf("the second run sent something, or fetched a token for nothing (-before +after):\n%s", diff)
			}
			if first.TokenRequests != 1 {
				t.Errorf("token requests: got %d, want 1", first.TokenRequests)
			}
		})
	}
}

// unavailable skips the test, or fails it where Node is required.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("TSUPLOAD_REQUIRE_NODE") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// install copies the server to a folder of its own, has npm fetch what the
// lock file pins, and returns the folder.
func install(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			unavailable(t, "%s is not installed: %v", name, err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{".npmrc", "package.json", "package-lock.json", "server.js"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--no-progress")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		unavailable(t, "npm ci: %v\n%s", err, out)
	}
	return dir
}

// build compiles the program as a user would.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tsupload")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	compile := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/tsupload")
	compile.Dir = filepath.Join("..", "..")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/tsupload: %v\n%s", err, out)
	}
	return program
}

// start runs the server of dir until the test ends and returns its URL.
func start(t *testing.T, dir string) string {
	t.Helper()
	node := exec.CommandContext(t.Context(), "node", "server.js")
	node.Dir = dir
	node.Env = append(os.Environ(), "FOREIGN_CLIENT_ID="+clientID, "FOREIGN_CLIENT_SECRET="+secret, "FOREIGN_AUDIENCE="+audience)
	node.Stderr = os.Stderr
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	node.Cancel = stdin.Close // the server ends when its input does
	node.WaitDelay = 5 * time.Second
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the server ended badly: %v", err)
		}
	})

	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the server said no port: %v", err)
	}
	var ready struct {
		Port int `json:"port"`
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatalf("the server said %q: %v", line, err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", ready.Port)
}

// run runs the program with args and wants exit code 0.
func run(t *testing.T, program, home string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = home
	// Nothing of the developer's own settings may help, or hinder.
	command.Env = slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "TSUPLOAD_") || strings.HasPrefix(pair, "XDG_") ||
			strings.HasPrefix(pair, "CREDENTIALS_DIRECTORY=") || strings.HasPrefix(pair, "STATE_DIRECTORY=")
	})
	command.Env = append(command.Env, "HOME="+home, "TSUPLOAD_CLIENT_SECRET="+secret)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("tsupload %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if strings.Contains(string(out), secret) {
		t.Errorf("tsupload %s printed the secret", strings.Join(args, " "))
	}
}

// arrivals is what the server saw.
type arrivals struct {
	Count         int    `json:"count"`
	TokenRequests int    `json:"token_requests"`
	Bodies        []body `json:"bodies"`
}

func (a arrivals) multiset() map[body]int {
	set := map[body]int{}
	for _, b := range a.Bodies {
		set[b]++
	}
	return set
}

func arrived(t *testing.T, url string) arrivals {
	t.Helper()
	response, err := http.Get(url + "/count")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /count: got %s, want 200", response.Status)
	}
	var a arrivals
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatalf("GET /count: %v", err)
	}
	return a
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
