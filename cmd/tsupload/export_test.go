package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// tracker is somebody else's export over HTTP: two pages of JSON behind a
// bearer token, with faults to order.
type tracker struct {
	*httptest.Server
	fault    string
	requests []string
}

func newTracker(t *testing.T) *tracker {
	t.Helper()
	tr := &tracker{}
	tr.Server = httptest.NewServer(http.HandlerFunc(tr.serve))
	t.Cleanup(tr.Close)
	return tr
}

func (tr *tracker) serve(w http.ResponseWriter, r *http.Request) {
	tr.requests = append(tr.requests, r.URL.String())
	if r.Header.Get("Authorization") != "Bearer export-canary" {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	entry := func(id int, day string) string {
		return fmt.Sprintf(`{"id":"T-%d","user_id":"u-1001","date":%q,"project":"StoreZero","hours":"7.5"}`, id, day)
	}
	page := r.URL.Query().Get("page")
	switch {
	case tr.fault == "html":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html><body>please log in</body></html>")
	case tr.fault == "cut":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "4000")
		fmt.Fprint(w, `{"data":{"entries":[`)
	case tr.fault == "busy" && len(tr.requests) == 1:
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case tr.fault == "loop" && page != "":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"entries":[]},"next":%q}`, "/entries?page=2")
	case page == "":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"entries":[%s,%s]},"next":%q}`, entry(1, "2026-11-16"), entry(2, "2026-11-17"), "/entries?page=2")
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{"entries":[%s]},"next":null}`, entry(3, "2026-11-18"))
	}
}

// TestHTTPExport carries an export over HTTP to the API, and refuses what is
// no whole export.
func TestHTTPExport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault string
		exit  int
		says  string
	}{
		{"", exitOK, "sent 3 entries"},
		{"busy", exitOK, "sent 3 entries"},
		{"html", exitSource, "login"},
		{"cut", exitSource, ""},
		{"loop", exitSource, ""},
		{"unauthorized", exitRefused, ""},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			tr := newTracker(t)
			tr.fault = c.fault
			w := newWorld(t)
			token := "export-canary"
			if c.fault == "unauthorized" {
				token = "wrong"
			}
			secret := w.write("export-token", token)
			w.more = fmt.Sprintf(`  - name: tracker
    timezone: UTC
    http:
      url: %s/entries
      query: {from: "{{since}}"}
      auth: {bearer: {file: %q}}
      records: data.entries
      next: next
`, tr.URL, secret)
			w.do(exitOK, "ledger", "create")
			out, log := w.do(c.exit, "run", "--once", "--source", "tracker")
			if !strings.Contains(out, c.says) {
				t.Errorf("the report does not say %q:\n%s", c.says, out)
			}
			if strings.Contains(out+log, "export-canary") {
				t.Errorf("the token of the export is in the output:\n%s%s", out, log)
			}
			if c.exit != exitOK {
				return
			}
			if !strings.Contains(tr.requests[0], "from=2026-") {
				t.Errorf("the window is not in the request: %s", tr.requests[0])
			}
			if out, _ := w.do(exitOK, "run", "--once", "--source", "tracker"); !strings.Contains(out, "sent 0 entries") {
				t.Errorf("a second run sends again:\n%s", out)
			}
		})
	}
}
