package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/metrics"
	"github.com/exampleco/tsupload/internal/sandbox"
)

// fakeDaemon is a daemon that stands still.
type fakeDaemon struct {
	sources  []daemon.Status
	progress time.Time
}

func (f *fakeDaemon) Status() []daemon.Status { return f.sources }
func (f *fakeDaemon) Progress() time.Time     { return f.progress }

// served is an app in this process, with its listener, against a sandbox.
type served struct {
	*app
	t   *testing.T
	dir string
	cfg *config.Config
	log lockedLog
	url string
}

// lockedLog is a log that can be read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const servedWeek = `user_id,date,project,hours,notes
canary-person-31aa,2026-11-16,Apollo,8,canary-notes-77ab
canary-person-31aa,2026-11-17,Apollo,7.5,canary-notes-77ab
u-2,2026-11-17,Apollo,4h,canary-notes-77ab
`

func newServed(t *testing.T, more string) *served {
	t.Helper()
	box, err := sandbox.Start(context.WithoutCancel(t.Context()), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	s := &served{t: t, dir: t.TempDir()}
	path := filepath.Join(s.dir, "tsupload.yaml")
	text := box.ConfigBlock() + "state: {dir: state}\n" + more +
		"sources:\n  - {name: acme, id: a1, timezone: UTC, csv: {path: \"in/*.csv\", settle_file: 1ms}}\n  - {name: idle, timezone: UTC, csv: {path: \"none/*.csv\"}}\n"
	if err := errors.Join(os.Mkdir(filepath.Join(s.dir, "in"), 0o700), os.WriteFile(path, []byte(text), 0o600),
		os.WriteFile(filepath.Join(s.dir, "in", "week.csv"), []byte(servedWeek), 0o600)); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TSUPLOAD_CLIENT_SECRET": box.ClientSecret(), "LISTEN_TOKEN": "canary-token-90c1"}
	s.app = &app{
		environment: environment{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &s.log, getenv: func(k string) string { return env[k] }},
		stopping:    make(chan struct{}), cut: make(chan struct{}), overrides: map[string]string{}, configPath: path,
	}
	if s.cfg, err = s.load(); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Create(t.Context(), s.cfg.State.Dir, s.cfg.API.ID, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// open starts the listener.
func (s *served) open(state daemonState, page http.Handler) {
	s.t.Helper()
	stop, err := s.serve(s.t.Context(), s.cfg, state, page, s.logger(s.cfg))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(stop)
	if found := regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(s.log.String()); found != nil {
		s.url = "http://" + found[1]
	}
}

// pass does one run of the first source, as the daemon does.
func (s *served) pass() {
	s.t.Helper()
	p := pass{app: s.app, cfg: s.cfg, sources: s.cfg.Sources[:1], log: s.logger(s.cfg)}
	p.observers = s.newObservers(s.cfg, s.newNotifier(s.cfg, p.log), p.log)
	if _, _, err := p.observed(s.t.Context(), s.stopping); err != nil {
		s.t.Log(err)
	}
}

func (s *served) get(path string, header ...string) (code int, text string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// figures scrapes and checks that each line is there.
func (s *served) figures(lines ...string) string {
	s.t.Helper()
	code, text := s.get("/metrics")
	if code != http.StatusOK {
		s.t.Fatalf("got %d %s", code, text)
	}
	for _, l := range lines {
		if !strings.Contains(text, "\n"+l+"\n") {
			s.t.Errorf("there is no line %s", l)
		}
	}
	if s.t.Failed() {
		s.t.Log(regexp.MustCompile(`(?m)^(#|go_|process_|.*_bucket).*\n`).ReplaceAllString(text, ""))
	}
	return text
}

