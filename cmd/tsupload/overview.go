package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/internal/web"
	"github.com/exampleco/tsupload/uploader"
)

// Bounds of what the status page shows.
const (
	pageRuns    = 30
	pageWaiting = 100
	pageDays    = 371 // 53 weeks
)

// nextRun tells when a source, by its name, is run next, and whether it is
// being run now. It is the daemon's; without one there is none.
type nextRun func(source string) (next time.Time, running bool)

// newPage is the status page. cfg is the configuration in force, asked at every
// look; next may be nil.
func (a *app) newPage(cfg func() *config.Config, next nextRun, log *slog.Logger) http.Handler {
	return web.NewPage(func(ctx context.Context) (web.Overview, error) {
		o, err := a.overview(ctx, cfg(), next, log)
		if err != nil {
			log.WarnContext(ctx, "status page: the state cannot be read", "err", err)
		}
		return o, err
	})
}

// overview collects what the status page shows. It reads the ledger without
// its lock, so that no run waits for it.
func (a *app) overview(ctx context.Context, cfg *config.Config, next nextRun, log *slog.Logger) (o web.Overview, err error) {
	l, err := a.openLedger(ctx, cfg, true, log)
	if err != nil {
		return o, err
	}
	defer l.Close()
	s := standingOf{cfg: cfg, now: time.Now(), path: cfg.State.Dir, size: l.Size()}
	if s.api, err = l.API(ctx); err != nil {
		return o, err
	}
	if s.counts, err = l.Counts(ctx); err != nil {
		return o, err
	}
	if s.runs, err = l.LastRuns(ctx, searchedRuns); err != nil {
		return o, err
	}
	s.token, s.hasIt, s.noToken = a.peekToken(ctx, cfg)
	api := a.newAPI(cfg)
	o = web.Overview{
		Now: s.now, Version: version, API: s.api, Level: api.Level().String(), Promise: api.Promise(), Today: timesheet.DayOf(s.now),
		Token: s.tokenFact(), Quota: s.quotaFact(), Ledger: web.Fact{Text: fmt.Sprintf("%s, %d KiB", s.path, (s.size+1023)/1024)},
	}
	o.Since = o.Today - pageDays + 1
	if o.Hours, err = l.ProjectHours(ctx, o.Since); err != nil {
		return o, err
	}
	if o.Waiting, o.MoreWaiting, err = s.matters(ctx, l); err != nil {
		return o, err
	}
	for _, id := range s.ids() {
		o.Sources = append(o.Sources, s.sourceOverview(id, next))
	}
	for i := range s.runs[:min(pageRuns, len(s.runs))] {
		o.Runs = append(o.Runs, runOverview(&s.runs[i]))
	}
	o.Verdict = s.verdict(&o)
	return o, nil
}

