package source

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// records makes n JSON records with the ids from first on.
func records(first, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"id":%d,"user":"u-1","date":"2026-11-16","project":"P","hours":1}`, first+i))
	}
	return strings.Join(list, ",")
}

// Pages by number, by cursor in the query, in the body and in a header: each
// brings all five entries, and asks for no page twice.
func TestHTTPPaging(t *testing.T) {
	t.Parallel()
	body := func(t *testing.T, r *http.Request) string {
		t.Helper()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	pages := []string{records(1, 2), records(3, 2), records(5, 1), ""}
	for name, c := range map[string]struct {
		set      func(h *HTTP)
		answer   func(t *testing.T, n int, w http.ResponseWriter, r *http.Request)
		requests int
		complete bool
	}{
		"page": {
			func(h *HTTP) { h.Page = &Page{Parameter: "p", First: 1, SizeParameter: "size", Size: 2} },
			func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
				t.Helper()
				if q := r.URL.Query(); q.Get("p") != strconv.Itoa(n) || q.Get("size") != "2" || q.Get("from") == "" {
					t.Errorf("got %s", r.URL)
				}
				send(w, "application/json", "["+pages[n-1]+"]")
			}, 4, false,
		},
		"page, the last one full, an end by status": {
			func(h *HTTP) { h.Page = &Page{Parameter: "p", EndStatus: 404} },
			func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
				t.Helper()
				if r.URL.Query().Get("p") != strconv.Itoa(n-1) {
					t.Errorf("got %s", r.URL)
				}
				if n == 4 {
					http.NotFound(w, r)
					return
				}
				send(w, "application/json", "["+pages[n-1]+"]")
			}, 4, false,
		},
		"page with a total in a header": {
			func(h *HTTP) { h.Page, h.Total = &Page{Parameter: "p", First: 1}, "header:X-Total-Count" },
			func(_ *testing.T, n int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Total-Count", "5")
				send(w, "application/json", "["+pages[n-1]+"]")
			}, 4, true,
		},
		"one page that is not full": {
			func(h *HTTP) { h.Page = &Page{Parameter: "p", First: 1, Size: 50} },
			func(_ *testing.T, n int, w http.ResponseWriter, _ *http.Request) {
				send(w, "application/json", "["+[]string{records(1, 5), ""}[n-1]+"]")
			}, 2, true,
		},
		"page in the body": {
			func(h *HTTP) {
				h.Method, h.Body, h.Page = "post", `{"page": {{page}}, "since": "{{since}}"}`, &Page{First: 1}
			},
			func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
				t.Helper()
				day := time.Now().UTC().AddDate(0, 0, -35).Format(time.DateOnly)
				if got, want := body(t, r), fmt.Sprintf(`{"page": %d, "since": "%s"}`, n, day); got != want || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %s %s, want %s; %v", r.Method, got, want, r.Header)
				}
				send(w, "application/json", "["+pages[n-1]+"]")
			}, 4, false,
		},
		"cursor": {
			func(h *HTTP) {
				h.Records, h.Cursor, h.Total = "data", &Cursor{From: "meta.cursor", Parameter: "after"}, "meta.total"
			},
			func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
				t.Helper()
				if want := []string{"", "a/b&c", "7"}[n-1]; r.URL.Query().Get("after") != want {
					t.Errorf("got %s, want %s", r.URL, want)
				}
				send(w, "application/json", `{"meta":{"total":5,"cursor":`+[]string{`"a/b&c"`, "7", "null"}[n-1]+`},"data":[`+pages[n-1]+`]}`)
			}, 3, true,
		},
		"cursor in a header and in the body": {
			func(h *HTTP) {
				h.Method, h.Body, h.Cursor = "POST", `{"after":"{{cursor}}"}`, &Cursor{From: "header:X-Next"}
			},
			func(t *testing.T, n int, w http.ResponseWriter, r *http.Request) {
				t.Helper()
				if got, want := body(t, r), []string{`{"after":""}`, `{"after":"q\"x"}`, `{"after":"z"}`}[n-1]; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				w.Header().Set("X-Next", []string{`q"x`, "z", ""}[n-1])
				send(w, "application/json", "["+pages[n-1]+"]")
			}, 3, false,
		},
		"pages of CSV": {
			func(h *HTTP) { h.Page = &Page{Parameter: "p", First: 1, Size: 100} },
			func(_ *testing.T, n int, w http.ResponseWriter, _ *http.Request) {
				rows := []string{"1,u-1,2026-11-16,P,2\n2,u-1,2026-11-16,P,2", "3,u-1,2026-11-16,P,1\n", ""}
				send(w, "text/csv", "id,user,date,project,hours\n"+rows[n-1])
			}, 3, false,
		},
	} {
		srv, n := export(t, func(n int, w http.ResponseWriter, r *http.Request) { c.answer(t, n, w, r) })
		cfg := httpConfig(srv.URL + "/export?from={{since}}")
		c.set(cfg.HTTP)
		res := must(t, cfg)
		if res.seconds() != 5*3600 || *n != c.requests || res.survey.Complete != c.complete {
			t.Errorf("%s: got %d s in %d requests, complete %t: %v", name, res.seconds(), *n, res.survey.Complete, res.survey.Notes)
		}
	}
}

