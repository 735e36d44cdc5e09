package uploader

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// lookupGroup is how many entries are looked up in the ledger together.
const lookupGroup = 500

// planFeed reads one source and writes its plan. What is wrong with the source
// goes into the report; only a fault of the ledger, or the end of ctx, is an
// error.
func (u *Uploader) planFeed(ctx context.Context, feed *Feed, s *SourceReport) error {
	last, err := u.lastSettled(ctx, feed)
	if err != nil {
		return err
	}
	reading, unchanged, err := open(ctx, feed, last)
	if err != nil {
		return u.sourceFailed(ctx, s, err)
	}
	if reading != nil {
		defer reading.Close()
	}
	if unchanged || last.equals(ctx, reading) {
		s.Unchanged = true
		return json.Unmarshal(last.summary, s)
	}
	survey, err := reading.Survey(ctx)
	if err != nil {
		return u.sourceFailed(ctx, s, err)
	}
	survey.Complete = survey.Complete && !feed.Part
	s.Files, s.Notes, s.Complete = survey.Files, survey.Notes, survey.Complete
	assumed, err := u.cfg.Ledger.AssumeSentBefore(ctx)
	if err != nil {
		return err
	}
	if u.cfg.Surveyed != nil {
		u.cfg.Surveyed(survey.Rows)
	}
	tx, err := u.cfg.Ledger.Plan(ctx, feed.ID, u.cfg.RunID, survey.Rows, u.cfg.API.parcelSize())
	if err != nil {
		return err
	}
	defer tx.Rollback()
	p := &plan{cfg: &u.cfg, feed: feed, tx: tx, report: s, assumed: assumed, lanes: u.cfg.API.lanes(), bad: map[[12]byte]bool{}, refused: map[string]map[timesheet.Day]struct{}{}, strangers: map[[12]byte]bool{}, renewed: map[timesheet.Packed]uint64{}, overlaps: newOverlaps(feed), changes: map[timesheet.Packed]timesheet.Seconds{}}
	if survey.Window != nil {
		p.people = map[string]bool{}
	}
	if err := reading.Rows(ctx, p.row); err != nil {
		if fault, ok := errors.AsType[*ledgerError](err); ok {
			return fault.err
		}
		s.reset()
		return u.sourceFailed(ctx, s, err)
	}
	if err := p.finish(&survey); err != nil {
		if held, ok := errors.AsType[*readingError](err); ok {
			s.reset()
			s.Err = held
			return nil
		}
		return err
	}
	return tx.Commit()
}

