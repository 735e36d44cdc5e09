package ledger

import (
	"context"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// PersonDay is what one person has logged on one day in a source.
type PersonDay struct {
	Person  string
	Day     timesheet.Day
	Entries int
	Seconds timesheet.Seconds
}

// Hours adds up, by person and day, the entries of a source from since on:
// those that are sent, on their way, in doubt or held. Rejected and skipped
// ones count as entries but bring no hours; so do changes of a sent entry
// while they are held, because the sent one has its hours.
func (l *Ledger) Hours(ctx context.Context, source string, since timesheet.Day) ([]PersonDay, error) {
	type personOn struct {
		person string
		day    timesheet.Day
	}
	at := map[personOn]int{}
	var days []PersonDay
	err := l.eachSince(ctx, source, since, func(person, _ string, day timesheet.Day, s timesheet.Seconds, counts bool) {
		k := personOn{person, day}
		if _, ok := at[k]; !ok {
			at[k] = len(days)
			days = append(days, PersonDay{Person: person, Day: day})
		}
		d := &days[at[k]]
		d.Entries++
		if counts {
			d.Seconds += s
		}
	})
	return days, err
}

// ProjectHours adds up the entries of all sources from since on by person,
// project and day. The same ones bring hours as in Hours; the others do not
// appear.
func (l *Ledger) ProjectHours(ctx context.Context, since timesheet.Day) (*timesheet.Hours, error) {
	var hours timesheet.Hours
	err := l.eachSince(ctx, "", since, func(person, project string, day timesheet.Day, s timesheet.Seconds, counts bool) {
		if counts {
			hours.Add(person, project, day, s)
		}
	})
	return &hours, err
}

// eachSince hands over every entry of a source, or of all where it is empty,
// from since on, and whether its hours count. Only parcels with entries of these
// days are read.
func (l *Ledger) eachSince(ctx context.Context, source string, since timesheet.Day, each func(person, project string, day timesheet.Day, s timesheet.Seconds, counts bool)) error {
	if err := l.upToDate(ctx); err != nil {
		return err
	}
	// A key begins with its day, so a key of zeros is the least of that day.
	low := timesheet.Key{}.Packed(since)
	rows, err := l.reader.QueryContext(ctx, `SELECT p.n, p.state, p.reason, p.gone, d.facts
		FROM (SELECT DISTINCT parcel FROM entry WHERE key >= ?1) e JOIN parcel p ON p.id = e.parcel JOIN source s ON s.id = p.source JOIN detail d ON d.parcel = p.id
		WHERE ?2 IN ('', s.name)`, low[:], source)
	if err != nil {
		return explain("add up hours", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var state timesheet.State
		var reason timesheet.Reason
		var goneAt, facts []byte
		if err := rows.Scan(&n, &state, &reason, &goneAt, &facts); err != nil {
			return explain("add up hours", err)
		}
		gone := getPositions(goneAt, n)
		counts := state != timesheet.StateRejected && state != timesheet.StateSkipped && (state != timesheet.StateHeld || reason != timesheet.ReasonChanged)
		if err := eachFact(facts, n, func(i int, person, project, _, _ string, _ uint64, day timesheet.Day, s timesheet.Seconds) {
			if !gone[i] && day >= since {
				each(person, project, day, s, counts)
			}
		}); err != nil {
			return explain("add up hours", err)
		}
	}
	return explain("add up hours", rows.Err())
}

// Changed is when a source last brought something that had not been there
// before: an entry, or a row that was refused, or that an entry was gone. Where
// it never did, it is when the first run began; zero where there was none.
func (l *Ledger) Changed(ctx context.Context, source string) (time.Time, error) {
	var ms int64
	err := l.reader.QueryRowContext(ctx, `SELECT max(
			coalesce((SELECT max(p.born) FROM parcel p JOIN source s ON s.id = p.source WHERE s.name = ?1 AND coalesce(p.parent, 0) = 0), 0),
			coalesce((SELECT max(r.changed) FROM rejection r JOIN source s ON s.id = r.source WHERE s.name = ?1 AND r.state = 'rejected'), 0),
			coalesce((SELECT max(m.since) FROM missing m JOIN entry e ON e.key = m.key JOIN parcel p ON p.id = e.parcel JOIN source s ON s.id = p.source WHERE s.name = ?1), 0))`,
		source).Scan(&ms)
	if err == nil && ms == 0 {
		err = l.reader.QueryRowContext(ctx, `SELECT coalesce(min(started), 0) FROM run`).Scan(&ms)
	}
	return timeOf(ms), explain("read the ledger", err)
}
