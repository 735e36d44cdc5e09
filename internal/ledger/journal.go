package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// The journal is where the beginnings and the ends of requests are made
// durable while lanes send: the steps of one commit are one row, however many
// parcels they belong to. Without it each step would change the row of its
// parcel, and a commit would write a page for every request.
//
// Only the plain course of things is journaled: a Batch of new entries begins,
// and is accepted as a whole. Everything else is written to the parcels at
// once. What the journal holds is brought to the parcels (folded) before
// anything else reads or writes them, by the process that made it or, after a
// crash, by the next one; a reader beside them folds into tables of its own.

const journalVersion = 1

// Most of what waits in the journal before it is folded between two commits.
const (
	journalSteps = 20_000
	journalBytes = 8 << 20
)

var errJournal = errors.New("the journal of the ledger cannot be decoded")

// Bits of a journaled step.
const (
	hasSettle = 1 << iota
	hasBegin
	hasIDs    // the API gave ids
	hasAnswer // or its words are kept
	hasKey    // the request can be sent again as it was
)

// plain tells whether a step is one that the journal can hold, apart from the
// state its parcels are in.
func (s *step) plain() bool {
	switch {
	case s.settle == nil:
		return true
	case s.settle.Outcome != "":
		return false
	case s.settle.Each == nil:
		return s.settle.All.State == timesheet.StateSent
	}
	for i := range s.settle.Each {
		if s.settle.Each[i].State != timesheet.StateSent {
			return false
		}
	}
	return true
}

// ids are what the API called the entries of a Batch; nil where it named none.
func ids(s *timesheet.Settlement) []string {
	if s.Each == nil {
		if s.All.ID == "" {
			return nil
		}
		return []string{s.All.ID}
	}
	list, named := make([]string, len(s.Each)), false
	for i := range s.Each {
		list[i] = s.Each[i].ID
		named = named || list[i] != ""
	}
	if !named {
		return nil
	}
	return list
}

// appendStep writes a step. What is left out is derived from what is there:
// all of a Batch is settled, from where it was begun.
func appendStep(b []byte, s *step, now time.Time) []byte {
	at := len(b)
	b = append(b, 0)
	if s.settle != nil {
		b[at] |= hasSettle
		b = binary.AppendUvarint(b, uint64(s.settle.Batch.Parcel))
		b = binary.AppendUvarint(b, uint64(s.settle.Batch.To))
		b = binary.AppendVarint(b, s.settle.At.UnixMilli())
		b = binary.AppendUvarint(b, uint64(s.settle.Status))
		named := ids(s.settle)
		switch {
		case named != nil:
			b[at] |= hasIDs
			b = binary.AppendUvarint(b, uint64(len(named)))
			for _, id := range named {
				b = putString(b, id)
			}
		case len(s.settle.Answer) > 0:
			b[at] |= hasAnswer
			b = putString(b, string(s.settle.Answer))
		}
	}
	if s.begin != nil {
		b[at] |= hasBegin
		b = binary.AppendUvarint(b, uint64(s.begin.Parcel))
		b = binary.AppendUvarint(b, uint64(s.begin.To))
		b = binary.AppendVarint(b, now.UnixMilli())
		b = append(b, s.begin.BodyHash[:]...)
		if s.begin.IdempotencyKey != "" {
			b[at] |= hasKey
			b = putString(b, s.begin.IdempotencyKey)
			b = binary.AppendVarint(b, millis(s.begin.KeyExpires))
			b = putString(b, string(s.begin.Body))
		}
	}
	return b
}

// folding gathers what the steps of the journal come to, parcel by parcel.
type folding struct {
	parcels  map[int64]*folded
	order    []int64
	receipts []*receiptRow
}

type folded struct {
	n                        int // entries, as far as some are settled here
	settled, begun, attempts int
	changed, began           int64
	key, hash, body          string
	expires                  int64
	last                     *receiptRow
}

// receiptRow is what was answered to entries pos..pos+n-1 of a parcel.
type receiptRow struct {
	parcel int64
	pos, n int
	at     int64
	status int
	named  int    // how many ids there are
	ids    []byte // in JSON, a comma before each
	answer string
}

