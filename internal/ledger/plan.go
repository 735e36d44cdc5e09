package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// maxParcel bounds the entries of a parcel; positions take two bytes.
const maxParcel = 2000

// Planning is one source's plan under way: a transaction that ends with
// Commit or Rollback. It belongs to one goroutine.
//
// Rows are added as they are read. What is kept of each new one is a fresh
// record of 40 bytes, so that the index can be filled in key order at the end
// and the days can be judged; everything else is in parcels on disk.
type Planning struct {
	l      *Ledger
	tx     *sql.Tx
	ctx    context.Context //nolint:containedctx // the transaction's, for its whole life
	run    string
	source string
	id     int64 // the source's
	cap    int   // entries a parcel
	now    int64

	nextParcel int64
	open       map[slot]*builder
	fresh      []fresh
	persons    []string
	personIDs  map[string]uint32

	total      int64 // entries in the ledger
	held       int64 // those of the source
	amendments bool  // there are any
	bulk       []bulkKnown
	loaded     bool
	seen       []timesheet.Packed // known keys met, when nothing is loaded
	states     map[int64]parcelState
	days       map[timesheet.Day]struct{}
	facts      map[int64]parcelFacts
	// missing are the flagged entries; renewed those that this plan has planned
	// anew, with the short Digest of their present content.
	missing map[timesheet.Packed]bool
	renewed map[timesheet.Packed]uint64
	stmts   map[string]*sql.Stmt
}

// slot is where entries that end alike gather: a lane, or a state with its reason.
type slot struct {
	lane, lanes int
	state       timesheet.State
	reason      timesheet.Reason
	detail      string
	op          timesheet.Op
	target      string
	parent      int64
}

type builder struct {
	packer
	id int64
}

// fresh is an entry that this plan adds.
type fresh struct {
	key     timesheet.Packed
	digest  uint64
	person  uint32
	seconds uint32
	start   uint32 // seconds into the day plus one; 0 without a time of day
	parcel  uint32
	pos     uint16
	trusted bool
	// conflict: another row of the read has the same id and another content.
	conflict bool
	renewed  bool // it was known before, and has its place in the index
	state    byte // 0: new
}

type bulkKnown struct {
	key    timesheet.Packed
	digest uint64
	parcel uint32
	pos    uint16
	seen   bool
}

type parcelState struct {
	state   timesheet.State
	reason  timesheet.Reason
	settled int
	begun   int
}

// parcelFacts is what the judge needs of a parcel's entries.
type parcelFacts struct {
	source string
	of     []fact
}

type fact struct {
	person  uint32
	project uint32
	seconds uint32
}

// Plan begins the plan of a source. rows is how many rows the survey counted;
// size how many entries a parcel should hold at most: a multiple of the batch.
func (l *Ledger) Plan(ctx context.Context, source, run string, rows, size int) (*Planning, error) {
	// The transaction outlives a cancelled context: Rollback ends it.
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	p := &Planning{
		l: l, tx: tx, ctx: ctx, run: run, source: source, cap: min(max(size, 1), maxParcel), now: time.Now().UnixMilli(),
		open: map[slot]*builder{}, personIDs: map[string]uint32{}, days: map[timesheet.Day]struct{}{},
		facts: map[int64]parcelFacts{}, missing: map[timesheet.Packed]bool{}, renewed: map[timesheet.Packed]uint64{},
		stmts: map[string]*sql.Stmt{}, states: map[int64]parcelState{},
	}
	if err := p.start(rows); err != nil {
		p.Rollback()
		return nil, explain("plan", err)
	}
	return p, nil
}

// begin starts a writing transaction and makes sure that the ledger is still
// ours: with a store that several processes can reach, this is the fence.
func (l *Ledger) begin(ctx context.Context) (*sql.Tx, error) {
	if l.db == nil {
		return nil, &Error{Kind: Broken, Message: "the ledger is open for reading only"}
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain("write to the ledger", err)
	}
	if err := l.fence(ctx, tx); err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return tx, nil
}

