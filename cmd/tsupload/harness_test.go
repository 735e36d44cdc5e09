package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// The tests of reliability run the real program as child processes against a
// sandbox in the test's own process, then hold the export, the ledger and what
// the sandbox stores against each other. See rig.check for what must be true
// after every end, however it came about.
//
// Their size can be set in the environment:
//
//	TSUPLOAD_TORTURE_KILLS  kills for each level (torture_test.go; 6)
//	TSUPLOAD_POWER_CUTS     power cuts for each level (powercut_test.go; 4)
//	TSUPLOAD_TORTURE_SEED   repeats a torture (printed by each)
//	TSUPLOAD_FULL=1         whole tables, where otherwise a part of the cases is run
//	TSUPLOAD_FAULT_WORKERS  cases under way at once (8)

// program is the binary under test, built with crash points. It is there as
// long as a test uses it.
type program struct {
	mu    sync.Mutex
	users int
	path  string
}

var theProgram program // one build for all tests

// builtProgram returns the path of the binary. Call it before t.Parallel: then
// all tests that run in parallel share one build.
func builtProgram(t *testing.T) string {
	t.Helper()
	p := &theProgram
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		dir, err := os.MkdirTemp("", "tsupload-test-") //nolint:usetesting // it outlives the test that builds it
		if err != nil {
			t.Fatal(err)
		}
		p.path = filepath.Join(dir, "tsupload")
		out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", p.path, ".").CombinedOutput()
		if err != nil {
			_ = os.RemoveAll(dir)
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	p.users++
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.users--; p.users == 0 {
			_ = os.RemoveAll(filepath.Dir(p.path))
		}
	})
	return p.path
}

// level is what the API offers, as a configuration names it.
type level struct {
	name     string
	supports string
	more     string // further lines of api
	settles  bool   // ambiguity ends without a person
}

var levels = []level{ // a table
	{name: "L0", supports: ""},
	{name: "L0batch", supports: "batch", more: "  batch_size: 4\n"},
	{name: "L1", supports: "batch, read_back", more: "  batch_size: 4\n", settles: true},
	{name: "L2", supports: "batch, idempotency_key, read_back", more: "  batch_size: 4\n", settles: true},
	{name: "L2key", supports: "batch, idempotency_key", more: "  batch_size: 4\n", settles: true},
}

// line is one data row of the export.
type line struct {
	person, project, id string
	day                 timesheet.Day
	seconds             timesheet.Seconds
}

// rig is one installation: configuration, ledger, export, and the other end.
type rig struct {
	t       *testing.T
	bin     string
	dir     string
	level   level
	sandbox *sandbox.Sandbox
	lines   []line
	ids     bool   // the export has a column of ids
	extra   string // further lines of the configuration's source
	timeout time.Duration
	settle  time.Duration
	readGap time.Duration
	// deadline of a run, and how long it may drain.
	deadline, drain time.Duration
	rateLine        string
	// apiURL is something between the program and the API.
	apiURL string
}

func newRig(t *testing.T, bin string, lv level) *rig {
	t.Helper()
	s, err := sandbox.Start(context.WithoutCancel(t.Context()), sandbox.Config{Seed: 11})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := &rig{
		t: t, bin: bin, dir: t.TempDir(), level: lv, sandbox: s,
		timeout: 1500 * time.Millisecond, settle: 60 * time.Millisecond, readGap: 10 * time.Millisecond, deadline: 30 * time.Second, drain: 30 * time.Second,
	}
	if err := ledger.Create(t.Context(), w.state(), s.APIURL(), 0); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *rig) state() string { return filepath.Join(w.dir, "state") }

// grow adds n rows to the export; some rows are equal to others.
func (w *rig) grow(n int) {
	w.t.Helper()
	first := timesheet.Date(2024, 3, 4)
	for range n {
		i := len(w.lines)
		l := line{
			person: "p" + strconv.Itoa(i%5), project: "Project " + strconv.Itoa(i%3), day: first + timesheet.Day(i/20),
			seconds: timesheet.Seconds(900 * (1 + i%4)),
		}
		if w.ids {
			l.id = "t-" + strconv.Itoa(i)
		}
		w.lines = append(w.lines, l)
		if i%9 == 8 && len(w.lines) > 1 && !w.ids {
			w.lines[i] = w.lines[i-1] // people do log the same thing twice
		}
	}
	w.writeExport()
}

