package notify

import (
	"fmt"
	"slices"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Kind is what an Event is about.
type Kind string

// The kinds of events. All but Recovery are problems.
const (
	Failure  Kind = "failure"  // the run of a source failed
	Rejected Kind = "rejected" // entries of a source were refused
	Held     Kind = "held"     // entries of a source wait for a person
	InDoubt  Kind = "in_doubt" // nobody knows whether entries of a source arrived
	Silence  Kind = "silence"  // entries do not come, or not as many as expected
	Recovery Kind = "recovery" // one of the above is over
)

// Counts are the numbers of a run. None of them names anybody.
type Counts struct {
	Read        int               `json:"read"` // rows of the source
	Sent        int               `json:"sent"` // entries of the source that the run sent
	SentSeconds timesheet.Seconds `json:"sent_seconds"`
	Waiting                       // of this run and earlier ones
}

// Event is what there is to tell. A template sees these fields.
type Event struct {
	Event  Kind   `json:"event"`
	Of     Kind   `json:"of,omitempty"` // what is over, of a Recovery
	Source string `json:"source"`
	// User is the person whom a Silence, or the Recovery of one, is about.
	User string `json:"user,omitempty"`
	// Text says it in one line.
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	At       time.Time `json:"at"`
	Reminder bool      `json:"reminder"`
	// Run and Exit are those of the run that brought it; Exit is -1 where no run did.
	Run  string `json:"run_id,omitempty"`
	Exit int    `json:"exit"`
	Counts
}

// wanted tells whether a target that asks for on is told of e.
func (e *Event) wanted(on []string) bool {
	if len(on) == 0 {
		return true
	}
	if e.Event == Recovery && !slices.Contains(on, string(e.Of)) {
		return false
	}
	return slices.Contains(on, string(e.Event))
}

// Run is a run that has ended, as much of it as is told.
type Run struct {
	ID      string
	Sources []SourceRun
}

// SourceRun is one source of a run.
type SourceRun struct {
	Name string
	Exit int
	// Failed says that the source, or the run, could not do its work, as opposed
	// to entries that wait for a person.
	Failed bool
	// Aborted says that a person or the system ended the run early: that is
	// neither a failure nor a success.
	Aborted bool
	Counts
}

// meanings say what an exit status means, in words that carry nothing of the
// data.
var meanings = map[int]string{ // a table
	1: "an unexpected fault",
	3: "the way in which the source is read looks wrong, so sending stopped",
	4: "credentials or permissions were refused",
	5: "the API or the authorization server is unreachable or busy",
	6: "the configuration is invalid, or the ledger is missing or for another API",
	7: "a source could not be read, or was refused whole",
	8: "another run holds the ledger",
}

func meaning(exit int) string {
	if m := meanings[exit]; m != "" {
		return fmt.Sprintf("%s (exit status %d)", m, exit)
	}
	return fmt.Sprintf("exit status %d", exit)
}
