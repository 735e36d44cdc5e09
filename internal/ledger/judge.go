package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Cover adds days to those that Days goes through, although the read may have
// no rows of them.
func (p *Planning) Cover(w timesheet.Window) {
	if p.total == 0 {
		return
	}
	for d := w.First; d <= w.Last; d++ {
		p.days[d] = struct{}{}
	}
}

// Days calls judge for every day of the read that has something to judge:
// entries that this plan adds, or entries of this source that the ledger has
// and the read has not. known holds all entries of that day, those of other
// sources too.
// With unsent, days with known entries that wait to be sent are gone through
// too. The slices are only good until judge returns.
func (p *Planning) Days(unsent bool, judge func(day timesheet.Day, known []timesheet.Known, added []timesheet.Fresh) error) error {
	slices.SortFunc(p.seen, func(a, b timesheet.Packed) int { return bytes.Compare(a[:], b[:]) })
	days := make([]timesheet.Day, 0, len(p.days))
	for d := range p.days {
		days = append(days, d)
	}
	slices.Sort(days)
	at := 0
	for _, day := range days {
		for at < len(p.fresh) && p.fresh[at].key.Day() < day {
			at++
		}
		end := at
		for end < len(p.fresh) && p.fresh[end].key.Day() == day {
			end++
		}
		added := make([]timesheet.Fresh, 0, end-at)
		for i := range p.fresh[at:end] {
			f := &p.fresh[at+i]
			added = append(added, p.shown(f))
		}
		at = end
		known, err := p.knownOn(day, len(added) > 0, unsent || p.rounds)
		if err != nil {
			return explain("plan", err)
		}
		if len(added) == 0 && len(known) == 0 {
			continue
		}
		if err := judge(day, known, added); err != nil {
			return err
		}
	}
	return nil
}

// shown is a fresh record as the judge sees it.
func (p *Planning) shown(f *fresh) timesheet.Fresh {
	seconds, start := f.times()
	shown := timesheet.Fresh{
		Key: f.key, Person: p.persons[f.person()], Seconds: seconds, Start: start,
		Trusted: f.is(trusted), Conflict: f.is(conflict), New: !f.is(notNew),
	}
	shown.State, shown.Reason = p.stateAt(p.place(f))
	return shown
}

type place struct {
	key         timesheet.Packed
	digest      uint64
	parcel, pos int64
	seen        bool
}

