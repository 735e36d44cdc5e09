package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/replace"
	"github.com/exampleco/tsupload/internal/timesheet"
)

func newRejectsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rejects",
		Short: "Export rejected rows, and feed mended ones back",
		Long: `Rows that could not be read as entries are kept as they were. Export them, mend
them in a spreadsheet or an editor, and feed them back.`,
		Example: `  tsupload rejects export -O mend.csv
  tsupload rejects retry mend.csv`,
		RunE: group,
	}
	var source, file string
	export := &cobra.Command{
		Use:   "export",
		Short: "Write rejected rows in the source's own columns",
		Long: `Write the open rejected rows of one source as CSV, with the delimiter and in the
encoding of the file that they are from: the source's own columns, then _row,
_reason and _hint. A column _read says how dates and numbers of that file are
written, where the file decided it. Mend the values, leave _row and _read as they
are, and feed the file back with "tsupload rejects retry". Rows may be deleted
from it.

A value that a spreadsheet could take for a formula gets an apostrophe in front;
retry takes it away again. Where a source's columns or their form have changed,
the newest rows are written; the others come once these are closed.

Entries that the API refused are not rows of this kind: mend them in the tracker,
or see "tsupload resolve".`,
		Example: `  tsupload rejects export -O mend.csv
  tsupload rejects export --source acme`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRejectsExport(cmd.Context(), a, source, file) },
	}
	export.Flags().StringVar(&source, "source", "", "rows of the source `NAME`; needed where several have some")
	export.Flags().StringVarP(&file, "out", "O", "", "write to `FILE`, readable by you alone (default: standard output)")
	cmd.AddCommand(export, &cobra.Command{
		Use:   "retry FILE",
		Short: "Upload mended rows",
		Long: `Read a mended export and upload its rows as "tsupload run --once" would, as entries
of the source they came from. A rejected row is closed when its mended row was
uploaded. What is refused again, or held, stays open under its first reference.

Mend the row in the tracker as well, in the same way: the entry is then known when
the next export has it. A row that equals an entry that is known already is not
uploaded again.`,
		Example: `  tsupload rejects retry mend.csv`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRejectsRetry(cmd.Context(), a, args[0]) },
	})
	return cmd
}

// Columns of ours, after the source's own.
const (
	rowColumn    = "_row"
	reasonColumn = "_reason"
	hintColumn   = "_hint"
	readColumn   = "_read"  // what the file decided
	extraColumn  = "_extra" // values of a row that is longer than its header
)

// rejected is an open rejected row.
type rejected struct {
	w *timesheet.Waiting
	r *timesheet.Rejection
}

// openRejections lists the open rejected rows of the ledger.
func openRejections(ctx context.Context, l *ledger.Ledger) ([]rejected, error) {
	var list []rejected
	err := l.Rows(ctx, func(w *timesheet.Waiting, r *timesheet.Rejection) error {
		if w.State == timesheet.StateRejected {
			wc, rc := *w, *r
			rc.Header, rc.Record = slices.Clone(r.Header), slices.Clone(r.Record)
			list = append(list, rejected{&wc, &rc})
		}
		return nil
	})
	return list, err
}

func runRejectsExport(ctx context.Context, a *app, source, file string) error {
	cfg, l, err := a.readLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	list, err := openRejections(ctx, l)
	if err != nil {
		return err
	}
	chosen, form, left, err := chooseRejections(ctx, cfg, l, list, source)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		a.say("no row waits to be mended")
		return nil
	}
	if a.json() {
		for _, c := range chosen {
			line := waitingJSON(cfg, c.w)
			line["header"], line["record"], line["column"] = c.r.Header, c.r.Record, c.r.Column
			if err := a.emit("rejection", line); err != nil {
				return err
			}
		}
		return nil
	}
	var b bytes.Buffer
	if err := writeRejections(&b, chosen, form); err != nil {
		return err
	}
	text, err := form.encode(b.Bytes())
	if err != nil {
		return err
	}
	if left > 0 {
		a.say("note: %s with other columns or in another form left out: export again once these are closed", count(left, "row"))
	}
	if file == "" {
		_, err := a.stdout.Write(text)
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return usage("name another file, or remove it: it may hold rows that are mended already", "%s exists", file)
	}
	if err := replace.File(file, text, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s of source %s to %s\n", count(len(chosen), "row"), sourceName(cfg, chosen[0].w.Source), file)
	a.say("next: mend the rows, then tsupload rejects retry %s", file)
	return nil
}

