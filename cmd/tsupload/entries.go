package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// entriesOptions are the flags of entries.
type entriesOptions struct {
	states, sources []string
	person          string
	since, until    string
	limit           int
}

func newEntriesCommand(a *app) *cobra.Command {
	var opts entriesOptions
	cmd := &cobra.Command{
		Use:   "entries",
		Short: "List entries of the ledger",
		Long: `List entries and rejected rows of the ledger: the reference by which other
commands know them, state, day, person, project, duration and where they were
read. Those that wait for a person say what to do.

States: new, sending, sent, rejected, held, in_doubt, skipped.`,
		Example: `  tsupload entries --state held --state in_doubt
  tsupload entries --source acme --since 2026-11-16 --until 2026-11-22
  tsupload entries --person u-1001 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runEntries(cmd.Context(), a, opts) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&opts.states, "state", nil, "only entries in `STATE` (repeatable)")
	f.StringArrayVar(&opts.sources, "source", nil, "only entries of the source `NAME` (repeatable)")
	f.StringVar(&opts.person, "person", "", "only entries of `USER`")
	f.StringVar(&opts.since, "since", "", "only entries of `DATE` and later (YYYY-MM-DD)")
	f.StringVar(&opts.until, "until", "", "only entries of `DATE` and earlier (YYYY-MM-DD)")
	f.IntVar(&opts.limit, "limit", 0, "at most `N` entries; 0 is all")
	return cmd
}

// allStates are the words that --state knows.
func allStates() []timesheet.State {
	return []timesheet.State{
		timesheet.StateNew, timesheet.StateSending, timesheet.StateSent, timesheet.StateRejected, timesheet.StateHeld, timesheet.StateInDoubt, timesheet.StateSkipped,
	}
}

// errEnough ends a listing before its end.
var errEnough = errors.New("enough")

func runEntries(ctx context.Context, a *app, opts entriesOptions) error {
	f := ledger.Filter{Person: opts.person}
	for _, text := range opts.states {
		if !slices.Contains(allStates(), timesheet.State(text)) {
			var known []string
			for _, s := range allStates() {
				known = append(known, string(s))
			}
			return usage("use one of "+strings.Join(known, ", "), "there is no state %q", text)
		}
		f.States = append(f.States, timesheet.State(text))
	}
	if opts.limit < 0 {
		return usage("give a number above zero", "--limit %d makes no sense", opts.limit)
	}
	if err := setPeriod(&f, opts.since, opts.until); err != nil {
		return err
	}
	cfg, l, err := a.readLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	counts, err := l.Counts(ctx)
	if err != nil {
		return err
	}
	if f.Sources, err = sourceIDs(cfg, opts.sources, counts); err != nil {
		return err
	}
	n, total := 0, timesheet.Seconds(0)
	t := newTable(a.stdout, "ref", "state", "day", "person", "project", "hours", "source", "origin", "")
	err = l.Entries(ctx, f, func(w *timesheet.Waiting) error {
		if opts.limit > 0 && n == opts.limit {
			return errEnough
		}
		n++
		total += w.Seconds
		if a.json() {
			return a.emit("entry", waitingJSON(cfg, w))
		}
		t.row(w.Ref, stateOf(w), dayOf(w), w.Person, w.Project, hoursOf(w), sourceName(cfg, w.Source), w.Origin.String(), hintCell(w))
		return nil
	})
	more := errors.Is(err, errEnough)
	if err != nil && !more {
		return err
	}
	if a.json() {
		return nil
	}
	if n == 0 {
		a.say("no entry is like that")
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more {
		a.say("and more; %s shown", count(n, "entry"))
		return nil
	}
	a.say("%s, %s hours", count(n, "entry"), total.Clock())
	return nil
}

// stateOf is an entry's state, and whether it is gone from its source.
func stateOf(w *timesheet.Waiting) string {
	s := standing(w.State, w.Reason)
	if w.Missing {
		s += ", missing"
	}
	return s
}

// hoursOf is how long an entry is, and to what that is rounded.
func hoursOf(w *timesheet.Waiting) string {
	if w.Rounding == 0 {
		return w.Seconds.Clock()
	}
	return w.Seconds.Clock() + " (" + (w.Seconds + w.Rounding).Clock() + " rounded)"
}

// dayOf is an entry's day; rows that never became entries may have none.
func dayOf(w *timesheet.Waiting) string {
	if w.Row && w.Day == 0 {
		return "-"
	}
	return w.Day.String()
}

// hintCell says what is wrong with an entry that waits, and what to do.
func hintCell(w *timesheet.Waiting) string {
	if !waits(w.State) {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSuffix(w.Detail+"; "+w.Hint, "; "), "; ")
}
