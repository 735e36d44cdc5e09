package ledger

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// mendedPrefix begins the names in meta under which it stands what a rejected
// row became.
const mendedPrefix = "mended:"

// Mend notes, before anything is sent, that a rejected row became the entries:
// whatever happens to the run then, the row mended in another way is not taken
// for other hours. What was noted before stays.
func (l *Ledger) Mend(ctx context.Context, became map[timesheet.Packed][]timesheet.Packed) error {
	tx, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for row, entries := range became {
		var text strings.Builder
		for _, e := range entries {
			text.WriteString(" " + hex.EncodeToString(e[:]))
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value || excluded.value`,
			mendedPrefix+hex.EncodeToString(row[:]), text.String()); err != nil {
			return explain("note a mended row", err)
		}
	}
	return explain("note a mended row", tx.Commit())
}

// Mended tells what rejected rows became, as far as somebody mended them.
func (l *Ledger) Mended(ctx context.Context) (map[timesheet.Packed][]timesheet.Packed, error) {
	rows, err := l.reader.QueryContext(ctx, `SELECT name, value FROM meta WHERE name >= ? AND name < ?`, mendedPrefix, mendedPrefix+"~")
	if err != nil {
		return nil, explain("look up mended rows", err)
	}
	defer rows.Close()
	out := map[timesheet.Packed][]timesheet.Packed{}
	packed := func(text string) (p timesheet.Packed) {
		b, _ := hex.DecodeString(text) // of our own writing
		copy(p[:], b)
		return p
	}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, explain("look up mended rows", err)
		}
		row := packed(strings.TrimPrefix(name, mendedPrefix))
		for word := range strings.FieldsSeq(value) {
			out[row] = append(out[row], packed(word))
		}
	}
	return out, explain("look up mended rows", rows.Err())
}
