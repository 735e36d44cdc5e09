package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asked is init with somebody who answers.
func asked(t *testing.T, opts *initOptions, answers string) (out, prompts string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		environment: environment{stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }},
		stopping:    make(chan struct{}), overrides: map[string]string{},
	}
	defer close(a.stopping)
	err = runInit(t.Context(), a, opts, newAsker(strings.NewReader(answers), &stderr, a.stopping))
	return stdout.String(), stderr.String(), err
}

func TestInitAsksAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sample := filepath.Join(dir, "hours.csv")
	if err := os.WriteFile(sample, []byte("Tag;Wer;Stunden;Projekt\n16.11.2026;ada;7,5;P\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "tsupload.yaml")
	answers := strings.Join([]string{
		"", dir, sample, // the sample: an answer is needed, no directory
		"", "Local", "UTC", // the zone
		"", "user", "user=Nobody", "user=Wer", // columns
		"a b", "", // the name
		"[", "", // the path
		"daily", "@daily", // the schedule
		"http://timesheets.exampleco.com", "https://timesheets.exampleco.com", // only loopback without TLS
		"bath", "batch, read_back",
		"", "not a url", "https://exampleco.eu.auth0.com/",
		"", "", "abc",
		"env:no name", "file:secret.txt",
	}, "\n") + "\n"
	said, prompts, err := asked(t, &initOptions{out: out}, answers)
	if err != nil {
		t.Fatalf("%v\n%s", err, prompts)
	}
	contains(t, prompts, `no: an answer is needed`, `no: there is no such file`, `no: names no zone`, `no: "user" is not FIELD=HEADER`, `no: .*no column "nobody"`,
		`name of the source.* \[hours\]:   no: `, `is not a glob`, `schedule "daily"`, `only loopback`, `is not an absolute URL`, `"bath"`, `that is no name of a variable`, `where the client secret lies.* \[keyring\]`)
	contains(t, said, `wrote .*source hours, which reads 1 entry of 7:30:00 hours`, `tsupload ledger create --config`)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(b), `columns: \{date: "Tag", hours: "Stunden", project: "Projekt", user: "Wer"\}`, `schedule: "@daily"`, `supports: \["batch", "read_back"\]`,
		`date_format: "D.M.YYYY"  # as hours.csv:2 shows`, `client_secret: \{file: "/.*secret.txt"\}`)
	if code, _, log := invoke(t, "", "config", "validate", "--config", out); code != exitOK {
		t.Errorf("got exit %d\n%s", code, log)
	}
	// An answer that never fits ends, and so do answers that are too few.
	for _, bad := range []string{sample + "\n" + strings.Repeat("Mars\n", mostTries), sample + "\n"} {
		none := filepath.Join(dir, "none.yaml")
		if _, _, err := asked(t, &initOptions{out: none}, bad); exitCode(err) != exitUsage {
			t.Errorf("got %v", err)
		}
		if exists(none) {
			t.Error("a file is left behind")
		}
	}
}

// Where a sample is asked for, a tracker whose API is known may be named.
func TestInitAsksForTracker(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "tsupload.yaml")
	answers := strings.Join([]string{
		"togl", "clockify", "UTC", // the tracker; the zone
		"", "a1", "b2", // workspace, which is needed, and user
		"keyring", "env:TOKEN", "007", // the token, the person
		"", "", "", // name, schedule, no API
	}, "\n") + "\n"
	opts := &initOptions{out: out}
	told, prompts, err := asked(t, opts, answers)
	if err != nil || !strings.Contains(told, "source clockify, which reads the API of clockify") {
		t.Fatalf("%v\n%s\n%s", err, prompts, told)
	}
	if code, _, log := invoke(t, "", "config", "validate", "--config", out); code != exitOK {
		t.Errorf("got exit %d\n%s", code, log)
	}
	text, err := os.ReadFile(out)
	if want := `    http: {preset: "clockify", params: {"user": "b2", "workspace": "a1"}, auth: {token: {env: "TOKEN"}}}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("got %v, %s", err, text)
	}
}

// A signal while an answer is awaited ends it, and leaves nothing behind.
func TestInitInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "tsupload.yaml")
	in, answers := io.Pipe()
	defer answers.Close()
	prompts, shown := io.Pipe()
	a := &app{
		environment: environment{stdout: io.Discard, stderr: shown, getenv: func(string) string { return "" }},
		stopping:    make(chan struct{}), overrides: map[string]string{},
	}
	ended := make(chan error, 1)
	go func() {
		opts := &initOptions{out: out, sample: "../../testdata/export/week47.csv"}
		ended <- runInit(t.Context(), a, opts, newAsker(in, a.stderr, a.stopping))
		shown.Close()
	}()
	var text strings.Builder
	buf := make([]byte, 256)
	for !strings.Contains(text.String(), "name of the source") {
		n, err := prompts.Read(buf)
		if err != nil {
			t.Fatalf("%v after %s", err, text.String())
		}
		text.Write(buf[:n])
		if strings.HasSuffix(text.String(), "Europe/Berlin: ") {
			if _, err := io.WriteString(answers, "UTC\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(a.stopping)
	rest, _ := io.ReadAll(prompts)
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) || err.Error() != "stopped by a signal; nothing was written" {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits for an answer")
	}
	if string(rest) != "\n" {
		t.Errorf("got %q", rest)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("got %v, %v", names, err)
	}
}

// All that an interrupt says is one plain line, beside its status.
func TestInitInterruptedStatus(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil || !isTerminalFd(terminal.Fd()) {
		t.Skip("there is no terminal to be had")
	}
	defer terminal.Close()
	out := filepath.Join(t.TempDir(), "tsupload.yaml")
	signals := make(chan os.Signal, 1)
	signals <- os.Interrupt
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), environment{
		args: []string{"init", "--out", out, "../../testdata/export/week47.csv"}, stdin: terminal, stdout: &stdout, stderr: &stderr,
		getenv: func(string) string { return "" }, signals: signals,
	})
	const want = "time zone of the export, such as Europe/Berlin: \ntsupload: error: stopped by a signal; nothing was written\n"
	if code != 130 || stdout.Len() > 0 || stderr.String() != want || exists(out) {
		t.Errorf("got exit %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
