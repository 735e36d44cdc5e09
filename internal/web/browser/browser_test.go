package browser

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/exampleco/tsupload/internal/web"
	"github.com/exampleco/tsupload/internal/web/example"
)

// start runs one Chromium for all tests of t. Where there is none they are
// skipped, unless TSUPLOAD_REQUIRE_CHROMIUM=1.
func start(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("TSUPLOAD_REQUIRE_CHROMIUM") == "1" {
			t.Fatal("there is no chromium on the PATH, and TSUPLOAD_REQUIRE_CHROMIUM=1 asks for one")
		}
		t.Skip("there is no chromium on the PATH")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("hide-scrollbars", false))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // it refuses to run as root with one
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// watched is what a tab did beside showing its page.
type watched struct {
	mu       sync.Mutex
	said     []string // on the console, as errors or warnings
	requests []string
}

func (w *watched) listen(ctx context.Context) {
	chromedp.ListenTarget(ctx, func(ev any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			w.said = append(w.said, string(e.Type))
		case *runtime.EventExceptionThrown:
			w.said = append(w.said, e.ExceptionDetails.Error())
		case *cdplog.EventEntryAdded:
			w.said = append(w.said, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			w.requests = append(w.requests, e.Request.URL)
		}
	})
}

func (w *watched) take() (said, requests []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	said, requests = w.said, w.requests
	w.said, w.requests = nil, nil
	return said, requests
}

// found is what audit.js says about a page.
type found struct {
	Overflow []string `json:"overflow"`
	Contrast []string `json:"contrast"`
	Texts    int      `json:"texts"`
	Lowest   float64  `json:"lowest"`
	Figures  []string `json:"figures"`
	Pictures int      `json:"pictures"`
	Faults   []string `json:"faults"`
}

// documents are pages, by their address on a server, and reports, by that of
// their file.
func documents(t *testing.T) map[string]string {
	t.Helper()
	mux := http.NewServeMux()
	pages := map[string]http.Handler{}
	urls := map[string]string{}
	for _, p := range example.Pages() {
		pages[p.Name] = web.NewPage(func(context.Context) (web.Overview, error) { return p.Overview, nil })
	}
	// The page asks for /, so each has a host name of its own.
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ".")
		if r.URL.Path != "/" || pages[name] == nil {
			t.Errorf("a page asked for %s of %s", r.URL, r.Host)
			http.NotFound(w, r)
			return
		}
		pages[name].ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for name := range pages {
		urls["page "+name] = "http://" + name + ".localhost:" + port + "/"
	}
	dir := t.TempDir()
	for _, r := range example.Reports() {
		var b bytes.Buffer
		if err := web.WriteReport(&b, r.Report); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, r.Name+".html")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		urls["report "+r.Name] = "file://" + filepath.ToSlash(file)
	}
	return urls
}

// Every page and report, in light and in dark, on a telephone and on a desk:
// nothing sticks out, all text can be read, no error, no request to elsewhere,
// and every figure of a picture is in its table.
func TestLooks(t *testing.T) {
	ctx := start(t)
	audit, err := os.ReadFile("audit.js")
	if err != nil {
		t.Fatal(err)
	}
	urls := documents(t)
	w := &watched{}
	w.listen(ctx)
	if err := chromedp.Run(ctx, runtime.Enable(), cdplog.Enable(), network.Enable()); err != nil {
		t.Fatal(err)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{360, 1280} {
					var got found
					var dark bool
					if err := chromedp.Run(
						ctx,
						emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
						emulation.SetDeviceMetricsOverride(width, 800, 1, false),
						chromedp.Navigate(url),
						chromedp.Evaluate(`matchMedia("(prefers-color-scheme: dark)").matches`, &dark),
						chromedp.Evaluate(string(audit), &got),
					); err != nil {
						t.Fatal(err)
					}
					at := scheme + " " + map[int64]string{360: "360 px", 1280: "1280 px"}[width]
					if dark != (scheme == "dark") {
						t.Fatalf("%s: the scheme is not in force", at)
					}
					check(t, at, got, 15)
					said, requests := w.take()
					if len(said) > 0 {
						t.Errorf("%s: the console has %q", at, said)
					}
					for _, r := range requests {
						if r != url && r != "data:," {
							t.Errorf("%s: requests %s", at, r)
						}
					}
					shoot(ctx, t, name+" "+at)
				}
			}
		})
	}
}

