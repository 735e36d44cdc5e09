package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The status page and the report of a run are made from one set of templates.
// Both load nothing: styles, script and pictures are in the document. All text
// that comes from outside goes through html/template, that in pictures too.
// Notes of entries are no part of either.

//go:embed templates
var templateFiles embed.FS

//go:embed assets/style.css
var style string

//go:embed assets/refresh.js
var script string

const (
	// refreshEvery is how often the page asks for itself.
	refreshEvery = 30 * time.Second
	// collectEvery is how often at most the ledger is asked, whoever looks.
	collectEvery = 5 * time.Second
	// collectLimit is how long that may take.
	collectLimit = 20 * time.Second
)

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"hours": hours, "cell": cell, "clock": clock, "count": count, "number": number, "moment": moment, "short": short, "machine": machine,
	"lasted": lasted, "said": said, "shown": shown, "glyph": func(t Tone) string { return glyphs[t] },
}).ParseFS(templateFiles, "templates/*.html"))

// document is what the outermost template is given.
type document struct {
	Title    string
	Head     string // the heading
	Under    string // the line below it
	When     time.Time
	Verdict  Verdict
	Version  string
	Style    template.CSS
	Script   template.JS
	Refresh  int // seconds; 0 for a report
	Policy   string
	Overview *overviewView
	Report   *reportView
}

type overviewView struct {
	Overview
	States   *chart
	Timeline *timeline
	Figures  figures
	Weeks    []weekRow
	WeeksCut int
}

type reportView struct {
	Report
	Outcomes *chart
	Figures  figures
	Weeks    []weekRow
	WeeksCut int
	Took     string
}

// recentDays is how many days the bars of the page have.
const recentDays = 28

func overviewDocument(o Overview) document {
	v := &overviewView{Overview: o, Timeline: timelineOf(o.Runs), Figures: figuresOf(o.Hours, o.Since, o.Today, recentDays)}
	var lists []named
	for i := range o.Sources {
		lists = append(lists, named{o.Sources[i].Name, o.Sources[i].States})
	}
	v.States = standings("states", "Entries by state", "entry", lists)
	return document{
		Title: "tsupload: " + o.Verdict.Line, Head: "tsupload", Under: o.API, When: o.Now, Verdict: o.Verdict, Version: o.Version,
		Style: template.CSS(style), Script: template.JS(script), Refresh: int(refreshEvery.Seconds()), Overview: v, //nolint:gosec // both are ours
	}
}

func reportDocument(r Report) document {
	v := &reportView{Report: r, Figures: figuresOf(r.Hours, 0, 0, 0), Took: lasted(r.Started, r.Ended)}
	v.Weeks, v.WeeksCut = weeksOf(r.Hours)
	var lists []named
	for i := range r.Sources {
		lists = append(lists, named{r.Sources[i].Name, r.Sources[i].Outcomes})
	}
	v.Outcomes = standings("outcomes", "What became of the rows", "row", lists)
	return document{
		Title: r.Kind + ": " + r.Verdict.Line, Head: r.Kind, Under: r.RunID, When: r.Started, Verdict: r.Verdict, Version: r.Version,
		Style: template.CSS(style), Policy: "default-src 'none'; style-src " + hashOf(style) + "; img-src data:; base-uri 'none'; form-action 'none'", Report: v, //nolint:gosec // it is ours
	}
}

func render(w io.Writer, d document) error { return templates.ExecuteTemplate(w, "document", d) }

// hashOf is how a policy names the one style or script that it lets in.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ReportHead is how every report begins, and no other page.
const ReportHead = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="tsupload">
`

// WriteReport writes a report as one HTML file that needs no other.
func WriteReport(w io.Writer, r Report) error {
	return render(w, reportDocument(r))
}

// page is the handler of /.
type page struct {
	collect func(context.Context) (Overview, error)
	policy  string

	mu   sync.Mutex
	body []byte
	at   time.Time
}

// NewPage returns the status page. collect is called for it by one request at
// a time, and not more often than every few seconds. Where it fails, the answer
// is a page with status 503 that says so without a reason: that one is for the
// log, which is collect's.
func NewPage(collect func(context.Context) (Overview, error)) http.Handler {
	return &page{collect: collect, policy: "default-src 'none'; style-src " + hashOf(style) + "; script-src " + hashOf(script) +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
}

// ServeHTTP answers with the page.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, status := p.current(r.Context())
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func (p *page) current(ctx context.Context) ([]byte, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.body != nil && time.Since(p.at) < collectEvery {
		return p.body, http.StatusOK
	}
	// Others wait for it too: it does not end with the request that began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectLimit)
	defer cancel()
	o, err := p.collect(ctx)
	status := http.StatusOK
	if err != nil {
		status = http.StatusServiceUnavailable
		o = Overview{Now: time.Now(), Verdict: Verdict{Bad, "How things stand cannot be told", "The log of the daemon says why; try `tsupload status` on its machine."}}
	}
	var b bytes.Buffer
	if err := render(&b, overviewDocument(o)); err != nil {
		return []byte("the page cannot be shown"), http.StatusInternalServerError
	}
	if status == http.StatusOK {
		p.body, p.at = b.Bytes(), time.Now()
	}
	return b.Bytes(), status
}
