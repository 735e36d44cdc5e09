package main

import (
	"testing"
)

// withIDs makes a world whose source has ids of the tracker's own.
func withIDs(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.write("in/hours.csv", "id,user_id,date,project,hours", "7,u-1,2026-11-16,Apollo,8")
	w.more = "    columns: {id: id, user: user_id, date: date, project: project, hours: hours}\n"
	w.do(exitOK, "ledger", "create")
	w.do(exitOK, "run", "--once")
	w.write("in/hours.csv", "id,user_id,date,project,hours", "7,u-1,2026-11-16,Apollo,6")
	w.do(exitPerson, "run", "--once")
	return w
}

func TestResolveSkipsAChange(t *testing.T) {
	t.Parallel()
	w := withIDs(t)
	ref := w.refs("held")[0]
	w.do(exitOK, "resolve", "--skip", ref)
	w.do(exitOK, "run", "--once")
	w.do(exitOK, "check")
}

func TestResolveSendsAChange(t *testing.T) {
	t.Parallel()
	w := withIDs(t)
	ref := w.refs("held")[0]
	w.supports = "batch, read_back"
	w.do(exitUsage, "resolve", "--send", ref)
	w.supports = "batch, read_back, update"
	w.do(exitOK, "resolve", "--send", ref)
	w.do(exitOK, "run", "--once")
	w.do(exitOK, "check")
	out, _ := w.do(exitOK, "status")
	contains(t, out, `sent +1 +6:00:00`)
	out, _ = w.do(exitOK, "entries", "-o", "json")
	if o := w.objects(out, "entry"); len(o) != 1 || o[0]["seconds"] != 21600.0 {
		t.Errorf("got:\n%s", out)
	}
}
