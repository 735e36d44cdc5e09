package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// tracker answers as the APIs of trackers were seen to.
type tracker struct {
	*httptest.Server
	t        *testing.T
	requests []*http.Request
	answer   func(n int, r *http.Request) (header map[string]string, status int, body string)
}

func newTracker(t *testing.T, answer func(n int, r *http.Request) (map[string]string, int, string)) *tracker {
	t.Helper()
	tr := &tracker{t: t, answer: answer}
	tr.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.requests = append(tr.requests, r)
		header, status, body := tr.answer(len(tr.requests), r)
		w.Header().Set("Content-Type", "application/json")
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(tr.Close)
	return tr
}

// wants checks a request against its path and query, in which SINCE and UNTIL
// stand for the days of the window.
func (tr *tracker) wants(n int, path, query string) {
	tr.t.Helper()
	if n >= len(tr.requests) {
		tr.t.Fatalf("got %d requests", len(tr.requests))
	}
	zone := berlin(tr.t)
	y, m, d := time.Now().In(zone).Date()
	first, after := time.Date(y, m, d-35, 0, 0, 0, 0, zone), time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	want, err := url.ParseQuery(strings.NewReplacer(
		"SINCE", first.Format(time.DateOnly), "UNTIL", after.AddDate(0, 0, -1).Format(time.DateOnly),
		"FROM", first.UTC().Format(time.RFC3339), "AFTER", after.UTC().Format(time.RFC3339),
	).Replace(query))
	if err != nil {
		tr.t.Fatal(err)
	}
	if got := tr.requests[n].URL; got.EscapedPath() != path || got.Query().Encode() != want.Encode() {
		tr.t.Errorf("request %d: got %s, want %s?%s", n, got, path, want.Encode())
	}
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func apiConfig(t *testing.T, name, address string, params map[string]string) Config {
	t.Helper()
	return Config{Location: berlin(t), HTTP: &HTTP{
		Preset: name, URL: address, Params: params, Token: secret, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

// line is an entry in one line: what a preset makes of a record.
func line(e timesheet.Entry) string {
	return fmt.Sprintf("%s %s %s %d %s %s %q", e.ID, e.Person, e.Day, e.Duration, e.Project, e.Task, e.Notes)
}

func (r *result) expect(t *testing.T, lines ...string) {
	t.Helper()
	var got []string
	for _, e := range r.entries {
		got = append(got, line(e))
	}
	for _, s := range r.skipped {
		got = append(got, fmt.Sprintf("%d skipped: %s", s.Origin.Line, s.Reason))
	}
	for _, x := range r.rejected {
		got = append(got, "rejected: "+x.Message)
	}
	if a, b := strings.Join(got, "\n"), strings.Join(lines, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}

func TestTogglAPI(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, func(int, *http.Request) (map[string]string, int, string) {
		return nil, 200, `[
{"id":40000005,"workspace_id":11,"project_id":22,"task_id":null,"billable":true,"start":"2026-03-03T08:00:00Z","stop":null,"duration":-1772524800,"description":"now","tags":null,"at":"2026-03-03T08:00:00Z","server_deleted_at":null,"user_id":7},
{"id":40000004,"workspace_id":11,"project_id":22,"task_id":null,"billable":true,"start":"2026-03-02T12:00:00Z","stop":null,"duration":0,"description":"now","tags":null,"at":"2026-03-02T12:00:00Z","server_deleted_at":null,"user_id":7},
{"id":40000003,"workspace_id":11,"project_id":22,"task_id":5,"billable":true,"start":"2026-03-02T10:00:00Z","stop":"2026-03-02T11:00:00Z","duration":3600,"description":"gone","tags":[],"at":"2026-03-02T11:00:00Z","server_deleted_at":"2026-03-02T12:00:00Z","user_id":7},
{"id":40000002,"workspace_id":99,"project_id":23,"task_id":null,"billable":true,"start":"2026-03-02T10:00:00Z","stop":"2026-03-02T11:00:00Z","duration":3600,"description":"another client's","tags":[],"at":"2026-03-02T11:00:00Z","server_deleted_at":null,"user_id":7},
{"id":40000001,"workspace_id":11,"project_id":22,"task_id":null,"billable":true,"start":"2026-03-01T23:30:00Z","stop":"2026-03-02T01:00:15Z","duration":5415,"description":"Fix cart","tags":["web"],"at":"2026-03-02T09:30:16Z","server_deleted_at":null,"user_id":7}]`
	})
	cfg := apiConfig(t, "toggl", tr.URL, map[string]string{"workspace": "11"})
	cfg.People, cfg.Projects = map[string]string{"7": "007"}, map[string]string{"22": "StoreZero"}
	must(t, cfg).expect(t, `40000001 007 2026-03-02 5415 StoreZero  "Fix cart"`, "1 skipped: running", "2 skipped: running", "3 skipped: deleted", "4 skipped: elsewhere")
	tr.wants(0, "/api/v9/me/time_entries", "start_date=FROM&end_date=AFTER")
	if user, password, _ := tr.requests[0].BasicAuth(); user != canary || password != "api_token" {
		t.Errorf("got %s:%s", user, password)
	}

	// One person's, with names instead of ids.
	cfg = apiConfig(t, "toggl", tr.URL, map[string]string{"workspace": "99"})
	cfg.User, cfg.Columns, cfg.HTTP.Query = "ada", map[string]string{"project": "project_name"}, map[string]string{"meta": "true"}
	tr.answer = func(int, *http.Request) (map[string]string, int, string) {
		return nil, 200, `[{"id":1,"workspace_id":99,"project_id":3,"project_name":"Website","start":"2026-03-02T10:00:00+00:00","stop":"2026-03-02T11:00:00+00:00","duration":3600,"description":""}]`
	}
	must(t, cfg).expect(t, `1 ada 2026-03-02 3600 Website  ""`)
	tr.wants(1, "/api/v9/me/time_entries", "start_date=FROM&end_date=AFTER&meta=true")
}

// A thousand entries are all that one answer has: there may be more.
func TestTogglAPILimit(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, func(int, *http.Request) (map[string]string, int, string) {
		one := `{"id":1,"workspace_id":11,"start":"2026-03-02T10:00:00Z","stop":"2026-03-02T11:00:00Z"}`
		return nil, 200, "[" + strings.Repeat(one+",", 999) + one + "]"
	})
	if _, err := read(t, apiConfig(t, "toggl", tr.URL, map[string]string{"workspace": "11"})); err == nil || !strings.Contains(err.Error(), "there may be more") {
		t.Errorf("got %v", err)
	}
}

func TestClockifyAPI(t *testing.T) {
	t.Parallel()
	entry := func(n int, interval, kind string) string {
		return fmt.Sprintf(`{"id":"65e2f000000000000000%04d","description":"Fix cart","billable":true,"userId":"u7","projectId":"p9","taskId":null,"isLocked":false,"type":%q,"timeInterval":%s}`, n, kind, interval)
	}
	tr := newTracker(t, func(n int, _ *http.Request) (map[string]string, int, string) {
		if n > 1 {
			return nil, 200, "[]"
		}
		return nil, 200, "[" + entry(3, `{"start":"2026-03-02T13:00:00Z","end":null,"duration":null}`, "REGULAR") + "," +
			entry(2, `{"start":"2026-03-02T10:00:00Z","end":"2026-03-02T10:30:00Z","duration":"PT30M"}`, "BREAK") + "," +
			entry(1, `{"start":"2026-03-02T08:00:00Z","end":"2026-03-02T09:30:15Z","duration":"PT1H30M15S"}`, "REGULAR") + "]"
	})
	res := must(t, apiConfig(t, "clockify", tr.URL+"/api/v1/", map[string]string{"workspace": "w/1", "user": "u7"}))
	res.expect(t, `65e2f0000000000000000001 u7 2026-03-02 5415 p9  "Fix cart"`, "1 skipped: running", "2 skipped: break")
	if !res.survey.Complete || res.survey.Window == nil {
		t.Errorf("got %+v", res.survey)
	}
	tr.wants(0, "/api/v1/workspaces/w%2F1/user/u7/time-entries", "start=FROM&end=AFTER&page=1&page-size=1000")
	tr.wants(1, "/api/v1/workspaces/w%2F1/user/u7/time-entries", "start=FROM&end=AFTER&page=2&page-size=1000")
	if tr.requests[0].Header.Get("X-Api-Key") != canary || tr.requests[0].Header.Get("Authorization") != "" {
		t.Errorf("got %v", tr.requests[0].Header)
	}
}

func TestHarvestAPI(t *testing.T) {
	t.Parallel()
	entry := func(id int, hours, running string) string {
		return fmt.Sprintf(`{"id":%d,"spent_date":"2026-03-02","user":{"id":7,"name":"Ada Byron"},"project":{"id":22,"name":"Website","code":"WEB-1"},"task":{"id":5,"name":"Development"},"hours":%s,"rounded_hours":1.5,"notes":"Fix cart","is_locked":false,"is_running":%s,"started_time":"9:00am","ended_time":"10:30am","updated_at":"2026-03-02T10:30:16Z"}`, id, hours, running)
	}
	var tr *tracker
	tr = newTracker(t, func(n int, r *http.Request) (map[string]string, int, string) {
		switch n {
		case 1:
			return map[string]string{"Retry-After": "0"}, 429, "{}"
		case 2:
			return nil, 200, `{"time_entries":[` + entry(636700001, "1.5", "false") + "," + entry(636700002, "0.25", "true") + `],"total_entries":3,"page":1,"links":{"first":"x","next":"` + tr.URL + `/v2/time_entries?page=2"}}`
		}
		return nil, 200, `{"time_entries":[` + entry(636700003, `"7.75"`, "false") + `],"total_entries":3,"page":2,"links":{"next":null}}`
	})
	res := must(t, apiConfig(t, "harvest", tr.URL+"/v2", map[string]string{"account": "123"}))
	res.expect(t, `636700001 7 2026-03-02 5400 22 5 "Fix cart"`, `636700003 7 2026-03-02 27900 22 5 "Fix cart"`, "2 skipped: running")
	if !res.survey.Complete {
		t.Errorf("the total vouches for both pages: got %v", res.survey.Notes)
	}
	tr.wants(1, "/v2/time_entries", "from=SINCE&to=UNTIL")
	for _, r := range tr.requests {
		if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("Harvest-Account-Id") != "123" {
			t.Errorf("got %v", r.Header)
		}
	}
}

func TestKimaiAPI(t *testing.T) {
	t.Parallel()
	entry := func(id int, begin, end string, duration int) string {
		return fmt.Sprintf(`{"id":%d,"begin":%q,"end":%s,"duration":%d,"break":0,"description":"Fix cart","activity":4,"project":22,"user":7,"tags":["web"],"exported":false,"billable":true,"metaFields":[]}`, id, begin, end, duration)
	}
	tr := newTracker(t, func(n int, r *http.Request) (map[string]string, int, string) {
		header := map[string]string{"X-Total-Count": "3", "X-Page": r.URL.Query().Get("page"), "X-Total-Pages": "2"}
		switch n {
		case 1:
			return header, 200, "[" + entry(503, "2026-03-03T09:00:00+0100", "null", 0) + "," +
				// Half an hour of it was a break.
				entry(502, "2026-03-02T11:00:00+0100", `"2026-03-02T13:00:00+0100"`, 5400) + "]"
		case 2:
			return header, 200, "[" + entry(501, "2026-03-02T00:10:00+0100", `"2026-03-02T01:40:15+0100"`, 5415) + "]"
		}
		return nil, 404, `{"code":404,"message":"Not Found"}`
	})
	res := must(t, apiConfig(t, "kimai", tr.URL, map[string]string{"user": "all"}))
	res.expect(t, `502 7 2026-03-02 5400 22 4 "Fix cart"`, `501 7 2026-03-02 5415 22 4 "Fix cart"`, "1 skipped: running")
	if !res.survey.Complete {
		t.Errorf("the total vouches for both pages: got %v", res.survey.Notes)
	}
	for n := range 3 {
		tr.wants(n, "/api/timesheets", "begin=SINCET00:00:00&end=UNTILT23:59:59&size=500&user=all&page="+strconv.Itoa(n+1))
	}
	if tr.requests[0].Header.Get("Authorization") != "Bearer "+canary {
		t.Errorf("got %v", tr.requests[0].Header)
	}
}

// Every preset takes an export without entries, refuses a login page and bad
// credentials, and says nothing of its token.
func TestPresetsFaults(t *testing.T) {
	t.Parallel()
	for _, name := range APIs() {
		params := map[string]string{}
		for _, p := range apis[name].params {
			params[p.Name] = "1"
		}
		empty := "[]"
		if apis[name].records != "" {
			empty = fmt.Sprintf(`{%q:[]}`, apis[name].records)
		}
		tr := newTracker(t, func(int, *http.Request) (map[string]string, int, string) { return nil, 200, empty })
		if res := must(t, apiConfig(t, name, tr.URL, params)); res.survey.Rows != 0 || !res.survey.Complete {
			t.Errorf("%s: got %+v", name, res.survey)
		}
		tr.answer = func(int, *http.Request) (map[string]string, int, string) {
			return map[string]string{"Content-Type": "text/html"}, 200, "<html>Log in"
		}
		if _, err := read(t, apiConfig(t, name, tr.URL, params)); err == nil || !strings.Contains(err.Error(), "login page") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v", name, err)
		}
		tr.answer = func(int, *http.Request) (map[string]string, int, string) { return nil, 403, canary }
		if _, err := read(t, apiConfig(t, name, tr.URL, params)); err == nil || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, name := range []string{"toggl", "clockify", "harvest"} {
		cfg := apiConfig(t, name, "https://export.test", map[string]string{"workspace": "1", "user": "2", "account": "3"})
		for p := range cfg.HTTP.Params {
			if !slices.ContainsFunc(apis[name].params, func(known APIParam) bool { return known.Name == p }) {
				delete(cfg.HTTP.Params, p)
			}
		}
		cfg.HTTP.Token = func(context.Context) ([]byte, error) { return nil, errors.New("keyring is locked") }
		if _, err := read(t, cfg); err == nil || !strings.Contains(err.Error(), "http.auth.token cannot be read: keyring is locked") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for want, h := range map[string]HTTP{
		"is no preset":           {Preset: "tempo"},
		"needs params.workspace": {Preset: "toggl"},
		"knows no params.user":   {Preset: "toggl", Params: map[string]string{"workspace": "1", "user": "2"}},
		"needs http.url":         {Preset: "kimai"},
	} {
		if err := CheckPreset(h.Preset, h.Params, h.URL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, err := read(t, Config{HTTP: &h}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Whatever a tracker answers: there is an error that says what is wrong, or
// every record ends as an entry, a rejection or skipped.
func FuzzAPI(f *testing.F) {
	f.Add(uint8(0), `[{"id":1,"workspace_id":1,"project_id":22,"start":"2026-03-02T08:00:00Z","stop":"2026-03-02T09:30:15Z","user_id":7},{"id":2,"stop":null},7,{},null]`)
	f.Add(uint8(1), `[{"id":"a","userId":"u","type":"BREAK","timeInterval":{"start":"2026-03-02T08:00:00Z","end":null,"duration":"PT1H"}},{"timeInterval":[1]},{"Type":1,"type":2}]`)
	f.Add(uint8(2), `{"time_entries":[{"id":1,"spent_date":"2026-03-02","user":{"id":7},"hours":"1,5","is_running":false}],"total_entries":1,"links":{"next":null}}`)
	f.Add(uint8(3), `[{"id":501,"begin":"2026-03-02T09:00:00+0100","end":"x","duration":-5415,"user":7,"\u2060refused":"\u2060skip:x"}]`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		name := APIs()[int(which)%len(apis)]
		cfg := Config{SpoolDir: dir, HTTP: &HTTP{Preset: name, URL: "https://export.test", Params: map[string]string{}, MaxPages: 3}}
		for _, p := range apis[name].params {
			cfg.HTTP.Params[p.Name] = "1"
		}
		n := 0
		cfg.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
			if n++; n > 1 {
				body = "[]"
			}
			return respond(r, 200, http.Header{"Content-Type": {"application/json"}}, body), nil
		})
		res, err := read(t, cfg)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" {
				t.Errorf("got %v", err)
			}
			return
		}
		if got := len(res.entries) + len(res.rejected) + len(res.skipped); got != res.survey.Rows {
			t.Errorf("%d records became %d rows", res.survey.Rows, got)
		}
	})
}
