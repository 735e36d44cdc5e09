package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// mendedRow is a row of a mended file.
type mendedRow struct {
	line   int // in the mended file
	ref    string
	record []string
	row    *timesheet.Waiting // the rejected row it stands for
	form   dialect            // of its file
	became outcome
}

// outcome is what a mended row is read as.
type outcome struct {
	key     sameEntry // of the entry, or of the row that is refused again
	packed  timesheet.Packed
	entry   bool
	refusal string
}

// sameEntry is a key without the day: an entry keeps the day on which it was
// seen first.
type sameEntry [12]byte

func sameOf(p timesheet.Packed) sameEntry { return sameEntry(p[4:]) }

// retry is one feeding back of mended rows.
type retry struct {
	*app
	cfg    *config.Config
	l      *ledger.Ledger
	name   string // of the source
	id     string
	header []string
	rows   []mendedRow
	dir    string
	// rejections are those that the ledger had before.
	rejections map[timesheet.Packed]bool
	before     map[sameEntry][]*timesheet.Waiting
}

func runRejectsRetry(ctx context.Context, a *app, file string) (err error) {
	t := &retry{app: a, rejections: map[timesheet.Packed]bool{}}
	if t.header, t.rows, err = readMended(file); err != nil {
		return err
	}
	if t.cfg, err = a.load(); err != nil {
		return err
	}
	if t.l, err = a.openLedger(ctx, t.cfg, false, a.logger(t.cfg)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.l.Close()) }()
	if err := t.match(ctx); err != nil || len(t.rows) == 0 {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "tsupload-mended-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	a.mended, a.form = true, t.rows[0].form
	if t.before, err = t.entries(ctx); err != nil {
		return err
	}
	closed, err := t.leaveOut(ctx)
	if err != nil {
		return err
	}
	return t.run(ctx, closed)
}

// entries are those of the source, and the changes that wait beside them.
func (t *retry) entries(ctx context.Context) (map[sameEntry][]*timesheet.Waiting, error) {
	out := map[sameEntry][]*timesheet.Waiting{}
	err := t.l.Entries(ctx, ledger.Filter{Sources: []string{t.id}}, func(w *timesheet.Waiting) error {
		if !w.Row {
			c := *w
			out[sameOf(w.Key)] = append(out[sameOf(w.Key)], &c)
		}
		return nil
	})
	return out, err
}

// match finds the rejected rows that mended ones stand for, leaves out those
// that are closed, and finds their source.
func (t *retry) match(ctx context.Context) error {
	byRef := map[string]*timesheet.Waiting{}
	records := map[timesheet.Packed][]string{} // of rows that are not as long as their header
	if err := t.l.Rows(ctx, func(w *timesheet.Waiting, r *timesheet.Rejection) error {
		c := *w
		t.rejections[w.Key], byRef[w.Ref] = true, &c
		if len(r.Record) != len(r.Header) {
			records[w.Key] = append(slices.Clone(r.Record), make([]string, max(0, len(r.Header)-len(r.Record)))...)[:len(r.Header)]
		}
		return nil
	}); err != nil {
		return err
	}
	var open []mendedRow
	for _, row := range t.rows {
		row.row = byRef[row.ref]
		switch {
		case row.row == nil:
			return usage("keep the references as they were exported", "line %d: the ledger knows no rejected row %s", row.line, clean(row.ref))
		case row.row.State != timesheet.StateRejected:
			t.say("line %d: %s is closed already; left out", row.line, row.ref)
			continue
		case slices.Equal(row.record, records[row.row.Key]) && len(row.record) > 0:
			// As exported it has the right number of values, but perhaps in the wrong columns.
			t.say("line %d: not mended; left out", row.line)
			continue
		case strings.TrimSpace(strings.Join(row.record, "")) == "":
			t.say("line %d: empty; left out. To give the row up: tsupload resolve --skip %s", row.line, row.ref)
			continue
		case t.id != "" && t.id != row.row.Source:
			return usage("feed back one file for each source", "the file has rows of several sources")
		}
		t.id = row.row.Source
		open = append(open, row)
	}
	if t.rows = open; len(open) == 0 {
		t.say("no row of the file waits to be mended")
		return nil
	}
	i := slices.IndexFunc(t.cfg.Sources, func(s config.Source) bool { return s.ID == t.id })
	if i < 0 {
		return usage("configured are: "+sourceNames(t.cfg), "the rows are of a source with the id %q, which is no longer configured", t.id)
	}
	t.name = t.cfg.Sources[i].Name
	return nil
}

