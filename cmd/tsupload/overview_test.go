package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/config"
)

// page is the status page of a world, with a log.
func (w *world) page(next nextRun) (answer *httptest.ResponseRecorder, log string) {
	w.tb.Helper()
	a, cfg := w.app()
	var said bytes.Buffer
	h := a.newPage(func() *config.Config { return cfg }, next, slog.New(slog.NewTextHandler(&said, nil)))
	answer = httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(w.tb.Context(), http.MethodGet, "/", nil))
	return answer, said.String()
}

// app is an invocation of the program, and its configuration.
func (w *world) app() (*app, *config.Config) {
	w.tb.Helper()
	a := &app{environment: environment{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}, overrides: map[string]string{}, configPath: w.configure()}
	cfg, err := a.load()
	if err != nil {
		w.tb.Fatal(err)
	}
	return a, cfg
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	day := time.Now().AddDate(0, 0, -3).Format(time.DateOnly)
	w := newWorld(t, "u-1,"+day+",StoreZero,8,planted-notes", "u-2,"+day+",Apollo,7.5,planted-notes", "u-2,"+day+",Apollo,eight,planted-notes")
	answer, log := w.page(nil)
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(log, "the state cannot be read") {
		t.Errorf("without a ledger: got %d, log %q", answer.Code, log)
	}

	w.do(exitOK, "ledger", "create")
	answer, _ = w.page(nil)
	contains(t, answer.Body.String(), `There has been no run yet`, `unknown: no daemon is running`, `There are no hours of the last four weeks`, `none is kept`)

	w.do(exitPerson, "run", "--once")
	next := time.Now().Add(time.Hour).Truncate(time.Second)
	answer, log = w.page(func(source string) (time.Time, bool) { return next, source != "acme" })
	body := answer.Body.String()
	contains(t, body, `1 row or entry waits for a person`, `left something for a person \(exit 3\)`, `hours.csv:4`, `What to do: `, `rejected \(bad duration\)`,
		`StoreZero</span><span class="sum">8:00`, `Apollo</span><span class="sum">7:30`, `>sent</span><span class="sum">2.entries`, `The last 1.run`, `, in \d+ `,
		`<time datetime="`+next.UTC().Format("2006-01-02T15:04:05")+`Z">`, `L2: each entry exactly once`)
	for _, canary := range []string{"planted-notes", "planted-canary", "eyJ"} {
		if strings.Contains(body+log, canary) {
			t.Errorf("the page, or the log, has %q", canary)
		}
	}
}

// The page counts what the ledger has: a held edit beside its sent entry once.
func TestStatusPageHours(t *testing.T) {
	t.Parallel()
	day := time.Now().AddDate(0, 0, -3).Format(time.DateOnly)
	w := newWorld(t, "u-1,"+day+",StoreZero,8,a", "u-1,"+day+",Apollo,1,b")
	w.do(exitOK, "ledger", "create")
	w.do(exitOK, "run", "--once")
	w.write("in/hours.csv", "user_id,date,project,hours,notes", "u-1,"+day+",StoreZero,7,a", "u-1,"+day+",Apollo,1,b")
	w.do(exitPerson, "run", "--once")
	answer, _ := w.page(nil)
	contains(t, answer.Body.String(), `StoreZero</span><span class="sum">8:00`, `total</strong><strong class="sum">9:00`, `held \(changed\)`)
}

func TestReportIsPrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow)
	file := filepath.Join(w.dir, "page.html")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.do(exitOK, "run", "--dry-run", "--report", file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(w.dir, ".page.html*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A report that cannot be written is an error of its own only where the run
// has none.
func TestReportCannotBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, badRow)
	// There is room for the name, but not for that of the file that replaces it.
	file := filepath.Join(w.dir, strings.Repeat("x", 255))
	_, log := w.do(exitPerson, "run", "--dry-run", "--report", file)
	contains(t, log, `error: write the report to `)
	w.write("in/hours.csv", "user_id,date,project,hours,notes", goodRow)
	_, log = w.do(exitFault, "run", "--dry-run", "--report", file)
	contains(t, log, `error: write the report to `)
}
