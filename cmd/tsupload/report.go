package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/uploader"
)

// report writes what a run did to standard output.
func (a *app) report(r *uploader.Report, waiting []*timesheet.Waiting) error {
	if a.output == "json" {
		return reportJSON(a.stdout, r, waiting)
	}
	text := &strings.Builder{}
	reportText(text, r, waiting, a.quiet, a.bare)
	_, err := io.WriteString(a.stdout, a.highlight(text.String()))
	return err
}

// highlight colours the heads of a report's parts and what needs attention.
func (a *app) highlight(text string) string {
	b := &strings.Builder{}
	for line := range strings.Lines(text) {
		body := strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(body, "source "):
			body = a.paint(a.stdout, bold, body)
		case body == "waits for a person":
			body = a.paint(a.stdout, yellow, body)
		case strings.HasPrefix(body, "stopped: "), strings.HasPrefix(body, "  error: "), strings.HasPrefix(body, "expected "):
			body = a.paint(a.stdout, red, body)
		}
		b.WriteString(body)
		b.WriteString(line[len(strings.TrimSuffix(line, "\n")):])
	}
	return b.String()
}

// outcomeOrder is the order in which a report tells what became of rows.
func outcomeOrder(s *uploader.SourceReport) []uploader.Outcome {
	rank := map[timesheet.State]int{
		timesheet.StateNew: 0, timesheet.StateSent: 1, timesheet.StateSending: 2, timesheet.StateInDoubt: 3,
		timesheet.StateHeld: 4, timesheet.StateRejected: 5, timesheet.StateSkipped: 6,
	}
	return slices.SortedFunc(maps.Keys(s.Outcomes), func(a, b uploader.Outcome) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), cmp.Compare(a.Reason, b.Reason))
	})
}

// label is an outcome in words. A sent entry in the plan is one that was known.
func label(o uploader.Outcome) string {
	name := strings.ReplaceAll(string(o.State), "_", " ")
	if o.State == timesheet.StateSent {
		name = "known"
	}
	if o.Reason != "" {
		name += " (" + strings.ReplaceAll(string(o.Reason), "_", " ") + ")"
	}
	return name
}

func reportText(b *strings.Builder, r *uploader.Report, waiting []*timesheet.Waiting, quiet, bare bool) {
	if !quiet {
		head := "run " + r.RunID
		if r.DryRun {
			head = "dry run: nothing was sent, nothing was written"
		}
		fmt.Fprintf(b, "%s\nlevel %s: %s\n", head, r.Level, r.Promise)
		if r.Recovered > 0 {
			fmt.Fprintf(b, "an earlier run ended while sending; what it left in doubt: %s\n", count(r.Recovered, "entry"))
		}
	}
	for _, s := range r.Sources {
		if quiet && s.Err == nil {
			continue
		}
		sourceText(b, r, s)
	}
	waitingText(b, waiting)
	endText(b, r, waiting, quiet, bare)
}

