package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// runOptions are the flags of run.
type runOptions struct {
	once, dryRun, sandbox bool
	files                 []string
	sources               []string
	since, until          string
	expectHours           string
	faults                []string          // of the sandbox
	report                string            // the file of the HTML report
	as                    map[string]string // names to show files under
	lines                 map[string][]int  // lines to show their rows at
}

func newRunCommand(a *app) *cobra.Command {
	var opts runOptions
	cmd := &cobra.Command{
		Use:   "run [FILE...]",
		Short: "Upload what is new, once or on a schedule",
		Long: `Without --once: the daemon. Every source with a schedule is read when it is due,
until the program is stopped. Each local time of a schedule is run once, whatever
the clock changes do; what was missed while the program or the machine was down
is caught up by one run. A run that failed in a way that may pass is repeated
(run.retry_after).

Signals to the daemon:
  SIGTERM, SIGINT  begin nothing new, end what is under way within run.drain, and
                   exit with 0; the second one cancels it
  SIGHUP           read the configuration anew, as soon as no run is under way:
                   all of it, or, if anything in it is wrong, nothing. A source
                   that waits after a failure is tried at once. state.dir, api.id
                   and listen.address take a restart

Under systemd it takes Type=notify and WatchdogSec. To read a source now, beside
the daemon: tsupload run --once --source NAME.

With --once: one pass over all sources, or over those named with --source. A
FILE implies --once and is read as a configured source, which gives its entries
their identity; "-" is standard input. Without a configuration a FILE can be
read with --dry-run or --sandbox.

What was uploaded before is known by the ledger and not sent again, however
often a file is read.`,
		Example: `  tsupload run --dry-run week47.csv          read, check and plan; send nothing
  tsupload run --once                        one pass, as from cron or a timer
  tsupload run --once --source acme week47.csv
  tsupload run --once --expect-hours 38.5 --since 2026-11-16 --until 2026-11-22
  tsupload run --once --sandbox week47.csv   the whole upload, against a throw-away API
  tsupload run --dry-run --report week47.html week47.csv
  tsupload run                               the daemon`,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files = args
			return runRun(cmd.Context(), a, opts)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opts.once, "once", false, "one pass instead of the daemon")
	f.BoolVar(&opts.dryRun, "dry-run", false, "read, check and plan, then show it; needs no credential, sends and writes nothing")
	f.BoolVar(&opts.sandbox, "sandbox", false, "upload to a sandbox in this process, with a throw-away ledger")
	f.StringArrayVar(&opts.sources, "source", nil, "only the source `NAME` (repeatable)")
	f.StringVar(&opts.since, "since", "", "only entries of `DATE` and later (YYYY-MM-DD)")
	f.StringVar(&opts.until, "until", "", "only entries of `DATE` and earlier (YYYY-MM-DD)")
	f.StringVar(&opts.expectHours, "expect-hours", "", "send nothing unless the entries read come to `HOURS`")
	f.StringVar(&opts.report, "report", "", "write what was read and what became of it, as one HTML page with pictures, to `FILE`")
	f.StringArrayVar(&opts.faults, "fault", nil, "order a `FAULT` from the sandbox; see `tsupload sandbox --help`")
	return cmd
}

func runRun(ctx context.Context, a *app, opts runOptions) error {
	if len(opts.files) > 0 || opts.dryRun || opts.sandbox {
		opts.once = true
	}
	switch {
	case opts.dryRun && opts.sandbox:
		return usage("leave one of them out", "--dry-run and --sandbox exclude each other")
	case len(opts.faults) > 0 && !opts.sandbox:
		return usage("add --sandbox", "--fault is for the sandbox")
	case !opts.once && (opts.since != "" || opts.until != "" || opts.expectHours != "" || opts.report != ""):
		return usage("add --once", "--since, --until, --expect-hours and --report are for one pass")
	}
	if err := checkReportFile(opts.report); err != nil {
		return err
	}
	if opts.once {
		return runOnce(ctx, a, opts)
	}
	return runDaemon(ctx, a, opts)
}

