package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Slot is a time at which a source was due by its schedule, and the run that
// stands for it.
type Slot struct {
	// Name is local date and wall time, or the instant of an @every: text that
	// sorts by time. In autumn a name comes twice, and is run once.
	Name string
	// First is the earliest slot that had been missed, and that the same run
	// stands for; Name where there is none.
	First string
	Due   time.Time
	State SlotState
	// Started and Ended are those of the run; Ended is zero while it goes on, and
	// where it died.
	Started, Ended time.Time
	Exit           int // of the run; -1 until it has ended
}

// SlotState is how far the run of a slot has come.
type SlotState string

// States of slots.
const (
	SlotClaimed SlotState = "claimed" // its run goes on, or has died
	SlotFailed  SlotState = "failed"  // its run failed and is to be done again
	SlotDone    SlotState = "done"
)

const (
	// keepSlots is how long it is remembered that a slot was run. The newest of
	// each source is kept for ever.
	keepSlots = 400 * 24 * time.Hour
	// wrongClock is how far ahead of the clock a slot may have been run. What
	// is further ahead was recorded under a clock that was wrong.
	wrongClock = 24 * time.Hour
)

// ClaimSlot records that s is run now, by whoever holds the ledger. It returns
// false when s was run before to its end, by itself or with later ones. A claim
// whose run has not ended belongs to a process that died, or Open would not have
// returned: it is taken over.
func (l *Ledger) ClaimSlot(ctx context.Context, source string, s Slot) (bool, error) {
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	now := time.Now()
	if _, err := tx.ExecContext(ctx, `DELETE FROM slot WHERE started > ?
		OR started < ? AND EXISTS (SELECT 1 FROM slot newer WHERE newer.source = slot.source AND newer.started > slot.started)`,
		now.Add(wrongClock).UnixMilli(), now.Add(-keepSlots).UnixMilli()); err != nil {
		return false, explain("claim a slot", err)
	}
	// Local times and instants are not compared with each other.
	var done bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM slot WHERE source = ?1 AND state = 'done' AND first <= ?2 AND name >= ?2 AND length(name) = length(?2))`, source, s.Name).Scan(&done); err != nil {
		return false, explain("claim a slot", err)
	}
	if done {
		return false, explain("claim a slot", tx.Commit())
	}
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO slot(source, name, first, due, state, started) VALUES (?, ?, ?, ?, 'claimed', ?)`,
		source, s.Name, s.First, s.Due.UnixMilli(), now.UnixMilli()); err != nil {
		return false, explain("claim a slot", err)
	}
	return true, explain("claim a slot", tx.Commit())
}

// EndSlot records how the run of a claimed slot ended: it is done, or failed
// and may be claimed again.
func (l *Ledger) EndSlot(ctx context.Context, source, name string, state SlotState, exit int) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `UPDATE slot SET state = ?, ended = ?, exit = ? WHERE source = ? AND name = ?`, state, time.Now().UnixMilli(), exit, source, name); err != nil {
		return explain("record the end of a slot", err)
	}
	return explain("record the end of a slot", tx.Commit())
}

// LastSlot is the newest slot of a source that was claimed, leaving out those
// due after until; the zero Slot where there is none.
func (l *Ledger) LastSlot(ctx context.Context, source string, until time.Time) (Slot, error) {
	var version int
	if err := l.reader.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil || version < 2 {
		return Slot{}, explain("read the ledger", err) // an older program's, not opened for writing yet
	}
	var s Slot
	var due, started, ended int64
	err := l.reader.QueryRowContext(ctx, `SELECT name, first, due, state, started, ended, exit FROM slot WHERE source = ? AND due <= ? ORDER BY due DESC, name DESC LIMIT 1`, source, until.UnixMilli()).
		Scan(&s.Name, &s.First, &due, &s.State, &started, &ended, &s.Exit)
	if errors.Is(err, sql.ErrNoRows) {
		return Slot{}, nil
	}
	s.Due, s.Started, s.Ended = timeOf(due), timeOf(started), timeOf(ended)
	return s, explain("read the ledger", err)
}
