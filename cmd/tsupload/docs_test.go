package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// What stands in a fenced block of the documents is carried out, or at least
// held against the program. The word after the fence says how:
//
//	console         lines with "$ tsupload" are run, and what they print has to
//	                be what stands there (-update rewrites it)
//	console no-run  what a test cannot do (apt, systemctl, kubectl): every
//	                command line of tsupload in it has to be one that it takes
//	sh, crontab     as console no-run; `go run ./cmd/tsupload` is run
//	yaml            a configuration, or a part of one, that has to be valid
//	yaml NAME       the same, and the sessions below find it as that file
//	csv NAME        a file that the sessions below find
//	http            a request to the sandbox, and its answer
//	json            has to be JSON
//	ini             a part of a unit
//
// Any other word fails, so that no block goes unseen.

// docBlock is one fenced block.
type docBlock struct {
	info, text string
}

func (b docBlock) String() string { return "```" + b.info + "\n" + b.text + "```\n" }

// rewriteBlocks replaces every fenced block by what each makes of it.
func rewriteBlocks(t *testing.T, text string, each func(docBlock) string) string {
	t.Helper()
	out, block := &strings.Builder{}, docBlock{}
	inside := false
	for line := range strings.Lines(text) {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			out.WriteString(each(block))
			inside = false
		case fence:
			block, inside = docBlock{info: strings.TrimSpace(info)}, true
		case inside:
			block.text += line
		default:
			out.WriteString(line)
		}
	}
	if inside {
		t.Fatalf("the block %q has no end", block.info)
	}
	return out.String()
}

// docWorld is where the sessions of one document take place.
type docWorld struct {
	box *sandbox.Sandbox
	env map[string]string
	// What was found: parsed are command lines only held against the program.
	ran, parsed, validated, requests int
}

// newDocWorld goes to a directory with an export, and, unless it is bare, a
// configuration for a sandbox.
func newDocWorld(t *testing.T, bare bool) *docWorld {
	t.Helper()
	week, err := os.ReadFile("../../testdata/export/week47.csv")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	w := &docWorld{env: map[string]string{"TSUPLOAD_STATE_DIR": filepath.Join(dir, "state")}}
	write(t, "week47.csv", string(week))
	if bare {
		return w
	}
	if w.box, err = sandbox.Start(t.Context(), sandbox.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.box.Close() })
	w.env["TSUPLOAD_CLIENT_SECRET"] = w.box.ClientSecret()
	write(t, "tsupload.yaml", w.box.ConfigBlock()+"sources:\n  - name: acme\n    timezone: Europe/Berlin\n    csv: {path: \"in/*.csv\"}\n")
	return w
}

// tsupload runs the program. Of standard error only its own last words count:
// the log has the time in it.
func (w *docWorld) tsupload(args []string) (code int, stdout, words string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), environment{
		args: args, stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(k string) string { return w.env[k] },
	})
	for line := range strings.Lines(errs.String()) {
		if strings.HasPrefix(line, "tsupload: ") {
			words += line
		}
	}
	return code, out.String(), words
}

func (w *docWorld) block(t *testing.T, b docBlock) string {
	t.Helper()
	kind, rest, _ := strings.Cut(b.info, " ")
	switch {
	case kind == "console" && rest == "":
		b.text = w.session(t, b.text)
	case kind == "console" && rest == "no-run", kind == "sh" && rest == "", kind == "crontab" && rest == "":
		w.commands(t, b.text)
	case kind == "yaml":
		w.configuration(t, b.text)
		if rest != "" {
			write(t, rest, b.text)
		}
	case kind == "csv" && rest != "":
		write(t, rest, b.text)
	case kind == "http" && w.box != nil:
		b.text = w.request(t, b.text)
	case kind == "json":
		if !json.Valid([]byte(b.text)) {
			t.Errorf("no JSON:\n%s", b.text)
		}
	case kind == "ini":
	default:
		t.Errorf("nothing is known of a block %q:\n%s", b.info, b.text)
	}
	return b.String()
}

