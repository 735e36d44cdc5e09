package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// The runs of a daemon tell what those of run --once tell, and between them
// each thing once.
func TestDaemonAndOnceNotify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	told := newReceiver()
	defer told.close()
	env := map[string]string{"TSUPLOAD_CLIENT_SECRET": box.ClientSecret(), "CHAT_URL": told.server.URL + receiverPath + "chat"}
	file := filepath.Join(dir, "tsupload.yaml")
	text := box.ConfigBlock() + "state: {dir: state}\nnotify: {webhooks: [{url: {env: CHAT_URL}}]}\nsources:\n  - {name: acme, timezone: UTC, schedule: '@hourly', csv: {path: 'in/*.csv', settle_file: 1ms}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	export := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "in", "week.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) int {
		return run(t.Context(), environment{
			args: append(args, "--config", file), stdin: strings.NewReader(""), stdout: &strings.Builder{}, stderr: &strings.Builder{}, getenv: func(k string) string { return env[k] },
		})
	}
	a := &app{environment: environment{stderr: &strings.Builder{}, getenv: func(k string) string { return env[k] }}, configPath: file, output: "table"}
	cfg, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	daemon := pass{app: a, cfg: cfg, sources: cfg.Sources, log: log, observers: a.newObservers(cfg, a.newNotifier(cfg, log), log)}
	scheduled := func() {
		again := daemon
		(&turn{again}).Run(t.Context(), nil, func() {})
		// The messages of one run are on their way before the next begins.
		for _, n := range a.notifiers.all {
			n.Close(t.Context())
		}
		a.notifiers.all = nil
		daemon.observers = a.newObservers(cfg, a.newNotifier(cfg, log), log)
	}
	check := func(step string, want ...string) {
		t.Helper()
		told.mu.Lock()
		defer told.mu.Unlock()
		if len(told.got) != len(want) {
			t.Errorf("%s: told %v, want %v", step, told.got, want)
		}
		for i := range min(len(want), len(told.got)) {
			if !strings.Contains(told.got[i], want[i]) {
				t.Errorf("%s: told %s, want %s", step, told.got[i], want[i])
			}
		}
		told.got = nil
	}
	if code := command("ledger", "create"); code != 0 {
		t.Fatalf("ledger create: %d", code)
	}
	export("<!DOCTYPE html>\n<html><body>Please log in</body></html>\n")
	scheduled()
	check("the daemon's run fails", `"event":"failure"`)
	scheduled()
	check("the daemon's run fails again")
	if code := command("run", "--once"); code != exitSource {
		t.Errorf("got status %d", code)
	}
	check("run --once fails too")
	export("user_id,date,project,hours\nu-1,2026-11-16,StoreZero,8\n")
	if code := command("run", "--once"); code != exitOK {
		t.Errorf("got status %d", code)
	}
	check("run --once works", `"event":"recovery"`)
	scheduled()
	check("the daemon's run works")
	a.closeNotifiers(t.Context())
}

// A daemon looks at silence between runs, until it stops.
func TestWatchSilence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := ledger.Create(t.Context(), dir, "https://api.example", 0); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		a := &app{environment: environment{stderr: &strings.Builder{}, getenv: func(name string) string {
			if name == "CHAT_URL" {
				asked.Add(1)
			}
			return ""
		}}}
		cfg := config.Default()
		cfg.State.Dir, cfg.API.ID = dir, "https://api.example"
		cfg.Sources = []config.Source{{Name: "acme", ID: "acme", Timezone: "UTC"}}
		cfg.Notify.Webhooks = []config.Webhook{{URL: config.SecretRef{Env: "CHAT_URL"}, Preset: "json"}}
		cfg.Notify.Silence = []config.Silence{{Source: "acme", User: "ada", WorkingDays: 1}}
		a.notifiers.use(a.newNotifier(cfg, slog.New(slog.DiscardHandler)))
		stop := a.watchSilence(t.Context())
		time.Sleep(silenceLook - time.Second)
		synctest.Wait()
		if n := asked.Load(); n != 0 {
			t.Errorf("told %d times before the first look", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("told %d times, want once", n)
		}
		a.closeNotifiers(t.Context())
	})
}

