package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestExportPreset carries a tracker's entries to the API: what was changed in
// the tracker is held, and what was deleted there is flagged.
func TestExportPreset(t *testing.T) {
	t.Parallel()
	clock := func(daysAgo, hour int) string {
		day := time.Now().UTC().AddDate(0, 0, -daysAgo)
		return time.Date(day.Year(), day.Month(), day.Day(), hour, 0, 0, 0, time.UTC).Format(time.RFC3339)
	}
	timer := func(id, daysAgo, until int) string {
		return fmt.Sprintf(`{"id":%d,"workspace_id":11,"project_id":22,"task_id":null,"billable":true,"start":%q,"stop":%q,"duration":1,"description":"private note","tags":null,"server_deleted_at":null,"user_id":7}`,
			id, clock(daysAgo, 8), clock(daysAgo, until))
	}
	running := fmt.Sprintf(`{"id":9,"workspace_id":11,"start":%q,"stop":null,"duration":-1}`, clock(2, 8))
	b, w := newDaybook(t, timer(1, 5, 12), timer(2, 4, 10), timer(3, 3, 16), running), newWorld(t)
	w.more = fmt.Sprintf(`  - name: tracker
    timezone: UTC
    people: {"7": u-1001}
    projects: {"22": StoreZero}
    http:
      preset: toggl
      url: %s
      params: {workspace: "11"}
      auth: {token: {file: %q}}
`, b.URL, w.write("toggl-token", "toggl-canary"))
	w.do(exitOK, "ledger", "create")
	do := func(exit int, says ...string) {
		t.Helper()
		out, log := w.do(exit, "run", "--once", "--source", "tracker")
		for _, text := range says {
			if !strings.Contains(out, text) {
				t.Errorf("the report does not say %q:\n%s", text, out)
			}
		}
		if strings.Contains(out+log, "toggl-canary") {
			t.Errorf("the token is in the output:\n%s%s", out, log)
		}
	}
	do(exitOK, "skipped (running)", "sent 3 entries, 14:00:00 hours")
	do(exitOK, "sent 0 entries")
	b.entries = []string{timer(1, 5, 13), timer(3, 3, 16)}
	do(exitPerson, "held (changed)", "1 sent entry is gone from the source")
	if got := strings.Join(w.missing(), " "); got != "2" {
		t.Errorf("got %q flagged, want 2", got)
	}
	if !strings.Contains(b.requests[0], "/api/v9/me/time_entries?end_date=") {
		t.Errorf("got %s", b.requests[0])
	}
}

// What a preset's export has wrong can be mended in its own columns.
func TestExportPresetRejects(t *testing.T) {
	t.Parallel()
	b, w := newDaybook(t, `{"id":501,"begin":"2026-03-02T09:00:00+0100","end":"2026-03-02T10:30:15+0100","duration":"5415x","activity":4,"project":22,"user":7}`), newWorld(t)
	w.more = fmt.Sprintf(`  - name: tracker
    timezone: Europe/Berlin
    people: {"7": u-1001}
    http:
      preset: kimai
      url: %s
      auth: {token: {file: %q}}
`, b.URL, w.write("token", "canary"))
	w.do(exitOK, "ledger", "create")
	b.pages = []string{"[" + b.entries[0] + "]", "[]"}
	w.do(exitPerson, "run", "--once", "--source", "tracker")
	out, _ := w.do(exitOK, "rejects", "export", "--source", "tracker")
	mended := w.write("mended.csv", strings.TrimSuffix(strings.Replace(out, "5415x", "5415", 1), "\n"))
	if out, _ := w.do(exitOK, "rejects", "retry", mended); !strings.Contains(out, "1:30:15") {
		t.Errorf("got %s", out)
	}
	if out, _ := w.do(exitOK, "entries", "-o", "json"); !strings.Contains(out, `"id":"501"`) || !strings.Contains(out, "sent") {
		t.Errorf("got %s", out)
	}
}

// A preset that lacks what it needs is a fault of the configuration.
func TestPresetInConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more = "  - name: tracker\n    timezone: UTC\n    http: {preset: kimai, params: {team: x}, auth: {token: {env: T}}}\n"
	if out, log := w.do(exitConfig, "config", "validate"); !strings.Contains(out+log, "sources[1].http.preset: kimai knows no params.team") || !strings.Contains(out+log, "hint: params are user") {
		t.Errorf("got %s%s", out, log)
	}
}
