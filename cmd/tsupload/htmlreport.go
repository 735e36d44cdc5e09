package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/replace"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/internal/web"
	"github.com/exampleco/tsupload/uploader"
)

// checkReportFile finds out before the run whether its report can be written.
func checkReportFile(file string) error {
	if file == "" {
		return nil
	}
	dir := filepath.Dir(file)
	switch info, err := os.Stat(dir); {
	case err != nil:
		return usage("make the directory first", "--report %s: there is no directory %s", file, dir)
	case !info.IsDir():
		return usage("name a file in a directory", "--report %s: %s is not a directory", file, dir)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil //nolint:nilerr // it is not there, or its writing will say
	}
	if !info.Mode().IsRegular() {
		return usage("name a file", "--report %s: it is there and is not a plain file", file)
	}
	// An export in its place would be gone for good.
	if head, err := headOf(file); err != nil || head != "" && head != web.ReportHead {
		return usage("name another file", "--report %s: it is there and is not a report", file)
	}
	return nil
}

// headOf is how a file begins, as far as a report begins the same.
func headOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, len(web.ReportHead))
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(head[:n]), err
}

// writeReport writes the page about a run, also about one that failed, and
// says where it is.
func (p *pass) writeReport(began time.Time, r *uploader.Report, waiting []*timesheet.Waiting, failed error) error {
	var b bytes.Buffer
	err := web.WriteReport(&b, p.pageOf(began, r, waiting, failed))
	if err == nil {
		err = replace.File(p.opts.report, b.Bytes(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the report to %s: %w", p.opts.report, err)
	}
	if p.json() {
		return p.emit("report", map[string]any{"file": p.opts.report})
	}
	if !p.quiet {
		fmt.Fprintf(p.stdout, "report: %s\n", clean(p.opts.report))
	}
	return nil
}

// pageOf makes of a run's report what the page shows.
func (p *pass) pageOf(began time.Time, r *uploader.Report, waiting []*timesheet.Waiting, failed error) web.Report {
	page := web.Report{Kind: "Run", RunID: p.runID, Started: began, Ended: time.Now(), Version: version, MoreWaiting: len(waiting) == maxWaiting}
	switch {
	case p.opts.dryRun:
		page.Kind, page.RunID = "Dry run", ""
	case p.opts.sandbox:
		page.Kind = "Rehearsal against a sandbox"
	}
	var explained *exitError
	if failed != nil && !errors.As(failed, &explained) {
		page.Error, page.Hint = failed.Error(), hintOf(failed)
	}
	if r == nil {
		page.Verdict = web.Verdict{Tone: web.Bad, Line: "The run failed before anything was sent", Detail: page.Hint}
		return page
	}
	page.Level, page.Promise, page.Hours = r.Level.String(), r.Promise, &timesheet.Hours{}
	if page.Error == "" && r.Stop != nil {
		page.Error, page.Hint = r.Stop.Error(), r.Stop.Hint()
	}
	for _, s := range r.Sources {
		page.Sources = append(page.Sources, sourcePage(s))
		if s.Hours != nil {
			page.Hours.Merge(s.Hours)
		}
	}
	for _, w := range waiting {
		page.Waiting = append(page.Waiting, matterOf(sourceName(p.cfg, w.Source), w))
	}
	if !p.bare {
		page.Next = nextStep(r, waiting)
	}
	page.Numbers = numbersOf(r)
	page.Verdict = verdictOf(r, len(waiting), page.MoreWaiting, page.Error != "" && r.Stop == nil)
	return page
}

func sourcePage(s *uploader.SourceReport) web.SourceReport {
	page := web.SourceReport{Name: s.Name, Notes: slices.Clone(s.Notes), Rows: s.Rows, Seconds: s.Seconds}
	for _, f := range s.Files {
		page.Files = append(page.Files, web.File{Name: f.Name, Rows: f.Rows, Decisions: f.Decisions})
	}
	if s.Err != nil {
		page.Error, page.Hint = s.Err.Error(), hintOf(s.Err)
		return page
	}
	for _, o := range outcomeOrder(s) {
		t := s.Outcomes[o]
		if t.Rows == 0 {
			continue
		}
		words := label(o)
		if o.State == timesheet.StateNew && o.Reason == timesheet.ReasonChanged {
			words = "changed, to be replaced"
		}
		page.Outcomes = append(page.Outcomes, web.Standing{State: o.State, Reason: o.Reason, Label: words, Rows: t.Rows, Seconds: t.Seconds})
	}
	if s.Outside.Rows > 0 {
		page.Outcomes = append(page.Outcomes, web.Standing{State: timesheet.StateSkipped, Label: "outside of --since/--until", Rows: s.Outside.Rows, Seconds: s.Outside.Seconds})
	}
	if s.Split > 0 {
		page.Notes = append(page.Notes, fmt.Sprintf("rows over midnight are split: there %s %s more than rows", are(s.Split), count(s.Split, "entry")))
	}
	if s.Rounding != "" {
		fresh := uploader.Tally{}
		for o, t := range s.Outcomes {
			if o.State == timesheet.StateNew {
				fresh.Seconds, fresh.Rounding = fresh.Seconds+t.Seconds, fresh.Rounding+t.Rounding
			}
		}
		page.Notes = append(page.Notes, fmt.Sprintf("days are rounded to %s: what is new of them, %s hours, comes to %s", s.Rounding, fresh.Seconds.Clock(), fresh.Rounded().Clock()))
	}
	page.Notes = append(page.Notes, sourceNotes(s)...)
	return page
}

// matterOf is what a page tells of an entry or row that waits: no notes.
func matterOf(source string, w *timesheet.Waiting) web.Matter {
	m := web.Matter{
		Ref: w.Ref, Source: source, Origin: w.Origin.String(), State: w.State, Label: label(uploader.Outcome{State: w.State, Reason: w.Reason}),
		Detail: w.Detail, Hint: w.Hint, Person: w.Person, Day: w.Day.String(), Project: w.Project, Seconds: w.Seconds,
	}
	if w.Row && w.Day == 0 {
		m.Day = "" // no date could be read
	}
	return m
}

// numbersOf are the totals of a run.
func numbersOf(r *uploader.Report) []web.Number {
	read := web.Number{Label: "read", Unit: "row"}
	for _, s := range r.Sources {
		read.Count, read.Seconds = read.Count+s.Rows, read.Seconds+s.Seconds
	}
	list := []web.Number{read}
	add := func(words string, t uploader.Tally, always bool) {
		if t.Rows != 0 || always {
			list = append(list, web.Number{Label: words, Seconds: t.Seconds, Count: t.Rows, Unit: "entry"})
		}
	}
	if r.DryRun {
		add("would be sent", r.Total(timesheet.StateNew), true)
	} else {
		add("sent", r.Sent, true)
		add("refused by the API", r.Refused, false)
		add("in doubt", r.InDoubt, false)
	}
	add("known, not sent again", r.Total(timesheet.StateSent), false)
	add("held", r.Total(timesheet.StateHeld), false)
	for _, n := range []struct {
		words string
		state timesheet.State
	}{{"rejected", timesheet.StateRejected}, {"skipped", timesheet.StateSkipped}} {
		if t := r.Total(n.state); t.Rows > 0 {
			list = append(list, web.Number{Label: n.words, Seconds: t.Seconds, Count: t.Rows, Unit: "row"})
		}
	}
	return list
}

// verdictOf is the line on top: what happened, and how bad it is.
func verdictOf(r *uploader.Report, waiting int, more, broken bool) web.Verdict {
	did, n := "Sent", r.Sent
	if r.DryRun {
		did, n = "Would send", r.Total(timesheet.StateNew)
	}
	what := fmt.Sprintf("%s %s, %s hours", did, count(n.Rows, "entry"), n.Seconds.Clock()) + roundedTo(n)
	var unread []string
	for _, s := range r.Sources {
		if s.Err != nil {
			unread = append(unread, s.Name)
		}
	}
	switch {
	case broken:
		return web.Verdict{Tone: web.Bad, Line: "The run failed. " + what + " before that", Detail: "What was sent is recorded; running again is safe."}
	case r.Expected != nil && *r.Expected != *r.Found:
		return web.Verdict{Tone: web.Bad, Line: fmt.Sprintf("Expected %s hours, read %s: nothing was sent", r.Expected.Hours(), r.Found.Hours())}
	case len(unread) == 1:
		return web.Verdict{Tone: web.Bad, Line: "Source " + unread[0] + " was not read, or nothing of it may be sent. " + what, Detail: "Below, under what was read, stands why and what to do."}
	case len(unread) > 1:
		return web.Verdict{Tone: web.Bad, Line: count(len(unread), "source") + " were not read, or nothing of them may be sent. " + what, Detail: "Below, under what was read, stands why and what to do."}
	case r.Stop != nil && r.Stop.Kind == uploader.StopDrained:
		return web.Verdict{Tone: web.Attention, Line: "The run was asked to end. " + what, Detail: "What is left goes out with the next run."}
	case r.Stop != nil:
		return web.Verdict{Tone: web.Bad, Line: "The run stopped. " + what + " before that", Detail: "What was not sent goes out with a later run, once the cause is mended."}
	case waiting > 0:
		return web.Verdict{Tone: web.Attention, Line: what + "; " + waitFor(waiting, more), Detail: "Below stands where each is, why, and what to do."}
	case n.Rows == 0:
		line := "Nothing new: everything that was read is sent already"
		if r.Total(timesheet.StateSent).Rows == 0 {
			line = "Nothing to send: no entries were read"
		}
		return web.Verdict{Tone: web.Calm, Line: line}
	case r.DryRun:
		return web.Verdict{Tone: web.Good, Line: what, Detail: "No row is refused. This was a dry run: nothing was sent, nothing was written."}
	}
	return web.Verdict{Tone: web.Good, Line: what, Detail: "Nothing waits for a person."}
}

func waitFor(n int, more bool) string {
	switch {
	case more:
		return fmt.Sprintf("at least %d rows or entries wait for a person", n)
	case n == 1:
		return "1 row or entry waits for a person"
	}
	return fmt.Sprintf("%d rows or entries wait for a person", n)
}
