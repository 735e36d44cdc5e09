// Package uploader carries entries from sources to the Timesheets API, each
// exactly once as far as the API allows, and with nothing lost.
//
// Uploader.Run is the whole order of work. Whatever it needs it sees through
// the small interfaces of this file; the promises that an implementation must
// keep stand with them.
package uploader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// Entry is one person's time on one project and date.
type Entry = timesheet.Entry

// Rejection is a row that was refused, with what a person needs to mend it.
type Rejection = timesheet.Rejection

// Row is what one row of an export became.
type Row = timesheet.Row

// Source produces the entries of one place where a contractor keeps hours.
type Source interface {
	// Open finds the files, or fetches the export. The caller closes the Reading.
	Open(ctx context.Context) (Reading, error)
}

// Conditional is a Source that can say, without being read, that it is what a
// Reading with this Stamp was: then unchanged is true and there is no Reading.
type Conditional interface {
	OpenUnless(ctx context.Context, stamp string) (r Reading, unchanged bool, err error)
}

// Reading is one consistent look at a source: both passes see the same bytes,
// or fail.
type Reading interface {
	// Stamp is a cheap sign of the same bytes; empty where there is none.
	Stamp() string
	// Fingerprint hashes the bytes and the way they are read, parsing nothing.
	Fingerprint(ctx context.Context) ([32]byte, error)
	// Survey is the first pass.
	Survey(ctx context.Context) (timesheet.Survey, error)
	// Rows is the second pass: every data line ends as one Row.
	Rows(ctx context.Context, yield func(*timesheet.Row) error) error
	Close() error
}

// Ledger remembers what was planned, begun and settled. What it returns nil
// for is durable.
type Ledger interface {
	// Recover puts in doubt what a dead process had on the wire.
	Recover(ctx context.Context) (int, error)
	StartRun(ctx context.Context, id string) error
	EndRun(ctx context.Context, id string, exit int, summary []byte) error
	LastRead(ctx context.Context, source string) (stamp string, fingerprint [32]byte, summary []byte, err error)
	Settled(ctx context.Context, source string) (bool, error)
	AssumeSentBefore(ctx context.Context) (timesheet.Day, error)
	Plan(ctx context.Context, source, run string, rows, size int) (Planning, error)
	// Ready lists the lanes that have something to send, the fullest first.
	Ready(ctx context.Context, sources []string) ([]timesheet.Lane, error)
	Parcel(ctx context.Context, id int64) (*timesheet.Parcel, error)
	// Record makes durable how a lane's last Batch ended and which is begun
	// next. Bytes of the Batch may leave once it has returned nil.
	Record(ctx context.Context, settle *timesheet.Settlement, begin *timesheet.Batch) error
	InDoubt(ctx context.Context) ([]*timesheet.Parcel, error)
	// Decide ends the doubt about entries of a parcel, with the evidence.
	Decide(ctx context.Context, parcel int64, positions []int, fates []timesheet.Fate, evidence string) error
	Absent(ctx context.Context, parcel int64, at time.Time) error
}

// Planning is the plan of one source under way: all of it, or nothing.
type Planning interface {
	Lookup(entries []timesheet.Entry) ([]*timesheet.Known, error)
	Add(e *timesheet.Entry, fate timesheet.Fate, lane, lanes int) error
	Replace(e *timesheet.Entry, known *timesheet.Known, fate timesheet.Fate, lane, lanes int) error
	Amend(e *timesheet.Entry, known *timesheet.Known, fate timesheet.Fate, lane, lanes int) (bool, error)
	Restore(known *timesheet.Known) error
	Reject(r *timesheet.Rejection) (timesheet.State, error)
	CloseRejections(file string) (int, error)
	// Index completes the plan's index and names every entry that was added
	// twice, because two files of the read have it.
	Index(twice func(timesheet.Fresh)) error
	// Cover adds days of which an absence means something.
	Cover(w timesheet.Window)
	// Peek tells what there was under a key before; nil where nothing was.
	Peek(key timesheet.Packed) (*timesheet.Known, error)
	// Round notes what rounding adds to entries that are not on the wire.
	Round(list []timesheet.Rounded) error
	Days(unsent bool, judge func(day timesheet.Day, known []timesheet.Known, added []timesheet.Fresh) error) error
	Hold(keys []timesheet.Packed, fate timesheet.Fate) error
	Missing(absent, back []timesheet.Packed) error
	SeenMissing() ([]timesheet.Packed, error)
	Remember(s *timesheet.Survey, summary []byte) error
	Commit() error
	Rollback()
}