// window is what --since, --until and --expect-hours ask for.
type window struct {
	since, until *timesheet.Day
	expect       *timesheet.Seconds
}

func parseWindow(opts runOptions) (w window, err error) {
	day := func(flag, text string) (*timesheet.Day, error) {
		if text == "" {
			return nil, nil // not given is no error
		}
		d, err := timesheet.ParseDay(text)
		if err != nil {
			return nil, usage("write it like 2026-11-16", "%s: %s", flag, err)
		}
		return &d, nil
	}
	if w.since, err = day("--since", opts.since); err != nil {
		return w, err
	}
	if w.until, err = day("--until", opts.until); err != nil {
		return w, err
	}
	if w.since != nil && w.until != nil && *w.since > *w.until {
		return w, usage("give the earlier day to --since", "--since %s is after --until %s", w.since, w.until)
	}
	if opts.expectHours != "" {
		s, err := parseHours(opts.expectHours)
		if err != nil {
			return w, err
		}
		w.expect = &s
	}
	return w, nil
}

// parseHours reads hours as people write them, or as the report does.
func parseHours(text string) (timesheet.Seconds, error) {
	s, _, err := timesheet.ParseHours(text, '.')
	if strings.Contains(text, ":") {
		s, _, err = timesheet.ParseClock(text)
	}
	if err != nil || s < 0 {
		return 0, usage("write it like 38.5 or 38:30", "--expect-hours: %q is no number of hours", text)
	}
	return s, nil
}

// runOnce is one pass.
func runOnce(ctx context.Context, a *app, opts runOptions) error {
	w, err := parseWindow(opts)
	if err != nil {
		return err
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	ctx, end := a.drainWithin(ctx, cfg.Run.Drain)
	defer end()
	sources, err := chooseSources(cfg, opts)
	if err != nil {
		return err
	}
	a.bare = len(cfg.Sources) == 0
	p := pass{app: a, cfg: cfg, sources: sources, opts: opts, window: w, log: a.logger(cfg)}
	p.observers = a.newObservers(cfg, a.newNotifier(cfg, p.log), p.log)
	began := time.Now()
	r, waiting, err := p.observed(ctx, a.stopping)
	if r != nil {
		if err := a.report(r, waiting); err != nil {
			return err
		}
	}
	if err == nil {
		if code := p.exit(r, waiting); code != exitOK {
			err = &exitError{code}
		}
	}
	if opts.report == "" {
		return err
	}
	if written := p.writeReport(began, r, waiting, err); written != nil {
		if err == nil {
			return written
		}
		a.printError(written, exitFault) // the run's own status stands
	}
	return err
}

// chooseSources finds the sources that a run is about.
func chooseSources(cfg *config.Config, opts runOptions) ([]config.Source, error) {
	if len(cfg.Sources) == 0 {
		if len(opts.files) > 0 && (opts.dryRun || opts.sandbox) {
			return []config.Source{bareSource(cfg)}, nil
		}
		hint := "write tsupload.yaml with a source; or try a file with `tsupload run --dry-run FILE`"
		if cfg.File != "" {
			hint = "add a source to " + cfg.File
		}
		return nil, usage(hint, "there is no source to read")
	}
	var chosen []config.Source
	for n, name := range opts.sources {
		i := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.Name == name })
		if i < 0 {
			return nil, usage("configured are: "+sourceNames(cfg), "there is no source %q", name)
		}
		// Named twice it is read once all the same, or its hours would count twice.
		if !slices.Contains(opts.sources[:n], name) {
			chosen = append(chosen, cfg.Sources[i])
		}
	}
	if len(chosen) == 0 {
		chosen = cfg.Sources
	}
	if len(opts.files) > 0 && len(chosen) != 1 {
		return nil, usage("say with --source whose file it is: "+sourceNames(cfg), "a FILE is read as one source, and there are %d", len(chosen))
	}
	return chosen, nil
}

