package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// inbox is a transport that keeps what is posted.
type inbox struct {
	mu     sync.Mutex
	got    []string
	status int
	hang   bool
}

func (b *inbox) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	status, hang := max(b.status, http.StatusOK), b.hang
	b.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	body, _ := io.ReadAll(r.Body)
	var e Event
	text := r.URL.Path
	if json.Unmarshal(body, &e) == nil {
		text += " " + string(e.Event) + " " + e.Text
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, text)
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
}

func (b *inbox) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func secret(url string) Secret {
	return func(context.Context) ([]byte, error) { return []byte(url), nil }
}

func testNotifier(t *testing.T, b *shelf, box *inbox, change func(*Config)) (*Notifier, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	berlin := zone(t, "Europe/Berlin")
	cfg := Config{
		Sources: []Source{{Name: "acme", Location: berlin}, {Name: "other", Location: berlin}}, Ping: secret("https://hc.example/canary/p"),
		Webhooks: []Webhook{{URL: secret("https://chat.example/canary/c?key=canary"), Preset: "json"}}, Dir: t.TempDir(), Remind: 24 * time.Hour,
		Open:      func(context.Context) (Book, func() error, error) { return b, func() error { return nil }, b.err },
		Worse:     func(a, b int) int { return max(a, b) },
		Transport: box, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg), log
}

// A person falls silent over Easter; a week is short at its deadline. Nobody
// runs anything: the daemon looks every ten minutes.
func TestSilenceOverTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The bubble begins on 2000-01-01 00:00 UTC, a Saturday.
		b, box := &shelf{days: map[string][]PersonDay{"acme": {{"ada", day(t, "2000-01-04"), 8 * 3600}}}}, &inbox{}
		n, _ := testNotifier(t, b, box, func(c *Config) {
			c.Holidays = []timesheet.Day{day(t, "2000-01-06")}
			c.Rules = []Rule{
				{Source: "acme", User: "ada", WorkingDays: 3},
				{Source: "acme", User: "ada", Expected: 40 * 3600, Weekday: time.Friday, Clock: 12 * time.Hour},
			}
			c.Remind = 0
		})
		var told []string
		for time.Now().Before(time.Date(2000, 1, 20, 0, 0, 0, 0, time.UTC)) {
			time.Sleep(10 * time.Minute)
			n.Check(time.Now())
			synctest.Wait()
			for _, m := range box.take() {
				told = append(told, time.Now().Format("01-02 15:04 ")+strings.TrimPrefix(m, "/canary/c "))
			}
			if time.Now().Format(time.DateTime) == "2000-01-18 08:00:00" {
				b.days["acme"] = append(b.days["acme"], PersonDay{"ada", day(t, "2000-01-14"), 40 * 3600}, PersonDay{"ada", day(t, "2000-01-17"), 8 * 3600})
			}
		}
		want := []string{
			// 1999's last week at its deadline, at the first look.
			"01-01 00:10 silence source acme: ada has 0:00:00 hours in week 1999-W52, expected are 40:00:00",
			// The entry of 4 January is ahead, so that until that day begins in Berlin she is silent.
			"01-01 00:10 silence source acme: no entries of ada for 3 working days",
			"01-03 23:00 recovery source acme: entries of ada again",
			// Silent on 5, 7 and 10 January (6 is a holiday): told when the 11th begins in Berlin. Friday 7, at 12:00 in Berlin.
			"01-07 11:00 silence source acme: ada has 8:00:00 hours in week 2000-W01, expected are 32:00:00",
			"01-10 23:00 silence source acme: no entries of ada for 3 working days, the last on 2000-01-04",
			"01-14 11:00 silence source acme: ada has 0:00:00 hours in week 2000-W02, expected are 40:00:00",
			"01-18 08:10 recovery source acme: ada has 40:00:00 hours in week 2000-W02, expected are 40:00:00",
			"01-18 08:10 recovery source acme: entries of ada again",
		}
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
		n.Close(t.Context())
	})
}

func ran(id string, exits ...int) Run {
	r := Run{ID: id}
	for i, exit := range exits {
		r.Sources = append(r.Sources, SourceRun{Name: []string{"acme", "other"}[i], Exit: exit, Failed: exit != 0 && exit != 3})
	}
	return r
}

