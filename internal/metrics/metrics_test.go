package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/exampleco/tsupload/internal/timesheet"
)

var update = flag.Bool("update", false, "rewrite the table of docs/metrics.md")

// canary is a person who must be in no label.
const canary = "canary-person-31aa"

// full is a Metrics that has something to say about everything.
func full(t *testing.T) *Metrics {
	t.Helper()
	ended := time.UnixMilli(1_763_964_000_500)
	m := New(Config{
		Version: "1.2.3", Commit: "abc", Sources: []string{"acme", "globex"},
		Standing: func(context.Context) (*Standing, error) {
			return &Standing{Bytes: 4096, Sources: []Source{
				{
					Name: "acme", Open: map[timesheet.State]Tally{timesheet.StateInDoubt: {Entries: 2, Seconds: 7200}}, OldestUnsent: time.Now().Add(-time.Hour),
					Last: Run{Source: "acme", Started: ended.Add(-time.Hour), Ended: ended.Add(-time.Hour), Exit: 5}, LastSuccess: ended,
				},
				{Name: "globex", Last: Run{Source: "globex", Started: ended, Ended: ended.Add(2 * time.Second), Exit: 3}},
			}}, nil
		},
		Clocks: func() []Clock {
			return []Clock{{Source: "acme", Next: ended.Add(time.Hour), Running: true, Failures: 2}}
		},
	})
	m.RunEnded(Run{
		Source: "acme", Started: ended.Add(-4 * time.Second), Ended: ended, Exit: 0, Outcome: OutcomeOf(0),
		Entries: map[Kind]Tally{KindNew: {3, 300}, KindSent: {3, 300}, KindMissing: {Entries: 1}, KindInDoubt: {-1, -1}},
	})
	m.RunEnded(Run{Source: "globex", Started: ended.Add(-time.Hour), Ended: ended.Add(-time.Hour), Exit: 143, Outcome: OutcomeOf(143), Entries: map[Kind]Tally{}})
	m.TokenFetches(1, 2, 4, 3)
	for _, rt := range []roundTripper{
		func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
		},
		func(*http.Request) (*http.Response, error) { return nil, errors.New("cut") },
	} {
		req := httptest.NewRequest(http.MethodPost, "https://api.example.test/timesheets/"+canary, http.NoBody)
		resp, err := m.Transport(rt).RoundTrip(req)
		if err != nil {
			continue
		}
		if resp.StatusCode != http.StatusCreated || resp.Body.Close() != nil {
			t.Error("the answer has changed")
		}
	}
	return m
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// scrape asks over HTTP, as Prometheus does.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	s := httptest.NewServer(m.Handler())
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v\n%s", resp.Status, err, text)
	}
	return string(text)
}

// has checks that each line is there.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	all := strings.Split(text, "\n")
	for _, l := range lines {
		if !slices.Contains(all, l) {
			name, _, _ := strings.Cut(l, "{")
			t.Errorf("there is no line %s; got\n%s", l, strings.Join(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, name) }), "\n"))
		}
	}
}

func TestScrape(t *testing.T) {
	t.Parallel()
	text := scrape(t, full(t))
	has(t, text,
		`tsupload_runs_total{outcome="ok",source="acme"} 1`,
		`tsupload_runs_total{outcome="locked",source="acme"} 0`,
		`tsupload_runs_total{outcome="terminated",source="globex"} 1`,
		`tsupload_run_duration_seconds_sum{source="acme"} 4`,
		`tsupload_entries_total{outcome="sent",source="acme"} 3`,
		`tsupload_entries_total{outcome="missing",source="acme"} 1`,
		`tsupload_entries_total{outcome="in_doubt",source="acme"} 0`,
		`tsupload_entry_seconds_total{outcome="sent",source="acme"} 300`,
		`tsupload_open_entries{source="acme",state="in_doubt"} 2`,
		`tsupload_open_entries{source="globex",state="in_doubt"} 0`,
		`tsupload_open_entry_seconds{source="acme",state="in_doubt"} 7200`,
		`tsupload_oldest_unsent_entry_age_seconds{source="globex"} 0`,
		`tsupload_last_success_timestamp_seconds{source="acme"} 1.7639640005e+09`,
		`tsupload_next_run_timestamp_seconds{source="acme"} 1.7639676005e+09`,
		`tsupload_run_in_progress{source="acme"} 1`,
		`tsupload_consecutive_failed_runs{source="acme"} 2`,
		`tsupload_ledger_readable 1`,
		`tsupload_ledger_size_bytes 4096`,
		`tsupload_token_fetches_total{result="issued"} 1`,
		`tsupload_token_fetches_total{result="failed"} 2`,
		`tsupload_tokens_invalidated_total 3`,
		`tsupload_tokens_saved_total 4`,
		`tsupload_api_answers_total{class="2xx",method="POST"} 1`,
		`tsupload_api_answers_total{class="none",method="POST"} 1`,
		`tsupload_api_request_duration_seconds_count{method="POST"} 2`,
		// acme's last run was this process's, globex's another's: nobody here
		// knows what that one met.
		`tsupload_last_run_exit_status{source="acme"} 0`,
		`tsupload_last_run_duration_seconds{source="acme"} 4`,
		`tsupload_last_run_entries{outcome="sent",source="acme"} 3`,
		`tsupload_last_run_exit_status{source="globex"} 3`,
	)
	if strings.Contains(text, `tsupload_last_run_entries{outcome="sent",source="globex"}`) {
		t.Error("tells entries of a run that is not the last")
	}
	if age := regexp.MustCompile(`tsupload_oldest_unsent_entry_age_seconds\{source="acme"\} 36\d\d`); !age.MatchString(text) {
		t.Error("the oldest unsent entry is not an hour old")
	}
	if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, `tsupload_build_info{commit="abc",go_version="go`) {
		t.Error("go_goroutines or tsupload_build_info is missing")
	}
	if strings.Contains(text, canary) || strings.Contains(text, "example.test") {
		t.Error("a person or a URL is in the metrics")
	}
}