// writeExport replaces the export, as a producer should: whole or not at all.
func (w *rig) writeExport() {
	w.t.Helper()
	var b strings.Builder
	b.WriteString("user_id,date,project,hours")
	if w.ids {
		b.WriteString(",id")
	}
	b.WriteByte('\n')
	for _, l := range w.lines {
		fmt.Fprintf(&b, "%s,%s,%s,%s", l.person, l.day, l.project, l.seconds.Hours())
		if w.ids {
			b.WriteString("," + l.id)
		}
		b.WriteByte('\n')
	}
	path := filepath.Join(w.dir, "export.csv")
	if err := errors.Join(os.WriteFile(path+".tmp", []byte(b.String()), 0o600), os.Rename(path+".tmp", path)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rig) writeConfig() {
	w.t.Helper()
	apiURL := w.sandbox.APIURL()
	if w.apiURL != "" {
		apiURL = w.apiURL
	}
	columns := "user: user_id, date: date, project: project, hours: hours"
	if w.ids {
		columns += ", id: id"
	}
	text := fmt.Sprintf(`api:
  url: %s
  id: %s
  supports: [%s]
%s%s  concurrency: 3
  timeout: %s
  retry_wait: 4ms
  server: {settle: %s, read_gap: %s}
auth:
  issuer: %s
  audience: %s
  client_id: %s
  client_secret: {env: TSUPLOAD_CLIENT_SECRET}
run: {deadline: %s, drain: %s}
state: {dir: state}
listen: {address: ""}
sources:
  - name: acme
    timezone: UTC
    csv: {path: export.csv, settle_file: 0s}
    columns: {%s}
%s`, apiURL, w.sandbox.APIURL(), w.level.supports, w.level.more, w.rateLine, w.timeout, w.settle, w.readGap,
		w.sandbox.Issuer(), w.sandbox.Audience(), w.sandbox.ClientID(), w.deadline, w.drain, columns, w.extra)
	// Another process may be reading it.
	path := filepath.Join(w.dir, "tsupload.yaml")
	if there, err := os.ReadFile(path); err == nil && string(there) == text {
		return
	}
	if err := errors.Join(os.WriteFile(path+".tmp", []byte(text), 0o600), os.Rename(path+".tmp", path)); err != nil {
		w.t.Fatal(err)
	}
}

// command prepares a child process of the program.
func (w *rig) command(ctx context.Context, crash string, args ...string) *exec.Cmd {
	w.writeConfig()
	cmd := exec.CommandContext(ctx, w.bin, append([]string{"--config", filepath.Join(w.dir, "tsupload.yaml")}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + w.dir,
		"TSUPLOAD_CLIENT_SECRET=" + w.sandbox.ClientSecret(), "TSUPLOAD_CRASH=" + crash,
	}
	return cmd
}

// exec runs the program to its end and returns its exit status.
func (w *rig) exec(crash string, args ...string) (code int, output string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := w.command(ctx, crash, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		w.t.Fatalf("tsupload %v did not end\n%s", args, out.String())
	case err != nil && !errors.As(err, &exit):
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// once is `run --once`.
func (w *rig) once(crash string) (code int, output string) {
	w.t.Helper()
	return w.exec(crash, "run", "--once")
}

// faults replaces what the sandbox does wrong.
func (w *rig) faults(latency time.Duration, texts ...string) {
	w.t.Helper()
	var list []sandbox.Fault
	for _, text := range texts {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, f)
	}
	w.sandbox.SetFaults(list, latency)
}

func (w *rig) stats() sandbox.Stats {
	w.t.Helper()
	var s sandbox.Stats
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.sandbox.APIURL()+"/_sandbox/stats", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// wait lets d pass.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test was ended")
	}
}

// eventually waits until ok, for a while.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 4000 {
		if ok() {
			return
		}
		wait(t, 5*time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// body is what the API stores of an entry, hashed as the sandbox does.
func (w *rig) body(e *timesheet.Waiting) string {
	b := fmt.Sprintf(`{"user_id":%q,"user_type":"Contractor","date":"%sT00:00:00.000Z","project":%q,"hours":%s`, e.Person, e.Day, e.Project, e.Seconds.Hours())
	if strings.Contains(w.level.supports, "read_back") {
		b += `,"external_id":"` + hex.EncodeToString(e.Key[:]) + `"`
	}
	sum := sha256.Sum256([]byte(b + "}"))
	return hex.EncodeToString(sum[:])
}

// entries lists the whole ledger.
func (w *rig) entries() []*timesheet.Waiting {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), ledger.Options{Dir: w.state(), ReadOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	var all []*timesheet.Waiting
	if err := l.Entries(w.t.Context(), ledger.Filter{}, func(e *timesheet.Waiting) error {
		c := *e
		all = append(all, &c)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	counted := map[timesheet.State]int{}
	counts, err := l.Counts(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range counts {
		counted[c.State] += c.Entries
	}
	if listed := byState(all); !maps.Equal(listed, counted) && listed[timesheet.StateSending] == 0 {
		w.t.Errorf("the ledger lists %v and counts %v", listed, counted)
	}
	return all
}

func byState(all []*timesheet.Waiting) map[timesheet.State]int {
	n := map[timesheet.State]int{}
	for _, e := range all {
		n[e.State]++
	}
	return n
}

// verdict is what check found.
type verdict struct {
	states map[timesheet.State]int
	twice  int // copies at the API beyond what the export asks for
	lost   int // entries that are at the API or open according to nobody
	faults []string
}

func (v *verdict) fault(format string, args ...any) {
	if len(v.faults) < 12 {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// mayBeThere are the states in which the API can have an entry. In any other it
// must not, because the entry would go out again, or is said to be refused.
func mayBeThere(s timesheet.State) bool {
	return s == timesheet.StateSent || s == timesheet.StateSending || s == timesheet.StateInDoubt
}

// look compares export, ledger and API. planned says that a plan of the whole
// export has been committed.
func (w *rig) look(planned bool) *verdict {
	w.t.Helper()
	all, stored := w.entries(), w.stats().Bodies
	v := &verdict{states: byState(all)}

	type sums struct{ total, sent, may int64 }
	want := map[string]*sums{}
	keys := map[timesheet.Packed]bool{}
	rows := map[line]int{}
	for _, e := range all {
		if keys[e.Key] {
			v.fault("%s stands in the ledger twice", e.Ref)
		}
		keys[e.Key] = true
		if e.Row {
			continue
		}
		rows[line{person: e.Person, project: e.Project, day: e.Day, seconds: e.Seconds, id: e.ID}]++
		body := w.body(e)
		if want[body] == nil {
			want[body] = &sums{}
		}
		s := want[body]
		s.total++
		if e.State == timesheet.StateSent {
			s.sent++
		}
		if mayBeThere(e.State) {
			s.may++
		}
	}
	for body, s := range want {
		at := stored[body]
		if at > s.total {
			v.twice += int(at - s.total)
			v.fault("the API has %d copies of what the export has %d times", at, s.total)
		}
		if at < s.sent {
			v.lost += int(s.sent - at)
			v.fault("the ledger calls %d copies sent, the API has %d", s.sent, at)
		}
		if at > s.may && at <= s.total {
			v.fault("the API has %d copies, of which the ledger would send or calls refused %d", at, at-s.may)
		}
	}
	for body, n := range stored {
		if want[body] == nil {
			v.twice += int(n)
			v.fault("the API has %d entries that the ledger knows nothing of", n)
		}
	}
	exported := map[line]int{}
	for _, l := range w.lines {
		exported[l]++
	}
	for l, n := range rows {
		if n > exported[l] {
			v.fault("the ledger has %d entries of a row that the export has %d times: %v", n, exported[l], l)
		}
	}
	if planned {
		for l, n := range exported {
			if rows[l] < n {
				v.lost += n - rows[l]
				v.fault("a row is not in the ledger: %v", l)
			}
		}
	}
	return v
}

// check fails the test where an entry is lost, sent twice or lied about.
func (w *rig) check(when string, planned bool) *verdict {
	w.t.Helper()
	v := w.look(planned)
	for _, f := range v.faults {
		w.t.Errorf("%s: %s", when, f)
	}
	return v
}

// settled runs the program, without faults, until nothing more can happen by
// itself, and checks how it ends. It returns what waits for a person.
func (w *rig) settled(runs int) *verdict {
	w.t.Helper()
	w.faults(0)
	var v *verdict
	for n := 1; ; n++ {
		code, out := w.once("")
		v = w.check("after clean run "+strconv.Itoa(n), true)
		open := v.states[timesheet.StateInDoubt] + v.states[timesheet.StateHeld] + v.states[timesheet.StateRejected]
		left := v.states[timesheet.StateNew] + v.states[timesheet.StateSending]
		switch {
		case open > 0 && code != exitPerson && code != exitUnreachable:
			w.t.Errorf("%d entries wait for a person, and the exit status is %d\n%s", open, code, out)
		case open == 0 && left == 0 && code != exitOK:
			w.t.Errorf("all is settled, and the exit status is %d\n%s", code, out)
		case left > 0 && code == exitOK:
			w.t.Errorf("%d entries are not sent, and the exit status is 0\n%s", left, out)
		}
		if left == 0 && (v.states[timesheet.StateInDoubt] == 0 || !w.level.settles) {
			return v
		}
		if n >= runs {
			w.t.Errorf("not settled after %d clean runs: %v\n%s", n, v.states, out)
			return v
		}
	}
}

// subside is the ending of a torture: what still comes late comes, all is
// settled, and is looked at again.
func (w *rig) subside() *verdict {
	w.t.Helper()
	w.faults(0)
	wait(w.t, 60*time.Millisecond)
	v := w.settled(6)
	wait(w.t, 60*time.Millisecond)
	w.check("when nothing comes late any more", true)
	w.integrity()
	return v
}

// finish is the same ending for every test: settle, then look again when
// nothing can come late any more, and look at the ledger's file.
func (w *rig) finish() {
	w.t.Helper()
	v := w.settled(4)
	if w.level.settles && v.states[timesheet.StateSent] != len(w.lines) {
		w.t.Errorf("got %v, want %d sent", v.states, len(w.lines))
	}
	w.integrity()
}

// integrity looks for damage in the ledger's file, and for requests that were
// begun and forgotten.
func (w *rig) integrity() {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.state(), "ledger.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	var said string
	if err := db.QueryRowContext(w.t.Context(), "PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		w.t.Errorf("integrity_check: %q, %v", said, err)
	}
	var begun int
	if err := db.QueryRowContext(w.t.Context(), "SELECT count(*) FROM parcel WHERE begun > settled").Scan(&begun); err != nil || begun != 0 {
		w.t.Errorf("%d parcels are still being sent, %v", begun, err)
	}
	var waiting int
	if err := db.QueryRowContext(w.t.Context(), "SELECT count(*) FROM journal").Scan(&waiting); err != nil || waiting != 0 {
		w.t.Errorf("%d rows are left in the journal, %v", waiting, err)
	}
	var kept int
	if err := db.QueryRowContext(w.t.Context(), "SELECT count(*) FROM content c JOIN parcel p ON p.id = c.parcel WHERE p.state = 'new' AND p.settled = p.n").Scan(&kept); err != nil || kept != 0 {
		w.t.Errorf("the notes of %d parcels are kept though all is settled, %v", kept, err)
	}
	w.indexed(db)
}

// indexed compares the two places that say where an entry is: the index, which
// keeps it from being there twice, and the parcels, which are read when most of
// it is asked for.
func (w *rig) indexed(db *sql.DB) {
	w.t.Helper()
	const record = 24
	rows, err := db.QueryContext(w.t.Context(), `SELECT p.id, p.n, coalesce(p.gone, x''), d.records FROM parcel p JOIN detail d ON d.parcel = p.id
		WHERE p.live > 0 AND (p.op = 'create' OR p.state = 'new' AND p.settled = p.n)`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	type place struct {
		key    string
		parcel int64
		pos    int
	}
	held := map[place]bool{}
	for rows.Next() {
		var id int64
		var n int
		var gone, records []byte
		if err := rows.Scan(&id, &n, &gone, &records); err != nil {
			w.t.Fatal(err)
		}
		for pos := range n {
			held[place{string(records[pos*record : pos*record+16]), id, pos}] = true
		}
		for ; len(gone) > 1; gone = gone[2:] {
			pos := int(gone[0])<<8 | int(gone[1])
			delete(held, place{string(records[pos*record : pos*record+16]), id, pos})
		}
	}
	index, err := db.QueryContext(w.t.Context(), `SELECT key, parcel, pos FROM entry`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer index.Close()
	n := 0
	for index.Next() {
		var p place
		var key []byte
		if err := index.Scan(&key, &p.parcel, &p.pos); err != nil {
			w.t.Fatal(err)
		}
		if p.key = string(key); !held[p] {
			w.t.Errorf("the index has an entry at %d of parcel %d that is not there", p.pos, p.parcel)
		}
		n++
	}
	if err := errors.Join(rows.Err(), index.Err()); err != nil || n != len(held) {
		w.t.Errorf("%d entries in the index, %d in parcels, %v", n, len(held), err)
	}
}

// each runs cases as sub-tests, several at once: most of their time is waiting.
func each[T any](t *testing.T, cases []T, name func(T) string, test func(t *testing.T, c T)) {
	t.Helper()
	queue := make(chan T)
	var workers sync.WaitGroup
	for range setting("TSUPLOAD_FAULT_WORKERS", 8) {
		workers.Go(func() {
			for c := range queue {
				t.Run(name(c), func(t *testing.T) { test(t, c) })
			}
		})
	}
	for _, c := range cases {
		queue <- c
	}
	close(queue)
	workers.Wait()
}

// setting is a number from the environment.
func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// full tells whether tables are run whole.
func full() bool { return setting("TSUPLOAD_FULL", 0) > 0 }

// chance is a source of random numbers whose seed is told.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("TSUPLOAD_TORTURE_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("TSUPLOAD_TORTURE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// levelNamed finds a level of the table.
func levelNamed(t *testing.T, name string) level {
	t.Helper()
	i := slices.IndexFunc(levels, func(l level) bool { return l.name == name })
	if i < 0 {
		t.Fatalf("no level %s", name)
	}
	return levels[i]
}
