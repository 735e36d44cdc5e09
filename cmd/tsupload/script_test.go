package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// The scripts in testdata/script are the promises that a user can see. Beside
// the standard commands they have those of scriptCommands.

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tsupload": main, "person": personMain})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	exports, err := filepath.Abs("../../testdata/export")
	if err != nil {
		t.Fatal(err)
	}
	bin := buildUnderRace(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		Cmds:                scriptCommands(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXPORT", exports)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TSUPLOAD_CLIENT_SECRET", "")
			// The keyring of whoever runs this is none of a script's business.
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
			env.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			w := &scriptWorld{dir: env.WorkDir, bin: bin, running: map[string]*scriptProcess{}}
			env.Values[scriptWorldKey{}] = w
			env.Defer(w.close)
			return nil
		},
	})
}

// buildUnderRace builds the program without the race detector where the tests
// run with it: the scripts start some 500 processes, and each takes half a
// second to start with it. It returns a directory, empty without the detector.
func buildUnderRace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		if out, err := exec.Command("go", "build", "-race=false", "-o", filepath.Join(dir, "tsupload"), ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	return dir
}

func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	commands := map[string]func(w *scriptWorld, ts *testscript.TestScript, args []string){
		"sandbox":   (*scriptWorld).cmdSandbox,
		"faults":    (*scriptWorld).cmdFaults,
		"config":    (*scriptWorld).cmdConfig,
		"exits":     (*scriptWorld).cmdExits,
		"start":     (*scriptWorld).cmdStart,
		"await":     (*scriptWorld).cmdAwait,
		"end":       (*scriptWorld).cmdEnd,
		"stats":     (*scriptWorld).cmdStats,
		"ledger":    (*scriptWorld).cmdLedger,
		"refs":      (*scriptWorld).cmdRefs,
		"jsonlines": (*scriptWorld).cmdJSONLines,
		"token":     (*scriptWorld).cmdToken,
		"nowhere":   (*scriptWorld).cmdNowhere,
		"edit":      (*scriptWorld).cmdEdit,
		"runids":    (*scriptWorld).cmdRunIDs,
		"receiver":  (*scriptWorld).cmdReceiver,
		"received":  (*scriptWorld).cmdReceived,
		"today":     (*scriptWorld).cmdToday,
		"disguise":  (*scriptWorld).cmdDisguise,
		"connect":   (*scriptWorld).cmdConnect,
		"follow":    (*scriptWorld).cmdFollow,
		"logins":    (*scriptWorld).cmdLogins,
		"revoke":    (*scriptWorld).cmdRevoke,
	}
	adapted := map[string]func(ts *testscript.TestScript, neg bool, args []string){}
	for name, run := range commands {
		adapted[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", name)
			}
			run(ts.Value(scriptWorldKey{}).(*scriptWorld), ts, args)
		}
	}
	return adapted
}

type scriptWorldKey struct{}

// scriptWorld is what one script has beside its directory.
type scriptWorld struct {
	dir     string
	bin     string // goes before the PATH
	box     *sandbox.Sandbox
	running map[string]*scriptProcess
	said    strings.Builder // all that the program printed, for nowhere
	// receiver is who is told; nil before the first command that needs it.
	receiver *receiver
}

func (w *scriptWorld) close() {
	for _, p := range w.running {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if w.box != nil {
		_ = w.box.Close()
	}
	if w.receiver != nil {
		w.receiver.close()
	}
}

// sandbox [off | on | emptied | FAULT...] starts the other end in the test
// process. off takes it down, and on brings it back at the same addresses with
// the same entries; emptied does both, and it has lost them.
func (w *scriptWorld) cmdSandbox(ts *testscript.TestScript, args []string) {
	cfg := sandbox.Config{DB: filepath.Join(w.dir, ".sandbox.db"), ClientSecret: "canary-secret-5f2c", DeviceInterval: time.Second, Passwords: map[string]string{}}
	for _, p := range people.ExampleCo() {
		cfg.Passwords[p.Username] = personPassword
	}
	if len(args) == 1 && args[0] == "off" {
		ts.Check(w.box.Close())
		return
	}
	if len(args) == 1 && args[0] == "emptied" {
		ts.Check(w.box.Close())
		ts.Check(os.Remove(cfg.DB))
		args = []string{"on"}
	}
	if len(args) == 1 && args[0] == "on" {
		cfg.Addr, cfg.AuthAddr = strings.TrimPrefix(ts.Getenv("API"), "http://"), strings.TrimPrefix(ts.Getenv("ISSUER"), "http://")
		args = nil
	}
	for _, text := range args {
		f, err := sandbox.ParseFault(text)
		ts.Check(err)
		cfg.Faults = append(cfg.Faults, f)
	}
	s, err := sandbox.Start(context.Background(), cfg)
	ts.Check(err)
	w.box = s
	for name, value := range map[string]string{
		"API": s.APIURL(), "ISSUER": s.Issuer(), "AUDIENCE": s.Audience(), "STATS": s.APIURL() + "/_sandbox/stats?lists=false",
		"TSUPLOAD_CLIENT_SECRET": s.ClientSecret(),
	} {
		ts.Setenv(name, value)
	}
}

// faults FAULT... replaces the faults; without one there are none.
func (w *scriptWorld) cmdFaults(ts *testscript.TestScript, args []string) {
	body, err := json.Marshal(map[string]any{"faults": args})
	ts.Check(err)
	resp, err := http.Post(ts.Getenv("API")+"/_sandbox/faults", "application/json", bytes.NewReader(body))
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		answer, _ := io.ReadAll(resp.Body)
		ts.Fatalf("faults: %s: %s", resp.Status, answer)
	}
}

