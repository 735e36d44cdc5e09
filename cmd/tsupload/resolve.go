package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// resolveOptions are the flags of resolve: exactly one of them is set.
type resolveOptions struct {
	ask, sent, notSent, send, skip bool
}

func newResolveCommand(a *app) *cobra.Command {
	var opts resolveOptions
	cmd := &cobra.Command{
		Use:   "resolve REF...",
		Short: "Settle entries that are in doubt, held or rejected",
		Long: `Settle entries that wait for a person.

In doubt (sent, but the answer was lost):
  --ask       ask the API: what it has is sent; what it provably has not is new
              again. Needs read_back in api.supports
  --sent      you have looked: the API has it
  --not-sent  you have looked: the API does not have it; it will be sent again

Held or rejected:
  --send      send it as it is, with the next run
  --skip      never send it

REF is the reference that reports and "tsupload entries" show, or its head. Either
all REFs are settled, or, where one of them cannot be, none is touched.`,
		Example: `  tsupload resolve --ask 2026-11-16/4k2m9x07qd
  tsupload resolve --not-sent 2026-11-16/4k2m9x07qd
  tsupload resolve --send 2026-11-17/0c8wq 2026-11-18/xv31n`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("`tsupload entries --state in_doubt --state held --state rejected` lists references", "resolve needs at least one REF")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runResolve(cmd.Context(), a, opts, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&opts.ask, "ask", false, "ask the API about entries in doubt")
	f.BoolVar(&opts.sent, "sent", false, "entries in doubt were sent")
	f.BoolVar(&opts.notSent, "not-sent", false, "entries in doubt were not sent; send them again")
	f.BoolVar(&opts.send, "send", false, "send held or rejected entries as they are")
	f.BoolVar(&opts.skip, "skip", false, "never send held or rejected entries")
	return cmd
}

func (o resolveOptions) chosen() (flag string, n int) {
	for _, f := range []struct {
		set  bool
		name string
	}{{o.ask, "--ask"}, {o.sent, "--sent"}, {o.notSent, "--not-sent"}, {o.send, "--send"}, {o.skip, "--skip"}} {
		if f.set {
			flag = f.name
			n++
		}
	}
	return flag, n
}

// fits tells whether an entry can be settled in the chosen way.
func (o resolveOptions) fits(s timesheet.State) bool {
	if o.ask || o.sent || o.notSent {
		return s == timesheet.StateInDoubt
	}
	return s == timesheet.StateHeld || s == timesheet.StateRejected
}

func runResolve(ctx context.Context, a *app, opts resolveOptions, refs []string) error {
	flag, n := opts.chosen()
	if n != 1 {
		return usage("for entries in doubt --ask, --sent or --not-sent; for held and rejected ones --send or --skip", "say how to settle them: exactly one way is needed")
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if opts.ask && !cfg.Supports("read_back") {
		return usage("look it up in Timesheets yourself, then say --sent or --not-sent; where the API can be asked, add read_back to api.supports",
			"the API cannot be asked: api.supports does not name read_back")
	}
	log := a.logger(cfg)
	l, err := a.openLedger(ctx, cfg, false, log)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Recover(ctx); err != nil {
		return err
	}
	var chosen []*timesheet.Waiting
	for _, ref := range refs {
		w, err := pick(ctx, l, opts, flag, ref)
		if err != nil {
			return err
		}
		if err := allowed(ctx, cfg, l, opts, w); err != nil {
			return err
		}
		whole := []*timesheet.Waiting{w}
		if opts.send || opts.skip { // of a row over midnight, all parts that wait for the same
			parts, err := l.Parts(ctx, w)
			if err != nil {
				return err
			}
			for _, part := range parts {
				if part.State == w.State && part.Reason == w.Reason {
					whole = append(whole, part)
				}
			}
		}
		for _, w := range whole {
			if !slices.ContainsFunc(chosen, func(c *timesheet.Waiting) bool { return c.Key == w.Key }) {
				chosen = append(chosen, w)
			}
		}
	}
	if opts.ask {
		return a.askAPI(ctx, cfg, l, chosen)
	}
	for _, w := range chosen {
		if err := decideOne(ctx, l, opts, flag, w); err != nil {
			return err
		}
	}
	return a.resolved(ctx, cfg, l, opts, chosen)
}

// pick finds the one entry that a reference stands for.
func pick(ctx context.Context, l *ledger.Ledger, opts resolveOptions, flag, ref string) (*timesheet.Waiting, error) {
	found, err := l.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, usage("`tsupload entries` lists what there is", "the ledger knows nothing by the name of %s", ref)
	}
	for _, w := range found[1:] {
		if w.Key != found[0].Key {
			return nil, ambiguous(ref, found)
		}
	}
	// A sent entry and its waiting change have one key.
	var fitting []*timesheet.Waiting
	for _, w := range found {
		if opts.fits(w.State) {
			fitting = append(fitting, w)
		}
	}
	if len(fitting) == 0 {
		hint := "`tsupload why " + found[0].Ref + "` tells its history"
		if waits(found[0].State) {
			hint = "for entries in doubt use --ask, --sent or --not-sent; for held and rejected ones --send or --skip"
		}
		return nil, usage(hint, "%s is %s: %s does not apply to it", found[0].Ref, standing(found[0].State, found[0].Reason), flag)
	}
	return fitting[0], nil
}

func ambiguous(ref string, found []*timesheet.Waiting) error {
	var candidates []string
	for _, w := range found {
		c := fmt.Sprintf("%s (%s, %s)", w.Ref, w.State, clean(w.Origin.String()))
		if !slices.Contains(candidates, c) {
			candidates = append(candidates, c)
		}
	}
	return usage("write more of it", "%s stands for several: %s", ref, strings.Join(candidates, ", "))
}

// allowed refuses what would not do what the person means.
func allowed(ctx context.Context, cfg *config.Config, l *ledger.Ledger, opts resolveOptions, w *timesheet.Waiting) error {
	if !opts.send {
		return nil
	}
	if w.Row {
		return usage("mend it in the tracker; or `tsupload rejects export`, mend the row there, `tsupload rejects retry FILE`; or give it up with --skip",
			"%s is a row that could not be read as an entry: it cannot be sent as it is", w.Ref)
	}
	p, err := l.Parcel(ctx, w.Parcel)
	if err != nil {
		return err
	}
	if p.Op == timesheet.OpUpdate && (p.Target == "" || !cfg.Supports("update")) {
		return usage("mend what was sent in Timesheets by hand, then resolve --skip",
			"%s is a change of an entry that was sent, and the API cannot replace it", w.Ref)
	}
	return nil
}

// decideOne records a person's word about one entry.
func decideOne(ctx context.Context, l *ledger.Ledger, opts resolveOptions, flag string, chosen *timesheet.Waiting) error {
	if chosen.Row {
		return l.SkipRow(ctx, chosen.Key)
	}
	// An earlier decision may have moved it to another parcel.
	w, err := pick(ctx, l, opts, flag, chosen.Ref)
	if err != nil {
		return err
	}
	fate := timesheet.Fate{State: timesheet.StateNew}
	switch {
	case opts.sent:
		fate = timesheet.Fate{State: timesheet.StateSent}
	case opts.skip:
		fate = timesheet.Fate{State: timesheet.StateSkipped, Reason: timesheet.ReasonByPerson}
	}
	return l.Decide(ctx, w.Parcel, []int{w.Pos}, []timesheet.Fate{fate}, "a person said "+flag)
}

// resolved says what changed, and what to do next.
func (a *app) resolved(ctx context.Context, cfg *config.Config, l *ledger.Ledger, opts resolveOptions, chosen []*timesheet.Waiting) error {
	outcome, next := "will be sent by the next run", "tsupload run --once"
	to := timesheet.StateNew
	switch {
	case opts.sent:
		outcome, next, to = "is sent, by your word", "tsupload status", timesheet.StateSent
	case opts.skip:
		outcome, next, to = "will never be sent", "tsupload status", timesheet.StateSkipped
	}
	for _, w := range chosen {
		if a.json() {
			if err := a.emit("resolved", map[string]any{"ref": w.Ref, "from": w.State, "to": to, "source": sourceName(cfg, w.Source), "person": w.Person, "day": dayOf(w), "seconds": w.Seconds}); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%s (%s, %s %s, %s hours): was %s, %s\n", w.Ref, clean(w.Origin.String()), clean(w.Person), dayOf(w), hoursOf(w), standing(w.State, w.Reason), outcome); err != nil {
			return err
		}
	}
	return a.nextAfter(ctx, l, next)
}

// nextAfter names the next command on standard error.
func (a *app) nextAfter(ctx context.Context, l *ledger.Ledger, next string) error {
	counts, err := l.Counts(ctx)
	if err != nil {
		return err
	}
	left := 0
	for _, c := range counts {
		if waits(c.State) {
			left += c.Entries
		}
	}
	if left > 0 {
		a.say("%s still for a person to settle", count(left, "entry"))
	}
	a.say("next: %s", next)
	return nil
}

// askAPI settles entries in doubt by reading back. It asks for the whole
// request that each of them was part of: they share one fate.
func (a *app) askAPI(ctx context.Context, cfg *config.Config, l *ledger.Ledger, chosen []*timesheet.Waiting) error {
	u, id, err := a.newAsker(ctx, cfg, l)
	if err != nil {
		return err
	}
	defer id.Close()
	var asked []int64
	settled := true
	for _, w := range chosen {
		if slices.Contains(asked, w.Parcel) {
			continue
		}
		asked = append(asked, w.Parcel)
		answer, err := u.Ask(ctx, w.Parcel, a.stopping)
		if err != nil {
			return askError(err)
		}
		settled = settled && answer.Absent == 0
		if err := a.answered(cfg, w, answer); err != nil {
			return err
		}
	}
	next := "tsupload run --once"
	if !settled {
		next = "tsupload resolve --ask again, later; or look in Timesheets and say --sent or --not-sent"
	}
	return a.nextAfter(ctx, l, next)
}

func (a *app) answered(cfg *config.Config, w *timesheet.Waiting, answer uploader.Answer) error {
	if a.json() {
		return a.emit("asked", map[string]any{
			"ref": w.Ref, "sent": answer.Sent, "new": answer.New, "in_doubt": answer.Absent, "proof": answer.Proof, "settles": stamp(answer.Settles),
		})
	}
	fmt.Fprintf(a.stdout, "%s and what was sent with it:\n", w.Ref)
	t := newTable(a.stdout)
	if answer.Sent > 0 {
		t.row("  the API has", count(answer.Sent, "entry")+": sent")
	}
	if answer.New > 0 {
		t.row("  the API has not", count(answer.New, "entry")+": to be sent by the next run")
	}
	if answer.Absent > 0 {
		why := "two looks must agree; ask once more"
		switch now := time.Now(); {
		case !answer.Proof:
			why = "the API's list does not carry external_id, so that absence proves nothing"
		case now.Before(answer.Settles):
			why = fmt.Sprintf("the API may still execute the request until %s (api.server.settle is %s)", moment(answer.Settles, time.Local), config.FormatDuration(cfg.API.Server.Settle))
		}
		t.row("  not found yet", count(answer.Absent, "entry")+": still in doubt, because "+why)
	}
	return t.flush()
}

// newAsker makes an uploader that only asks, with its token at hand.
func (a *app) newAsker(ctx context.Context, cfg *config.Config, l *ledger.Ledger, feeds ...uploader.Feed) (*uploader.Uploader, *identity, error) {
	if err := cfg.ForUpload(); err != nil {
		return nil, nil, err
	}
	log := a.logger(cfg)
	id, err := a.newIdentity(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	u, err := uploader.New(uploader.Config{
		RunID: newRunID(), Ledger: planLedger{l}, API: a.newAPI(cfg), Logger: log, DryRun: true, Feeds: feeds, Transport: tokenErrors{id.transport},
		Deadline: cfg.Run.Deadline, MaxRejectRatio: cfg.Run.MaxRejectRatio,
	})
	if err == nil {
		err = markToken(id.transport.Ready(ctx))
	}
	if err != nil {
		_ = id.Close()
		return nil, nil, err
	}
	return u, id, nil
}

// askError gives what went wrong while reading back its exit status and a hint.
func askError(err error) error {
	if exitCode(err) != exitFault {
		return err
	}
	return &uploader.StopError{Kind: uploader.StopUnreachable, Err: err, HintText: "nothing was changed; ask again when the API answers"}
}