// What changes while its pages are fetched is used, but proves no absence.
func TestHTTPPagesChange(t *testing.T) {
	t.Parallel()
	for name, totals := range map[string][3]string{"grew": {"3", "4", "4"}, "cut": {"9", "9", "9"}} {
		srv, _ := export(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Total", totals[n-1])
			send(w, "application/json", "["+[]string{records(1, 2), records(2, 2), ""}[n-1]+"]")
		})
		cfg := httpConfig(srv.URL)
		cfg.HTTP.Page, cfg.HTTP.Total = &Page{Parameter: "p"}, "header:X-Total"
		res := must(t, cfg)
		if res.survey.Complete || len(res.entries) != 3 || len(res.survey.Notes) == 0 || !strings.Contains(res.survey.Notes[0], "the export says that it has") {
			t.Errorf("%s: got %+v", name, res.survey)
		}
	}
}

func TestHTTPPagingRefused(t *testing.T) {
	t.Parallel()
	page := func(h *HTTP) { h.Page = &Page{Parameter: "p", EndStatus: 404} }
	for name, c := range map[string]struct {
		set    func(h *HTTP)
		answer func(n int, w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"parameter unknown to the server": {page, func(_ int, w http.ResponseWriter, _ *http.Request) {
			send(w, "application/json", "["+records(1, 2)+"]")
		}, "page 2 has the same entries as page 1"},
		"cursor that stands still": {
			func(h *HTTP) { h.Cursor = &Cursor{From: "header:X-Next", Parameter: "c"} },
			func(n int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Next", "same")
				send(w, "application/json", "["+records(n, 1)+"]")
			}, "leads back",
		},
		"no first page": {page, func(_ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "404"},
		"a login page behind the first": {page, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				send(w, "application/json", "["+records(1, 2)+"]")
				return
			}
			send(w, "text/html", "<html>Log in")
		}, "login page"},
		"a cut page behind the first": {page, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 2 {
				w.Header().Set("Content-Length", "1000")
			}
			send(w, "application/json", "["+records(n, 1)+"]")
		}, "cut off"},
		"a redirect that drops the body": {
			func(h *HTTP) { h.Method, h.Body = "POST", "from={{since}}" },
			func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
			"takes no body",
		},
		"quota used up between pages": {page, func(n int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Toggl-Quota-Remaining", "0")
			w.Header().Set("X-Toggl-Quota-Resets-In", "1800")
			send(w, "application/json", "["+records(n, 1)+"]")
		}, "begins anew in 30m"},
		"quota used up": {page, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Toggl-Quota-Remaining", "0")
			w.Header().Set("X-Toggl-Quota-Resets-In", "1800")
			w.WriteHeader(http.StatusPaymentRequired)
		}, "the quota of requests is used up"},
	} {
		srv, n := export(t, c.answer)
		cfg := httpConfig(srv.URL + "/export?key=" + canary)
		c.set(cfg.HTTP)
		_, err := read(t, cfg)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error()+e.Hint(), c.want) || strings.Contains(err.Error()+e.Hint(), canary) {
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
		}
		if *n > 2 && !strings.Contains(name, "cut") {
			t.Errorf("%s: got %d requests", name, *n)
		}
	}
	for name, set := range map[string]func(h *HTTP){
		"two ways":            func(h *HTTP) { h.Next, h.Page = "link", &Page{Parameter: "p"} },
		"nothing takes it":    func(h *HTTP) { h.Page = &Page{} },
		"no cursor parameter": func(h *HTTP) { h.Cursor = &Cursor{From: "c"} },
		"cursor from nowhere": func(h *HTTP) { h.Cursor = &Cursor{Parameter: "c"} },
		"cursor in CSV":       func(h *HTTP) { h.Format, h.Cursor = "csv", &Cursor{From: "c", Parameter: "c"} },
		"total in CSV":        func(h *HTTP) { h.Format, h.Total = "csv", "total" },
		"HEAD":                func(h *HTTP) { h.Method = "HEAD" },
	} {
		cfg := httpConfig("https://export.test/")
		set(cfg.HTTP)
		if _, err := read(t, cfg); err == nil || !strings.Contains(err.Error(), "http.") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The quota is waited for, between pages and after a refusal.
func TestHTTPQuota(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // from 2000-01-01 on
		var at []time.Duration
		start := time.Now()
		cfg := httpConfig("https://export.test/x")
		cfg.SpoolDir, cfg.Rules.Future, cfg.HTTP.Page = dir, FutureAllow, &Page{Parameter: "p"}
		cfg.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(start).Round(time.Second))
			json := http.Header{"Content-Type": {"application/json"}}
			switch len(at) {
			case 1:
				json.Set("X-Ratelimit-Remaining", "0")
				json.Set("X-Ratelimit-Reset", strconv.FormatInt(time.Now().Add(20*time.Second).Unix(), 10))
				return respond(r, 200, json, "["+records(1, 1)+"]"), nil
			case 2:
				return respond(r, 402, http.Header{"X-Toggl-Quota-Remaining": {"0"}, "X-Toggl-Quota-Resets-In": {"40"}}, ""), nil
			case 3:
				json.Set("Ratelimit-Remaining", "0")
				json.Set("Ratelimit-Reset", "nonsense")
				return respond(r, 200, json, "["+records(2, 1)+"]"), nil
			}
			return respond(r, 200, json, "[]"), nil
		})
		res, err := read(t, cfg)
		if got, want := fmt.Sprint(at), "[0s 20s 1m0s 1m0s]"; err != nil || len(res.entries) != 2 || got != want {
			t.Errorf("got %s, want %s; %v", got, want, err)
		}
	})
}

func TestHTTPWindow(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 4, 2, 10, 30, 0, 0, berlin)
	for times, want := range map[string]string{
		"date":    "2026-03-26..2026-04-01",
		"rfc3339": "2026-03-25T23:00:00Z..2026-04-01T22:00:00Z", // the clocks change in between
		"local":   "2026-03-26T00:00:00..2026-04-01T23:59:59",
	} {
		s, err := New(Config{Name: "x", Location: berlin, HTTP: &HTTP{URL: "https://export.test", Since: 7 * 24 * time.Hour, Until: 24 * time.Hour, Times: times}})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.window(now).expand("{{since}}..{{until}}"); got != want {
			t.Errorf("%s: got %s, want %s", times, got, want)
		}
	}
}
