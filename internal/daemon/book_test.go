package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// book is a record of slots as the ledger keeps it, for daemons that come and
// go. It fails the test when a slot is run that is done.
type book struct {
	tb   testing.TB
	mu   sync.Mutex
	held bool // by another process
	turn bool // a Turn is open
	rows map[string][]row
}

type row struct {
	Slot
	state State
	exit  int
}

func newBook(tb testing.TB) *book {
	tb.Helper()
	return &book{tb: tb, rows: map[string][]row{}}
}

type work = func(ctx context.Context, stopping <-chan struct{}, alive func()) Result

// source is one whose slots are in the book.
func (b *book) source(name string, s Schedule, run work) Source {
	return Source{
		Name: name, Schedule: s,
		Last: func(_ context.Context, until time.Time) (last Last, _ error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			var newest time.Time
			for _, r := range recent(b.rows[name]) {
				if !r.Due.Before(newest) && !r.Due.After(until) {
					newest, last = r.Due, Last{r.Slot, r.state}
				}
			}
			return last, nil
		},
		Begin: func(context.Context, string) (Turn, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.held {
				return nil, fmt.Errorf("open: %w", ErrBusy)
			}
			if b.turn {
				b.tb.Error("two turns at once")
			}
			b.turn = true
			return &bookTurn{b, name, run}, nil
		},
	}
}

// recent keeps tests over years from looking through all of them each time.
func recent(rows []row) []row { return rows[max(0, len(rows)-100):] }

type bookTurn struct {
	*book
	source string
	run    work
}

func (t *bookTurn) at(name string) *row {
	rows := recent(t.rows[t.source])
	i := slices.IndexFunc(rows, func(r row) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

func (t *bookTurn) Claim(_ context.Context, s Slot) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range recent(t.rows[t.source]) {
		if r.state == Done && r.First <= s.Name && s.Name <= r.Name {
			return false, nil
		}
	}
	if r := t.at(s.Name); r != nil {
		r.Slot, r.state = s, Claimed
	} else {
		t.rows[t.source] = append(t.rows[t.source], row{s, Claimed, -1})
	}
	return true, nil
}

func (t *bookTurn) Run(ctx context.Context, stopping <-chan struct{}, alive func()) Result {
	return t.run(ctx, stopping, alive)
}

func (t *bookTurn) Done(_ context.Context, s Slot, state State, exit int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.at(s.Name)
	if r == nil || r.state != Claimed {
		t.tb.Errorf("the end of %s is recorded, but it was not claimed", s.Name)
		return nil
	}
	r.state, r.exit = state, exit
	return nil
}

func (t *bookTurn) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn = false
	return nil
}

func (b *book) hold(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = yes
}

func every(tb testing.TB, expr string) Schedule {
	tb.Helper()
	return in(tb, expr, "UTC")
}

func in(tb testing.TB, expr, name string) Schedule {
	tb.Helper()
	s, err := ParseSchedule(expr, zone(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// record is a run that notes when it started and takes a while.
func record(starts *[]string, name string, takes time.Duration) work {
	return func(ctx context.Context, _ <-chan struct{}, _ func()) Result {
		*starts = append(*starts, name+time.Now().UTC().Format(" 15:04"))
		select {
		case <-time.After(takes):
			return Result{}
		case <-ctx.Done():
			return Result{Exit: 1, Again: true, Err: ctx.Err()}
		}
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func build(tb testing.TB, c Config) (*Daemon, *lines) {
	tb.Helper()
	var log lines
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	d, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return d, &log
}

func of(sources ...Source) Config { return Config{Settings: Settings{Sources: sources}} }