// chooseRejections keeps the rows of one source that have the columns and the
// form of the newest, and tells how many others of it there are.
func chooseRejections(ctx context.Context, cfg *config.Config, l *ledger.Ledger, list []rejected, source string) (chosen []rejected, form dialect, left int, err error) {
	byID := map[string][]rejected{}
	for _, r := range list {
		byID[r.w.Source] = append(byID[r.w.Source], r)
	}
	ids := slices.Sorted(maps.Keys(byID))
	switch {
	case source != "":
		counts, err := l.Counts(ctx)
		if err != nil {
			return nil, form, 0, err
		}
		if ids, err = sourceIDs(cfg, []string{source}, counts); err != nil {
			return nil, form, 0, err
		}
	case len(ids) > 1:
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = sourceName(cfg, id)
		}
		return nil, form, 0, usage("say with --source which: "+strings.Join(names, ", "), "several sources have rejected rows, and a file holds those of one")
	case len(ids) == 0:
		return nil, form, 0, nil
	}
	files, err := dialectsOf(ctx, l, ids[0])
	if err != nil {
		return nil, form, 0, err
	}
	formOf := func(r *rejected) dialect {
		if d, ok := files[r.r.Origin.File]; ok && d.comma != 0 {
			return d
		}
		return dialect{comma: ','}
	}
	all := byID[ids[0]]
	var newest *rejected
	for i := range all {
		if newest == nil || all[i].w.At.After(newest.w.At) {
			newest = &all[i]
		}
	}
	if newest != nil {
		form = formOf(newest)
	}
	for _, r := range all {
		if slices.Equal(r.r.Header, newest.r.Header) && formOf(&r) == form {
			chosen = append(chosen, r)
		} else {
			left++
		}
	}
	return chosen, form, left, nil
}

