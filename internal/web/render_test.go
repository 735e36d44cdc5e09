package web_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/internal/web"
	"github.com/exampleco/tsupload/internal/web/example"
)

// documents are all examples as they are written. With TSUPLOAD_PAGES set to a
// directory they are left there, for whoever wants to look.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, r := range example.Reports() {
		var b bytes.Buffer
		if err := web.WriteReport(&b, r.Report); err != nil {
			t.Fatal(err)
		}
		docs["report-"+r.Name] = b.String()
	}
	for _, p := range example.Pages() {
		docs["page-"+p.Name] = get(t, web.NewPage(func(context.Context) (web.Overview, error) { return p.Overview, nil })).Body.String()
	}
	if dir := os.Getenv("TSUPLOAD_PAGES"); dir != "" {
		for name, text := range docs {
			if err := os.WriteFile(filepath.Join(dir, name+".html"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return docs
}

func get(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w
}

var (
	pictures = regexp.MustCompile(`(?s)<svg xmlns.*?</svg>`)
	element  = regexp.MustCompile(`<(script|svg)[ >]`)
)

// Every picture is well-formed, has a title and a description, and each of its
// figures stands in the table of the same name too.
func TestFiguresAreInTables(t *testing.T) {
	t.Parallel()
	n := 0
	for name, doc := range documents(t) {
		for _, svg := range pictures.FindAllString(doc, -1) {
			id, titles, kinds := readPicture(t, name, svg)
			if kinds["title"] == 0 || kinds["desc"] != 1 {
				t.Errorf("%s: %s has no title or description", name, id)
			}
			if !strings.Contains(svg, `role="img" aria-labelledby="`+id+`-title `+id+`-desc"`) {
				t.Errorf("%s: %s is not labelled", name, id)
			}
			table := regexp.MustCompile(`(?s)<table data-figure="` + id + `">.*?</table>`).FindString(doc)
			if table == "" {
				t.Errorf("%s: %s has no table", name, id)
			}
			for _, title := range titles[1:] {
				for _, f := range figuresIn(title) {
					n++
					if !strings.Contains(table, ">"+f+"<") && !strings.Contains(table, ">"+f+"\u00a0") {
						t.Errorf("%s: %s: %q of %q is not in the table", name, id, f, title)
					}
				}
			}
		}
	}
	if n < 500 {
		t.Errorf("only %d figures were compared", n)
	}
}

var figure = regexp.MustCompile(`([0-9:\x{202f}]+)\x{a0}(h|rows?|entr(?:y|ies))`)

// figuresIn are the numbers with a unit in a picture's words; none of nothing.
func figuresIn(title string) (list []string) {
	for _, m := range figure.FindAllStringSubmatch(title, -1) {
		if m[1] != "0:00" && m[1] != "0" {
			list = append(list, m[1])
		}
	}
	return list
}

// readPicture parses a picture as XML; the first title is its own.
func readPicture(t *testing.T, name, svg string) (id string, titles []string, kinds map[string]int) {
	t.Helper()
	kinds = map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	in := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, svg)
		}
		switch x := token.(type) {
		case xml.StartElement:
			in = x.Name.Local
			kinds[in]++
			for _, a := range x.Attr {
				if a.Name.Local == "data-figure" {
					id = a.Value
				}
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" || a.Name.Local == "href" {
					t.Errorf("%s: a picture has the attribute %s", name, a.Name.Local)
				}
			}
		case xml.CharData:
			if in == "title" {
				titles = append(titles, string(x))
			}
		case xml.EndElement:
			in = ""
		}
	}
	for kind := range kinds {
		if !strings.Contains(" svg title desc g rect line text ", " "+kind+" ") {
			t.Errorf("%s: a picture has the element %s", name, kind)
		}
	}
	return id, titles, kinds
}

