package source

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

func (s *Source) checkHTTP(h *HTTP) error {
	fill(&h.Since, 35*24*time.Hour)
	fill(&h.Times, "date")
	fill(&h.Timeout, time.Minute)
	fill(&h.MaxTime, 15*time.Minute)
	fill(&h.MaxBytes, s.cfg.Limits.File)
	fill(&h.MaxPages, 1000)
	fill(&h.Method, http.MethodGet)
	h.Method = strings.ToUpper(h.Method)
	if h.Transport == nil {
		h.Transport = http.DefaultTransport
	}
	s.cfg.HTTP = h
	u, err := url.Parse(s.window(time.Now()).expand(h.URL))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return s.fault("http.url is not an absolute URL", "it begins with https://")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return s.fault("http.url: plain http is for this machine only", "use https")
	case u.User != nil:
		return s.fault("http.url contains a user name or password", "put them under http.auth, as references")
	case h.Format != "" && h.Format != "csv" && h.Format != "json":
		return s.fault("http.format: "+quote(h.Format)+" is not csv or json", "")
	case h.Times != "date" && h.Times != "rfc3339" && h.Times != "local":
		return s.fault("http.times: "+quote(h.Times)+" is not date, rfc3339 or local", "")
	case h.Format == "csv" && h.Next != "" && h.Next != "link":
		return s.fault("http.next: a CSV export has no body to find the next page in", "use next: link")
	}
	return s.checkPaging(h)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetch is one fetching of an export.
type fetch struct {
	s      *Source
	h      *HTTP
	first  *url.URL
	name   string // the URL without query
	window window
	client *retryablehttp.Client
	spool  *unit
	left   int64 // bytes that may still come
	header []byte
	json   *jsonSpool
	totals totals

	condition *validators // what the export was, to ask whether it still is
	found     validators  // what the first page says that it is
	unchanged bool
}

func (r *Reading) openHTTP(ctx context.Context, stamp string) error {
	s, h := r.s, r.s.cfg.HTTP
	ctx, cancel := context.WithTimeoutCause(ctx, h.MaxTime, errMaxTime)
	defer cancel()
	win := s.window(time.Now())
	u, err := url.Parse(win.expand(h.URL))
	if err != nil {
		return s.fault("http.url is not an absolute URL", "")
	}
	if len(h.Query) > 0 {
		q := u.Query()
		for k, v := range h.Query {
			q.Set(k, win.expand(v))
		}
		u.RawQuery = q.Encode()
	}
	f := &fetch{s: s, h: h, first: u, name: shown(u), window: win, left: h.MaxBytes}
	f.client = f.newClient()
	defer f.client.HTTPClient.CloseIdleConnections()
	if f.spool, err = newSpool(s.cfg.SpoolDir, f.name); err != nil {
		return s.place(f.name, err)
	}
	r.units = append(r.units, f.spool)
	r.window = win.whole(h)
	way, err := s.way()
	if err != nil {
		return err
	}
	f.condition = f.conditionOf(stamp, way)
	if err := f.pages(ctx); err != nil {
		if errors.Is(context.Cause(ctx), errMaxTime) {
			err = &Error{Message: fmt.Sprintf("the export took longer than %s", h.MaxTime), HintText: "ask for a shorter time with http.since"}
		}
		return s.place(f.name, err)
	}
	if r.same = f.unchanged; r.same {
		return nil
	}
	if f.json != nil {
		if err := r.finishJSON(f); err != nil {
			return s.place(f.name, err)
		}
	}
	if why := f.totals.doubt(h); why != "" {
		r.partial = true
		r.note("%s: what is absent from it is not taken for deleted", why)
	} else if f.totals.asked == 1 {
		r.stamp = f.stampOf(way)
	}
	return s.place(f.name, r.units[0].seal())
}

var errMaxTime = errors.New("the export takes too long")

// finishJSON replaces the spool of JSON records by one in CSV.
func (r *Reading) finishJSON(f *fetch) error {
	u, err := newSpool(r.s.cfg.SpoolDir, f.name)
	if err != nil {
		return err
	}
	u.json = true
	r.units = []*unit{u, f.spool}
	if err := f.json.csv(f.spool.f, u.f, r.s.layout.example()); err != nil {
		return err
	}
	r.units = r.units[:1]
	return f.spool.close()
}

// shown is a URL as it may be shown: queries and user names can be secrets.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// page fetches one page into the spool and says what it was.
func (f *fetch) page(ctx context.Context, at *spot) (*page, error) {
	resp, err := f.get(ctx, at)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	p := &page{header: resp.Header, url: resp.Request.URL, records: sha256.New()}
	if f.ended(at, resp) {
		p.end = true
		return p, nil
	}
	if resp.StatusCode == http.StatusNotModified {
		p.end, f.unchanged = true, true
		return p, nil
	}
	if at.count == 0 {
		f.found = validatorsOf(resp.Header)
	}
	// A body that only the end of the connection ends may have been cut anywhere.
	if resp.ContentLength < 0 && !resp.Uncompressed && len(resp.TransferEncoding) == 0 && resp.ProtoMajor < 2 {
		return nil, &Error{Message: "the answer has neither a length nor chunks, so a cut one could not be told", HintText: "the server or a proxy speaks HTTP/1.0; mend it or fetch by other means"}
	}
	body := &limited{r: resp.Body, left: &f.left, max: f.h.MaxBytes}
	head := make([]byte, 512)
	n, err := io.ReadFull(body, head)
	if err != nil && (!short(err) || body.failed()) {
		return nil, cut(cmp.Or(body.err, err))
	}
	head = head[:n]
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "text/html" || bytes.HasPrefix(text, []byte("<")) {
		return nil, &Error{Message: "the answer is HTML or XML; this looks like a login page or an error page", HintText: "check http.url and the credentials of the source"}
	}
	// The first page alone would be taken for the whole export.
	if f.h.onePage() && linkNext(resp.Header) != "" {
		return nil, &Error{Message: "the answer is one page of several: its Link header names a next one", HintText: "set http.next: link"}
	}
	format := f.h.Format
	if format == "" {
		if format = "csv"; strings.HasSuffix(media, "json") || bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("[")) {
			format = "json"
		}
	}
	all := io.MultiReader(bytes.NewReader(head), body)
	if f.header != nil && format == "json" || f.json != nil && format != "json" {
		return nil, &Error{Message: "one page is CSV and another JSON"}
	}
	if format == "json" {
		if f.json == nil {
			f.json = newJSONSpool(f.spool.f, f.h.Records, f.h.Next)
			f.json.places, f.json.skip = f.h.places(), f.h.skip
			for _, path := range f.h.columns {
				f.json.column(path)
			}
		}
		before := f.json.rows
		f.json.sum = p.records
		if p.link, err = f.json.page(all); err != nil {
			if body.failed() {
				err = cut(body.err)
			}
			return nil, err
		}
		if f.h.limit > 0 && f.json.rows-before >= f.h.limit {
			return nil, &Error{
				Message:  fmt.Sprintf("the answer has %d entries, which is all that this API gives at once: there may be more", f.json.rows-before),
				HintText: "ask for a shorter time with http.since",
			}
		}
		p.rows, p.counted, p.values = f.json.rows-before, true, f.json.values
		return p, nil
	}
	if p.rows, err = f.csvPage(all, p.records); err != nil {
		return nil, cut(err)
	}
	// A short read can hide that the end came too early.
	if body.failed() {
		return nil, cut(body.err)
	}
	return p, nil
}
