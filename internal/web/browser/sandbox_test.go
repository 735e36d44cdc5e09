package browser

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// becomes waits until an expression is true, also while the page changes under
// it.
func becomes(js string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var ok bool
			err := chromedp.Evaluate(js, &ok).Do(ctx)
			if err == nil && ok {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("never %s (%v)", js, err)
			case <-tick.C:
			}
		}
	})
}

// shows waits until the page has a text.
func shows(text string) chromedp.Action {
	return becomes(`document.readyState === "complete" && document.body.innerText.includes(` + quote(text) + `)`)
}

func quote(s string) string { return "`" + s + "`" }

// logsIn goes from the page through the pages of the authorization server and
// back.
func logsIn(box *sandbox.Sandbox, username string) chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.Navigate(box.PageURL()), chromedp.Click(`a[href="/ui/login"]`, chromedp.ByQuery),
		becomes(`!!document.querySelector("input[name=password]") && document.readyState === "complete"`),
		chromedp.SetValue(`input[name=username]`, username, chromedp.ByQuery),
		chromedp.SendKeys(`input[name=password]`, box.Password(username)+kb.Enter, chromedp.ByQuery),
		becomes(`!!document.querySelector("button[value=allow]") && document.readyState === "complete"`),
		chromedp.Click(`button[value=allow]`, chromedp.ByQuery),
		shows("Your hours"),
	}
}

func logsOut() chromedp.Tasks {
	return chromedp.Tasks{chromedp.Click(`form[action="/ui/logout"] button`, chromedp.ByQuery), shows("Log in")}
}

func enters(day, project, hours string) chromedp.Tasks {
	return chromedp.Tasks{
		chromedp.SetValue(`#day`, day, chromedp.ByQuery), chromedp.SetValue(`#project`, project, chromedp.ByQuery),
		chromedp.SetValue(`#hours`, hours, chromedp.ByQuery), chromedp.Click(`form.entry button`, chromedp.ByQuery),
		shows("Entered for " + day),
	}
}

// The whole scenario in a browser: a contractor enters hours, a manager approves
// them, and the contractor sees that. Claims are asked from the API here, which
// is the longest way.
func TestSandboxPage(t *testing.T) {
	ctx := start(t)
	box, err := sandbox.Start(t.Context(), sandbox.Config{Claims: people.ByReference})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	w := &watched{}
	w.listen(ctx)
	do := func(what string, actions ...chromedp.Action) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := chromedp.Run(ctx, actions...); err != nil {
			var text string
			_ = chromedp.Run(ctx, chromedp.Evaluate(`document.body.innerText`, &text))
			t.Fatalf("%s: %v; the page says:\n%s", what, err, text)
		}
	}
	do("begin", runtime.Enable(), cdplog.Enable(), network.Enable(), emulation.SetFocusEmulationEnabled(true))
	do("welcome", chromedp.Navigate(box.PageURL()), shows("Log in"))
	looks(ctx, t, "sandbox welcome", 6)
	do("log in", logsIn(box, "cy"))
	for day, hours := range map[string]string{"2026-11-16": "7.5", "2026-11-17": "8", "2026-11-23": "3.25"} {
		do("enter", enters(day, "A project with rather a long name, so that it has to fit somewhere", hours))
	}
	do("own hours", shows("15.5"), shows("2026-W47"))
	do("a mistake", chromedp.SetValue(`#hours`, "25", chromedp.ByQuery), chromedp.SetValue(`#project`, "P", chromedp.ByQuery),
		chromedp.Click(`form.entry button`, chromedp.ByQuery), shows("hours must be more than 0 and at most 24"))
	// A browser says on its console that the answer was a 422.
	if said, _ := w.take(); len(said) != 1 || !strings.Contains(said[0], "422") {
		t.Errorf("the console has %q", said)
	}
	do("again", chromedp.Navigate(box.PageURL()), shows("Your hours"))
	looks(ctx, t, "sandbox contractor", 15)
	reaches(ctx, t, "INPUT#day", "INPUT#project", "INPUT#hours", "DIV.scroll", "BUTTON.")
	do("log out", logsOut())

	do("log in", logsIn(box, "mia"))
	do("what waits", shows("Waiting for your approval"), shows("3.25"))
	looks(ctx, t, "sandbox manager", 15)
	do("approve", chromedp.Click(`button[aria-label="Approve 7.5 hours of 007 on 2026-11-16"]`, chromedp.ByQuery), shows("Approved: 7.5 hours of 007 on 2026-11-16."))
	do("log out", logsOut())

	do("log in", logsIn(box, "cy"))
	do("approved", becomes(`[...document.querySelectorAll("tr")].some((r) => r.innerText.includes("2026-11-16") && r.innerText.includes("approved") && !r.querySelector("button"))`))
	do("delete", chromedp.Click(`button[aria-label^="Delete 8 hours"]`, chromedp.ByQuery), shows("The entry was deleted."))
	do("log out", logsOut())

	said, requests := w.take()
	if len(said) > 0 {
		t.Errorf("the console has %q", said)
	}
	for _, r := range requests {
		if !strings.HasPrefix(r, box.PageURL()) && !strings.HasPrefix(r, box.Issuer()+"/") && !strings.HasPrefix(r, "data:") {
			t.Errorf("requests %s", r)
		}
	}
	var cookie string
	do("cookies", chromedp.Navigate(box.PageURL()), chromedp.Evaluate(`document.cookie`, &cookie))
	if cookie != "" {
		t.Errorf("a script could read %q", cookie)
	}
}

// looks holds the page that is shown against audit.js, in light and in dark, on
// a telephone and on a desk.
func looks(ctx context.Context, t *testing.T, name string, texts int) {
	t.Helper()
	audit, err := os.ReadFile("audit.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			var got found
			if err := chromedp.Run(
				ctx,
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				emulation.SetDeviceMetricsOverride(width, 800, 1, false),
				chromedp.Evaluate(string(audit), &got),
			); err != nil {
				t.Fatal(err)
			}
			at := name + " " + scheme + " " + map[int64]string{360: "360 px", 1280: "1280 px"}[width]
			check(t, at, got, texts)
			shoot(ctx, t, at)
		}
	}
}

// reaches tabs through the page and fails where an element is not reached, or
// the focus on one cannot be seen.
func reaches(ctx context.Context, t *testing.T, wanted ...string) {
	t.Helper()
	reached := map[string]bool{}
	for range 60 {
		var at struct {
			Name, Outline string
			Width         float64
		}
		if err := chromedp.Run(ctx, chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`(() => {
			const e = document.activeElement, s = getComputedStyle(e);
			return {Name: e.tagName + (e.id ? "#" + e.id : "." + e.className), Outline: s.outlineStyle, Width: parseFloat(s.outlineWidth)};
		})()`, &at)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(at.Name, "BODY") && len(reached) > 0 {
			break
		}
		if strings.HasPrefix(at.Name, "BODY") {
			continue
		}
		reached[at.Name] = true
		if at.Outline == "none" || at.Width < 2 {
			t.Errorf("the focus on %s cannot be seen", at.Name)
		}
	}
	for _, want := range wanted {
		if !reached[want] {
			t.Errorf("the keyboard does not reach %s; it reaches %v", want, reached)
		}
	}
}
