// Package interop runs the program against the OpenID provider of zitadel/oidc,
// so that it is not only our own sandbox that understands it.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	user     = "test-user2"
	password = "verysecure"
)

// provider starts the other implementation.
func provider(t *testing.T) string {
	t.Helper()
	var handler http.Handler
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	storage.RegisterClients(storage.NativeClient("native", "http://127.0.0.1/callback"), storage.DeviceClient("device", "device-secret"))
	handler = exampleop.SetupServer(s.URL, storage.NewStorage(users{storage.NewUserStore(s.URL)}), slog.New(slog.DiscardHandler), false, op.WithAllowInsecure())
	return s.URL
}

// users are also known by their names: the example's device page names the
// person so.
type users struct{ storage.UserStore }

func (u users) GetUserByID(id string) *storage.User {
	if found := u.GetUserByUsername(id); found != nil {
		return found
	}
	return u.UserStore.GetUserByID(id)
}

// program builds tsupload.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "tsupload")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/tsupload")
	cmd.Dir = "../../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

type client struct {
	t        *testing.T
	bin, dir string
	env      []string
}

// newClient has a configuration with this section auth.
func newClient(t *testing.T, bin, auth string, env ...string) *client {
	t.Helper()
	dir := t.TempDir()
	text := "api: {url: \"http://127.0.0.1:1\"}\nstate: {dir: state}\nauth: {" + auth + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "tsupload.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &client{t, bin, dir, append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + dir}, env...)}
}

func (c *client) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), c.bin, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	return cmd
}

func (c *client) want(code int, args ...string) string {
	c.t.Helper()
	cmd := c.command(args...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%s: exit status %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return strings.TrimSpace(string(out))
}

// dropAccess leaves nothing but the refresh token.
func (c *client) dropAccess() {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "state", "tokens", "*.json"))
	if err != nil || len(files) == 0 {
		c.t.Fatalf("got %v, %v", files, err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err == nil && bytes.Contains(content, []byte(`"access_token"`)) {
			err = os.Remove(name)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// logIn starts a login and lets do act on what it shows.
func (c *client) logIn(shown *regexp.Regexp, do func(match []string) error, args ...string) string {
	c.t.Helper()
	cmd := c.command(append([]string{"auth", "login", "--timeout", "30s"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	var said strings.Builder
	lines, done := bufio.NewScanner(stderr), false
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		match := shown.FindStringSubmatch(said.String())
		if done || match == nil {
			continue
		}
		done = true
		if err := do(match); err != nil {
			c.t.Error(err)
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err != nil {
		c.t.Fatalf("login: %v\n%s%s", err, said.String(), out.String())
	}
	return out.String()
}

func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 20 * time.Second}
}

func post(ctx context.Context, b *http.Client, address string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.Do(req)
	if err != nil {
		return nil, err
	}
	return resp, resp.Body.Close()
}

func TestInterop(t *testing.T) {
	bin, issuer := program(t), provider(t)

	t.Run("client credentials", func(t *testing.T) {
		c := newClient(t, bin, "issuer: \""+issuer+"\", client_id: sid1, client_secret: {env: SECRET}, scopes: [openid]", "SECRET=verysecret")
		first := c.want(0, "auth", "token")
		if first == "" || c.want(0, "auth", "token") != first {
			t.Error("the token is not kept")
		}
		wrong := newClient(t, bin, "issuer: \""+issuer+"\", client_id: sid1, client_secret: {env: SECRET}, scopes: [openid]", "SECRET=wrong")
		wrong.want(4, "auth", "token")
	})

	t.Run("code, refresh, logout", func(t *testing.T) {
		c := newClient(t, bin, "as: person, issuer: \""+issuer+"\", client_id: native, scopes: [openid, profile]")
		out := c.logIn(regexp.MustCompile(`(?m)^(http\S+)$`), func(m []string) error {
			b := browser(t)
			resp, err := b.Get(m[1])
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			// The page for the login, whose address names the request.
			id := resp.Request.URL.Query().Get("authRequestID")
			resp, err = post(t.Context(), b, issuer+"/login/username", url.Values{"username": {user}, "password": {password}, "id": {id}})
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("the redirect was answered with %s", resp.Status)
			}
			return err
		}, "--no-browser")
		if !strings.Contains(out, "offline_access openid profile") || strings.Contains(out, "login ends") {
			t.Errorf("got %s", out)
		}
		first := c.want(0, "auth", "token")
		for range 3 {
			c.dropAccess()
			next := c.want(0, "auth", "token")
			if next == first || next == "" {
				t.Error("the token was not refreshed")
			}
			first = next
		}
		if got := c.want(0, "auth", "logout"); got != "logged out" {
			t.Errorf("got %s", got)
		}
		c.want(4, "auth", "token")
	})

	t.Run("device", func(t *testing.T) {
		c := newClient(t, bin, "as: person, issuer: \""+issuer+"\", client_id: device, client_secret: {env: SECRET}, scopes: [openid, profile]", "SECRET=device-secret")
		c.logIn(regexp.MustCompile(`(?m)^    (\S+)$`), func(m []string) error {
			b := browser(t)
			_, err := post(t.Context(), b, issuer+"/device/login", url.Values{"user_code": {m[1]}, "username": {user}, "password": {password}})
			if err != nil {
				return err
			}
			resp, err := post(t.Context(), b, issuer+"/device/confirm", url.Values{"action": {"allowed"}})
			if err == nil && (resp.StatusCode != http.StatusOK || resp.Request.URL.RawQuery != "") {
				err = fmt.Errorf("the page answers %s at %s", resp.Status, resp.Request.URL)
			}
			return err
		}, "--device")
		if c.want(0, "auth", "token") == "" {
			t.Error("no token")
		}
		c.want(0, "auth", "logout")
	})
}