// matters lists what waits for a person, in doubt first.
func (s *standingOf) matters(ctx context.Context, l *ledger.Ledger) (list []web.Matter, more bool, err error) {
	for _, state := range []timesheet.State{timesheet.StateInDoubt, timesheet.StateHeld, timesheet.StateRejected} {
		err := l.Entries(ctx, ledger.Filter{States: []timesheet.State{state}}, func(w *timesheet.Waiting) error {
			if len(list) == pageWaiting {
				more = true
				return errEnough
			}
			list = append(list, matterOf(sourceName(s.cfg, w.Source), w))
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return nil, false, err
		}
	}
	return list, more, nil
}

func (s *standingOf) sourceOverview(id string, next nextRun) web.Source {
	src := s.source(id)
	page := web.Source{Name: sourceName(s.cfg, id), Gone: src == nil, LastTone: web.Calm, LastEnd: "no run yet"}
	zone := time.Local
	if src != nil {
		zone = zoneOf(src)
		if src.Schedule != "" {
			page.Schedule = src.Schedule + ", " + src.Timezone
		}
		if next != nil {
			page.NextRun, page.Running = next(src.Name)
			if !page.NextRun.IsZero() {
				page.NextRun = page.NextRun.In(zone)
			}
		}
	}
	if r := s.last(id); r != nil {
		page.LastRun, page.Problem = r.Started.In(zone), totalsOf(r).Problem
		page.LastTone, page.LastEnd = endOf(r)
	}
	for _, c := range s.counts {
		if c.Source == id {
			// Here a sent entry is sent; in a plan it is one that was known.
			words := strings.ReplaceAll(standing(c.State, c.Reason), "_", " ")
			page.States = append(page.States, web.Standing{State: c.State, Reason: c.Reason, Label: words, Rows: c.Entries, Seconds: c.Seconds})
		}
	}
	return page
}

func runOverview(r *ledger.Run) web.Run {
	sum := totalsOf(r)
	page := web.Run{
		ID: r.ID, Started: r.Started.In(time.Local), Sources: strings.ReplaceAll(sum.Sources, ",", ", "), Problem: sum.Problem,
		Sent: web.Standing{Rows: sum.Sent.Rows, Seconds: sum.Sent.Seconds}, Refused: sum.Refused.Rows, InDoubt: sum.InDoubt.Rows,
	}
	if !r.Ended.IsZero() {
		page.Ended = r.Ended.In(time.Local)
	}
	page.Tone, page.End = endOf(r)
	return page
}

// endOf is how a run ended, in words.
func endOf(r *ledger.Run) (web.Tone, string) {
	if r.Ended.IsZero() {
		return web.Calm, "goes on, or died"
	}
	if totalsOf(r).Stop == string(uploader.StopDrained) {
		return web.Calm, "was asked to end"
	}
	words := map[int]string{
		exitOK: "went well", exitPerson: "left something for a person", exitRefused: "credentials or permissions were refused",
		exitUnreachable: "API or authorization server unreachable or busy", exitConfig: "configuration or ledger does not fit",
		exitSource: "a source could not be read", exitDifferent: "other hours than expected",
	}[r.Exit]
	if words == "" {
		words = "unexpected fault"
	}
	switch r.Exit {
	case exitOK:
		return web.Good, words
	case exitPerson:
		return web.Attention, fmt.Sprintf("%s (exit %d)", words, r.Exit)
	}
	return web.Bad, fmt.Sprintf("%s (exit %d)", words, r.Exit)
}

func (s *standingOf) tokenFact() web.Fact {
	switch {
	case s.noToken != "":
		return web.Fact{Text: "none (" + s.noToken + ")"}
	case !s.hasIt:
		return web.Fact{Text: "none is kept; the next run that sends obtains one"}
	case s.token.ExpiresAt.Before(s.now):
		return web.Fact{Text: "expired " + age(s.now.Sub(s.token.ExpiresAt)) + " ago; the next run that sends obtains one"}
	}
	return web.Fact{Tone: web.Good, Text: "expires " + moment(s.token.ExpiresAt, time.Local) + ", in " + age(s.token.ExpiresAt.Sub(s.now))}
}

// quotaFact is what the authorization server said is left of tokens.
func (s *standingOf) quotaFact() web.Fact {
	text, low := quota(&s.token, s.now)
	f := web.Fact{Text: text}
	if low {
		f.Tone = web.Attention
	}
	return f
}

// verdict is the page's line on top: the worst that there is.
func (s *standingOf) verdict(o *web.Overview) web.Verdict {
	waiting, unsent := 0, 0
	for _, c := range s.counts {
		switch {
		case waits(c.State):
			waiting += c.Entries
		case c.State == timesheet.StateNew || c.State == timesheet.StateSending:
			unsent += c.Entries
		}
	}
	var failed []string
	ran := false
	for i := range o.Sources {
		src := &o.Sources[i]
		ran = ran || !src.LastRun.IsZero()
		if src.LastTone == web.Bad && !src.Gone {
			failed = append(failed, src.Name)
		}
	}
	switch {
	case len(failed) == 1:
		return web.Verdict{Tone: web.Bad, Line: "The last run of " + failed[0] + " failed", Detail: "Below stands how; nothing is lost, and running again is safe."}
	case len(failed) > 1:
		return web.Verdict{Tone: web.Bad, Line: "The last runs of " + count(len(failed), "source") + " failed: " + strings.Join(failed, ", "), Detail: "Below stands how; nothing is lost, and running again is safe."}
	case waiting > 0:
		return web.Verdict{Tone: web.Attention, Line: waitFor(waiting, false), Detail: "Below stands where each is, why, and what to do."}
	case !ran:
		return web.Verdict{Tone: web.Calm, Line: "There has been no run yet"}
	case unsent > 0:
		return web.Verdict{Tone: web.Calm, Line: count(unsent, "entry") + " still to be sent, with the next run"}
	}
	return web.Verdict{Tone: web.Good, Line: "Everything that was read is sent"}
}
