package web

import (
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Tone is how something stands, from what needs nobody to what needs somebody
// now. It is always said in words too.
type Tone string

// The tones.
const (
	Good      Tone = "good"
	Calm      Tone = "calm" // nothing to tell
	Attention Tone = "attention"
	Bad       Tone = "bad"
)

// Verdict is the one line that a reader in a hurry reads.
type Verdict struct {
	Tone   Tone
	Line   string
	Detail string // what to do, or what it means
}

// Standing is how many entries, or rows, are in a state, and how long they are.
type Standing struct {
	State   timesheet.State
	Reason  timesheet.Reason
	Label   string // the state in words, with its reason
	Rows    int
	Seconds timesheet.Seconds
}

// Matter is one entry, or one row, that waits for a person. It has no notes:
// file and line lead to them.
type Matter struct {
	Ref     string
	Source  string
	Origin  string // file:line
	State   timesheet.State
	Label   string // the state in words, with its reason
	Detail  string
	Hint    string
	Person  string
	Day     string // YYYY-MM-DD; empty where the row has none that can be read
	Project string
	Seconds timesheet.Seconds
}

// Source is a source as the status page shows it.
type Source struct {
	Name string
	// Schedule is in words of the configuration, with its zone; empty: none.
	Schedule string
	// LastRun and NextRun are in the source's zone. LastRun is zero where there
	// was none, NextRun where no daemon is there to start it.
	LastRun, NextRun time.Time
	LastTone         Tone
	LastEnd          string // how the last run ended, in words
	Running          bool
	Problem          string // of the last run
	States           []Standing
	// Gone says that the configuration has it no longer.
	Gone bool
}

// Run is one run of the timeline.
type Run struct {
	ID             string
	Started, Ended time.Time // Ended is zero while it goes on, or if it died
	Sources        string
	Tone           Tone
	End            string // in words
	Sent           Standing
	Refused        int // entries
	InDoubt        int // entries
	Problem        string
}

// Overview is all that the status page shows.
type Overview struct {
	Now         time.Time
	Version     string
	Verdict     Verdict
	Sources     []Source
	Waiting     []Matter
	MoreWaiting bool  // there may be more than those listed
	Runs        []Run // newest first
	// Hours are of the last year; Since is its first day, Today its last.
	Hours        *timesheet.Hours
	Since, Today timesheet.Day
	API          string // what the ledger speaks for
	Level        string
	Promise      string
	Token        Fact
	Quota        Fact
	Ledger       Fact
}

// Fact is a line of the page's last part.
type Fact struct {
	Tone Tone
	Text string
}

// File is one file, or one export, that a run has read.
type File struct {
	Name      string
	Rows      int
	Decisions []timesheet.Decision
}

// Number is one of a report's totals.
type Number struct {
	Label   string
	Seconds timesheet.Seconds
	Count   int
	Unit    string // "row" or "entry"
}

// SourceReport is what a run made of a source.
type SourceReport struct {
	Name     string
	Files    []File
	Notes    []string
	Error    string // why it could not be read, or nothing of it is sent
	Hint     string
	Rows     int
	Seconds  timesheet.Seconds
	Outcomes []Standing // in the order in which they are shown
}

// Report is one run, or dry run, for somebody who would rather look than read.
type Report struct {
	Kind           string // "Dry run", "Rehearsal", "Run"
	RunID          string
	Started, Ended time.Time
	Version        string
	Verdict        Verdict
	Level          string
	Promise        string
	Sources        []SourceReport
	// Hours are those of the entries read.
	Hours *timesheet.Hours
	// Numbers are what was read, and sent or would be.
	Numbers     []Number
	Waiting     []Matter
	MoreWaiting bool // there may be more than those listed
	// Error is why the run could not go on, or sent no more; Hint what to do.
	Error, Hint string
	Next        string // what to run next
}
