package uploader

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// Tally is a number of rows and how long they are together.
type Tally struct {
	Rows    int               `json:"rows"`
	Seconds timesheet.Seconds `json:"seconds"`
	// Rounding is what the rounding of days adds to Seconds of what is sent.
	Rounding timesheet.Seconds `json:"rounding,omitempty"`
}

func (t *Tally) add(s timesheet.Seconds) { t.Rows++; t.Seconds += s }

// addEntry counts an entry of a request.
func (t *Tally) addEntry(e *timesheet.Entry) {
	t.add(e.Duration)
	t.Rounding += e.Rounding
}

// Rounded is how long the rows are on the wire.
func (t *Tally) Rounded() timesheet.Seconds { return t.Seconds + t.Rounding }

// Outcome is what became of rows of a source, with its reason.
type Outcome struct {
	State  timesheet.State  `json:"state"`
	Reason timesheet.Reason `json:"reason,omitempty"`
}

// Week is one person's ISO week, named by its Monday. All stands for everybody,
// where there are too many people to list.
type Week struct {
	Person string
	All    bool
	Monday timesheet.Day
}

// SourceReport tells what became of every row of a source.
type SourceReport struct {
	Name  string
	ID    string
	Files []timesheet.File
	Notes []string
	// Complete says that the read provably saw all there is.
	Complete bool
	// Unchanged says that the source reads as it did when all was settled, so
	// that it was not even parsed.
	Unchanged bool
	// Rows and Seconds are what was read; Outside is the part outside of
	// --since and --until, Window the entries inside.
	Rows            int
	Seconds         timesheet.Seconds
	Outside, Window Tally
	Outcomes        map[Outcome]*Tally
	Weeks           map[Week]map[timesheet.State]*Tally
	Mended          int // rejected rows that are gone from the file
	Withdrawn       int // planned entries that are gone from the source
	Missing         int // sent entries that are gone from the source
	Strangers       int // sent entries whose rows are refused now, for their person
	Overlaps        int
	// Split is how many more entries there are than rows, because rows over
	// midnight are planned in parts.
	Split int
	// Rounding is to what days are rounded, by the configuration's word; empty
	// where they are not.
	Rounding string
	// Hours are those of the entries read, a row in two files counted once; nil
	// unless Config.Hours is set.
	Hours *timesheet.Hours
	// Err is why the source could not be read, or nothing of it is sent.
	Err error
}

// maxWeeks bounds what a report lists by person: rows are never kept, and
// neither is a table that grows with them.
const maxWeeks = 2000

func (s *SourceReport) reset() {
	hours := s.Hours != nil
	*s = SourceReport{Name: s.Name, ID: s.ID, Files: s.Files, Notes: s.Notes, Rounding: s.Rounding}
	s.init()
	if hours {
		s.Hours = &timesheet.Hours{}
	}
}

func (s *SourceReport) init() {
	s.Outcomes, s.Weeks = map[Outcome]*Tally{}, map[Week]map[timesheet.State]*Tally{}
}

func (s *SourceReport) tally(state timesheet.State, reason timesheet.Reason) *Tally {
	o := Outcome{state, reason}
	t := s.Outcomes[o]
	if t == nil {
		t = &Tally{}
		s.Outcomes[o] = t
	}
	return t
}

func (s *SourceReport) week(state timesheet.State, person string, day timesheet.Day) *Tally {
	w := Week{Person: person, Monday: day.Monday()}
	states := s.Weeks[w]
	if states == nil {
		if len(s.Weeks) >= maxWeeks {
			s.collapse()
		}
		if everybody := (Week{All: true, Monday: w.Monday}); s.Weeks[everybody] != nil {
			w, states = everybody, s.Weeks[everybody]
		}
	}
	if states == nil {
		states = map[timesheet.State]*Tally{}
		s.Weeks[w] = states
	}
	t := states[state]
	if t == nil {
		t = &Tally{}
		states[state] = t
	}
	return t
}