// What runs do is told by the next scrape, and tells nobody's name.
func TestServeMetrics(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	next := time.UnixMilli(1_800_000_000_000)
	s.open(&fakeDaemon{sources: []daemon.Status{{Source: "acme", Next: next}}, progress: time.Now()}, nil)
	s.figures(`tsupload_runs_total{outcome="ok",source="acme"} 0`, `tsupload_open_entries{source="acme",state="new"} 0`, `tsupload_open_entries{source="idle",state="new"} 0`)

	s.pass()
	text := s.figures(
		`tsupload_runs_total{outcome="person",source="acme"} 1`,
		`tsupload_entries_total{outcome="new",source="acme"} 2`,
		`tsupload_entries_total{outcome="sent",source="acme"} 2`,
		`tsupload_entry_seconds_total{outcome="sent",source="acme"} 55800`,
		`tsupload_entries_total{outcome="rejected",source="acme"} 1`,
		`tsupload_entries_total{outcome="known",source="acme"} 0`,
		`tsupload_open_entries{source="acme",state="rejected"} 1`,
		`tsupload_oldest_unsent_entry_age_seconds{source="acme"} 0`,
		`tsupload_last_run_exit_status{source="acme"} 3`,
		`tsupload_last_run_entries{outcome="sent",source="acme"} 2`,
		`tsupload_token_fetches_total{result="issued"} 1`,
		`tsupload_next_run_timestamp_seconds{source="acme"} 1.8e+09`,
		`tsupload_api_answers_total{class="2xx",method="POST"} 2`, // two days are two lanes
		`tsupload_ledger_readable 1`,
	)
	if !strings.Contains(text, `tsupload_last_success_timestamp_seconds{source="acme"} 1.`) {
		t.Error("a run after which only entries wait is a success")
	}

	s.pass()
	text = s.figures(
		`tsupload_runs_total{outcome="person",source="acme"} 2`,
		`tsupload_entries_total{outcome="sent",source="acme"} 2`,
		`tsupload_entries_total{outcome="known",source="acme"} 2`,
		`tsupload_last_run_entries{outcome="sent",source="acme"} 0`,
		`tsupload_token_fetches_total{result="issued"} 1`,
	)
	for _, canary := range []string{"canary", "Apollo", s.dir, s.cfg.API.URL} {
		if strings.Contains(text, canary) {
			t.Errorf("%s is in the metrics", canary)
		}
	}
}

// Without a ledger a scrape is answered, and a run that could not begin counts.
func TestServeWithoutLedger(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	if err := os.RemoveAll(s.cfg.State.Dir); err != nil {
		t.Fatal(err)
	}
	s.open(&fakeDaemon{progress: time.Now()}, nil)
	s.pass()
	s.figures("tsupload_ledger_readable 0", `tsupload_runs_total{outcome="config",source="acme"} 1`, `tsupload_last_run_exit_status{source="acme"} 6`)
	code, text := s.get("/readyz?verbose")
	if code != http.StatusServiceUnavailable || !strings.Contains(text, "not ok ledger: there is none\n") || strings.Contains(text, s.dir) {
		t.Errorf("got %d %s", code, text)
	}
	if code, text := s.get("/livez"); code != http.StatusOK {
		t.Errorf("got %d %s", code, text)
	}
}

