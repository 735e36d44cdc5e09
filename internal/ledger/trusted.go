package ledger

import (
	"bytes"
	"database/sql"
	"errors"
	"slices"
	"strconv"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Entries with an id of the tracker's are known by that id, so that they are
// still known when their day has changed. The table trusted tells the day of
// each id. It is brought up to date when something is to be looked up in it, and
// not before: a first import needs nothing of it, and filling it costs as much
// as the index of the entries does.

// trustedTo is the name in meta of the last parcel whose ids are in trusted.
const trustedTo = "trusted_to"

// lookupStrays looks up by id the entries that are not known on their days.
func (p *Planning) lookupStrays(entries []timesheet.Entry, strays []int, found []*timesheet.Known) error {
	p.strays += len(strays)
	for _, i := range strays {
		day, ok, err := p.dayOfID(entries[i].Key)
		if err == nil && ok {
			err = p.lookup([]timesheet.Packed{entries[i].Key.Packed(day)}, found[i:i+1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dayOfID tells on which day the ledger has an id of a tracker's.
func (p *Planning) dayOfID(key timesheet.Key) (timesheet.Day, bool, error) {
	if p.bulk != nil && !p.byID && p.strays*len(p.bulk.days) <= lookPerEntry*len(p.bulk.of) {
		day, ok := p.bulk.dayOf(key)
		return day, ok, nil
	}
	if err := p.fillTrusted(); err != nil {
		return 0, false, err
	}
	stmt, err := p.prepare(`SELECT day FROM trusted WHERE id = ?`)
	if err != nil {
		return 0, false, err
	}
	var day int64
	err = stmt.QueryRowContext(p.ctx, key[:12]).Scan(&day)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return timesheet.Day(day), err == nil, err
}

// lookPerEntry is in how many days an id can be looked for in memory in the
// time that it takes to put one into the table.
const lookPerEntry = 16

// dayOf looks for an id on each day: good for a few.
func (b *bulk) dayOf(key timesheet.Key) (first timesheet.Day, ok bool) {
	for day := range b.days {
		if b.find(key.Packed(day)) != nil && (!ok || day < first) {
			first, ok = day, true
		}
	}
	return first, ok
}

type trustedID struct {
	id  [12]byte
	day timesheet.Day
}

// trustedGroup is how many ids are sorted and inserted together.
const trustedGroup = 1 << 18

// fillTrusted brings trusted up to the parcels before this plan, once a plan.
func (p *Planning) fillTrusted() error {
	if p.byID {
		return nil
	}
	var value string
	if err := p.tx.QueryRowContext(p.ctx, `SELECT value FROM meta WHERE name = ?`, trustedTo).Scan(&value); err != nil {
		return err
	}
	to, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return err
	}
	for group := []trustedID(nil); to < p.firstParcel-1; group = group[:0] {
		if group, to, err = p.trustedIDs(group, to); err != nil {
			return err
		}
		if err := p.insertTrusted(group); err != nil {
			return err
		}
	}
	p.byID = true
	_, err = p.exec(`UPDATE meta SET value = ? WHERE name = ?`, strconv.FormatInt(p.firstParcel-1, 10), trustedTo)
	return err
}

// trustedIDs gathers ids of the parcels behind one, and tells up to which.
func (p *Planning) trustedIDs(group []trustedID, behind int64) (_ []trustedID, to int64, err error) {
	rows, err := p.tx.QueryContext(p.ctx, `SELECT p.id, p.n, d.records, d.facts FROM parcel p JOIN detail d ON d.parcel = p.id WHERE p.id > ? AND p.id < ? ORDER BY p.id`, behind, p.firstParcel)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var n int
	var records, facts sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&to, &n, &records, &facts); err != nil {
			return nil, 0, err
		}
		if len(records) != n*recordSize {
			return nil, 0, errCodec
		}
		if err := eachFact(facts, n, func(i int, _, _, _, id string, _ uint64, _ timesheet.Day, _ timesheet.Seconds) {
			if id != "" {
				key := timesheet.Packed(records[i*recordSize : i*recordSize+keySize])
				group = append(group, trustedID{key.ID(), key.Day()})
			}
		}); err != nil {
			return nil, 0, err
		}
		if len(group) >= trustedGroup {
			return group, to, nil
		}
	}
	return group, p.firstParcel - 1, rows.Err()
}

func (p *Planning) insertTrusted(ids []trustedID) error {
	slices.SortFunc(ids, func(a, b trustedID) int { return bytes.Compare(a.id[:], b.id[:]) })
	return p.insertRows("INSERT OR IGNORE INTO trusted VALUES ", "", 2, len(ids), func(i int, args []any) []any {
		return append(args, ids[i].id[:], int64(ids[i].day))
	})
}