// Feed is a source with the policies that its entries are planned by.
type Feed struct {
	Name   string // what people call it
	ID     string // what enters every key
	Source Source
	// OnChange is what to do when a sent entry reads otherwise: hold or update.
	OnChange string
	// MaxPerDay holds a person's day above it; 0 allows everything.
	MaxPerDay timesheet.Seconds
	// Overlap is what to do about entries of one person that overlap in time:
	// OverlapWarn, OverlapHold or OverlapReject; empty does nothing.
	Overlap string
	// Split plans rows over midnight in parts, one a day.
	Split bool
	// Rounding is to what every person's day of the source is rounded.
	Rounding Rounding
	// Part says that the read is a few rows of the source (mended ones): that
	// the others are absent from it means nothing.
	Part bool
}

// Config is all that an Uploader depends on.
type Config struct {
	RunID string
	Feeds []Feed
	// Configured are the ids of all sources there are, those of this run and others.
	Configured []string
	Ledger     Ledger
	API        API
	// Transport carries the token. Ready is called once, before the first
	// request, when there is something to send or to ask.
	Transport http.RoundTripper
	Ready     func(ctx context.Context) error
	Logger    *slog.Logger
	// Hours adds up, in the report, what was read by person, project and day. A
	// source is then read even where it is unchanged.
	Hours bool
	// DryRun ends the run after the plan.
	DryRun bool
	// Since and Until leave out entries of other days; both days are included.
	Since, Until *timesheet.Day
	// Expect is how much the read must come to, in seconds; nil expects nothing.
	Expect *timesheet.Seconds
	// Deadline bounds the run; nothing begins that could not end before it.
	Deadline time.Duration
	// MaxRejectRatio stops the run when the API refuses more than this part of
	// the first 50 entries: that is a wrong mapping, not bad rows.
	MaxRejectRatio float64
	// Diagnose names facts about the token that explain a refusal; may be nil.
	Diagnose func() []string
	// Surveyed is told how many rows are about to be planned; may be nil.
	Surveyed func(rows int)
	// Progress is called with entries settled and entries to send; may be nil.
	Progress func(done, total int)
	// Alive is called with every step that the run makes, from any goroutine: rows
	// planned, answers, waits that are meant to be. A run that is stuck does not
	// call it. May be nil.
	Alive func()
}

// Uploader does one Run at a time.
type Uploader struct {
	cfg    Config
	log    *slog.Logger
	client *client
}

// New checks the configuration and returns an Uploader.
func New(cfg Config) (*Uploader, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Alive == nil {
		cfg.Alive = func() {}
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 30 * time.Minute
	}
	if cfg.MaxRejectRatio <= 0 {
		cfg.MaxRejectRatio = 0.2
	}
	u := &Uploader{cfg: cfg, log: cfg.Logger.With("run_id", cfg.RunID)}
	var err error
	u.client, err = newClient(&u.cfg.API, cfg.Transport, u.log)
	if err != nil {
		return nil, err
	}
	u.client.alive = cfg.Alive
	return u, nil
}

// Run does one pass: recover, read and plan every source, send, settle,
// report. When stopping is closed it begins nothing more and ends once what is
// in flight is recorded; when ctx ends, what is in flight falls in doubt.
//
// The Report tells what happened, sources that failed included; an error means
// that the run itself could not go on, and comes with as much of a Report as
// there is.
func (u *Uploader) Run(ctx context.Context, stopping <-chan struct{}) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.Deadline)
	defer cancel()
	r := newReport(u.cfg)
	u.client.stopping = stopping
	err := u.run(ctx, r)
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.stop(outOfTime())
		err = nil
	}
	if counted := u.countDoubt(ctx, r); err == nil {
		err = counted
	}
	r.Requests = int(u.client.requests.Load())
	r.Ended = time.Now()
	if !u.cfg.DryRun && r.started {
		if end := u.cfg.Ledger.EndRun(ctx, u.cfg.RunID, r.exit(err), r.totals()); err == nil {
			err = end
		}
	}
	return r, err
}

// run is the order of work.
func (u *Uploader) run(ctx context.Context, r *Report) error {
	// 1. What a dead process left on the wire is in doubt from now on.
	if err := u.begin(ctx, r); err != nil {
		return err
	}
	// 2. Read every source and write its plan; one that fails stops no other.
	for i := range u.cfg.Feeds {
		feed, s := &u.cfg.Feeds[i], r.Sources[i]
		err := rescue.Do(func() error { return u.planFeed(ctx, feed, s) })
		if p, ok := errors.AsType[*rescue.Error](err); ok {
			s.reset()
			err = u.sourceFailed(ctx, s, p)
		}
		if err != nil {
			return err
		}
	}
	if err := r.balance(); err != nil {
		return err
	}
	if r.unexpected() || u.cfg.DryRun {
		return nil
	}
	// 3. What is there to send, and to ask?
	work, err := u.outstanding(ctx, r)
	if err != nil || work.empty() {
		return err
	}
	// 4. A token, and the scope that it needs.
	if err := u.cfg.Ready(ctx); err != nil {
		r.stop(stopFor(err))
		return nil
	}
	// 5. Settle what is in doubt, then send, lane by lane.
	if err := u.settleDoubt(ctx, work.doubt, r); err != nil {
		return err
	}
	if err := u.send(ctx, r); err != nil {
		return err
	}
	// 6. What fell in doubt just now may be there to see already.
	return u.askOnce(ctx, r)
}

