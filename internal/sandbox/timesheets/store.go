package timesheets

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver
)

// AUTOINCREMENT keeps the id of a deleted entry from naming another.
const schema = `
CREATE TABLE IF NOT EXISTS entries (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	client TEXT NOT NULL,
	user_id TEXT NOT NULL,
	user_type TEXT NOT NULL,
	date TEXT NOT NULL,
	day TEXT NOT NULL,
	project TEXT NOT NULL,
	hours TEXT NOT NULL,
	external_id TEXT NOT NULL,
	approved INTEGER NOT NULL DEFAULT 0,
	hash BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_person ON entries (user_id, day);
CREATE INDEX IF NOT EXISTS entries_external ON entries (external_id) WHERE external_id <> '';
CREATE TABLE IF NOT EXISTS answers (
	client TEXT NOT NULL,
	key TEXT NOT NULL,
	hash BLOB NOT NULL,
	status INTEGER NOT NULL,
	body BLOB NOT NULL,
	PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;
`

const columns = `id, client, user_id, user_type, date, project, hours, external_id, approved`

// chunk is how many entries one statement inserts where there are as many;
// what a statement costs by itself is a good part of an insert.
const (
	chunk     = 25
	insertRow = `(?,?,?,?,?,?,?,?,?)`
	insertSQL = `INSERT INTO entries (client, user_id, user_type, date, day, project, hours, external_id, hash) VALUES ` + insertRow
)

// store is the database: one connection, one statement at a time, under mu. A
// second connection would see another database when it is in memory.
type store struct {
	db *sql.DB

	mu     sync.Mutex
	conn   *sql.Conn
	begin  *sql.Stmt
	commit *sql.Stmt
	undo   *sql.Stmt
	insert *sql.Stmt // one entry
	many   *sql.Stmt // chunk entries
	recall *sql.Stmt
	keep   *sql.Stmt
}

func openStore(ctx context.Context, path string) (*store, error) {
	dsn := ":memory:"
	if path != "" {
		q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(NORMAL)", "busy_timeout(5000)"}}
		dsn = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("sandbox database: %w", err)
	}
	db.SetMaxOpenConns(1)
	s := &store{db: db}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox database: %w", err), s.close())
	}
	return s, nil
}

func (s *store) prepare(ctx context.Context) error {
	var err error
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, schema); err != nil {
		return err
	}
	for stmt, query := range map[**sql.Stmt]string{
		&s.begin:  `BEGIN IMMEDIATE`,
		&s.commit: `COMMIT`,
		&s.undo:   `ROLLBACK`,
		&s.insert: insertSQL,
		&s.many:   insertSQL + strings.Repeat(`,`+insertRow, chunk-1),
		&s.recall: `SELECT hash, status, body FROM answers WHERE client = ? AND key = ?`,
		&s.keep:   `INSERT INTO answers (client, key, hash, status, body) VALUES (?,?,?,?,?)`,
	} {
		if *stmt, err = s.conn.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.conn != nil {
		err = s.conn.Close()
	}
	return errors.Join(err, s.db.Close())
}

// inTx runs f in one transaction.
func (s *store) inTx(ctx context.Context, f func() error) error {
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return err
	}
	err := f()
	if err == nil {
		_, err = s.commit.ExecContext(ctx)
	}
	if err != nil {
		_, undoErr := s.undo.ExecContext(ctx)
		return errors.Join(err, undoErr)
	}
	return nil
}

// add inserts entries and sets their ids.
func (s *store) add(ctx context.Context, entries []entry) error {
	var args []any
	for len(entries) > 0 {
		stmt, n := s.insert, 1
		if len(entries) >= chunk {
			stmt, n = s.many, chunk
		}
		args = args[:0]
		for i := range entries[:n] {
			e := &entries[i]
			args = append(args, e.client, e.userID, e.userType, e.date, e.day(), e.project, e.hours, e.externalID, e.hash[:])
		}
		res, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		last, err := res.LastInsertId()
		if err != nil {
			return err
		}
		// AUTOINCREMENT numbers the rows of a statement one after the other.
		for i := range entries[:n] {
			entries[i].id = last - int64(n-1-i)
		}
		entries = entries[n:]
	}
	return nil
}