// writeRejections writes rows that share a header and a form, in UTF-8.
func writeRejections(w io.Writer, list []rejected, form dialect) error {
	header := list[0].r.Header
	extra := 0
	for _, r := range list {
		extra = max(extra, len(r.r.Record)-len(header))
	}
	out := csv.NewWriter(w)
	out.Comma = form.comma
	line := make([]string, 0, len(header)+3+extra)
	for _, h := range header {
		line = append(line, guard(h))
	}
	line = append(line, rowColumn, reasonColumn, hintColumn)
	said := form.said()
	if said != "" {
		line = append(line, readColumn)
	}
	for i := range extra {
		line = append(line, fmt.Sprintf("%s%d", extraColumn, i+1))
	}
	if err := out.Write(line); err != nil {
		return err
	}
	for _, r := range list {
		line = line[:0]
		for i := range header {
			value := ""
			if i < len(r.r.Record) {
				value = r.r.Record[i]
			}
			line = append(line, guard(value))
		}
		why := r.r.Message
		if r.r.Column != "" {
			why = r.r.Column + ": " + why
		}
		line = append(line, r.w.Ref, guard(fmt.Sprintf("%s: %s", r.r.Reason, why)), guard(r.r.Hint))
		if said != "" {
			line = append(line, said)
		}
		for i := range extra {
			value := ""
			if at := len(header) + i; at < len(r.r.Record) {
				value = r.r.Record[at]
			}
			line = append(line, guard(value))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// formula tells whether a spreadsheet could take s for a formula, apostrophes
// in front left aside.
func formula(s string) bool {
	s = strings.TrimLeft(s, "'")
	return s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0
}

// guard keeps a spreadsheet from calculating what is a value.
func guard(s string) string {
	if formula(s) {
		return "'" + s
	}
	return s
}

// unguard takes away what guard added.
func unguard(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && formula(rest) {
		return rest
	}
	return s
}

// mendedRow is a row of a mended file.
type mendedRow struct {
	line   int // in the mended file
	ref    string
	record []string
	row    *timesheet.Waiting // the rejected row it stands for
	form   dialect            // of its file
}

func runRejectsRetry(ctx context.Context, a *app, file string) (err error) {
	header, rows, err := readMended(file)
	if err != nil {
		return err
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	name, before, err := a.matchRows(ctx, cfg, &rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	dir, err := os.MkdirTemp("", "tsupload-mended-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, filepath.Base(file))
	lines, err := writeMended(path, header, rows)
	if err != nil {
		return err
	}
	a.mended, a.form = true, rows[0].form
	return a.runMended(ctx, cfg, name, file, path, rows, lines, before)
}

// runMended is one pass over the mended rows. What they settle is closed
// before the report is written, so that it tells how things stand.
func (a *app) runMended(ctx context.Context, cfg *config.Config, name, file, path string, rows []mendedRow, lines []int, before map[timesheet.Packed]bool) error {
	opts := runOptions{once: true, files: []string{path}, sources: []string{name}}
	sources, err := chooseSources(cfg, opts)
	if err != nil {
		return err
	}
	p := pass{app: a, cfg: cfg, sources: sources, opts: opts, log: a.logger(cfg), runID: newRunID()}
	// The run's id makes it another file than one of the same name before.
	shown := file + " (" + p.runID + ")"
	p.opts.as = map[string]string{path: shown}
	r, waiting, err := p.run(ctx, a.stopping)
	if r == nil {
		return err
	}
	closed := 0
	if err == nil && r.Sources[0].Err == nil {
		closed, waiting, err = a.closeMended(ctx, &p, shown, rows, lines, before)
	}
	if err := errors.Join(err, a.report(r, waiting)); err != nil {
		return err
	}
	if a.json() {
		if err := a.emit("mended", map[string]any{"rows": len(rows), "closed": closed}); err != nil {
			return err
		}
	}
	a.say("%s closed", count(closed, "rejected row"))
	if code := p.exit(r, waiting); code != exitOK {
		return &exitError{code}
	}
	return nil
}

// readMended reads a mended export: the source's header and its rows.
func readMended(file string) (header []string, rows []mendedRow, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, usage("name a file that `tsupload rejects export` wrote", "%s", err)
	}
	if b, err = plainText(b); err != nil {
		return nil, nil, usage("save it as CSV in UTF-8", "%s: %s", file, err)
	}
	in, all, err := mendedReader(b)
	if err != nil {
		return nil, nil, usage("name a file that `tsupload rejects export` wrote", "%s: %s", file, err)
	}
	own := slices.Index(all, rowColumn)
	if own < 0 {
		return nil, nil, usage("name a file that `tsupload rejects export` wrote, and keep its column "+rowColumn, "%s has no column %s", file, rowColumn)
	}
	ours := func(i int) bool {
		return i < len(all) && (all[i] == rowColumn || all[i] == reasonColumn || all[i] == hintColumn || all[i] == readColumn || strings.HasPrefix(all[i], extraColumn))
	}
	for i, h := range all {
		if !ours(i) {
			header = append(header, unguard(h))
		}
	}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return header, rows, nil
		}
		if err != nil {
			return nil, nil, usage("mend the file", "%s: %s", file, err)
		}
		line, _ := in.FieldPos(0)
		if len(record) <= own || record[own] == "" {
			return nil, nil, usage("keep the references as they were exported; new rows belong into the tracker", "%s:%d has no %s", file, line, rowColumn)
		}
		row := mendedRow{line: line, ref: record[own]}
		for i, v := range record {
			switch {
			case !ours(i):
				row.record = append(row.record, unguard(v))
			case all[i] == readColumn:
				row.form.hear(v)
			}
		}
		if len(rows) > 0 && rows[0].form != row.form {
			return nil, nil, usage("feed back one file for each form of dates and numbers, as they were exported", "%s:%d has another %s than the rows before", file, line, readColumn)
		}
		rows = append(rows, row)
	}
}

// matchRows finds the rejected rows that mended ones stand for, leaves out
// those that are closed, and returns their source and all rejections so far.
func (a *app) matchRows(ctx context.Context, cfg *config.Config, rows *[]mendedRow) (name string, before map[timesheet.Packed]bool, err error) {
	l, err := a.openLedger(ctx, cfg, true, a.logger(cfg))
	if err != nil {
		return "", nil, err
	}
	defer l.Close()
	before = map[timesheet.Packed]bool{}
	byRef := map[string]*timesheet.Waiting{}
	records := map[timesheet.Packed][]string{} // of rows that are not as long as their header
	if err := l.Rows(ctx, func(w *timesheet.Waiting, r *timesheet.Rejection) error {
		c := *w
		before[w.Key], byRef[w.Ref] = true, &c
		if len(r.Record) != len(r.Header) {
			records[w.Key] = append(slices.Clone(r.Record), make([]string, max(0, len(r.Header)-len(r.Record)))...)[:len(r.Header)]
		}
		return nil
	}); err != nil {
		return "", nil, err
	}
	var open []mendedRow
	id := ""
	for _, row := range *rows {
		row.row = byRef[row.ref]
		switch {
		case row.row == nil:
			return "", nil, usage("keep the references as they were exported", "line %d: the ledger knows no rejected row %s", row.line, clean(row.ref))
		case row.row.State != timesheet.StateRejected:
			a.say("line %d: %s is closed already; left out", row.line, row.ref)
			continue
		case slices.Equal(row.record, records[row.row.Key]) && len(row.record) > 0:
			// As exported it has the right number of values, but perhaps in the wrong columns.
			a.say("line %d: not mended; left out", row.line)
			continue
		case id != "" && id != row.row.Source:
			return "", nil, usage("feed back one file for each source", "the file has rows of several sources")
		}
		id = row.row.Source
		open = append(open, row)
	}
	if *rows = open; len(open) == 0 {
		a.say("no row of the file waits to be mended")
		return "", nil, nil
	}
	i := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.ID == id })
	if i < 0 {
		return "", nil, usage("configured are: "+sourceNames(cfg), "the rows are of a source with the id %q, which is no longer configured", id)
	}
	return cfg.Sources[i].Name, before, nil
}

// writeMended writes rows in the source's columns alone, each on its line of
// the mended file, if it was not moved by longer ones, and returns the lines.
func writeMended(path string, header []string, rows []mendedRow) (lines []int, err error) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	write := func(record []string, line int) error {
		for bytes.Count(b.Bytes(), []byte("\n")) < line-1 {
			b.WriteByte('\n')
		}
		lines = append(lines, 1+bytes.Count(b.Bytes(), []byte("\n")))
		err := out.Write(record)
		out.Flush()
		return errors.Join(err, out.Error())
	}
	if err := write(header, 1); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := write(r.record, r.line); err != nil {
			return nil, err
		}
	}
	return lines[1:], os.WriteFile(path, b.Bytes(), 0o600)
}

