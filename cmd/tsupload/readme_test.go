package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite the README from what the program prints")

// What differs from run to run, and how the README writes it.
var unstable = []struct {
	pattern *regexp.Regexp
	shown   string
}{
	{regexp.MustCompile(`run \d{8}T\d{6}Z-[0-9a-f]{8}`), "run 20261122T060002Z-5f1c9d3e"},
	{regexp.MustCompile(`, \d+(\.\d+)?m?s\n`), ", 24ms\n"},
	{regexp.MustCompile(`http://127\.0\.0\.1:\d+`), "https://timesheets.exampleco.com"},
	{regexp.MustCompile(`\S*/state\b`), "/var/lib/tsupload"},
	{regexp.MustCompile(`"/[^"]*/november\.csv"`), `"/home/ada/november.csv"`},
}

// TestREADME runs the session of the README and compares it with what stands
// there, so that no reader is shown what the program does not do.
func TestREADME(t *testing.T) {
	readme, err := filepath.Abs("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.ReadFile("../../internal/config/testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	old := string(text)
	got := rewriteSession(t, old)
	got = replaceBetween(t, got, "Every key:\n\n```yaml\n", "```\n", string(full))
	got = replaceBetween(t, got, "## Exit status\n\n", "\n## ", exitTable())
	if *update {
		if err := os.WriteFile(readme, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(got, old); diff != "" {
		t.Errorf("the README is not what the program does (go test ./cmd/tsupload -run README -update rewrites it; -want +README):\n%s", diff)
	}
}

func replaceBetween(t *testing.T, text, from, to, with string) string {
	t.Helper()
	head, rest, ok := strings.Cut(text, from)
	at := strings.Index(rest, to)
	if !ok || at < 0 {
		t.Fatalf("the README has no part between %q and %q", from, to)
	}
	return head + from + with + rest[at:]
}

// exitTable is the table of the help pages as Markdown.
func exitTable() string {
	b := &strings.Builder{}
	b.WriteString("| status | means |\n|---|---|\n")
	for line := range strings.Lines(exitStatusHelp) {
		code, meaning, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if ok {
			fmt.Fprintf(b, "| %s | %s |\n", code, strings.TrimSpace(meaning))
		}
	}
	b.WriteString("\nSeveral at once: the first of 1, 4, 6, 8, 5, 7, 9, 3 wins. A daemon that drained after its first signal ends with 0.\n")
	return b.String()
}

// rewriteSession carries out the console blocks, one after the other.
func rewriteSession(t *testing.T, text string) string {
	t.Helper()
	export, err := filepath.Abs("../../testdata/export/week47.csv")
	if err != nil {
		t.Fatal(err)
	}
	week, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	box, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	env := map[string]string{"TSUPLOAD_CLIENT_SECRET": box.ClientSecret(), "TSUPLOAD_STATE_DIR": filepath.Join(dir, "state")}
	write(t, "tsupload.yaml", box.ConfigBlock()+"sources:\n  - name: acme\n    timezone: Europe/Berlin\n    csv: {path: \"in/*.csv\"}\n")
	write(t, "week47.csv", string(week))

	out := &strings.Builder{}
	const fence = "```console\n"
	for n := 0; ; n++ {
		head, rest, ok := strings.Cut(text, fence)
		out.WriteString(head)
		if !ok {
			return out.String()
		}
		block, after, _ := strings.Cut(rest, "```\n")
		text = "```\n" + after
		if n == 2 { // "Then the contractor edits a row that was sent and adds another that is wrong"
			edited := strings.Replace(string(week), "u-1002,Contractor,2026-11-16,Apollo,7.5,", "u-1002,Contractor,2026-11-16,Apollo,6.5,", 1)
			write(t, "week47.csv", edited+"u-1003,Contractor,2026-11-20,Website,7h30,Usability test\n")
		}
		out.WriteString(fence)
		for line := range strings.Lines(block) {
			command, isCommand := strings.CutPrefix(strings.TrimSpace(line), "$ tsupload ")
			if !isCommand {
				continue
			}
			stdout := &strings.Builder{}
			run(context.Background(), environment{
				args: strings.Fields(command), stdin: strings.NewReader(""), stdout: stdout, stderr: &strings.Builder{}, getenv: func(k string) string { return env[k] },
			})
			said := stdout.String()
			for _, u := range unstable {
				said = u.pattern.ReplaceAllString(said, u.shown)
			}
			fmt.Fprintf(out, "$ tsupload %s\n%s", command, said)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
