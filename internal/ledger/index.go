package ledger

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// rowsGroup is how many rows one INSERT takes; more gain nothing.
const rowsGroup = 64

// Index finishes the adding: parcels are written out, and the index is filled
// in key order, because neighbours share pages; in the order of the file every
// row would touch a page of its own. An entry that was added twice, because
// two files of one read have the same row, is named to twice and its second
// copy taken back.
func (p *Planning) Index(twice func(timesheet.Fresh)) error {
	if err := p.sortFresh(twice); err != nil {
		return explain("plan", err)
	}
	if p.total > 0 {
		return explain("plan", p.fillIndex())
	}
	// Where there was nothing before, days are judged by what is in memory: SQLite
	// has a core of its own meanwhile.
	filling := make(chan error, 1)
	go func() { filling <- rescue.Do(p.fillIndex) }()
	p.filling = filling
	return nil
}

// filled waits until the index is filled. All that uses the transaction behind
// Index begins with it.
func (p *Planning) filled() error {
	if p.filling == nil {
		return nil
	}
	err := <-p.filling
	p.filling = nil
	return explain("plan", err)
}

func (p *Planning) sortFresh(twice func(timesheet.Fresh)) error {
	left := make([]full, 0, len(p.open))
	for s, b := range p.open {
		left = append(left, full{s, b})
	}
	slices.SortFunc(left, func(a, b full) int { return cmp.Compare(a.id, b.id) })
	if err := p.flush(left...); err != nil {
		return err
	}
	clear(p.open)
	if err := sortByKey(p.fresh); err != nil {
		return err
	}
	kept := p.fresh[:0]
	for _, f := range p.fresh {
		if len(kept) > 0 && kept[len(kept)-1].key == f.key {
			parcel, pos := p.place(&f)
			// Under one id the two files may say different things.
			if kept[len(kept)-1].digest != f.digest {
				kept[len(kept)-1].mark(conflict)
			}
			facts, err := p.factsOf(parcel)
			if err != nil {
				return err
			}
			second := p.shown(&f)
			second.Project = p.persons[facts.of[pos].project]
			twice(second)
			if err := goneFrom(p.ctx, p.tx, parcel, pos, second.Seconds); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, f)
	}
	p.fresh = kept
	return nil
}

func (p *Planning) fillIndex() error {
	// An entry that was there before must have been found by Lookup: the
	// primary key refuses to have it in two parcels.
	added := p.fresh
	if len(p.renewed) > 0 {
		added = slices.DeleteFunc(slices.Clone(p.fresh), func(f fresh) bool { return f.is(renewed) })
	}
	return p.insertRows("INSERT INTO entry VALUES ", "", 4, len(added), func(i int, args []any) []any {
		f := &added[i]
		parcel, pos := p.place(f)
		return append(args, f.key[:], int64(binary.BigEndian.Uint64(f.digest[:])), parcel, int64(pos))
	})
}

// sortByKey sorts many entries on two cores: first those below a key from the
// middle go to the front, then both parts are sorted at once.
func sortByKey(all []fresh) error {
	const sample = 255
	if len(all) < 64*sample {
		slices.SortFunc(all, byKey)
		return nil
	}
	some := make([]fresh, sample)
	for i := range some {
		some[i] = all[i*(len(all)/sample)]
	}
	slices.SortFunc(some, byKey)
	below := 0
	for i := range all {
		if byKey(all[i], some[sample/2]) < 0 {
			all[i], all[below] = all[below], all[i]
			below++
		}
	}
	front := make(chan error, 1)
	go func() {
		front <- rescue.Do(func() error { slices.SortFunc(all[:below], byKey); return nil })
	}()
	slices.SortFunc(all[below:], byKey)
	return <-front
}

// byKey sorts by key, and equal keys by what was read first.
func byKey(a, b fresh) int {
	if c := bytes.Compare(a.key[:], b.key[:]); c != 0 {
		return c
	}
	one, i := a.at()
	two, j := b.at()
	return cmp.Or(cmp.Compare(one, two), i-j)
}

// place is where a fresh entry lies in the ledger.
func (p *Planning) place(f *fresh) (parcel int64, pos int) {
	parcel, pos = f.at()
	return p.firstParcel + parcel, pos
}

// insertRows inserts n rows, many at a time; otherwise is what to do where one
// is there already.
func (p *Planning) insertRows(into, otherwise string, columns, n int, row func(i int, args []any) []any) error {
	one := "(?" + strings.Repeat(",?", columns-1) + ")"
	args := make([]any, 0, columns*rowsGroup)
	var stmt *sql.Stmt
	for from, prepared := 0, 0; from < n; from += prepared {
		rows := min(rowsGroup, n-from)
		if rows != prepared {
			var err error
			if stmt, err = p.prepare(into + one + strings.Repeat(","+one, rows-1) + otherwise); err != nil {
				return err
			}
			prepared = rows
		}
		args = args[:0]
		for i := from; i < from+rows; i++ {
			args = row(i, args)
		}
		if _, err := stmt.ExecContext(p.ctx, args...); err != nil {
			return err
		}
	}
	return nil
}
