package page_test

import (
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg sandbox.Config) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// visitor is a browser at the page. It shows one page at a time.
type visitor struct {
	t      *testing.T
	box    *sandbox.Sandbox
	client *http.Client
	status int
	header http.Header
	body   string
}

func visit(t *testing.T, box *sandbox.Sandbox) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, box: box, client: &http.Client{
		Jar: jar, Transport: &http.Transport{}, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// send sends one request, to the page where the address is a path.
func (v *visitor) send(method, address string, form url.Values, header ...string) *visitor {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.box.APIURL() + address
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.status, v.header, v.body = resp.StatusCode, resp.Header, string(b)
	return v
}

func (v *visitor) get(path string) *visitor { v.t.Helper(); return v.send(http.MethodGet, path, nil) }

var proof = regexp.MustCompile(`name="proof" value="([^"]+)"`)

// post sends a form of the page that is shown, with its proof, and follows the
// way back.
func (v *visitor) post(path string, fields ...string) *visitor {
	v.t.Helper()
	m := proof.FindStringSubmatch(v.body)
	if m == nil {
		v.t.Fatalf("no form in %s", v.body)
	}
	form := url.Values{"proof": {m[1]}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	v.send(http.MethodPost, path, form)
	if v.status == http.StatusSeeOther {
		v.get(v.header.Get("Location"))
	}
	return v
}

// answer begins a login and returns where the authorization server sends the
// browser to.
func (v *visitor) answer(p sandboxtest.Person) string {
	v.t.Helper()
	v.get("/ui/login")
	if v.status != http.StatusSeeOther {
		v.t.Fatalf("login: got %d %s", v.status, v.body)
	}
	back, err := p.LogIn(v.t.Context(), v.header.Get("Location"))
	if err != nil {
		v.t.Fatal(err)
	}
	return back
}

func (v *visitor) logIn(username string, scopes ...string) *visitor {
	v.t.Helper()
	back := v.answer(sandboxtest.Person{Username: username, Password: v.box.Password(username), Scopes: scopes})
	if v.get(back); v.status != http.StatusSeeOther || v.header.Get("Location") != "/ui/" {
		v.t.Fatalf("callback: got %d %s", v.status, v.body)
	}
	return v.get("/ui/")
}

var tags = regexp.MustCompile(`(?s)<head>.*?</head>|<[^>]*>`)

// text is what the page says.
func (v *visitor) text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(v.body, " "))), " ")
}

// says fails unless the page has this status and all these texts; those with a
// "!" before them it must not have.
func (v *visitor) says(status int, texts ...string) {
	v.t.Helper()
	shown := v.text()
	ok := v.status == status
	for _, text := range texts {
		unwanted, no := strings.CutPrefix(text, "!")
		if strings.Contains(shown, unwanted) == no {
			ok = false
			v.t.Errorf("the page must say %q", text)
		}
	}
	if !ok {
		v.t.Fatalf("got %d: %s, want %d", v.status, shown, status)
	}
}

