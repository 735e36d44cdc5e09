package ledger

import (
	"context"
	"slices"
	"time"
)

// Unsent tells, for every source with entries that are still to be sent or are
// on the wire, when the oldest of them was first planned. Attempts do not make
// an entry younger, nor does a move to another parcel.
func (l *Ledger) Unsent(ctx context.Context) (map[string]time.Time, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	rows, err := l.reader.QueryContext(ctx, `
		WITH RECURSIVE line(id, born, parent) AS (
			SELECT id, born, parent FROM parcel WHERE state = 'new' AND live > 0 AND settled < n
			UNION ALL
			SELECT line.id, p.born, p.parent FROM line JOIN parcel p ON p.id = line.parent
		)
		SELECT s.name, p.settled, p.n, p.gone, min(line.born)
		FROM line JOIN parcel p ON p.id = line.id JOIN source s ON s.id = p.source GROUP BY p.id`)
	if err != nil {
		return nil, explain("look for unsent entries", err)
	}
	defer rows.Close()
	oldest := map[string]time.Time{}
	for rows.Next() {
		var source string
		var settled, n int
		var gone []byte
		var born int64
		if err := rows.Scan(&source, &settled, &n, &gone, &born); err != nil {
			return nil, explain("look for unsent entries", err)
		}
		if !slices.Contains(getPositions(gone, n)[settled:], false) {
			continue // what was left of it has moved elsewhere
		}
		if at := timeOf(born); oldest[source].IsZero() || at.Before(oldest[source]) {
			oldest[source] = at
		}
	}
	return oldest, explain("look for unsent entries", rows.Err())
}
