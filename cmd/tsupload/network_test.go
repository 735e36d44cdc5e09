package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// apiFault is one misbehaviour of the API, or of what stands before it, and
// what becomes of the one entry that goes there.
type apiFault struct {
	name   string
	answer http.HandlerFunc
	exit   int
	state  string
	said   string
}

// raw takes the connection over, once the request is read.
func raw(write func(w io.Writer, over <-chan struct{})) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		over := make(chan struct{})
		go func() { // the client says no more, and then goes
			defer close(over)
			_, _ = io.Copy(io.Discard, conn)
		}()
		write(conn, over)
	}
}

const created = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"

// endlessHeaders is an answer that never comes to its body.
func endlessHeaders(w http.ResponseWriter, r *http.Request) {
	raw(func(w io.Writer, over <-chan struct{}) {
		_, err := io.WriteString(w, created)
		for err == nil {
			_, err = io.WriteString(w, "X-More: "+strings.Repeat("x", 1<<10)+"\r\n")
		}
		<-over
	})(w, r)
}

// trickle writes text a byte at a time, until the other end has gone.
func trickle(head, text string) http.HandlerFunc {
	return raw(func(w io.Writer, over <-chan struct{}) {
		_, _ = io.WriteString(w, head)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := range text {
			select {
			case <-tick.C:
				_, _ = io.WriteString(w, text[i:i+1])
			case <-over:
				return
			}
		}
	})
}

func saying(status int, kind, body string) http.HandlerFunc { return text(status, kind, body)(nil) }

// TestAPIFaults: whatever answers in place of the API, an entry is sent only
// where the answer says so, and no other server is asked.
func TestAPIFaults(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	long := `{"id":"7","more":"` + strings.Repeat("x", 1<<20) + `"}`
	faults := []apiFault{
		{"as it should be", saying(201, "application/json", `{"id":"7"}`), exitOK, "sent", "sent 1 entr"},
		{"a portal's page", saying(200, "text/html", html), exitPerson, "in_doubt", "HTML page"},
		{"a portal's page in place of JSON", saying(201, "application/json", html), exitPerson, "in_doubt", "not one complete JSON value"},
		{"words in place of JSON", saying(200, "text/plain", "OK"), exitPerson, "in_doubt", "not one complete JSON value"},
		{"an answer without end", saying(201, "application/json", long), exitPerson, "in_doubt", "larger than 1048576 bytes"},
		{"a refusal without end", saying(400, "application/json", long), exitPerson, "rejected", "status 400"},
		{"headers without end", endlessHeaders, exitPerson, "in_doubt", "headers exceeded 1048576 bytes"},
		{"a slow header", trickle(created, "X-More: "+strings.Repeat("x", 1<<10)), exitPerson, "in_doubt", "no answer in time"},
		{"a slow answer", trickle(created+"Content-Length: 1000\r\n\r\n", `{"id":"7"`+strings.Repeat(" ", 1<<10)), exitPerson, "in_doubt", "the answer was cut off"},
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		faults = append(faults, apiFault{fmt.Sprint("a redirect ", status), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		}, exitConfig, "new", fmt.Sprintf("status %d", status)})
	}
	each(t, faults, func(f apiFault) string { return f.name }, func(t *testing.T, f apiFault) { //nolint:thelper // a test
		var asked atomic.Int64
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			f.answer(w, r)
		}))
		t.Cleanup(api.Close)
		p := doctorWorld(t, api, "")
		p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
		out, _ := p.do(f.exit, "run", "--once")
		why, _ := p.do(exitOK, "why", "hours.csv:2")
		contains(t, out+why, f.said)
		contains(t, why, "state +"+f.state)
		if n := asked.Load(); n != 1 {
			t.Errorf("the API was asked %d times, want once", n)
		}
		if strings.Contains(p.said.String(), "canary-page-1f") {
			t.Error("the page of the server is shown")
		}
	})
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("the other server got %d requests", n)
	}
}

// TestClocks: a clock that is wrong by more than minutes is told of, once a
// run; the run goes on, because the servers decide what they take.
func TestClocks(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]string{
		time.Minute: "", -time.Minute: "", 6 * time.Minute: "ahead=-[56]m", -3 * time.Hour: "ahead=(2h59m59|3h0m[0-9])",
	} {
		for _, server := range []string{"API", "authorization server"} {
			t.Run(fmt.Sprint(server, off), func(t *testing.T) {
				t.Parallel()
				date := func(of string) []string {
					if of != server {
						return []string{time.Now().UTC().Format(http.TimeFormat)}
					}
					return []string{time.Now().Add(off).UTC().Format(http.TimeFormat)}
				}
				api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Date"] = date("API")
					sendJSON(w, 201, `{"id":"7"}`)
				}))
				t.Cleanup(api.Close)
				p := doctorWorld(t, api, "")
				p.set(func(w http.ResponseWriter, r *http.Request) {
					w.Header()["Date"] = date("authorization server")
					p.issue(w, r)
				})
				p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\nu-2,2026-11-16,Apollo,8\n")
				_, log := p.do(exitOK, "run", "--once")
				said := strings.Count(log, "clock and a server's are far apart")
				if want == "" && said != 0 || want != "" && said != 1 {
					t.Errorf("said %d times\n%s", said, log)
				}
				if want != "" {
					contains(t, log, `level=WARN .*server="?`+server+`"? `+want+`.*hint="set this machine's clock`)
				}
			})
		}
	}
}

