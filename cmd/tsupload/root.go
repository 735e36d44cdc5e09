package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/internal/notify"
	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

// Exit statuses. They are an interface: documented in every help page.
const (
	exitOK          = 0
	exitFault       = 1
	exitUsage       = 2
	exitPerson      = 3
	exitRefused     = 4
	exitUnreachable = 5
	exitConfig      = 6
	exitSource      = 7
	exitLocked      = 8
	exitDifferent   = 9
)

const exitStatusHelp = `
Exit status:
    0  everything planned is accepted or was already there; nothing to do is 0 too
    1  an unexpected fault
    2  wrong usage
    3  entries are rejected, held or in doubt and need a person
    4  credentials or permissions were refused
    5  the API or the authorization server is unreachable or busy; running again is safe
    6  the configuration is invalid, or the ledger is missing or for another API
    7  a source could not be read, or was refused whole
    8  another run holds the ledger
    9  differences were found (check, --expect-hours)
  130, 143  interrupted, terminated; what was sent is recorded`

// environment is everything that the program has from outside.
type environment struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	signals        <-chan os.Signal
	// hangup begins to listen for the signal to reload, and tells how to end
	// that; until then the signal does what it does to any program. May be nil.
	hangup func() (signals <-chan os.Signal, stop func())
}

// app is one invocation.
type app struct {
	environment
	// stopping is closed by the first signal; the second cancels the context.
	stopping  chan struct{}
	cut       chan struct{}
	gotSignal atomic.Value // os.Signal

	// Flags that every command has.
	configPath string
	output     string
	quiet      bool
	verbose    int
	logFormat  string
	color      string
	noInput    bool
	// bare: there is no configuration, so that nothing but a rehearsal can follow.
	bare bool
	// flags given for keys of the configuration.
	overrides map[string]string
	// current is the configuration in force; metrics counts by it, and is nil
	// where nobody asks. It is set before the first run begins.
	current atomic.Pointer[config.Config]
	metrics *meter
	// notifiers have messages on their way, which the end waits for.
	notifiers notifiers
	// mended says that the FILE of this invocation is a few rows of its source,
	// written by `rejects retry`.
	mended bool
	// form is what the file decided that those rows were from.
	form dialect
}

// run is the program: it returns the exit status.
func run(ctx context.Context, env environment) (code int) {
	a := &app{environment: env, stopping: make(chan struct{}), cut: make(chan struct{}), overrides: map[string]string{}}
	defer func() {
		if p := recover(); p != nil {
			code = a.printPanic(p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	done := make(chan struct{})
	watching.Go(func() { a.watch(cancel, done) })
	defer func() { close(done); watching.Wait() }()
	defer func() { a.closeNotifiers(ctx) }()

	root := newRootCommand(a) //nolint:contextcheck // commands get theirs from ExecuteContext
	root.SetArgs(env.args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	err := root.ExecuteContext(ctx)
	if p, ok := errors.AsType[*rescue.Error](err); ok {
		return a.printPanic(p.Value, p.Stack)
	}
	code = exitCode(err)
	if sig := a.signalled(); sig != nil && (code == exitUnreachable || errors.Is(err, context.Canceled) || ctx.Err() != nil) {
		code = signalCode(sig)
		if errors.Is(err, context.Canceled) && err.Error() == context.Canceled.Error() { // what wraps it says more
			err = errSignalled
		}
	}
	a.printError(err, code)
	return code
}

func (a *app) printPanic(value any, stack []byte) (code int) {
	fmt.Fprintf(a.stderr, "tsupload: error: unexpected fault: %v\n%s\ntsupload: hint: this is a bug in tsupload; please report it with the lines above. What was sent is recorded\n", value, stack)
	return exitFault
}

// watch turns the first signal into a drain and the second into an end.
func (a *app) watch(cancel context.CancelCauseFunc, done <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case sig, ok := <-a.signals:
			if !ok {
				return
			}
			if n == 0 {
				a.gotSignal.Store(sig)
				close(a.stopping)
				continue
			}
			close(a.cut)
			cancel(context.Canceled)
			return
		case <-done:
			return
		}
	}
}

func (a *app) signalled() os.Signal {
	sig, _ := a.gotSignal.Load().(os.Signal)
	return sig
}

// errSignalled stands for the context's error where nothing more is to be said.
var errSignalled = errors.New("stopped by a signal")

func signalCode(sig os.Signal) int {
	if sig == os.Interrupt {
		return 130
	}
	return 143
}

// exitError ends with a status that has been explained already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// usageError is a call that cannot be carried out as it stands.
type usageError struct {
	message, hint string
}

func (e *usageError) Error() string { return e.message }
func (e *usageError) Hint() string  { return e.hint }

func usage(hint, format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...), hint: hint}
}