// appendJSON appends a string in JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func (f *folding) parcel(id int64) *folded {
	p := f.parcels[id]
	if p == nil {
		p = &folded{settled: -1, begun: -1}
		f.parcels[id] = p
		f.order = append(f.order, id)
	}
	return p
}

// add decodes one row of the journal.
func (f *folding) add(row []byte, beginsAt func(parcel int64) (settled, n int, err error)) error {
	u := unpacker{s: string(row)}
	if len(u.s) == 0 || u.s[0] != journalVersion {
		return errJournal
	}
	for u.s = u.s[1:]; len(u.s) > 0; {
		bits := u.s[0]
		u.s = u.s[1:]
		if bits&hasSettle != 0 {
			r := &receiptRow{parcel: int64(u.uvarint())}
			to := int(u.uvarint())
			r.at, r.status = u.varint(), int(u.uvarint())
			if bits&hasIDs != 0 {
				n := u.uvarint()
				if n > uint64(len(u.s)) {
					return errJournal // an id takes a byte at least
				}
				r.named = int(n)
				for range n {
					r.ids = appendJSON(append(r.ids, ','), u.text())
				}
			}
			if bits&hasAnswer != 0 {
				r.answer = u.text()
			}
			p := f.parcel(r.parcel)
			if p.settled < 0 {
				var err error
				if p.settled, p.n, err = beginsAt(r.parcel); err != nil {
					return err
				}
			}
			if to < p.settled {
				return errJournal
			}
			r.pos, r.n = p.settled, to-p.settled
			p.settled, p.changed, p.body = to, r.at, ""
			if p.begun < to {
				p.begun = to
			}
			f.receipt(p, r)
		}
		if bits&hasBegin != 0 {
			p := f.parcel(int64(u.uvarint()))
			p.begun, p.began = int(u.uvarint()), u.varint()
			p.attempts++
			if len(u.s) < 32 {
				return errJournal
			}
			p.hash, u.s = u.s[:32], u.s[32:]
			p.key, p.expires, p.body = "", 0, ""
			if bits&hasKey != 0 {
				p.key, p.expires, p.body = u.text(), u.varint(), u.text()
			}
		}
		if u.bad {
			return errJournal
		}
	}
	return nil
}

// receipt keeps a receipt, together with the one before it where both have an
// id for every entry and came within a second.
func (f *folding) receipt(p *folded, r *receiptRow) {
	if l := p.last; l != nil && l.named == l.n && r.named == r.n && l.pos+l.n == r.pos && l.status == r.status && r.at-l.at < 1000 {
		l.ids, l.n, l.named = append(l.ids, r.ids...), l.n+r.n, l.named+r.named
		return
	}
	p.last = r
	f.receipts = append(f.receipts, r)
}

