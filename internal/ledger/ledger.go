// Package ledger is the record of every entry that was ever planned: what is
// to be sent, what may be on the wire, what the API accepted and what waits
// for a person. It forgets nothing.
//
// # The order that makes sending safe
//
//  1. Planning writes all new entries of a source in one transaction. Dying
//     before its commit leaves the ledger as it was; after it, the entries are
//     new and the next run sends them.
//  2. Before the first byte of a Batch leaves, the intention is durable
//     (Record with a Batch): which entries, the hash of the exact bytes, the
//     idempotency key. Dying from here on leaves them sending.
//  3. After the answer its Settlement is recorded, usually in the transaction
//     of the lane's next intention. Losing it is harmless: the Batch is then
//     still sending.
//  4. The next start calls Recover first: what is sending becomes in_doubt. It
//     is settled by asking the API or a person, never by guessing.
//
// Losing step 2 to a power failure would send twice, so every commit is
// synced (synchronous=FULL). One writer goroutine commits all waiting steps
// in one transaction: with many lanes the price of a sync is shared.
//
// One process writes at a time: Open takes a lock on a file beside the ledger.
// Reading needs no lock. The store is SQLite, and nothing outside this package
// knows that.
package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Names of the files in the state directory.
const (
	fileName = "ledger.db"
	lockName = "ledger.lock"
)

// Kind tells errors of the ledger apart for those who must act on them.
type Kind int

// Kinds of errors.
const (
	Broken       Kind = iota // the disk, or the file
	Missing                  // there is no ledger
	AlreadyThere             // there is one, and it is kept
	Locked                   // another process has it
	OtherAPI                 // it speaks for another API
	Newer                    // a newer program has written it
	Unsafe                   // it lies where it can be read by others, or on a network file system
	Stolen                   // another process took the lease while this one worked
)

// Error is a ledger that cannot be used, and what to do about it.
type Error struct {
	Kind     Kind
	Message  string
	HintText string
	Err      error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.HintText }

// Options say which ledger to open and how.
type Options struct {
	Dir      string // the state directory
	API      string // the API it must speak for; empty: whichever
	ReadOnly bool   // takes no lock, changes nothing
	// Scratch is for a plan that is only looked at: the ledger in Dir is thrown
	// away afterwards, and nothing in it is made durable.
	Scratch bool
	Logger  *slog.Logger
}

// Ledger is an open ledger. Its methods may be called from several goroutines.
type Ledger struct {
	path    string
	log     *slog.Logger
	db      *sql.DB // the one writing connection; nil when read-only
	reader  *sql.DB
	parcel  *sql.Stmt // the reader's statement that is asked most
	lock    *flock.Flock
	lease   string
	writer  *writer
	scratch bool
}

// Create makes an empty ledger for an API, and refuses where there is one.
// Entries of days before assumeSentBefore will be taken as sent already; zero
// assumes nothing.
func Create(ctx context.Context, dir, api string, assumeSentBefore timesheet.Day) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &Error{Kind: Broken, Message: "create the state directory", Err: err, HintText: "name a directory that can be written with state.dir or TSUPLOAD_STATE_DIR"}
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	final := filepath.Join(dir, fileName)
	there := &Error{Kind: AlreadyThere, Message: "there is a ledger already: " + final, HintText: "it is kept; move it away yourself if it really must go, and know that entries in it may then be sent again"}
	if _, err := os.Lstat(final); err == nil {
		return there
	}
	// It gets its name only when it is whole: half a ledger, left by a crash,
	// would be taken for one.
	f, err := os.CreateTemp(dir, fileName+".new-*") // mode 0600
	if err != nil {
		return &Error{Kind: Broken, Message: "create the ledger", Err: err}
	}
	path := f.Name()
	if err := f.Close(); err != nil {
		return &Error{Kind: Broken, Message: "create the ledger", Err: err}
	}
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
	}()
	err = func() error {
		db, err := openWriter(ctx, path, settings)
		if err != nil {
			return err
		}
		if err := migrate(ctx, db); err != nil {
			return errors.Join(err, db.Close())
		}
		_, err = db.ExecContext(ctx, `INSERT INTO meta VALUES ('api', ?), ('created', ?), ('assume_sent_before', ?), ('lease', ''), ('clean', '1')`,
			api, time.Now().UnixMilli(), int64(assumeSentBefore))
		return errors.Join(err, db.Close()) // which leaves everything in the one file
	}()
	if err != nil {
		return explain("create the ledger", err)
	}
	return publish(path, final, there)
}

// publish gives a file its name, unless something has that name already.
func publish(path, name string, there *Error) error {
	err := os.Link(path, name)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrExist):
		return there
	default: // a file system without hard links
		if _, err := os.Lstat(name); err == nil {
			return there
		}
		if err := os.Rename(path, name); err != nil {
			return explain("create the ledger", err)
		}
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return explain("create the ledger", err)
	}
	_ = dir.Sync() // not every system can sync a directory
	return explain("create the ledger", dir.Close())
}