func (l *Ledger) fence(ctx context.Context, tx *sql.Tx) error {
	var lease string
	if err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'lease'`).Scan(&lease); err != nil {
		return explain("write to the ledger", err)
	}
	if lease != l.lease {
		return &Error{Kind: Stolen, Message: "another process has taken over the ledger", HintText: "look for a second tsupload with the same state directory"}
	}
	return nil
}

func (p *Planning) start(rows int) error {
	id, err := internSource(p.ctx, p.tx, p.source)
	if err != nil {
		return err
	}
	p.id = id
	if err := p.tx.QueryRowContext(p.ctx, `SELECT coalesce(max(id), 0) + 1 FROM parcel`).Scan(&p.nextParcel); err != nil {
		return err
	}
	if err := p.tx.QueryRowContext(p.ctx, `SELECT coalesce(sum(live), 0), coalesce(sum(live) FILTER (WHERE source = ?), 0) FROM parcel`, p.id).Scan(&p.total, &p.held); err != nil {
		return err
	}
	p.fresh = make([]fresh, 0, max(0, rows-int(p.held)))
	if p.total == 0 {
		return nil
	}
	if err := p.tx.QueryRowContext(p.ctx, `SELECT EXISTS (SELECT 1 FROM amendment)`).Scan(&p.amendments); err != nil {
		return err
	}
	if err := p.loadStates(); err != nil {
		return err
	}
	// Loading everything pays when more than about a third is asked for.
	if int64(rows) > p.total/3 {
		if err := p.loadAll(); err != nil {
			return err
		}
	}
	return p.loadMissing()
}

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

func internSource(ctx context.Context, tx *sql.Tx, name string) (int64, error) {
	var id int64
	err := tx.QueryRowContext(ctx, `SELECT id FROM source WHERE name = ?`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, `INSERT INTO source(name) VALUES (?) RETURNING id`, name).Scan(&id)
	}
	return id, err
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

func (p *Planning) loadAll() error {
	p.bulk, p.loaded = make([]bulkKnown, 0, p.total), true
	rows, err := p.tx.QueryContext(p.ctx, `SELECT key, digest, parcel, pos FROM entry ORDER BY key`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var raw sql.RawBytes
	for rows.Next() {
		var k bulkKnown
		var digest int64
		if err := rows.Scan(&raw, &digest, &k.parcel, &k.pos); err != nil {
			return err
		}
		copy(k.key[:], raw)
		k.digest = uint64(digest)
		p.bulk = append(p.bulk, k)
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
	if len(strays) > 0 {
		if err := p.lookupStrays(entries, strays, found); err != nil {
			return nil, explain("look up entries", err)
		}
	}
	return found, nil
}

func (p *Planning) lookup(keys []timesheet.Packed, found []*timesheet.Known) error {
	if p.loaded {
		for i := range keys {
			at, ok := slices.BinarySearchFunc(p.bulk, keys[i], func(k bulkKnown, key timesheet.Packed) int { return bytes.Compare(k.key[:], key[:]) })
			if !ok {
				continue
			}
			k := &p.bulk[at]
			k.seen = true
			if err := p.know(&found[i], k.key, k.digest, int64(k.parcel), int(k.pos)); err != nil {
				return err
			}
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
		}
	}
	return nil
}

func (p *Planning) lookupStrays(entries []timesheet.Entry, strays []int, found []*timesheet.Known) error {
	stmt, err := p.prepare(`SELECT day FROM trusted WHERE id = ?`)
	if err != nil {
		return err
	}
	for _, i := range strays {
		var day int64
		id := entries[i].Key
		err := stmt.QueryRowContext(p.ctx, id[:12]).Scan(&day)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		if err := p.lookup([]timesheet.Packed{id.Packed(timesheet.Day(day))}, found[i:i+1]); err != nil {
			return err
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

// Add puts a new entry into the plan: new, held or, where the ledger assumes
// it sent, sent. Its lane is lane of lanes.
func (p *Planning) Add(e *timesheet.Entry, fate timesheet.Fate, lane, lanes int) error {
	b, err := p.builder(slot{lane: lane, lanes: lanes, state: fate.State, reason: fate.Reason, detail: fate.Detail, op: timesheet.OpCreate})
	if err != nil {
		return err
	}
	key := e.Key.Packed(e.Day)
	p.fresh = append(p.fresh, p.freshOf(e, key, fate, b))
	b.add(key, e)
	return nil
}

// freshOf is the record of an entry that is about to be added to b.
func (p *Planning) freshOf(e *timesheet.Entry, key timesheet.Packed, fate timesheet.Fate, b *builder) fresh {
	f := fresh{
		key: key, digest: e.Digest.Short(), person: p.person(e.Person), seconds: uint32(min(max(e.Duration, 0), 1<<31)),
		parcel: uint32(b.id), pos: uint16(b.n), trusted: e.ID != "",
	}
	if fate.State != timesheet.StateNew {
		f.state = 1
	}
	if !e.Start.IsZero() {
		h, m, s := e.Start.Clock()
		f.start = uint32(h*3600+m*60+s) + 1
	}
	return f
}

// Replace plans a known, unsent entry anew, with its present content. To the
// judge it is as good as added.
func (p *Planning) Replace(e *timesheet.Entry, known *timesheet.Known, fate timesheet.Fate, lane, lanes int) error {
	b, err := p.builder(slot{lane: lane, lanes: lanes, state: fate.State, reason: fate.Reason, detail: fate.Detail, op: timesheet.OpCreate})
	if err != nil {
		return err
	}
	if err := p.leave(known.Key); err != nil {
		return explain("plan", err)
	}
	_, err = p.exec(`UPDATE entry SET digest = ?, parcel = ?, pos = ? WHERE key = ?`, int64(e.Digest.Short()), b.id, b.n, known.Key[:])
	f := p.freshOf(e, known.Key, fate, b)
	f.renewed = true
	p.fresh = append(p.fresh, f)
	p.renewed[known.Key] = e.Digest.Short()
	b.add(known.Key, e)
	return explain("plan", err)
}

// Amend plans the change of a sent entry: held for a person, or new, to
// replace what the API holds. A change that waited already is superseded.
// It tells false where the API gave no id to replace by.
func (p *Planning) Amend(e *timesheet.Entry, known *timesheet.Known, fate timesheet.Fate, lane, lanes int) (bool, error) {
	ok, err := p.amend(e, known, fate, lane, lanes)
	return ok, explain("plan", err)
}

func (p *Planning) amend(e *timesheet.Entry, known *timesheet.Known, fate timesheet.Fate, lane, lanes int) (bool, error) {
	s := slot{lane: lane, lanes: lanes, state: fate.State, reason: fate.Reason, detail: fate.Detail, op: timesheet.OpUpdate}
	var parcel int64
	var pos int
	if err := p.tx.QueryRowContext(p.ctx, `SELECT parcel, pos FROM entry WHERE key = ?`, known.Key[:]).Scan(&parcel, &pos); err != nil {
		return false, err
	}
	remote, err := remoteID(p.ctx, p.tx, parcel, pos)
	if err == nil && remote == "" {
		// A replacement whose answer named no id left the one it replaced.
		err = p.tx.QueryRowContext(p.ctx, `SELECT target FROM parcel WHERE id = ?`, parcel).Scan(&remote)
	}
	if err != nil {
		return false, err
	}
	if s.target = remote; remote == "" && fate.State == timesheet.StateNew {
		return false, nil
	}
	if err := p.dropAmendment(known.Key); err != nil {
		return false, err
	}
	s.parent = parcel
	b, err := p.builder(s)
	if err != nil {
		return false, err
	}
	b.add(known.Key, e)
	if _, err := p.exec(`INSERT INTO amendment VALUES (?, ?, ?)`, known.Key[:], int64(e.Digest.Short()), b.id); err != nil {
		return false, err
	}
	delete(p.open, s) // an update goes alone
	return true, p.flush(s, b)
}

// Restore drops a change that waited, because the row reads as it was sent again.
func (p *Planning) Restore(known *timesheet.Known) error {
	return explain("plan", p.dropAmendment(known.Key))
}

func (p *Planning) dropAmendment(key timesheet.Packed) error {
	_, err := p.exec(`UPDATE parcel SET state = 'skipped', reason = ?, changed = ?, live = 0, live_seconds = 0, gone = x'0000'
		WHERE id = (SELECT parcel FROM amendment WHERE key = ?)`, timesheet.ReasonWithdrawn, p.now, key[:])
	if err == nil {
		_, err = p.exec(`DELETE FROM amendment WHERE key = ?`, key[:])
	}
	return err
}

// Reject records a row that is no entry. It tells the state it has: rejected,
// or skipped where a person has closed it.
func (p *Planning) Reject(r *timesheet.Rejection) (timesheet.State, error) {
	key := r.Key.Packed(r.Day)
	if r.HasDay {
		p.days[r.Day] = struct{}{}
	}
	header, _ := json.Marshal(r.Header)
	record, _ := json.Marshal(r.Record)
	var state timesheet.State
	stmt, err := p.prepare(`INSERT INTO rejection VALUES (?,?,'rejected',?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (key) DO UPDATE SET reason = excluded.reason, col = excluded.col, message = excluded.message, hint = excluded.hint,
			file = excluded.file, line = excluded.line, header = excluded.header, record = excluded.record, run = excluded.run
		RETURNING state`)
	if err == nil {
		err = stmt.QueryRowContext(p.ctx, key[:], p.id, r.Reason, r.Column, r.Message, r.Hint, r.Origin.File, r.Origin.Line,
			string(header), string(record), r.Person, int64(r.Duration), p.run, p.now).Scan(&state)
	}
	return state, explain("plan", err)
}

// CloseRejections drops the open rejections of a file that a complete read of
// that file no longer has: the row was mended, and what became of it is an
// entry of its own. It tells how many there were.
func (p *Planning) CloseRejections(file string) (int, error) {
	res, err := p.exec(`UPDATE rejection SET state = 'skipped', changed = ? WHERE source = ? AND file = ? AND state = 'rejected' AND run <> ?`,
		p.now, p.id, file, p.run)
	if err != nil {
		return 0, explain("plan", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (p *Planning) person(name string) uint32 {
	id, ok := p.personIDs[name]
	if !ok {
		id = uint32(len(p.persons))
		name = strings.Clone(name) // it may be a part of a whole record
		p.persons = append(p.persons, name)
		p.personIDs[name] = id
	}
	return id
}

func (p *Planning) builder(s slot) (*builder, error) {
	if b := p.open[s]; b != nil {
		if b.n < p.cap {
			return b, nil
		}
		if err := p.flush(s, b); err != nil {
			return nil, explain("plan", err)
		}
		b.keys, b.facts, b.rest, b.n, b.seconds, b.file = b.keys[:0], b.facts[:0], b.rest[:0], 0, 0, ""
		b.id, p.nextParcel = p.nextParcel, p.nextParcel+1
		return b, nil
	}
	b := &builder{id: p.nextParcel}
	p.nextParcel++
	p.open[s] = b
	return b, nil
}

func (p *Planning) flush(s slot, b *builder) error {
	if b.n == 0 {
		return nil
	}
	state, settled := s.state, 0
	if state == timesheet.StateSent {
		state, settled = timesheet.StateNew, b.n
	}
	if state != timesheet.StateNew || settled < b.n {
		p.states[b.id] = parcelState{state: state, reason: s.reason, settled: settled}
	}
	if _, err := p.exec(`INSERT INTO parcel(id, source, parent, run, lane, lanes, op, target, state, reason, detail, n, settled, begun, live, live_seconds, changed, born)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, b.id, p.id, s.parent, p.run, s.lane, s.lanes, s.op, s.target, state, s.reason, s.detail,
		b.n, settled, settled, b.n, int64(b.seconds), p.now, p.now); err != nil {
		return err
	}
	if _, err := p.exec(`INSERT INTO detail VALUES (?, ?, ?)`, b.id, b.keys, b.facts); err != nil {
		return err
	}
	if settled == b.n {
		return nil
	}
	_, err := p.exec(`INSERT INTO content VALUES (?, ?)`, b.id, b.rest)
	return err
}