func sourceNames(cfg *config.Config) string {
	names := make([]string, len(cfg.Sources))
	for i, s := range cfg.Sources {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}

// bareSource reads a file without a configuration, for a rehearsal.
func bareSource(cfg *config.Config) config.Source {
	return config.Source{Name: "file", ID: "file", Timezone: "UTC", Rules: cfg.Rules, OnChange: "hold", CSV: &config.CSV{Delimiter: "auto", Encoding: "auto"}}
}

// pass is one Run with everything it needs.
type pass struct {
	*app
	cfg     *config.Config
	sources []config.Source
	opts    runOptions
	window  window
	log     *slog.Logger
	runID   string
	// observers are told of the run.
	observers []observer
	// held is the ledger where somebody else opened it and closes it; broken is
	// why that could not be.
	held   *ledger.Ledger
	broken error
	// alive is called with every step of the run; nil: nobody asks.
	alive func()
}

// runLog is for all that works for the run, the uploader aside: that one names
// the run itself.
func (p *pass) runLog() *slog.Logger { return p.log.With("run_id", p.runID) }

// run opens the ledger, the identity and the sources, does one Run, and lists
// what waits for a person afterwards.
func (p *pass) run(ctx context.Context, stopping <-chan struct{}) (_ *uploader.Report, waiting []*timesheet.Waiting, err error) {
	if p.broken != nil {
		return nil, nil, p.broken
	}
	scratch := ""
	if p.opts.dryRun || p.opts.sandbox {
		if scratch, err = os.MkdirTemp("", "tsupload-"); err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(scratch)
	}
	if p.opts.sandbox {
		stop, err := p.startSandbox(ctx, scratch)
		if err != nil {
			return nil, nil, err
		}
		defer stop()
	}
	l := p.held
	if l == nil {
		if l, err = p.openLedger(ctx, scratch); err != nil {
			return nil, nil, err
		}
		defer func() {
			if closed := l.Close(); err == nil {
				err = closed
			}
		}()
	}
	cfg := uploader.Config{
		RunID: p.runID, Ledger: planLedger{l}, API: p.newAPI(p.cfg), Logger: p.log, DryRun: p.opts.dryRun,
		Alive: p.alive,
		Hours: p.opts.report != "", Since: p.window.since, Until: p.window.until, Expect: p.window.expect, Deadline: p.cfg.Run.Deadline, MaxRejectRatio: p.cfg.Run.MaxRejectRatio,
	}
	spool := p.cfg.State.Dir
	if scratch != "" {
		spool = scratch
	} else {
		id, err := p.identify(&cfg)
		if err != nil {
			return nil, nil, err
		}
		defer id.Close()
	}
	if p.opts.sandbox {
		id, err := p.identify(&cfg)
		if err != nil {
			return nil, nil, err
		}
		defer id.Close()
	}
	for i := range p.cfg.Sources {
		cfg.Configured = append(cfg.Configured, p.cfg.Sources[i].ID)
	}
	for i := range p.sources {
		feed, err := p.newFeed(&p.sources[i], feedOptions{files: p.opts.files, as: p.opts.as, lines: p.opts.lines, spool: spool, dir: configDir(p.cfg), alive: p.alive}, p.runLog())
		if err != nil {
			return nil, nil, err
		}
		cfg.Feeds = append(cfg.Feeds, feed)
	}
	progress, endProgress := p.progress()
	cfg.Progress, cfg.Surveyed = progress, func(rows int) { p.roomFor(&p.cfg.API, rows) }
	defer p.usualRoom()
	u, err := uploader.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	r, err := u.Run(ctx, stopping)
	endProgress()
	if err != nil {
		return r, nil, err
	}
	waiting, err = p.waiting(ctx, l)
	return r, waiting, err
}

// identify gives the run its token.
func (p *pass) identify(cfg *uploader.Config) (*identity, error) {
	if err := p.cfg.ForUpload(); err != nil {
		return nil, err
	}
	id, err := p.newIdentity(p.cfg, p.runLog())
	if err != nil {
		return nil, err
	}
	cfg.Transport = tokenErrors{id.transport}
	cfg.Ready = func(ctx context.Context) error {
		p.roomFor(&p.cfg.API, 0) // the plan is complete
		if err := id.transport.Ready(ctx); err != nil {
			return markToken(err)
		}
		return nil
	}
	cfg.Diagnose = id.transport.Diagnosis
	return id, nil
}

// openLedger opens the ledger of the run: the real one; a throw-away one for
// the sandbox; and for a dry run a copy of the real one, so that the very same
// code plans and nothing is written.
func (p *pass) openLedger(ctx context.Context, scratch string) (*ledger.Ledger, error) {
	if scratch == "" {
		return p.app.openLedger(ctx, p.cfg, false, p.runLog())
	}
	if p.opts.dryRun && ledger.Exists(p.cfg.State.Dir) {
		real, err := p.app.openLedger(ctx, p.cfg, true, p.runLog())
		if err != nil {
			return nil, err
		}
		err = real.Backup(ctx, filepath.Join(scratch, "ledger.db"))
		if err := errors.Join(err, real.Close()); err != nil {
			return nil, err
		}
	} else {
		if p.opts.dryRun {
			fmt.Fprintf(p.stderr, "there is no ledger in %s: planned as if nothing had been sent yet\n", p.cfg.State.Dir)
		}
		if err := ledger.Create(ctx, scratch, p.cfg.API.ID, 0); err != nil {
			return nil, err
		}
	}
	return ledger.Open(ctx, ledger.Options{Dir: scratch, API: p.cfg.API.ID, Scratch: p.opts.dryRun, Logger: p.runLog()})
}

// startSandbox turns the configuration to a sandbox in this process.
func (p *pass) startSandbox(ctx context.Context, scratch string) (stop func(), err error) {
	var faults []sandbox.Fault
	for _, text := range p.opts.faults {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			return nil, usage("see `tsupload sandbox --help`", "%s", err)
		}
		faults = append(faults, f)
	}
	s, err := sandbox.Start(ctx, sandbox.Config{Faults: faults, Logger: p.runLog().With("component", "sandbox")})
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(scratch, "client-secret")
	if err := os.WriteFile(secret, []byte(s.ClientSecret()), 0o600); err != nil {
		_ = s.Close()
		return nil, err
	}
	cfg := *p.cfg
	cfg.API.URL, cfg.API.ID, cfg.API.CAFile = s.APIURL(), s.APIURL(), ""
	if len(cfg.API.Supports) == 0 {
		cfg.API.Supports = []string{"batch", "idempotency_key", "read_back", "update"}
		cfg.API.BatchSize = 500
	}
	cfg.API.Headers = nil
	cfg.Auth = config.Auth{
		Issuer: s.Issuer(), Audience: s.Audience(), ClientID: s.ClientID(), ClientSecret: config.SecretRef{File: secret},
		AuthStyle: "basic", Scopes: []string{"batch:upload", "read:timesheets"}, CheckScope: true, As: "machine",
	}
	cfg.State.Dir = scratch
	p.cfg = &cfg
	return func() { _ = s.Close() }, nil
}

// maxWaiting bounds what a report lists one by one.
const maxWaiting = 200

// waiting lists what needs a person, of the sources of this run.
func (p *pass) waiting(ctx context.Context, l *ledger.Ledger) ([]*timesheet.Waiting, error) {
	var list []*timesheet.Waiting
	ids := make([]string, len(p.sources))
	for i := range p.sources {
		ids[i] = p.sources[i].ID
	}
	f := ledger.Filter{States: []timesheet.State{timesheet.StateRejected, timesheet.StateHeld, timesheet.StateInDoubt}, Sources: ids}
	enough := errors.New("no more are shown")
	err := l.Entries(ctx, f, func(w *timesheet.Waiting) error {
		if len(list) == maxWaiting {
			return enough
		}
		c := *w
		list = append(list, &c)
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return list, err
}

// exit is the status that the run deserves, open matters of earlier runs
// included.
func (p *pass) exit(r *uploader.Report, waiting []*timesheet.Waiting) int {
	code := r.Exit()
	if len(waiting) > 0 {
		code = uploader.Worse(code, exitPerson)
	}
	if sig := p.signalled(); sig != nil && r.Stop != nil && r.Stop.Kind == uploader.StopDrained {
		code = signalCode(sig)
	}
	return code
}