// closeMended closes the rejected rows whose mended rows are with the API now,
// and lists what waits then. A mended row that was refused again is no second
// row to mend: its first rejection stays, the new one is closed.
func (a *app) closeMended(ctx context.Context, p *pass, shown string, rows []mendedRow, lines []int, before map[timesheet.Packed]bool) (closed int, waiting []*timesheet.Waiting, err error) {
	l, err := a.openLedger(ctx, p.cfg, false, p.runLog())
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	became := map[int]*timesheet.Waiting{}
	if err := l.Entries(ctx, ledger.Filter{Sources: []string{rows[0].row.Source}}, func(w *timesheet.Waiting) error {
		if w.Origin.File == shown {
			c := *w
			became[w.Origin.Line] = &c
		}
		return nil
	}); err != nil {
		return 0, nil, err
	}
	var skip []timesheet.Packed
	// One rejected row may have become several mended ones.
	open := map[timesheet.Packed]bool{}
	for i, row := range rows {
		w := became[lines[i]]
		switch {
		case w == nil:
			open[row.row.Key] = true
			a.say("line %d: not uploaded: it is no work (a break, zero hours), or equals an entry that is known; if so, tsupload resolve --skip %s", row.line, row.ref)
		case w.Row:
			open[row.row.Key] = true
			a.say("line %d: refused again: %s; %s stays open", row.line, clean(w.Detail), row.ref)
			if !before[w.Key] {
				skip = append(skip, w.Key)
			}
		case w.State != timesheet.StateSent && w.State != timesheet.StateInDoubt:
			open[row.row.Key] = true
			a.say("line %d: %s as %s; %s stays open", row.line, standing(w.State, w.Reason), w.Ref, row.ref)
		}
	}
	for _, row := range rows {
		if open[row.row.Key] {
			continue
		}
		open[row.row.Key] = true // once is enough
		skip = append(skip, row.row.Key)
		closed++
	}
	for _, key := range skip {
		if err := l.SkipRow(ctx, key); err != nil {
			return 0, nil, err
		}
	}
	waiting, err = p.waiting(ctx, l)
	return closed, waiting, err
}