// The whole scenario, as two people see it, in every design of claims.
func TestJourney(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByLookup, people.ByReference} {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			box := start(t, sandbox.Config{Claims: design})
			ada := visit(t, box).get("/ui/")
			ada.says(200, "Log in", "!Log out")
			ada.logIn("ada").says(200, "001, employee in EMEA", "There are no entries of yours yet.", "!approval")
			ada.post("/ui/entries", "day", "2026-01-05", "project", "<b>P&Q</b>", "hours", "7,5").says(200, "Entered for 2026-01-05: 7.5 hours on <b>P&Q</b>.", "2026-W02 2026-01-05 1 7.5", "2026-01-05 <b>P&Q</b> 7.5 waiting Delete")
			ada.get("/ui/").says(200, "!Entered")
			ada.post("/ui/entries", "day", "2026-01-06", "project", "P", "hours", "1").says(200, "2026-W02 2026-01-05 2 8.5")
			ada.post("/ui/entries/2/delete").says(200, "The entry was deleted.", "2026-W02 2026-01-05 1 7.5")
			ada.post("/ui/approvals/1").says(403, "Refused: the access token lacks the scope approve:timesheets", "waiting")

			max := visit(t, box).logIn("max")
			max.says(200, "011, manager in AMER, APAC", "Nothing waits for you.", "!P&Q")
			max.post("/ui/approvals/1").says(404, "Refused: there is no such entry")
			mia := visit(t, box).logIn("mia")
			mia.says(200, "010, manager in EMEA", "Waiting for your approval", "2026-01-05 001 <b>P&Q</b> 7.5 Approve", "There are no entries of yours yet.")
			mia.post("/ui/approvals/1").says(200, "Approved: 7.5 hours of 001 on 2026-01-05.", "Nothing waits for you.")

			ada.get("/ui/").says(200, "7.5 approved", "!Delete")
			ada.post("/ui/entries/1/delete").says(409, "Refused: the entry is approved", "7.5 approved")

			old := ada.client.Jar.Cookies(must(url.Parse(box.PageURL())))
			ada.post("/ui/logout").says(200, "Log in", "!001")
			ada.client.Jar.SetCookies(must(url.Parse(box.PageURL())), old)
			ada.get("/ui/").says(200, "Log in", "!001")
		})
	}
}

func must(u *url.URL, err error) *url.URL {
	if err != nil {
		panic(err)
	}
	return u
}

// What is wrong with an entry is said beside the form, which keeps what was
// typed.
func TestEntryRefused(t *testing.T) {
	t.Parallel()
	v := visit(t, start(t, sandbox.Config{})).logIn("cy")
	for _, tt := range []struct{ day, project, hours, says string }{
		{"2026-01-05", "Keep me", "many", "The hours are not a number such as 7.5."},
		{"2026-01-05", "Keep me", "25", "Refused: hours must be more than 0 and at most 24"},
		{"2026-01-05", "Keep me", "0", "Refused: hours must be more than 0 and at most 24"},
		{"2026-01-05", "Keep me", "NaN", "The hours are not a number such as 7.5."},
		{"2026-01-05", "Keep me", "0x1p3", "The hours are not a number such as 7.5."},
		{"2026-02-30", "Keep me", "1", "The day is not a date such as 2026-01-31."},
		{"", "Keep me", "1", "The day is not a date such as 2026-01-31."},
		{"2026-01-05", " ", "1", "Refused: project is required"},
	} {
		v.post("/ui/entries", "day", tt.day, "project", tt.project, "hours", tt.hours)
		v.says(422, tt.says, "There are no entries of yours yet.")
		if p := strings.TrimSpace(tt.project); !strings.Contains(v.body, `value="`+p+`"`) || !strings.Contains(v.body, `value="`+tt.hours+`"`) {
			t.Errorf("%s: the form lost what was typed: %s", tt.says, v.body)
		}
	}
}

// Nothing is done for who is not logged in, for another session's form, or for
// another site.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	box := start(t, sandbox.Config{})
	ada, cy := visit(t, box).logIn("ada"), visit(t, box).logIn("cy")
	ada.post("/ui/entries", "day", "2026-01-05", "project", "P", "hours", "1").says(200, "Entered for")
	proofOf := func(v *visitor) string { return proof.FindStringSubmatch(v.body)[1] }
	good := url.Values{"proof": {proofOf(ada)}}
	for _, path := range []string{"/ui/entries", "/ui/entries/1/delete", "/ui/approvals/1", "/ui/logout"} {
		ada.send(http.MethodPost, path, url.Values{}).says(403, "another session")
		ada.send(http.MethodPost, path, url.Values{"proof": {proofOf(cy)}}).says(403, "another session")
		ada.send(http.MethodPost, path, good, "Origin", "https://evil.example").says(403, "did not come from this page")
		ada.send(http.MethodPost, path, good, "Sec-Fetch-Site", "cross-site").says(403, "did not come from this page")
		visit(t, box).send(http.MethodPost, path, good).says(403, "not logged in")
		if ada.get(path); ada.status != http.StatusNotFound && ada.status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: got %d", path, ada.status)
		}
		ada.get("/ui/").says(200, "2026-01-05 P 1 waiting")
		cy.get("/ui/")
	}
	cy.says(200, "There are no entries of yours yet.")
}