// What comes from outside is text, wherever it stands.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for name, doc := range documents(t) {
		for _, bad := range []string{"<script>alert", "onload='alert", "onload=&#39;alert(1)&#39;>", "\u202e", "\x00", "ZgotmplZ"} {
			if strings.Contains(doc, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
		scripts := 0
		for _, m := range element.FindAllStringSubmatch(doc, -1) {
			if m[1] == "script" {
				scripts++
			}
		}
		if want := strings.Count(name, "page-"); scripts != want {
			t.Errorf("%s: got %d scripts, want %d", name, scripts, want)
		}
		if strings.Contains(name, "hostile") && !strings.Contains(doc, "&lt;script&gt;alert(") {
			t.Errorf("%s does not show the name at all", name)
		}
	}
}

// A document loads nothing.
func TestSelfContained(t *testing.T) {
	t.Parallel()
	loads := regexp.MustCompile(`(?i)(src|href|action|srcset|poster|data|xlink:href)="([^"]*)"|url\(|@import`)
	for name, doc := range documents(t) {
		for _, m := range loads.FindAllStringSubmatch(doc, -1) {
			if !strings.HasPrefix(m[2], "#") && m[2] != "data:," {
				t.Errorf("%s loads %s", name, m[0])
			}
		}
		if !strings.HasPrefix(doc, "<!DOCTYPE html>\n<html lang=\"en\"") {
			t.Errorf("%s begins with %.60q", name, doc)
		}
	}
}

// The sums of the pictures are those of the hours.
func TestSums(t *testing.T) {
	t.Parallel()
	h := &timesheet.Hours{}
	var want timesheet.Seconds
	for i := range 12 { // more projects than colours
		h.Add("ada", strings.Repeat("p", i+1), timesheet.Date(2026, 11, 16+i%3), timesheet.Seconds(3600+60*i))
		want += timesheet.Seconds(3600 + 60*i)
	}
	var b bytes.Buffer
	if err := web.WriteReport(&b, web.Report{Kind: "Run", Hours: h}); err != nil {
		t.Fatal(err)
	}
	clock := strings.TrimSuffix(want.Clock(), ":00")
	if n := strings.Count(b.String(), ">"+clock+"\u00a0h</strong>"); n != 1 {
		t.Errorf("the legend does not say %s in all", clock)
	}
	if !strings.Contains(b.String(), "other projects") {
		t.Error("the projects beyond the colours are not shown together")
	}
	if !strings.Contains(b.String(), "2026-W47") {
		t.Error("the week is not named")
	}
}

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	calls := 0
	h := web.NewPage(func(context.Context) (web.Overview, error) {
		calls++
		return web.Overview{}, nil
	})
	for range 3 {
		w := get(t, h)
		policy := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("the policy %q has no %s", policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %v", w.Header())
		}
	}
	if calls != 1 {
		t.Errorf("the ledger was asked %d times for 3 looks", calls)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
	if w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD: got %d bytes, length %s", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

// What goes wrong with the ledger is for the log, not for whoever looks.
func TestPageFails(t *testing.T) {
	t.Parallel()
	h := web.NewPage(func(context.Context) (web.Overview, error) { return web.Overview{}, errors.New("planted-canary") })
	w := get(t, h)
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "planted-canary") || !strings.Contains(w.Body.String(), "cannot be told") {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

// What a long table leaves out need not be old: one week can be too long.
func TestWeeksLeftOut(t *testing.T) {
	t.Parallel()
	h := &timesheet.Hours{}
	for i := range 1002 {
		h.Add(fmt.Sprintf("u-%04d", i), "Apollo", timesheet.Day(20_000), 3600)
	}
	var page strings.Builder
	if err := web.WriteReport(&page, web.Report{Hours: h}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(page.String(), web.ReportHead) {
		t.Errorf("the report begins with %.200q", page.String())
	}
	if got := page.String(); !strings.Contains(got, "2\u00a0more lines left out") || strings.Contains(got, "of older weeks") {
		t.Errorf("got %q", regexp.MustCompile(`[^>]*left out[^<]*`).FindAllString(got, -1))
	}
}
