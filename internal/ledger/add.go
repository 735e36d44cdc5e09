package ledger

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

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

// Add puts a new entry into the plan: new, held or, where the ledger assumes
// it sent, sent. Its lane is lane of lanes.
func (p *Planning) Add(e *timesheet.Entry, fate timesheet.Fate, lane, lanes int) error {
	b, err := p.builder(slot{lane: lane, lanes: lanes, state: fate.State, reason: fate.Reason, detail: fate.Detail, op: timesheet.OpCreate})
	if err != nil {
		return err
	}
	key := e.Key.Packed(e.Day)
	f, err := p.freshOf(e, key, fate, b)
	if err != nil {
		return err
	}
	p.fresh = append(p.fresh, f)
	b.add(key, e.Digest.Short(), e)
	return nil
}

// freshOf is the record of an entry that is about to be added to b.
func (p *Planning) freshOf(e *timesheet.Entry, key timesheet.Packed, fate timesheet.Fate, b *builder) (fresh, error) {
	f := fresh{key: key, digest: [8]byte(e.Digest[:8])}
	if err := f.put(p.person(e.Person), b.id-p.firstParcel, b.n); err != nil {
		return f, err
	}
	if e.ID != "" {
		f.mark(trusted)
	}
	if fate.State != timesheet.StateNew {
		f.mark(notNew)
	}
	start := -1
	if !e.Start.IsZero() {
		h, m, s := e.Start.Clock()
		start = h*3600 + m*60 + s
	}
	f.last(e.Duration, start)
	return f, nil
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
	if err != nil {
		return explain("plan", err)
	}
	f, err := p.freshOf(e, known.Key, fate, b)
	if err != nil {
		return err
	}
	f.mark(renewed)
	p.fresh = append(p.fresh, f)
	p.renewed[known.Key] = e.Digest.Short()
	b.add(known.Key, e.Digest.Short(), e)
	return nil
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
	b.add(known.Key, e.Digest.Short(), e)
	if _, err := p.exec(`INSERT INTO amendment VALUES (?, ?, ?)`, known.Key[:], int64(e.Digest.Short()), b.id); err != nil {
		return false, err
	}
	delete(p.open, s) // an update goes alone
	return true, p.flush(full{s, b})
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
	if !slices.Equal(r.Header, p.header) || p.headerJSON == "" {
		header, _ := json.Marshal(r.Header)
		p.header, p.headerJSON = slices.Clone(r.Header), string(header)
	}
	record, _ := json.Marshal(r.Record)
	p.refused = append(p.refused, key[:], p.id, string(timesheet.StateRejected), string(r.Reason), r.Column, r.Message, r.Hint, r.Origin.File, int64(r.Origin.Place()),
		p.headerJSON, string(record), r.Person, int64(r.Duration), p.run, p.now)
	if p.refusedBefore {
		return p.rejectAgain()
	}
	if len(p.refused) < rejectionColumns*rowsGroup {
		return timesheet.StateRejected, nil
	}
	return timesheet.StateRejected, explain("plan", p.writeRejections())
}

const (
	rejectionColumns = 15
	rejectionAgain   = ` ON CONFLICT (key) DO UPDATE SET reason = excluded.reason, col = excluded.col, message = excluded.message, hint = excluded.hint,
		file = excluded.file, line = excluded.line, header = excluded.header, record = excluded.record, run = excluded.run,
		state = CASE rejection.run WHEN '' THEN 'rejected' ELSE rejection.state END`
)

// rejectAgain writes the one rejection that is at hand. The ledger may have it
// already, and a person may have closed it.
func (p *Planning) rejectAgain() (state timesheet.State, err error) {
	stmt, err := p.prepare(`INSERT INTO rejection VALUES (?` + strings.Repeat(",?", rejectionColumns-1) + `)` + rejectionAgain + ` RETURNING state`)
	if err == nil {
		err = stmt.QueryRowContext(p.ctx, p.refused...).Scan(&state)
	}
	p.refused = p.refused[:0]
	return state, explain("plan", err)
}

// writeRejections writes those that were gathered.
func (p *Planning) writeRejections() error {
	all := p.refused
	p.refused = p.refused[:0]
	return p.insertRows("INSERT INTO rejection VALUES ", rejectionAgain, rejectionColumns, len(all)/rejectionColumns, func(i int, args []any) []any {
		return append(args, all[i*rejectionColumns:(i+1)*rejectionColumns]...)
	})
}

// CloseRejections drops the open rejections of a file that a complete read of
// that file no longer has: the row was mended, and what became of it is an
// entry of its own. It tells how many there were. A row that comes back as it
// was is open again: it loses its run here, which one that a person has closed
// keeps.
func (p *Planning) CloseRejections(file string) (int, error) {
	if err := p.filled(); err != nil {
		return 0, err
	}
	res, err := p.exec(`UPDATE rejection SET state = 'skipped', run = '', changed = ? WHERE source = ? AND file = ? AND state = 'rejected' AND run <> ?`,
		p.now, p.id, file, p.run)
	if err != nil {
		return 0, explain("plan", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (p *Planning) builder(s slot) (*builder, error) {
	if b := p.open[s]; b != nil {
		if b.n < p.cap {
			return b, nil
		}
		if err := p.flush(full{s, b}); err != nil {
			return nil, explain("plan", err)
		}
		b.records, b.facts, b.rest, b.n, b.seconds, b.file = b.records[:0], b.facts[:0], b.rest[:0], 0, 0, ""
		b.id, p.nextParcel = p.nextParcel, p.nextParcel+1
		return b, nil
	}
	b := &builder{id: p.nextParcel}
	p.nextParcel++
	p.open[s] = b
	return b, nil
}

// full is a builder whose entries are about to be written.
type full struct {
	slot
	*builder
}

func (f *full) sent() bool { return f.state == timesheet.StateSent }

// flush writes parcels.
func (p *Planning) flush(parcels ...full) error {
	parcels = slices.DeleteFunc(parcels, func(f full) bool { return f.n == 0 })
	if err := p.insertRows(`INSERT INTO parcel(id, source, parent, run, lane, lanes, op, target, state, reason, detail, n, settled, begun, live, live_seconds, changed, born) VALUES `, "", 18, len(parcels), func(i int, args []any) []any {
		f := &parcels[i]
		state, settled := f.state, 0
		if f.sent() {
			state, settled = timesheet.StateNew, f.n
		}
		if state != timesheet.StateNew || settled < f.n {
			p.states[f.id] = parcelState{state: state, reason: f.reason, settled: settled}
		}
		return append(args, f.id, p.id, f.parent, p.run, f.lane, f.lanes, f.op, f.target, state, f.reason, f.detail,
			f.n, settled, settled, f.n, int64(f.seconds), p.now, p.now)
	}); err != nil {
		return err
	}
	if err := p.insertRows(`INSERT INTO detail VALUES `, "", 3, len(parcels), func(i int, args []any) []any {
		return append(args, parcels[i].id, parcels[i].records, parcels[i].facts)
	}); err != nil {
		return err
	}
	parcels = slices.DeleteFunc(parcels, func(f full) bool { return f.sent() })
	return p.insertRows(`INSERT INTO content VALUES `, "", 2, len(parcels), func(i int, args []any) []any {
		return append(args, parcels[i].id, parcels[i].rest)
	})
}

// leave takes an entry out of the parcel it is in.
func (p *Planning) leave(key timesheet.Packed) error {
	return leave(p.ctx, p.tx, key)
}
