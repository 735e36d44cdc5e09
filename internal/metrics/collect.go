package metrics

import (
	"context"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// readLimit is how long the ledger may take when somebody asks.
const readLimit = 5 * time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// openStates are those that an entry is to leave again.
func openStates() []timesheet.State {
	return []timesheet.State{timesheet.StateNew, timesheet.StateSending, timesheet.StateInDoubt, timesheet.StateHeld, timesheet.StateRejected}
}

// Descriptions never change.
var (
	descReadable = desc("tsupload_ledger_readable", "1 where the ledger could be read for these figures, 0 where it is missing or broken: then all others that come from it are absent.")
	descBytes    = desc("tsupload_ledger_size_bytes", "Size of the ledger on disk, its log included.")
	descOpen     = desc("tsupload_open_entries", "Entries in the ledger that are not settled: new, sending, in_doubt, held or rejected.", "source", "state")
	descOpenSecs = desc("tsupload_open_entry_seconds", "How long the entries of tsupload_open_entries are together.", "source", "state")
	descUnsent   = desc("tsupload_oldest_unsent_entry_age_seconds", "Time since the oldest entry that is to be sent, and is not yet, was planned; 0 where there is none.", "source")
	descSuccess  = desc("tsupload_last_success_timestamp_seconds", "End of the last run that did all of its work: status 0, or 3 where only entries wait for a person.", "source")
	descLastEnd  = desc("tsupload_last_run_timestamp_seconds", "End of the last run.", "source")
	descLastTook = desc("tsupload_last_run_duration_seconds", "How long the last run took.", "source")
	descLastExit = desc("tsupload_last_run_exit_status", "Exit status of the last run.", "source")
	descLastN    = desc("tsupload_last_run_entries", "Entries that the last run met, by what became of them; absent after a restart and where another process did the last run.", "source", "outcome")
	descLastSecs = desc("tsupload_last_run_entry_seconds", "How long the entries of tsupload_last_run_entries are together.", "source", "outcome")

	descNext     = desc("tsupload_next_run_timestamp_seconds", "When the source is due next; absent where it has no schedule.", "source")
	descRunning  = desc("tsupload_run_in_progress", "1 while a run of the source is under way.", "source")
	descFailures = desc("tsupload_consecutive_failed_runs", "Runs of the source that failed since the last one that did not, as the daemon counts them.", "source")
)

// standingCollector tells what the ledger and the last runs of this process
// say.
type standingCollector struct{ m *Metrics }

// Describe sends the descriptions.
func (c *standingCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReadable, descBytes, descOpen, descOpenSecs, descUnsent, descSuccess, descLastEnd, descLastTook, descLastExit, descLastN, descLastSecs,
	} {
		to <- d
	}
}

// Collect reads the ledger.
func (c *standingCollector) Collect(to chan<- prometheus.Metric) {
	// A Collector is given no context.
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	standing, err := c.m.cfg.Standing(ctx)
	last := c.m.look(ctx, err)
	if err != nil {
		gauge(descReadable, 0)
		standing = &Standing{}
	} else {
		gauge(descReadable, 1)
		gauge(descBytes, float64(standing.Bytes))
	}
	for i := range standing.Sources {
		s := &standing.Sources[i]
		for _, state := range openStates() {
			t := s.Open[state]
			gauge(descOpen, float64(t.Entries), s.Name, string(state))
			gauge(descOpenSecs, float64(t.Seconds), s.Name, string(state))
		}
		age := 0.0
		if !s.OldestUnsent.IsZero() {
			age = max(0, time.Since(s.OldestUnsent).Seconds())
		}
		gauge(descUnsent, age, s.Name)
		if !s.LastSuccess.IsZero() {
			gauge(descSuccess, unix(s.LastSuccess), s.Name)
		}
		// The same run ends in the ledger a little before it ends here.
		if own, ok := last[s.Name]; !s.Last.Ended.IsZero() && (!ok || s.Last.Ended.After(own.Ended)) {
			last[s.Name] = s.Last
		}
	}
	for source, r := range last {
		gauge(descLastEnd, unix(r.Ended), source)
		gauge(descLastTook, r.Ended.Sub(r.Started).Seconds(), source)
		gauge(descLastExit, float64(r.Exit), source)
		if r.Entries == nil {
			continue
		}
		for _, kind := range Kinds() {
			gauge(descLastN, float64(r.Entries[kind].Entries), source, string(kind))
			gauge(descLastSecs, float64(r.Entries[kind].Seconds), source, string(kind))
		}
	}
}

// look notes whether the ledger could be read, says so when that changes, and
// returns a copy of the last runs of this process.
func (m *Metrics) look(ctx context.Context, err error) map[string]Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	if down := err != nil; down != m.down {
		m.down = down
		if down {
			m.cfg.Logger.WarnContext(ctx, "the ledger cannot be read for metrics", "err", err)
		} else {
			m.cfg.Logger.InfoContext(ctx, "the ledger can be read for metrics again")
		}
	}
	return maps.Clone(m.last)
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// clockCollector tells what the daemon has in mind.
type clockCollector struct{ m *Metrics }

// Describe sends the descriptions.
func (c *clockCollector) Describe(to chan<- *prometheus.Desc) {
	to <- descNext
	to <- descRunning
	to <- descFailures
}

// Collect asks the daemon.
func (c *clockCollector) Collect(to chan<- prometheus.Metric) {
	if c.m.cfg.Clocks == nil {
		return
	}
	for _, s := range c.m.cfg.Clocks() {
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.Source)
		}
		if !s.Next.IsZero() {
			gauge(descNext, unix(s.Next))
		}
		running := 0.0
		if s.Running {
			running = 1
		}
		gauge(descRunning, running)
		gauge(descFailures, float64(s.Failures))
	}
}
