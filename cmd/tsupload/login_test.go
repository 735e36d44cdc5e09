package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/exampleco/tsupload/internal/login/logintest"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// desk is a person's computer: the program, its configuration, and the other
// end, whose refresh tokens are good for one use.
type desk struct {
	t       *testing.T
	bin     string
	dir     string
	sandbox *sandbox.Sandbox
	env     []string
	// visit opens the address of the login page and logs in.
	visit func(address string) error
}

func newDesk(t *testing.T, bin string) *desk {
	t.Helper()
	s, err := sandbox.Start(context.WithoutCancel(t.Context()), sandbox.Config{TokenTTL: time.Hour, Passwords: map[string]string{"cy": personPassword}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := newDeskAt(t, bin, s.APIURL(), fmt.Sprintf("issuer: %s, audience: %s, client_id: %s", s.Issuer(), s.Audience(), sandbox.CLIClient))
	d.sandbox = s
	d.visit = func(address string) error {
		cy := sandboxtest.Person{Username: "cy", Password: personPassword}
		redirect, err := cy.LogIn(t.Context(), address)
		if err == nil {
			_, _, err = sandboxtest.Open(t.Context(), redirect)
		}
		return err
	}
	return d
}

// newDeskAt is a desk at another authorization server than the sandbox's.
func newDeskAt(t *testing.T, bin, api, auth string) *desk {
	t.Helper()
	d := &desk{t: t, bin: bin, dir: t.TempDir()}
	text := fmt.Sprintf(`api: {url: %s}
auth: {as: person, %s}
state: {dir: state}
sources:
  - {name: acme, timezone: UTC, csv: {path: "*.csv", settle_file: 0s}}
`, api, auth)
	if err := os.WriteFile(filepath.Join(d.dir, "tsupload.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = []string{"HOME=" + d.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + d.dir, "XDG_RUNTIME_DIR=" + d.dir}
	return d
}

func (d *desk) command(crash string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), d.bin, append([]string{"--config", filepath.Join(d.dir, "tsupload.yaml")}, args...)...)
	cmd.Dir, cmd.Env = d.dir, append([]string{"TSUPLOAD_CRASH=" + crash}, d.env...)
	return cmd
}

// exec runs the program to its end.
func (d *desk) exec(crash string, args ...string) (code int, output string) {
	d.t.Helper()
	cmd := d.command(crash, args...)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

func (d *desk) want(code int, crash string, args ...string) string {
	d.t.Helper()
	got, out := d.exec(crash, args...)
	if got != code {
		d.t.Errorf("%s: exit status %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return out
}

// logIn logs in at the address that is shown.
func (d *desk) logIn() string {
	d.t.Helper()
	out, err := d.tryLogIn()
	if err != nil {
		d.t.Fatalf("login: %v\n%s", err, out)
	}
	return out
}

func (d *desk) tryLogIn() (string, error) {
	d.t.Helper()
	cmd := d.command("", "auth", "login", "--no-browser", "--timeout", "20s")
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	var said strings.Builder
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if !strings.HasPrefix(lines.Text(), "http") {
			continue
		}
		if err := d.visit(lines.Text()); err != nil {
			d.t.Error(err)
			_ = cmd.Process.Kill()
			break
		}
	}
	err = cmd.Wait()
	return said.String() + out.String(), err
}

// What cannot be kept, because the place went away while the person logged in,
// does not live on at the server.
func TestLoginNotKept(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	s := logintest.New(t)
	d := newDeskAt(t, bin, "http://127.0.0.1:1", fmt.Sprintf("issuer: %s, client_id: %s", s.Issuer(), logintest.ClientID))
	d.visit = func(address string) error {
		place := filepath.Join(d.dir, "state")
		if err := os.RemoveAll(place); err != nil {
			return err
		}
		if err := os.WriteFile(place, nil, 0o600); err != nil {
			return err
		}
		resp, err := http.Get(address)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if out, err := d.tryLogIn(); err == nil {
		t.Errorf("logged in:\n%s", out)
	}
	if got := strings.Join(s.Revoked(), " "); got != "refresh_token access_token" {
		t.Errorf("revoked %q, want both tokens", got)
	}
}

// A second login ends the first at the server, and not itself.
func TestLoginAgain(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	d := newDesk(t, bin)
	d.logIn()
	first := d.refreshToken()
	d.logIn()
	if got := d.refreshToken(); got == first {
		t.Error("the second login left the first's refresh token")
	}
	d.want(exitOK, "", "auth", "token", "--min-ttl", "2h")
	resp, err := http.PostForm(d.sandbox.Issuer()+authserver.TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first}, "client_id": {sandbox.CLIClient}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "invalid_grant") {
		t.Errorf("the first login lives on: %s %s", resp.Status, body)
	}
}

// refreshToken is that of the login which is kept.
func (d *desk) refreshToken() string {
	d.t.Helper()
	files, _ := filepath.Glob(filepath.Join(d.dir, "state", "tokens", "*.json"))
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			d.t.Fatal(err)
		}
		if found := regexp.MustCompile(`"refresh_token":"([^"]+)"`).FindSubmatch(content); found != nil {
			return string(found[1])
		}
	}
	d.t.Fatalf("no refresh token in %v", files)
	return ""
}

// The server cannot be told that the first login is over: the second counts all
// the same. And where it would end the second along with the first, it is not told.
func TestLoginAgainUntold(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	for _, tc := range []struct {
		name, dialect, says string
	}{
		{"fails", "", `note: the authorization server was not told .*HTTP 500`},
		{"would end both", ", dialect: keycloak", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := logintest.New(t)
			s.Revoke = func(w http.ResponseWriter, form url.Values) bool {
				if form.Get("token_type_hint") != "refresh_token" {
					t.Errorf("got %v, want the refresh token", form)
				}
				w.WriteHeader(http.StatusInternalServerError)
				return true
			}
			d := newDeskAt(t, bin, "http://127.0.0.1:1", fmt.Sprintf("issuer: %s, client_id: %s%s", s.Issuer(), logintest.ClientID, tc.dialect))
			d.visit = func(address string) error {
				resp, err := http.Get(address)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			d.logIn()
			first := d.refreshToken()
			out := d.logIn()
			if d.refreshToken() == first {
				t.Error("the second login is not kept")
			}
			contains(t, out, tc.says, "logged in at")
			if told := s.Requests("revoke") > 0; told != (tc.says != "") || strings.Contains(out, "note:") != told {
				t.Errorf("the server was told: %t\n%s", told, out)
			}
			d.want(exitOK, "", "auth", "token", "--min-ttl", "2h")
		})
	}
}

// Another process holds the lock of the login and does not give it back: nobody
// is asked to log in, and what to do is said.
func TestLoginLockHeld(t *testing.T) {
	t.Parallel()
	d := newDeskAt(t, "", "http://127.0.0.1:1", "issuer: http://127.0.0.1:1, client_id: x")
	login := func(ctx context.Context) (code int, output string) {
		var out bytes.Buffer
		code = run(ctx, environment{
			args: []string{"--config", filepath.Join(d.dir, "tsupload.yaml"), "auth", "login"}, stdout: &out, stderr: &out, getenv: func(string) string { return "" },
		})
		return code, out.String()
	}
	login(t.Context()) // nobody answers there, but the lock is made
	locks, err := filepath.Glob(filepath.Join(d.dir, "state", "tokens", "*.lock"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("got %v, %v", locks, err)
	}
	synctest.Test(t, func(t *testing.T) {
		other := flock.New(locks[0])
		if ok, err := other.TryLock(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		defer func() { _ = other.Unlock() }()
		code, out := login(t.Context())
		if code != exitUnreachable {
			t.Errorf("got exit status %d, want %d", code, exitUnreachable)
		}
		contains(t, out, "error: lock the login: another process has held "+regexp.QuoteMeta(locks[0])+" for 30s", "hint: another tsupload")
	})
}

// Ten processes share one login whose refresh token is good for one use, and
// each of them wants another access token all the time. A second use of one
// would end the login.
func TestLoginProcesses(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	d := newDesk(t, bin)
	d.logIn()
	before := d.sandboxTokens()
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			for range 3 {
				if code, out := d.exec("", "auth", "token", "--min-ttl", "2h"); code != exitOK {
					t.Errorf("process %d is logged out: exit status %d\n%s", n, code, out)
				}
			}
		})
	}
	wg.Wait()
	d.want(exitOK, "", "auth", "token")
	if n := d.sandboxTokens() - before; n < 3 || n > 30 {
		t.Errorf("%d tokens were issued; want at least one for each start of a process, which may share it with the others, and at most one for each start of all", n)
	}
}

func (d *desk) sandboxTokens() int64 {
	d.t.Helper()
	w := &rig{t: d.t, sandbox: d.sandbox}
	return w.stats().TokensIssued
}

// dropAccess leaves nothing but the refresh token.
func (d *desk) dropAccess() {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "state", "tokens", "*.json"))
	if err != nil || len(files) != 2 {
		d.t.Fatalf("got %v, %v, want the files of two tokens", files, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err == nil && bytes.Contains(content, []byte("access_token")) {
			err = os.Remove(name)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
}

// A death between the steps of a refresh, as package tokencache says what it
// leaves.
func TestLoginCrash(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	for _, tc := range []struct {
		point string
		then  int
	}{
		{"login-saved", exitOK},
		// The server took the old refresh token, and nobody knows the new one:
		// at a server without any mercy the person has to log in again.
		{"login-answered", exitRefused},
	} {
		t.Run(tc.point, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, bin)
			d.logIn()
			d.dropAccess()
			d.want(137, tc.point, "auth", "token")
			out := d.want(tc.then, "", "auth", "token")
			if tc.then == exitOK {
				return
			}
			contains(t, out, "not logged in: the login has ended", "log in with `tsupload auth login`")
			d.want(exitRefused, "", "auth", "token")
			d.logIn()
			d.want(exitOK, "", "auth", "token")
		})
	}
}

