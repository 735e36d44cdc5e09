package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/exampleco/tsupload/internal/replace"
)

// Names of the files in the state directory.
const (
	stateName = "notify.json"
	lockName  = "notify.lock"
)

// Bounds of how the state is kept.
const (
	lockWait    = 2 * time.Second
	maxState    = 16 << 20
	againAfter  = time.Minute // what is untold for less may be on its way in another process
	againMost   = time.Hour
	forgetAfter = 24 * time.Hour
)

// record is one problem, or the end of one that is not told yet.
type record struct {
	Kind   Kind      `json:"kind"`
	Source string    `json:"source"`
	User   string    `json:"user,omitempty"`
	Since  time.Time `json:"since"`
	Told   time.Time `json:"told"` // when its last message was last on its way
	Count  int       `json:"count,omitempty"`
	Exits  []int     `json:"exits,omitempty"` // of a failure: what was told
	Over   bool      `json:"over,omitempty"`
	// Last is the last message, and Untold the targets that have not got it.
	Last   Event    `json:"last"`
	Untold []string `json:"untold,omitempty"`
	Tries  int      `json:"tries,omitempty"`
}

// due tells whether the last message is to be tried again. The pauses grow, so
// that a hook that always fails is not run after every run.
func (r *record) due(now time.Time) bool {
	pause := againMost
	if r.Tries < 7 {
		pause = min(againMost, againAfter<<max(r.Tries-1, 0))
	}
	return r.Tries == 0 || now.Sub(r.Told) >= pause || now.Before(r.Told)
}

// state is what was told, by key of finding.
type state struct {
	Version int                `json:"version"`
	Records map[string]*record `json:"records"`
}

func newState() *state { return &state{Version: 1, Records: map[string]*record{}} }

// message is an event on its way to the targets that have not got it.
type message struct {
	key   string
	event Event
	to    []string
}

// look is one look at the world: what was found, and whether it was everything
// that rules can find.
type look struct {
	now      time.Time
	run      string
	exits    map[string]int    // of the run, by source
	counts   map[string]Counts // by source
	findings []finding
	ruled    bool // every silence rule was looked at
	sources  []string
}

// update compares what is found with what was told and returns what to tell
// now. targets maps the name of each target to the kinds that it asks for.
func (s *state) update(l *look, remind time.Duration, targets map[string][]string) []message {
	seen := map[string]bool{}
	for i := range l.findings {
		f := &l.findings[i]
		seen[f.key] = true
		s.note(l, f, remind, targets)
	}
	var out []message
	for key, r := range s.Records {
		ruledOut := r.Kind == Silence && l.ruled && !seen[key] && !r.Over
		gone := r.Source != "" && !slices.Contains(l.sources, r.Source)
		r.Untold = slices.DeleteFunc(r.Untold, func(t string) bool { _, ok := targets[t]; return !ok })
		switch {
		case ruledOut, gone, r.Over && (len(r.Untold) == 0 || l.now.Sub(r.Last.At) > forgetAfter):
			delete(s.Records, key)
		case len(r.Untold) > 0 && r.due(l.now):
			r.Told = l.now
			r.Tries++
			out = append(out, message{key, r.Last, slices.Clone(r.Untold)})
		}
	}
	slices.SortFunc(out, func(a, b message) int {
		if c := a.event.At.Compare(b.event.At); c != 0 {
			return c
		}
		return slices.Compare([]string{a.event.Source, a.key}, []string{b.event.Source, b.key})
	})
	return out
}