// options has the rows in files that stand for those that they are from, each
// shown at its line there.
func (t *retry) options() (runOptions, error) {
	opts := runOptions{once: true, sources: []string{t.name}, as: map[string]string{}, lines: map[string][]int{}}
	slices.SortStableFunc(t.rows, func(a, b mendedRow) int { return strings.Compare(a.row.Origin.File, b.row.Origin.File) })
	form := dialect{comma: ','}
	for i := 0; i < len(t.rows); {
		original := t.rows[i].row.Origin.File
		path := filepath.Join(t.dir, fmt.Sprintf("%d.csv", len(opts.files)))
		var text strings.Builder
		text.WriteString(form.line(t.header))
		for ; i < len(t.rows) && t.rows[i].row.Origin.File == original; i++ {
			text.WriteString(form.line(t.rows[i].record))
			opts.lines[path] = append(opts.lines[path], t.rows[i].row.Origin.Line)
		}
		opts.files, opts.as[path] = append(opts.files, path), original
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			return opts, err
		}
	}
	return opts, nil
}

// read finds out what each row is read as.
func (t *retry) read(ctx context.Context) (runOptions, error) {
	opts, err := t.options()
	if err != nil {
		return opts, err
	}
	i := slices.IndexFunc(t.cfg.Sources, func(s config.Source) bool { return s.ID == t.id })
	feed, err := t.newFeed(&t.cfg.Sources[i], feedOptions{files: opts.files, as: opts.as, lines: opts.lines, spool: t.dir, dir: configDir(t.cfg)}, t.logger(t.cfg))
	if err != nil {
		return opts, err
	}
	reading, err := feed.Source.Open(ctx)
	if err != nil {
		return opts, err
	}
	defer reading.Close()
	if _, err := reading.Survey(ctx); err != nil {
		return opts, err
	}
	n := 0
	err = reading.Rows(ctx, func(r *timesheet.Row) error {
		if n == len(t.rows) {
			return errors.New("a mended file has more rows than were written to it")
		}
		o := &t.rows[n].became
		switch {
		case r.Entry != nil:
			*o = outcome{packed: r.Entry.Key.Packed(r.Entry.Day), entry: true}
		case r.Rejection != nil:
			*o = outcome{packed: r.Rejection.Key.Packed(r.Rejection.Day), refusal: r.Rejection.Message}
		default:
			*o = outcome{}
		}
		o.key = sameOf(o.packed)
		n++
		return nil
	})
	if err == nil && n != len(t.rows) {
		err = errors.New("a mended file has fewer rows than were written to it")
	}
	return opts, err
}

// leaveOut takes out the rows that were taken over before as something else,
// and closes those of them that were sent: whoever edits a row that was sent
// does not want it sent twice.
func (t *retry) leaveOut(ctx context.Context) (closed int, err error) {
	if _, err := t.read(ctx); err != nil {
		return 0, err
	}
	mended, err := t.l.Mended(ctx)
	if err != nil {
		return 0, err
	}
	now := map[timesheet.Packed]map[sameEntry]bool{}
	for _, r := range t.rows {
		if now[r.row.Key] == nil {
			now[r.row.Key] = map[sameEntry]bool{}
		}
		now[r.row.Key][r.became.key] = true
	}
	out := map[timesheet.Packed]bool{}
	for _, r := range t.rows {
		if out[r.row.Key] {
			continue
		}
		for _, p := range mended[r.row.Key] {
			id := sameOf(p)
			if now[r.row.Key][id] {
				continue // the same as before
			}
			for _, w := range t.before[id] {
				switch w.State {
				case timesheet.StateRejected, timesheet.StateSkipped:
					continue
				case timesheet.StateSent:
					t.say("line %d: the row was uploaded already, mended in another way, as %s; left out. What is wrong with that one, mend in the tracker", r.line, w.Ref)
				case timesheet.StateNew:
					t.say("line %d: the row was taken over already, mended in another way, as %s, which is still to be sent; left out. `tsupload run --once` withdraws it", r.line, w.Ref)
				default:
					t.say("line %d: the row was taken over already, mended in another way, as %s, which is %s; left out until that one is settled", r.line, w.Ref, standing(w.State, w.Reason))
				}
				if w.State == timesheet.StateSent && !out[r.row.Key] {
					if err := t.l.SkipRow(ctx, r.row.Key); err != nil {
						return closed, err
					}
					closed++
				}
				out[r.row.Key] = true
			}
		}
	}
	t.rows = slices.DeleteFunc(t.rows, func(r mendedRow) bool { return out[r.row.Key] })
	return closed, nil
}

