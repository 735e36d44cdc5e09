package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// queryer is what a transaction and the reading handle have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Ready lists what there is to send of the sources, or of all where none is
// named: lane by lane, plans with the same number of lanes together, and of
// each plan the fullest lane first.
func (l *Ledger) Ready(ctx context.Context, sources []string) ([]timesheet.Lane, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	query, args := `SELECT p.id, p.lanes, p.lane, p.n - p.settled FROM parcel p JOIN source s ON s.id = p.source WHERE p.state = 'new' AND p.settled < p.n AND p.live > 0`, []any{}
	if len(sources) > 0 {
		query += ` AND s.name IN (?` + strings.Repeat(",?", len(sources)-1) + `)`
		for _, s := range sources {
			args = append(args, s)
		}
	}
	rows, err := l.reader.QueryContext(ctx, query+` ORDER BY p.lanes, p.lane, p.id`, args...)
	if err != nil {
		return nil, explain("read the plan", err)
	}
	defer rows.Close()
	var ready []timesheet.Lane
	for rows.Next() {
		var id int64
		var lane timesheet.Lane
		if err := rows.Scan(&id, &lane.Lanes, &lane.Lane, &lane.Left); err != nil {
			return nil, explain("read the plan", err)
		}
		if n := len(ready); n > 0 && ready[n-1].Lanes == lane.Lanes && ready[n-1].Lane == lane.Lane {
			ready[n-1].Parcels = append(ready[n-1].Parcels, id)
			ready[n-1].Left += lane.Left
			continue
		}
		lane.Parcels = []int64{id}
		ready = append(ready, lane)
	}
	slices.SortStableFunc(ready, func(a, b timesheet.Lane) int { return cmp.Or(a.Lanes-b.Lanes, b.Left-a.Left) })
	return ready, explain("read the plan", rows.Err())
}

const parcelSQL = `SELECT s.name, p.lane, p.lanes, p.op, p.target, p.state, p.reason, p.detail, p.n, p.settled, p.begun, p.gone,
		p.since, p.absent, p.attempts, p.idem_key, p.key_expires, p.body, d.records, d.facts, c.rest, r.seconds
	FROM parcel p JOIN source s ON s.id = p.source JOIN detail d ON d.parcel = p.id LEFT JOIN content c ON c.parcel = p.id LEFT JOIN rounding r ON r.parcel = p.id WHERE p.id = ?`

// Parcel reads one parcel with its entries.
func (l *Ledger) Parcel(ctx context.Context, id int64) (*timesheet.Parcel, error) {
	p, err := scanParcel(l.parcel.QueryRowContext(ctx, id), id)
	return p, explain("read the plan", err)
}

func loadParcel(ctx context.Context, q queryer, id int64) (*timesheet.Parcel, error) {
	return scanParcel(q.QueryRowContext(ctx, parcelSQL, id), id)
}

func scanParcel(row *sql.Row, id int64) (*timesheet.Parcel, error) {
	p := &timesheet.Parcel{ID: id}
	var n int
	var gone, records, facts, rest, rounding []byte
	var since, absent, expires int64
	err := row.Scan(&p.Source, &p.Lane, &p.Lanes, &p.Op, &p.Target, &p.State, &p.Reason, &p.Detail, &n, &p.Settled, &p.Begun, &gone,
		&since, &absent, &p.Attempts, &p.IdempotencyKey, &expires, &p.Body, &records, &facts, &rest, &rounding)
	if err != nil {
		return nil, err
	}
	p.Since, p.AbsentSince, p.KeyExpires = timeOf(since), timeOf(absent), timeOf(expires)
	p.Gone = getPositions(gone, n)
	p.Keys, p.Entries, err = unpack(p.Source, records, facts, rest, n)
	for i := range len(rounding) / 4 {
		if i < len(p.Entries) {
			p.Entries[i].Rounding = getRounding(rounding, i)
		}
	}
	return p, err
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// remoteID is the API's id of a sent entry, empty where it gave none.
func remoteID(ctx context.Context, q queryer, parcel int64, pos int) (string, error) {
	id, _, err := receipt(ctx, q, parcel, pos)
	return id, err
}

// receipt is what the API answered to a sent entry: its id, or its words.
func receipt(ctx context.Context, q queryer, parcel int64, pos int) (id, answer string, err error) {
	var from int
	var ids sql.NullString
	var words []byte
	err = q.QueryRowContext(ctx, `SELECT pos, ids, answer FROM receipt WHERE parcel = ? AND pos <= ? AND pos + n > ? ORDER BY pos DESC LIMIT 1`, parcel, pos, pos).
		Scan(&from, &ids, &words)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var list []string
	if ids.Valid && json.Unmarshal([]byte(ids.String), &list) == nil && pos-from < len(list) {
		id = list[pos-from]
	}
	return id, string(words), nil
}
