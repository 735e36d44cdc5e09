package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// note keeps what happened to a parcel.
func note(ctx context.Context, tx *sql.Tx, parcel int64, at time.Time, what, detail string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO event(at, parcel, what, detail) VALUES (?,?,?,?)`, millis(at), parcel, what, detail)
	return err
}

// InDoubt lists the parcels whose end is not known, oldest first.
func (l *Ledger) InDoubt(ctx context.Context) ([]*timesheet.Parcel, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	rows, err := l.reader.QueryContext(ctx, `SELECT id FROM parcel WHERE state = 'in_doubt' AND live > 0 ORDER BY id`)
	if err != nil {
		return nil, explain("read what is in doubt", err)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, explain("read what is in doubt", errors.Join(err, rows.Close()))
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, explain("read what is in doubt", err)
	}
	var parcels []*timesheet.Parcel
	for _, id := range ids {
		p, err := l.Parcel(ctx, id)
		if err != nil {
			return nil, err
		}
		parcels = append(parcels, p)
	}
	return parcels, nil
}

// Decide ends the doubt, the holding or the refusal of some entries of a
// parcel, with the evidence: a read-back, a policy, or a person's word. A nil
// positions means all. Sent fates may carry the API's id, one for each position.
func (l *Ledger) Decide(ctx context.Context, parcel int64, positions []int, fates []timesheet.Fate, evidence string) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := l.decide(ctx, tx, parcel, positions, fates, evidence); err != nil {
		return explain("record a decision", err)
	}
	return explain("record a decision", tx.Commit())
}

func (l *Ledger) decide(ctx context.Context, tx *sql.Tx, parcel int64, positions []int, fates []timesheet.Fate, evidence string) error {
	p, err := loadParcel(ctx, tx, parcel)
	if err != nil {
		return err
	}
	if positions == nil {
		for i := range p.Entries {
			positions = append(positions, i)
		}
	}
	groups := map[timesheet.State][]int{}
	ids := map[int]string{}
	for i, pos := range positions {
		if pos < 0 || pos >= len(p.Entries) || p.Gone[pos] {
			continue
		}
		fate := fates[min(i, len(fates)-1)]
		groups[fate.State] = append(groups[fate.State], pos)
		ids[pos] = fate.ID
	}
	now := time.Now()
	for _, state := range []timesheet.State{timesheet.StateSent, timesheet.StateNew, timesheet.StateSkipped, timesheet.StateHeld, timesheet.StateRejected} {
		if len(groups[state]) == 0 {
			continue
		}
		fate := timesheet.Fate{State: state}
		for _, f := range fates {
			if f.State == state {
				fate = f
			}
		}
		if err := l.decideGroup(ctx, tx, p, groups[state], fate, ids, now, evidence); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) decideGroup(ctx context.Context, tx *sql.Tx, p *timesheet.Parcel, positions []int, fate timesheet.Fate, ids map[int]string, now time.Time, evidence string) error {
	// A sent parcel is an open one whose mark has reached its end.
	target := fate
	if target.State == timesheet.StateSent {
		target = timesheet.Fate{State: timesheet.StateNew}
	}
	id, n := p.ID, len(p.Entries)
	live := 0
	for _, gone := range p.Gone {
		if !gone {
			live++
		}
	}
	if live > len(positions) || p.Settled > 0 {
		child, err := split(ctx, tx, p.ID, positions, target, millis(now))
		if err != nil {
			return err
		}
		// The key and the bytes stand for all entries of the request. With the
		// doubt about some ended otherwise, sending them again could send those twice.
		if p.State == timesheet.StateInDoubt {
			if _, err := tx.ExecContext(ctx, forgetRequest, p.ID); err != nil {
				return err
			}
		}
		for i, pos := range positions {
			ids[i] = ids[pos]
			positions[i] = i
		}
		id, n = child, len(positions)
	} else if _, err := tx.ExecContext(ctx, `UPDATE parcel SET state = ?, reason = ?, detail = ?, begun = 0, settled = 0, since = 0, absent = 0, idem_key = '', body = NULL, changed = ? WHERE id = ?`,
		target.State, target.Reason, target.Detail, millis(now), id); err != nil {
		return err
	}
	if err := note(ctx, tx, id, now, string(fate.State), evidence); err != nil {
		return err
	}
	if fate.State != timesheet.StateSent {
		return nil
	}
	s := timesheet.Settlement{Batch: timesheet.Batch{Parcel: id, To: n}, At: now, Answer: []byte(evidence), Each: make([]timesheet.Fate, n)}
	for _, pos := range positions {
		s.Each[pos] = timesheet.Fate{State: timesheet.StateSent, ID: ids[pos]}
	}
	return l.writer.settle(ctx, tx, &s)
}

// Absent notes that a read-back did not find a parcel in doubt: a second one
// that agrees, some time later, is proof.
func (l *Ledger) Absent(ctx context.Context, parcel int64, at time.Time) error {
	tx, err := l.begin(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `UPDATE parcel SET absent = ? WHERE id = ? AND state = 'in_doubt'`, millis(at), parcel); err != nil {
		return explain("record a read-back", err)
	}
	return explain("record a read-back", tx.Commit())
}

// SkipRow closes a rejected row that never became an entry.
func (l *Ledger) SkipRow(ctx context.Context, key timesheet.Packed) error {
	tx, err := l.begin(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	res, err := tx.ExecContext(ctx, `UPDATE rejection SET state = 'skipped', changed = ? WHERE key = ?`, time.Now().UnixMilli(), key[:])
	if err != nil {
		return explain("record a decision", err)
	}
	if n, _ := res.RowsAffected(); n != 1 {
		return &Error{Kind: Broken, Message: fmt.Sprintf("no rejected row %s", timesheet.Ref(key))}
	}
	return explain("record a decision", tx.Commit())
}
