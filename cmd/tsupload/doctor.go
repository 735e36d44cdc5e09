package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

const defaultPatience = 10 * time.Second

func newDoctorCommand(a *app) *cobra.Command {
	var patience time.Duration
	var fresh bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, clock, credentials, token, API, certificates, files and ledger",
		Long: `Check one thing after the other that a run depends on, and say of each that it is
ok, or what to do: the configuration, the modes of files, the ledger, the sources,
the keyring, the client's credentials, the authorization server and its issuer, the
token with its scope and audience, the API, this machine's clock, and certificates.

Nothing is uploaded. The API is sent one request without a token, with an empty body,
which it has to refuse; where it can be read back, also a question that the token has
to open. A kept token is used where there is one; --fresh-token obtains another, as
the credentials have it now. Each check has a limit in time, and one that fails says
which could not be made because of it.

The output can be shown to others: no secret, token or note is in it, and nothing that
a token says about a person. The exit status is that of a run with the gravest failure;
warnings do not count.`,
		Example: `  tsupload doctor
  tsupload doctor --fresh-token
  tsupload doctor -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if patience <= 0 {
				return usage("give a duration such as 10s", "--timeout %s makes no sense", patience)
			}
			return runDoctor(cmd.Context(), a, patience, fresh)
		},
	}
	cmd.Flags().DurationVar(&patience, "timeout", defaultPatience, "longest time of one check")
	cmd.Flags().BoolVar(&fresh, "fresh-token", false, "obtain a token even where a good one is kept")
	return cmd
}

// finding is one line of the doctor.
type finding struct {
	check  string
	status string // ok, warn, fail
	text   string
	hint   string
	exit   int // of a fail: what a run would end with
}

func fine(format string, args ...any) finding {
	return finding{status: "ok", text: fmt.Sprintf(format, args...)}
}

func warning(hint, format string, args ...any) finding {
	return finding{status: "warn", text: fmt.Sprintf(format, args...), hint: hint}
}

func failure(exit int, hint, format string, args ...any) finding {
	return finding{status: "fail", text: fmt.Sprintf(format, args...), hint: hint, exit: exit}
}

// failed turns an error into a failure with its own hint and exit status.
func failed(err error) finding {
	if errors.Is(err, context.DeadlineExceeded) {
		return failure(exitUnreachable, "see whether something between here and there swallows the answer; --timeout gives it longer", "there was no answer in time")
	}
	hint := hintOf(err)
	if hint == "" {
		hint = "see what the message says; with -vv the log says more"
	}
	return failure(exitCode(err), hint, "%s", err)
}

// step is one check, and the checks whose failure keeps it from being made.
type step struct {
	check string
	needs []string
	run   func(context.Context) []finding
}

// doctor is one examination.
type doctor struct {
	a     *app
	fresh bool

	cfg      *config.Config
	identity *identity
	seen     *witness // of the servers
	token    tokencache.Token
	now      time.Time
}

// steps are in the order in which they are made and shown.
func (d *doctor) steps() []step {
	return []step{
		{"config", nil, d.checkConfig},
		{"settings", []string{"config"}, d.checkSettings},
		{"files", []string{"config"}, d.checkFiles},
		{"ledger", []string{"config"}, d.checkLedger},
		{"sources", []string{"config"}, d.checkSources},
		{"keyring", []string{"config"}, d.checkKeyring},
		{"credential", []string{"settings"}, d.checkCredential},
		{"discovery", []string{"settings"}, d.checkDiscovery},
		{"token", []string{"files", "credential", "discovery"}, d.checkToken},
		{"scope", []string{"token"}, d.checkScope},
		{"audience", []string{"token"}, d.checkAudience},
		{"allotment", []string{"token"}, d.checkAllotment},
		{"api", []string{"settings"}, d.checkAPI},
		{"access", []string{"token", "api"}, d.checkAccess},
		{"clock", []string{"settings"}, d.checkClock},
		{"tls", []string{"settings"}, d.checkTLS},
	}
}

func runDoctor(ctx context.Context, a *app, patience time.Duration, fresh bool) error {
	d := &doctor{a: a, fresh: fresh, now: time.Now()}
	defer d.close()
	steps := d.steps()
	broken := map[string]bool{} // failed, or not made
	var all []finding
	for i, s := range steps {
		if slices.ContainsFunc(s.needs, func(n string) bool { return broken[n] }) {
			broken[s.check] = true
			continue
		}
		found := bounded(ctx, patience, s.run)
		if err := ctx.Err(); err != nil {
			return err
		}
		var prevents []string
		if slices.ContainsFunc(found, func(f finding) bool { return f.status == "fail" }) {
			broken[s.check] = true
			prevents = dependents(steps[i+1:], broken)
		}
		for _, f := range found {
			if f.check == "" {
				f.check = s.check
			}
			all = append(all, f)
			var behind []string
			if f.status == "fail" {
				behind = prevents
			}
			if err := a.showFinding(f, behind); err != nil {
				return err
			}
		}
	}
	return a.showDiagnosis(all)
}

// bounded runs one check with a limit. A check honours its context; a keyring
// or a file system that does not is left behind.
func bounded(ctx context.Context, patience time.Duration, check func(context.Context) []finding) []finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan []finding, 1)
	go func() { done <- check(ctx) }()
	grace := time.NewTimer(patience + time.Second)
	defer grace.Stop()
	select {
	case found := <-done:
		return found
	case <-grace.C:
		return []finding{failure(exitFault, "see what of this machine does not answer (a network file system?)", "this check did not end within %s", patience)}
	}
}

// dependents lists the later checks that cannot be made because of what is
// broken.
func dependents(later []step, broken map[string]bool) (names []string) {
	lost := map[string]bool{}
	for _, s := range later {
		if slices.ContainsFunc(s.needs, func(n string) bool { return broken[n] || lost[n] }) {
			lost[s.check] = true
			names = append(names, s.check)
		}
	}
	return names
}

func (a *app) showFinding(f finding, prevents []string) error {
	if a.json() {
		line := map[string]any{"check": f.check, "status": f.status, "message": f.text, "hint": f.hint, "exit": nil, "prevents": append([]string{}, prevents...)}
		if f.status == "fail" {
			line["exit"] = f.exit
		}
		return a.emit("check", line)
	}
	if a.quiet && f.status == "ok" {
		return nil
	}
	word := map[string]string{"ok": a.paint(a.stdout, green, "ok  "), "warn": a.paint(a.stdout, yellow, "warn"), "fail": a.paint(a.stdout, red, "fail")}[f.status]
	for i, line := range strings.Split(f.text, "\n") {
		if i > 0 {
			word = "    "
			f.check = ""
		}
		fmt.Fprintf(a.stdout, "%s  %-10s  %s\n", word, f.check, clean(line))
	}
	if f.hint != "" {
		fmt.Fprintf(a.stdout, "                  hint: %s\n", clean(f.hint))
	}
	if len(prevents) > 0 {
		fmt.Fprintf(a.stdout, "                  not checked therefore: %s\n", strings.Join(prevents, ", "))
	}
	return nil
}

// showDiagnosis ends with how many findings there are of each kind.
func (a *app) showDiagnosis(all []finding) error {
	tally := map[string]int{}
	code := exitOK
	for _, f := range all {
		tally[f.status]++
		if f.status == "fail" {
			code = uploader.Worse(code, f.exit)
		}
	}
	if a.json() {
		if err := a.emit("doctor", map[string]any{"ok": tally["ok"], "warnings": tally["warn"], "failures": tally["fail"], "exit": code}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(a.stdout, "\n%d ok, %s, %s\n", tally["ok"], things(tally["warn"], "warning"), things(tally["fail"], "failure")); err != nil {
		return err
	}
	if code != exitOK {
		return &exitError{code}
	}
	return nil
}

// things is count with "no" for none.
func things(n int, one string) string {
	if n == 0 {
		return "no " + one
	}
	return count(n, one)
}

func (d *doctor) close() {
	if d.identity != nil {
		_ = d.identity.Close()
	}
}
