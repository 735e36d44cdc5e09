// Package daemon starts runs on schedules.
//
// What holds:
//
//   - One run at a time, over all sources: they share one ledger.
//   - Wall time decides, not elapsed time: the loop looks at the clock at least
//     every 30 seconds, so that a laptop that slept or a clock that was set is
//     noticed. However many slots were missed, they are caught up by one run.
//   - A run that fails or panics is logged; the schedule goes on.
//   - The first signal (the context of Run) starts nothing new and tells the
//     run under way to drain; the drain limit or the second signal cancels it.
//     Run returns only when no run is under way.
package daemon
