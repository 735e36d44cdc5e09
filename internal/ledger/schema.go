package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/exampleco/tsupload/internal/crash"
)

// applicationID marks the file as a ledger of ours ("tsup").
const applicationID = 0x74737570

// migrations take the schema from version i to i+1, each in one transaction
// that also raises user_version. Only append; never edit what has shipped.
var migrations = []string{
	`
CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE source (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
);

-- Planned entries of one source and one lane. See timesheet.Parcel. There is
-- one row for hundreds of entries and it changes with every request, so it has
-- no index beside its key: looking through all of them is cheap, keeping an
-- index up to date is not.
CREATE TABLE parcel (
	id           INTEGER PRIMARY KEY,
	source       INTEGER NOT NULL REFERENCES source(id),
	parent       INTEGER,
	run          TEXT    NOT NULL,
	lane         INTEGER NOT NULL,
	lanes        INTEGER NOT NULL,
	op           TEXT    NOT NULL DEFAULT 'create' CHECK (op IN ('create','update')),
	target       TEXT    NOT NULL DEFAULT '',
	state        TEXT    NOT NULL CHECK (state IN ('new','in_doubt','held','rejected','skipped')),
	reason       TEXT    NOT NULL DEFAULT '',
	detail       TEXT    NOT NULL DEFAULT '',
	n            INTEGER NOT NULL,
	settled      INTEGER NOT NULL DEFAULT 0,
	begun        INTEGER NOT NULL DEFAULT 0,
	live         INTEGER NOT NULL, -- entries that have not moved to another parcel
	live_seconds INTEGER NOT NULL,
	gone         BLOB,             -- positions that have, two bytes each
	born         INTEGER NOT NULL, -- planned, or split off its parent
	changed      INTEGER NOT NULL, -- when the state was reached
	began        INTEGER NOT NULL DEFAULT 0,
	attempts     INTEGER NOT NULL DEFAULT 0,
	since        INTEGER NOT NULL DEFAULT 0,
	absent       INTEGER NOT NULL DEFAULT 0,
	idem_key     TEXT    NOT NULL DEFAULT '',
	key_expires  INTEGER NOT NULL DEFAULT 0,
	body_hash    BLOB,
	body         BLOB,
	CHECK (0 <= settled AND settled <= begun AND begun <= n)
);

-- What stays of the entries of a parcel: key and Digest of each, and origin,
-- person, project, duration.
CREATE TABLE detail (
	parcel  INTEGER PRIMARY KEY REFERENCES parcel(id),
	records BLOB NOT NULL,
	facts   BLOB NOT NULL
);
-- The rest of them, until they are settled.
CREATE TABLE content (
	parcel INTEGER PRIMARY KEY REFERENCES parcel(id),
	rest   BLOB NOT NULL
);

-- One row an entry. The primary key is what keeps an entry from being in two
-- parcels: four bytes of day, then twelve of the key, so that a month lies
-- together.
CREATE TABLE entry (
	key    BLOB PRIMARY KEY,
	digest INTEGER NOT NULL,
	parcel INTEGER NOT NULL,
	pos    INTEGER NOT NULL
) WITHOUT ROWID;

-- Keys made of a tracker's own id, without their day: an entry that has moved
-- to another day is still known.
CREATE TABLE trusted (
	id  BLOB PRIMARY KEY,
	day INTEGER NOT NULL
) WITHOUT ROWID;

-- Changes of sent entries that wait beside them.
CREATE TABLE amendment (
	key    BLOB PRIMARY KEY,
	digest INTEGER NOT NULL,
	parcel INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE missing (
	key   BLOB PRIMARY KEY,
	since INTEGER NOT NULL
) WITHOUT ROWID;

-- What the API answered to entries pos..pos+n-1: its ids as a JSON array, or
-- the head of its answer where it gives none.
CREATE TABLE receipt (
	parcel INTEGER NOT NULL,
	pos    INTEGER NOT NULL,
	n      INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	status INTEGER NOT NULL,
	ids    TEXT,
	answer BLOB,
	PRIMARY KEY (parcel, pos)
) WITHOUT ROWID;

-- Beginnings and ends of requests that are not in parcel and receipt yet: one
-- row for those of one commit. See journal.go.
CREATE TABLE journal (
	id    INTEGER PRIMARY KEY,
	steps BLOB NOT NULL
);

-- Rows of an export that never became entries.
CREATE TABLE rejection (
	key     BLOB PRIMARY KEY,
	source  INTEGER NOT NULL REFERENCES source(id),
	state   TEXT NOT NULL CHECK (state IN ('rejected','skipped')),
	reason  TEXT NOT NULL,
	col     TEXT NOT NULL,
	message TEXT NOT NULL,
	hint    TEXT NOT NULL,
	file    TEXT NOT NULL,
	line    INTEGER NOT NULL,
	header  TEXT NOT NULL,
	record  TEXT NOT NULL,
	person  TEXT NOT NULL,
	seconds INTEGER NOT NULL,
	run     TEXT NOT NULL,
	changed INTEGER NOT NULL
) WITHOUT ROWID;

-- Every attempt that did not simply succeed, and every act of a person.
CREATE TABLE event (
	id     INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	parcel INTEGER NOT NULL,
	what   TEXT NOT NULL,
	detail TEXT NOT NULL
);
CREATE INDEX event_parcel ON event(parcel);

-- The last complete read of each source.
CREATE TABLE reading (
	source      INTEGER PRIMARY KEY REFERENCES source(id),
	stamp       TEXT NOT NULL,
	fingerprint BLOB NOT NULL,
	at          INTEGER NOT NULL,
	summary     TEXT NOT NULL
);

CREATE TABLE run (
	id      TEXT PRIMARY KEY,
	started INTEGER NOT NULL,
	ended   INTEGER NOT NULL DEFAULT 0,
	exit    INTEGER NOT NULL DEFAULT -1,
	summary TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
`,
	`
-- Which times of a source's schedule were run; see Slot. source is its id, also
-- of sources of which nothing was ever planned.
CREATE TABLE slot (
	source  TEXT    NOT NULL,
	name    TEXT    NOT NULL,
	first   TEXT    NOT NULL,
	due     INTEGER NOT NULL,
	state   TEXT    NOT NULL CHECK (state IN ('claimed','failed','done')),
	started INTEGER NOT NULL,
	ended   INTEGER NOT NULL DEFAULT 0,
	exit    INTEGER NOT NULL DEFAULT -1,
	PRIMARY KEY (source, name)
) WITHOUT ROWID;
`,
	roundingTable,
	// Rejections are wide, and their keys are hashes: in a table in the order of
	// the keys each new one goes to a page of its own. Now it goes to the end, and
	// only the narrow index of the keys is touched somewhere in the middle.
	`
CREATE TABLE refused (
	key     BLOB PRIMARY KEY NOT NULL,
	source  INTEGER NOT NULL REFERENCES source(id),
	state   TEXT NOT NULL CHECK (state IN ('rejected','skipped')),
	reason  TEXT NOT NULL,
	col     TEXT NOT NULL,
	message TEXT NOT NULL,
	hint    TEXT NOT NULL,
	file    TEXT NOT NULL,
	line    INTEGER NOT NULL,
	header  TEXT NOT NULL,
	record  TEXT NOT NULL,
	person  TEXT NOT NULL,
	seconds INTEGER NOT NULL,
	run     TEXT NOT NULL,
	changed INTEGER NOT NULL
);
INSERT INTO refused SELECT * FROM rejection ORDER BY source, file, line;
DROP TABLE rejection;
ALTER TABLE refused RENAME TO rejection;
`,
	// Up to here every plan has filled trusted. From now on it is filled when it
	// is needed; see trusted.go.
	`INSERT INTO meta SELECT 'trusted_to', coalesce(max(id), 0) FROM parcel`,
}

// roundingVersion is the schema version from which on there is the table.
const roundingVersion = 3

// roundingTable has what rounding adds to the entries of a parcel; see
// rounding.go.
const roundingTable = `CREATE TABLE rounding (
	parcel  INTEGER PRIMARY KEY,
	seconds BLOB NOT NULL
)`

// migrate brings the schema up to date; a ledger from a newer program is refused.
func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return &Error{
			Kind:     Newer,
			Message:  fmt.Sprintf("the ledger has schema version %d, this program knows up to %d", version, len(migrations)),
			HintText: "a newer tsupload has written it; use that one, or restore the backup made before the upgrade",
		}
	}
	for ; version < len(migrations); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		crash.Point("C13")
		_, err = tx.ExecContext(ctx, migrations[version])
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", version+1, applicationID))
		}
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("migrate the ledger to schema version %d: %w", version+1, err)
		}
	}
	return nil
}

// older lets a reader, which may not change a ledger, do with one that no newer
// program has opened for writing yet.
func older(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version >= roundingVersion {
		return err
	}
	_, err := db.ExecContext(ctx, strings.Replace(roundingTable, "CREATE", "CREATE TEMP", 1))
	return err
}