// session runs the lines that are commands and puts what they print below.
func (w *docWorld) session(t *testing.T, text string) string {
	t.Helper()
	out := &strings.Builder{}
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		if !isCommand {
			continue
		}
		args := strings.Fields(command)
		if args[0] != "tsupload" {
			t.Errorf("only tsupload can be run here (else: console no-run): %s", command)
			continue
		}
		_, stdout, words := w.tsupload(args[1:])
		said := stdout + words
		for _, u := range unstable {
			said = u.pattern.ReplaceAllString(said, u.shown)
		}
		out.WriteString(line + said)
		w.ran++
	}
	return out.String()
}

// commands holds every command line of tsupload against the program.
func (w *docWorld) commands(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		for _, stop := range []string{"#", "|", ">", "&&", ";"} {
			line, _, _ = strings.Cut(line, stop)
		}
		if rest, ok := strings.CutPrefix(line, "go run ./cmd/tsupload "); ok {
			code, _, words := w.inRepository(t, strings.Fields(rest))
			if code != exitOK {
				t.Errorf("%s: exit status %d\n%s", line, code, words)
			}
			w.ran++
			continue
		}
		words := strings.Fields(line)
		at := -1
		for i, word := range words {
			// Not the user of sudo -u tsupload, nor an owner or a secret of that name.
			if name := i > 0 && slices.Contains([]string{"-u", "-o", "-g", "generic"}, words[i-1]); !name && (word == "tsupload" || word == "/usr/bin/tsupload") {
				at = i
			}
		}
		if at < 0 || at == len(words)-1 {
			continue // no command, but a user's or a package's name
		}
		w.parsed++
		if err := takes(words[at+1:]); err != nil {
			t.Errorf("%s\n\ttsupload does not take this: %v", line, err)
		}
	}
}

func (w *docWorld) inRepository(t *testing.T, args []string) (code int, stdout, words string) {
	t.Helper()
	for i, arg := range args {
		if strings.HasPrefix(arg, "testdata/") {
			args[i] = filepath.Join(w.env["REPOSITORY"], arg)
		}
	}
	return w.tsupload(args)
}