// What a run came to, source by source.
func TestSourceRun(t *testing.T) {
	t.Parallel()
	report := func(stop *uploader.StopError, failed bool) *uploader.Report {
		r := &uploader.Report{Stop: stop, Sources: []*uploader.SourceReport{{Name: "acme", ID: "a"}, {Name: "other", ID: "o"}}}
		r.Sent.Rows = 5
		r.Ends = map[string]*uploader.Ends{"a": {Sent: uploader.Tally{Rows: 2}}, "o": {Sent: uploader.Tally{Rows: 3}}}
		if failed {
			r.Sources[0].Err = errors.New("unreadable")
		}
		return r
	}
	both, one := []string{"acme", "other"}, []string{"acme"}
	for name, row := range map[string]struct {
		run             observedRun
		signalled       bool
		exit            int
		failed, aborted bool
	}{
		"well":                   {observedRun{sources: both, report: report(nil, false)}, false, 0, false, false},
		"unreadable":             {observedRun{sources: both, report: report(nil, true), exit: 7}, false, 7, true, false},
		"the other has rejected": {observedRun{sources: both, report: report(nil, false), exit: 3, waiting: []*timesheet.Waiting{{Source: "o", State: timesheet.StateRejected}}}, false, 0, false, false},
		"it has rejected":        {observedRun{sources: both, report: report(nil, false), exit: 3, waiting: []*timesheet.Waiting{{Source: "a", State: timesheet.StateRejected}}}, false, 3, false, false},
		"API down":               {observedRun{sources: both, report: report(&uploader.StopError{Kind: uploader.StopUnreachable}, false), exit: 5}, false, 5, true, false},
		"drained":                {observedRun{sources: one, report: report(&uploader.StopError{Kind: uploader.StopDrained}, false), exit: 143}, true, 143, true, true},
		"cut":                    {observedRun{sources: one, err: context.Canceled, exit: 1}, true, 1, true, true},
		"locked":                 {observedRun{sources: one, err: &ledger.Error{Kind: ledger.Locked}, exit: 8}, false, 8, true, false},
		"other hours expected":   {observedRun{sources: one, report: report(nil, false), exit: 9}, false, 9, false, true},
	} {
		a := &app{}
		if row.signalled {
			a.gotSignal.Store(os.Signal(syscall.SIGTERM))
		}
		n := &notifier{app: a, ids: map[string]string{"acme": "a", "other": "o"}}
		if s := n.sourceRun(&row.run, "acme"); s.Exit != row.exit || s.Failed != row.failed || s.Aborted != row.aborted {
			t.Errorf("%s: got %+v", name, s)
		} else if row.run.report != nil && s.Sent != 2 {
			t.Errorf("%s: sent %d, want those of the source alone", name, s.Sent)
		}
	}
}

// Every example of docs/notifications.md is a configuration that passes.
func TestNotificationExamples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 5 {
		t.Fatalf("got %d examples", len(blocks))
	}
	for _, b := range blocks {
		example := b[1]
		if !strings.Contains(example, "sources:") {
			example += "sources:\n  - {name: acme, timezone: Europe/Berlin, csv: {path: in.csv}}\n"
		}
		file := filepath.Join(t.TempDir(), "tsupload.yaml")
		if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		stderr := &strings.Builder{}
		if code := run(t.Context(), environment{args: []string{"config", "validate", "--config", file}, stdin: strings.NewReader(""), stdout: &strings.Builder{}, stderr: stderr, getenv: func(string) string { return "" }}); code != 0 {
			t.Errorf("status %d: %s\n%s", code, stderr, example)
		}
	}
}
