package ledger

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// loadMissing keeps the flagged entries; they are few.
func (p *Planning) loadMissing() error {
	rows, err := p.tx.QueryContext(p.ctx, `SELECT key FROM missing`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var raw sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		p.missing[timesheet.Packed(raw)] = true
	}
	return rows.Err()
}

// loadStates keeps the parcels that are not simply sent; they are few.
func (p *Planning) loadStates() error {
	rows, err := p.tx.QueryContext(p.ctx, `SELECT id, state, reason, settled, begun FROM parcel WHERE state <> 'new' OR settled < n`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var s parcelState
		if err := rows.Scan(&id, &s.state, &s.reason, &s.settled, &s.begun); err != nil {
			return err
		}
		p.states[id] = s
	}
	return rows.Err()
}

// Lookup tells for each entry what the ledger knows; found[i] is nil for an
// entry that is new. An entry with a trusted id that was first seen on
// another day is known under that day.
func (p *Planning) Lookup(entries []timesheet.Entry) (found []*timesheet.Known, err error) {
	found = make([]*timesheet.Known, len(entries))
	if len(entries) == 0 {
		return found, nil
	}
	if p.held == 0 {
		for i := range entries {
			p.days[entries[i].Day] = struct{}{}
		}
		return found, nil
	}
	keys := make([]timesheet.Packed, len(entries))
	var strays []int
	for i := range entries {
		keys[i] = entries[i].Key.Packed(entries[i].Day)
		p.days[entries[i].Day] = struct{}{}
	}
	if err := p.lookup(keys, found); err != nil {
		return nil, explain("look up entries", err)
	}
	for i := range entries {
		if found[i] == nil && entries[i].ID != "" {
			strays = append(strays, i)
		}
	}
	if err := p.lookupStrays(entries, strays, found); err != nil {
		return nil, explain("look up entries", err)
	}
	return found, nil
}

func (p *Planning) lookup(keys []timesheet.Packed, found []*timesheet.Known) error {
	if p.bulk != nil {
		for i := range keys {
			k := p.bulk.find(keys[i])
			if k == nil {
				continue
			}
			again := k.seen
			k.seen = true
			if err := p.know(&found[i], k.key, k.digest, int64(k.parcel), int(k.pos)); err != nil {
				return err
			}
			found[i].Again = again
		}
		return nil
	}
	at := make(map[timesheet.Packed][]int, len(keys))
	args := make([]any, len(keys))
	for i := range keys {
		at[keys[i]] = append(at[keys[i]], i)
		args[i] = keys[i][:]
	}
	rows, err := p.tx.QueryContext(p.ctx, `SELECT key, digest, parcel, pos FROM entry WHERE key IN (?`+strings.Repeat(",?", len(keys)-1)+`)`, args...) //nolint:gosec // only marks are joined
	if err != nil {
		return err
	}
	type hit struct {
		key         timesheet.Packed
		digest      int64
		parcel, pos int64
	}
	var hits []hit
	var raw sql.RawBytes
	for rows.Next() {
		var h hit
		if err := rows.Scan(&raw, &h.digest, &h.parcel, &h.pos); err != nil {
			_ = rows.Close()
			return err
		}
		copy(h.key[:], raw)
		hits = append(hits, h)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, h := range hits {
		p.seen = append(p.seen, h.key)
		for _, i := range at[h.key] {
			if err := p.know(&found[i], h.key, uint64(h.digest), h.parcel, int(h.pos)); err != nil {
				return err
			}
			if found[i].State == timesheet.StateNew {
				found[i].Again = p.waiting[h.key]
				p.waiting[h.key] = true
			}
		}
	}
	return nil
}

// know fills in what is known of an entry at a place.
func (p *Planning) know(known **timesheet.Known, key timesheet.Packed, digest uint64, parcel int64, pos int) error {
	k := &timesheet.Known{Key: key, Digest: digest, Seen: true}
	if now, ok := p.renewed[key]; ok {
		// Another file of the read has the row too.
		k.Digest, k.State = now, timesheet.StateNew
		*known = k
		return nil
	}
	k.State, k.Reason = p.stateAt(parcel, pos)
	if k.State == timesheet.StateSent && p.amendments {
		stmt, err := p.prepare(`SELECT a.digest, p.state, p.reason FROM amendment a JOIN parcel p ON p.id = a.parcel WHERE a.key = ?`)
		if err != nil {
			return err
		}
		var d int64
		switch err := stmt.QueryRowContext(p.ctx, key[:]).Scan(&d, &k.AmendedState, &k.AmendedReason); {
		case err == nil:
			k.Amended = uint64(d)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	*known = k
	return nil
}

func (p *Planning) stateAt(parcel int64, pos int) (timesheet.State, timesheet.Reason) {
	s, exception := p.states[parcel]
	switch {
	case !exception, s.state == timesheet.StateNew && pos < s.settled:
		return timesheet.StateSent, ""
	case s.state == timesheet.StateNew && pos < s.begun:
		return timesheet.StateSending, "" // as a dry run sees it
	default:
		return s.state, s.reason
	}
}