// An answer to a login counts in the browser that began it, once, and only if it
// is whole.
func TestCallback(t *testing.T) {
	t.Parallel()
	box := start(t, sandbox.Config{})
	ada := sandboxtest.Person{Username: "ada", Password: box.Password("ada")}
	const no = "belongs to no login"
	visit(t, box).get("/ui/callback?code=x&state=y").says(400, no)
	visit(t, box).get("/ui/callback").says(400, no)

	v := visit(t, box)
	back := v.answer(ada)
	visit(t, box).get(back).says(400, no) // another browser
	v.get(strings.Replace(back, "state=", "state=x", 1)).says(400, no)
	page := must(url.Parse(box.PageURL()))
	before := v.client.Jar.Cookies(page)
	if v.get(back); v.status != http.StatusSeeOther {
		t.Fatalf("got %d %s", v.status, v.text())
	}
	planted := visit(t, box)
	planted.client.Jar.SetCookies(page, before)
	planted.get(back).says(400, no) // the attempt is over, and its cookie with it
	planted.get("/ui/").says(200, "Log in", "!001")
	v.get(back).says(400, no) // again
	v.get("/ui/").says(200, "001, employee")

	with := func(edit func(url.Values)) string {
		u := must(url.Parse(v.answer(ada)))
		q := u.Query()
		edit(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	v.get(with(func(q url.Values) { q.Set("iss", "https://evil.example") })).says(400, "another authorization server")
	v.get(with(func(q url.Values) { q.Del("iss") })).says(400, "another authorization server")
	v.get(with(func(q url.Values) { q.Del("code") })).says(502, "did not log you in")
	v.get(with(func(q url.Values) { q.Set("code", "made up") })).says(502, "gave no token")
	v.get("/ui/").says(200, "Log in", "!001")

	ada.Deny = true
	v.get(v.answer(ada)).says(403, "You are not logged in: access was denied.")
	v.get("/ui/").says(200, "Log in", "!001")
}

// The page does what the person let it do, and says what it may not.
func TestFewerScopes(t *testing.T) {
	t.Parallel()
	box := start(t, sandbox.Config{})
	v := visit(t, box).logIn("mia", "create:timesheets")
	v.says(200, "You did not let this page read your entries.", "Enter hours", "!approval", "!Hours per week")
	v.post("/ui/entries", "day", "2026-01-05", "project", "P", "hours", "1").says(200, "Entered for 2026-01-05: 1 hour on P.")
	v = visit(t, box).logIn("mia", "read:timesheets")
	v.says(200, "2026-01-05 P 1 waiting", "!Enter hours", "!Delete", "!approval")
	v.post("/ui/entries/1/delete").says(403, "Refused: the access token lacks the scope delete:timesheets")
}

// What the servers do not do is said, and a token that ended is a login that
// ended.
func TestServersFail(t *testing.T) {
	t.Parallel()
	box := start(t, sandbox.Config{})
	v := visit(t, box).logIn("ada")
	order := func(texts ...string) {
		var list []sandbox.Fault
		for _, text := range texts {
			f, err := sandbox.ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, f)
		}
		box.SetFaults(list, 0)
	}
	order("read-status=500")
	v.get("/ui/").says(500, "ordered by a fault of the sandbox")
	order("read-html")
	v.get("/ui/").says(502, "The Timesheets API does not answer.")
	order("read-reset")
	v.get("/ui/").says(502, "The Timesheets API does not answer.")
	order()
	v.get("/ui/").says(200, "001, employee")
	order("token-status=500")
	other := visit(t, box)
	other.get(other.answer(sandboxtest.Person{Username: "ada", Password: box.Password("ada")})).says(502, "gave no token")
	order("revoke")
	v.post("/ui/entries", "day", "2026-01-05", "project", "P", "hours", "1").says(403, "Your login has ended. Log in again.")
	order()
	v.get("/ui/").says(200, "Log in", "!001")
}

// lockedBuffer takes the logs of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Nothing secret, and nothing of what people enter, is logged at any level, also
// where things fail.
func TestNothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByReference} {
		var logs lockedBuffer
		box := start(t, sandbox.Config{Claims: design, Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		v := visit(t, box)
		secrets := []string{box.Password("ada"), box.ClientSecret(), "planted-project", "eyJ"}
		for _, faulty := range []string{"", "token-status=500", "read-reset", "introspect-status=500", "revoke"} {
			if faulty != "" {
				f, err := sandbox.ParseFault(faulty)
				if err != nil {
					t.Fatal(err)
				}
				box.SetFaults([]sandbox.Fault{f}, 0)
			}
			back := must(url.Parse(v.answer(sandboxtest.Person{Username: "ada", Password: box.Password("ada")}))).Query()
			secrets = append(secrets, back.Get("code"), back.Get("state"))
			v.get("/ui/callback?" + back.Encode())
			v.get("/ui/callback?" + back.Encode())
			for _, c := range v.client.Jar.Cookies(must(url.Parse(box.PageURL()))) {
				secrets = append(secrets, c.Value)
			}
			if v.get("/ui/"); proof.MatchString(v.body) {
				secrets = append(secrets, proof.FindStringSubmatch(v.body)[1])
				v.post("/ui/entries", "day", "2026-01-05", "project", "planted-project", "hours", "1")
			}
			box.SetFaults(nil, 0)
		}
		text := logs.String()
		if !strings.Contains(text, "page got no token") || !strings.Contains(text, "page cannot reach a server") {
			t.Errorf("%s: what went wrong is not logged:\n%s", design, text)
		}
		for _, secret := range secrets {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("%s: the log has %q", design, secret)
			}
		}
		if len(secrets) < 14 {
			t.Errorf("%s: only %d secrets were planted", design, len(secrets))
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	box := start(t, sandbox.Config{})
	v := visit(t, box).get("/ui/login")
	cookie := v.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/ui/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q has no %s", cookie, want)
		}
	}
	to := must(url.Parse(v.header.Get("Location"))).Query()
	if to.Get("code_challenge_method") != "S256" || len(to.Get("code_challenge")) != 43 || to.Get("state") == "" || to.Get("redirect_uri") != box.PageURL()+"callback" {
		t.Errorf("authorization request: got %v", to)
	}
	v.logIn("ada")
	tokens := regexp.MustCompile(`eyJ[\w-]+\.|access_token`)
	for _, path := range []string{"/ui/", "/ui/style.css", "/ui/callback", "/ui/elsewhere"} {
		v.get(path)
		csp := v.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") || !strings.Contains(csp, "frame-ancestors 'none'") ||
			v.header.Get("X-Content-Type-Options") != "nosniff" || v.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %v", path, v.header)
		}
		if strings.Contains(v.body, "<script") || strings.Contains(v.body, "style=") || tokens.MatchString(v.body) {
			t.Errorf("%s has a script, a style or a token", path)
		}
	}
	// By another name the browser would not send the cookie back.
	v.send(http.MethodGet, strings.Replace(box.PageURL(), "127.0.0.1", "localhost", 1)+"login", nil)
	if v.status != http.StatusSeeOther || v.header.Get("Location") != box.PageURL()+"login" {
		t.Errorf("by another name: got %d %v", v.status, v.header)
	}
	if v.get("/ui"); !slices.Contains([]int{301, 307, 308}, v.status) || v.header.Get("Location") != "/ui/" {
		t.Errorf("/ui: got %d %v", v.status, v.header)
	}
}
