package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Rows is the second pass: it hands every data row to yield as an Entry, a
// Rejection or a Skipped, file by file in their order. What it yields is valid
// until yield returns. An error, of yield's or our own, says that no row of the
// whole Reading may be used.
func (r *Reading) Rows(ctx context.Context, yield func(*timesheet.Row) error) error {
	if !r.surveyed {
		if _, err := r.Survey(ctx); err != nil {
			return err
		}
	}
	var ids *seen // of all files, where there is more than one
	if len(r.units) > 1 {
		rows := 0
		for _, u := range r.units {
			rows += u.rows
		}
		ids = newSeen(rows)
	}
	for _, u := range r.units {
		if err := r.rowsOf(ctx, u, ids, yield); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reading) rowsOf(ctx context.Context, u *unit, ids *seen, yield func(*timesheet.Row) error) error {
	var refused error // by yield
	err := ahead(func(next func(*timesheet.Row) error) error { return r.convertAll(ctx, u, ids, next) }, func(row *timesheet.Row) error {
		refused = yield(row)
		return refused
	})
	if refused != nil {
		return refused
	}
	return r.s.place(u.name, err)
}

// convertAll reads a file and makes its rows.
func (r *Reading) convertAll(ctx context.Context, u *unit, ids *seen, next func(*timesheet.Row) error) error {
	if err := u.changed(); err != nil {
		return err
	}
	cs := u.form.charset
	data, n := u.data()
	raw := io.NewSectionReader(data, int64(cs.bom), n-int64(cs.bom))
	conv := newConverter(r.s, u)
	conv.ids = ids
	rows, bad := 0, newTally(r.s.cfg.Limits)
	err := decodeAll(cs.decode(ctxReader{ctx, raw}), u.form.table, &r.s.cfg.Limits, func(rec *record, why string, fr *frame) error {
		if rows++; rows > u.rows {
			return u.miscounted(rows)
		}
		row := conv.convert(rec, why, fr, rows)
		if row.Rejection != nil {
			bad.add(row.Rejection)
		}
		return next(row)
	})
	if err != nil {
		return err
	}
	if err := u.changed(); err != nil {
		return err
	}
	if rows != u.rows {
		return u.miscounted(rows)
	}
	err = bad.verdict(rows)
	if e, ok := errors.AsType[*Error](err); ok && u.form.table.like != nil {
		p := u.form.table.like
		e.HintText = "this looks like " + p.title + ", but has all columns of our own format and is read by those: set preset: " + p.name
		e.Key, e.Options = "preset", []string{p.name}
	}
	return err
}

func (u *unit) miscounted(rows int) error {
	return &Error{
		Message:  fmt.Sprintf("the survey counted %s, now there are %d or more", several(u.rows, "row"), rows),
		HintText: "the file changed while it was read; run again",
	}
}

// tally counts the bad rows of a file: too many say that the file is not what
// it is taken for.
type tally struct {
	limits Limits
	count  int
	first  []string
}

func newTally(l Limits) *tally { return &tally{limits: l} }

func (t *tally) add(r *timesheet.Rejection) {
	t.count++
	if len(t.first) < 3 {
		t.first = append(t.first, fmt.Sprintf("line %d: %s", r.Origin.Line, r.Message))
	}
}

func (t *tally) verdict(rows int) error {
	if rows < t.limits.BadMin || float64(t.count) <= t.limits.BadShare*float64(rows) {
		return nil
	}
	are := "are"
	if t.count == 1 {
		are = "is"
	}
	return &Error{
		Message:  fmt.Sprintf("%d of %s %s bad, so the whole file is refused (%s)", t.count, several(rows, "row"), are, strings.Join(t.first, "; ")),
		HintText: "the file is probably read in the wrong way: compare its header with the columns of the source, and check date_format and decimal",
	}
}
