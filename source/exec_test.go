package source

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func shell(script string) Config {
	return Config{Exec: &Exec{Command: []string{"/bin/sh", "-c", script}}}
}

func TestExec(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip(err)
	}
	const csv = `printf 'user,date,hours,project\nu,2026-11-16,1,P\n'`
	res := must(t, shell(csv+"; echo noise >&2"))
	if len(res.entries) != 1 || !res.survey.Complete || res.survey.Stamp != "" || res.entries[0].Origin.File != "sh" || res.entries[0].Origin.Line != 2 {
		t.Errorf("got %+v", res)
	}
	if res := must(t, shell(csv+`; printf 'u,2026-11-17,1,P'`)); res.survey.Complete || len(res.entries) != 2 {
		t.Errorf("got %+v", res.survey)
	}
	packed := must(t, shell(csv+"| gzip"))
	if packed.entries[0].Key != res.entries[0].Key {
		t.Error("what is packed has another key")
	}
	records := shell(`echo '{"data":[{"user":"u","date":"2026-11-16","hours":1,"project":"P"}]}'`)
	records.Records = "data"
	if must(t, records).entries[0].Key != res.entries[0].Key {
		t.Error("what is JSON has another key")
	}
	dir := t.TempDir()
	in := shell("pwd >&2; exit 3")
	in.Exec.Dir = dir
	slow := shell("echo starting >&2; sleep 60 & wait")
	slow.Exec.Timeout = 300 * time.Millisecond
	long := shell("while :; do echo 0123456789; done")
	long.Limits.File = 100 << 10
	for name, c := range map[string]struct {
		cfg     Config
		message []string
		hint    string
	}{
		"exit status": {shell(csv + `; printf 'Token expired\033[0m.\n\n' >&2; exit 3`), []string{"ended with exit status 3; it said: Token expired [0m."}, "by hand"},
		"directory":   {in, []string{"it said: ", dir}, "by hand"},
		"said a lot":  {shell(`head -c 100000 /dev/zero | tr '\0' x >&2; exit 1`), []string{"it said: " + strings.Repeat("x", 300) + "…"}, "by hand"},
		"signal":      {shell("kill -9 $$"), []string{"ended with signal: killed"}, "by hand"},
		"time":        {slow, []string{"took longer than 300ms; it said: starting"}, "exec.timeout"},
		"size":        {long, []string{"printed more than 102400 bytes"}, "shorter"},
		"nothing":     {shell(":"), []string{"empty"}, "header"},
		"unknown":     {Config{Exec: &Exec{Command: []string{"/no/such/program"}}}, []string{"cannot be run: no such file or directory"}, "PATH"},
		"not on path": {Config{Exec: &Exec{Command: []string{"no-such-program"}}}, []string{"cannot be run: executable file not found"}, "PATH"},
		"object":      {shell(`echo '{"data":[{}]}'`), []string{"no list of records"}, "exec.records"},
	} {
		_, err := read(t, c.cfg)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint(), c.hint) || slices.ContainsFunc(c.message, func(m string) bool { return !strings.Contains(e.Message+": "+errText(e.Err), m) }) {
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
		}
	}
	if _, err := New(Config{Name: "test", Location: time.UTC, Exec: &Exec{}}); err == nil {
		t.Error("no command is accepted")
	}
	s, err := New(Config{Name: "test", Location: time.UTC, SpoolDir: dir, Exec: slow.Exec})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What is meant for us is not for the program.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("TSUPLOAD_CLIENT_SECRET", "canary")
	t.Setenv("TRACKER_TOKEN", "theirs")
	res := must(t, shell(`printf 'user,date,hours,project\n%s,2026-11-16,1,x%s\n' "$TRACKER_TOKEN" "$TSUPLOAD_CLIENT_SECRET"`))
	if e := res.entries[0]; e.Person != "theirs" || e.Project != "x" {
		t.Errorf("got %+v", e)
	}
}

