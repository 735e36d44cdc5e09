package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

func newStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show sources, runs, hours by state and what waits for a person",
		Long: `Show, for every source, its last and next run and its entries and hours by state;
what waits for a person, and for how long; the ledger, the last runs and the
token. The ledger is read without its lock: status works while a run goes on.

What waits does not change the exit status; a ledger that is missing does.`,
		Example: `  tsupload status
  tsupload status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), a) },
	}
}

// Bounds of what status looks at and shows.
const (
	searchedRuns = 500
	shownRuns    = 5
)

// standingOf is all that status shows.
type standingOf struct {
	cfg     *config.Config
	now     time.Time
	path    string
	api     string
	size    int64
	counts  []ledger.Count
	runs    []ledger.Run
	token   tokencache.Token
	hasIt   bool
	noToken string // why there can be none
	days    []tokencache.DayCount
}

// totals is the part of a run's summary that status shows.
type totals struct {
	Sources string
	Sent    tally
	Refused tally
	InDoubt tally `json:"in_doubt"`
	Stop    string
	Problem string // why the run could not do all of its work
}

type tally struct {
	Rows    int               `json:"rows"`
	Seconds timesheet.Seconds `json:"seconds"`
}

func totalsOf(r *ledger.Run) (t totals) {
	_ = json.Unmarshal([]byte(r.Summary), &t) // none while it goes on
	return t
}

func runStatus(ctx context.Context, a *app) error {
	cfg, l, err := a.readLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	s := standingOf{cfg: cfg, now: time.Now(), path: cfg.State.Dir, size: l.Size()}
	if s.api, err = l.API(ctx); err != nil {
		return err
	}
	if s.counts, err = l.Counts(ctx); err != nil {
		return err
	}
	if s.runs, err = l.LastRuns(ctx, searchedRuns); err != nil {
		return err
	}
	s.token, s.hasIt, s.noToken = a.peekToken(ctx, cfg)
	s.days = a.tokenDays(cfg)
	if a.json() {
		return s.json(a)
	}
	return s.text(a)
}

// peekToken looks at the kept token; why says that there can be none.
func (a *app) peekToken(ctx context.Context, cfg *config.Config) (token tokencache.Token, has bool, why string) {
	if cfg.Auth.ClientID == "" || cfg.Auth.Issuer == "" && cfg.Auth.TokenURL == "" {
		return token, false, "auth is not configured"
	}
	cache, err := a.newCache(cfg, a.logger(cfg))
	if err != nil {
		return token, false, err.Error()
	}
	defer cache.Close()
	token, has = cache.Peek(ctx)
	return token, has, ""
}

// ids lists the sources of the configuration, then those that only the
// ledger knows.
func (s *standingOf) ids() []string {
	var ids []string
	for i := range s.cfg.Sources {
		ids = append(ids, s.cfg.Sources[i].ID)
	}
	for _, c := range s.counts {
		if !slices.Contains(ids, c.Source) {
			ids = append(ids, c.Source)
		}
	}
	return ids
}

func (s *standingOf) source(id string) *config.Source {
	for i := range s.cfg.Sources {
		if s.cfg.Sources[i].ID == id {
			return &s.cfg.Sources[i]
		}
	}
	return nil
}

// last is the newest run that read a source.
func (s *standingOf) last(id string) *ledger.Run {
	name := sourceName(s.cfg, id)
	for i := range s.runs {
		if slices.Contains(strings.Split(totalsOf(&s.runs[i]).Sources, ","), name) {
			return &s.runs[i]
		}
	}
	return nil
}

// next is when the daemon will read a source.
func (s *standingOf) next(id string) (time.Time, *time.Location) {
	src := s.source(id)
	if src == nil {
		return time.Time{}, time.Local
	}
	zone := zoneOf(src)
	schedule, err := daemon.ParseSchedule(src.Schedule, zone)
	if err != nil || src.Schedule == "" {
		return time.Time{}, zone
	}
	return schedule.Next(s.now), zone
}

// waits tells whether a state needs a person.
func waits(s timesheet.State) bool {
	return s == timesheet.StateRejected || s == timesheet.StateHeld || s == timesheet.StateInDoubt
}

func (s *standingOf) text(a *app) error {
	for _, id := range s.ids() {
		if err := s.sourceText(a, id); err != nil {
			return err
		}
	}
	if err := s.waitingText(a); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "ledger %s, %d KiB, for %s\n", clean(s.path), (s.size+1023)/1024, clean(s.api))
	switch {
	case s.noToken != "":
		fmt.Fprintf(a.stdout, "token: none (%s)\n", clean(s.noToken))
	case !s.hasIt:
		fmt.Fprintln(a.stdout, "token: none is kept; the next run that sends obtains one")
	case s.token.ExpiresAt.Before(s.now):
		fmt.Fprintf(a.stdout, "token: expired %s ago\n", age(s.now.Sub(s.token.ExpiresAt)))
	default:
		fmt.Fprintf(a.stdout, "token: expires %s, scopes %s\n", moment(s.token.ExpiresAt, time.Local), clean(strings.Join(s.token.Scopes, " ")))
	}
	if words := economy(s.cfg, &s.token, s.hasIt, s.days, s.now); words != "" {
		fmt.Fprintf(a.stdout, "tokens: %s\n", clean(words))
	}
	if left, low := quota(&s.token, s.now); low {
		fmt.Fprintf(a.stdout, "warning: tokens: %s; %s\n", clean(left), littleLeft)
	}
	return s.runsText(a)
}

func (s *standingOf) sourceText(a *app, id string) error {
	src := s.source(id)
	head := "source " + sourceName(s.cfg, id)
	if src == nil {
		head += " (no longer configured)"
	} else if id != src.Name {
		head += " (id " + id + ")"
	}
	next, zone := s.next(id)
	lastRun, problem := "never, as far as the last runs tell", ""
	if r := s.last(id); r != nil {
		lastRun, problem = moment(r.Started, zone)+", "+ending(r), totalsOf(r).Problem
	}
	nextRun := "no schedule"
	if !next.IsZero() {
		nextRun = fmt.Sprintf("%s (%s, %s)", moment(next, zone), src.Schedule, src.Timezone)
	}
	fmt.Fprintf(a.stdout, "%s\n  last run  %s\n  next run  %s\n", clean(head), lastRun, nextRun)
	if problem != "" {
		fmt.Fprintf(a.stdout, "  problem   %s\n", clean(problem))
	}
	t := newTable(a.stdout)
	none := true
	for _, c := range s.counts {
		if c.Source == id {
			none = false
			t.row("  "+standing(c.State, c.Reason), strconv.Itoa(c.Entries), c.Seconds.Clock())
		}
	}
	if none {
		t.row("  nothing yet")
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}

func (s *standingOf) waitingText(a *app) error {
	first := true
	for _, state := range []timesheet.State{timesheet.StateInDoubt, timesheet.StateHeld, timesheet.StateRejected} {
		n, oldest := 0, s.now
		for _, c := range s.counts {
			if c.State == state {
				n += c.Entries
				if c.Oldest.Before(oldest) {
					oldest = c.Oldest
				}
			}
		}
		if n == 0 {
			continue
		}
		if first {
			fmt.Fprintln(a.stdout, "waits for a person")
			first = false
		}
		fmt.Fprintf(a.stdout, "  %s %s, the oldest for %s: tsupload entries --state %s\n", count(n, "entry"), strings.ReplaceAll(string(state), "_", " "), age(s.now.Sub(oldest)), state)
	}
	if !first {
		fmt.Fprintln(a.stdout)
	}
	return nil
}

// ending is how a run ended.
func ending(r *ledger.Run) string {
	if r.Ended.IsZero() {
		return "goes on, or died"
	}
	took := r.Ended.Sub(r.Started).Round(time.Millisecond)
	if totalsOf(r).Stop == string(uploader.StopDrained) {
		// The program ended with the status of the signal, which the run does not know.
		return fmt.Sprintf("asked to end after %s", took)
	}
	return fmt.Sprintf("exit %d after %s", r.Exit, took)
}

func (s *standingOf) runsText(a *app) error {
	if len(s.runs) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no run yet")
		return err
	}
	fmt.Fprintln(a.stdout, "\nlast runs")
	t := newTable(a.stdout, "  started", "sources", "sent", "hours", "refused", "in doubt", "end")
	for i := range s.runs[:min(shownRuns, len(s.runs))] {
		r := &s.runs[i]
		sum := totalsOf(r)
		t.row("  "+moment(r.Started, time.Local), sum.Sources, strconv.Itoa(sum.Sent.Rows), sum.Sent.Seconds.Clock(), strconv.Itoa(sum.Refused.Rows), strconv.Itoa(sum.InDoubt.Rows), ending(r))
	}
	return t.flush()
}

func (s *standingOf) json(a *app) error {
	for _, id := range s.ids() {
		states := []map[string]any{}
		for _, c := range s.counts {
			if c.Source == id {
				states = append(states, map[string]any{
					"state": c.State, "reason": c.Reason, "entries": c.Entries, "seconds": c.Seconds, "oldest": stamp(c.Oldest), "waits": waits(c.State),
				})
			}
		}
		next, _ := s.next(id)
		src := s.source(id)
		line := map[string]any{"name": sourceName(s.cfg, id), "id": id, "configured": src != nil, "states": states, "next_run": stamp(next), "last_run": nil}
		if src != nil {
			line["schedule"], line["timezone"] = src.Schedule, src.Timezone
		}
		if r := s.last(id); r != nil {
			line["last_run"], line["last_exit"] = stamp(r.Started), runExit(r)
		}
		if err := a.emit("source", line); err != nil {
			return err
		}
	}
	if err := a.emit("ledger", map[string]any{"dir": s.path, "bytes": s.size, "api": s.api}); err != nil {
		return err
	}
	token := map[string]any{"kept": s.hasIt, "expires_at": nil, "scopes": []string{}}
	maps.Copy(token, economyJSON(s.cfg, &s.token, s.hasIt, s.days, s.now))
	if s.hasIt {
		token["expires_at"], token["scopes"] = stamp(s.token.ExpiresAt), s.token.Scopes
	}
	if err := a.emit("token", token); err != nil {
		return err
	}
	for i := range s.runs[:min(shownRuns, len(s.runs))] {
		r := &s.runs[i]
		sum := totalsOf(r)
		if err := a.emit("run", map[string]any{
			"run_id": r.ID, "started": stamp(r.Started), "ended": stamp(r.Ended), "exit": runExit(r), "sources": sum.Sources, "sent": sum.Sent, "refused": sum.Refused,
			"in_doubt": sum.InDoubt, "stop": sum.Stop, "problem": sum.Problem,
		}); err != nil {
			return err
		}
	}
	return nil
}

// runExit is nil for a run that has not ended.
func runExit(r *ledger.Run) any {
	if r.Ended.IsZero() {
		return nil
	}
	return r.Exit
}
