package ledger

import (
	"context"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// ProjectHours adds up the entries of all sources from since on by person,
// project and day: those that are sent, on their way, in doubt or held.
// Rejected and skipped ones do not count, nor does a change of a sent entry
// while it is held, because the sent one has its hours. Only parcels with entries
// of these days are read.
func (l *Ledger) ProjectHours(ctx context.Context, since timesheet.Day) (*timesheet.Hours, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	// A key begins with its day, so a key of zeros is the least of that day.
	low := timesheet.Key{}.Packed(since)
	rows, err := l.reader.QueryContext(ctx, `SELECT p.n, p.gone, d.facts
		FROM (SELECT DISTINCT parcel FROM entry WHERE key >= ?) e JOIN parcel p ON p.id = e.parcel JOIN detail d ON d.parcel = p.id
		WHERE p.state NOT IN ('rejected', 'skipped') AND NOT (p.state = 'held' AND p.reason = 'changed')`, low[:])
	if err != nil {
		return nil, explain("add up hours", err)
	}
	defer rows.Close()
	var hours timesheet.Hours
	for rows.Next() {
		var n int
		var goneAt, facts []byte
		if err := rows.Scan(&n, &goneAt, &facts); err != nil {
			return nil, explain("add up hours", err)
		}
		gone := getPositions(goneAt, n)
		if err := eachFact(facts, n, func(i int, person, project, _, _ string, _ int, day timesheet.Day, s timesheet.Seconds) {
			if !gone[i] && day >= since {
				hours.Add(person, project, day, s)
			}
		}); err != nil {
			return nil, explain("add up hours", err)
		}
	}
	return &hours, explain("add up hours", rows.Err())
}
