package source

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const canary = "s3cr3t-canary"

func secret(context.Context) ([]byte, error) { return []byte(canary + "\n"), nil }

// export is a server of one export; answer is called for each request, numbered
// from 1.
func export(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) (*httptest.Server, *int) {
	t.Helper()
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		answer(n, w, r)
	}))
	t.Cleanup(srv.Close)
	return srv, &n
}

func httpConfig(url string) Config {
	return Config{HTTP: &HTTP{URL: url, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func send(w http.ResponseWriter, media, body string) {
	w.Header().Set("Content-Type", media)
	_, _ = io.WriteString(w, body)
}

const page1 = "\ufeffuser,date,project,hours\nu-1,2026-11-16,P,8\n"

func TestHTTPCSV(t *testing.T) {
	t.Parallel()
	srv, _ := export(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		day := time.Now().UTC().AddDate(0, 0, -7).Format(time.DateOnly)
		if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Key") != canary || r.URL.Query().Get("from") != day {
			t.Errorf("got %v, %s", r.Header, r.URL)
		}
		if r.URL.Query().Get("page") == "" {
			w.Header().Add("Link", `<https://elsewhere.test/>; rel="prev", </export?page=2&from=`+day+`>; rel="next last"`)
			send(w, "text/csv", strings.TrimSuffix(page1, "\n"))
			return
		}
		send(w, "text/csv", page1+"u-2,2026-11-17,P,\"7.5\"\n")
	})
	cfg := httpConfig(srv.URL + "/export?from={{since}}")
	cfg.HTTP.Since, cfg.HTTP.Next, cfg.HTTP.Bearer = 7*24*time.Hour, "link", secret
	cfg.HTTP.Headers = map[string]Secret{"X-Key": secret}
	res := must(t, cfg)
	if len(res.entries) != 3 || res.seconds() != 23.5*3600 || res.survey.Complete || len(res.survey.Notes) != 1 || res.survey.Stamp != "" {
		t.Errorf("got %+v", res)
	}
	if got := res.entries[0].Origin; got.File != srv.URL+"/export" || got.Line != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestHTTPJSON(t *testing.T) {
	t.Parallel()
	srv, _ := export(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "api" || password != canary {
			t.Errorf("got %s, %s", user, password)
		}
		if n == 1 {
			send(w, "application/json", `{"meta":{"next":"/export?page=2","hours":99},"data":{"entries":[
				{"id":9007199254740993,"user":{"email":"a@example.test"},"start":"2026-11-16T09:00:00Z","end":"2026-11-16T10:30:00Z","project":{"name":"P"},"tags":["x",{"y":1}],"note":"a\nb"},
				{"id":2,"Hours":8,"hours":80},
				7,
				{}
			]}}`)
			return
		}
		send(w, "application/json", `{"data":{"entries":[{"start":"2026-11-16T23:30:00Z","end":"2026-11-17T00:00:00Z","user":{"email":"b@example.test"},"id":"x3","project":{"name":"P"},"note":null}]},"meta":{"next":null}}`)
	})
	cfg := httpConfig(srv.URL + "/export")
	cfg.HTTP.Username, cfg.HTTP.Password, cfg.HTTP.Records, cfg.HTTP.Next = "api", secret, "data.entries", "meta.next"
	cfg.Columns = map[string]string{"id": "id", "user": "user.email", "start": "start", "end": "end", "project": "project.name", "notes": "note"}
	cfg.Location = time.FixedZone("X", 3600)
	res := must(t, cfg)
	if len(res.entries) != 2 || len(res.rejected) != 3 {
		t.Fatalf("got %+v", res)
	}
	if e := res.entries[0]; e.ID != "9007199254740993" || e.Duration != 5400 || e.Notes != "a\nb" || e.Origin.Line != 1 || e.Day.String() != "2026-11-16" {
		t.Errorf("got %+v", e)
	}
	if e := res.entries[1]; e.ID != "x3" || e.Origin.Line != 5 || e.Day.String() != "2026-11-17" || e.Duration != 1800 {
		t.Errorf("got %+v", e)
	}
	for i, want := range []string{`"Hours" and "hours"`, "no object", "empty"} {
		if r := res.rejected[i]; !strings.Contains(r.Message, want) || r.Origin.Line != i+2 || len(r.Header) != len(r.Record) {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
	empty, _ := export(t, func(_ int, w http.ResponseWriter, _ *http.Request) { send(w, "application/json", "[]") })
	if res := must(t, httpConfig(empty.URL)); res.survey.Rows != 0 || !res.survey.Complete {
		t.Errorf("got %+v", res.survey)
	}
}

func TestHTTPRefused(t *testing.T) {
	t.Parallel()
	other, _ := export(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		t.Errorf("credentials went to another server: %v", r.Header)
		send(w, "text/csv", page1)
	})
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for name, c := range map[string]struct {
		answer  func(w http.ResponseWriter, r *http.Request)
		want    string
		refused bool
	}{
		"unauthorized":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusUnauthorized) }, "401", true},
		"forbidden":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusForbidden) }, "403", true},
		"not found":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, http.StatusNotFound) }, "404", false},
		"login page":    {func(w http.ResponseWriter, _ *http.Request) { send(w, "text/html", "<html>Log in") }, "login page", false},
		"login as csv":  {func(w http.ResponseWriter, _ *http.Request) { send(w, "text/csv", " <!doctype html>") }, "login page", false},
		"redirect away": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "redirects to another", false},
		"redirect loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/?x", http.StatusFound) }, "too many redirects", false},
		"next away": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<"+other.URL+">; rel=next")
			send(w, "text/csv", page1)
		}, "another server", false},
		"loop": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.RequestURI()+">; rel=next")
			send(w, "text/csv", page1)
		}, "leads back", false},
		"pages": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.Path+"?p="+r.URL.Query().Get("p")+"1>; rel=next")
			send(w, "text/csv", page1)
		}, "more than 5 pages", false},
		"other header": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.Path+"?p=2>; rel=next")
			send(w, "text/csv", strings.Replace(page1, "user", "user"+r.URL.Query().Get("p"), 1))
		}, "another header", false},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			send(w, "text/csv", page1)
		}, "cut off", false},
		"cut json": {func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", `[{"user":"u"},`) }, "cut off", false},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(buf, "HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\n%s", page1)
			_ = buf.Flush()
			_ = conn.Close()
		}, "neither a length nor chunks", false},
		"trailing": {func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", `[] []`) }, "follows", false},
		"no list":  {func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", `{"a":[]}`) }, "http.records", false},
		"deep":     {func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", "["+deep+"]") }, "deeper than 32", false},
		"broken":   {func(w http.ResponseWriter, _ *http.Request) { send(w, "application/json", `[{"a" 1}]`) }, "not valid JSON", false},
		"busy": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9223372036854775807")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "429", false},
		"bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "text/csv")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, page1+strings.Repeat("u-1,2026-11-16,P,8\n", 200_000))
			_ = z.Close()
		}, "larger than", false},
	} {
		srv, n := export(t, func(_ int, w http.ResponseWriter, r *http.Request) { c.answer(w, r) })
		cfg := httpConfig(srv.URL + "/export?key=" + canary)
		cfg.HTTP.Bearer, cfg.HTTP.Next, cfg.HTTP.MaxPages, cfg.HTTP.MaxBytes = secret, "link", 5, 1<<20
		_, err := read(t, cfg)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error()+e.Hint(), c.want) || e.Refused != c.refused {
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
		}
		if err != nil && strings.Contains(err.Error()+e.Hint(), canary) {
			t.Errorf("%s: a secret is in the error %v", name, err)
		}
		if *n > 6 {
			t.Errorf("%s: got %d requests", name, *n)
		}
	}
}

