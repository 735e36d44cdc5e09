package notify

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var monday = time.Date(2026, time.November, 16, 6, 0, 0, 0, time.UTC) // a constant

// step is one look in a story, and what it has to tell: "kind[*] target...".
type step struct {
	after    time.Duration
	failed   bool
	exit     int
	rejected int
	want     string
}

func TestStateChanges(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	for name, steps := range map[string][]step{
		"all well":                    {{h, false, 0, 0, ""}, {h, false, 0, 0, ""}},
		"fails once, told once":       {{h, true, 5, 0, "failure"}, {h, true, 5, 0, ""}, {h, true, 5, 0, ""}},
		"recovers, told once":         {{h, true, 5, 0, "failure"}, {h, false, 0, 0, "recovery"}, {h, false, 0, 0, ""}},
		"fails again later":           {{h, true, 5, 0, "failure"}, {h, false, 0, 0, "recovery"}, {h, true, 5, 0, "failure"}},
		"another cause is news":       {{h, true, 5, 0, "failure"}, {h, true, 4, 0, "failure"}, {h, true, 5, 0, ""}, {h, true, 4, 0, ""}},
		"reminder":                    {{h, true, 5, 0, "failure"}, {23 * h, true, 5, 0, ""}, {h, true, 5, 0, "failure*"}, {h, true, 5, 0, ""}, {23 * h, true, 5, 0, "failure*"}},
		"more rejected are news":      {{h, false, 3, 1, "rejected"}, {h, false, 3, 1, ""}, {h, false, 3, 3, "rejected"}, {h, false, 3, 2, ""}, {h, false, 3, 3, "rejected"}, {h, false, 0, 0, "recovery"}},
		"needs a person is no fault":  {{h, false, 3, 1, "rejected"}, {h, true, 7, 1, "failure"}, {h, false, 3, 1, "recovery"}},
		"two problems end separately": {{h, true, 5, 2, "failure rejected"}, {h, true, 5, 0, "recovery"}, {h, false, 0, 0, "recovery"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, now := newState(), monday
			targets := map[string][]string{"hook": nil}
			for i, st := range steps {
				now = now.Add(st.after)
				l := &look{now: now, exits: map[string]int{"acme": st.exit}, sources: []string{"acme"}, findings: []finding{
					failureOf(&SourceRun{Name: "acme", Exit: st.exit, Failed: st.failed}), waitingFor("acme", Rejected, st.rejected, "refused"),
				}}
				got := told(t, s, l, 24*h, targets)
				if got != st.want {
					t.Errorf("step %d: told %q, want %q", i+1, got, st.want)
				}
			}
		})
	}
}

