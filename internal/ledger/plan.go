package ledger

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// maxParcel bounds the entries of a parcel; positions take two bytes.
const maxParcel = 2000

// Planning is one source's plan under way: a transaction that ends with
// Commit or Rollback. It belongs to one goroutine; one of its own fills the
// index (see filled).
//
// Rows are added as they are read. What is kept of each new one is a fresh
// record of 37 bytes, so that the index can be filled in key order at the end
// and the days can be judged; everything else is in parcels on disk.
type Planning struct {
	l      *Ledger
	tx     *sql.Tx
	ctx    context.Context // the transaction's, for its whole life
	run    string
	source string
	id     int64 // the source's
	cap    int   // entries a parcel
	now    int64

	firstParcel, nextParcel int64
	open                    map[slot]*builder
	fresh                   []fresh
	filling                 chan error // of the index, under way; see filled
	persons                 []string
	personIDs               map[string]uint32

	total      int64                     // entries in the ledger
	held       int64                     // those of the source
	amendments bool                      // there are any
	rounds     bool                      // entries have been rounded, in this plan or before
	bulk       *bulk                     // nil: entries are looked up in the table
	strays     int                       // entries that were not known on their day
	byID       bool                      // the table trusted has all from before this plan
	seen       []timesheet.Packed        // known keys met, when nothing is loaded
	waiting    map[timesheet.Packed]bool // those of them that are still to be sent
	states     map[int64]parcelState
	days       map[timesheet.Day]struct{}
	facts      map[int64]parcelFacts
	// missing are the flagged entries; renewed those that this plan has planned
	// anew, with the short Digest of their present content.
	missing map[timesheet.Packed]bool
	renewed map[timesheet.Packed]uint64
	stmts   map[string]*sql.Stmt

	// refused are rows on their way into the ledger, column by column. Where it
	// had none before, nothing needs to be asked about them.
	refused       []any
	refusedBefore bool
	header        []string // of the last refused row
	headerJSON    string
}

type parcelState struct {
	state   timesheet.State
	reason  timesheet.Reason
	settled int
	begun   int
}

// parcelFacts is what the judge needs of a parcel's entries.
type parcelFacts struct {
	source   string
	of       []fact
	rounding []byte
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
		facts: map[int64]parcelFacts{}, missing: map[timesheet.Packed]bool{}, renewed: map[timesheet.Packed]uint64{}, waiting: map[timesheet.Packed]bool{},
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
	if l.writer != nil {
		if err := l.writer.fold(ctx); err != nil {
			return nil, err
		}
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
		return errStolen()
	}
	return nil
}

func errStolen() error {
	return &Error{Kind: Stolen, Message: "another process has taken over the ledger", HintText: "look for a second tsupload with the same state directory"}
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
	p.firstParcel = p.nextParcel
	if err := p.tx.QueryRowContext(p.ctx, `SELECT coalesce(sum(live), 0), coalesce(sum(live) FILTER (WHERE source = ?), 0) FROM parcel`, p.id).Scan(&p.total, &p.held); err != nil {
		return err
	}
	if err := p.tx.QueryRowContext(p.ctx, `SELECT EXISTS (SELECT 1 FROM rejection)`).Scan(&p.refusedBefore); err != nil {
		return err
	}
	p.fresh = make([]fresh, 0, max(0, rows-int(p.held)))
	if p.total == 0 {
		return nil
	}
	if err := p.tx.QueryRowContext(p.ctx, `SELECT EXISTS (SELECT 1 FROM amendment)`).Scan(&p.amendments); err != nil {
		return err
	}
	if err := p.tx.QueryRowContext(p.ctx, `SELECT EXISTS (SELECT 1 FROM rounding)`).Scan(&p.rounds); err != nil {
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

func internSource(ctx context.Context, tx *sql.Tx, name string) (int64, error) {
	var id int64
	err := tx.QueryRowContext(ctx, `SELECT id FROM source WHERE name = ?`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, `INSERT INTO source(name) VALUES (?) RETURNING id`, name).Scan(&id)
	}
	return id, err
}

func (p *Planning) person(name string) uint32 {
	id, ok := p.personIDs[name]
	if !ok {
		id = uint32(len(p.persons))
		p.persons = append(p.persons, name)
		p.personIDs[name] = id
	}
	return id
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
	if err := p.filled(); err != nil {
		return err
	}
	_, err := p.exec(`INSERT OR REPLACE INTO reading VALUES (?,?,?,?,?)`, p.id, s.Stamp, s.Fingerprint[:], p.now, string(summary))
	return explain("plan", err)
}

// Commit makes the plan durable.
func (p *Planning) Commit() error {
	if err := p.filled(); err != nil {
		return err
	}
	if err := p.writeRejections(); err != nil {
		return explain("write the plan", err)
	}
	crash.Point("C1")
	err := p.tx.Commit()
	if err == nil {
		crash.Point("C2")
	}
	if err == nil && len(p.fresh) >= manyFresh && !p.l.scratch {
		err = p.l.growLog(p.ctx)
	}
	return explain("write the plan", err)
}

// manyFresh is from how many new entries on it pays to have room in the
// write-ahead log: a sync of a file that grows with every commit takes several
// times as long as of one that is written over.
const manyFresh = 500

// growLog makes the write-ahead log as long as it becomes between two
// checkpoints, and has it begin anew.
func (l *Ledger) growLog(ctx context.Context) error {
	const long = 1100 * 4096
	if info, err := os.Stat(l.path + "-wal"); err == nil && info.Size() < long {
		tx, err := l.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		// Nobody ever sees it.
		_, err = tx.ExecContext(ctx, `INSERT INTO journal(id, steps) VALUES (0, zeroblob(?)); DELETE FROM journal WHERE id = 0`, long-info.Size())
		if err = errors.Join(err, tx.Commit()); err != nil {
			return err
		}
	}
	_, err := l.db.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	return err
}

// Rollback forgets the plan. After Commit it does nothing.
func (p *Planning) Rollback() {
	_ = p.filled()
	_ = p.tx.Rollback()
}