// Exists tells whether there is a ledger in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileName))
	return err == nil
}

// Open opens the ledger in opts.Dir.
func Open(ctx context.Context, opts Options) (*Ledger, error) {
	path := filepath.Join(opts.Dir, fileName)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Error{
			Kind:     Missing,
			Message:  "there is no ledger in " + opts.Dir,
			HintText: "if this is not the first run, your state volume is missing; if it is, `tsupload ledger create`",
		}
	}
	if err != nil {
		return nil, &Error{Kind: Broken, Message: "open the ledger", Err: err}
	}
	if err := checkMode(path, info); err != nil {
		return nil, err
	}
	l := &Ledger{path: path, log: opts.Logger, scratch: opts.Scratch}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if !opts.ReadOnly {
		if err := l.openForWriting(ctx, opts.Dir); err != nil {
			_ = l.Close()
			return nil, explain("open the ledger", err)
		}
	}
	if l.reader, err = openReader(path, opts.ReadOnly); err != nil {
		_ = l.Close()
		return nil, explain("open the ledger", err)
	}
	if opts.ReadOnly {
		if err := errors.Join(older(ctx, l.reader), overlay(ctx, l.reader)); err != nil {
			_ = l.Close()
			return nil, explain("open the ledger", err)
		}
	}
	if l.parcel, err = l.reader.PrepareContext(ctx, parcelSQL); err != nil {
		_ = l.Close()
		return nil, explain("open the ledger", err)
	}
	if err := l.checkAPI(ctx, opts.API); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Ledger) openForWriting(ctx context.Context, dir string) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	l.lock = flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))
	got, err := l.lock.TryLock()
	if err != nil {
		return explain("lock the ledger", err)
	}
	if !got {
		l.lock = nil
		return &Error{Kind: Locked, Message: "another run holds the ledger in " + dir, HintText: "wait until it has ended; `tsupload status` works meanwhile"}
	}
	want := settings
	if l.scratch {
		want = scratchSettings
	}
	if l.db, err = openWriter(ctx, l.path, want); err != nil {
		return explain("open the ledger", err)
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, l.db); err != nil {
		return explain("open the ledger", err)
	}
	var token [12]byte
	_, _ = rand.Read(token[:])
	l.lease = hex.EncodeToString(token[:])
	if _, err := l.db.ExecContext(ctx, `INSERT OR REPLACE INTO meta VALUES ('lease', ?), ('clean', '0')`, l.lease); err != nil {
		return explain("open the ledger", err)
	}
	l.writer, err = newWriter(ctx, l)
	return err
}

