package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// commitLimit bounds one transaction of the writer. It does not follow the
// run's context: what happened must be recorded even while the run is ending.
const commitLimit = 30 * time.Second

// step is what a lane asks the writer to record: the end of its last Batch,
// the beginning of its next, or both.
type step struct {
	settle *timesheet.Settlement
	begin  *timesheet.Batch
	done   chan error
}

// writer is the goroutine that owns the writing connection while lanes send.
// It takes every step that waits, or is about to, and commits them together,
// without a timer: while one commit is being synced, the next steps gather.
type writer struct {
	l     *Ledger
	steps chan step
	ended sync.WaitGroup
	stmts map[string]*sql.Stmt

	mu sync.Mutex
	// marks are where the parcels stand that the journal has steps of; nil: as
	// the table says.
	marks   map[int64]mark
	waiting bool // there may be something in the journal
	count   int  // steps in it
	bytes   int
	buf     []byte
}

// mark is how far a parcel is settled and begun.
type mark struct{ settled, begun int }

// Statements that run once or more for every Batch.
const (
	beginSQL = `UPDATE parcel SET state = 'new', begun = ?, began = ?, attempts = attempts + 1, idem_key = ?, key_expires = ?, body_hash = ?, body = ?
		WHERE id = ? AND settled = ? AND begun = settled AND state IN ('new', 'in_doubt')`
	// What the lease says is asked in the same statement: see Ledger.fence.
	journalSQL = `INSERT INTO journal(steps) SELECT ? WHERE EXISTS (SELECT 1 FROM meta WHERE name = 'lease' AND value = ?)`
	markSQL    = `SELECT settled, begun FROM parcel WHERE id = ? AND state = 'new' AND op = 'create'`
	receiptSQL = `INSERT OR REPLACE INTO receipt VALUES (?,?,?,?,?,?,?)`
	advanceSQL = `UPDATE parcel SET settled = ?, begun = max(begun, ?), changed = ?, body = NULL WHERE id = ? RETURNING settled = n, op`
	dropSQL    = `DELETE FROM content WHERE parcel = ?`
	// forgetRequest makes a Parcel one that cannot be sent again as it was.
	forgetRequest = `UPDATE parcel SET idem_key = '', key_expires = 0, body_hash = NULL, body = NULL WHERE id = ?`
)

func newWriter(ctx context.Context, l *Ledger) (*writer, error) {
	w := &writer{l: l, steps: make(chan step, 256), stmts: map[string]*sql.Stmt{}, waiting: true}
	for _, query := range []string{beginSQL, journalSQL, markSQL, receiptSQL, advanceSQL, dropSQL} {
		s, err := l.db.PrepareContext(ctx, query)
		if err != nil {
			return nil, explain("open the ledger", err)
		}
		w.stmts[query] = s
	}
	w.ended.Go(w.loop)
	return w, nil
}

func (w *writer) close() error {
	close(w.steps)
	w.ended.Wait()
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Record makes durable how a lane's last Batch ended and which it begins next;
// either may be nil. When it returns nil for a begun Batch, its first byte may
// leave, and not before.
func (l *Ledger) Record(ctx context.Context, settle *timesheet.Settlement, begin *timesheet.Batch) error {
	if settle == nil && begin == nil {
		return nil
	}
	s := step{settle: settle, begin: begin, done: make(chan error, 1)}
	l.writer.steps <- s
	return <-s.done
}

func (w *writer) loop() {
	var steps []step
	for s := range w.steps {
		steps = append(steps[:0], s)
		let := 0 // who was there when the others were let go first
	gather:
		for len(steps) < cap(w.steps) {
			select {
			case s, ok := <-w.steps:
				if !ok {
					break gather
				}
				steps = append(steps, s)
			default:
				if let == len(steps) {
					break gather
				}
				// Lanes that could run have not come this far where cores are
				// short; for those that wait for the network it takes no time.
				let = len(steps)
				runtime.Gosched()
			}
		}
		err := rescue.Do(func() error { return w.commit(steps) })
		if _, ok := errors.AsType[*rescue.Error](err); ok {
			w.distrust()
		}
		for _, s := range steps {
			s.done <- err
		}
	}
}

func (w *writer) commit(steps []step) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitLimit)
	defer cancel()
	done, err := w.journal(ctx, steps)
	if err != nil || done {
		return explain("record what was sent", err)
	}
	tx, err := w.l.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	settled := false
	for _, s := range steps {
		if s.settle != nil {
			settled = true
			if err := w.settle(ctx, tx, s.settle); err != nil {
				return explain("record an answer", err)
			}
		}
		if s.begin != nil {
			if err := w.begin(ctx, tx, s.begin); err != nil {
				return explain("record an intention to send", err)
			}
		}
	}
	if settled {
		crash.Point("C7")
	}
	return explain("record what was sent", tx.Commit())
}