// collapse lists weeks for all people together from now on.
func (s *SourceReport) collapse() {
	all := map[Week]map[timesheet.State]*Tally{}
	for w, states := range s.Weeks {
		to := Week{All: true, Monday: w.Monday}
		if all[to] == nil {
			all[to] = map[timesheet.State]*Tally{}
		}
		for state, t := range states {
			if all[to][state] == nil {
				all[to][state] = &Tally{}
			}
			all[to][state].Rows += t.Rows
			all[to][state].Seconds += t.Seconds
			all[to][state].Rounding += t.Rounding
		}
	}
	s.Weeks = all
}

func (s *SourceReport) count(state timesheet.State, reason timesheet.Reason, person string, day timesheet.Day, hasDay bool, d timesheet.Seconds) {
	s.tally(state, reason).add(d)
	if hasDay {
		s.week(state, person, day).add(d)
	}
}

// move takes an entry that was counted as new to another outcome.
func (s *SourceReport) move(state timesheet.State, reason timesheet.Reason, person string, day timesheet.Day, d timesheet.Seconds) {
	for _, t := range []*Tally{s.tally(timesheet.StateNew, ""), s.week(timesheet.StateNew, person, day)} {
		t.Rows--
		t.Seconds -= d
	}
	s.count(state, reason, person, day, true, d)
}

// release takes a held or rejected entry that was counted as such back to new.
func (s *SourceReport) release(state timesheet.State, reason timesheet.Reason, person string, day timesheet.Day, d timesheet.Seconds) {
	for _, t := range []*Tally{s.tally(state, reason), s.week(state, person, day)} {
		t.Rows--
		t.Seconds -= d
	}
	s.count(timesheet.StateNew, "", person, day, true, d)
}

// round counts what rounding adds to an entry that is about to be sent.
func (s *SourceReport) round(change bool, person string, day timesheet.Day, add timesheet.Seconds) {
	if add == 0 {
		return
	}
	reason := timesheet.Reason("")
	if change {
		reason = timesheet.ReasonChanged
	}
	s.tally(timesheet.StateNew, reason).Rounding += add
	s.week(timesheet.StateNew, person, day).Rounding += add
}

// twice takes an entry that another file of the read has too from new to
// skipped. In the person's week it counts once.
func (s *SourceReport) twice(f timesheet.Fresh) {
	state, reason := timesheet.StateNew, timesheet.Reason("")
	if !f.New {
		state, reason = f.State, f.Reason
	}
	from, to, week := s.tally(state, reason), s.tally(timesheet.StateSkipped, timesheet.ReasonTwoFiles), s.week(state, f.Person, f.Key.Day())
	from.Rows, from.Seconds = from.Rows-1, from.Seconds-f.Seconds
	week.Rows, week.Seconds = week.Rows-1, week.Seconds-f.Seconds
	to.add(f.Seconds)
	if s.Hours != nil {
		s.Hours.Add(f.Person, f.Project, f.Key.Day(), -f.Seconds)
	}
}

// settled is what a run over the same bytes will report: everything known.
func (s *SourceReport) settled() *SourceReport {
	c := *s
	c.Outcomes, c.Weeks = map[Outcome]*Tally{}, map[Week]map[timesheet.State]*Tally{}
	known := func(state timesheet.State) timesheet.State {
		if state == timesheet.StateNew {
			return timesheet.StateSent
		}
		return state
	}
	for o, t := range s.Outcomes {
		if o.State == timesheet.StateNew {
			o.Reason = "" // a replacement is known like any other, once it is sent
		}
		to := c.tally(known(o.State), o.Reason)
		to.Rows, to.Seconds = to.Rows+t.Rows, to.Seconds+t.Seconds
	}
	for w, states := range s.Weeks {
		c.Weeks[w] = map[timesheet.State]*Tally{}
		for state, t := range states {
			if c.Weeks[w][known(state)] == nil {
				c.Weeks[w][known(state)] = &Tally{}
			}
			to := c.Weeks[w][known(state)]
			to.Rows, to.Seconds = to.Rows+t.Rows, to.Seconds+t.Seconds
		}
	}
	c.Mended, c.Withdrawn, c.Err = 0, 0, nil
	return &c
}

// sourceJSON is how a SourceReport is kept in the ledger between runs.
type sourceJSON struct {
	Files           []timesheet.File
	Notes           []string
	Complete        bool
	Rows            int
	Seconds         timesheet.Seconds
	Outside, Window Tally
	Outcomes        []outcomeJSON
	Weeks           []weekJSON
	Missing         int
	Strangers       int `json:",omitempty"`
	Overlaps        int
	Split           int    `json:",omitempty"`
	Rounding        string `json:",omitempty"`
}