// A redirect does not lead from https to http, not even on the same host.
func TestHTTPDowngrade(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/export", http.StatusFound)
	}))
	t.Cleanup(srv.Close)
	cfg := httpConfig(srv.URL)
	cfg.HTTP.Bearer, cfg.HTTP.Transport = secret, srv.Client().Transport
	if _, err := read(t, cfg); err == nil || !strings.Contains(err.Error(), errElsewhere.Error()) {
		t.Errorf("got %v", err)
	}
}

func httpServing(t *testing.T, media, body string, links ...string) Config {
	t.Helper()
	srv, _ := export(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		for _, link := range links {
			w.Header().Add("Link", link)
		}
		send(w, media, body)
	})
	return httpConfig(srv.URL + "/export")
}

// The first of several pages is not taken for the whole export.
func TestHTTPNextUnset(t *testing.T) {
	t.Parallel()
	const next, other = `</export?page=2>; rel="next"`, `</>; rel="first", </export?page=9>; rel="last"`
	for media, body := range map[string]string{"text/csv": page1, "application/json": `[{"user":"u","date":"2026-11-16","project":"P","hours":8}]`} {
		var e *Error
		if _, err := read(t, httpServing(t, media, body, other, next)); !errors.As(err, &e) || e.Hint() != "set http.next: link" || e.File == "" {
			t.Errorf("%s: got %v", media, err)
		}
		if res := must(t, httpServing(t, media, body, other)); len(res.entries) != 1 {
			t.Errorf("%s: got %+v", media, res)
		}
	}
	// Whoever says where the next page is to be found has thought of it.
	cfg := httpServing(t, "application/json", `{"data":[],"next":null}`, next)
	cfg.HTTP.Records, cfg.HTTP.Next = "data", "next"
	must(t, cfg)
}

