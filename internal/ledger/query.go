package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Count is how many entries of a source are in a state, and how long they are.
type Count struct {
	Source  string
	State   timesheet.State
	Reason  timesheet.Reason
	Entries int
	Seconds timesheet.Seconds
	Oldest  time.Time // when the oldest of them came to this state
}

// Counts tells entries and hours by source and state, rejected rows included.
func (l *Ledger) Counts(ctx context.Context) ([]Count, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	rows, err := l.reader.QueryContext(ctx, `
		WITH one AS (
			SELECT source, CASE WHEN state <> 'new' THEN state WHEN settled = n THEN 'sent' WHEN begun = n THEN 'sending' ELSE 'new' END AS state,
				reason, live, live_seconds, changed
			FROM parcel WHERE state <> 'new' OR settled = n OR settled = 0 AND begun IN (0, n)
			UNION ALL
			SELECT source, state, reason, 1, seconds, changed FROM rejection WHERE state = 'rejected'
		)
		SELECT s.name, one.state, one.reason, sum(one.live), sum(one.live_seconds), min(one.changed)
		FROM one JOIN source s ON s.id = one.source WHERE one.live > 0 GROUP BY 1, 2, 3`)
	if err != nil {
		return nil, explain("count entries", err)
	}
	defer rows.Close()
	var counts []Count
	for rows.Next() {
		var c Count
		var oldest int64
		if err := rows.Scan(&c.Source, &c.State, &c.Reason, &c.Entries, &c.Seconds, &oldest); err != nil {
			return nil, explain("count entries", err)
		}
		c.Oldest = timeOf(oldest)
		counts = append(counts, c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, explain("count entries", err)
	}
	if counts, err = l.countParts(ctx, counts); err != nil {
		return nil, explain("count entries", err)
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	return counts, nil
}

// countParts adds the entries of parcels that are on their way in part: one of
// each lane at most, so they can be read one by one.
func (l *Ledger) countParts(ctx context.Context, counts []Count) ([]Count, error) {
	rows, err := l.reader.QueryContext(ctx, `SELECT s.name, p.reason, p.n, p.settled, p.begun, p.gone, p.changed, d.facts
		FROM parcel p JOIN source s ON s.id = p.source JOIN detail d ON d.parcel = p.id
		WHERE p.state = 'new' AND p.live > 0 AND p.settled < p.n AND (p.settled > 0 OR p.begun > 0 AND p.begun < p.n)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var part Count
		var n, settled, begun int
		var goneAt, facts []byte
		var changed int64
		if err := rows.Scan(&part.Source, &part.Reason, &n, &settled, &begun, &goneAt, &changed, &facts); err != nil {
			return nil, err
		}
		part.Oldest = timeOf(changed)
		gone := getPositions(goneAt, n)
		err := eachFact(facts, n, func(i int, _, _, _, _ string, _ uint64, _ timesheet.Day, s timesheet.Seconds) {
			if gone[i] {
				return
			}
			part.State = timesheet.StateNew
			switch {
			case i < settled:
				part.State = timesheet.StateSent
			case i < begun:
				part.State = timesheet.StateSending
			}
			part.Entries, part.Seconds = 1, s
			counts = addCount(counts, part)
		})
		if err != nil {
			return nil, err
		}
	}
	return counts, rows.Err()
}

func addCount(counts []Count, c Count) []Count {
	i := slices.IndexFunc(counts, func(has Count) bool {
		return has.Source == c.Source && has.State == c.State && has.Reason == c.Reason
	})
	if i < 0 {
		return append(counts, c)
	}
	has := &counts[i]
	has.Entries, has.Seconds = has.Entries+c.Entries, has.Seconds+c.Seconds
	if c.Oldest.Before(has.Oldest) {
		has.Oldest = c.Oldest
	}
	return counts
}

// Filter selects entries. Zero fields select all.
type Filter struct {
	States  []timesheet.State
	Sources []string
	Person  string
	// Since and Until bound the day, both included.
	Since, Until       timesheet.Day
	HasSince, HasUntil bool
}

func (f *Filter) wants(w *timesheet.Waiting) bool {
	return (f.Person == "" || f.Person == w.Person) && (!f.HasSince || w.Day >= f.Since) && (!f.HasUntil || w.Day <= f.Until) &&
		(len(f.States) == 0 || slices.Contains(f.States, w.State)) && (len(f.Sources) == 0 || slices.Contains(f.Sources, w.Source))
}

// Entries calls each with every entry and rejected row that f selects, parcel
// by parcel, oldest plan first.
func (l *Ledger) Entries(ctx context.Context, f Filter, each func(*timesheet.Waiting) error) error {
	if err := l.upToDate(ctx); err != nil {
		return err
	}
	query := `SELECT p.id FROM parcel p WHERE p.live > 0`
	if len(f.States) > 0 && !slices.Contains(f.States, timesheet.StateNew) && !slices.Contains(f.States, timesheet.StateSent) && !slices.Contains(f.States, timesheet.StateSending) {
		query += ` AND p.state <> 'new'`
	}
	rows, err := l.reader.QueryContext(ctx, query+` ORDER BY p.id`)
	if err != nil {
		return explain("list entries", err)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return explain("list entries", errors.Join(err, rows.Close()))
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return explain("list entries", err)
	}
	for _, id := range ids {
		if err := l.eachOf(ctx, id, -1, &f, each); err != nil {
			return err
		}
	}
	if len(f.States) == 0 || slices.Contains(f.States, timesheet.StateRejected) || slices.Contains(f.States, timesheet.StateSkipped) {
		return l.Rows(ctx, func(w *timesheet.Waiting, _ *timesheet.Rejection) error {
			if !f.wants(w) {
				return nil
			}
			return each(w)
		})
	}
	return nil
}

// eachOf calls each with the entries of a parcel, or with the one at pos.
func (l *Ledger) eachOf(ctx context.Context, id int64, only int, f *Filter, each func(*timesheet.Waiting) error) error {
	p, err := l.Parcel(ctx, id)
	if err != nil {
		return err
	}
	var changed int64
	if err := l.reader.QueryRowContext(ctx, `SELECT changed FROM parcel WHERE id = ?`, id).Scan(&changed); err != nil {
		return explain("list entries", err)
	}
	for i := range p.Entries {
		if p.Gone[i] || only >= 0 && i != only {
			continue
		}
		e := &p.Entries[i]
		w := timesheet.Waiting{
			Ref: timesheet.Ref(p.Keys[i]), Key: p.Keys[i], State: p.State, Reason: p.Reason, Detail: p.Detail, Source: p.Source, Origin: e.Origin,
			Person: e.Person, Day: e.Day, Project: e.Project, Seconds: e.Duration, Rounding: e.Rounding, ID: e.ID, Parcel: id, Pos: i, At: timeOf(changed),
		}
		if p.State == timesheet.StateNew {
			switch {
			case i < p.Settled:
				w.State = timesheet.StateSent
			case i < p.Begun:
				w.State = timesheet.StateSending
			}
		}
		w.Hint = hintFor(w.State, w.Reason)
		if f != nil && !f.wants(&w) {
			continue
		}
		if w.State == timesheet.StateSent {
			if w.Remote, err = remoteID(ctx, l.reader, id, i); err != nil {
				return explain("list entries", err)
			}
			if err := l.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM missing WHERE key = ?)`, w.Key[:]).Scan(&w.Missing); err != nil {
				return explain("list entries", err)
			}
		}
		if err := each(&w); err != nil {
			return err
		}
	}
	return nil
}

