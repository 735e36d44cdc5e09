package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// What rounding adds to entries lies beside their parcel: four bytes for each
// position up to the last that has any. Most ledgers have none of it.

func putRounding(b []byte, pos int, add timesheet.Seconds) []byte {
	for len(b) < 4*(pos+1) {
		b = append(b, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint32(b[4*pos:], uint32(int32(add)))
	return b
}

func getRounding(b []byte, pos int) timesheet.Seconds {
	if len(b) < 4*(pos+1) {
		return 0
	}
	return timesheet.Seconds(int32(binary.BigEndian.Uint32(b[4*pos:])))
}

// Round notes what rounding adds to entries, or to changes of sent ones that
// wait, none of which is on the wire. Entries of this plan must not have moved
// yet, so that it comes after Index and before Hold.
func (p *Planning) Round(list []timesheet.Rounded) error {
	if err := p.filled(); err != nil {
		return err
	}
	return explain("plan", p.round(list))
}

func (p *Planning) round(list []timesheet.Rounded) error {
	type place struct {
		pos int
		add timesheet.Seconds
	}
	byParcel := map[int64][]place{}
	for i := range list {
		r := &list[i]
		var parcel int64
		var pos int
		if at, ours := p.freshAt(r.Key); ours && !r.Change {
			parcel, pos = p.place(&p.fresh[at])
		} else {
			query := `SELECT parcel, pos FROM entry WHERE key = ?`
			if r.Change {
				query = `SELECT parcel, 0 FROM amendment WHERE key = ?`
			}
			if err := p.tx.QueryRowContext(p.ctx, query, r.Key[:]).Scan(&parcel, &pos); err != nil {
				return err
			}
		}
		byParcel[parcel] = append(byParcel[parcel], place{pos, r.Add})
	}
	for parcel, places := range byParcel {
		b, err := roundingOf(p.ctx, p.tx, parcel)
		if err != nil {
			return err
		}
		for _, at := range places {
			b = putRounding(b, at.pos, at.add)
		}
		if _, err := p.exec(`INSERT OR REPLACE INTO rounding VALUES (?, ?)`, parcel, b); err != nil {
			return err
		}
		delete(p.facts, parcel)
	}
	p.rounds = true
	return nil
}

// roundingOf is what rounding adds to the entries of a parcel; nil for nothing.
func roundingOf(ctx context.Context, q queryer, parcel int64) (b []byte, err error) {
	err = q.QueryRowContext(ctx, `SELECT seconds FROM rounding WHERE parcel = ?`, parcel).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return b, err
}