// A scrape answers without a ledger, and counters stay.
func TestNoLedger(t *testing.T) {
	t.Parallel()
	m := full(t)
	m.cfg.Standing = func(context.Context) (*Standing, error) { return nil, errors.New("gone") }
	text := scrape(t, m)
	has(t, text, "tsupload_ledger_readable 0", `tsupload_runs_total{outcome="ok",source="acme"} 1`, `tsupload_last_run_exit_status{source="acme"} 0`)
	if strings.Contains(text, "tsupload_open_entries") || strings.Contains(text, "tsupload_ledger_size_bytes") {
		t.Error("tells what it cannot know")
	}
}

func TestTextfile(t *testing.T) {
	t.Parallel()
	m := full(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "tsupload.prom")
	for range 2 {
		if err := m.WriteTextfile(path); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("got %v", files)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	has(t, string(text), `tsupload_last_run_exit_status{source="acme"} 0`, `tsupload_open_entries{source="acme",state="in_doubt"} 2`, "tsupload_ledger_readable 1")
	for _, not := range []string{"_total", "_bucket", "go_", "process_", "next_run"} {
		if regexp.MustCompile(`(?m)^[a-z_]*` + not).Match(text) {
			t.Errorf("the file has %s", not)
		}
	}
	if err := m.WriteTextfile(filepath.Join(dir, "absent", "tsupload.prom")); err == nil {
		t.Error("got no error")
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	families, err := full(t).all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "tsupload_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// The table of the document is what is told, no more and no less.
func TestDocument(t *testing.T) {
	t.Parallel()
	m := full(t)
	families, err := m.all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.text.Gather()
	if err != nil {
		t.Fatal(err)
	}
	inText := map[string]bool{}
	for _, f := range text {
		inText[f.GetName()] = true
	}
	var b strings.Builder
	b.WriteString("| metric | type | labels | file | what it tells |\n|---|---|---|---|---|\n")
	described := map[string]bool{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tsupload_") {
			continue
		}
		described[f.GetName()] = true
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		file := "no"
		if inText[f.GetName()] {
			file = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), file, f.GetHelp())
	}
	for _, name := range names(m.all) {
		if !described[name] {
			t.Errorf("%s has no sample here, so that the table leaves it out", name)
		}
	}
	const path, begin, end = "../../docs/metrics.md", "<!-- table -->\n", "<!-- end of table -->\n"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+b.String()+end+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), old); diff != "" {
		t.Errorf("%s is not what is told (go test ./internal/metrics -update rewrites it; -want +got):\n%s", path, diff)
	}
	for _, o := range Outcomes() {
		if !strings.Contains(head+tail, "`"+string(o)+"`") {
			t.Errorf("outcome %s of runs is not explained", o)
		}
	}
	for _, k := range Kinds() {
		if !strings.Contains(head+tail, "`"+string(k)+"`") {
			t.Errorf("outcome %s of entries is not explained", k)
		}
	}
}

// names lists all that a registry describes.
func names(r *prometheus.Registry) []string {
	to := make(chan *prometheus.Desc, 1000)
	r.Describe(to)
	close(to)
	var list []string
	quoted := regexp.MustCompile(`fqName: "(tsupload_\w+)"`)
	for d := range to {
		if found := quoted.FindStringSubmatch(d.String()); found != nil {
			list = append(list, found[1])
		}
	}
	return list
}

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	for exit, want := range map[int]Outcome{0: "ok", 3: "person", 9: "different", 130: "interrupted", 143: "terminated", 77: "fault", -1: "fault"} {
		if got := OutcomeOf(exit); got != want {
			t.Errorf("%d: got %s, want %s", exit, got, want)
		}
	}
}