func hintFor(state timesheet.State, reason timesheet.Reason) string {
	switch {
	case state == timesheet.StateInDoubt:
		return "ask the API (resolve --ask) where it can be read back, or look it up there and say resolve --sent or --not-sent"
	case state == timesheet.StateHeld && reason == timesheet.ReasonChanged:
		return "mend what was sent in Timesheets by hand, then resolve --skip; or resolve --send to send this one as well"
	case state == timesheet.StateHeld && reason == timesheet.ReasonProject:
		return "add the project to the source's projects; it then goes out by itself"
	case state == timesheet.StateHeld && reason == timesheet.ReasonForgot:
		return "mend the end in the tracker; or resolve --send where somebody did work that long, or raise rules.forgotten_timer"
	case state == timesheet.StateHeld && reason == timesheet.ReasonDayTotal:
		return "mend the day in the tracker, or resolve --send where the hours are right"
	case reason == timesheet.ReasonOverlap:
		return "mend the times in the tracker, then all of them go out by themselves; or resolve --send where they are right"
	case state == timesheet.StateHeld:
		return "resolve --send or --skip"
	case state == timesheet.StateRejected:
		return "mend it in the tracker; or resolve --send to try the same content again, --skip to give it up"
	}
	return ""
}

// Rows calls each with every rejected row, open or closed.
func (l *Ledger) Rows(ctx context.Context, each func(*timesheet.Waiting, *timesheet.Rejection) error) error {
	rows, err := l.reader.QueryContext(ctx, `SELECT r.key, s.name, r.state, r.reason, r.col, r.message, r.hint, r.file, r.line, r.header, r.record, r.person, r.seconds, r.changed
		FROM rejection r JOIN source s ON s.id = r.source ORDER BY s.name, r.file, r.line & 4294967295, r.line`)
	if err != nil {
		return explain("list rejected rows", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		var w timesheet.Waiting
		var r timesheet.Rejection
		var header, record string
		var changed, place int64
		if err := rows.Scan(&raw, &w.Source, &w.State, &r.Reason, &r.Column, &r.Message, &r.Hint, &r.Origin.File, &place, &header, &record, &r.Person, &r.Duration, &changed); err != nil {
			return explain("list rejected rows", err)
		}
		copy(w.Key[:], raw)
		if err := errors.Join(json.Unmarshal([]byte(header), &r.Header), json.Unmarshal([]byte(record), &r.Record)); err != nil {
			return explain("list rejected rows", err)
		}
		r.Origin.Source = w.Source
		r.Origin.SetPlace(uint64(place))
		w.Ref, w.Reason, w.Detail, w.Hint, w.Origin, w.Person, w.Seconds = timesheet.Ref(w.Key), r.Reason, r.Message, r.Hint, r.Origin, r.Person, r.Duration
		w.Day, w.Row, w.At = w.Key.Day(), true, timeOf(changed)
		if err := each(&w, &r); err != nil {
			return err
		}
	}
	return explain("list rejected rows", rows.Err())
}

// Find returns what a Ref, or its head, stands for: entries with their waiting
// amendments, or rejected rows.
func (l *Ledger) Find(ctx context.Context, ref string) ([]*timesheet.Waiting, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	low, high, err := timesheet.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	type place struct {
		parcel int64
		pos    int
	}
	var places []place
	rows, err := l.reader.QueryContext(ctx, `SELECT parcel, pos FROM entry WHERE key BETWEEN ?1 AND ?2 UNION ALL SELECT parcel, 0 FROM amendment WHERE key BETWEEN ?1 AND ?2 LIMIT 50`, low[:], high[:])
	if err != nil {
		return nil, explain("look up "+ref, err)
	}
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.parcel, &p.pos); err != nil {
			return nil, explain("look up "+ref, errors.Join(err, rows.Close()))
		}
		places = append(places, p)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, explain("look up "+ref, err)
	}
	var found []*timesheet.Waiting
	for _, p := range places {
		if err := l.eachOf(ctx, p.parcel, p.pos, nil, func(w *timesheet.Waiting) error {
			found = append(found, w)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	err = l.Rows(ctx, func(w *timesheet.Waiting, _ *timesheet.Rejection) error {
		if string(w.Key[:]) >= string(low[:]) && string(w.Key[:]) <= string(high[:]) {
			found = append(found, w)
		}
		return nil
	})
	return found, err
}

// Event is one thing that happened to an entry.
type Event struct {
	At     time.Time
	What   string
	Detail string
}

// History tells, oldest first, what happened to one entry: its plan, every
// attempt that did not simply succeed, every decision, its receipt.
func (l *Ledger) History(ctx context.Context, w *timesheet.Waiting) ([]Event, error) {
	if err := l.upToDate(ctx); err != nil {
		return nil, err
	}
	events, err := l.history(ctx, w)
	return events, explain("read the history", err)
}

func (l *Ledger) history(ctx context.Context, w *timesheet.Waiting) ([]Event, error) {
	var events []Event
	until := int64(math.MaxInt64) // what a parent lived through after the entry left it is not the entry's
	for id := w.Parcel; id != 0; {
		var parent sql.NullInt64
		var run string
		var n int
		var began, born int64
		var records []byte
		if err := l.reader.QueryRowContext(ctx, `SELECT p.parent, p.run, p.n, p.began, p.born, d.records FROM parcel p JOIN detail d ON d.parcel = p.id WHERE p.id = ?`, id).
			Scan(&parent, &run, &n, &began, &born, &records); err != nil {
			return nil, err
		}
		pos := 0
		for pos < n && string(records[pos*recordSize:pos*recordSize+keySize]) != string(w.Key[:]) {
			pos++
		}
		own, err := l.eventsOf(ctx, id, pos, until)
		if err != nil {
			return nil, err
		}
		// When its request began is known while it lasts; of one that is over,
		// where no other of the parcel has followed.
		lasts := w.State == timesheet.StateSending || w.State == timesheet.StateInDoubt || w.State == timesheet.StateRejected
		if id == w.Parcel && began != 0 && (lasts || w.State == timesheet.StateSent && n == 1) {
			own = append(own, Event{At: timeOf(began), What: "sending", Detail: "the last time"})
		}
		events = append(events, own...)
		if !parent.Valid || parent.Int64 == 0 {
			events = append(events, Event{At: timeOf(born), What: "planned", Detail: "run " + run})
		}
		id, until = parent.Int64, born
	}
	if w.State == timesheet.StateSent {
		id, answer, err := receipt(ctx, l.reader, w.Parcel, w.Pos)
		if err != nil {
			return nil, err
		}
		if id != "" {
			answer = "id " + id
		}
		var at int64
		_ = l.reader.QueryRowContext(ctx, `SELECT at FROM receipt WHERE parcel = ? AND pos <= ? AND pos + n > ?`, w.Parcel, w.Pos, w.Pos).Scan(&at)
		events = append(events, Event{At: timeOf(at), What: "sent", Detail: answer})
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events, nil
}

// eventsOf lists what happened to position pos of a parcel, up to a moment.
func (l *Ledger) eventsOf(ctx context.Context, id int64, pos int, until int64) ([]Event, error) {
	rows, err := l.reader.QueryContext(ctx, `SELECT at, what, detail FROM event WHERE parcel = ? AND at <= ? ORDER BY id`, id, until)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		var e Event
		var at int64
		if err := rows.Scan(&at, &e.What, &e.Detail); err != nil {
			return nil, err
		}
		var part struct{ From, To *int }
		if json.Unmarshal([]byte(e.Detail), &part) == nil && part.From != nil && part.To != nil && (pos < *part.From || pos >= *part.To) {
			continue // of other entries of the parcel
		}
		e.At = timeOf(at)
		events = append(events, e)
	}
	return events, rows.Err()
}

// StartRun and EndRun keep one line a run for status.
func (l *Ledger) StartRun(ctx context.Context, id string) error {
	tx, err := l.begin(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT INTO run(id, started) VALUES (?, ?)`, id, time.Now().UnixMilli()); err != nil {
		return explain("record the run", err)
	}
	return explain("record the run", tx.Commit())
}

// EndRun records how a run ended.
func (l *Ledger) EndRun(ctx context.Context, id string, exit int, summary []byte) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `UPDATE run SET ended = ?, exit = ?, summary = ? WHERE id = ?`, time.Now().UnixMilli(), exit, string(summary), id); err != nil {
		return explain("record the run", err)
	}
	return explain("record the run", tx.Commit())
}

// Run is one recorded run; Ended is zero while it goes on, or if it died.
type Run struct {
	ID      string
	Started time.Time
	Ended   time.Time
	Exit    int
	Summary string // JSON of its report's totals
}

// LastRuns lists the newest runs, newest first.
func (l *Ledger) LastRuns(ctx context.Context, n int) ([]Run, error) {
	rows, err := l.reader.QueryContext(ctx, `SELECT id, started, ended, exit, summary FROM run ORDER BY started DESC, id DESC LIMIT ?`, n)
	if err != nil {
		return nil, explain("list runs", err)
	}
	defer rows.Close()
	var runs []Run
	for rows.Next() {
		var r Run
		var started, ended int64
		if err := rows.Scan(&r.ID, &started, &ended, &r.Exit, &r.Summary); err != nil {
			return nil, explain("list runs", err)
		}
		r.Started, r.Ended = timeOf(started), timeOf(ended)
		runs = append(runs, r)
	}
	return runs, explain("list runs", rows.Err())
}

// LastRead returns the stamp, the fingerprint and the summary of the last
// complete read of a source; all empty where there was none.
func (l *Ledger) LastRead(ctx context.Context, source string) (stamp string, fingerprint [32]byte, summary []byte, err error) {
	var raw []byte
	err = l.reader.QueryRowContext(ctx, `SELECT r.stamp, r.fingerprint, r.summary FROM reading r JOIN source s ON s.id = r.source WHERE s.name = ?`, source).
		Scan(&stamp, &raw, &summary)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fingerprint, nil, nil
	}
	copy(fingerprint[:], raw)
	return stamp, fingerprint, summary, explain("read the ledger", err)
}

// Settled tells whether everything of a source is sent or skipped.
func (l *Ledger) Settled(ctx context.Context, source string) (bool, error) {
	if err := l.upToDate(ctx); err != nil {
		return false, err
	}
	var open bool
	err := l.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM parcel p JOIN source s ON s.id = p.source WHERE s.name = ?1 AND p.live > 0 AND p.state <> 'skipped' AND (p.state <> 'new' OR p.settled < p.n))
		OR EXISTS (SELECT 1 FROM rejection r JOIN source s ON s.id = r.source WHERE s.name = ?1 AND r.state = 'rejected')`, source).Scan(&open)
	return !open, explain("read the ledger", err)
}