// run is one pass over the mended rows. What they settle is closed before the
// report is written, so that it tells how things stand.
func (t *retry) run(ctx context.Context, closed int) error {
	if len(t.rows) == 0 {
		t.say("%s closed", count(closed, "rejected row"))
		return nil
	}
	opts, err := t.read(ctx)
	if err != nil {
		return err
	}
	sources, err := chooseSources(t.cfg, runOptions{files: opts.files[:1], sources: opts.sources, once: true})
	if err != nil {
		return err
	}
	linked, err := t.l.Mended(ctx)
	if err != nil {
		return err
	}
	became := map[timesheet.Packed][]timesheet.Packed{}
	for _, r := range t.rows {
		_, known := t.before[r.became.key]
		if r.became.entry && !known && !slices.Contains(linked[r.row.Key], r.became.packed) {
			became[r.row.Key] = append(became[r.row.Key], r.became.packed)
		}
	}
	if err := t.l.Mend(ctx, became); err != nil {
		return err
	}
	p := pass{app: t.app, cfg: t.cfg, sources: sources, opts: opts, log: t.logger(t.cfg), runID: newRunID(), held: t.l}
	r, waiting, err := p.run(ctx, t.stopping)
	if r == nil {
		return err
	}
	if err == nil && r.Sources[0].Err == nil {
		n, closeErr := t.close(ctx, linked)
		closed += n
		if err = closeErr; err == nil {
			waiting, err = p.waiting(ctx, t.l)
		}
	}
	if err := errors.Join(err, t.report(r, waiting)); err != nil {
		return err
	}
	if t.json() {
		if err := t.emit("mended", map[string]any{"rows": len(t.rows), "closed": closed}); err != nil {
			return err
		}
	}
	t.say("%s closed", count(closed, "rejected row"))
	if code := p.exit(r, waiting); code != exitOK {
		return &exitError{code}
	}
	return nil
}

// close closes the rejected rows whose mended rows are with the API now. A
// mended row that was refused again is no second row to mend: its first
// rejection stays, the new one is closed.
func (t *retry) close(ctx context.Context, linked map[timesheet.Packed][]timesheet.Packed) (closed int, err error) {
	after, err := t.entries(ctx)
	if err != nil {
		return 0, err
	}
	var skip []timesheet.Packed
	// One rejected row may have become several mended ones.
	open := map[timesheet.Packed]bool{}
	for _, row := range t.rows {
		if why := t.standing(&row, after, linked); why != "" {
			open[row.row.Key] = true
			t.say("line %d: %s", row.line, why)
		}
		if o := row.became; o.refusal != "" && !t.rejections[o.packed] {
			skip = append(skip, o.packed)
		}
	}
	for _, row := range t.rows {
		if open[row.row.Key] {
			continue
		}
		open[row.row.Key] = true // once is enough
		skip = append(skip, row.row.Key)
		closed++
	}
	for _, key := range skip {
		if err := t.l.SkipRow(ctx, key); err != nil {
			return 0, err
		}
	}
	return closed, nil
}

// standing says why a rejected row stays open; empty: its mended row is with
// the API.
func (t *retry) standing(row *mendedRow, after map[sameEntry][]*timesheet.Waiting, linked map[timesheet.Packed][]timesheet.Packed) string {
	o := row.became
	switch {
	case o.refusal != "":
		return fmt.Sprintf("refused again: %s; %s stays open", clean(o.refusal), row.ref)
	case !o.entry:
		return fmt.Sprintf("not uploaded: it is no work (a break, zero hours); if so, tsupload resolve --skip %s", row.ref)
	}
	before := t.before[o.key]
	isNew := func(w *timesheet.Waiting) bool {
		return !slices.ContainsFunc(before, func(b *timesheet.Waiting) bool { return b.Parcel == w.Parcel && b.Pos == w.Pos })
	}
	ours := slices.ContainsFunc(linked[row.row.Key], func(p timesheet.Packed) bool { return sameOf(p) == o.key })
	there := false
	for _, w := range after[o.key] {
		switch {
		case len(before) > 0 && !ours && !isNew(w):
			continue // somebody else's
		case w.State != timesheet.StateSent && w.State != timesheet.StateInDoubt:
			return fmt.Sprintf("%s as %s; %s stays open", standing(w.State, w.Reason), w.Ref, row.ref)
		}
		there = true
	}
	if !there {
		return fmt.Sprintf("not uploaded: it equals an entry that is known; if so, tsupload resolve --skip %s", row.ref)
	}
	return ""
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