// trip is a transport without a network, so that waits cost no time.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(r *http.Request, status int, header http.Header, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

func TestHTTPRetries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status   int
		after    string
		requests int
		least    time.Duration
		most     time.Duration
		fine     bool
	}{
		"once unavailable":  {503, "", 2, 0, 11 * time.Second, true},
		"asks for 30 s":     {429, "30", 2, 30 * time.Second, 31 * time.Second, true},
		"asks for an hour":  {429, "3600", 1, 0, 0, false},
		"asks until then":   {503, "Sat, 01 Jan 2000 00:00:30 GMT", 2, 29 * time.Second, 31 * time.Second, true},
		"asks until 2099":   {429, "Thu, 01 Jan 2099 00:00:00 GMT", 1, 0, 0, false},
		"asks until 1999":   {429, "Fri, 01 Jan 1999 00:00:00 GMT", 2, 0, 11 * time.Second, true},
		"asks for ages":     {503, "99999999999999999999", 1, 0, 0, false},
		"nonsense":          {429, "-5", 2, 0, 11 * time.Second, true},
		"no number":         {503, "soon", 2, 0, 11 * time.Second, true},
		"not a server's":    {404, "", 1, 0, 0, false},
		"connection broken": {0, "", 2, 0, 11 * time.Second, true},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			n := 0
			cfg := httpConfig("https://export.test/x?key=" + canary)
			cfg.SpoolDir, cfg.Rules.Future = dir, FutureAllow
			cfg.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
				if n++; n > 1 {
					return respond(r, 200, http.Header{"Content-Type": {"text/csv"}}, page1), nil
				}
				if c.status == 0 {
					return nil, &net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}
				}
				return respond(r, c.status, http.Header{"Retry-After": {c.after}}, canary), nil
			})
			start := time.Now()
			res, err := read(t, cfg)
			if took := time.Since(start); took < c.least || took > c.most || n != c.requests || (err == nil) != c.fine {
				t.Errorf("%s: got %d requests in %s, %v", name, n, took, err)
			}
			if err == nil && len(res.entries) != 1 || err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%s: got %+v, %v", name, res, err)
			}
		})
	}
}

// drip is a body that comes in pieces, each after a while, until nobody waits
// for it any more.
type drip struct {
	ctx    context.Context
	pieces []string
	every  time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	if len(d.pieces) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(d.every):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	n := copy(p, d.pieces[0])
	d.pieces = d.pieces[1:]
	return n, nil
}

