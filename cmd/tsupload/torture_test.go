package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// misbehaviour is the mix of reliability.md 2.2: half of the requests go wrong,
// and most of those were executed.
var misbehaviour = []string{ // a constant list
	"reset-after@p=0.15", "status-after=500@p=0.05", "hang-after@p=0.05", "late=40ms@p=0.05", "reset@p=0.05", "status=503@p=0.10", "429=0@p=0.05",
}

// TestTorture kills the program with SIGKILL at random moments while the API
// misbehaves and the export grows. Nothing is lost, and nothing is there twice.
func TestTorture(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	kills := setting("TSUPLOAD_TORTURE_KILLS", 6)
	for _, lv := range levels {
		t.Run(lv.name, func(t *testing.T) {
			t.Parallel()
			rnd := chance(t)
			w := newRig(t, bin, lv)
			w.timeout, w.settle = 150*time.Millisecond, 500*time.Millisecond
			began, killed := time.Now(), 0
			for killed < kills {
				w.grow(1 + rnd.IntN(8))
				w.faults(0, misbehaviour...)
				var out strings.Builder
				cmd, end := w.begin(&out, "run", "--once")
				wait(t, time.Duration(rnd.IntN(90_000))*time.Microsecond)
				_ = cmd.Process.Kill()
				if code := end(); code == -1 {
					killed++
				}
				if killed%8 == 0 {
					w.check("after a kill", false)
				}
			}
			rate := float64(killed) / time.Since(began).Seconds()
			v := w.subside()
			s := w.stats()
			t.Logf("%s: %d kills, %.1f a second; %d entries, %v; %d uploads, twice %d, lost %d", lv.name, killed, rate, len(w.lines), v.states, s.Uploads, v.twice, v.lost)
		})
	}
}

// The negative controls break one rule each. The harness must see what that
// does, or it sees nothing.

// TestControlNoIntent: a client that sends first and remembers afterwards
// enters entries twice.
func TestControlNoIntent(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	w.grow(40)
	if code, out := w.exec("", "run", "--dry-run"); code != exitOK {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	token := w.token()
	w.faults(0, misbehaviour...)
	remembered := map[int]bool{}
	client := &http.Client{Timeout: 200 * time.Millisecond}
	for range 50 {
		for i, l := range w.lines {
			if remembered[i] {
				continue
			}
			body := fmt.Sprintf(`{"user_id":%q,"user_type":"Contractor","date":"%sT00:00:00.000Z","project":%q,"hours":%s}`, l.person, l.day, l.project, l.seconds.Hours())
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.sandbox.APIURL()+"/timesheets/upload", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := client.Do(req)
			if err != nil {
				continue
			}
			remembered[i] = resp.StatusCode == http.StatusCreated
			_ = resp.Body.Close()
		}
	}
	if s := w.stats(); s.Entries <= int64(len(w.lines)) {
		t.Errorf("got %d entries for %d rows: this harness would not see a double entry", s.Entries, len(w.lines))
	}
}

// token fetches a token as any client would.
func (w *rig) token() string {
	w.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"batch:upload"}, "audience": {w.sandbox.Audience()}}
	var meta, answer struct {
		Endpoint string `json:"token_endpoint"`
		Token    string `json:"access_token"`
	}
	get := func(req *http.Request, into any) {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			w.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.sandbox.Issuer()+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	get(req, &meta)
	req, err = http.NewRequestWithContext(w.t.Context(), http.MethodPost, meta.Endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(w.sandbox.ClientID(), w.sandbox.ClientSecret())
	get(req, &answer)
	if answer.Token == "" {
		w.t.Fatal("no token")
	}
	return answer.Token
}

// TestControlResend: sending again without a key enters entries twice, which is
// what on_ambiguous: resend accepts; and it loses none.
func TestControlResend(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	lv := levelNamed(t, "L0")
	lv.more, lv.settles = "  on_ambiguous: resend\n", true
	w := newRig(t, bin, lv)
	w.grow(30)
	w.faults(0, "reset-after@p=0.5")
	for range 3 {
		w.once("")
	}
	w.faults(0)
	code, out := w.once("")
	v := w.look(true)
	if v.twice == 0 {
		t.Errorf("no double entry was found: %v", v.states)
	}
	if v.lost > 0 || v.states[timesheet.StateSent] != len(w.lines) || code != exitOK {
		t.Errorf("got exit status %d, %v, lost %d\n%s", code, v.states, v.lost, out)
	}
}

// TestControlSettle: "not there" is no evidence as long as the first request can
// still be executed.
func TestControlSettle(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	for _, c := range []struct {
		name   string
		settle time.Duration
		twice  bool
	}{
		{"without a settle window", 0, true},
		{"with a settle window", 5 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRig(t, bin, levelNamed(t, "L1"))
			w.settle, w.readGap = c.settle, 0
			w.grow(8)
			const late = 4 * time.Second
			w.faults(0, "late="+late.String()+"@1-2")
			began := time.Now()
			w.once("")
			w.once("")
			if c.twice {
				eventually(t, "an entry is there twice", func() bool { return w.stats().Entries > int64(len(w.lines)) })
				if w.look(true).twice == 0 {
					t.Error("the harness does not see it")
				}
				return
			}
			wait(t, time.Until(began.Add(late+time.Second)))
			w.finish()
		})
	}
}