// leave takes an entry out of the parcel it is in.
func (p *Planning) leave(key timesheet.Packed) error {
	return leave(p.ctx, p.tx, key)
}

func (p *Planning) prepare(query string) (*sql.Stmt, error) {
	if s := p.stmts[query]; s != nil {
		return s, nil
	}
	s, err := p.tx.PrepareContext(p.ctx, query)
	if err == nil {
		p.stmts[query] = s
	}
	return s, err
}

func (p *Planning) exec(query string, args ...any) (sql.Result, error) {
	s, err := p.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(p.ctx, args...)
}

// Remember notes the read, so that an equal one can be passed over.
func (p *Planning) Remember(s *timesheet.Survey, summary []byte) error {
	_, err := p.exec(`INSERT OR REPLACE INTO reading VALUES (?,?,?,?,?)`, p.id, s.Stamp, s.Fingerprint[:], p.now, string(summary))
	return explain("plan", err)
}

// Commit makes the plan durable.
func (p *Planning) Commit() error {
	crash.Point("C1")
	err := p.tx.Commit()
	if err == nil {
		crash.Point("C2")
	}
	return explain("write the plan", err)
}

// Rollback forgets the plan. After Commit it does nothing.
func (p *Planning) Rollback() { _ = p.tx.Rollback() }