// config L0|L1|L2 ['section.key: value'...] writes tsupload.yaml for the
// sandbox, with one source, acme, that reads in/*.csv. Sections are api,
// server, run, auth, state, listen, metrics, source, csv; what is given replaces what the
// command would write, and an empty value leaves the key out. A daemon has no
// listener unless listen.address says so. A line
// beginning with a blank goes to the end of the file as it is.
func (w *scriptWorld) cmdConfig(ts *testscript.TestScript, args []string) {
	supports := map[string]string{"L0": "[]", "L1": "[read_back]", "L2": "[batch, idempotency_key, read_back]"}
	if len(args) == 0 || supports[args[0]] == "" {
		ts.Fatalf("usage: config L0|L1|L2 ['section.key: value'...]")
	}
	keys := [][2]string{
		{"api.url", ts.Getenv("API")},
		{"api.supports", supports[args[0]]},
		{"api.timeout", "2s"},
		{"api.retry_wait", "5ms"},
		{"server.settle", "20ms"},
		{"server.read_gap", "5ms"},
		{"auth.issuer", ts.Getenv("ISSUER")},
		{"auth.audience", ts.Getenv("AUDIENCE")},
		{"auth.client_id", "sandbox-client"},
		{"auth.client_secret", "{env: TSUPLOAD_CLIENT_SECRET}"},
		{"state.dir", filepath.Join(w.dir, "state")},
		{"listen.address", `""`},
		{"source.name", "acme"},
		{"source.timezone", "Europe/Berlin"},
		{"csv.path", filepath.Join(w.dir, "in", "*.csv")},
		{"csv.settle_file", "1ms"},
	}
	var rest strings.Builder
	for _, arg := range args[1:] {
		if strings.HasPrefix(arg, " ") {
			rest.WriteString(arg[1:] + "\n")
			continue
		}
		key, value, ok := strings.Cut(arg, ":")
		if !ok {
			ts.Fatalf("config: %q is no line", arg)
		}
		pair := [2]string{key, strings.TrimSpace(value)}
		if i := slices.IndexFunc(keys, func(k [2]string) bool { return k[0] == key }); i >= 0 {
			keys[i] = pair
		} else {
			keys = append(keys, pair)
		}
	}
	var b strings.Builder
	for _, section := range []struct{ name, head, indent string }{
		{"api", "api:\n", "  "},
		{"server", "  server:\n", "    "},
		{"run", "run:\n", "  "},
		{"auth", "auth:\n", "  "},
		{"state", "state:\n", "  "},
		{"listen", "listen:\n", "  "},
		{"metrics", "metrics:\n", "  "},
		{"source", "sources:\n  -\n", "    "},
		{"csv", "    csv:\n", "      "},
		{"exec", "    exec:\n", "      "},
	} {
		head := section.head
		for _, k := range keys {
			if name, key, _ := strings.Cut(k[0], "."); name == section.name && k[1] != "" {
				b.WriteString(head + section.indent + key + ": " + k[1] + "\n")
				head = ""
			}
		}
	}
	ts.Check(os.WriteFile(filepath.Join(w.dir, "tsupload.yaml"), []byte(b.String()+rest.String()), 0o600))
	ts.Check(os.MkdirAll(filepath.Join(w.dir, "in"), 0o700))
}

// exits N COMMAND... runs a command and checks its exact status.
func (w *scriptWorld) cmdExits(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	w.said.WriteString(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	if got := exitStatus(ts, err); strconv.Itoa(got) != args[0] {
		ts.Fatalf("got exit status %d, want %s", got, args[0])
	}
}

func exitStatus(ts *testscript.TestScript, err error) int {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode()
	}
	ts.Check(err)
	return 0
}

// scriptProcess runs beside the script.
type scriptProcess struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	log    lockedLog
	done   chan struct{}
	failed error
}