// exitCode maps every error to its status, in one place.
func exitCode(err error) int {
	var (
		exit        *exitError
		badUsage    *usageError
		badConfig   *config.Error
		store       *ledger.Error
		stop        *uploader.StopError
		src         *source.Error
		refused     *tokencache.RefusedError
		scope       *tokencache.ScopeError
		secret      *tokencache.SecretError
		configured  *config.SecretError
		unavailable *tokencache.UnavailableError
		ended       *tokencache.LoginError
		loggingIn   *login.Error
		file        *tokencache.FileError
		lock        *tokencache.LockError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &badUsage), errors.Is(err, timesheet.ErrBadRef):
		return exitUsage
	case errors.As(err, &badConfig):
		return exitConfig
	case errors.As(err, &store):
		switch store.Kind {
		case ledger.Locked:
			return exitLocked
		case ledger.Missing, ledger.OtherAPI, ledger.Newer, ledger.Unsafe, ledger.AlreadyThere:
			return exitConfig
		case ledger.Broken, ledger.Stolen:
			return exitFault
		}
	case errors.As(err, &stop):
		return stop.Exit()
	case errors.As(err, &src):
		if src.Refused {
			return exitRefused
		}
		return exitSource
	case errors.As(err, &refused), errors.As(err, &scope), errors.As(err, &secret), errors.As(err, &configured), errors.As(err, &ended):
		return exitRefused
	case errors.As(err, &file) && file.Err == nil:
		return exitConfig
	case errors.As(err, &unavailable), errors.As(err, &lock):
		return exitUnreachable
	case errors.As(err, &loggingIn):
		switch loggingIn.Kind {
		case login.Denied, login.Refused, login.Expired:
			return exitRefused
		case login.Unavailable:
			return exitUnreachable
		case login.Port:
			return exitUsage
		case login.Local:
			return exitFault
		}
	}
	return exitFault
}

// printError says once, at the end, what went wrong and what to do.
func (a *app) printError(err error, code int) {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return
	}
	hint := ""
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		hint = h.Hint()
	}
	if a.output == "json" {
		line, _ := json.Marshal(map[string]any{"type": "error", "schema": 1, "exit": code, "message": err.Error(), "hint": hint})
		fmt.Fprintf(a.stderr, "%s\n", line)
		return
	}
	fmt.Fprintf(a.stderr, "tsupload: %s %s\n", a.paint(a.stderr, red, "error:"), err)
	if hint != "" {
		fmt.Fprintf(a.stderr, "tsupload: %s %s\n", a.paint(a.stderr, bold, "hint:"), hint)
	}
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tsupload",
		Short: "Upload contractors' hours to the Timesheets API, each entry exactly once",
		Long: `tsupload reads hours from where a contractor keeps them (files, an HTTP export,
a program) and uploads them to the Timesheets API: each entry exactly once, with
nothing lost. Running it again is always safe.`,
		Example: `  tsupload run --dry-run week47.csv            what would be uploaded
  tsupload run --once                          one pass over all sources`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.configPath, "config", "", "configuration `FILE` (default: $TSUPLOAD_CONFIG, ./tsupload.yaml, the user's, then the system's)")
	f.StringVarP(&a.output, "output", "o", "table", "`FORMAT` of results: table, or json (one object a line)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say only what needs attention")
	f.CountVarP(&a.verbose, "verbose", "v", "log more; twice for every detail")
	f.StringVar(&a.logFormat, "log-format", "", "`FORMAT` of the log on standard error: text or json")
	f.StringVar(&a.color, "color", "auto", "use colour: auto, always or never (NO_COLOR is honoured)")
	f.BoolVar(&a.noInput, "no-input", false, "never ask; fail instead")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("see `"+cmd.CommandPath()+" --help`", "%s", err)
	})
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkFlags() }
	root.AddCommand(
		newRunCommand(a), newInspectCommand(a), newInitCommand(a),
		newStatusCommand(a), newEntriesCommand(a), newWhyCommand(a), newResolveCommand(a), newRejectsCommand(a), newCheckCommand(a),
		newLedgerCommand(a), newAuthCommand(a), newDoctorCommand(a), newConfigCommand(a), newSandboxCommand(a), newVersionCommand(a),
	)
	root.InitDefaultCompletionCmd()
	finish(root)
	return root
}

