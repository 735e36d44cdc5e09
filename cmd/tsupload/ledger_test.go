package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLedgerCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, "u-1,2026-11-20,Apollo,8,x")
	out, _ := w.do(exitOK, "ledger", "create", "--assume-sent-before", "2026-11-18")
	contains(t, out, `created an empty ledger`, `before 2026-11-18`)
	w.do(exitConfig, "ledger", "create")
	w.do(exitConfig, "ledger", "adopt")
	out, _ = w.do(exitOK, "run", "--once")
	contains(t, out, `sent 1 entry`)
	copied := filepath.Join(w.dir, "copy.db")
	w.do(exitOK, "ledger", "backup", copied)
	w.do(exitConfig, "ledger", "backup", copied)
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestCheckAndAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, otherRow, badRow)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	out, _ := w.do(exitOK, "check")
	contains(t, out, `= 2 the same, \+ 0 `)

	// The ledger is lost, and a row has come meanwhile.
	state := filepath.Join(w.dir, "state")
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	w.write("in/more.csv", "user_id,date,project,hours,notes", "u-2,2026-11-18,Apollo,4,x", "u-1,2026-11-19,Apollo,25,x", "u-1,2026-11-20,Apollo,8,x")
	out, _ = w.do(exitOK, "ledger", "adopt")
	contains(t, out, `2 entries, 15:30:00 hours, are in the API: sent`, `2 entries not: new`, `0 held, 2 rejected`)
	left, err := filepath.Glob(filepath.Join(state, "adopt-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("adopt left %q, %v", left, err)
	}
	out, _ = w.do(exitPerson, "run", "--once")
	contains(t, out, `sent 2 entries`)
	out, _ = w.do(exitOK, "check", "--since", "2026-11-16", "--until", "2026-11-30", "--source", "acme")
	contains(t, out, `= 4 the same, \+ 0 `)
}

func TestAdoptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow)
	w.supports = ""
	w.do(exitUsage, "ledger", "adopt")
	w.supports = "read_back"
	w.faults("read-status=500")
	w.do(exitUnreachable, "ledger", "adopt")
	w.faults()
	w.write("in/other.csv", "<html>log in</html>")
	w.do(exitSource, "ledger", "adopt")
	w.do(exitConfig, "status") // still no ledger
}

func TestCheckFindsDifferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, otherRow, "u-1,2026-11-18,Apollo,1,x")
	w.do(exitOK, "ledger", "create")
	w.do(exitOK, "run", "--once")
	token, _ := w.do(exitOK, "auth", "token")
	out, _ := w.do(exitOK, "entries", "-o", "json")
	ids := map[string]string{}
	for _, o := range w.objects(out, "entry") {
		ids[o["person"].(string)+o["day"].(string)] = o["api_id"].(string)
	}
	call := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, w.sandbox.APIURL()+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
		}
	}
	call(http.MethodPut, "/timesheets/"+ids["u-22026-11-16"], `{"user_id":"u-2","user_type":"Contractor","date":"2026-11-16T00:00:00.000Z","project":"Website","hours":3}`)
	call(http.MethodPost, "/timesheets/upload", `{"user_id":"u-1","user_type":"Contractor","date":"2026-11-17T00:00:00.000Z","project":"Elsewhere","hours":2}`)
	out, _ = w.do(exitDifferent, "check")
	contains(t, out, `(?m)^\* .*u-2 .*the API has hours 3:00:00|^\+ .*u-2`, `(?m)^- +API id .* u-1 +Elsewhere +2:00:00 +not in the ledger`, `= 2 the same`)
	out, _ = w.do(exitDifferent, "check", "-o", "json", "--since", "2026-11-17")
	if o := w.objects(out, "difference"); len(o) != 1 || o[0]["sign"] != "-" || o[0]["seconds"] != 7200.0 {
		t.Errorf("got %s", out)
	}
	w.supports = "batch"
	w.do(exitUsage, "check")
}
