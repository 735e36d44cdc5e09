// Package daemon starts runs on schedules.
//
// What holds:
//
//   - One run at a time, over all sources: they share one ledger.
//   - Wall time decides, not elapsed time: the loop looks at the clock at least
//     every 30 seconds, so that a laptop that slept or a clock that was set is
//     noticed.
//   - Every slot of a source, named by its local date and time, is run once: not
//     twice in autumn, not left out in spring. Which were run is recorded beyond
//     the process (Turn), under the same lock as the run itself. However many were
//     missed, one run stands for all of them. A slot whose run died is run again.
//   - A run that fails in a way that may pass is repeated after growing waits,
//     until the next slot comes. One that panics is logged. Other sources go on.
//   - A reload changes all settings or none, and never under a run.
//   - The first signal (the context of Run) starts nothing new and tells the
//     run under way to drain; the drain limit or the second signal cancels it.
//     Run returns only when no run is under way.
//   - The service manager hears that the daemon is alive only when it made
//     progress: its loop while it waits, the run while there is one.
package daemon
