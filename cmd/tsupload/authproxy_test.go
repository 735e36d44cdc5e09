package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// authProxy is an authorization server that has a sandbox's issue the tokens,
// and may spoil their answers, or ask for other credentials than the sandbox
// does. It has a token endpoint only.
type authProxy struct {
	*httptest.Server

	t   *testing.T
	box *sandbox.Sandbox
	dir string
	// auth are lines of the section auth beside token_url.
	auth string
	env  map[string]string
	// template may change the configuration before it is written.
	template func(string) string

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
	forms  []url.Values
	said   strings.Builder // all that the program printed
}

func newAuthProxy(t *testing.T) *authProxy {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Config{ClientSecret: "planted-canary-secret"})
	if err != nil {
		t.Fatal(err)
	}
	p := &authProxy{t: t, box: box, dir: t.TempDir(), env: map[string]string{"TSUPLOAD_CLIENT_SECRET": box.ClientSecret()}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.mu.Lock()
		p.forms = append(p.forms, r.PostForm)
		answer := p.answer
		p.mu.Unlock()
		if answer == nil {
			answer = p.issue
		}
		answer(w, r)
	}))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
		_ = box.Close()
	})
	return p
}

// set replaces the answer; nil is what the sandbox would say.
func (p *authProxy) set(answer func(http.ResponseWriter, *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.forms = answer, nil
}

// requests counts the token requests since the last set.
func (p *authProxy) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forms)
}

// token asks the sandbox for a token, with the sandbox's own credentials.
func (p *authProxy) token(r *http.Request) (status int, body []byte) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": r.PostForm["scope"]}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.box.Issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Error(err)
		return 500, nil
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(p.box.ClientID(), p.box.ClientSecret())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 500, nil // whoever asked has gone
	}
	defer resp.Body.Close()
	body, _ = io.ReadAll(resp.Body)
	return resp.StatusCode, body
}

// issue hands on a token of the sandbox.
func (p *authProxy) issue(w http.ResponseWriter, r *http.Request) {
	status, body := p.token(r)
	sendJSON(w, status, string(body))
}

func sendJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// write makes a file in the directory of the configuration.
func (p *authProxy) write(name, text string) string {
	p.t.Helper()
	w := &world{tb: p.t, dir: p.dir}
	return w.write(name, strings.TrimSuffix(text, "\n"))
}

// configure writes the configuration.
func (p *authProxy) configure() string {
	text := fmt.Sprintf(`api:
  url: %s
  supports: [batch, idempotency_key, read_back]
  timeout: 2s
  retry_wait: 5ms
auth:
  token_url: %s/token
  client_id: machine
%s
state: {dir: %q}
listen: {address: ""}
sources:
  - name: acme
    timezone: UTC
    csv: {path: %q}
`, p.box.APIURL(), p.URL, p.auth, filepath.Join(p.dir, "state"), filepath.Join(p.dir, "in", "*.csv"))
	if p.template != nil {
		text = p.template(text)
	}
	return p.write("tsupload.yaml", text)
}

// run calls the program and returns its status and all that it printed.
func (p *authProxy) run(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	var out, log bytes.Buffer
	code = run(p.t.Context(), environment{
		args: append([]string{"--config", p.configure()}, args...), stdin: strings.NewReader(""), stdout: &out, stderr: &log,
		getenv: func(name string) string { return p.env[name] },
	})
	p.said.WriteString(out.String() + log.String())
	if strings.Contains(out.String()+log.String(), p.box.ClientSecret()) {
		p.t.Errorf("tsupload %s shows the client secret", strings.Join(args, " "))
	}
	return code, out.String(), log.String()
}

// do is run that fails unless the status is as wanted.
func (p *authProxy) do(want int, args ...string) (stdout, stderr string) {
	p.t.Helper()
	code, out, log := p.run(args...)
	if code != want {
		p.t.Fatalf("tsupload %s: got exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, log)
	}
	return out, log
}

// stored is all that is in the state directory.
func (p *authProxy) stored() string {
	p.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(p.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return all.String()
}
