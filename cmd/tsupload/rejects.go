package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
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
		Long: `Write the open rejected rows of one source as CSV, with the delimiter, quotation
marks and line ends and in the encoding of the file that they are from: the
source's own columns, then _row, _reason and _hint. A column _read says how dates,
times and numbers of that file are written, where the file decided it. Mend the
values, leave _row and _read as they are, and feed the file back with "tsupload
rejects retry". Rows may be deleted from it. Rows of XLSX, JSON and calendars are
written with commas, in UTF-8.

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
of the source they came from, and of the file and line that they stood on there. A
rejected row is closed when its mended row was uploaded. What is refused again, or
held, stays open under its first reference.

Feeding the same file back again is safe: a row that was uploaded is not uploaded
a second time, however it was edited meanwhile.

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
	if form.form != "" {
		a.say("note: the rows are from %s; they are written as CSV in UTF-8, with commas", form.form)
	}
	if left > 0 {
		a.say("note: %s with other columns or in another form left out: export again once these are closed", count(left, "row"))
	}
	if file == "" {
		_, err := a.stdout.Write(text)
		return err
	}
	if exists(file) {
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
	if _, err := io.WriteString(w, form.line(line)); err != nil {
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
		if _, err := io.WriteString(w, form.line(line)); err != nil {
			return err
		}
	}
	return nil
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