// sourceFailed notes a source that could not be read, unless it is the run
// that ended.
func (u *Uploader) sourceFailed(ctx context.Context, s *SourceReport, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.Err = err
	attrs := []any{"source", s.Name, "err", err}
	if p, ok := errors.AsType[*rescue.Error](err); ok {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	u.log.ErrorContext(ctx, "source cannot be read", attrs...)
	return nil
}

// lastRead is a read of a source after which everything in it was settled.
type lastRead struct {
	stamp       string
	fingerprint [32]byte
	summary     []byte
}

// lastSettled is the last read of a source, if an equal one can be passed over:
// where everything in it is settled, there would be nothing to plan. Else nil.
func (u *Uploader) lastSettled(ctx context.Context, feed *Feed) (*lastRead, error) {
	if u.cfg.Since != nil || u.cfg.Until != nil || u.cfg.Hours {
		return nil, nil
	}
	stamp, fingerprint, summary, err := u.cfg.Ledger.LastRead(ctx, feed.ID)
	if err != nil || stamp == "" {
		return nil, err
	}
	settled, err := u.cfg.Ledger.Settled(ctx, feed.ID)
	if err != nil || !settled {
		return nil, err
	}
	s := &SourceReport{}
	if json.Unmarshal(summary, s) != nil {
		return nil, nil //nolint:nilerr // an older program's summary; the source is simply read again
	}
	if s.Rounding != feed.Rounding.Name {
		return nil, nil // what was rounded away may not be now
	}
	for o := range s.Outcomes {
		if o.State == timesheet.StateHeld || o.State == timesheet.StateRejected || o.State == timesheet.StateInDoubt {
			// A person has settled it since: only the plan can tell how.
			return nil, nil
		}
	}
	return &lastRead{stamp: stamp, fingerprint: fingerprint, summary: summary}, nil
}

// open opens a source, or learns from it that it is what it was at last.
func open(ctx context.Context, feed *Feed, last *lastRead) (reading Reading, unchanged bool, err error) {
	if source, ok := feed.Source.(Conditional); ok && last != nil {
		return source.OpenUnless(ctx, last.stamp)
	}
	reading, err = feed.Source.Open(ctx)
	return reading, false, err
}

// equals tells whether a source reads, byte for byte and in the same way, as it
// did then.
func (l *lastRead) equals(ctx context.Context, reading Reading) bool {
	if l == nil || l.stamp != reading.Stamp() {
		return false
	}
	now, err := reading.Fingerprint(ctx)
	return err == nil && now == l.fingerprint // with an error the survey will say what is wrong
}

// ledgerError carries a fault of the ledger through the reader's callback.
type ledgerError struct{ err error }

func (e *ledgerError) Error() string { return e.err.Error() }

// plan decides, row by row, what becomes of a source.
type plan struct {
	cfg     *Config
	feed    *Feed
	tx      Planning
	report  *SourceReport
	assumed timesheet.Day
	lanes   int
	group   []timesheet.Entry
	spans   []span // in group
	// bad are ids that stand for two contents in one read, on whatever days.
	bad map[[12]byte]bool
	// refused are the days of people that have refused rows: the read has rows
	// of them, if no entries.
	refused map[string]map[timesheet.Day]struct{}
	// strangers are the ids of entries whose rows are refused for their person
	// alone: the read has them.
	strangers map[[12]byte]bool
	// renewed are known entries that this plan has planned anew, with the short
	// Digest of their content.
	renewed map[timesheet.Packed]uint64
	// people have entries in the read; kept only where an absence from it is
	// judged for whole days.
	people map[string]bool
	// changes are sent entries that are about to be replaced, with how long they
	// are then; kept only where days are rounded.
	changes map[timesheet.Packed]timesheet.Seconds
	// overlaps is nil unless entries that overlap are held or refused.
	overlaps *overlaps
}

// row takes one row of the second pass.
func (p *plan) row(row *timesheet.Row) error {
	p.report.Rows++
	crash.Point("C0")
	switch {
	case row.Skipped != nil:
		p.report.count(timesheet.StateSkipped, row.Skipped.Reason, "", 0, false, 0)
		return nil
	case row.Rejection != nil:
		return p.reject(row.Rejection)
	}
	e := row.Entry
	p.report.Seconds += e.Duration
	if p.people != nil && !p.people[e.Person] {
		p.people[e.Person] = true
	}
	if p.cfg.Since != nil && e.Day < *p.cfg.Since || p.cfg.Until != nil && e.Day > *p.cfg.Until {
		p.report.Outside.add(e.Duration)
		return nil
	}
	p.report.Window.add(e.Duration)
	if row.Parts == nil {
		p.group = append(p.group, *e)
	} else {
		p.over(e, row.Parts)
	}
	if len(p.group) < lookupGroup {
		return nil
	}
	return p.decide()
}

func (p *plan) reject(r *timesheet.Rejection) error {
	if r.Reason == timesheet.ReasonDuplicateID {
		// The other row with this id must not go out either.
		p.bad[r.Key.Packed(r.Day).ID()] = true
		r.Key[0] ^= 0xff // the row's own identity, beside the entry's
	}
	if r.HasDay {
		days := p.refused[r.Person]
		if days == nil {
			days = map[timesheet.Day]struct{}{}
			p.refused[r.Person] = days
		}
		days[r.Day] = struct{}{}
	}
	if r.Entry != (timesheet.Key{}) {
		p.strangers[r.Entry.Packed(r.Day).ID()] = true
	}
	state, err := p.tx.Reject(r)
	if err != nil {
		return &ledgerError{err}
	}
	p.report.Seconds += r.Duration
	p.report.count(state, r.Reason, r.Person, r.Day, r.HasDay, r.Duration)
	return nil
}

// decide plans the entries gathered so far.
func (p *plan) decide() error {
	p.cfg.Alive()
	found, err := p.tx.Lookup(p.group)
	spans := p.spans
	for i := 0; err == nil && i < len(p.group); i++ {
		if len(spans) > 0 && spans[0].at == i {
			err = p.overMidnight(&spans[0], found)
			i, spans = i+spans[0].parts, spans[1:]
			continue
		}
		err = p.one(&p.group[i], found[i], p.group[i].Day)
	}
	p.group, p.spans = p.group[:0], p.spans[:0]
	if err != nil {
		return &ledgerError{err}
	}
	return nil
}

// one plans an entry of a row of a day.
func (p *plan) one(e *timesheet.Entry, known *timesheet.Known, day timesheet.Day) error {
	if known == nil {
		return p.new(e, day)
	}
	if err := p.known(e, known); err != nil || p.overlaps == nil {
		return err
	}
	if _, anew := p.renewed[known.Key]; !anew {
		p.overlaps.known(e, known)
	}
	return nil
}

func (p *plan) count(e *timesheet.Entry, state timesheet.State, reason timesheet.Reason) {
	p.report.count(state, reason, e.Person, e.Day, true, e.Duration)
	if p.report.Hours != nil {
		p.report.Hours.Add(e.Person, e.Project, e.Day, e.Duration)
	}
}

func (p *plan) new(e *timesheet.Entry, day timesheet.Day) error {
	fate := timesheet.Fate{State: timesheet.StateNew}
	switch {
	case day < p.assumed:
		fate = timesheet.Fate{State: timesheet.StateSent, Detail: "assumed sent before " + p.assumed.String()}
	case e.Hold != "":
		fate = timesheet.Fate{State: timesheet.StateHeld, Reason: e.Hold, Detail: e.HoldDetail}
	}
	p.count(e, fate.State, fate.Reason)
	return p.tx.Add(e, fate, p.lane(e), p.lanes)
}

func (p *plan) known(e *timesheet.Entry, k *timesheet.Known) error {
	changed := k.Digest != e.Digest.Short()
	renew := func() error {
		fate := timesheet.Fate{State: timesheet.StateNew}
		if e.Hold != "" {
			fate = timesheet.Fate{State: timesheet.StateHeld, Reason: e.Hold, Detail: e.HoldDetail}
		}
		p.count(e, fate.State, fate.Reason)
		p.renewed[k.Key] = e.Digest.Short()
		return p.tx.Replace(e, k, fate, p.lane(e), p.lanes)
	}
	if digest, twice := p.renewed[k.Key]; twice {
		// Another file of this read has it too. Under one id the two may say
		// different things; then neither goes out.
		p.bad[k.Key.ID()] = p.bad[k.Key.ID()] || digest != e.Digest.Short()
		p.report.tally(timesheet.StateSkipped, timesheet.ReasonTwoFiles).add(e.Duration)
		return nil
	}
	if k.Again && !changed && k.State == timesheet.StateNew {
		p.report.tally(timesheet.StateSkipped, timesheet.ReasonTwoFiles).add(e.Duration)
		return nil
	}
	switch k.State {
	case timesheet.StateSent:
		switch {
		case k.AmendedState == timesheet.StateInDoubt:
			// One change at a time: what the row says now waits until it is known
			// what the API holds.
			p.count(e, timesheet.StateInDoubt, "")
			return nil
		case changed && k.Amended != e.Digest.Short():
			return p.amend(e, k)
		case !changed && k.Amended != 0:
			p.count(e, timesheet.StateSent, "")
			return p.tx.Restore(k)
		case changed:
			p.count(e, k.AmendedState, k.AmendedReason)
			p.change(e, k, k.AmendedState == timesheet.StateNew)
			return nil
		}
	case timesheet.StateHeld:
		// What the source itself held is let go when it no longer would.
		ours := k.Reason == timesheet.ReasonProject || k.Reason == timesheet.ReasonForgot
		if ours && e.Hold != k.Reason || changed && k.Reason != timesheet.ReasonChanged {
			return renew()
		}
	case timesheet.StateNew, timesheet.StateRejected:
		if changed {
			return renew() // nothing of the old content was ever accepted
		}
	case timesheet.StateSkipped:
		if k.Reason == timesheet.ReasonWithdrawn || k.Reason == timesheet.ReasonRounded && p.feed.Rounding.Unit == 0 {
			return renew()
		}
	default: // what is on the wire, or in doubt, must be settled first
	}
	p.count(e, k.State, k.Reason)
	return nil
}

// amend plans a sent entry that reads otherwise now.
func (p *plan) amend(e *timesheet.Entry, k *timesheet.Known) error {
	if p.feed.OnChange == "update" && p.cfg.API.Update {
		planned, err := p.tx.Amend(e, k, timesheet.Fate{State: timesheet.StateNew}, p.lane(e), p.lanes)
		if err != nil || planned {
			p.count(e, timesheet.StateNew, timesheet.ReasonChanged)
			p.change(e, k, planned)
			return err
		}
	}
	p.count(e, timesheet.StateHeld, timesheet.ReasonChanged)
	_, err := p.tx.Amend(e, k, timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonChanged, Detail: "differs from what was sent"}, p.lane(e), p.lanes)
	return err
}