// A scrape goes on beside a run that holds the ledger.
func TestServeBesideRun(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	s.open(&fakeDaemon{progress: time.Now()}, nil)
	l, err := s.openLedger(t.Context(), s.cfg, false, s.logger(s.cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.figures("tsupload_ledger_readable 1")
	if code, text := s.get("/readyz"); code != http.StatusOK {
		t.Errorf("got %d %s", code, text)
	}
}

func TestServeReady(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	s.open(&fakeDaemon{progress: time.Now()}, nil)
	if code, text := s.get("/readyz?verbose"); code != http.StatusOK || text != "ok     config\nok     ledger\nok     draining\nok\n" {
		t.Errorf("got %d %s", code, text)
	}
	close(s.stopping)
	if code, text := s.get("/readyz"); code != http.StatusServiceUnavailable || text != "not ok: draining\n" {
		t.Errorf("got %d %s", code, text)
	}
}

// The page asks for the token that the configuration refers to, and the log
// does not show it.
func TestServePage(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0', token: {env: LISTEN_TOKEN}}\n")
	s.open(&fakeDaemon{progress: time.Now()}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hours") }))
	if code, text := s.get("/"); code != http.StatusUnauthorized {
		t.Errorf("got %d %s", code, text)
	}
	if code, text := s.get("/", "Authorization", "Bearer canary-token-90c1"); code != http.StatusOK || text != "hours" {
		t.Errorf("got %d %s", code, text)
	}
	if strings.Contains(s.log.String(), "canary-token") {
		t.Error("the token is in the log")
	}
}

func TestServeNowhere(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: ''}\nmetrics: {textfile: tsupload.prom}\n")
	s.open(&fakeDaemon{progress: time.Now()}, nil)
	if s.url != "" {
		t.Errorf("listens on %s", s.url)
	}
	s.pass()
	if text, err := os.ReadFile(filepath.Join(s.dir, "tsupload.prom")); err != nil || !strings.Contains(string(text), `tsupload_open_entries{source="acme",state="rejected"} 1`) {
		t.Errorf("got %s, %v", text, err)
	}
}

// A configuration that is read but not taken, as by a reload that is refused,
// changes nothing.
func TestServeRefusedConfig(t *testing.T) {
	t.Parallel()
	s := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	s.open(&fakeDaemon{progress: time.Now()}, nil)
	other := *s.cfg
	other.State.Dir = filepath.Join(s.dir, "elsewhere")
	s.newObservers(&other, s.newNotifier(&other, s.logger(s.cfg)), s.logger(s.cfg))
	s.figures("tsupload_ledger_readable 1")
}

// A port that is taken is said at the start, with what to do.
func TestServePortInUse(t *testing.T) {
	t.Parallel()
	first := newServed(t, "listen: {address: '127.0.0.1:0'}\n")
	first.open(&fakeDaemon{}, nil)
	second := newServed(t, "listen: {address: '"+strings.TrimPrefix(first.url, "http://")+"'}\n")
	_, err := second.serve(t.Context(), second.cfg, &fakeDaemon{}, nil, second.logger(second.cfg))
	if err == nil || exitCode(err) != exitFault || !strings.Contains(hintOf(err), "listen.address") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, exit %d, hint %q", err, exitCode(err), hintOf(err))
	}
}

// The loop is given two minutes, a run its deadline.
func TestLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &app{}
		a.current.Store(&config.Config{Run: config.Run{Deadline: 30 * time.Minute, Drain: time.Minute}})
		state := &fakeDaemon{sources: []daemon.Status{{Source: "acme"}}}
		check := a.live(state, time.Now())
		passes := func(when string, want bool) {
			t.Helper()
			if err := check.Probe(t.Context()); (err == nil) != want {
				t.Errorf("%s: got %v", when, err)
			}
		}
		passes("at the start, before the first progress", true)
		time.Sleep(stalledAfter)
		passes("without any progress", false)
		state.progress = time.Now()
		passes("after progress", true)
		state.sources[0].Running, state.sources[0].LastStart = true, time.Now()
		time.Sleep(32*time.Minute - time.Second)
		passes("during a long run", true)
		time.Sleep(time.Second)
		passes("when the run is over its limits", false)
		state.progress = time.Now()
		passes("when it gets on all the same", true)
	})
}

func TestRecent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRecent(time.Minute, func(context.Context) (int, error) {
			n++
			return n, errors.New("an error is kept too")
		})
		get := func(want int) {
			t.Helper()
			if got, err := r.get(t.Context()); got != want || err == nil {
				t.Errorf("got %d, %v, want %d", got, err, want)
			}
		}
		get(1)
		get(1)
		r.forget()
		get(2)
		time.Sleep(time.Minute)
		get(3)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(time.Minute)
		if got, _ := r.get(ended); got != 4 {
			t.Errorf("got %d", got)
		}
		get(5) // what a cancelled asker got is not kept
	})
}

// The last success of a source that is seldom read is found behind many runs
// of another.
func TestRunMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := ledger.Create(t.Context(), dir, "api", 0); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, API: "api", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	record := func(id string, exit int, summary string) {
		t.Helper()
		if err := errors.Join(l.StartRun(t.Context(), id), l.EndRun(t.Context(), id, exit, []byte(summary))); err != nil {
			t.Fatal(err)
		}
	}
	record("000", 0, `{"sources":"seldom"}`)
	for i := range newestRuns + 1 {
		record(fmt.Sprintf("a%03d", i), 0, `{"sources":"often"}`)
	}
	record("b", 3, `{"sources":"often,stopped","stop":"rejects","problem":"wrong mapping"}`)
	record("c", 3, `{"sources":"waiting"}`)
	record("c2", 5, `{"sources":"waiting","stop":"drained","problem":"the run was asked to end"}`)
	if err := l.StartRun(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	m := &runMemory{last: map[string]metrics.Run{}, success: map[string]time.Time{}}
	cfg := &config.Config{Sources: []config.Source{{Name: "seldom"}, {Name: "often"}, {Name: "stopped"}, {Name: "waiting"}}}
	for range 2 {
		if err := m.look(t.Context(), l, cfg); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct {
		exit    int
		success bool
	}{"seldom": {0, true}, "often": {3, true}, "stopped": {3, false}, "waiting": {3, true}} {
		last, success := m.of(name)
		if last.Exit != want.exit || last.Ended.IsZero() || success.IsZero() == want.success {
			t.Errorf("%s: got exit %d, success %v", name, last.Exit, success)
		}
	}
}
