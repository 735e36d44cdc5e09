package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/exampleco/tsupload/internal/sandbox"
)

// The pages for logging in, for consent and for devices, as a browser shows
// them; and it may go on to a program on this machine, which the policy of the
// consent page has to allow by name.
func TestLoginPages(t *testing.T) {
	ctx := start(t)
	box, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	answers := make(chan url.Values, 1)
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" {
			answers <- r.URL.Query()
		}
		_, _ = w.Write([]byte("<!DOCTYPE html><title>t</title><link rel=icon href=data:,>Back in the program"))
	}))
	defer program.Close()
	w := &watched{}
	w.listen(ctx)
	do := func(what string, actions ...chromedp.Action) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := chromedp.Run(ctx, actions...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	authorize := box.Issuer() + "/authorize?" + url.Values{
		"client_id": {sandbox.CLIClient}, "redirect_uri": {program.URL + "/callback"}, "response_type": {"code"}, "state": {"s"},
		"scope":          {"create:timesheets read:timesheets approve:timesheets offline_access"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}.Encode()
	password := func(text string) chromedp.Tasks {
		return chromedp.Tasks{
			chromedp.SetValue(`#username`, "ada", chromedp.ByQuery), chromedp.SendKeys(`#password`, text+kb.Enter, chromedp.ByQuery),
		}
	}
	do("begin", runtime.Enable(), cdplog.Enable(), network.Enable())
	do("log in", chromedp.Navigate(authorize), shows("asks for access to your timesheets"))
	looks(ctx, t, "login", 7)
	// The focus is on the username already.
	reaches(ctx, t, "INPUT#password", "BUTTON.", "BUTTON.quiet")
	do("wrong password", password("wrong"), shows("Username or password is wrong."))
	looks(ctx, t, "failed login", 8)
	// A browser says on its console that the answer was a 401.
	if said, _ := w.take(); len(said) != 1 || !strings.Contains(said[0], "401") {
		t.Errorf("the console has %q", said)
	}
	do("password", password(box.Password("ada")), shows("asks to:"))
	looks(ctx, t, "consent", 12)
	do("consent", chromedp.Click(`input[value="read:timesheets"]`, chromedp.ByQuery), chromedp.Click(`button[value=allow]`, chromedp.ByQuery),
		shows("Back in the program"))
	select {
	case q := <-answers:
		if q.Get("code") == "" || q.Get("state") != "s" || q.Get("iss") != box.Issuer() {
			t.Errorf("the program got %v", q)
		}
	case <-ctx.Done():
		t.Fatal("the program got no answer")
	}
	do("device", chromedp.Navigate(box.Issuer()+"/device?user_code=bcdfghjk"), shows("Connect a device"))
	looks(ctx, t, "device", 5)
	do("unknown code", chromedp.Click(`button[value=continue]`, chromedp.ByQuery), shows("No device waits with this code"))
	// On a page with a policy that is too strict, the console would say so.
	if said, _ := w.take(); len(said) != 1 || !strings.Contains(said[0], "404") {
		t.Errorf("the console has %q", said)
	}
}