// change notes how long a sent entry is going to be.
func (p *plan) change(e *timesheet.Entry, k *timesheet.Known, planned bool) {
	if planned && p.feed.Rounding.Unit > 0 {
		p.changes[k.Key] = e.Duration
	}
}

// lane keeps a person's day together: two requests for it are never in flight
// at the same time.
func (p *plan) lane(e *timesheet.Entry) int {
	if p.lanes <= 1 {
		return 0
	}
	const prime = 1099511628211 // FNV-1a, because it must be the same in every run
	h := uint64(14695981039346656037)
	for i := range len(e.Person) {
		h = (h ^ uint64(e.Person[i])) * prime
	}
	h = (h ^ uint64(uint32(e.Day))) * prime
	return int((h ^ h>>32) % uint64(p.lanes))
}

// finish judges the plan as a whole and completes it.
func (p *plan) finish(survey *timesheet.Survey) error {
	if len(p.group) > 0 {
		if err := p.decide(); err != nil {
			if fault, ok := errors.AsType[*ledgerError](err); ok {
				return fault.err
			}
			return err
		}
	}
	if err := p.tx.Index(p.report.twice); err != nil {
		return err
	}
	if err := p.judge(survey); err != nil {
		return err
	}
	if p.cfg.Since != nil || p.cfg.Until != nil || p.feed.Part {
		return nil // a part of a source says nothing about the whole
	}
	if survey.Complete {
		for _, f := range survey.Files {
			closed, err := p.tx.CloseRejections(f.Name)
			if err != nil {
				return err
			}
			p.report.Mended += closed
		}
	}
	summary, err := json.Marshal(p.report.settled())
	if err != nil {
		return err
	}
	return p.tx.Remember(survey, summary)
}