// start NAME COMMAND... starts a command that await and end know by name.
func (w *scriptWorld) cmdStart(ts *testscript.TestScript, args []string) {
	if len(args) < 2 || w.running[args[0]] != nil {
		ts.Fatalf("usage: start NAME COMMAND..., with a name of its own")
	}
	// The commands of TestMain are in the PATH of this process.
	path, err := exec.LookPath(filepath.Join(w.bin, args[1]))
	if err != nil {
		path, err = exec.LookPath(args[1])
	}
	ts.Check(err)
	p := &scriptProcess{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	p.cmd.Dir = w.dir
	p.cmd.Env = append(os.Environ(), "TSUPLOAD_CLIENT_SECRET="+ts.Getenv("TSUPLOAD_CLIENT_SECRET"), "HOME="+w.dir,
		"XDG_RUNTIME_DIR="+w.dir, "DBUS_SESSION_BUS_ADDRESS=", "BROWSER="+ts.Getenv("BROWSER"), "PERSON="+ts.Getenv("PERSON"))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	ts.Check(p.cmd.Start())
	w.running[args[0]] = p
	go func() {
		p.failed = p.cmd.Wait()
		close(p.done)
	}()
}

// await NAME PATTERN waits until the standard error of a started command
// matches. await uploads N waits until the API has had N requests to upload.
func (w *scriptWorld) cmdAwait(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await NAME PATTERN, or await uploads N")
	}
	var there func() bool
	if args[0] == "uploads" {
		n, err := strconv.ParseFloat(args[1], 64)
		ts.Check(err)
		there = func() bool { return w.stats(ts)["uploads"].(float64) >= n }
	} else {
		p, re := w.process(ts, args[0]), regexp.MustCompile(args[1])
		there = func() bool { return re.MatchString(p.log.String()) }
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !there() {
		select {
		case <-tick.C:
		case <-limit:
			ts.Fatalf("waited in vain for %s", strings.Join(args, " "))
		}
	}
}

func (w *scriptWorld) process(ts *testscript.TestScript, name string) *scriptProcess {
	p := w.running[name]
	if p == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return p
}

// end N NAME [INT|TERM|KILL] sends a signal to a started command, TERM by
// default, waits for its end and checks its status. Its output can be looked at
// as that of any other command.
func (w *scriptWorld) cmdEnd(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: end N NAME [SIGNAL]")
	}
	p := w.process(ts, args[1])
	signal := os.Signal(syscall.SIGTERM)
	if len(args) > 2 {
		signal = map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[2]]
	}
	if signal != nil {
		ts.Check(p.cmd.Process.Signal(signal))
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		ts.Fatalf("%s did not end; its log:\n%s", args[1], p.log.String())
	}
	delete(w.running, args[1])
	fmt.Fprint(ts.Stdout(), p.out.String())
	fmt.Fprint(ts.Stderr(), p.log.String())
	w.said.WriteString(p.out.String() + p.log.String())
	if got := exitStatus(ts, p.failed); strconv.Itoa(got) != args[0] {
		ts.Fatalf("got exit status %d, want %s; its log:\n%s", got, args[0], p.log.String())
	}
}

func (w *scriptWorld) stats(ts *testscript.TestScript) map[string]any {
	resp, err := http.Get(ts.Getenv("STATS"))
	ts.Check(err)
	defer resp.Body.Close()
	var stats map[string]any
	ts.Check(json.NewDecoder(resp.Body).Decode(&stats))
	return stats
}

// stats FIELD OP N checks what the sandbox counted: requests, uploads, entries,
// tokens_issued, replays, duplicates.
func (w *scriptWorld) cmdStats(ts *testscript.TestScript, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: stats FIELD OP N")
	}
	stats := w.stats(ts)
	got, ok := stats[args[0]].(float64)
	if !ok {
		ts.Fatalf("stats have no %s: %v", args[0], stats)
	}
	want, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	holds, ok := map[string]bool{"==": got == want, "!=": got != want, "<": got < want, "<=": got <= want, ">": got > want, ">=": got >= want}[args[1]]
	if !ok {
		ts.Fatalf("stats: no operator %s", args[1])
	}
	if !holds {
		ts.Fatalf("got %s %v, want %s %s; all: %v", args[0], got, args[1], args[2], stats)
	}
}

func (w *scriptWorld) entries(ts *testscript.TestScript, each func(*timesheet.Waiting)) {
	l, err := ledger.Open(context.Background(), ledger.Options{Dir: filepath.Join(w.dir, "state"), ReadOnly: true})
	ts.Check(err)
	defer l.Close()
	ts.Check(l.Entries(context.Background(), ledger.Filter{}, func(x *timesheet.Waiting) error {
		each(x)
		return nil
	}))
}