// Killed while the refresh is under way: before the server did it, the login is
// as it was; after it, as after a lost answer.
func TestLoginKilled(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	for _, tc := range []struct {
		name string
		then int
	}{
		{"before the server did it", exitOK},
		{"after the server did it", exitRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := logintest.New(t)
			d := newDeskAt(t, bin, "http://127.0.0.1:1", fmt.Sprintf("issuer: %s, client_id: %s", s.Issuer(), logintest.ClientID))
			d.visit = func(address string) error {
				resp, err := http.Get(address)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			// The program's idea of an answer that takes long.
			reached, killed := make(chan struct{}), make(chan struct{})
			var once sync.Once
			stall := func() { once.Do(func() { close(reached); <-killed }) }
			s.Token = func(_ http.ResponseWriter, form url.Values) bool {
				if form.Get("grant_type") != "refresh_token" || tc.then != exitOK {
					return false
				}
				stalled := false
				once.Do(func() { stalled = true; close(reached); <-killed })
				return stalled
			}
			if tc.then != exitOK {
				s.AfterRotation = stall
			}
			d.logIn()
			d.dropAccess()
			cmd := d.command("", "auth", "token")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-reached:
			case <-time.After(20 * time.Second):
				t.Error("no refresh came")
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			close(killed)
			d.want(tc.then, "", "auth", "token")
			if s.Alive() != (tc.then == exitOK) {
				t.Errorf("the login is alive: %t", s.Alive())
			}
		})
	}
}

// The whole program with the real Secret Service, as .ci/keyring has one.
func TestKeyringRealLogin(t *testing.T) { // one keyring for all
	if os.Getenv("TSUPLOAD_TEST_KEYRING") != "1" {
		t.Skip("TSUPLOAD_TEST_KEYRING is not set")
	}
	d := newDesk(t, builtProgram(t))
	d.env = append(d.env, "DBUS_SESSION_BUS_ADDRESS="+os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	contains(t, d.logIn(), "login is kept in  the keyring")
	d.want(exitOK, "", "auth", "token", "--min-ttl", "2h")
	d.want(exitOK, "", "auth", "token")
	if files, _ := filepath.Glob(filepath.Join(d.dir, "state", "tokens", "*.json")); len(files) > 0 {
		t.Errorf("tokens are in files all the same: %v", files)
	}
	contains(t, d.want(exitOK, "", "auth", "status"), "the keyring")
	contains(t, d.want(exitOK, "", "auth", "logout"), "logged out")
	d.want(exitRefused, "", "auth", "token")
}
