package sandbox_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// lockedWriter lets servers log from many goroutines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func testLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(&lockedWriter{w: w}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	weak := r.credentials()
	weak.ClientID = sandbox.NoScopeClient
	weakToken, err := r.fetch(weak)
	if err != nil {
		t.Fatal(err)
	}
	other := start(t, sandbox.Config{}) // another issuer, another audience

	const bare = `Bearer realm="timesheets"`
	tests := []struct {
		name, path, auth string
		status           int
		challenge        string // prefix; exact where it is bare
		code             string
	}{
		{"no token", "", "", 401, bare, "unauthorized"},
		{"another scheme", "", "Basic abc", 401, bare, "unauthorized"},
		{"empty token", "", "Bearer ", 400, bare + `, error="invalid_request"`, "invalid_request"},
		{"two headers", "", "Bearer a\nBearer b", 400, bare + `, error="invalid_request"`, "invalid_request"},
		{"too long", "", "Bearer " + strings.Repeat("a", 9000), 400, bare + `, error="invalid_request"`, "invalid_request"},
		{"garbage", "", "Bearer abc", 401, bare + `, error="invalid_token"`, "unauthorized"},
		{"of another issuer", "", "Bearer " + other.token(), 401, bare + `, error="invalid_token"`, "unauthorized"},
		{"tampered", "", "Bearer " + r.token()[:len(r.token())-4] + "AAAA", 401, bare + `, error="invalid_token"`, "unauthorized"},
		{"weak", "", "Bearer " + weakToken.AccessToken, 403, bare + `, error="insufficient_scope", scope="batch:upload"`, "insufficient_scope"},
		{"in the query", "?access_token=" + r.token(), "", 400, bare + `, error="invalid_request"`, "invalid_request"},
		{"good", "", "bearer " + r.token(), 201, "", ""},
	}
	for _, tt := range tests {
		a := r.do(http.MethodPost, "/timesheets/upload"+tt.path, entryJSON, "Authorization", tt.auth)
		if a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
			continue
		}
		got, found := strings.CutSuffix(a.header.Get("WWW-Authenticate"), `, resource_metadata="`+r.APIURL()+`/.well-known/oauth-protected-resource/api"`)
		if found != (tt.challenge != "") || tt.challenge == bare && got != bare || !strings.HasPrefix(got, tt.challenge) || tt.challenge == "" && got != "" {
			t.Errorf("%s: challenge: got %q, want %q", tt.name, got, tt.challenge)
		}
		if tt.code == "" {
			continue
		}
		if m := a.decode(t); m["code"] != tt.code || m["message"] == "" || m["status"] != float64(tt.status) ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: problem: got %v", tt.name, a)
		}
	}
	if s := r.stats(); s.Entries != 1 {
		t.Errorf("entries: got %d, want 1", s.Entries)
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	with := func(from, to string) string { return strings.Replace(entryJSON, from, to, 1) }
	tests := []struct {
		name, body, ctype string
		status            int
		field             string
	}{
		{"extra field", with(`"hours"`, `"colour":"red","hours"`), "", 201, ""},
		{"fraction", with(`5}`, `0.0003}`), "", 201, ""},
		{"with charset", entryJSON, "application/json; charset=utf-8", 201, ""},
		{"zone", with(`00:00:00.000Z`, `23:30:00+02:00`), "", 201, ""},
		{"no user", with(`"user_id":"007",`, ``), "", 422, "user_id"},
		{"user is a number", with(`"007"`, `7`), "", 422, "user_id"},
		{"blank user", with(`"007"`, `" "`), "", 422, "user_id"},
		{"date only", with(`T00:00:00.000Z`, ``), "", 422, "date"},
		{"no project", with(`"StoreZero"`, `""`), "", 422, "project"},
		{"hours as text", with(`5}`, `"5"}`), "", 422, "hours"},
		{"zero hours", with(`5}`, `0}`), "", 422, "hours"},
		{"negative", with(`5}`, `-1}`), "", 422, "hours"},
		{"too many hours", with(`5}`, `24.01}`), "", 422, "hours"},
		{"no hours", with(`,"hours":5`, ``), "", 422, "hours"},
		{"a string", `"x"`, "", 422, "entry"},
		{"the year 0000", with(`2017`, `0000`), "", 422, "date"},
		{"the year 0001", with(`2017`, `0001`), "", 201, ""},
		{"a project of 200 characters", with(`StoreZero`, strings.Repeat("ä", 200)), "", 201, ""},
		{"a project of 201 characters", with(`StoreZero`, strings.Repeat("ä", 201)), "", 422, "project"},
		{"a control character", with(`StoreZero`, `a\u001b[31m`), "", 422, "project"},
		{"a C1 control character", with(`StoreZero`, "a\u009b"), "", 422, "project"},
		{"text turned around", with(`StoreZero`, "a\u202eb"), "", 422, "project"},
		{"no UTF-8", with(`StoreZero`, "a\xe4"), "", 400, ""},
		{"another charset", entryJSON, "application/json; charset=iso-8859-1", 415, ""},
		{"charset in capitals", entryJSON, `application/json; charset="UTF-8"`, 201, ""},
		{"another case", with(`"user_id"`, `"User_ID"`), "", 400, ""},
		{"another case beside it", with(`"hours"`, `"HOURS":7,"hours"`), "", 400, ""},
		{"twice", with(`"hours"`, `"hours":7,"hours"`), "", 400, ""},
		{"twice, once escaped", with(`"hours"`, `"h\u006furs":7,"hours"`), "", 400, ""},
		{"an unknown field twice", with(`"hours"`, `"x":1,"x":2,"hours"`), "", 400, ""},
		{"twice within", with(`"hours"`, `"x":[{"a":1,"a":2}],"hours"`), "", 400, ""},
		{"the same within two", with(`"hours"`, `"x":[{"a":1},{"a":2}],"hours"`), "", 201, ""},
		{"malformed", entryJSON[:20], "", 400, ""},
		{"empty", " ", "", 400, ""},
		{"trailing", entryJSON + entryJSON, "", 400, ""},
		{"malformed array", `[` + entryJSON + `,]`, "", 400, ""},
		{"csv", "a,b", "text/csv", 415, ""},
		{"huge object", `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, "", 413, ""},
		{"too many", "[" + strings.Repeat("1,", 2000) + "1]", "", 413, ""},
	}
	want := int64(0)
	for _, tt := range tests {
		var header []string
		if tt.ctype != "" {
			header = []string{"Content-Type", tt.ctype}
		}
		a := r.upload(tt.body, header...)
		if a.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.status)
			continue
		}
		m := a.decode(t)
		if tt.field != "" && (m["field"] != tt.field || m["code"] != "validation_failed" || !strings.Contains(m["message"].(string), tt.field)) {
			t.Errorf("%s: got %v, want field %s", tt.name, m, tt.field)
		}
		if tt.status == 201 {
			want++
		}
	}
	if s := r.stats(); s.Entries != want {
		t.Errorf("entries: got %d, want %d", s.Entries, want)
	}
	if a := r.do(http.MethodPut, "/timesheets/upload", entryJSON); a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotFound {
		t.Errorf("PUT upload: got %d", a.status)
	}
	for _, p := range []string{"//timesheets", "//", "/timesheets/.", "/timesheets//upload", "/x/../timesheets"} {
		if a := r.do(http.MethodGet, p, ""); a.status != http.StatusNotFound || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("GET %s: got %d %s", p, a.status, a.header.Get("Content-Type"))
		}
	}
	if a := r.do(http.MethodGet, "/elsewhere", ""); a.status != http.StatusNotFound {
		t.Errorf("GET elsewhere: got %d", a.status)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	one := strings.Replace(entryJSON, `{`, `{"external_id":"ä1",`, 1)
	bad := strings.Replace(entryJSON, `5}`, `-5}`, 1)
	a := r.upload("[" + one + "," + bad + ", 7 ," + entryJSON + "]")
	if a.status != http.StatusMultiStatus {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	want := `{"results":[{"index":0,"external_id":"ä1","status":201,"id":"1"},` +
		`{"index":1,"status":422,"error":{"code":"validation_failed","message":"hours must be more than 0 and at most 24","field":"hours"}},` +
		`{"index":2,"status":422,"error":{"code":"validation_failed","message":"entry is not a JSON object","field":"entry"}},` +
		`{"index":3,"status":201,"id":"2"}]}`
	if a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	if a := r.upload("[" + one + "," + entryJSON + "]"); a.status != http.StatusOK {
		t.Errorf("all good: got %d", a.status)
	}
	if a := r.upload("[]"); a.status != http.StatusOK || a.body != `{"results":[]}` {
		t.Errorf("empty: got %d %s", a.status, a.body)
	}
	if s := r.stats(); s.Entries != 4 || s.Duplicates != 2 || s.EntriesByExternalID["ä1"] != 2 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	first := r.upload(entryJSON, "Idempotency-Key", `"k1"`)
	again := r.upload(entryJSON, "Idempotency-Key", `k1`)
	if first.status != 201 || again.status != 201 || first.body != again.body {
		t.Errorf("got %v and %v", first, again)
	}
	if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replayed: got %v and %v", first.header, again.header)
	}
	other := r.upload("["+entryJSON+"]", "Idempotency-Key", `k1`)
	if other.status != 422 || other.decode(t)["code"] != "idempotency_key_reused" {
		t.Errorf("other body: got %v", other)
	}
	// A batch of which a part was refused gives the same answer again.
	mixed := "[" + entryJSON + ",{}]"
	one, two := r.upload(mixed, "Idempotency-Key", `k2`), r.upload(mixed, "Idempotency-Key", `k2`)
	if one.status != 207 || one.body != two.body || two.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %v and %v", one, two)
	}
	// A refused object keeps no key.
	if a := r.upload("{}", "Idempotency-Key", `k3`); a.status != 422 {
		t.Errorf("got %v", a)
	}
	if a := r.upload(entryJSON, "Idempotency-Key", `k3`); a.status != 201 {
		t.Errorf("after a refusal: got %v", a)
	}
	if a := r.upload(entryJSON, "Idempotency-Key", `""`); a.status != 400 {
		t.Errorf("empty key: got %v", a)
	}
	if s := r.stats(); s.Entries != 3 || s.Replays != 2 {
		t.Errorf("stats: got %+v", s)
	}
}

// Whatever order they come in, of many requests with one key one is executed.
func TestIdempotencyConcurrent(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	r.token()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a, err := r.try(t.Context(), http.MethodPost, "/timesheets/upload", entryJSON, "Idempotency-Key", "same")
			if err != nil || (a.status != 201 && a.status != 409) {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
	wg.Wait()
	if s := r.stats(); s.Entries != 1 {
		t.Errorf("entries: got %d, want 1", s.Entries)
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	for i := range 5 {
		r.upload(fmt.Sprintf(`{"external_id":"x%d","user_id":"u%d","date":"2026-01-0%dT00:00:00.000Z","project":"P","hours":1.50}`, i, i%2, i+1))
	}
	ids := func(query string) string {
		t.Helper()
		var found []string
		cursor := ""
		for {
			a := r.do(http.MethodGet, "/timesheets?"+query+cursor, "")
			if a.status != 200 {
				return fmt.Sprint(a.status)
			}
			m := a.decode(t)
			for _, e := range m["timesheets"].([]any) {
				found = append(found, e.(map[string]any)["external_id"].(string))
			}
			next, ok := m["next_cursor"].(string)
			if !ok {
				return strings.Join(found, " ")
			}
			cursor = "&cursor=" + next
		}
	}
	for query, want := range map[string]string{
		"":                                "x0 x1 x2 x3 x4",
		"limit=2":                         "x0 x1 x2 x3 x4",
		"limit=5":                         "x0 x1 x2 x3 x4",
		"user_id=u1":                      "x1 x3",
		"from=2026-01-02&to=2026-01-03":   "x1 x2",
		"from=2026-01-04T00:00:00.000Z":   "x3 x4",
		"external_id=x2":                  "x2",
		"user_id=u0&from=2026-01-02":      "x2 x4",
		"from=yesterday":                  "400",
		"limit=0":                         "400",
		"cursor=x":                        "400",
		"user_id=nobody":                  "",
		"user_id=u0&limit=1&external_id=": "x0 x2 x4",
	} {
		if got := ids(query); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	a := r.do(http.MethodGet, "/timesheets?external_id=x1", "")
	want := `{"timesheets":[{"id":"2","external_id":"x1","user_id":"u1","user_type":"","date":"2026-01-02T00:00:00.000Z","project":"P","hours":1.50,"approved":false}]}`
	if a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
}

func TestOneEntry(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	r.upload(entryJSON)
	r.upload(entryJSON)
	changed := strings.Replace(entryJSON, `5}`, `6}`, 1)
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/timesheets/1", "", 200},
		{"GET", "/timesheets/9", "", 404},
		{"GET", "/timesheets/x", "", 404},
		{"PUT", "/timesheets/1", changed, 200},
		{"PUT", "/timesheets/1", changed, 200},
		{"PUT", "/timesheets/1", "{}", 422},
		{"PUT", "/timesheets/1", "{", 400},
		{"PUT", "/timesheets/9", changed, 404},
		{"POST", "/_sandbox/approve/1", "", 204},
		{"POST", "/_sandbox/approve/9", "", 404},
		{"PUT", "/timesheets/1", changed, 409},
		{"DELETE", "/timesheets/1", "", 409},
		{"DELETE", "/timesheets/2", "", 204},
		{"DELETE", "/timesheets/2", "", 404},
		{"POST", "/timesheets/1", changed, 405},
	} {
		if a := r.do(tt.method, tt.path, tt.body); a.status != tt.status {
			t.Errorf("%s %s: got %d %s, want %d", tt.method, tt.path, a.status, a.body, tt.status)
		}
	}
	m := r.do(http.MethodGet, "/timesheets/1", "").decode(t)
	if m["hours"] != 6.0 || m["approved"] != true {
		t.Errorf("got %v", m)
	}
	if s := r.stats(); s.Entries != 1 {
		t.Errorf("entries: got %d, want 1", s.Entries)
	}
}

// A machine does not see what another uploaded, and needs the scope to delete.
func TestOtherClient(t *testing.T) {
	t.Parallel()
	r := start(t, sandbox.Config{})
	r.upload(entryJSON)
	c := *r.credentials()
	c.ClientID = sandbox.NoScopeClient
	auth := bearer(t, r, &c)
	if a := r.do(http.MethodGet, "/timesheets", "", "Authorization", auth); a.body != `{"timesheets":[]}` {
		t.Errorf("list: got %s", a.body)
	}
	if a := r.do(http.MethodGet, "/timesheets/1", "", "Authorization", auth); a.status != 404 {
		t.Errorf("get: got %d", a.status)
	}
	a := r.do(http.MethodDelete, "/timesheets/1", "", "Authorization", auth)
	if a.status != 403 || !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="delete:timesheets"`) {
		t.Errorf("delete: got %v", a)
	}
}

func bearer(tb testing.TB, r *rig, c *clientcredentials.Config) string {
	tb.Helper()
	tok, err := r.fetch(c)
	if err != nil {
		tb.Fatal(err)
	}
	return "Bearer " + tok.AccessToken
}

func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{1, 500} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			r := start(b, sandbox.Config{})
			r.http.Timeout = time.Minute
			body := entryJSON
			if size > 1 {
				body = "[" + strings.TrimSuffix(strings.Repeat(entryJSON+",", size), ",") + "]"
			}
			r.token()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					a, err := r.try(b.Context(), http.MethodPost, "/timesheets/upload", body)
					if err != nil || a.status > 201 {
						b.Error(a.status, err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