// finish gives every command the status table, and turns cobra's plain errors
// about arguments into errors of usage.
func finish(cmd *cobra.Command) {
	if cmd.Name() != "completion" && (cmd.Parent() == nil || cmd.Parent().Name() != "completion") {
		cmd.Long = strings.TrimSpace(cmd.Long)
		if cmd.Long == "" {
			cmd.Long = cmd.Short + "."
		}
		cmd.Long += "\n" + exitStatusHelp
	}
	if args := cmd.Args; args != nil {
		cmd.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				if badUsage := (*usageError)(nil); errors.As(err, &badUsage) {
					return err
				}
				return usage("see `"+c.CommandPath()+" --help`", "%s", err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

// group is the RunE of a command that only has sub-commands.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("see `"+cmd.CommandPath()+" --help`", "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

func (a *app) checkFlags() error {
	if a.output != "table" && a.output != "json" {
		return usage("use table or json", "--output %s is not known", a.output)
	}
	if a.color != "auto" && a.color != "always" && a.color != "never" {
		return usage("use auto, always or never", "--color %s is not known", a.color)
	}
	if a.logFormat != "" {
		a.overrides["log.format"] = a.logFormat
	}
	if a.getenv("TSUPLOAD_NO_INPUT") != "" {
		a.noInput = true
	}
	return nil
}

// load reads the configuration.
func (a *app) load() (*config.Config, error) { return config.Load(a.loadOptions()) }

func (a *app) loadOptions() config.LoadOptions {
	home, _ := os.UserHomeDir()
	root := false
	if u, err := user.Current(); err == nil {
		root = u.Uid == "0"
	}
	return config.LoadOptions{
		Path: a.configPath, Getenv: a.getenv, Flags: a.overrides, Home: home, Root: root,
		ValidateSchedule: func(expr, zone string) error {
			location, err := loadLocation(zone)
			if err != nil {
				return nil //nolint:nilerr // the zone is its own fault
			}
			_, err = daemon.ParseSchedule(expr, location)
			return err
		},
		ValidateExport: source.CheckPreset,
		ValidateDateFormat: func(format string) error {
			_, err := timesheet.ParseDateFormat(format)
			return err
		},
		ValidateTemplate: notify.CheckTemplate,
	}
}

// logger writes to standard error: for people by default, for machines on demand.
func (a *app) logger(cfg *config.Config) *slog.Logger {
	level := slog.LevelInfo
	format := a.logFormat
	if cfg != nil {
		_ = level.UnmarshalText([]byte(cfg.Log.Level))
		format = cfg.Log.Format
	}
	switch {
	case a.verbose > 0:
		level = slog.LevelDebug
	case a.quiet:
		level = slog.LevelError
	}
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(a.stderr, opts))
}

// hintOf is what an error says to do; empty where it does not.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