// TestControlGetBody: net/http repeats a POST by itself where it finds an
// idempotency key and a way to rewind the body. Our requests reach it without.
func TestControlGetBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rewind  bool
		commits int64
	}{
		{"with GetBody", true, 2},
		{"without", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var commits atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Header.Get("Idempotency-Key") == "" {
					return // it only warms the connection
				}
				if commits.Add(1) == 1 {
					conn, _, err := http.NewResponseController(rw).Hijack()
					if err == nil {
						_ = conn.Close()
					}
				}
			}))
			defer s.Close()
			client := s.Client()
			send := func(key string) error {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, bytes.NewReader([]byte("{}")))
				if err != nil {
					return err
				}
				if !c.rewind {
					req.GetBody = nil
				}
				if key != "" {
					req.Header.Set("Idempotency-Key", key)
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.Body.Close()
			}
			if err := send(""); err != nil {
				t.Fatal(err)
			}
			err := send("k")
			if got := commits.Load(); got != c.commits || (err != nil) == c.rewind {
				t.Errorf("got %d commits, error %v, want %d", got, err, c.commits)
			}
		})
	}
}

// TestCutAnswers cuts the answer at many places, its head included: what is not
// whole is no evidence.
func TestCutAnswers(t *testing.T) {
	bin := builtProgram(t)
	t.Parallel()
	w := newRig(t, bin, levelNamed(t, "L0"))
	cut := &cutter{target: strings.TrimPrefix(w.sandbox.APIURL(), "http://"), step: 17}
	entries, runs, cuts := 40, 12, int64(20)
	if full() { // every byte
		cut.step = 1
		entries, runs, cuts = 800, 250, 700
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go cut.serve(context.WithoutCancel(t.Context()), l)
	w.grow(entries)
	w.apiURL = "http://" + l.Addr().String()
	cut.armed.Store(true)
	for range runs {
		if full() && cut.cuts.Load() >= cuts {
			break
		}
		// The breaker ends a run after a few of these.
		w.once("")
		w.check("with answers cut off", true)
	}
	v := w.look(true)
	if cut.cuts.Load() < cuts || v.states[timesheet.StateSent] != 0 {
		t.Errorf("got %v after %d cuts, want none sent", v.states, cut.cuts.Load())
	}
}

// cutter passes connections on, and of each answer to an upload only a part,
// another one every time.
type cutter struct {
	target string
	step   int // in bytes, from one answer to the next
	armed  atomic.Bool
	cuts   atomic.Int64
}

func (c *cutter) serve(ctx context.Context, l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil {
			return
		}
		go c.pass(ctx, client)
	}
}

func (c *cutter) pass(ctx context.Context, client net.Conn) {
	defer client.Close()
	r := bufio.NewReader(client)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		out := req.Clone(ctx)
		out.RequestURI, out.URL.Scheme, out.URL.Host, out.Body = "", "http", c.target, io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			return
		}
		var whole bytes.Buffer
		_ = resp.Write(&whole)
		_ = resp.Body.Close()
		answer := whole.Bytes()
		if c.armed.Load() && strings.HasSuffix(req.URL.Path, "/upload") {
			n := int(c.cuts.Add(1)) * c.step % (len(answer) - 1)
			_, _ = client.Write(answer[:n])
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}
