// Package metrics tells Prometheus how runs go: from the daemon's listener, or
// as a text file for node_exporter where one pass at a time runs.
//
// What holds:
//
//   - There is one registry for each Metrics, and nothing global.
//   - Counters and histograms count what this process did. Gauges about entries
//     are read from the ledger when somebody asks, without its lock; where that
//     fails, the others are told all the same.
//   - Labels are names of sources, of states and of outcomes, HTTP methods and
//     classes of HTTP statuses: never a person, a project or a URL.
package metrics

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Standing is what the ledger tells. A source without entries is listed too.
type Standing struct {
	Bytes   int64 // of the ledger on disk
	Sources []Source
}

// Source is how one source stands.
type Source struct {
	Name string
	Open map[timesheet.State]Tally // entries that are not settled
	// OldestUnsent is when the oldest entry that is not sent yet was planned;
	// zero where there is none.
	OldestUnsent time.Time
	// Last is the last run that has ended; its Entries are not known.
	Last        Run
	LastSuccess time.Time // end of the last run that did all of its work
}

// Tally is a number of entries and how long they are together.
type Tally struct {
	Entries int
	Seconds int64
}

// Run is one run of one source. A run of several is told once for each.
type Run struct {
	Source  string
	Started time.Time
	Ended   time.Time
	Exit    int
	Outcome Outcome
	Entries map[Kind]Tally
}

// Clock is what the daemon has in mind for a source.
type Clock struct {
	Source   string
	Next     time.Time // zero: nothing
	Running  bool
	Failures int // runs that failed since the last one that did not
}

// Config is what a Metrics is made of.
type Config struct {
	Version, Commit string
	// Sources are named in advance, so that their counters begin at zero.
	Sources []string
	// Standing reads the ledger.
	Standing func(ctx context.Context) (*Standing, error)
	// Clocks asks the daemon; nil where there is none.
	Clocks func() []Clock
	Logger *slog.Logger
}

// Metrics counts. Its methods may be called by several goroutines at once.
type Metrics struct {
	cfg  Config
	all  *prometheus.Registry
	text *prometheus.Registry // the part that makes sense after the process has ended

	runs         *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	entries      *prometheus.CounterVec
	entrySeconds *prometheus.CounterVec
	tokens       *prometheus.CounterVec
	invalidated  prometheus.Counter
	saved        prometheus.Counter
	latency      *prometheus.HistogramVec
	answers      *prometheus.CounterVec

	mu   sync.Mutex
	last map[string]Run // of this process, by source
	down bool           // the ledger could not be read when last looked at
}

// New makes a Metrics.
func New(c Config) *Metrics {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		cfg: c, all: prometheus.NewRegistry(), text: prometheus.NewRegistry(), last: map[string]Run{},
		runs: counter("tsupload_runs_total", "Runs that ended, by how; the outcome is the name of the exit status.", "source", "outcome"),
		duration: histogram("tsupload_run_duration_seconds", "How long runs took.",
			[]float64{0.1, 0.5, 1, 2.5, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}, "source"),
		entries: counter("tsupload_entries_total",
			"Entries that runs met, by what became of them. One that is read by ten runs counts ten times.", "source", "outcome"),
		entrySeconds: counter("tsupload_entry_seconds_total", "How long the entries of tsupload_entries_total are together.", "source", "outcome"),
		tokens:       counter("tsupload_token_fetches_total", "Times that the authorization server was to give a token, by result.", "result"),
		invalidated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tsupload_tokens_invalidated_total", Help: "Tokens dropped before their end because the API refused them.",
		}),
		saved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tsupload_tokens_saved_total", Help: "Times that a kept token was taken over, where one would have been fetched without it.",
		}),
		latency: histogram("tsupload_api_request_duration_seconds", "Time from sending a request to the API until the head of its answer, or until it failed.",
			[]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}, "method"),
		answers: counter("tsupload_api_answers_total", "Requests to the API by the class of the answer's status; none where there was no answer.", "method", "class"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tsupload_build_info", Help: "Always 1; the labels tell which program this is.",
		ConstLabels: prometheus.Labels{"version": c.Version, "commit": c.Commit, "go_version": runtime.Version()},
	})
	build.Set(1)
	standing := &standingCollector{m}
	m.text.MustRegister(build, standing)
	m.all.MustRegister(build, standing, m.runs, m.duration, m.entries, m.entrySeconds, m.tokens, m.invalidated, m.saved, m.latency, m.answers,
		&clockCollector{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range c.Sources {
		m.prepare(s)
	}
	for _, result := range []string{"issued", "failed"} {
		m.tokens.WithLabelValues(result)
	}
	return m
}

// prepare lets the counters of a source begin at zero: a counter that appears
// with its first increase hides that increase from a query.
func (m *Metrics) prepare(source string) {
	m.duration.WithLabelValues(source)
	for _, o := range Outcomes() {
		m.runs.WithLabelValues(source, string(o))
	}
	for _, k := range Kinds() {
		m.entries.WithLabelValues(source, string(k))
		m.entrySeconds.WithLabelValues(source, string(k))
	}
}

// RunEnded counts a run.
func (m *Metrics) RunEnded(r Run) {
	m.prepare(r.Source)
	m.runs.WithLabelValues(r.Source, string(r.Outcome)).Inc()
	m.duration.WithLabelValues(r.Source).Observe(r.Ended.Sub(r.Started).Seconds())
	for kind, t := range r.Entries {
		m.entries.WithLabelValues(r.Source, string(kind)).Add(float64(max(0, t.Entries)))
		m.entrySeconds.WithLabelValues(r.Source, string(kind)).Add(float64(max(0, t.Seconds)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[r.Source] = r
}

// TokenFetches counts what a cache of tokens did: how often it got one, how
// often it could not, how often a kept one saved that, and how many it dropped
// because the API refused them.
func (m *Metrics) TokenFetches(issued, failed, saved, invalidated int64) {
	m.tokens.WithLabelValues("issued").Add(float64(issued))
	m.tokens.WithLabelValues("failed").Add(float64(failed))
	m.saved.Add(float64(saved))
	m.invalidated.Add(float64(invalidated))
}