// Of several sources the worst counts for a check that they share; one with a
// check of its own has that alone.
func TestPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &inbox{}
		n, _ := testNotifier(t, &shelf{}, box, func(c *Config) {
			c.Sources = append(c.Sources, Source{Name: "own", Location: time.UTC, Ping: secret("https://hc.example/own/?x=1")})
			c.Webhooks = nil
		})
		n.Started("r1", []string{"acme", "other", "own"})
		r := ran("r1", 0, 7)
		r.Sources = append(r.Sources, SourceRun{Name: "own"})
		n.Ended(r)
		drained := ran("r2", 5)
		drained.Sources[0].Aborted = true
		n.Ended(drained)
		n.Close(t.Context())
		got := box.take()
		slices.Sort(got)
		if want := []string{"/canary/p/7", "/canary/p/log", "/canary/p/start", "/own", "/own/start"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	if got := requestID("20261122T060002Z-5f1c9d3e"); len(got) != 36 || got[14] != '4' || got != requestID("20261122T060002Z-5f1c9d3e") || got == requestID("another") {
		t.Errorf("got %s", got)
	}
}

// Receivers that fail or hang are told later, and cost no more than their time.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 404, 500, 0} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := &inbox{status: status, hang: status == 0}
				n, log := testNotifier(t, &shelf{}, box, nil)
				began := time.Now()
				n.Started("r1", []string{"acme"})
				n.Ended(ran("r1", 5))
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				n.Close(ctx)
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("took %s", took)
				}
				if tries := len(box.take()); status >= 500 && tries != 6 || status > 0 && status < 500 && tries != 3 {
					t.Errorf("got %d requests", tries)
				}
				if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "chat.example: ") {
					t.Errorf("the log: %s", log)
				}
				// The next process, a minute later, finds the receiver well.
				time.Sleep(time.Minute)
				box.status, box.hang = 0, false
				again, _ := testNotifier(t, &shelf{}, box, func(c *Config) { c.Dir, c.Ping = n.cfg.Dir, nil })
				again.Ended(ran("r2", 5))
				again.Close(t.Context())
				if got := strings.Join(box.take(), " "); !strings.HasPrefix(got, "/canary/c failure") || strings.Count(got, "failure") != 1 {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// A ledger that cannot be read hides no failure, and ends no problem.
func TestLedgerUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, box := &shelf{waiting: map[string]Waiting{"acme": {Held: 2}}}, &inbox{}
		n, _ := testNotifier(t, b, box, func(c *Config) { c.Ping = nil })
		n.Ended(ran("r1", 3))
		synctest.Wait()
		b.err = errors.New("no ledger")
		n.Ended(ran("r2", 6))
		synctest.Wait()
		b.err = nil
		n.Ended(ran("r3", 3))
		n.Close(t.Context())
		var kinds []string
		for _, m := range box.take() {
			kinds = append(kinds, strings.Fields(m)[1])
		}
		if got := strings.Join(kinds, " "); got != "held failure recovery" {
			t.Errorf("got %q", got)
		}
	})
}

// panics is a Secret of a broken program.
func panics(context.Context) ([]byte, error) { panic("canary") }

func TestPanic(t *testing.T) {
	t.Parallel()
	n, log := testNotifier(t, &shelf{}, &inbox{}, func(c *Config) { c.Ping, c.Webhooks[0].URL = panics, panics })
	n.Started("r1", []string{"acme"})
	n.Ended(ran("r1", 5))
	n.Close(t.Context())
	if !strings.Contains(log.String(), "notification panicked") || !strings.Contains(log.String(), "notification failed") {
		t.Errorf("got %s", log)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	e := &Event{Event: InDoubt, Source: "a&b", Text: `source <a&b>: "1"`, Reminder: true}
	for _, row := range []struct {
		w    Webhook
		want string
	}{
		{Webhook{Preset: "slack"}, `{"text":"tsupload: in doubt, still: source &lt;a&amp;b&gt;: \"1\""}`},
		{Webhook{Template: `{"content": {{json .Text}}, "n": {{.Held}}}`}, `{"content": "source <a&b>: \"1\"", "n": 0}`},
	} {
		got, err := row.w.body(e)
		var a, b any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(row.want), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("got %s, %v; want %s", got, err, row.want)
		}
	}
	for text, want := range map[string]string{
		`{"text": {{json .Text}}}`:                         "",
		"{{if eq .Event \"recovery\"}}{}{{else}}[]{{end}}": "",
		`{"text": "{{.Text}}"}`:                            "is not JSON", // a text has quotes
		`{"text": {{json .Txet}}}`:                         "can't evaluate field Txet",
		`{"text": {{json .Text}`:                           "bad character",
		`{{range $i := 100000}}"0123456789"{{end}}`:        "larger than",
	} {
		if err := CheckTemplate(text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