// readJournal gathers all of the journal; nil where it is empty.
func readJournal(ctx context.Context, tx *sql.Tx) (*folding, error) {
	rows, err := tx.QueryContext(ctx, `SELECT steps FROM journal ORDER BY id`)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for rows.Next() {
		var steps []byte
		if err := rows.Scan(&steps); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		all = append(all, steps)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(all) == 0 {
		return nil, err
	}
	settled, err := tx.PrepareContext(ctx, `SELECT settled, n FROM parcel WHERE id = ?`)
	if err != nil {
		return nil, err
	}
	f := &folding{parcels: map[int64]*folded{}}
	for _, steps := range all {
		if err := f.add(steps, func(parcel int64) (at, n int, err error) {
			err = settled.QueryRowContext(ctx, parcel).Scan(&at, &n)
			return at, n, err
		}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// apply brings the parcels up to date, and tells which are settled to their
// end. receipts names the table that takes the receipts.
func (f *folding) apply(ctx context.Context, tx *sql.Tx, receipts string) (ended []int64, err error) {
	// What no step of the journal has changed stays as it is.
	update, err := tx.PrepareContext(ctx, `UPDATE parcel SET settled = CASE WHEN ?2 < 0 THEN settled ELSE ?2 END, begun = max(?3, CASE WHEN ?2 < 0 THEN settled ELSE ?2 END),
			changed = CASE WHEN ?4 = 0 THEN changed ELSE ?4 END, began = CASE WHEN ?5 = 0 THEN began ELSE ?5 END, attempts = attempts + ?6,
			idem_key = CASE WHEN ?6 = 0 THEN idem_key ELSE ?7 END, key_expires = CASE WHEN ?6 = 0 THEN key_expires ELSE ?8 END,
			body_hash = CASE WHEN ?6 = 0 THEN body_hash ELSE ?9 END, body = ?10
		WHERE id = ?1`)
	if err != nil {
		return nil, err
	}
	for _, id := range f.order {
		p := f.parcels[id]
		res, err := update.ExecContext(ctx, id, p.settled, p.begun, p.changed, p.began, p.attempts, p.key, p.expires, []byte(p.hash), blob(p.body))
		if err == nil {
			var n int64
			if n, err = res.RowsAffected(); err == nil && n != 1 {
				err = sql.ErrNoRows
			}
		}
		if err != nil {
			return nil, fmt.Errorf("parcel %d of the journal: %w", id, err)
		}
		if p.settled == p.n {
			ended = append(ended, id)
		}
	}
	insert, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO `+receipts+` VALUES (?,?,?,?,?,?,?)`) //nolint:gosec // one of two names of ours
	if err != nil {
		return nil, err
	}
	for _, r := range f.receipts {
		var ids any
		if r.named > 0 {
			r.ids[0] = '['
			ids = string(append(r.ids, ']'))
		}
		if _, err := insert.ExecContext(ctx, r.parcel, r.pos, r.n, r.at, r.status, ids, blob(r.answer)); err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// blob is b for a column that is NULL where there is nothing.
func blob(b string) any {
	if b == "" {
		return nil
	}
	return []byte(b)
}

// fold empties the journal into the parcels.
func (l *Ledger) fold(ctx context.Context) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := l.fence(ctx, tx); err != nil {
		return err
	}
	f, err := readJournal(ctx, tx)
	if err != nil || f == nil {
		return err
	}
	ended, err := f.apply(ctx, tx, "receipt")
	if err != nil {
		return err
	}
	drop, err := tx.PrepareContext(ctx, dropSQL)
	if err != nil {
		return err
	}
	for _, id := range ended {
		if _, err := drop.ExecContext(ctx, id); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM journal`); err != nil {
		return err
	}
	return tx.Commit()
}

// upToDate folds what this process has left in the journal, so that a query
// sees it.
func (l *Ledger) upToDate(ctx context.Context) error {
	if l.writer == nil {
		return nil // a reader has folded for itself when it was opened
	}
	return l.writer.fold(context.WithoutCancel(ctx))
}

// overlay is the fold of a reader: it may not touch the ledger, so that what
// the journal says lies over the tables, for this connection only.
func overlay(ctx context.Context, db *sql.DB) error {
	var some bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM journal)`).Scan(&some); err != nil || !some {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	f, err := readJournal(ctx, tx)
	if err != nil || f == nil {
		return err
	}
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, query, args...)
		}
	}
	exec(`CREATE TEMP TABLE parcel AS SELECT * FROM main.parcel WHERE 0`)
	exec(`CREATE UNIQUE INDEX temp.parcel_id ON parcel(id)`)
	for _, id := range f.order {
		exec(`INSERT INTO temp.parcel SELECT * FROM main.parcel WHERE id = ?`, id)
	}
	exec(`CREATE TEMP TABLE receipt_over AS SELECT * FROM main.receipt WHERE 0`)
	if err != nil {
		return err
	}
	if _, err = f.apply(ctx, tx, "receipt_over"); err != nil {
		return err
	}
	exec(`ALTER TABLE temp.parcel RENAME TO parcel_over`)
	exec(`CREATE TEMP VIEW parcel AS SELECT * FROM main.parcel WHERE id NOT IN (SELECT id FROM temp.parcel_over) UNION ALL SELECT * FROM temp.parcel_over`)
	exec(`CREATE TEMP VIEW receipt AS SELECT * FROM main.receipt UNION ALL SELECT * FROM temp.receipt_over`)
	if err != nil {
		return err
	}
	return tx.Commit()
}