// countDoubt counts what is in doubt of this run's sources now that it ends:
// some of what the plan met so is settled since.
func (u *Uploader) countDoubt(ctx context.Context, r *Report) error {
	if !r.started {
		r.openDoubt = r.Total(timesheet.StateInDoubt).Rows
		return nil
	}
	doubt, err := u.cfg.Ledger.InDoubt(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	ids := u.feedIDs()
	for _, p := range doubt {
		if !slices.Contains(ids, p.Source) {
			continue
		}
		for _, gone := range p.Gone {
			if !gone {
				r.openDoubt++
			}
		}
	}
	return nil
}

func (u *Uploader) begin(ctx context.Context, r *Report) error {
	if u.cfg.DryRun {
		return nil
	}
	recovered, err := u.cfg.Ledger.Recover(ctx)
	if err != nil {
		return err
	}
	if recovered > 0 {
		u.log.WarnContext(ctx, "a run ended in the middle of sending; its entries are in doubt", "entries", recovered)
	}
	r.Recovered, r.recovered = recovered, time.Now()
	r.started = true
	return u.cfg.Ledger.StartRun(ctx, u.cfg.RunID)
}

// work is what a run has before it after planning.
type work struct {
	doubt []*timesheet.Parcel
	total int
}

func (w work) empty() bool { return len(w.doubt) == 0 && w.total == 0 }

func (u *Uploader) outstanding(ctx context.Context, r *Report) (work, error) {
	var w work
	doubt, err := u.cfg.Ledger.InDoubt(ctx)
	if err != nil {
		return w, err
	}
	for _, p := range doubt {
		if u.cfg.API.resend(p, time.Now()) || u.cfg.API.ReadBack {
			w.doubt = append(w.doubt, p)
		}
	}
	ready, err := u.ready(ctx)
	if err != nil {
		return w, err
	}
	for _, lane := range ready {
		w.total += lane.Left
	}
	r.toSend = w.total > 0
	return w, nil
}

// diagnosis is the hint for a refused token.
func (u *Uploader) diagnosis() string {
	hint := "check the client's grants: `tsupload auth status`"
	if u.cfg.Diagnose == nil {
		return hint
	}
	return strings.Join(append(u.cfg.Diagnose(), hint), "; ")
}

func (u *Uploader) feedIDs() []string {
	ids := make([]string, len(u.cfg.Feeds))
	for i := range u.cfg.Feeds {
		ids[i] = u.cfg.Feeds[i].ID
	}
	return ids
}

// errConfig is a Config that cannot work.
func errConfig(format string, args ...any) error {
	return &StopError{Kind: StopConfig, Message: fmt.Sprintf(format, args...)}
}

// StopKind says what stopped a run from sending.
type StopKind string

// What can stop a run.
const (
	StopAuth        StopKind = "auth"        // credentials or permissions refused
	StopConfig      StopKind = "config"      // the API says that this is not how to talk to it
	StopUnreachable StopKind = "unreachable" // down or busy; the next run goes on
	StopDeadline    StopKind = "deadline"    // the run had no time left
	StopDrained     StopKind = "drained"     // somebody asked it to end
	StopRejects     StopKind = "rejects"     // too much was refused
	StopBug         StopKind = "bug"         // the API says that we broke a rule of the protocol
)

// StopError is why a run sent no more. Entries that were not sent stay new.
type StopError struct {
	Kind     StopKind
	Message  string
	HintText string
	Err      error
}

func (e *StopError) Error() string {
	if e.Err != nil && e.Message != "" {
		return e.Message + ": " + e.Err.Error()
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *StopError) Hint() string {
	var h interface{ Hint() string }
	if e.HintText == "" && errors.As(e.Err, &h) {
		return h.Hint()
	}
	return e.HintText
}

// stopFor makes of a token that cannot be had a stop: refused for good, or
// not to be had for now.
func stopFor(err error) *StopError {
	if stop, ok := errors.AsType[*StopError](err); ok {
		return stop
	}
	if temporary(err) {
		return &StopError{Kind: StopUnreachable, Err: err, HintText: hintOf(err)}
	}
	return &StopError{Kind: StopAuth, Err: err, HintText: hintOf(err)}
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// temporary tells whether an error of the token layer may pass by itself.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	if errors.As(err, &t) {
		return t.Temporary()
	}
	return errors.Is(err, context.DeadlineExceeded)
}
