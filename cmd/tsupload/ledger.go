package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

func newLedgerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Create, rebuild or back up the ledger",
		Long: `The ledger is the record of every entry that was ever planned, sent or refused. It
lies in the state directory. It is never made in silence: an empty one would send
everything again.`,
		Example: `  tsupload ledger create
  tsupload ledger backup /backup/ledger-2026-11-22.db`,
		RunE: group,
	}
	var before string
	create := &cobra.Command{
		Use:   "create",
		Short: "Create an empty ledger, before the first run",
		Long: `Create an empty ledger for the API of the configuration. Where there is one it is
kept, and this is refused.

With --assume-sent-before, entries of days before that date are taken as sent: for
sources whose earlier hours were uploaded by other means.`,
		Example: `  tsupload ledger create
  tsupload ledger create --assume-sent-before 2026-11-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLedgerCreate(cmd.Context(), a, before) },
	}
	create.Flags().StringVar(&before, "assume-sent-before", "", "entries of days before `DATE` (YYYY-MM-DD) were sent already")
	cmd.AddCommand(create,
		&cobra.Command{
			Use:   "adopt",
			Short: "Rebuild a lost ledger from what the API has",
			Long: `Rebuild a lost ledger: read every source, ask the API which of the entries it
has, and take those as sent. The others are new, and the next run sends them.
Nothing is sent by this command. All sources must be readable: what is not read
now would count as new later.

Needs read_back in api.supports. Refused where there is a ledger. A backup, where
there is one, knows more: receipts, decisions, entries that have left the sources.`,
			Example: `  tsupload ledger adopt
  tsupload ledger adopt && tsupload run --dry-run`,
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runLedgerAdopt(cmd.Context(), a) },
		},
		&cobra.Command{
			Use:   "backup FILE",
			Short: "Write a copy of the ledger, also while a run goes on",
			Long: `Write a consistent copy of the ledger to a new file. It takes no lock and is safe
while a run goes on.`,
			Example: `  tsupload ledger backup /backup/ledger-2026-11-22.db`,
			Args:    cobra.ExactArgs(1),
			RunE:    func(cmd *cobra.Command, args []string) error { return runLedgerBackup(cmd.Context(), a, args[0]) },
		},
	)
	return cmd
}

func runLedgerCreate(ctx context.Context, a *app, before string) error {
	day, given, err := parseDay("--assume-sent-before", before)
	if err != nil {
		return err
	}
	if given && day > timesheet.DayOf(time.Now())+1 {
		return usage("name the day from which on tsupload is to send", "--assume-sent-before %s is in the future: nothing would be sent until then", day)
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := knowsAPI(cfg); err != nil {
		return err
	}
	if err := ledger.Create(ctx, cfg.State.Dir, cfg.API.ID, day); err != nil {
		return err
	}
	if a.json() {
		line := map[string]any{"action": "created", "dir": cfg.State.Dir, "api": cfg.API.ID, "assume_sent_before": nil}
		if given {
			line["assume_sent_before"] = day.String()
		}
		return a.emit("ledger", line)
	}
	fmt.Fprintf(a.stdout, "created an empty ledger in %s for %s\n", cfg.State.Dir, cfg.API.ID)
	if given {
		fmt.Fprintf(a.stdout, "entries of days before %s are taken as sent\n", day)
	}
	a.say("next: tsupload run --dry-run")
	return nil
}

// knowsAPI refuses a ledger that would speak for no API.
func knowsAPI(cfg *config.Config) error {
	if cfg.API.ID != "" {
		return nil
	}
	if err := cfg.ForUpload(); err != nil {
		return err
	}
	return usage("set api.url", "the configuration names no API that the ledger could speak for")
}

func runLedgerBackup(ctx context.Context, a *app, file string) error {
	cfg, l, err := a.readLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Backup(ctx, file); err != nil {
		return err
	}
	if a.json() {
		return a.emit("ledger", map[string]any{"action": "backed up", "file": file, "dir": cfg.State.Dir})
	}
	_, err = fmt.Fprintf(a.stdout, "wrote %s\n", file)
	return err
}

// adopted is what adopt found.
type adopted struct {
	Sent, New, Rejected, Held int
	Seconds                   timesheet.Seconds
}

func runLedgerAdopt(ctx context.Context, a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.ForUpload(); err != nil {
		return err
	}
	if err := needsReadBack(cfg, "ledger adopt"); err != nil {
		return err
	}
	if len(cfg.Sources) == 0 {
		return usage("add the sources that were uploaded before", "there is no source to read")
	}
	if ledger.Exists(cfg.State.Dir) {
		return &ledger.Error{
			Kind: ledger.AlreadyThere, Message: "there is a ledger already in " + cfg.State.Dir,
			HintText: "it is kept; `tsupload check` compares it with the API. Move a damaged one away first",
		}
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o700); err != nil {
		return err
	}
	// It is built beside its place and put there when it is whole: half a
	// ledger would send again what it does not know.
	work, err := os.MkdirTemp(cfg.State.Dir, "adopt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	found, err := a.rebuild(ctx, cfg, work)
	if err != nil {
		return err
	}
	if err := putLedger(cfg.State.Dir, filepath.Join(work, "whole.db")); err != nil {
		return err
	}
	if a.json() {
		return a.emit("ledger", map[string]any{
			"action": "adopted", "dir": cfg.State.Dir, "api": cfg.API.ID, "sent": found.Sent, "sent_seconds": found.Seconds, "new": found.New, "held": found.Held, "rejected": found.Rejected,
		})
	}
	fmt.Fprintf(a.stdout, "rebuilt the ledger in %s for %s\n  %s, %s hours, are in the API: sent\n  %s not: new, the next run sends them\n",
		cfg.State.Dir, cfg.API.ID, count(found.Sent, "entry"), found.Seconds.Clock(), count(found.New, "entry"))
	if found.Held+found.Rejected > 0 {
		fmt.Fprintf(a.stdout, "  %d held, %d rejected\n", found.Held, found.Rejected)
	}
	a.say("next: tsupload check, then tsupload run --dry-run")
	return nil
}

// rebuild makes a ledger in work of what sources and API have together.
func (a *app) rebuild(ctx context.Context, cfg *config.Config, work string) (found adopted, err error) {
	log := a.logger(cfg)
	if err := ledger.Create(ctx, work, cfg.API.ID, 0); err != nil {
		return found, err
	}
	l, err := ledger.Open(ctx, ledger.Options{Dir: work, API: cfg.API.ID, Logger: log})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var feeds []uploader.Feed
	for i := range cfg.Sources {
		feed, err := a.newFeed(&cfg.Sources[i], feedOptions{spool: work, dir: configDir(cfg)}, log)
		if err != nil {
			return found, err
		}
		feeds = append(feeds, feed)
	}
	u, id, err := a.newAsker(ctx, cfg, l, feeds...)
	if err != nil {
		return found, err
	}
	defer id.Close()
	r, err := u.Run(ctx, a.stopping) // a dry run: it ends with the plan
	if err != nil {
		return found, err
	}
	for _, s := range r.Sources {
		if s.Err != nil {
			return found, s.Err
		}
	}
	if err := adoptAll(ctx, l, u); err != nil {
		return found, err
	}
	counts, err := l.Counts(ctx)
	if err != nil {
		return found, err
	}
	for _, c := range counts {
		switch c.State {
		case timesheet.StateSent:
			found.Sent += c.Entries
			found.Seconds += c.Seconds
		case timesheet.StateHeld:
			found.Held += c.Entries
		case timesheet.StateRejected:
			found.Rejected += c.Entries
		case timesheet.StateNew:
			found.New += c.Entries
		default:
		}
	}
	return found, l.Backup(ctx, filepath.Join(work, "whole.db"))
}

// adoptAll takes as sent what the API has.
func adoptAll(ctx context.Context, l *ledger.Ledger, u *uploader.Uploader) error {
	var parcels []int64
	f := ledger.Filter{States: []timesheet.State{timesheet.StateNew, timesheet.StateHeld}}
	if err := l.Entries(ctx, f, func(w *timesheet.Waiting) error {
		if !slices.Contains(parcels, w.Parcel) {
			parcels = append(parcels, w.Parcel)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, id := range parcels {
		p, err := l.Parcel(ctx, id)
		if err != nil {
			return err
		}
		found, proof, err := u.Find(ctx, p)
		if err != nil {
			return askError(err)
		}
		if !proof && len(found) < len(p.Entries) {
			return usage("the API must give back external_id, and api.fields must not leave it out", "the API's list does not carry external_id: what is not found in it may be there all the same")
		}
		var positions []int
		var fates []timesheet.Fate
		for pos := range p.Entries {
			if remote, ok := found[pos]; ok {
				positions = append(positions, pos)
				fates = append(fates, timesheet.Fate{State: timesheet.StateSent, ID: remote})
			}
		}
		if len(positions) == 0 {
			continue
		}
		if err := l.Decide(ctx, id, positions, fates, "adopted: the API has it"); err != nil {
			return err
		}
	}
	return nil
}

// putLedger moves a whole ledger to its place, unless one has come there.
func putLedger(dir, from string) error {
	to := filepath.Join(dir, "ledger.db")
	err := os.Link(from, to)
	if errors.Is(err, os.ErrExist) {
		return &ledger.Error{Kind: ledger.AlreadyThere, Message: "there is a ledger already: " + to, HintText: "it is kept"}
	}
	if err != nil {
		return &ledger.Error{Kind: ledger.Broken, Message: "put the ledger into its place", Err: err, HintText: "the state directory must be writable and on a local disk"}
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