// tlsServer serves https with a certificate, and says whether a request came
// through.
func tlsServer(t *testing.T, cert tls.Certificate, newest uint16, answer http.HandlerFunc) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_ = r.ParseForm()
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: newest}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, asked
}

// TestNoAuthorities: a ca_file without any is a fault of the configuration,
// which is told before anything is sent.
func TestNoAuthorities(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
	p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
	p.do(exitOK, "ledger", "create")
	for file, said := range map[string]string{p.write("empty.pem", "none"): "no certificate", p.dir + "/gone.pem": "no such file"} {
		for _, section := range []string{"api", "auth", "http"} {
			p.template = func(text string) string {
				if section == "http" {
					return text + fmt.Sprintf("  - {name: far, timezone: UTC, http: {url: %s, ca_file: %q}}\n", p.URL, file)
				}
				return strings.Replace(text, section+":\n", fmt.Sprintf("%s:\n  ca_file: %q\n", section, file), 1)
			}
			out, log := p.do(exitConfig, "run", "--once")
			contains(t, out+log, "ca_file: .*"+said, "hint: .*PEM")
		}
	}
	if n := p.entries(); n != 0 {
		t.Errorf("the API has %v entries", n)
	}
}

// TestUntrusted: what cannot show that it is the right server gets no request,
// nothing is sent, and the hint says what to do, wherever that server stands.
func TestUntrusted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const day = 24 * time.Hour
	ca := issueCertificate(t, "Example CA", now.Add(-day), now.Add(900*day), "ca.example", nil)
	known := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]}))
	type place struct {
		name, key string
		exit      int
	}
	places := []place{{"API", "api", exitUnreachable}, {"authorization server", "auth", exitUnreachable}, {"export", "http", exitSource}}
	for _, f := range []struct {
		name   string
		until  time.Duration
		host   string
		ca     string
		newest uint16
		said   string // empty: all is well
	}{
		{"good", day, "127.0.0.1", known, tls.VersionTLS12, ""},
		{"over", -time.Hour, "127.0.0.1", known, 0, "certificate has expired"},
		{"of another", day, "other.example", known, 0, "certificate .*127\\.0\\.0\\.1"},
		{"by nobody known", day, "127.0.0.1", "", 0, "unknown authority"},
		{"too old", day, "127.0.0.1", known, tls.VersionTLS11, "protocol version"},
	} {
		cert := issueCertificate(t, "server", now.Add(-9*day), now.Add(f.until), f.host, &ca)
		for _, at := range places {
			t.Run(f.name+"/"+at.name, func(t *testing.T) {
				t.Parallel()
				p := newAuthProxy(t)
				p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
				p.write("in/hours.csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")
				url, asked := tlsServer(t, cert, f.newest, func(w http.ResponseWriter, r *http.Request) {
					switch at.key {
					case "auth":
						p.issue(w, r)
					case "http":
						saying(200, "text/csv", "user_id,date,project,hours\nu-1,2026-11-16,Apollo,8\n")(w, r)
					default:
						sendJSON(w, 201, `{"id":"7"}`)
					}
				})
				line, source := "", "acme"
				if f.ca != "" {
					line = fmt.Sprintf("  ca_file: %q\n", p.write("ca.pem", f.ca))
				}
				p.template = func(text string) string {
					text = strings.Replace(text, "supports: [batch, idempotency_key, read_back]", "supports: []", 1)
					switch at.key {
					case "api":
						return strings.Replace(text, "  url: "+p.box.APIURL()+"\n", "  url: "+url+"\n"+line, 1)
					case "auth":
						return strings.Replace(text, "  token_url: "+p.URL+"/token\n", "  token_url: "+url+"/token\n"+line, 1)
					}
					source = "far"
					return text + "  - name: far\n    timezone: UTC\n    http:\n      url: " + url + "/export\n" + strings.Replace(line, "  ", "      ", 1)
				}
				p.configure()
				p.do(exitOK, "ledger", "create")
				if f.said == "" {
					p.do(exitOK, "run", "--once", "--source", source)
					if asked.Load() == 0 {
						t.Error("no request came through")
					}
					return
				}
				out, log := p.do(at.exit, "run", "--once", "--source", source)
				contains(t, out+log, f.said)
				if f.newest == 0 {
					contains(t, out+log, `hint: .*ca_file`)
				}
				if n := asked.Load(); n != 0 {
					t.Errorf("%d requests came through", n)
				}
				if n := p.entries(); n != 0 {
					t.Errorf("the API has %v entries", n)
				}
				// Nothing is in doubt either: with what it should be, all is well.
				if at.key == "http" {
					return
				}
				if out, _ := p.do(exitOK, "entries", "--state", "new", "-o", "json"); strings.Count(out, `"type":"entry"`) != 1 {
					t.Errorf("the entry is not new:\n%s", out)
				}
			})
		}
	}
}