// ledger [STATE] prints the ledger in canonical form, to look at with stdout or
// cmp: state, reason, person, day, project, seconds, file:line. A row that never
// became an entry has a dash for what could not be read. With a STATE only that.
func (w *scriptWorld) cmdLedger(ts *testscript.TestScript, args []string) {
	var lines []string
	w.entries(ts, func(x *timesheet.Waiting) {
		if len(args) > 0 && string(x.State) != args[0] {
			return
		}
		dash := func(s string) string {
			if s == "" {
				return "-"
			}
			return s
		}
		day := "-"
		if !x.Row {
			day = x.Day.String()
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s %d %s:%d\n", x.State, dash(string(x.Reason)), dash(x.Person), day, dash(x.Project), x.Seconds,
			filepath.Base(x.Origin.File), x.Origin.Line))
	})
	slices.Sort(lines)
	fmt.Fprint(ts.Stdout(), strings.Join(lines, ""))
}

// refs STATE sets $REF to the first reference of that state, in the order of
// file and line, and $REFS to how many there are.
func (w *scriptWorld) cmdRefs(ts *testscript.TestScript, args []string) {
	var found []*timesheet.Waiting
	w.entries(ts, func(x *timesheet.Waiting) {
		if string(x.State) == args[0] {
			c := *x
			found = append(found, &c)
		}
	})
	slices.SortStableFunc(found, func(a, b *timesheet.Waiting) int {
		return strings.Compare(fmt.Sprintf("%s:%09d", a.Origin.File, a.Origin.Line), fmt.Sprintf("%s:%09d", b.Origin.File, b.Origin.Line))
	})
	ts.Setenv("REFS", strconv.Itoa(len(found)))
	if len(found) == 0 {
		ts.Fatalf("nothing is %s", args[0])
	}
	ts.Setenv("REF", found[0].Ref)
}

// jsonlines FILE checks that every line is a JSON object with a type and a
// schema version, and that there is one.
func (w *scriptWorld) cmdJSONLines(ts *testscript.TestScript, args []string) {
	text := strings.TrimSuffix(ts.ReadFile(args[0]), "\n")
	for n, line := range strings.Split(text, "\n") {
		var object struct {
			Type   string `json:"type"`
			Schema int    `json:"schema"`
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("line %d is no JSON object: %v\n%s", n+1, err, line)
		}
		if object.Type == "" || object.Schema < 1 {
			ts.Fatalf("line %d has no type or no schema: %s", n+1, line)
		}
	}
}

// token sets $TOKEN to the access token in the state directory.
func (w *scriptWorld) cmdToken(ts *testscript.TestScript, _ []string) {
	files, err := filepath.Glob(filepath.Join(w.dir, "state", "tokens", "*.json"))
	ts.Check(err)
	token := regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)
	for _, name := range files {
		if found := token.FindString(ts.ReadFile(name)); found != "" {
			ts.Setenv("TOKEN", found)
			return
		}
	}
	ts.Fatalf("there is no token in %v", files)
}

// nowhere TEXT [but GLOB] checks that a text is in nothing that the
// program printed and in no file of the state directory, those aside whose base
// name matches GLOB.
func (w *scriptWorld) cmdNowhere(ts *testscript.TestScript, args []string) {
	text, except := args[0], ""
	if len(args) == 3 && args[1] == "but" {
		except = args[2]
	}
	if text == "" {
		ts.Fatalf("nowhere: an empty text is everywhere")
	}
	if i := strings.Index(w.said.String(), text); i >= 0 {
		ts.Fatalf("the program printed it: %.300q", w.said.String()[max(0, i-150):])
	}
	err := filepath.WalkDir(filepath.Join(w.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if match, _ := filepath.Match(except, d.Name()); match {
			return nil
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			ts.Fatalf("%s is in %s", text, path)
		}
		return err
	})
	ts.Check(err)
}

// runids N checks that each line that the last command logged, at least N,
// carries the id of the same run, once.
func (w *scriptWorld) cmdRunIDs(ts *testscript.TestScript, args []string) {
	least, err := strconv.Atoi(args[0])
	ts.Check(err)
	id, lines := "", 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, `{"time":`) {
			continue // said to a person, not logged
		}
		lines++
		found := regexp.MustCompile(`run_id(?:=|":")([^ "]+)`).FindAllStringSubmatch(line, -1)
		if len(found) != 1 || id != "" && found[0][1] != id {
			ts.Fatalf("not a line of run %s, or not once: %s", id, line)
		}
		id = found[0][1]
	}
	if lines < least {
		ts.Fatalf("got %d lines, want at least %d", lines, least)
	}
}

// edit FILE OLD NEW replaces the one OLD in a file.
func (w *scriptWorld) cmdEdit(ts *testscript.TestScript, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		ts.Fatalf("%s has %q %d times, want once", args[0], args[1], n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}