func scanEntry(row interface{ Scan(dest ...any) error }) (entry, error) {
	var e entry
	err := row.Scan(&e.id, &e.client, &e.userID, &e.userType, &e.date, &e.project, &e.hours, &e.externalID, &e.approved)
	return e, err
}

// change runs f on an entry that the caller sees, inside a transaction, under the
// lock. found is false where there is no such entry, or it is not seen.
func (s *store) change(ctx context.Context, sees sight, id string, f func(e entry) error) (found bool, err error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return false, nil // an id that is no number is one that we did not make
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.inTx(ctx, func() error {
		e, err := scanEntry(s.conn.QueryRowContext(ctx, `SELECT `+columns+` FROM entries WHERE id = ?`, n))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if found = sees.covers(&e); !found {
			return nil
		}
		return f(e)
	})
	return found, err
}

func (s *store) update(ctx context.Context, e *entry) error {
	_, err := s.conn.ExecContext(ctx,
		`UPDATE entries SET user_id = ?, user_type = ?, date = ?, day = ?, project = ?, hours = ?, external_id = ?, hash = ? WHERE id = ?`,
		e.userID, e.userType, e.date, e.day(), e.project, e.hours, e.externalID, e.hash[:], e.id)
	return err
}

func (s *store) remove(ctx context.Context, id int64) error {
	_, err := s.conn.ExecContext(ctx, `DELETE FROM entries WHERE id = ?`, id)
	return err
}

// decide sets whether an entry is approved. It runs under the lock and in the
// transaction of the request.
func (s *store) decide(ctx context.Context, id int64, approved bool) error {
	_, err := s.conn.ExecContext(ctx, `UPDATE entries SET approved = ? WHERE id = ?`, approved, id)
	return err
}

// approve approves an entry, whosever it is.
func (s *store) approve(ctx context.Context, id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res, err := s.conn.ExecContext(ctx, `UPDATE entries SET approved = 1 WHERE id = ?`, id)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Stats is what the database holds.
type Stats struct {
	Entries int64
	// Duplicates is how many entries are there beyond the first with equal
	// bodies. Two equal rows of an export count too: compare Bodies with what
	// was expected.
	Duplicates int64
	// Bodies counts the entries by the SHA-256, in hex, of the object as it was
	// received, compacted.
	Bodies map[string]int64
	// ByExternalID counts the entries that have an external_id.
	ByExternalID map[string]int64
}

func (s *store) stats(ctx context.Context, lists bool) (Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st Stats
	row := s.conn.QueryRowContext(ctx, `SELECT count(*), count(*) - count(DISTINCT hash) FROM entries`)
	if err := row.Scan(&st.Entries, &st.Duplicates); err != nil || !lists {
		return st, err
	}
	var err error
	if st.Bodies, err = s.counts(ctx, `SELECT hash, count(*) FROM entries GROUP BY hash`, hex.EncodeToString); err != nil {
		return st, err
	}
	st.ByExternalID, err = s.counts(ctx, `SELECT external_id, count(*) FROM entries WHERE external_id <> '' GROUP BY external_id`,
		func(b []byte) string { return string(b) })
	return st, err
}

func (s *store) counts(ctx context.Context, query string, name func([]byte) string) (map[string]int64, error) {
	rows, err := s.conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := make(map[string]int64)
	for rows.Next() {
		var (
			key sql.RawBytes
			n   int64
		)
		if err := rows.Scan(&key, &n); err != nil {
			return nil, err
		}
		m[name(key)] = n
	}
	return m, rows.Err()
}
