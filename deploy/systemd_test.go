// Package deploy_test checks what is shipped beside the program: units,
// packages and the container image. Manifests and alerts are checked in a
// module of their own, check, so that their libraries stay out of ours.
package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/config"
)

var units = []string{"tsupload.service", "tsupload-once.service", "tsupload.timer"}

// systemdAnalyze runs systemd-analyze over the units, with a program in place
// of ours, which need not be installed. It is skipped where there is none.
func systemdAnalyze(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("TSUPLOAD_REQUIRE_SYSTEMD") != "" {
			t.Fatal(err)
		}
		t.Skip("there is no systemd-analyze here")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range units {
		text := strings.ReplaceAll(read(t, "systemd", name), "/usr/bin/tsupload", program)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// systemd only warns of what it does not know and exits 0, so any word is a
// failure.
func TestUnitsVerify(t *testing.T) {
	t.Parallel()
	for _, unit := range units {
		if out := systemdAnalyze(t, "verify", "--man=no", "./"+unit); strings.TrimSpace(out) != "" {
			t.Errorf("%s: %s", unit, out)
		}
	}
}

func TestUnitsHardened(t *testing.T) {
	t.Parallel()
	for _, unit := range units[:2] {
		systemdAnalyze(t, "security", "--offline=yes", "--no-pager", "--threshold=15", "./"+unit)
	}
}

// settings are the lines of a unit by section and key.
func settings(t *testing.T, unit string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	section := ""
	for line := range strings.Lines(read(t, "systemd", unit)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, _ := strings.Cut(line, "=")
			found[section+"."+key] = append(found[section+"."+key], value)
		}
	}
	return found
}

func span(t *testing.T, set map[string][]string, key string) time.Duration {
	t.Helper()
	if len(set[key]) != 1 {
		t.Fatalf("%s: got %q, want one value", key, set[key])
	}
	d, err := time.ParseDuration(strings.TrimSuffix(set[key][0], "in"))
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return d
}

// What the units promise about our own limits.
func TestUnitsFitTheProgram(t *testing.T) {
	t.Parallel()
	defaults := manifestConfig(t) // which has an export by HTTP, and says nothing of its time
	stop := ending(config.Default())
	service, once := settings(t, "tsupload.service"), settings(t, "tsupload-once.service")
	for _, c := range []struct {
		name string
		set  map[string][]string
		key  string
		than time.Duration
	}{
		{"watchdog above two requests", service, "Service.WatchdogSec", 2 * max(defaults.API.Timeout, defaults.Sources[0].HTTP.Timeout)},
		{"stop above the end of a run", service, "Service.TimeoutStopSec", stop},
		{"stop above the end of a run", once, "Service.TimeoutStopSec", stop},
		{"start above a run", once, "Service.TimeoutStartSec", defaults.Run.Deadline + stop},
	} {
		if got := span(t, c.set, c.key); got <= c.than {
			t.Errorf("%s: %s is %s, want more than %s", c.name, c.key, got, c.than)
		}
	}
	// Or a crash, and what the watchdog kills, would end with a status that is
	// not restarted.
	for _, set := range []map[string][]string{service, once} {
		if got := fmt.Sprint(set["Service.Environment"]); got != "[GOTRACEBACK=crash]" {
			t.Errorf("got Environment %s", got)
		}
	}
	want := config.ClientSecretName + ":/etc/tsupload/client-secret"
	for name, set := range map[string]map[string][]string{"tsupload.service": service, "tsupload-once.service": once} {
		if got := fmt.Sprint(set["Service.LoadCredential"]); got != "["+want+"]" {
			t.Errorf("%s: got LoadCredential %s, want %s", name, got, want)
		}
	}
	// Retried is what may come out otherwise the next time, nothing else.
	if got := fmt.Sprint(once["Service.RestartPreventExitStatus"]); got != "[2 3 4 6 7 9]" {
		t.Errorf("got RestartPreventExitStatus %s", got)
	}
}

// Both services are one program under one user: they may touch the same.
func TestUnitsAreAlike(t *testing.T) {
	t.Parallel()
	own := []string{
		"Type", "NotifyAccess", "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus",
		"TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "SuccessExitStatus",
	}
	hardening := func(unit string) map[string][]string {
		set := settings(t, unit)
		for key := range set {
			if !strings.HasPrefix(key, "Service.") {
				delete(set, key)
			}
		}
		for _, key := range own {
			delete(set, "Service."+key)
		}
		return set
	}
	if diff := cmp.Diff(hardening("tsupload.service"), hardening("tsupload-once.service")); diff != "" {
		t.Errorf("the services differ (-tsupload +tsupload-once):\n%s", diff)
	}
}

func TestSysusers(t *testing.T) {
	t.Parallel()
	if out := read(t, "systemd", "tsupload.sysusers"); !strings.Contains(out, "\nu tsupload - ") {
		t.Errorf("no user tsupload in:\n%s", out)
	}
	path, err := exec.LookPath("systemd-sysusers")
	if err != nil {
		t.Skip("there is no systemd-sysusers here")
	}
	file, err := filepath.Abs("systemd/tsupload.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "--dry-run", file).CombinedOutput(); err != nil {
		t.Errorf("systemd-sysusers: %v\n%s", err, out)
	}
}
