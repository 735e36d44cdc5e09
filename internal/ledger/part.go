package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Peek tells what the ledger had under a key before this plan: where that stands
// and whether the read has it. Nil where it had nothing. It is for judges of
// Days.
func (p *Planning) Peek(key timesheet.Packed) (*timesheet.Known, error) {
	if p.total == 0 {
		return nil, nil
	}
	var parcel, pos int64
	k := &timesheet.Known{Key: key}
	if p.bulk != nil {
		found := p.bulk.find(key)
		if found == nil {
			return nil, nil
		}
		parcel, pos, k.Seen = int64(found.parcel), int64(found.pos), found.seen
	} else {
		stmt, err := p.prepare(`SELECT parcel, pos FROM entry WHERE key = ?`)
		if err == nil {
			err = stmt.QueryRowContext(p.ctx, key[:]).Scan(&parcel, &pos)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, explain("plan", err)
		}
		_, k.Seen = slices.BinarySearchFunc(p.seen, key, func(a, b timesheet.Packed) int { return bytes.Compare(a[:], b[:]) })
	}
	k.State, k.Reason = p.stateAt(parcel, int(pos))
	return k, nil
}

// Parts lists the other parts of the row over midnight that an entry is a part
// of, in the order of their days; none of most.
func (l *Ledger) Parts(ctx context.Context, w *timesheet.Waiting) ([]*timesheet.Waiting, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	var parts []*timesheet.Waiting
	take := func(key timesheet.Packed) (bool, error) {
		var parcel int64
		var pos int
		err := l.reader.QueryRowContext(ctx, `SELECT parcel, pos FROM entry WHERE key = ?`, key[:]).Scan(&parcel, &pos)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, explain("look for parts", err)
		}
		return true, l.eachOf(ctx, parcel, pos, nil, func(w *timesheet.Waiting) error {
			parts = append(parts, w)
			return nil
		})
	}
	for _, turn := range []func(timesheet.Packed) timesheet.Packed{timesheet.Packed.Prev, timesheet.Packed.Next} {
		for key := turn(w.Key); ; key = turn(key) {
			if there, err := take(key); err != nil || !there {
				if err != nil {
					return nil, err
				}
				break
			}
		}
	}
	slices.SortFunc(parts, func(a, b *timesheet.Waiting) int { return int(a.Day - b.Day) })
	return parts, nil
}