// What `timew export` printed on a real machine, with a timer that runs.
const timew = `[
{"id":3,"start":"20261116T090000Z","end":"20261116T103015Z","tags":["Website","acme"]},
{"id":2,"start":"20261117T223000Z","end":"20261118T010000Z","tags":["Internal"]},
{"id":1,"start":"20261124T170552Z","tags":["Website"],"annotation":"Fix cart"}
]
`

func timewConfig() Config {
	berlin, _ := time.LoadLocation("Europe/Berlin")
	return Config{User: "ada", Location: berlin, Columns: map[string]string{"start": "start", "end": "end", "project": "tags.0", "task": "tags.1", "notes": "annotation"}}
}

func TestTimewarrior(t *testing.T) {
	t.Parallel()
	cfg := timewConfig()
	cfg.Stdin = strings.NewReader(timew)
	res := must(t, cfg)
	if len(res.entries) != 2 || res.seconds() != 5415+9000 || len(res.skipped) != 1 || res.skipped[0].Reason != timesheet.ReasonRunning {
		t.Fatalf("got %+v", res)
	}
	if e := res.entries[0]; e.Project != "Website" || e.Task != "acme" || e.Start.Format(time.RFC3339) != "2026-11-16T10:00:00+01:00" {
		t.Errorf("got %+v", e)
	}
	if e := res.entries[1]; e.Project != "Internal" || e.Task != "" || e.Day.String() != "2026-11-17" {
		t.Errorf("got %+v", e)
	}
	// The timer alone has neither an end nor a second tag.
	cfg = timewConfig()
	cfg.Stdin = strings.NewReader(`[{"id":1,"start":"20261124T170552Z","tags":["Website"]}]`)
	if res := must(t, cfg); len(res.skipped) != 1 {
		t.Errorf("got %+v", res)
	}
}

// The real program, where it is installed, by what its export alone tells.
func TestRealTimewarrior(t *testing.T) {
	path, err := exec.LookPath("timew")
	if err != nil {
		t.Skip(err)
	}
	t.Setenv("TIMEWARRIORDB", t.TempDir()+"/db")
	t.Setenv("TZ", "UTC")
	timew := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, append([]string{":yes"}, args...)...)
		cmd.Stdin = strings.NewReader("yes\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	timew("track", "2026-11-16T09:00", "-", "2026-11-16T10:30:15", "Website", "acme")
	timew("track", "2026-11-17T22:30", "-", "2026-11-18T01:00", "Internal")
	timew("start", "2026-11-18T09:00", "Website")
	cfg := Config{User: "ada", Exec: &Exec{Command: []string{path, "export"}}}
	before := must(t, cfg)
	if len(before.entries) != 2 || before.seconds() != 5415+9000 || len(before.skipped) != 1 || before.skipped[0].Reason != timesheet.ReasonRunning ||
		before.entries[0].Project != "Website" || before.decision("tracker") != "timewarrior :1" {
		t.Fatalf("got %+v", before)
	}
	// Another tag, and an interval in front of all: the positions change, the keys
	// do not, and the change is seen.
	timew("track", "2026-11-15T09:00", "-", "2026-11-15T10:00", "Website")
	timew("tag", "@3", "urgent")
	timew("stop", "2026-11-18T09:20")
	after := must(t, cfg)
	if len(after.entries) != 4 || after.seconds() != before.seconds()+3600+1200 {
		t.Fatalf("got %+v", after)
	}
	for _, e := range before.entries {
		i := slices.IndexFunc(after.entries, func(a timesheet.Entry) bool { return a.Key == e.Key })
		if i < 0 || after.entries[i].Start != e.Start {
			t.Errorf("%s has another key", e.Start)
		} else if tagged := e.Project == "Website"; (after.entries[i].Digest != e.Digest) != tagged {
			t.Errorf("%s: changed %t, want %t", e.Start, !tagged, tagged)
		}
	}
}