// note takes one finding into the state.
func (s *state) note(l *look, f *finding, remind time.Duration, targets map[string][]string) {
	r := s.Records[f.key]
	known := r != nil && !r.Over
	switch {
	case !known && !f.on:
		return
	case !known:
		r = &record{Kind: f.kind, Source: f.source, User: f.user, Since: l.now}
		s.Records[f.key] = r
		s.tell(l, f, r, false, targets)
	case !f.on:
		r.Over = true
		s.tell(l, f, r, false, targets)
	case f.kind == Failure && !slices.Contains(r.Exits, f.count), f.kind != Failure && f.count > r.Count:
		s.tell(l, f, r, false, targets)
	case remind > 0 && l.now.Sub(r.Last.At) >= remind:
		s.tell(l, f, r, true, targets)
	default:
		if f.kind != Failure {
			r.Count = f.count // fewer now: more of them later are news
		}
	}
}

// tell makes the next message of a record.
func (s *state) tell(l *look, f *finding, r *record, reminder bool, targets map[string][]string) {
	exit, ran := l.exits[f.source]
	if !ran {
		exit = -1
	}
	e := Event{Event: f.kind, Source: f.source, User: f.user, Text: f.text, Since: r.Since, At: l.now, Reminder: reminder, Run: l.run, Exit: exit, Counts: l.counts[f.source]}
	if r.Over {
		e.Event, e.Of = Recovery, f.kind
	}
	if f.kind == Failure && f.on && !slices.Contains(r.Exits, f.count) {
		r.Exits = append(r.Exits, f.count)
	}
	r.Count, r.Told, r.Last, r.Untold, r.Tries = f.count, l.now, e, nil, 0
	for name, on := range targets {
		if e.wanted(on) {
			r.Untold = append(r.Untold, name)
		}
	}
	slices.Sort(r.Untold)
}

// delivered takes note that a target has a message. One that was made
// meanwhile is another.
func (s *state) delivered(key string, e *Event, target string) {
	r := s.Records[key]
	if r == nil || !r.Last.At.Equal(e.At) || r.Last.Event != e.Event {
		return
	}
	r.Untold = slices.DeleteFunc(r.Untold, func(t string) bool { return t == target })
	if r.Over && len(r.Untold) == 0 {
		delete(s.Records, key)
	}
}

// keeper keeps the state in a file, for several processes. Its methods are
// called by one goroutine at a time.
type keeper struct {
	dir  string
	log  *slog.Logger
	kept *state // what could not be written, so that this process at least remembers
}

// change reads the state, lets fn change it, and writes it back, all under a
// lock that is held for no longer than that. The file is 0600: it can name
// people.
func (k *keeper) change(ctx context.Context, fn func(*state)) {
	lock := flock.New(filepath.Join(k.dir, lockName), flock.SetPermissions(0o600))
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockWait)
	defer cancel()
	// A state directory that is not there is not made: its volume is missing.
	if _, err := os.Stat(k.dir); err == nil {
		if _, err := lock.TryLockContext(wait, 10*time.Millisecond); err != nil {
			k.log.WarnContext(ctx, "what was told is not locked; it may be told twice", "err", err)
		}
		defer func() { _ = lock.Close() }()
	}
	s := k.kept
	if s == nil {
		var err error
		if s, err = readState(filepath.Join(k.dir, stateName)); err != nil {
			k.log.WarnContext(ctx, "what was told cannot be read; it is told again", "err", err)
			s = newState()
		}
	}
	before, err1 := json.Marshal(s)
	fn(s)
	after, err2 := json.Marshal(s)
	if errors.Join(err1, err2) == nil && slices.Equal(before, after) {
		return
	}
	if err := replace.File(filepath.Join(k.dir, stateName), after, 0o600); err != nil {
		k.log.WarnContext(ctx, "what was told cannot be kept; the next process tells it again", "err", err)
		k.kept = s
		return
	}
	k.kept = nil
}

func readState(path string) (*state, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err == nil && info.Size() > maxState {
		err = fmt.Errorf("%s: %d bytes are too many", path, info.Size())
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := newState()
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.Version != 1 || s.Records == nil {
		return nil, fmt.Errorf("%s: version %d is not known", path, s.Version)
	}
	for key, r := range s.Records {
		if r == nil {
			delete(s.Records, key)
		}
	}
	return s, nil
}