// journal commits steps to the journal, if all of them are of the plain kind;
// done tells whether they were.
func (w *writer) journal(ctx context.Context, steps []step) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.marks == nil || w.count >= journalSteps || w.bytes >= journalBytes {
		if err := w.foldLocked(ctx); err != nil {
			return false, err
		}
	}
	if ok, err := w.look(ctx, steps); err != nil || !ok {
		return false, err
	}
	w.buf = append(w.buf[:0], journalVersion)
	now, settled := time.Now(), false
	for i := range steps {
		w.buf = appendStep(w.buf, &steps[i], now)
		settled = settled || steps[i].settle != nil
	}
	if settled {
		crash.Point("C7")
	}
	w.waiting = true
	res, err := w.stmts[journalSQL].ExecContext(ctx, w.buf, w.l.lease)
	if err == nil {
		var n int64
		if n, err = res.RowsAffected(); err == nil && n != 1 {
			err = errStolen()
		}
	}
	if err != nil {
		w.marks = nil // what is in the journal is to be read anew
		return false, err
	}
	w.count, w.bytes = w.count+len(steps), w.bytes+len(w.buf)
	return true, nil
}

// look moves the marks as the steps say, and tells false, with the marks as
// they were, where one is not of the plain kind.
func (w *writer) look(ctx context.Context, steps []step) (bool, error) {
	before := map[int64]mark{}
	back := func(err error) (bool, error) {
		maps.Copy(w.marks, before)
		return false, err
	}
	at := func(parcel int64) (mark, bool, error) {
		m, ok := w.marks[parcel]
		if !ok {
			err := w.stmts[markSQL].QueryRowContext(ctx, parcel).Scan(&m.settled, &m.begun)
			if errors.Is(err, sql.ErrNoRows) {
				return m, false, nil
			}
			if err != nil {
				return m, false, err
			}
			w.marks[parcel] = m
		}
		if _, ok := before[parcel]; !ok {
			before[parcel] = m
		}
		return m, true, nil
	}
	for i := range steps {
		s := &steps[i]
		if !s.plain() {
			return back(nil)
		}
		if s.settle != nil {
			m, ok, err := at(s.settle.Batch.Parcel)
			if err != nil || !ok {
				return back(err)
			}
			if m.settled != s.settle.Batch.From || m.begun != s.settle.Batch.To {
				return back(errBegun)
			}
			w.marks[s.settle.Batch.Parcel] = mark{m.begun, m.begun}
		}
		if s.begin != nil {
			m, ok, err := at(s.begin.Parcel)
			if err != nil || !ok {
				return back(err)
			}
			if m.settled != s.begin.From || m.begun != m.settled {
				return back(errBegun)
			}
			w.marks[s.begin.Parcel] = mark{m.settled, s.begin.To}
		}
	}
	return true, nil
}

// distrust has everything read anew that was known of the journal, of which
// nobody can tell how far a commit came that panicked.
func (w *writer) distrust() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks, w.waiting = nil, true
}

// fold empties the journal, if there may be something in it.
func (w *writer) fold(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.foldLocked(ctx)
}

func (w *writer) foldLocked(ctx context.Context) error {
	if w.waiting {
		if err := w.l.fold(ctx); err != nil {
			return explain("write the journal to the ledger", err)
		}
	}
	w.marks, w.waiting, w.count, w.bytes = map[int64]mark{}, false, 0, 0
	return nil
}

func (w *writer) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.StmtContext(ctx, w.stmts[query]).ExecContext(ctx, args...)
	return err
}

var errBegun = errors.New("the batch does not follow what is settled")

func (w *writer) begin(ctx context.Context, tx *sql.Tx, b *timesheet.Batch) error {
	res, err := tx.StmtContext(ctx, w.stmts[beginSQL]).ExecContext(ctx,
		b.To, time.Now().UnixMilli(), b.IdempotencyKey, millis(b.KeyExpires), b.BodyHash[:], b.Body, b.Parcel, b.From)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errBegun, err)
	}
	return nil
}