func check(t *testing.T, at string, got found, texts int) {
	t.Helper()
	for what, list := range map[string][]string{"sticks out": got.Overflow, "too little contrast": got.Contrast, "not in a table": got.Figures, "not accessible": got.Faults} {
		if len(list) > 5 {
			list = append(list[:5:5], "...")
		}
		for _, text := range list {
			t.Errorf("%s: %s: %s", at, what, text)
		}
	}
	if got.Texts < texts {
		t.Errorf("%s: only %d texts were looked at", at, got.Texts)
	}
}

// shoot leaves a picture in TSUPLOAD_SCREENSHOTS, for whoever wants to look.
func shoot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("TSUPLOAD_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	if err := chromedp.Run(ctx, chromedp.FullScreenshot(&png, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Whoever has no mouse comes to everything that opens or scrolls, and sees
// where they are.
func TestKeyboard(t *testing.T) {
	ctx := start(t)
	urls := documents(t)
	if err := chromedp.Run(ctx, emulation.SetFocusEmulationEnabled(true), chromedp.Navigate(urls["report big"])); err != nil {
		t.Fatal(err)
	}
	reaches(ctx, t, "A.skip", "DIV#waiting-table", "DIV#by-project-plot", "SUMMARY.", "DIV#weeks-table")
}

// The page shows what is new by itself, and keeps what a reader has opened.
func TestRefresh(t *testing.T) {
	ctx := start(t)
	o := example.Pages()[0].Overview
	var mu sync.Mutex
	broken := false
	set := func(line string, fails bool) {
		mu.Lock()
		defer mu.Unlock()
		o.Verdict.Line, broken = line, fails
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now, fails := o, broken
		mu.Unlock()
		if fails {
			http.Error(w, "gone", http.StatusBadGateway)
			return
		}
		// A new one each time: what was collected before is not asked for.
		web.NewPage(func(context.Context) (web.Overview, error) { return now, nil }).ServeHTTP(w, r)
	}))
	defer server.Close()
	set("First", false)
	w := &watched{}
	w.listen(ctx)
	// The page looks again when its tab comes to the front; a test need not wait
	// for its clock.
	front := chromedp.Evaluate(`document.dispatchEvent(new Event("visibilitychange"))`, nil)
	if err := chromedp.Run(
		ctx, runtime.Enable(), cdplog.Enable(), network.Enable(), chromedp.Navigate(server.URL+"/"),
		becomes(`document.querySelector(".verdict strong").textContent === "First"`),
		chromedp.Evaluate(`document.querySelector("#runs-figure-details").open = true; document.querySelector("#runs-figure-table").focus()`, nil),
	); err != nil {
		t.Fatal(err)
	}
	set("Second", false)
	var open bool
	var focused string
	if err := chromedp.Run(
		ctx, front, becomes(`document.querySelector(".verdict strong").textContent === "Second"`),
		chromedp.Evaluate(`document.querySelector("#runs-figure-details").open`, &open),
		chromedp.Evaluate(`document.activeElement.id`, &focused),
	); err != nil {
		t.Fatal(err)
	}
	if !open || focused != "runs-figure-table" {
		t.Errorf("after a refresh: open %v, focus on %q", open, focused)
	}
	said, requests := w.take()
	if len(said) > 0 {
		t.Errorf("the console has %q", said)
	}
	for _, r := range requests {
		if r != server.URL+"/" && r != "data:," {
			t.Errorf("requests %s", r)
		}
	}
	set("Third", true)
	if err := chromedp.Run(
		ctx, front, becomes(`document.querySelector("#refresh").textContent.startsWith("Cannot be refreshed")`),
	); err != nil {
		t.Fatal(err)
	}
	set("Fourth", false)
	if err := chromedp.Run(
		ctx, front, becomes(`document.querySelector(".verdict strong").textContent === "Fourth" && document.querySelector("#refresh").textContent === ""`),
	); err != nil {
		t.Fatal(err)
	}
}
