package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a", "'a", "=1+1", "'=1", "''=1", "+8", "-1.5", "@x", "\tx", "\rx", "'", "a=b"} {
		g := guard(s)
		if g != "" && strings.ContainsAny(g[:1], "=+-@\t\r") {
			t.Errorf("guard(%q) = %q is a formula", s, g)
		}
		if got := unguard(g); got != s {
			t.Errorf("unguard(guard(%q)) = %q", s, got)
		}
	}
}

func TestRejects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, badRow, "u-2,2026-11-17,Apollo,-2,\"=private note\nsecond line\"", "u-3,2026-11-17,Apollo,x,y")
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	out, _ := w.do(exitOK, "rejects", "export")
	contains(t, out, `^user_id,date,project,hours,notes,_row,_reason,_hint\n`, `,'-2,"'=private note\nsecond line",2026-11-17/`)

	file := filepath.Join(w.dir, "mend.csv")
	out, log := w.do(exitOK, "rejects", "export", "-O", file)
	contains(t, out, `wrote 3 rows of source acme`)
	contains(t, log, `next: .*rejects retry`)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v, %v", info, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// One is mended, one is mended badly, one is deleted from the file, and a
	// spreadsheet has saved it with semicolons.
	text := strings.NewReplacer(",eight,", ",8,", ",'-2,", ",minus two,").Replace(string(b))
	kept := strings.Split(text, "\nu-3,")[0] + "\n"
	before := w.refs("rejected")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbf"+kept), 0o600); err != nil {
		t.Fatal(err)
	}
	out, log = w.do(exitPerson, "rejects", "retry", file)
	contains(t, out, `sent 1 entry, 8:00:00 hours`)
	contains(t, log, `line 3: refused again: "minus two"`, `1 rejected row closed`)
	after := w.refs("rejected")
	if len(before) != 3 || len(after) != 2 || len(w.refs("sent")) != 2 {
		t.Errorf("got %q rejected, before %q; %d sent", after, before, len(w.refs("sent")))
	}
	for _, ref := range after {
		if !strings.Contains(strings.Join(before, " "), ref) {
			t.Errorf("%s was rejected anew beside its first rejection", ref)
		}
	}
	// Again: what is closed is left out, nothing is sent twice.
	_, log = w.do(exitPerson, "rejects", "retry", file)
	contains(t, log, `is closed already; left out`, `0 rejected rows closed`)
	// The other entries of person and day were not taken for gone.
	out, _ = w.do(exitOK, "entries", "-o", "json")
	for _, o := range w.objects(out, "entry") {
		if o["missing"] != false || o["state"] == "held" {
			t.Errorf("got %v", o)
		}
	}
}

func TestRetrySettlesAll(t *testing.T) {
	t.Parallel()
	// The day has a sent entry already: a mended one beside it is no edit of it.
	w := newWorld(t, "u-1,2026-11-17,Website,4,x", strings.Replace(badRow, "eight", "4 h", 1))
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	out, _ := w.do(exitOK, "rejects", "export")
	file := w.write("mend.csv", strings.TrimSuffix(strings.Replace(out, ",4 h,", ",4,", 1), "\n"))
	out, _ = w.do(exitOK, "rejects", "retry", file, "-o", "json")
	if o := w.objects(out, "mended"); len(o) != 1 || o[0]["closed"] != 1.0 {
		t.Errorf("got %s", out)
	}
	if n := len(w.refs("sent")); n != 2 {
		t.Errorf("got %d sent, want 2", n)
	}
	_, log := w.do(exitOK, "rejects", "export")
	contains(t, log, `no row waits`)
}

func TestRetryLeavesOpenWhatIsNotUploaded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mended string
		says   string
		code   int
		fault  string
	}{
		"equal to a known entry": {"u-1,2026-11-16,Apollo,8,private note", "equals an entry that is known", exitPerson, ""},
		"no work":                {"u-1,2026-11-17,Apollo,0,x", "it is no work", exitPerson, ""},
		"held":                   {"u-1,2026-11-16,Apollo,20,x", "held .day_total. as", exitPerson, ""},
		"not sent":               {"u-1,2026-11-17,Apollo,8,x", "new as", exitUnreachable, "status=503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, goodRow, badRow)
			w.do(exitOK, "ledger", "create")
			w.do(exitPerson, "run", "--once")
			ref := w.refs("rejected")[0]
			file := w.write("mend.csv", "user_id,date,project,hours,notes,_row,_reason,_hint", c.mended+","+ref+",,")
			if c.fault != "" {
				w.faults(c.fault)
				w.server = "not_executed: [503]"
			}
			_, log := w.do(c.code, "rejects", "retry", file)
			contains(t, log, c.says, `0 rejected rows closed`)
			if got := w.refs("rejected"); len(got) != 1 || got[0] != ref {
				t.Errorf("got %q rejected, want %s", got, ref)
			}
		})
	}
}

// A row that was mended and taken over is not taken over again in another way,
// whether it is still to be sent or was sent by a run that ended before its
// rejection was closed.
func TestRetryEditedTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hours, says string
		sent        int
	}{
		"in another way": {"6", `was uploaded already, mended in another way, as .*; left out`, 3},
		"as before":      {"8", `known +1 |1 rejected row closed`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, goodRow, badRow, "u-2,2026-11-17,Apollo,x,y")
			w.do(exitOK, "ledger", "create")
			w.do(exitPerson, "run", "--once")
			out, _ := w.do(exitOK, "rejects", "export")
			lines := strings.SplitAfter(out, "\n")
			mended := func(hours string) string {
				return w.put("mend.csv", lines[0]+strings.Replace(lines[1], ",eight,", ","+hours+",", 1))
			}
			w.faults("status=503")
			w.server = "not_executed: [503]"
			_, log := w.do(exitUnreachable, "rejects", "retry", mended("8"))
			contains(t, log, `new as .* stays open`)
			w.faults()
			_, log = w.do(exitOK, "rejects", "retry", mended("7"))
			contains(t, log, `taken over already, mended in another way, as .*, which is still to be sent; left out`, `0 rejected rows closed`)
			// The next thing that is sent of this source takes it along.
			w.do(exitPerson, "rejects", "retry", w.put("other.csv", lines[0]+strings.Replace(lines[2], ",x,", ",1,", 1)))
			if r, s := len(w.refs("rejected")), len(w.refs("sent")); r != 1 || s != 3 {
				t.Fatalf("got %d rejected and %d sent, want 1 and 3", r, s)
			}
			out, log = w.do(exitOK, "rejects", "retry", mended(c.hours))
			contains(t, out+log, c.says, `1 rejected row closed`)
			_, log = w.do(exitOK, "rejects", "retry", mended("5"))
			contains(t, log, `is closed already; left out`)
			if r, s := len(w.refs("rejected")), len(w.refs("sent")); r != 0 || s != c.sent {
				t.Errorf("got %d rejected and %d sent, want 0 and %d", r, s, c.sent)
			}
		})
	}
}

func TestRetryRefusesForeignFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, goodRow, badRow)
	w.do(exitOK, "ledger", "create")
	w.do(exitPerson, "run", "--once")
	const header = "user_id,date,project,hours,notes,_row,_reason,_hint"
	for _, lines := range [][]string{
		{"user_id,date,project,hours,notes", goodRow},
		{header, goodRow + ",,,"},
		{header, goodRow + ",2026-11-16/0000000000,,"},
		{header, "caf\xe9" + goodRow + ",2026-11-16/0000000000,,"},
	} {
		w.do(exitUsage, "rejects", "retry", w.write("foreign.csv", lines...))
	}
}
