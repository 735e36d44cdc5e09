package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// personPassword is that of everybody in a script.
const personPassword = "canary-password-8c1d"

// personMain is the command person: a browser with somebody in front of it. It
// opens the address, logs in as $PERSON, allows the scopes in $PERSON_ALLOWS (all
// where it is not set, none where it is deny) and follows the redirect. What the
// last page says is in person.txt.
func personMain() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	if err := browse(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func personOf(getenv func(string) string) sandboxtest.Person {
	p := sandboxtest.Person{Username: getenv("PERSON"), Password: personPassword}
	switch allows := getenv("PERSON_ALLOWS"); allows {
	case "":
	case "deny":
		p.Deny = true
	default:
		p.Scopes = strings.Fields(allows)
	}
	return p
}

func browse(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	redirect, err := personOf(os.Getenv).LogIn(ctx, address)
	if err != nil {
		return err
	}
	status, body, err := sandboxtest.Open(ctx, redirect)
	if err != nil {
		return err
	}
	return os.WriteFile("person.txt", fmt.Appendf(nil, "%d\n%s", status, body), 0o600)
}

// connect NAME types the code that a started command shows, as $PERSON.
func (w *scriptWorld) cmdConnect(ts *testscript.TestScript, args []string) {
	p := w.process(ts, args[0])
	w.cmdAwait(ts, []string{args[0], `(?m)^    [A-Z0-9-]+$`})
	page := regexp.MustCompile(`open (\S+) in any browser`).FindStringSubmatch(p.log.String())
	code := regexp.MustCompile(`(?m)^    ([A-Z0-9-]+)$`).FindStringSubmatch(p.log.String())
	if page == nil || code == nil {
		ts.Fatalf("no code is shown: %s", p.log.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ts.Check(personOf(ts.Getenv).Connect(ctx, page[1], strings.ToLower(code[1])))
}

// follow NAME opens the address that a started command shows, as $PERSON.
func (w *scriptWorld) cmdFollow(ts *testscript.TestScript, args []string) {
	p := w.process(ts, args[0])
	w.cmdAwait(ts, []string{args[0], `(?m)^http\S+$`})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	redirect, err := personOf(ts.Getenv).LogIn(ctx, regexp.MustCompile(`(?m)^http\S+$`).FindString(p.log.String()))
	ts.Check(err)
	_, _, err = sandboxtest.Open(ctx, redirect)
	ts.Check(err)
}

// logins sets $REFRESH to the refresh token in the state directory, and $ACCESS
// to the access token; empty where there is none.
func (w *scriptWorld) cmdLogins(ts *testscript.TestScript, _ []string) {
	files, err := filepath.Glob(filepath.Join(w.dir, "state", "tokens", "*.json"))
	ts.Check(err)
	for name, re := range map[string]string{"REFRESH": `"refresh_token":"([^"]+)"`, "ACCESS": `"access_token":"([^"]+)"`} {
		ts.Setenv(name, "")
		for _, file := range files {
			content, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			ts.Check(err)
			if found := regexp.MustCompile(re).FindSubmatch(content); found != nil {
				ts.Setenv(name, string(found[1]))
			}
		}
	}
}

// revoke TOKEN ends a login at the authorization server, behind the program's
// back.
func (w *scriptWorld) cmdRevoke(ts *testscript.TestScript, args []string) {
	resp, err := http.PostForm(ts.Getenv("ISSUER")+authserver.RevocationPath, url.Values{"token": {args[0]}, "client_id": {sandbox.CLIClient}})
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("revoke: %s", resp.Status)
	}
}