// A slow server does not keep a run for longer than it may.
func TestHTTPSlow(t *testing.T) {
	t.Parallel()
	rows := page1 + strings.Repeat("u-1,2026-11-16,P,8\n", 500)
	for name, c := range map[string]struct {
		pieces  []string // none: the answer does not begin
		every   time.Duration
		timeout time.Duration
		want    string
		most    time.Duration
	}{
		"a byte a second":           {strings.Split(rows, ""), time.Second, 10 * time.Minute, "trickles in", 35 * time.Second},
		"more than that":            {strings.SplitAfter(rows, "\n"), time.Second, 20 * time.Second, "reading the answer", 20 * time.Second},
		"no answer":                 {nil, 0, 20 * time.Second, "cannot be reached", 100 * time.Second},
		"late, and at once":         {[]string{page1}, 50 * time.Second, time.Minute, "", 50 * time.Second},
		"the header first":          {[]string{page1[:26], page1[26:]}, 50 * time.Second, 2 * time.Minute, "", 100 * time.Second},
		"as fast as is fast enough": {strings.SplitAfter(rows, "\n"), time.Second, 20 * time.Minute, "", 10 * time.Minute},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			cfg := httpConfig("https://export.test/x?key=" + canary)
			cfg.SpoolDir, cfg.HTTP.Timeout = dir, c.timeout
			cfg.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
				if c.pieces == nil {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				resp := respond(r, 200, http.Header{"Content-Type": {"text/csv"}}, strings.Join(c.pieces, ""))
				resp.Body = io.NopCloser(&drip{r.Context(), c.pieces, c.every})
				return resp, nil
			})
			began := time.Now()
			_, err := read(t, cfg)
			if took := time.Since(began); took > c.most || (err == nil) != (c.want == "") {
				t.Errorf("%s: got %v after %s, want %q within %s", name, err, took, c.want, c.most)
			}
			if err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), canary)) {
				t.Errorf("%s: got %v, want %q", name, err, c.want)
			}
		})
	}
}

// The window follows the calendar, however long ago the source was made.
func TestHTTPWindowIsOfEachRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { // from 2000-01-01 on
		var asked []string
		cfg := httpConfig("https://export.test/x?to={{until}}")
		cfg.Name, cfg.Location, cfg.SpoolDir = "x", time.UTC, dir
		cfg.HTTP.Query, cfg.HTTP.Since = map[string]string{"from": "{{since}}"}, 7*24*time.Hour
		cfg.HTTP.Transport = trip(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Query().Get("from")+".."+r.URL.Query().Get("to"))
			return respond(r, 200, http.Header{"Content-Type": {"text/csv"}}, page1), nil
		})
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r, err := s.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(36 * time.Hour)
		}
		if got := strings.Join(asked, " "); got != "1999-12-25..2000-01-01 1999-12-26..2000-01-02 1999-12-28..2000-01-04" {
			t.Errorf("got %s", got)
		}
	})
}

// An unreachable server is not asked for ever, and a canceled run not at all.
func TestHTTPUnreachable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		cfg := httpConfig("https://export.test/x?key=" + canary)
		cfg.SpoolDir = dir
		cfg.HTTP.Transport = trip(func(*http.Request) (*http.Response, error) {
			n++
			return nil, errors.New("no route")
		})
		_, err := read(t, cfg)
		if err == nil || n != retries+1 || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "no route") {
			t.Errorf("got %v after %d requests", err, n)
		}
		cfg.Name, cfg.Location = "x", time.UTC
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r, err := s.Open(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", r, err)
		}
	})
}

func TestSecretFails(t *testing.T) {
	t.Parallel()
	cfg := httpConfig("https://export.test/")
	cfg.HTTP.Bearer = func(context.Context) ([]byte, error) { return nil, errors.New("keyring is locked") }
	var e *Error
	if _, err := read(t, cfg); !errors.As(err, &e) || !e.Refused || !strings.Contains(err.Error(), "keyring is locked") {
		t.Errorf("got %v", err)
	}
}

func TestLinkNext(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`<a>; rel="next"`:                     "a",
		`<a>; rel=prev, <b,c>; rel=next`:      "b,c",
		`<a>; title="rel=next"; rel="prev"`:   "",
		`<a>;rel="first",<b>;REL="prev NEXT"`: "b",
		`a; rel=next`:                         "",
		`<a; rel=next`:                        "",
		``:                                    "",
	} {
		if got := linkNext(http.Header{"Link": {value}}); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}