// accepted keeps the receipt of a Batch that was accepted as a whole.
func (w *writer) accepted(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement) error {
	ids := ""
	if s.All.ID != "" {
		b, _ := json.Marshal([]string{s.All.ID})
		ids = string(b)
	}
	return w.receipt(ctx, tx, s, s.Batch.From, s.Batch.To-s.Batch.From, ids)
}

func (w *writer) settle(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement) error {
	if s.Outcome != "" {
		detail, _ := json.Marshal(map[string]any{"from": s.Batch.From, "to": s.Batch.To, "status": s.Status, "attempts": s.Attempts, "detail": s.All.Detail})
		if err := note(ctx, tx, s.Batch.Parcel, s.At, s.Outcome, string(detail)); err != nil {
			return err
		}
	}
	if s.Each != nil {
		return w.settleEach(ctx, tx, s)
	}
	switch s.All.State {
	case timesheet.StateSent:
		if err := w.accepted(ctx, tx, s); err != nil {
			return err
		}
		return w.advance(ctx, tx, s)
	case timesheet.StateNew:
		_, err := tx.ExecContext(ctx, `UPDATE parcel SET begun = settled, body = NULL WHERE id = ?`, s.Batch.Parcel)
		return err
	default:
		fates := make([]timesheet.Fate, s.Batch.To-s.Batch.From)
		for i := range fates {
			fates[i] = s.All
		}
		each := *s
		each.Each = fates
		return w.settleEach(ctx, tx, &each)
	}
}

func (w *writer) receipt(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement, pos, n int, ids string) error {
	var list any
	answer := s.Answer
	if ids != "" {
		list, answer = ids, nil
	}
	return w.exec(ctx, tx, receiptSQL, s.Batch.Parcel, pos, n, millis(s.At), s.Status, list, answer)
}

// advance moves the mark of what is settled, and drops what is needed no more.
func (w *writer) advance(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement) error {
	var all bool
	var op timesheet.Op
	if err := tx.StmtContext(ctx, w.stmts[advanceSQL]).QueryRowContext(ctx, s.Batch.To, s.Batch.To, millis(s.At), s.Batch.Parcel).Scan(&all, &op); err != nil || !all {
		return err
	}
	if op == timesheet.OpUpdate {
		if err := amended(ctx, tx, s.Batch.Parcel); err != nil {
			return err
		}
	}
	return w.exec(ctx, tx, dropSQL, s.Batch.Parcel)
}

// amended makes a sent update the entry that the ledger knows.
func amended(ctx context.Context, tx *sql.Tx, parcel int64) error {
	// What it replaces is no entry beside it any more.
	var key []byte
	err := tx.QueryRowContext(ctx, `SELECT a.key FROM amendment a JOIN parcel p ON p.id = a.parcel WHERE a.parcel = ? AND p.state = 'new' AND p.settled = p.n`, parcel).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = leave(ctx, tx, timesheet.Packed(key))
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE entry SET (digest, parcel, pos) = (SELECT digest, parcel, 0 FROM amendment a WHERE a.key = entry.key)
		WHERE key IN (SELECT a.key FROM amendment a JOIN parcel p ON p.id = a.parcel WHERE a.parcel = ? AND p.state = 'new' AND p.settled = p.n)`, parcel)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM amendment WHERE parcel = ? AND EXISTS (SELECT 1 FROM parcel p WHERE p.id = ? AND p.state = 'new' AND p.settled = p.n)`, parcel, parcel)
	}
	return err
}

