package main

import (
	"strings"
	"testing"
)

// inDoubt makes a world whose one entry was sent, or not, without an answer.
func inDoubt(t *testing.T, supports, fault string) (w *world, ref string) {
	t.Helper()
	w = newWorld(t, goodRow)
	w.supports = supports
	w.do(exitOK, "ledger", "create")
	w.faults(fault, "read-status=500")
	w.do(exitPerson, "run", "--once")
	w.faults()
	refs := w.refs("in_doubt")
	if len(refs) != 1 {
		t.Fatalf("got %q in doubt", refs)
	}
	return w, refs[0]
}

func TestResolveDoubt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, supports, fault, server string
		how                           string
		state                         string
		says                          string
		sent                          int // the API has, after the next run
	}{
		{"a person says sent", "", "reset-after", "", "--sent", "sent", "is sent, by your word", 1},
		{"a person says not sent", "", "reset", "", "--not-sent", "new", "will be sent by the next run", 1},
		{"the API has it", "read_back", "reset-after", "", "--ask", "sent", "the API has +1 entry: sent", 1},
		{"the API has it not, yet", "read_back", "reset", "settle: 5m", "--ask", "in_doubt", "not found yet +1 entry: still in doubt, because the API may still execute", 0},
		{"the API has it not", "read_back", "reset", "settle: 0s, read_gap: 0s", "--ask", "new", "the API has not +1 entry", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, ref := inDoubt(t, c.supports, c.fault)
			w.server = c.server
			w.do(exitUsage, "resolve", "--skip", ref)
			out, _ := w.do(exitOK, "resolve", c.how, ref)
			contains(t, out, c.says)
			if got := w.refs(c.state); len(got) != 1 || got[0] != ref {
				t.Fatalf("got %q %s, want %s", got, c.state, ref)
			}
			code := exitOK
			if c.sent == 0 {
				code = exitPerson
			}
			w.do(code, "run", "--once")
			if got := len(w.refs("sent")); got != c.sent {
				t.Errorf("got %d sent, want %d", got, c.sent)
			}
		})
	}
}

func TestAskNeedsReadBack(t *testing.T) {
	t.Parallel()
	w, ref := inDoubt(t, "", "reset-after")
	_, log := w.do(exitUsage, "resolve", "--ask", ref)
	contains(t, log, `read_back`)
	w.supports = "read_back"
	// It went out without external_id: that it is not found proves nothing.
	out, _ := w.do(exitOK, "resolve", "--ask", ref)
	contains(t, out, `still in doubt, because the API's list does not carry external_id`)
	w.faults("read-status=503")
	w.do(exitUnreachable, "resolve", "--ask", ref)
}

func TestResolveHeld(t *testing.T) {
	t.Parallel()
	rows := []string{"u-1,2026-11-16,Apollo,13,x", "u-1,2026-11-16,Website,12,x", badRow}
	w := newWorld(t, rows...)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	held := w.refs("held")
	if len(held) != 2 {
		t.Fatalf("got %q held", held)
	}
	_, log := w.do(exitUsage, "resolve", "--send", "2026-11-16/"+held[0][11:11], held[1])
	contains(t, log, `not a reference`)
	w.do(exitUsage, "resolve", "--sent", held[0])
	w.do(exitUsage, "resolve", "--send", held[0], "2026-11-16/zzzzzzzzzz")
	if got := w.refs("held"); len(got) != 2 {
		t.Fatalf("a resolve that failed changed something: %q", got)
	}
	// A row that is no entry can only be given up.
	row := w.refs("rejected")[0]
	_, log = w.do(exitUsage, "resolve", "--send", row)
	contains(t, log, `hint: .*rejects retry`)
	out, _ := w.do(exitOK, "resolve", "--send", held[0], "-o", "json")
	if o := w.objects(out, "resolved"); len(o) != 1 || o[0]["from"] != "held" || o[0]["to"] != "new" {
		t.Errorf("got %s", out)
	}
	out, log = w.do(exitOK, "resolve", "--skip", held[1], row, row)
	if strings.Count(out, "will never be sent") != 2 {
		t.Errorf("got:\n%s", out)
	}
	contains(t, log, `next: `)
	w.do(exitOK, "run", "--once")
	if sent, skipped := w.refs("sent"), w.refs("skipped"); len(sent) != 1 || sent[0] != held[0] || len(skipped) != 2 {
		t.Errorf("got %q sent, %q skipped", sent, skipped)
	}
	w.do(exitUsage, "resolve", "--send", held[0])
}

func TestAmbiguousRef(t *testing.T) {
	t.Parallel()
	var rows []string
	for project := range strings.FieldsSeq("a b c d e f g h i j k l m n o p q r s t u v w x y z aa bb cc dd ee ff gg hh") {
		rows = append(rows, "u-1,2026-11-16,"+project+",0.75,x")
	}
	w := newWorld(t, append(rows, "u-1,2026-11-16,zz,1,x")...)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	held := w.refs("held")
	seen := map[byte]bool{}
	for _, ref := range held {
		if first := ref[11]; seen[first] {
			_, log := w.do(exitUsage, "resolve", "--skip", ref[:12])
			contains(t, log, `stands for several: `+ref[:12])
			return
		} else {
			seen[first] = true
		}
	}
	t.Fatal("no two references begin alike")
}

func TestSkippingAllSettlesARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, badRow, "u-3,2026-11-18,Apollo,13,x", "u-3,2026-11-18,Website,12,x")
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	w.do(exitPerson, "run", "--once")
	w.do(exitOK, append([]string{"resolve", "--skip"}, append(w.refs("held"), w.refs("rejected")...)...)...)
	w.do(exitOK, "run", "--once")
	out, _ := w.do(exitOK, "run", "--once")
	contains(t, out, `unchanged`, `skipped \(by person\) +2`)
}
