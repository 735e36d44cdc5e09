package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

func newWhyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why REF|FILE:LINE",
		Short: "Tell one entry's whole history",
		Long: `Tell where an entry was read, what its key is, what happened to it, when, and what
the API answered.

REF is the reference that reports and "tsupload entries" show, or its head.
FILE:LINE is where the entry was read, as in a report; the end of the file's path
is enough.`,
		Example: `  tsupload why 2026-11-16/4k2m9x07qd
  tsupload why week47.csv:12
  tsupload why 2026-11-16/4k2m -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runWhy(cmd.Context(), a, args[0]) },
	}
}

func runWhy(ctx context.Context, a *app, name string) error {
	cfg, l, err := a.readLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	found, err := lookUp(ctx, l, name)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return usage("`tsupload entries` lists what there is", "the ledger knows nothing by the name of %s", name)
	}
	for i, w := range found {
		if i > 0 && !a.json() {
			fmt.Fprintln(a.stdout)
		}
		if err := explainEntry(ctx, a, cfg, l, w); err != nil {
			return err
		}
	}
	return nil
}

// lookUp finds entries by their reference, or by where they were read.
func lookUp(ctx context.Context, l *ledger.Ledger, name string) ([]*timesheet.Waiting, error) {
	found, err := l.Find(ctx, name)
	if !errors.Is(err, timesheet.ErrBadRef) {
		return found, err
	}
	colon := strings.LastIndexByte(name, ':')
	line, bad := strconv.Atoi(name[colon+1:])
	if colon <= 0 || bad != nil {
		return nil, usage("`tsupload entries` shows references; or name a place like week47.csv:12", "%s", err)
	}
	file := name[:colon]
	err = l.Entries(ctx, ledger.Filter{}, func(w *timesheet.Waiting) error {
		if w.Origin.Column > 0 && strings.HasSuffix("/"+w.Origin.String(), "/"+name) || w.Origin.Line == line && (w.Origin.File == file || strings.HasSuffix(w.Origin.File, "/"+file)) {
			c := *w
			found = append(found, &c)
		}
		return nil
	})
	return found, err
}

func explainEntry(ctx context.Context, a *app, cfg *config.Config, l *ledger.Ledger, w *timesheet.Waiting) error {
	attempts := 0
	var parts []*timesheet.Waiting
	events := []ledger.Event{{At: w.At, What: string(w.State), Detail: w.Detail}}
	if !w.Row {
		var err error
		if events, err = l.History(ctx, w); err != nil {
			return err
		}
		attempts = attemptsOf(w.State, events)
		if parts, err = l.Parts(ctx, w); err != nil {
			return err
		}
	}
	if a.json() {
		line := waitingJSON(cfg, w)
		history := []map[string]any{}
		for _, e := range events {
			history = append(history, map[string]any{"at": stamp(e.At), "what": e.What, "detail": e.Detail})
		}
		others := []string{}
		for _, o := range parts {
			others = append(others, o.Ref)
		}
		line["parts"] = others
		line["key"], line["attempts"], line["history"] = hex.EncodeToString(w.Key[:]), attempts, history
		return a.emit("why", line)
	}
	zone := zoneOf(&config.Source{})
	for i := range cfg.Sources {
		if cfg.Sources[i].ID == w.Source {
			zone = zoneOf(&cfg.Sources[i])
		}
	}
	t := newTable(a.stdout)
	hint := ""
	if waits(w.State) {
		hint = w.Hint
	}
	for _, f := range [][2]string{
		{"entry", w.Ref},
		{"key", hex.EncodeToString(w.Key[:])},
		{"state", stateOf(w) + ", since " + moment(w.At, zone)},
		{"why", w.Detail},
		{"what to do", hint},
		{"source", sourceName(cfg, w.Source)},
		{"read from", w.Origin.String()},
		{"day", dayOf(w)},
		{"person", w.Person},
		{"project", w.Project},
		{"hours", hoursOf(w)},
		{"tracker's id", w.ID},
		{"API's id", w.Remote},
		{"attempts", numberOf(attempts)},
	} {
		if f[1] != "" {
			t.row(f[0], f[1])
		}
	}
	for _, o := range parts {
		t.row("split at midnight", fmt.Sprintf("another part is %s, %s hours on %s, %s", o.Ref, hoursOf(o), dayOf(o), stateOf(o)))
	}
	if w.Row {
		t.row("", "a row that never became an entry")
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "history")
	t = newTable(a.stdout)
	for _, e := range events {
		t.row("  "+moment(e.At, zone), e.What, inWords(e.Detail))
	}
	return t.flush()
}

// attemptsOf is how often an entry was on the wire. What was not simply
// accepted has its attempts in the history; what was accepted, or has no answer
// yet, adds one.
func attemptsOf(state timesheet.State, events []ledger.Event) int {
	attempts, accepted := 0, 0
	for _, e := range events {
		var request struct{ Attempts int }
		if strings.HasPrefix(e.Detail, "{") && json.Unmarshal([]byte(e.Detail), &request) == nil {
			attempts += request.Attempts
		}
		if e.What == string(timesheet.StateSent) {
			accepted++
		}
	}
	switch state {
	case timesheet.StateSending:
		attempts++
	case timesheet.StateSent:
		if accepted == 1 { // a doubt that was settled says so once more
			attempts++
		}
		attempts = max(attempts, 1)
	case timesheet.StateInDoubt:
		attempts = max(attempts, 1)
	default:
	}
	return attempts
}

// numberOf is empty for none.
func numberOf(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// inWords is the detail of an event for people: that of a request is kept as
// JSON.
func inWords(detail string) string {
	var sent struct {
		Status   int
		Attempts int
		Detail   string
	}
	if !strings.HasPrefix(detail, "{") || json.Unmarshal([]byte(detail), &sent) != nil {
		return detail
	}
	var parts []string
	if sent.Status != 0 {
		parts = append(parts, "status "+strconv.Itoa(sent.Status))
	}
	if sent.Attempts > 0 {
		parts = append(parts, count(sent.Attempts, "attempt"))
	}
	if sent.Detail != "" {
		parts = append(parts, sent.Detail)
	}
	if len(parts) == 0 {
		return detail
	}
	return strings.Join(parts, ", ")
}
