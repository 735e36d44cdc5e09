package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/uploader"
)

// turns gives the daemon its turns at one source.
type turns struct{ pass }

func (t turns) last(ctx context.Context, until time.Time) (daemon.Last, error) {
	l, err := t.app.openLedger(ctx, t.cfg, true, t.log)
	if err != nil {
		return daemon.Last{}, err
	}
	s, err := l.LastSlot(ctx, t.sources[0].ID, until)
	states := map[ledger.SlotState]daemon.State{ledger.SlotClaimed: daemon.Claimed, ledger.SlotFailed: daemon.Failed, ledger.SlotDone: daemon.Done}
	return daemon.Last{Slot: daemon.Slot{Name: s.Name, First: s.First, Due: s.Due}, State: states[s.State]}, errors.Join(err, l.Close())
}

// begin opens the ledger for the whole turn, so that nobody comes between the
// claim, the run and its end.
func (t turns) begin(ctx context.Context, run string) (daemon.Turn, error) {
	t.runID = run
	l, err := t.app.openLedger(ctx, t.cfg, false, t.runLog())
	if locked, ok := errors.AsType[*ledger.Error](err); ok && locked.Kind == ledger.Locked {
		return nil, fmt.Errorf("%w: %w", daemon.ErrBusy, err)
	}
	if err != nil {
		return nil, t.fail(ctx, err)
	}
	turn := &turn{t.pass}
	turn.held = l
	return turn, nil
}

// fail lets the observers know of a run that could not even begin.
func (p pass) fail(ctx context.Context, err error) error {
	p.broken = err
	if _, _, err = p.observed(ctx, nil); err == nil {
		return nil
	}
	return &unbegun{err}
}

// unbegun is a run that could not even begin.
type unbegun struct{ error }

func (e *unbegun) Unwrap() error { return e.error }

// Exit is what run --once would have ended with.
func (e *unbegun) Exit() int { return exitCode(e.error) }

// turn is one run of a source, with the ledger open from before its claim until
// after its end.
type turn struct{ pass }

func (t *turn) Claim(ctx context.Context, s daemon.Slot) (bool, error) {
	mine, err := t.held.ClaimSlot(ctx, t.sources[0].ID, ledger.Slot{Name: s.Name, First: s.First, Due: s.Due})
	if err != nil {
		err = t.fail(ctx, err)
	}
	return mine, err
}

func (t *turn) Done(ctx context.Context, s daemon.Slot, state daemon.State, exit int) error {
	states := map[daemon.State]ledger.SlotState{daemon.Claimed: ledger.SlotClaimed, daemon.Failed: ledger.SlotFailed, daemon.Done: ledger.SlotDone}
	return t.held.EndSlot(ctx, t.sources[0].ID, s.Name, states[state], exit)
}

func (t *turn) Close() error { return t.held.Close() }

// passing are the exit statuses of runs that may end better when repeated.
var passing = []int{exitFault, exitRefused, exitUnreachable, exitSource}

// Run is one pass of the daemon: the report goes to the log.
func (t *turn) Run(ctx context.Context, stopping <-chan struct{}, alive func()) daemon.Result {
	began := time.Now()
	t.alive = alive
	r, waiting, err := t.observed(ctx, stopping)
	if r == nil {
		return daemon.Result{Exit: exitCode(err), Again: slices.Contains(passing, exitCode(err)), Err: err}
	}
	exit := t.exit(r, waiting)
	if err != nil {
		exit = uploader.Worse(exitCode(err), exit)
	}
	s := r.Sources[0]
	t.runLog().InfoContext(ctx, "run report", "source", s.Name, "rows", s.Rows, "sent", r.Sent.Rows, "sent_seconds", int64(r.Sent.Seconds), "refused", r.Refused.Rows,
		"in_doubt", r.InDoubt.Rows, "waiting", len(waiting), "unchanged", s.Unchanged, "exit", exit, "elapsed", time.Since(began).Round(time.Millisecond).String())
	drained := r.Stop != nil && r.Stop.Kind == uploader.StopDrained
	if s.Err != nil {
		err = errors.Join(err, s.Err)
	}
	if r.Stop != nil && !drained {
		err = errors.Join(err, r.Stop)
	}
	return daemon.Result{Exit: exit, Again: drained || slices.Contains(passing, exit), Err: err}
}