// settleEach records a fate for every entry: those that are sent get their
// receipts, every other group moves to a parcel of its own.
func (w *writer) settleEach(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement) error {
	type end struct {
		state  timesheet.State
		reason timesheet.Reason
		detail string
	}
	groups := map[end][]int{}
	var order []end
	var ids []string
	sent, named := 0, false
	for i, f := range s.Each {
		switch f.State {
		case "": // has moved to another parcel before
			ids = append(ids, "")
			continue
		case timesheet.StateSent:
			sent++
			named = named || f.ID != ""
			ids = append(ids, f.ID)
			continue
		default:
		}
		ids = append(ids, "")
		e := end{f.State, f.Reason, f.Detail}
		if groups[e] == nil {
			order = append(order, e)
		}
		groups[e] = append(groups[e], s.Batch.From+i)
	}
	if sent > 0 {
		list := ""
		if named {
			b, _ := json.Marshal(ids)
			list = string(b)
		}
		if err := w.receipt(ctx, tx, s, s.Batch.From, len(s.Each), list); err != nil {
			return err
		}
	}
	now := millis(s.At)
	whole := false
	for _, e := range order {
		fate := timesheet.Fate{State: e.state, Reason: e.reason, Detail: e.detail}
		id, all, err := w.part(ctx, tx, s, groups[e], fate, now)
		if err != nil {
			return err
		}
		whole = whole || all
		if e.state == timesheet.StateInDoubt && id != 0 {
			if _, err := tx.ExecContext(ctx, `UPDATE parcel SET since = ?, absent = 0 WHERE id = ?`, now, id); err != nil {
				return err
			}
		}
		// The key and the bytes answer for the whole request, or not at all.
		if all && (len(order) > 1 || s.Answered) {
			if _, err := tx.ExecContext(ctx, forgetRequest, id); err != nil {
				return err
			}
		}
		if e.state == timesheet.StateInDoubt && id != 0 && !all && len(order) == 1 && sent == 0 && !s.Answered {
			if _, err := tx.ExecContext(ctx, `UPDATE parcel SET attempts = (SELECT attempts FROM parcel WHERE id = ?),
				idem_key = (SELECT idem_key FROM parcel WHERE id = ?), key_expires = (SELECT key_expires FROM parcel WHERE id = ?),
				body_hash = (SELECT body_hash FROM parcel WHERE id = ?), body = (SELECT body FROM parcel WHERE id = ?) WHERE id = ?`,
				s.Batch.Parcel, s.Batch.Parcel, s.Batch.Parcel, s.Batch.Parcel, s.Batch.Parcel, id); err != nil {
				return err
			}
		}
	}
	if whole {
		return nil
	}
	return w.advance(ctx, tx, s)
}

// part moves positions into a parcel of their own; where they are all there
// is, the parcel itself changes its state.
func (w *writer) part(ctx context.Context, tx *sql.Tx, s *timesheet.Settlement, positions []int, fate timesheet.Fate, now int64) (id int64, whole bool, err error) {
	var live, settled, n int
	var gone []byte
	if err := tx.QueryRowContext(ctx, `SELECT live, settled, n, gone FROM parcel WHERE id = ?`, s.Batch.Parcel).Scan(&live, &settled, &n, &gone); err != nil {
		return 0, false, err
	}
	// What has moved elsewhere was not in the request, though it lies in its range.
	left := getPositions(gone, n)
	positions = slices.DeleteFunc(positions, func(pos int) bool { return left[pos] })
	if live == len(positions) && settled == 0 && fate.State != timesheet.StateNew {
		_, err := tx.ExecContext(ctx, `UPDATE parcel SET state = ?, reason = ?, detail = ?, begun = 0, changed = ?,
			body = CASE WHEN ? = 'in_doubt' THEN body END WHERE id = ?`, fate.State, fate.Reason, fate.Detail, now, fate.State, s.Batch.Parcel)
		return s.Batch.Parcel, true, err
	}
	id, err = split(ctx, tx, s.Batch.Parcel, positions, fate, now)
	return id, false, err
}

// Recover turns what was on the wire when a process died into doubt, counted
// from now: a request may still be executed long after its sender is gone. It
// is the first thing a run does, and doing it again does no harm. It returns
// how many entries are newly in doubt.
func (l *Ledger) Recover(ctx context.Context) (int, error) {
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(ctx, `SELECT id, settled, begun FROM parcel WHERE state = 'new' AND settled < n AND begun > settled`)
	if err != nil {
		return 0, explain("recover", err)
	}
	var batches []timesheet.Batch
	for rows.Next() {
		var b timesheet.Batch
		if err := rows.Scan(&b.Parcel, &b.From, &b.To); err != nil {
			return 0, explain("recover", errors.Join(err, rows.Close()))
		}
		batches = append(batches, b)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, explain("recover", err)
	}
	n := 0
	for _, b := range batches {
		p, err := loadParcel(ctx, tx, b.Parcel)
		if err != nil {
			return 0, explain("recover", err)
		}
		s := timesheet.Settlement{Batch: b, At: time.Now(), Outcome: "interrupted", Each: make([]timesheet.Fate, b.To-b.From)}
		for i := range s.Each {
			s.Each[i] = timesheet.Fate{State: timesheet.StateInDoubt, Detail: "the process ended before the answer was recorded"}
			if p.Gone[b.From+i] {
				s.Each[i] = timesheet.Fate{}
			} else {
				n++
			}
		}
		if err := l.writer.settle(ctx, tx, &s); err != nil {
			return 0, explain("recover", err)
		}
	}
	crash.Point("C9")
	return n, explain("recover", tx.Commit())
}