// told does one look, over the form of the file, and delivers everything.
func told(t *testing.T, s *state, l *look, remind time.Duration, targets map[string][]string) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	*s = *newState()
	if err := json.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range s.update(l, remind, targets) {
		kind := string(m.event.Event)
		if m.event.Reminder {
			kind += "*"
		}
		kinds = append(kinds, kind)
		for _, to := range m.to {
			s.delivered(m.key, &m.event, to)
		}
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

func failing(now time.Time, failed bool) *look {
	return &look{now: now, sources: []string{"acme"}, findings: []finding{failureOf(&SourceRun{Name: "acme", Exit: 5, Failed: failed})}}
}

func TestNoReminder(t *testing.T) {
	t.Parallel()
	s, targets := newState(), map[string][]string{"hook": nil}
	told(t, s, failing(monday, true), 0, targets)
	if got := told(t, s, failing(monday.AddDate(1, 0, 0), true), 0, targets); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// Who has not got a message gets it later, alone, after pauses that grow.
func TestUntold(t *testing.T) {
	t.Parallel()
	s, targets := newState(), map[string][]string{"hook": nil, "webhook 1": nil}
	first := s.update(failing(monday, true), 0, targets)
	if len(first) != 1 || !slices.Equal(first[0].to, []string{"hook", "webhook 1"}) {
		t.Fatalf("got %+v", first)
	}
	s.delivered(first[0].key, &first[0].event, "hook")
	var at []string
	for minute := 1; minute <= 300; minute++ {
		for _, m := range s.update(failing(monday.Add(time.Duration(minute)*time.Minute), true), 0, targets) {
			at = append(at, fmt.Sprint(minute, m.to))
		}
	}
	want := []string{"1 [webhook 1]", "3 [webhook 1]", "7 [webhook 1]", "15 [webhook 1]", "31 [webhook 1]", "63 [webhook 1]", "123 [webhook 1]", "183 [webhook 1]", "243 [webhook 1]"}
	if !slices.Equal(at, want) {
		t.Errorf("got %v, want %v", at, want)
	}
	// Its end is told to both, and kept until it is.
	over := s.update(failing(monday.Add(6*time.Hour), false), 0, targets)
	if len(over) != 1 || len(over[0].to) != 2 || over[0].event.Event != Recovery {
		t.Fatalf("got %+v", over)
	}
	s.delivered(over[0].key, &over[0].event, "hook")
	if len(s.Records) != 1 {
		t.Errorf("the untold end is forgotten: %+v", s.Records)
	}
	s.delivered(over[0].key, &over[0].event, "webhook 1")
	if len(s.Records) != 0 {
		t.Errorf("got %+v, want nothing left", s.Records)
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		e    Event
		on   string
		want bool
	}{
		{Event{Event: Failure}, "", true},
		{Event{Event: Failure}, "failure", true},
		{Event{Event: Held}, "failure", false},
		{Event{Event: Recovery, Of: Failure}, "failure", false},
		{Event{Event: Recovery, Of: Failure}, "failure recovery", true},
		{Event{Event: Recovery, Of: Held}, "failure recovery", false},
		{Event{Event: Recovery, Of: Held}, "", true},
	} {
		if got := row.e.wanted(strings.Fields(row.on)); got != row.want {
			t.Errorf("%s of %q, on %q: got %t", row.e.Event, row.e.Of, row.on, got)
		}
	}
}

// Sources and rules that are no longer configured are forgotten without a word.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s, targets := newState(), map[string][]string{"hook": nil}
	told(t, s, failing(monday, true), 0, targets)
	silent := &look{now: monday, sources: []string{"acme"}, ruled: true, findings: []finding{{key: "rule", kind: Silence, source: "acme", on: true}}}
	told(t, s, silent, 0, targets)
	if len(s.Records) != 2 {
		t.Fatalf("got %+v", s.Records)
	}
	if got := told(t, s, &look{now: monday, sources: []string{"acme"}}, 0, targets); got != "" || len(s.Records) != 2 {
		t.Errorf("a look that could not see the rules: told %q, left %+v", got, s.Records)
	}
	if got := told(t, s, &look{now: monday, sources: []string{"other"}, ruled: true}, 0, targets); got != "" || len(s.Records) != 0 {
		t.Errorf("told %q, left %+v", got, s.Records)
	}
}

// The file is its owner's alone, and several processes lose nothing of each other.
func TestKeeper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	done := make(chan bool)
	const writers, each = 4, 5
	for w := range writers {
		go func() {
			k := &keeper{dir: dir, log: log}
			for i := range each {
				k.change(t.Context(), func(s *state) { s.Records[fmt.Sprint(w, i)] = &record{Kind: Held} })
			}
			done <- true
		}()
	}
	for range writers {
		<-done
	}
	s, err := readState(filepath.Join(dir, stateName))
	if err != nil || len(s.Records) != writers*each {
		t.Errorf("got %d records, %v", len(s.Records), err)
	}
	info, err := os.Stat(filepath.Join(dir, stateName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	// What cannot be written is remembered by the process at least.
	k := &keeper{dir: filepath.Join(dir, "missing"), log: log}
	k.change(t.Context(), func(s *state) { s.Records["a"] = &record{Kind: Held} })
	k.change(t.Context(), func(s *state) {
		if s.Records["a"] == nil {
			t.Error("forgotten")
		}
	})
	if _, err := os.Stat(k.dir); err == nil {
		t.Error("the state directory was made")
	}
}