func sourceText(b *strings.Builder, r *uploader.Report, s *uploader.SourceReport) {
	fmt.Fprintf(b, "\nsource %s\n", s.Name)
	for _, f := range s.Files {
		fmt.Fprintf(b, "  %s: %s\n", f.Name, count(f.Rows, "row"))
		for _, d := range f.Decisions {
			fmt.Fprintf(b, "    %s: %s (%s)\n", d.What, d.Value, d.Evidence)
		}
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
	if s.Err != nil {
		fmt.Fprintf(b, "  error: %s\n", s.Err)
		var h interface{ Hint() string }
		if errors.As(s.Err, &h) && h.Hint() != "" {
			fmt.Fprintf(b, "  hint: %s\n", h.Hint())
		}
		return
	}
	if s.Unchanged {
		fmt.Fprintf(b, "  unchanged since everything in it was settled; not read again\n")
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	rounded := func(cell string) string { // of the column that only rounding has
		if s.Rounding == "" {
			return ""
		}
		return cell + "\t"
	}
	fmt.Fprintf(t, "  \trows\thours\t%s\n  read\t%d\t%s\t%s\n", rounded("rounded"), s.Rows, s.Seconds.Clock(), rounded(""))
	if s.Split > 0 {
		fmt.Fprintf(t, "  split at midnight\t+%d\t\t%s\n", s.Split, rounded(""))
	}
	for _, o := range outcomeOrder(s) {
		tally := s.Outcomes[o]
		if tally.Rows == 0 {
			continue
		}
		name := label(o)
		switch {
		case o.State == timesheet.StateNew && o.Reason == timesheet.ReasonChanged:
			name = "changed, to be replaced"
		case o.State == timesheet.StateNew && r.DryRun:
			name = "new, to be sent"
		}
		sent := ""
		if o.State == timesheet.StateNew {
			sent = tally.Rounded().Clock()
		}
		fmt.Fprintf(t, "  %s\t%d\t%s\t%s\n", name, tally.Rows, tally.Seconds.Clock(), rounded(sent))
	}
	if s.Outside.Rows > 0 {
		fmt.Fprintf(t, "  outside of --since/--until\t%d\t%s\t%s\n", s.Outside.Rows, s.Outside.Seconds.Clock(), rounded(""))
	}
	_ = t.Flush()
	weeksText(b, s)
	for _, note := range sourceNotes(s) {
		fmt.Fprintf(b, "  note: %s\n", note)
	}
}

// sourceNotes is what a run noticed beside the outcomes.
func sourceNotes(s *uploader.SourceReport) (notes []string) {
	for _, n := range []struct {
		n         int
		one, more string
	}{
		{s.Overlaps, "entry overlaps another of the same person", "entries overlap others of the same person"},
		{s.Mended, "rejected row is gone from the file and was closed", "rejected rows are gone from the file and were closed"},
		{
			s.Withdrawn, "planned entry was withdrawn before it was sent: its row is gone from the source, or refused now",
			"planned entries were withdrawn before they were sent: their rows are gone from the source, or refused now",
		},
		{
			s.Missing, "sent entry is gone from the source; what was sent stays, mend it in Timesheets if need be",
			"sent entries are gone from the source; what was sent stays, mend it in Timesheets if need be",
		},
		{
			s.Strangers, "sent entry is not gone, but its row is refused now: unknown person; what was sent stays",
			"sent entries are not gone, but their rows are refused now: unknown person; what was sent stays",
		},
	} {
		switch n.n {
		case 0:
		case 1:
			notes = append(notes, "1 "+n.one)
		default:
			notes = append(notes, fmt.Sprintf("%d %s", n.n, n.more))
		}
	}
	return notes
}

// weeksText lists hours by person and week.
func weeksText(b *strings.Builder, s *uploader.SourceReport) {
	if len(s.Weeks) == 0 {
		return
	}
	weeks := slices.SortedFunc(maps.Keys(s.Weeks), func(x, y uploader.Week) int {
		return cmp.Or(cmp.Compare(x.Person, y.Person), cmp.Compare(x.Monday, y.Monday))
	})
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	head := "new"
	if s.Rounding != "" {
		head = "new\trounded"
	}
	fmt.Fprintf(t, "\n  person\tweek\t%s\tknown\tother\n", head)
	for _, w := range weeks {
		var fresh, rounded, known, other timesheet.Seconds
		for state, tally := range s.Weeks[w] {
			switch state {
			case timesheet.StateNew:
				fresh, rounded = fresh+tally.Seconds, rounded+tally.Rounded()
			case timesheet.StateSent:
				known += tally.Seconds
			default:
				other += tally.Seconds
			}
		}
		if fresh+known+other == 0 {
			continue
		}
		person := clean(w.Person)
		switch {
		case w.All:
			person = "(all)"
		case person == "":
			person = "(nobody)"
		}
		year, week := w.Monday.Time().ISOWeek()
		cells := blank(fresh)
		if s.Rounding != "" {
			cells += "\t" + blank(rounded)
		}
		fmt.Fprintf(t, "  %s\t%d-W%02d\t%s\t%s\t%s\n", person, year, week, cells, blank(known), blank(other))
	}
	_ = t.Flush()
}

func blank(s timesheet.Seconds) string {
	if s == 0 {
		return "-"
	}
	return s.Clock()
}

func waitingText(b *strings.Builder, waiting []*timesheet.Waiting) {
	if len(waiting) == 0 {
		return
	}
	fmt.Fprintf(b, "\nwaits for a person\n")
	for _, w := range waiting {
		fmt.Fprintf(b, "  %s: %s", w.Origin, label(uploader.Outcome{State: w.State, Reason: w.Reason}))
		if w.Detail != "" {
			fmt.Fprintf(b, ": %s", w.Detail)
		}
		fmt.Fprintf(b, " [%s]\n", w.Ref)
		if w.Hint != "" {
			fmt.Fprintf(b, "    hint: %s\n", w.Hint)
		}
	}
	if len(waiting) == maxWaiting {
		fmt.Fprintf(b, "  and perhaps more: `tsupload entries --state rejected --state held --state in_doubt`\n")
	}
}

func endText(b *strings.Builder, r *uploader.Report, waiting []*timesheet.Waiting, quiet, bare bool) {
	if r.Expected != nil && *r.Expected != *r.Found {
		fmt.Fprintf(b, "\nexpected %s hours, read %s: nothing was sent\n", r.Expected.Hours(), r.Found.Hours())
		return
	}
	if !quiet {
		fmt.Fprintln(b)
		switch {
		case r.DryRun:
			fresh := r.Total(timesheet.StateNew)
			fmt.Fprintf(b, "would send %s, %s hours%s\n", count(fresh.Rows, "entry"), fresh.Seconds.Clock(), roundedTo(fresh))
		default:
			fmt.Fprintf(b, "sent %s, %s hours%s, in %s, %s\n", count(r.Sent.Rows, "entry"), r.Sent.Seconds.Clock(), roundedTo(r.Sent), count(r.Requests, "request"), r.Ended.Sub(r.Started).Round(time.Millisecond))
			if r.Refused.Rows > 0 {
				fmt.Fprintf(b, "refused by the API: %s, %s hours\n", count(r.Refused.Rows, "entry"), r.Refused.Seconds.Clock())
			}
			if r.InDoubt.Rows > 0 {
				fmt.Fprintf(b, "in doubt: %s, %s hours\n", count(r.InDoubt.Rows, "entry"), r.InDoubt.Seconds.Clock())
			}
		}
	}
	if r.Stop != nil {
		fmt.Fprintf(b, "stopped: %s\n", r.Stop)
		if hint := r.Stop.Hint(); hint != "" {
			fmt.Fprintf(b, "hint: %s\n", hint)
		}
	}
	if next := nextStep(r, waiting); next != "" && !quiet && !bare {
		fmt.Fprintf(b, "next: %s\n", next)
	}
}

// roundedTo says what rounding made of the hours that are sent, where it did.
func roundedTo(t uploader.Tally) string {
	if t.Rounding == 0 {
		return ""
	}
	return " (" + t.Rounded().Clock() + " rounded)"
}

// nextStep is what to run next.
func nextStep(r *uploader.Report, waiting []*timesheet.Waiting) string {
	has := func(state timesheet.State) bool {
		return slices.ContainsFunc(waiting, func(w *timesheet.Waiting) bool { return w.State == state })
	}
	row := slices.ContainsFunc(waiting, func(w *timesheet.Waiting) bool { return w.State == timesheet.StateRejected && w.Row })
	switch {
	case r.DryRun && r.Total(timesheet.StateNew).Rows > 0:
		return "tsupload run --once"
	case r.DryRun:
		return ""
	case r.Stop != nil && r.Stop.Kind == uploader.StopUnreachable:
		return "tsupload run --once, when the API is back"
	case has(timesheet.StateInDoubt) && r.Level == 0: // which cannot be asked
		return "look at the API, then tsupload resolve --sent REF or --not-sent REF"
	case has(timesheet.StateInDoubt):
		return "tsupload resolve --ask REF, or look at the API and say --sent or --not-sent"
	case row:
		return "tsupload rejects export, mend the rows, tsupload rejects retry FILE"
	case has(timesheet.StateRejected), has(timesheet.StateHeld):
		return "tsupload resolve --send REF or --skip REF"
	}
	return ""
}

// reportJSON writes one object a line; durations are whole seconds.
func reportJSON(w io.Writer, r *uploader.Report, waiting []*timesheet.Waiting) error {
	enc := json.NewEncoder(w)
	for _, s := range r.Sources {
		outcomes := []map[string]any{}
		for _, o := range outcomeOrder(s) {
			if t := s.Outcomes[o]; t.Rows > 0 {
				outcomes = append(outcomes, tallyJSON(s, t, map[string]any{"state": plannedState(o.State), "reason": o.Reason}))
			}
		}
		files := []map[string]any{}
		for _, f := range s.Files {
			files = append(files, map[string]any{"name": f.Name, "rows": f.Rows, "size": f.Size, "decisions": decisionsJSON(f.Decisions)})
		}
		line := map[string]any{
			"type": "source", "schema": 1, "dry_run": r.DryRun, "name": s.Name, "rows": s.Rows, "seconds": s.Seconds, "unchanged": s.Unchanged,
			"outside": s.Outside, "outcomes": outcomes, "files": files, "notes": s.Notes, "weeks": weeksJSON(s),
			"overlaps": s.Overlaps, "mended": s.Mended, "withdrawn": s.Withdrawn, "missing": s.Missing, "sent_refused": s.Strangers, "rounding": s.Rounding, "split": s.Split,
		}
		if s.Err != nil {
			line["error"], line["hint"] = s.Err.Error(), hintOf(s.Err)
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	for _, x := range waiting {
		if err := enc.Encode(map[string]any{
			"type": "waiting", "schema": 1, "ref": x.Ref, "state": x.State, "reason": x.Reason, "detail": x.Detail, "hint": x.Hint, "source": x.Source,
			"file": x.Origin.File, "line": x.Origin.Line, "seconds": x.Seconds,
		}); err != nil {
			return err
		}
	}
	line := map[string]any{
		"type": "run", "schema": 1, "dry_run": r.DryRun, "run_id": r.RunID, "started": r.Started.UTC().Format(time.RFC3339), "ended": r.Ended.UTC().Format(time.RFC3339),
		"level": r.Level.String(), "promise": r.Promise, "new": r.Total(timesheet.StateNew), "sent": r.Sent, "refused": r.Refused, "in_doubt": r.InDoubt,
		"requests": r.Requests, "waiting": len(waiting),
	}
	if r.Stop != nil {
		line["stop"], line["stop_message"], line["hint"] = r.Stop.Kind, r.Stop.Error(), r.Stop.Hint()
	}
	if r.Expected != nil {
		line["expected_seconds"], line["found_seconds"] = *r.Expected, *r.Found
	}
	return enc.Encode(line)
}

// tallyJSON adds to line how many rows there are, how long they are, and, where
// days are rounded, what that adds to what is sent of them.
func tallyJSON(s *uploader.SourceReport, t *uploader.Tally, line map[string]any) map[string]any {
	line["rows"], line["seconds"] = t.Rows, t.Seconds
	if s.Rounding != "" {
		line["rounding"] = t.Rounding
	}
	return line
}

// plannedState is the state as the plan sees it: sent before is known.
func plannedState(s timesheet.State) string {
	if s == timesheet.StateSent {
		return "known"
	}
	return string(s)
}

func decisionsJSON(decisions []timesheet.Decision) []map[string]string {
	list := []map[string]string{}
	for _, d := range decisions {
		list = append(list, map[string]string{"what": d.What, "value": d.Value, "evidence": d.Evidence})
	}
	return list
}

func weeksJSON(s *uploader.SourceReport) []map[string]any {
	list := []map[string]any{}
	weeks := slices.SortedFunc(maps.Keys(s.Weeks), func(x, y uploader.Week) int {
		return cmp.Or(cmp.Compare(x.Person, y.Person), cmp.Compare(x.Monday, y.Monday))
	})
	for _, w := range weeks {
		for _, state := range slices.Sorted(maps.Keys(s.Weeks[w])) {
			if t := s.Weeks[w][state]; t.Rows > 0 {
				list = append(list, tallyJSON(s, t, map[string]any{"person": w.Person, "monday": w.Monday.String(), "state": plannedState(state)}))
			}
		}
	}
	return list
}
