package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// checkOptions are the flags of check.
type checkOptions struct {
	sources      []string
	since, until string
}

func newCheckCommand(a *app) *cobra.Command {
	var opts checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare the ledger with what the API has",
		Long: `Read back what the API has of the people and days that the ledger knows, and
compare. Nothing is changed on either side.

  =  the same on both sides
  +  only in the ledger: it was sent, and the API does not have it (any more)
  -  only in the API: it came from elsewhere, or from before the ledger
  *  on both sides, with another person, project, day or duration

Only sent entries are compared; those in doubt are for "resolve --ask". Needs
read_back in api.supports. Differences end with exit status 9.`,
		Example: `  tsupload check
  tsupload check --source acme --since 2026-11-01 --until 2026-11-30
  tsupload check -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCheck(cmd.Context(), a, opts) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&opts.sources, "source", nil, "only entries of the source `NAME` (repeatable)")
	f.StringVar(&opts.since, "since", "", "only days from `DATE` on (YYYY-MM-DD)")
	f.StringVar(&opts.until, "until", "", "only days up to `DATE` (YYYY-MM-DD)")
	return cmd
}

// comparison is the ledger beside the API.
type comparison struct {
	// sent are the entries to compare, by what they are found by; other
	// are further ones that the ledger knows: of other sources, or in doubt.
	sent, other map[string]*timesheet.Waiting
	people      map[string][2]timesheet.Day
	// found is what the API has of them, alone what it has beside them.
	found map[string]uploader.Stored
	alone []uploader.Stored
	twice []uploader.Stored
}

func runCheck(ctx context.Context, a *app, opts checkOptions) error {
	var f ledger.Filter
	if err := setPeriod(&f, opts.since, opts.until); err != nil {
		return err
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := needsReadBack(cfg, "check"); err != nil {
		return err
	}
	l, err := a.openLedger(ctx, cfg, true, a.logger(cfg))
	if err != nil {
		return err
	}
	defer l.Close()
	counts, err := l.Counts(ctx)
	if err != nil {
		return err
	}
	ids, err := sourceIDs(cfg, opts.sources, counts)
	if err != nil {
		return err
	}
	u, id, err := a.newAsker(ctx, cfg, l)
	if err != nil {
		return err
	}
	defer id.Close()
	c := comparison{sent: map[string]*timesheet.Waiting{}, other: map[string]*timesheet.Waiting{}, people: map[string][2]timesheet.Day{}, found: map[string]uploader.Stored{}}
	if err := c.readLedger(ctx, l, u, f, ids); err != nil {
		return err
	}
	for person, days := range c.people {
		if f.HasSince {
			days[0] = f.Since
		}
		if f.HasUntil {
			days[1] = f.Until
		}
		if err := u.List(ctx, person, days[0], days[1], func(s uploader.Stored) { c.take(s) }); err != nil {
			return askError(err)
		}
	}
	return c.show(a, cfg)
}

// needsReadBack refuses where the API cannot be asked what it has.
func needsReadBack(cfg *config.Config, what string) error {
	if cfg.Supports("read_back") {
		return nil
	}
	return usage("where the API can be asked (GET /timesheets), add read_back to api.supports", "%s has to read back, and api.supports does not name read_back", what)
}

func (c *comparison) readLedger(ctx context.Context, l *ledger.Ledger, u *uploader.Uploader, f ledger.Filter, sources []string) error {
	f.States = []timesheet.State{timesheet.StateSent, timesheet.StateSending, timesheet.StateInDoubt}
	nameless := false
	err := l.Entries(ctx, f, func(w *timesheet.Waiting) error {
		key := u.ExternalID(w)
		if key == "" {
			nameless = true
			return errEnough
		}
		e := *w
		if w.State != timesheet.StateSent || len(sources) > 0 && !slices.Contains(sources, w.Source) {
			c.other[key] = &e
			return nil
		}
		c.sent[key] = &e
		days, ok := c.people[w.Person]
		if !ok {
			days = [2]timesheet.Day{w.Day, w.Day}
		}
		c.people[w.Person] = [2]timesheet.Day{min(days[0], w.Day), max(days[1], w.Day)}
		return nil
	})
	if nameless {
		return usage("let api.fields send external_id", "what is sent carries no external_id: the API's entries cannot be told apart")
	}
	return err
}

func (c *comparison) take(s uploader.Stored) {
	_, ours := c.sent[s.ExternalID]
	_, known := c.other[s.ExternalID]
	_, again := c.found[s.ExternalID]
	switch {
	case s.ExternalID == "" || !ours && !known:
		c.alone = append(c.alone, s)
	case ours && again:
		c.twice = append(c.twice, s)
	case ours:
		c.found[s.ExternalID] = s
	}
}

// differs names what is not the same on both sides. What api.fields sends in
// another way cannot be compared.
func differs(cfg *config.Config, w *timesheet.Waiting, s *uploader.Stored) (what []string) {
	plain := func(name string) bool { spec, given := cfg.API.Fields[name]; return !given || spec == name }
	if plain("user_id") && s.Person != w.Person {
		what = append(what, fmt.Sprintf("person %s", s.Person))
	}
	if plain("date") && s.Day != w.Day {
		what = append(what, "day "+s.Day.String())
	}
	if plain("project") && s.Project != w.Project {
		what = append(what, fmt.Sprintf("project %q", s.Project))
	}
	if plain("hours") && s.Seconds != w.Seconds+w.Rounding {
		what = append(what, "hours "+s.Seconds.Clock())
	}
	return what
}

// difference is one line of the comparison.
type difference struct {
	sign, ref, apiID, person, project, origin, what string
	day                                             timesheet.Day
	seconds                                         timesheet.Seconds
}

func (c *comparison) lines(cfg *config.Config) (list []difference, same int) {
	for key, w := range c.sent {
		d := difference{sign: "+", ref: w.Ref, apiID: w.Remote, person: w.Person, project: w.Project, origin: w.Origin.String(), day: w.Day, seconds: w.Seconds + w.Rounding, what: "the API does not have it"}
		if s, ok := c.found[key]; ok {
			d.sign, d.apiID = "=", s.ID
			what := differs(cfg, w, &s)
			if len(what) == 0 {
				same++
				continue
			}
			d.sign, d.what = "*", "the API has "+strings.Join(what, ", ")
		}
		list = append(list, d)
	}
	for what, stored := range map[string][]uploader.Stored{"not in the ledger": c.alone, "there twice": c.twice} {
		for _, s := range stored {
			list = append(list, difference{sign: "-", apiID: s.ID, person: s.Person, project: s.Project, day: s.Day, seconds: s.Seconds, what: what})
		}
	}
	slices.SortFunc(list, func(a, b difference) int {
		if a.day != b.day {
			return int(a.day) - int(b.day)
		}
		return strings.Compare(a.person+"\x00"+a.ref+a.apiID, b.person+"\x00"+b.ref+b.apiID)
	})
	return list, same
}

func (c *comparison) show(a *app, cfg *config.Config) error {
	list, same := c.lines(cfg)
	signs := map[string]int{"=": same}
	t := newTable(a.stdout)
	for _, d := range list {
		signs[d.sign]++
		if a.json() {
			if err := a.emit("difference", map[string]any{
				"sign": d.sign, "ref": d.ref, "api_id": d.apiID, "person": d.person, "project": d.project, "day": d.day.String(), "seconds": d.seconds, "origin": d.origin, "what": d.what,
			}); err != nil {
				return err
			}
			continue
		}
		name := d.ref
		if name == "" {
			name = "API id " + d.apiID
		}
		t.row(d.sign, name, d.day.String(), d.person, d.project, d.seconds.Clock(), d.origin, d.what)
	}
	if a.json() {
		if err := a.emit("check", map[string]any{"same": same, "ledger_only": signs["+"], "api_only": signs["-"], "different": signs["*"]}); err != nil {
			return err
		}
	} else {
		if err := t.flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.stdout, "= %d the same, + %d only in the ledger, - %d only in the API, * %d different\n", same, signs["+"], signs["-"], signs["*"]); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		a.say("next: look at them in Timesheets; `tsupload why REF` tells where an entry came from")
		return &exitError{exitDifferent}
	}
	return nil
}