type outcomeJSON struct {
	Outcome
	Tally
}

type weekJSON struct {
	Person string
	All    bool
	Monday timesheet.Day
	State  timesheet.State
	Tally
}

// MarshalJSON writes what another run needs to report the same.
func (s *SourceReport) MarshalJSON() ([]byte, error) {
	j := sourceJSON{
		Files: s.Files, Notes: s.Notes, Complete: s.Complete, Rows: s.Rows, Seconds: s.Seconds, Outside: s.Outside, Window: s.Window,
		Missing: s.Missing, Strangers: s.Strangers, Overlaps: s.Overlaps, Split: s.Split, Rounding: s.Rounding,
	}
	for o, t := range s.Outcomes {
		j.Outcomes = append(j.Outcomes, outcomeJSON{o, *t})
	}
	for w, states := range s.Weeks {
		for state, t := range states {
			j.Weeks = append(j.Weeks, weekJSON{w.Person, w.All, w.Monday, state, *t})
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote and keeps the name.
func (s *SourceReport) UnmarshalJSON(b []byte) error {
	var j sourceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	s.init()
	s.Files, s.Notes, s.Complete, s.Rows, s.Seconds, s.Outside, s.Window = j.Files, j.Notes, j.Complete, j.Rows, j.Seconds, j.Outside, j.Window
	s.Missing, s.Strangers, s.Overlaps, s.Split, s.Rounding = j.Missing, j.Strangers, j.Overlaps, j.Split, j.Rounding
	for _, o := range j.Outcomes {
		s.Outcomes[o.Outcome] = &Tally{Rows: o.Rows, Seconds: o.Seconds}
	}
	for _, w := range j.Weeks {
		k := Week{w.Person, w.All, w.Monday}
		if s.Weeks[k] == nil {
			s.Weeks[k] = map[timesheet.State]*Tally{}
		}
		s.Weeks[k][w.State] = &Tally{Rows: w.Rows, Seconds: w.Seconds}
	}
	return nil
}

// Ends is what requests for entries of one source came to.
type Ends struct {
	Sent, Refused, InDoubt Tally
}

// Report is what a Run ends with.
type Report struct {
	RunID          string
	Started, Ended time.Time
	DryRun         bool
	Level          timesheet.Level
	Promise        string
	Sources        []*SourceReport
	Recovered      int // entries that a dead process had left on the wire
	// What this run's requests came to. Sent includes doubts that a read-back
	// or an answer settled.
	Sent, Refused, InDoubt Tally
	// Ends is the same by the id of the source, doubts of other sources that
	// this run settled included.
	Ends     map[string]*Ends
	Requests int
	Stop     *StopError // why the run sent no more; nil where it sent all
	// Expected is what --expect-hours asked for and Found what was read in the
	// window; both nil where nothing was asked.
	Expected, Found *timesheet.Seconds

	mu        sync.Mutex
	started   bool
	recovered time.Time // what fell in doubt later fell in this run
	openDoubt int       // entries of its sources in doubt at the end
	toSend    bool
	expect    *timesheet.Seconds
}

func newReport(cfg Config) *Report {
	r := &Report{RunID: cfg.RunID, Started: time.Now(), DryRun: cfg.DryRun, Level: cfg.API.Level(), Promise: cfg.API.Promise(), Ends: map[string]*Ends{}, expect: cfg.Expect}
	for i := range cfg.Feeds {
		s := &SourceReport{Name: cfg.Feeds[i].Name, ID: cfg.Feeds[i].ID, Rounding: cfg.Feeds[i].Rounding.Name}
		s.init()
		if cfg.Hours {
			s.Hours = &timesheet.Hours{}
		}
		r.Sources = append(r.Sources, s)
	}
	return r
}

// ends is called with mu held.
func (r *Report) ends(source string) *Ends {
	e := r.Ends[source]
	if e == nil {
		e = &Ends{}
		r.Ends[source] = e
	}
	return e
}

func (r *Report) stop(s *StopError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Stop == nil {
		r.Stop = s
	}
}

func (r *Report) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Stop != nil
}

// balance checks that every row and second read is accounted for.
func (r *Report) balance() error {
	for _, s := range r.Sources {
		rows, seconds := s.Outside.Rows, s.Outside.Seconds
		for _, t := range s.Outcomes {
			rows, seconds = rows+t.Rows, seconds+t.Seconds
		}
		if s.Err == nil && (rows != s.Rows+s.Split || seconds != s.Seconds) {
			return fmt.Errorf("the report of source %s does not balance: %d rows and %d seconds were read, %d and %d are accounted for; nothing was sent, please report this", s.Name, s.Rows+s.Split, s.Seconds, rows, seconds)
		}
	}
	return nil
}

// unexpected compares what was read with what somebody expects, before
// anything is sent.
func (r *Report) unexpected() bool {
	if r.expect == nil {
		return false
	}
	var found timesheet.Seconds
	for _, s := range r.Sources {
		found += s.Window.Seconds
	}
	r.Expected, r.Found = r.expect, &found
	return found != *r.expect
}

// Total adds up, over all sources, the rows in a state.
func (r *Report) Total(state timesheet.State) Tally {
	var sum Tally
	for _, s := range r.Sources {
		for o, t := range s.Outcomes {
			if o.State == state {
				sum.Rows, sum.Seconds, sum.Rounding = sum.Rows+t.Rows, sum.Seconds+t.Seconds, sum.Rounding+t.Rounding
			}
		}
	}
	return sum
}

// Exit is the exit status that the run deserves, from what happened in it
// alone; open matters of earlier runs come on top.
func (r *Report) exit(err error) int {
	switch {
	case err != nil:
		return 1
	case r.Expected != nil && *r.Expected != *r.Found:
		return 9
	}
	code := 0
	if r.Stop != nil {
		code = r.Stop.Exit()
	}
	for _, s := range r.Sources {
		code = Worse(code, s.Exit())
	}
	if r.Refused.Rows+r.openDoubt+r.Total(timesheet.StateHeld).Rows+r.Total(timesheet.StateRejected).Rows > 0 {
		code = Worse(code, 3)
	}
	return code
}

// Exit is the exit status of the run without what waits from earlier ones.
func (r *Report) Exit() int { return r.exit(nil) }

// Exit is the exit status that a stop deserves.
func (e *StopError) Exit() int {
	switch e.Kind {
	case StopAuth:
		return 4
	case StopConfig:
		return 6
	case StopBug:
		return 1
	case StopRejects:
		return 3
	case StopUnreachable, StopDeadline, StopDrained:
		return 5
	}
	return 1
}

// Exit is the exit status that the source deserves by itself.
func (s *SourceReport) Exit() int {
	var refused interface{ Unauthorized() bool }
	switch err := s.Err.(type) { //nolint:errorlint // our own, never wrapped
	case nil:
		return 0
	case *readingError:
		return 3
	default:
		if _, ok := errors.AsType[*rescue.Error](err); ok {
			return 1
		}
		if errors.As(err, &refused) && refused.Unauthorized() {
			return 4
		}
		return 7
	}
}

// worst lists exit statuses from the one that wins to the one that loses.
var worst = []int{1, 4, 6, 8, 5, 7, 9, 3, 0}

// Worse is the exit status that wins when a run deserves two.
func Worse(a, b int) int {
	if slices.Index(worst, a) <= slices.Index(worst, b) {
		return a
	}
	return b
}

// totals is what status shows of a run later.
func (r *Report) totals() []byte {
	stop := ""
	if r.Stop != nil {
		stop = string(r.Stop.Kind)
	}
	problem := ""
	if r.Stop != nil {
		problem = r.Stop.Error()
	}
	for _, s := range r.Sources {
		if s.Err != nil {
			problem = s.Err.Error()
		}
	}
	names := make([]string, len(r.Sources))
	var rows int
	for i, s := range r.Sources {
		names[i] = s.Name
		rows += s.Rows
	}
	b, _ := json.Marshal(map[string]any{
		"sources": strings.Join(names, ","), "rows": rows, "sent": r.Sent, "refused": r.Refused, "in_doubt": r.InDoubt, "stop": stop, "problem": problem, "requests": r.Requests,
	})
	return b
}