// knownOn lists what the ledger had on a day before this plan.
// Unless all is set, nothing is listed where the read has all of it and nothing
// is held, nor, with unsent, still to be sent.
func (p *Planning) knownOn(day timesheet.Day, all, unsent bool) ([]timesheet.Known, error) {
	if p.total == 0 {
		return nil, nil
	}
	var places []place
	if p.bulk != nil {
		for _, k := range p.bulk.on(day) {
			if _, mine := p.freshAt(k.key); mine {
				continue
			}
			places = append(places, place{key: k.key, digest: k.digest, parcel: int64(k.parcel), pos: int64(k.pos), seen: k.seen})
		}
	} else {
		low, high := timesheet.Key{}.Packed(day), timesheet.Key{}.Packed(day+1)
		rows, err := p.tx.QueryContext(p.ctx, `SELECT key, digest, parcel, pos FROM entry WHERE key >= ? AND key < ?`, low[:], high[:])
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var raw sql.RawBytes
		for rows.Next() {
			var x place
			var digest int64
			if err := rows.Scan(&raw, &digest, &x.parcel, &x.pos); err != nil {
				return nil, err
			}
			copy(x.key[:], raw)
			x.digest = uint64(digest)
			_, x.seen = slices.BinarySearchFunc(p.seen, x.key, func(a, b timesheet.Packed) int { return bytes.Compare(a[:], b[:]) })
			if _, mine := p.freshAt(x.key); !mine {
				places = append(places, x)
			}
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	// A held or refused entry may be let go by what the day has become.
	judged := func(x place) bool {
		state, reason := p.stateAt(x.parcel, int(x.pos))
		return !x.seen || state == timesheet.StateHeld || state == timesheet.StateRejected ||
			unsent && (state == timesheet.StateNew || reason == timesheet.ReasonRounded)
	}
	if !all && !slices.ContainsFunc(places, judged) {
		return nil, nil
	}
	var known []timesheet.Known
	for _, x := range places {
		facts, err := p.factsOf(x.parcel)
		if err != nil {
			return nil, err
		}
		if int(x.pos) >= len(facts.of) {
			return nil, errCodec
		}
		f := facts.of[x.pos]
		k := timesheet.Known{
			Key: x.key, Digest: x.digest, Person: p.persons[f.person], Project: p.persons[f.project], Seconds: timesheet.Seconds(f.seconds), Seen: x.seen,
			Rounding: getRounding(facts.rounding, int(x.pos)), Missing: p.missing[x.key], Source: facts.source,
		}
		k.State, k.Reason = p.stateAt(x.parcel, int(x.pos))
		known = append(known, k)
	}
	return known, nil
}

func (p *Planning) freshAt(key timesheet.Packed) (int, bool) {
	return slices.BinarySearchFunc(p.fresh, key, func(f fresh, key timesheet.Packed) int { return bytes.Compare(f.key[:], key[:]) })
}

// factsOf is person, project and duration of each entry of a parcel, kept in
// twelve bytes each.
func (p *Planning) factsOf(parcel int64) (parcelFacts, error) {
	if f, ok := p.facts[parcel]; ok {
		return f, nil
	}
	stmt, err := p.prepare(`SELECT s.name, p.n, d.facts FROM parcel p JOIN source s ON s.id = p.source JOIN detail d ON d.parcel = p.id WHERE p.id = ?`)
	if err != nil {
		return parcelFacts{}, err
	}
	var source string
	var n int
	var blob []byte
	if err := stmt.QueryRowContext(p.ctx, parcel).Scan(&source, &n, &blob); err != nil {
		return parcelFacts{}, err
	}
	facts := parcelFacts{source: source, of: make([]fact, n)}
	err = eachFact(blob, n, func(i int, person, project, _, _ string, _ uint64, _ timesheet.Day, s timesheet.Seconds) {
		facts.of[i] = fact{person: p.person(person), project: p.person(project), seconds: uint32(s)}
	})
	if err == nil && p.rounds {
		facts.rounding, err = roundingOf(p.ctx, p.tx, parcel)
	}
	p.facts[parcel] = facts
	return facts, err
}

// Hold moves entries of this plan, or unsent known ones, into a state of
// their own: held, rejected or skipped.
func (p *Planning) Hold(keys []timesheet.Packed, fate timesheet.Fate) error {
	if err := p.filled(); err != nil {
		return err
	}
	return explain("plan", p.hold(keys, fate))
}

func (p *Planning) hold(keys []timesheet.Packed, fate timesheet.Fate) error {
	byParcel := map[int64][]int{}
	for _, key := range keys {
		var parcel int64
		var pos int
		err := p.tx.QueryRowContext(p.ctx, `SELECT parcel, pos FROM entry WHERE key = ?`, key[:]).Scan(&parcel, &pos)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		byParcel[parcel] = append(byParcel[parcel], pos)
		if i, ok := p.freshAt(key); ok {
			p.fresh[i].mark(notNew)
		}
	}
	for parcel, positions := range byParcel {
		id, err := split(p.ctx, p.tx, parcel, positions, fate, p.now)
		if err != nil {
			return err
		}
		p.states[id] = parcelState{state: fate.State, reason: fate.Reason}
	}
	return nil
}

// Missing flags sent entries that a complete read no longer has, and unflags
// those that are back.
func (p *Planning) Missing(absent, back []timesheet.Packed) error {
	if err := p.filled(); err != nil {
		return err
	}
	for _, key := range absent {
		if _, err := p.exec(`INSERT OR IGNORE INTO missing VALUES (?, ?)`, key[:], p.now); err != nil {
			return explain("plan", err)
		}
	}
	for _, key := range back {
		if _, err := p.exec(`DELETE FROM missing WHERE key = ?`, key[:]); err != nil {
			return explain("plan", err)
		}
	}
	return nil
}

// SeenMissing lists flagged entries of the read's days that the read has.
func (p *Planning) SeenMissing() ([]timesheet.Packed, error) {
	if err := p.filled(); err != nil {
		return nil, err
	}
	rows, err := p.tx.QueryContext(p.ctx, `SELECT key FROM missing`)
	if err != nil {
		return nil, explain("plan", err)
	}
	defer rows.Close()
	var back []timesheet.Packed
	for rows.Next() {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil {
			return nil, explain("plan", err)
		}
		key := timesheet.Packed(raw)
		if p.wasSeen(key) {
			back = append(back, key)
		}
	}
	return back, explain("plan", rows.Err())
}

func (p *Planning) wasSeen(key timesheet.Packed) bool {
	if p.bulk != nil {
		k := p.bulk.find(key)
		return k != nil && k.seen
	}
	return slices.Contains(p.seen, key)
}

// leave takes an entry out of its parcel's count: it goes elsewhere.
func leave(ctx context.Context, tx *sql.Tx, key timesheet.Packed) error {
	var parcel int64
	var pos int
	if err := tx.QueryRowContext(ctx, `SELECT parcel, pos FROM entry WHERE key = ?`, key[:]).Scan(&parcel, &pos); err != nil {
		return err
	}
	var n int
	var blob []byte
	if err := tx.QueryRowContext(ctx, `SELECT p.n, d.facts FROM parcel p JOIN detail d ON d.parcel = p.id WHERE p.id = ?`, parcel).Scan(&n, &blob); err != nil {
		return err
	}
	var seconds timesheet.Seconds
	if err := eachFact(blob, n, func(i int, _, _, _, _ string, _ uint64, _ timesheet.Day, s timesheet.Seconds) {
		if i == pos {
			seconds = s
		}
	}); err != nil {
		return err
	}
	return goneFrom(ctx, tx, parcel, pos, seconds)
}

func goneFrom(ctx context.Context, tx *sql.Tx, parcel int64, pos int, seconds timesheet.Seconds) error {
	_, err := tx.ExecContext(ctx, `UPDATE parcel SET gone = coalesce(gone, x'') || ?, live = live - 1, live_seconds = live_seconds - ? WHERE id = ?`,
		putPosition(nil, pos), int64(seconds), parcel)
	return err
}

// split moves entries of a parcel into a new one with a fate of its own, and
// returns its id. Positions that are gone already are left alone.
func split(ctx context.Context, tx *sql.Tx, parcel int64, positions []int, fate timesheet.Fate, now int64) (int64, error) {
	from, err := loadParcel(ctx, tx, parcel)
	if err != nil {
		return 0, err
	}
	var records []byte
	if err := tx.QueryRowContext(ctx, `SELECT records FROM detail WHERE parcel = ?`, parcel).Scan(&records); err != nil {
		return 0, err
	}
	var child packer
	var moved []int
	slices.Sort(positions)
	for _, pos := range slices.Compact(positions) {
		if from.Gone[pos] {
			continue
		}
		child.add(from.Keys[pos], binary.BigEndian.Uint64(records[pos*recordSize+keySize:]), &from.Entries[pos])
		moved = append(moved, pos)
	}
	if len(moved) == 0 {
		return 0, nil
	}
	var id int64
	if err := tx.QueryRowContext(ctx, `INSERT INTO parcel(id, source, parent, run, lane, lanes, op, target, attempts, state, reason, detail, n, live, live_seconds, changed, born)
		SELECT (SELECT max(id) + 1 FROM parcel), source, id, run, lane, lanes, op, target, attempts, ?, ?, ?, ?, ?, ?, ?, ? FROM parcel WHERE id = ? RETURNING id`,
		fate.State, fate.Reason, fate.Detail, child.n, child.n, int64(child.seconds), now, now, parcel).Scan(&id); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO detail VALUES (?,?,?)`, id, child.records, child.facts); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO content VALUES (?,?)`, id, child.rest); err != nil {
		return 0, err
	}
	if child.rounding != nil {
		if _, err := tx.ExecContext(ctx, `INSERT INTO rounding VALUES (?,?)`, id, child.rounding); err != nil {
			return 0, err
		}
	}
	gone := make([]byte, 0, 2*len(moved))
	for i, pos := range moved {
		if from.Op == timesheet.OpUpdate {
			if _, err := tx.ExecContext(ctx, `UPDATE amendment SET parcel = ? WHERE key = ?`, id, from.Keys[pos][:]); err != nil {
				return 0, err
			}
		} else if _, err := tx.ExecContext(ctx, `UPDATE entry SET parcel = ?, pos = ? WHERE key = ?`, id, i, from.Keys[pos][:]); err != nil {
			return 0, err
		}
		gone = putPosition(gone, pos)
	}
	_, err = tx.ExecContext(ctx, `UPDATE parcel SET gone = coalesce(gone, x'') || ?, live = live - ?, live_seconds = live_seconds - ? WHERE id = ?`,
		gone, len(moved), int64(child.seconds), parcel)
	return id, err
}