// check looks for damage: quickly after an unclean end, thoroughly once a
// week. A ledger that was closed properly yesterday is not read through again
// before a run that may have nothing to do.
func (l *Ledger) check(ctx context.Context) error {
	var has int
	if err := l.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'meta'`).Scan(&has); err != nil {
		return explain("open the ledger", err)
	}
	if has == 0 {
		return &Error{Kind: Broken, Message: l.path + " is not a ledger", HintText: "restore it from a backup; or move it away and rebuild it with `tsupload ledger adopt`"}
	}
	meta := func(name string) string {
		var v string
		_ = l.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&v)
		return v
	}
	last, _ := strconv.ParseInt(meta("integrity_checked"), 10, 64)
	pragma := ""
	switch {
	case time.Since(time.UnixMilli(last)) > 7*24*time.Hour && last > 0:
		pragma = "integrity_check"
	case meta("clean") != "1":
		pragma = "quick_check"
	}
	if pragma != "" {
		var verdict string
		if err := l.db.QueryRowContext(ctx, "PRAGMA "+pragma+"(1)").Scan(&verdict); err != nil {
			return explain("check the ledger", err)
		}
		if verdict != "ok" {
			return &Error{Kind: Broken, Message: "the ledger is damaged: " + verdict, HintText: "nothing has been sent; restore it from a backup, or move it away and rebuild it with `tsupload ledger adopt`"}
		}
	}
	if pragma == "integrity_check" || last == 0 {
		_, err := l.db.ExecContext(ctx, `INSERT OR REPLACE INTO meta VALUES ('integrity_checked', ?)`, time.Now().UnixMilli())
		return err
	}
	return nil
}

func (l *Ledger) checkAPI(ctx context.Context, want string) error {
	has, err := l.meta(ctx, "api")
	if err != nil {
		return explain("open the ledger", err)
	}
	if want != "" && has != want {
		return &Error{
			Kind:     OtherAPI,
			Message:  fmt.Sprintf("the ledger speaks for %s, the configuration for %s", has, want),
			HintText: "give each API its own state.dir; if the same API has moved, set api.id to " + has,
		}
	}
	return nil
}

func (l *Ledger) meta(ctx context.Context, name string) (string, error) {
	var v string
	err := l.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// API is what the ledger speaks for.
func (l *Ledger) API(ctx context.Context) (string, error) { return l.meta(ctx, "api") }

// AssumeSentBefore is the day before which entries are taken as sent already.
func (l *Ledger) AssumeSentBefore(ctx context.Context) (timesheet.Day, error) {
	v, err := l.meta(ctx, "assume_sent_before")
	if err != nil {
		return 0, explain("read the ledger", err)
	}
	day, _ := strconv.Atoi(v)
	return timesheet.Day(day), nil
}

// Size is how many bytes the ledger takes on disk.
func (l *Ledger) Size() int64 {
	var total int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(l.path + suffix); err == nil {
			total += info.Size()
		}
	}
	return total
}

// Close ends the writer, closes the files and frees the lock.
func (l *Ledger) Close() error {
	var errs []error
	if l.writer != nil {
		errs = append(errs, l.writer.close(), l.writer.fold(context.Background()))
		_, err := l.db.ExecContext(context.Background(), `UPDATE meta SET value = '1' WHERE name = 'clean'`)
		errs = append(errs, err)
	}
	if l.parcel != nil {
		errs = append(errs, l.parcel.Close())
	}
	if l.reader != nil {
		errs = append(errs, l.reader.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Unlock())
	}
	l.writer, l.parcel, l.reader, l.db, l.lock = nil, nil, nil, nil, nil
	return explain("close the ledger", errors.Join(errs...))
}

// Backup writes a copy of the ledger to a new file, safe while a run is going on.
func (l *Ledger) Backup(ctx context.Context, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &Error{Kind: AlreadyThere, Message: "write the backup", Err: err, HintText: "name a file that does not exist yet"}
	}
	if err := f.Close(); err != nil {
		return explain("write the backup", err)
	}
	if err := l.vacuumInto(ctx, to); err != nil {
		_ = os.Remove(to)
		return explain("write the backup", err)
	}
	return syncFile(to)
}

// vacuumInto has a connection of its own: query_only forbids to write even
// into another file. mode=ro still keeps the ledger itself as it is.
func (l *Ledger) vacuumInto(ctx context.Context, to string) error {
	db, err := sql.Open("sqlite", dsn(l.path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)"}}.Encode()))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return errors.Join(err, db.Close())
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return explain("write the backup", err)
	}
	return explain("write the backup", errors.Join(f.Sync(), f.Close()))
}

// settings are asked for in the DSN, because they belong to a connection, and
// read back, because a typing error in a DSN is silent.
var settings = []setting{
	{"busy_timeout", "5000", "5000"},
	{"journal_mode", "wal", "wal"},
	{"synchronous", "full", "2"},
	{"foreign_keys", "on", "1"},
	{"wal_autocheckpoint", "1000", "1000"},
	{"journal_size_limit", "67108864", "67108864"},
	{"cache_size", "-3072", "-3072"},
}

// scratchSettings write every page once, without waiting for the disk.
var scratchSettings = []setting{
	{"busy_timeout", "5000", "5000"},
	{"journal_mode", "memory", "memory"},
	{"synchronous", "off", "0"},
	{"foreign_keys", "on", "1"},
	{"cache_size", "-3072", "-3072"},
}

type setting struct{ name, set, want string }

func dsn(path, extra string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: extra}).String()
}

func openWriter(ctx context.Context, path string, settings []setting) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}}
	for _, s := range settings {
		q.Add("_pragma", s.name+"("+s.set+")")
	}
	db, err := sql.Open("sqlite", dsn(path, q.Encode()))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := checkSettings(ctx, db, settings); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func checkSettings(ctx context.Context, db *sql.DB, settings []setting) error {
	for _, s := range settings {
		var got string
		if err := db.QueryRowContext(ctx, "PRAGMA "+s.name).Scan(&got); err != nil {
			return err
		}
		if got != s.want {
			return fmt.Errorf("SQLite has %s=%s, want %s", s.name, got, s.want)
		}
	}
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if !atLeast(version, 3, 51, 3) {
		return fmt.Errorf("SQLite %s may damage its files (https://sqlite.org/wal.html#walresetbug); 3.51.3 or later is needed", version)
	}
	return nil
}

func atLeast(version string, want ...int) bool {
	for i, part := range strings.Split(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || i >= len(want) {
			break
		}
		if n != want[i] {
			return n > want[i]
		}
	}
	return true
}

// openReader opens the ledger for reading. alone says that nobody writes in
// this process: there is one connection then, which may lay tables of its own
// over those of the ledger.
func openReader(path string, alone bool) (*sql.DB, error) {
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)"}}
	if !alone {
		q.Add("_pragma", "query_only(on)")
	}
	db, err := sql.Open("sqlite", dsn(path, q.Encode()))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	if alone {
		db.SetMaxOpenConns(1)
	}
	return db, nil
}
