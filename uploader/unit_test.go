package uploader

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func testClient(t *testing.T, a API) *client {
	t.Helper()
	c, err := newClient(&a, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClassify goes through all statuses. What is not listed is unknown: it may
// have been executed.
func TestClassify(t *testing.T) {
	t.Parallel()
	want := map[int]Class{
		200: Accepted, 201: Accepted, 204: Accepted, 207: Accepted,
		400: Refused, 422: Refused, 401: Unauthorized, 403: Forbidden,
		404: Misplaced, 405: Misplaced, 415: Misplaced, 413: TooLarge, 429: Busy,
	}
	for code := 300; code < 400; code++ {
		want[code] = Misplaced
	}
	for _, c := range []struct {
		name string
		api  API
		req  request
		also map[int]Class
	}{
		{"plain", API{}, request{}, nil},
		{"with a key", API{}, request{key: "k"}, map[int]Class{409: InProgress}},
		{"update", API{}, request{update: true}, map[int]Class{409: Conflict}},
		{"vouched for", API{NotExecuted: []int{503, 409}}, request{}, map[int]Class{503: Busy, 409: Busy}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := testClient(t, c.api)
			for code := 100; code < 600; code++ {
				expected := Unknown
				if w, ok := want[code]; ok {
					expected = w
				}
				if w, ok := c.also[code]; ok {
					expected = w
				}
				if got := client.classify(&http.Response{StatusCode: code}, nil, true, &c.req); got != expected {
					t.Errorf("status %d: got %s, want %s", code, got, expected)
				}
			}
			broken := fmt.Errorf("connection reset")
			if got := client.classify(nil, broken, true, &c.req); got != Unknown {
				t.Errorf("reset after writing: got %s, want %s", got, Unknown)
			}
			if got := client.classify(nil, broken, false, &c.req); got != NotSent {
				t.Errorf("no connection: got %s, want %s", got, NotSent)
			}
			if got := client.classify(nil, &StopError{Kind: StopAuth}, true, &c.req); got != NoToken {
				t.Errorf("no token: got %s, want %s", got, NoToken)
			}
		})
	}
}

// TestAttempts: once an attempt may have been executed, no later failure to send
// makes that undone; an answer to the request itself is true of all attempts.
func TestAttempts(t *testing.T) {
	t.Parallel()
	for class, want := range map[Class]Class{
		NotSent: Unknown, Busy: Unknown, Unauthorized: Unknown, Forbidden: Unknown, Misplaced: Unknown, NoToken: Unknown, TooLarge: Unknown, Unknown: Unknown,
		Accepted: Accepted, PerItem: PerItem, Refused: Refused, KeyReused: KeyReused, InProgress: InProgress, Conflict: Conflict,
	} {
		if got := (&attempt{open: true}).verdict(class); got != want {
			t.Errorf("%s after an attempt without an answer: got %s, want %s", class, got, want)
		}
		if got := (&attempt{}).verdict(class); got != class {
			t.Errorf("%s at the first attempt: got %s", class, got)
		}
		if again := class.again(false); again != (class == NotSent || class == Busy) {
			t.Errorf("%s of what cannot be repeated: repeated %t", class, again)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const limit = 15 * time.Minute
	for text, want := range map[string]time.Duration{
		"": -1, "0": 0, "1": time.Second, " 7 ": 7 * time.Second, "900": limit, "901": limit + time.Second, "9223372036854775807": limit + time.Second,
		"-1": -1, "1.5": -1, "soon": -1, "99999999999999999999": -1, "0x10": -1,
		"Sun, 22 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 11:59:59 GMT": -1, "Thu, 01 Jan 2099 00:00:00 GMT": limit + time.Second,
	} {
		h := http.Header{}
		h.Set("Retry-After", text)
		got, asked := retryAfter(h, now, limit)
		if !asked {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestJitter(t *testing.T) {
	t.Parallel()
	for n := range 80 {
		limit := backoffCap
		if n < 6 {
			limit = time.Second << n
		}
		for range 50 {
			if got := jitter(time.Second, n); got < 0 || got > limit {
				t.Fatalf("attempt %d: got %s, want 0 to %s", n, got, limit)
			}
		}
	}
	c := testClient(t, API{RetryWait: time.Minute})
	for n := range 20 {
		if got := c.backoff(0, 0, n, nil); got > longestNap {
			t.Errorf("a batch in flight waits %s", got)
		}
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(time.Second)
		for range opensAfter {
			if ok, probe, _ := b.admit(); !ok || probe {
				t.Fatal("closed breaker does not admit")
			}
			b.saw(Unknown, nil)
		}
		if !b.isOpen() {
			t.Fatal("not open")
		}
		if ok, _, wait := b.admit(); ok || wait <= 0 {
			t.Fatalf("open breaker admits at once: %t, %s", ok, wait)
		}
		for n := 1; n <= maxProbes; n++ {
			<-time.After(40 * time.Second)
			if ok, probe, _ := b.admit(); !ok || !probe {
				t.Fatalf("probe %d is not admitted", n)
			}
			if ok, _, wait := b.admit(); ok || wait == 0 {
				t.Fatalf("a second request is admitted beside the probe: %t, %s", ok, wait)
			}
			b.saw(NotSent, nil)
		}
		if ok, _, wait := b.admit(); ok || wait != 0 {
			t.Fatalf("got %t, %s after %d probes, want the end", ok, wait, maxProbes)
		}
		b.saw(Accepted, nil)
		if ok, probe, _ := b.admit(); !ok || probe {
			t.Fatal("an answer does not close it")
		}
		// Refusals say that the API is well.
		for _, class := range []Class{Refused, TooLarge, Unauthorized, Forbidden, Busy, PerItem, Conflict} {
			for range 2 * opensAfter {
				b.saw(class, &http.Response{StatusCode: http.StatusBadRequest})
			}
			if b.isOpen() {
				t.Fatalf("%s opens the breaker", class)
			}
		}
		for range opensAfter {
			b.saw(Unknown, &http.Response{StatusCode: http.StatusOK})
		}
		if !b.isOpen() {
			t.Error("pages of HTML do not open the breaker")
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	a, b := timesheet.Packed{1}, timesheet.Packed{2}
	seen := map[string]string{}
	for _, c := range []struct {
		name     string
		op       timesheet.Op
		revision int
		keys     []timesheet.Packed
		body     byte
	}{
		{"one", timesheet.OpCreate, 0, []timesheet.Packed{a}, 1},
		{"another entry", timesheet.OpCreate, 0, []timesheet.Packed{b}, 1},
		{"two", timesheet.OpCreate, 0, []timesheet.Packed{a, b}, 1},
		{"two, the other way round", timesheet.OpCreate, 0, []timesheet.Packed{b, a}, 1},
		{"another body", timesheet.OpCreate, 0, []timesheet.Packed{a}, 2},
		{"once more", timesheet.OpCreate, 1, []timesheet.Packed{a}, 1},
		{"replaced", timesheet.OpUpdate, 0, []timesheet.Packed{a}, 1},
	} {
		key := idempotencyKey(c.op, c.revision, c.keys, [32]byte{c.body})
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", c.name, other)
		}
		seen[key] = c.name
		if again := idempotencyKey(c.op, c.revision, c.keys, [32]byte{c.body}); again != key {
			t.Errorf("%s: got another key the second time", c.name)
		}
		if len(key) > 255 {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
}

// TestLanes: all of a person's day is in one lane, and days are spread.
func TestLanes(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 2, 3, 4, 7, 64} {
		p := &plan{lanes: lanes}
		used := map[int]bool{}
		for person := range 40 {
			for day := range 30 {
				e := timesheet.Entry{Person: fmt.Sprintf("u-%d", person), Day: timesheet.Day(19000 + day), Project: "a", Duration: 60}
				lane := p.lane(&e)
				if lane < 0 || lane >= lanes {
					t.Fatalf("lane %d of %d", lane, lanes)
				}
				e.Project, e.Duration, e.Notes = "b", 7200, "other"
				if again := p.lane(&e); again != lane {
					t.Fatalf("%s %s is in lanes %d and %d", e.Person, e.Day, lane, again)
				}
				used[lane] = true
			}
		}
		if len(used) != lanes {
			t.Errorf("%d of %d lanes are used", len(used), lanes)
		}
	}
}

func TestSameValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{`"007"`, `"007"`, true},
		{`"007"`, `7`, false},
		{`5`, `5.0`, true},
		{`5`, `"5"`, false},
		{`0.3333`, `0.33333333`, true},
		{`0.3333`, `0.3334`, false},
		{`0.25`, `0.3`, false},
		{`"2017-05-10T00:00:00.000Z"`, `"2017-05-10T00:00:00Z"`, true},
		{`"2017-05-10T00:00:00.000Z"`, `"2017-05-10T02:00:00+02:00"`, true},
		{`"2017-05-10T00:00:00.000Z"`, `"2017-05-10"`, true},
		{`"2017-05-10T00:00:00.000Z"`, `"2017-05-09"`, false},
		{`"2017-05-10T00:00:00.000Z"`, `"2017-05-10T00:00:00+02:00"`, false},
		{`"a"`, `null`, false},
		{`"a"`, `{"a":1}`, false},
	} {
		if same := sameValue(json.RawMessage(c.want), json.RawMessage(c.got)); same != c.same {
			t.Errorf("%s and %s: got %t, want %t", c.want, c.got, same, c.same)
		}
	}
}

// TestEvidence: what does not prove that exactly this was accepted is no answer.
func TestEvidence(t *testing.T) {
	t.Parallel()
	e := timesheet.Entry{Person: "007", Day: timesheet.Date(2017, 5, 10), Project: "StoreZero", Duration: 5 * 3600}
	two := &timesheet.Parcel{Entries: []timesheet.Entry{e, e}, Keys: []timesheet.Packed{{1}, {2}}, Gone: make([]bool, 2)}
	id1, id2 := strings.Repeat("0", 30), strings.Repeat("0", 30)
	id1, id2 = "01"+id1, "02"+id2
	sent, doubt, rejected, held, fresh := timesheet.StateSent, timesheet.StateInDoubt, timesheet.StateRejected, timesheet.StateHeld, timesheet.StateNew
	for _, c := range []struct {
		name   string
		batch  bool
		status int
		body   string
		class  Class
		states []timesheet.State
	}{
		{"the sample's answer", false, 201, `{"message":"Created timesheet 14 for employee 007."}`, Accepted, nil},
		{"an echo", false, 201, `{"id":14,"user_id":"007","date":"2017-05-10","project":"StoreZero","hours":5}`, Accepted, nil},
		{"an echo of something else", false, 201, `{"id":14,"user_id":"008","hours":5}`, Unknown, nil},
		{"nothing", false, 201, ``, Unknown, nil},
		{"no content", false, 204, ``, Accepted, nil},
		{"a page", false, 200, `<html></html>`, Unknown, nil},
		{"half an answer", false, 201, `{"id":14`, Unknown, nil},
		{"two answers", false, 201, `{}{}`, Unknown, nil},
		{"a batch's answer to one", false, 207, `{"results":[]}`, Unknown, nil},

		{"all", true, 200, `{"results":[{"index":0,"status":201,"id":"1"},{"index":1,"status":201,"id":"2"}]}`, Accepted, []timesheet.State{sent, sent}},
		{"by id, in another order", true, 200, `{"results":[{"external_id":"` + id2 + `","status":422},{"external_id":"` + id1 + `","status":201}]}`, PerItem, []timesheet.State{sent, rejected}},
		{"one is not mentioned", true, 200, `{"results":[{"index":1,"status":201}]}`, PerItem, []timesheet.State{doubt, sent}},
		{"none is mentioned", true, 200, `{"results":[]}`, PerItem, []timesheet.State{doubt, doubt}},
		{"one too many", true, 200, `{"results":[{"index":0,"status":201},{"index":1,"status":201},{"index":2,"status":201}]}`, Unknown, nil},
		{"busy and conflict", true, 207, `{"results":[{"index":0,"status":429},{"index":1,"status":409}]}`, PerItem, []timesheet.State{fresh, held}},
		{"an unknown status", true, 207, `{"results":[{"index":0,"status":500},{"index":1,"status":"ok"}]}`, PerItem, []timesheet.State{doubt, doubt}},
		{"no list", true, 200, `{"message":"ok"}`, Unknown, nil},
		{"it goes on", true, 200, `{"results":[{"index":0,"status":201},{"index":1,"status":201}]}x`, Unknown, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := testClient(t, API{Batch: c.batch, ReadBack: c.batch})
			req := &request{parcel: two, positions: []int{0}, batch: c.batch}
			if c.batch {
				req.positions = []int{0, 1}
			}
			v := verdict{class: Accepted}
			client.check(&v, req, &http.Response{StatusCode: c.status}, []byte(c.body))
			if v.class != c.class {
				t.Fatalf("got %s (%s), want %s", v.class, v.detail, c.class)
			}
			for i, want := range c.states {
				if v.fates[i].State != want {
					t.Errorf("entry %d: got %s, want %s", i, v.fates[i].State, want)
				}
			}
		})
	}
}
