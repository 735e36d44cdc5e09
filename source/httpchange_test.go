package source

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// An export is asked for changes only where the answer can be trusted: the same
// request, read in the same way, of one page, by a name that cannot stand for
// two states.
func TestHTTPUnchanged(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	stamp := func(ago time.Duration) string { return now.Add(-ago).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		header map[string]string
		change func(cfg *Config)
		asked  bool
		sent   string // the header that asks
	}{
		"etag":                   {map[string]string{"ETag": `"v1"`, "Last-Modified": stamp(time.Hour)}, nil, true, "If-None-Match"},
		"weak etag":              {map[string]string{"ETag": `W/"v1"`}, nil, true, "If-None-Match"},
		"last change":            {map[string]string{"Last-Modified": stamp(time.Hour)}, nil, true, "If-Modified-Since"},
		"changed a moment ago":   {map[string]string{"Last-Modified": stamp(10 * time.Second)}, nil, false, ""},
		"no name":                {nil, nil, false, ""},
		"several pages":          {map[string]string{"ETag": `"v1"`, "Link": "</x?p=2>; rel=next"}, func(cfg *Config) { cfg.HTTP.Next = "link" }, false, ""},
		"another request":        {map[string]string{"ETag": `"v1"`}, func(cfg *Config) { cfg.HTTP.Query = map[string]string{"user": "2"} }, false, ""},
		"another way of reading": {map[string]string{"ETag": `"v1"`}, func(cfg *Config) { cfg.Defaults.Project = "Q" }, false, ""},
		"not GET":                {map[string]string{"ETag": `"v1"`}, func(cfg *Config) { cfg.HTTP.Method = "POST" }, false, ""},
	} {
		asked := ""
		srv, _ := export(t, func(_ int, w http.ResponseWriter, r *http.Request) {
			for _, h := range []string{"If-None-Match", "If-Modified-Since"} {
				if r.Header.Get(h) != "" {
					asked += h
				}
			}
			for k, v := range c.header {
				if k != "Link" || r.URL.Query().Get("p") == "" {
					w.Header().Set(k, v)
				}
			}
			if asked != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			send(w, "text/csv", page1)
		})
		cfg := httpConfig(srv.URL + "/x")
		cfg.SpoolDir, cfg.Name, cfg.Location = t.TempDir(), "x", time.UTC
		if strings.HasPrefix(name, "several") || strings.HasPrefix(name, "not") {
			c.change(&cfg)
		}
		first := opened(t, cfg)
		if got := first.Stamp(); (got != "") != (c.sent != "" || strings.HasPrefix(name, "another")) || strings.Contains(got, srv.URL) {
			t.Errorf("%s: got stamp %q", name, got)
		}
		if c.change != nil {
			c.change(&cfg)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r, unchanged, err := s.OpenUnless(t.Context(), first.Stamp())
		if err != nil || unchanged != c.asked || (r == nil) != unchanged || asked != c.sent {
			t.Errorf("%s: got unchanged %t, %v, asked by %q", name, unchanged, err, asked)
		}
		if r != nil {
			_ = r.Close()
		}
	}
	// A server that says so unasked says nothing.
	srv, _ := export(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	if _, err := read(t, httpConfig(srv.URL)); err == nil || !strings.Contains(err.Error(), "304") {
		t.Errorf("got %v", err)
	}
}