// takes says whether a command line is one of the program's: command, flags and
// number of arguments.
func takes(args []string) error {
	a := &app{environment: environment{getenv: func(string) string { return "" }, stdout: io.Discard, stderr: io.Discard}, overrides: map[string]string{}}
	root := newRootCommand(a)
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 {
		return fmt.Errorf("%s has no %s", cmd.CommandPath(), cmd.Flags().Arg(0))
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// base is what a part of a configuration is put into.
const base = `
api: {url: "https://timesheets.exampleco.com"}
auth: {issuer: "https://exampleco.eu.auth0.com/", audience: api, client_id: abc}
sources: [{name: acme, timezone: UTC, csv: {path: acme.csv}}]
`

// configuration validates a configuration, or a part of one in a whole.
func (w *docWorld) configuration(t *testing.T, text string) {
	t.Helper()
	w.validated++
	whole, part := map[string]any{}, map[string]any{}
	if err := yaml.Unmarshal([]byte(base), &whole); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(text), &part); err != nil {
		t.Errorf("%v in:\n%s", err, text)
		return
	}
	if part["sources"] == nil {
		overlay(whole, part)
		joined, err := yaml.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		text = string(joined)
	}
	file := filepath.Join(t.TempDir(), "tsupload.yaml")
	write(t, file, text)
	if code, _, words := w.tsupload([]string{"config", "validate", "--config", file}); code != exitOK {
		t.Errorf("not valid:\n%s\n%s", text, words)
	}
}

// overlay puts the keys of part over those of whole.
func overlay(whole, part map[string]any) {
	for key, value := range part {
		below, ok := whole[key].(map[string]any)
		if section, isMap := value.(map[string]any); ok && isMap {
			overlay(below, section)
			continue
		}
		whole[key] = value
	}
}

// request sends what stands before the answer, with a token in place of TOKEN,
// or one of a person in place of TOKEN_OF_CY, and puts the answer below.
func (w *docWorld) request(t *testing.T, text string) string {
	t.Helper()
	w.requests++
	asked, _, _ := strings.Cut(text, "\nHTTP/1.1 ")
	asked = strings.TrimSpace(asked)
	head, body, _ := strings.Cut(asked, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	req, err := http.NewRequestWithContext(t.Context(), method, w.box.APIURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := w.tsupload([]string{"auth", "token"})
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if _, person, ok := strings.Cut(value, "TOKEN_OF_"); ok {
			value = "Bearer " + w.personToken(t, strings.ToLower(person))
		}
		req.Header.Set(name, strings.ReplaceAll(value, "TOKEN", strings.TrimSpace(token)))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "%s\n\nHTTP/1.1 %s\n", asked, resp.Status)
	for _, name := range []string{"Content-Type", "Idempotency-Replayed", "Allow", "Www-Authenticate"} {
		if value := resp.Header.Get(name); value != "" {
			fmt.Fprintf(out, "%s: %s\n", strings.Replace(name, "Www-", "WWW-", 1), value)
		}
	}
	if len(answer) > 0 {
		fmt.Fprintf(out, "\n%s\n", answer)
	}
	said := out.String()
	for _, u := range unstable {
		said = u.pattern.ReplaceAllString(said, u.shown)
	}
	return said
}

// personToken logs somebody in at the sandbox and grants everything.
func (w *docWorld) personToken(t *testing.T, username string) string {
	t.Helper()
	c := oauth2.Config{
		ClientID: sandbox.CLIClient, RedirectURL: "http://127.0.0.1:45678/callback",
		Scopes:   []string{"create:timesheets", "read:timesheets", "delete:timesheets", "approve:timesheets"},
		Endpoint: oauth2.Endpoint{AuthURL: w.box.Issuer() + "/authorize", TokenURL: w.box.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	verifier := oauth2.GenerateVerifier()
	back, err := sandboxtest.Person{Username: username, Password: w.box.Password(username)}.LogIn(t.Context(), c.AuthCodeURL("docs", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Exchange(t.Context(), answer.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// TestDocs carries out the documents, so that nobody is told what is not so.
func TestDocs(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	total := docWorld{}
	for _, file := range append(documents, filepath.Join(repository, "README.md"), filepath.Join(repository, "CONTRIBUTING.md")) {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			old := string(text)
			w := newDocWorld(t, name == "contractors.md")
			w.env["REPOSITORY"] = repository
			got := rewriteBlocks(t, old, func(b docBlock) string {
				if name == "README.md" && b.info == "console" {
					return b.String() // TestREADME's, which needs more than a session
				}
				return w.block(t, b)
			})
			total.ran, total.parsed, total.validated, total.requests = total.ran+w.ran, total.parsed+w.parsed, total.validated+w.validated, total.requests+w.requests
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(got, old); diff != "" {
				t.Errorf("%s is not what the program does (go test ./cmd/tsupload -run Docs -update rewrites it; -want +%s):\n%s", name, name, diff)
			}
		})
	}
	t.Logf("%d commands run, %d parsed, %d configurations, %d requests", total.ran, total.parsed, total.validated, total.requests)
	if total.ran < 8 || total.parsed < 15 || total.validated < 5 || total.requests < 5 {
		t.Error("most blocks of the documents were not found")
	}
}

// A command line that does not exist must be found, or the test above tests
// nothing.
func TestDocsFindFaults(t *testing.T) {
	for line, ok := range map[string]bool{
		"run --once --source acme":      true,
		"ledger backup x.db":            true,
		"ledger backup":                 false,
		"run --one":                     false,
		"lodger create":                 false,
		"ledger make":                   false,
		"resolve --ask 2026-11-16/4cva": true,
	} {
		if err := takes(strings.Fields(line)); (err == nil) != ok {
			t.Errorf("%s: got %v, want taken: %v", line, err, ok)
		}
	}
}

// The configurations that are shipped are good as they are.
func TestShippedConfigurations(t *testing.T) {
	for _, file := range []string{"../../deploy/tsupload.example.yaml", "../../deploy/kubernetes/base/tsupload.yaml"} {
		w := &docWorld{env: map[string]string{}}
		code, stdout, words := w.tsupload([]string{"config", "validate", "--config", file})
		if code != exitOK || strings.Contains(words, "upload needs more") || strings.Count(stdout, ":00 ") < upcomingRuns {
			t.Errorf("%s: exit status %d\n%s%s", file, code, stdout, words)
		}
	}
	// Commands by hand must find the ledger that the units use.
	w := &docWorld{env: map[string]string{}}
	if _, stdout, _ := w.tsupload([]string{"config", "show", "--config", "../../deploy/tsupload.example.yaml"}); !strings.Contains(stdout, "/var/lib/tsupload") {
		t.Errorf("the example does not set state.dir:\n%s", stdout)
	}
}
