package authserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
)

// desk is a server without a network, so that its clock can be a fake one.
type desk struct {
	*authserver.Server
	t       testing.TB
	cookies map[string]*http.Cookie
}

func atDesk(t *testing.T, change func(*authserver.Config), test func(*desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t, "http://issuer.example")
		if change != nil {
			change(&cfg)
		}
		s, err := authserver.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(&desk{Server: s, t: t, cookies: make(map[string]*http.Cookie)})
	})
}

func (d *desk) send(method, target string, form url.Values) view {
	d.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req := httptest.NewRequestWithContext(d.t.Context(), method, target, body)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range d.cookies {
		req.AddCookie(c)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	resp := w.Result()
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		d.cookies[c.Name] = c
	}
	return view{w.Code, resp.Header, w.Body.String()}
}

// view is what a browser gets.
type view struct {
	status int
	header http.Header
	body   string
}

// post sends a form of the public client and returns the answer.
func (d *desk) post(path string, form url.Values) reply {
	d.t.Helper()
	if form.Get("client_id") == "" {
		form.Set("client_id", "cli")
	}
	resp := d.send(http.MethodPost, path, form)
	a := reply{status: resp.status, header: resp.header}
	if err := json.Unmarshal([]byte(resp.body), &a.body); err != nil {
		d.t.Fatal(err)
	}
	return a
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]*)"`)

// page opens a page and returns its form's token.
func (d *desk) page(path string) string {
	d.t.Helper()
	m := csrfField.FindStringSubmatch(d.send(http.MethodGet, path, nil).body)
	if m == nil {
		d.t.Fatalf("%s has no form", path)
	}
	return m[1]
}

// decide logs in at a session's page and allows everything.
func (d *desk) decide(page, username string) view {
	d.t.Helper()
	d.send(http.MethodPost, page, url.Values{
		"csrf": {d.page(page)}, "action": {"login"}, "username": {username}, "password": {password(username)},
	})
	return d.send(http.MethodPost, page, url.Values{
		"csrf": {d.page(page)}, "action": {"allow"}, "scope": {"read:timesheets", "create:timesheets"},
	})
}

func (d *desk) begin(extra ...string) string {
	d.t.Helper()
	q := with(url.Values{
		"client_id": {"cli"}, "redirect_uri": {"http://127.0.0.1:4567/callback"}, "response_type": {"code"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}, extra...)
	return d.send(http.MethodGet, "/authorize?"+q.Encode(), nil).header.Get("Location")
}

const verifier = "a-verifier-that-is-long-enough-to-be-one-000001"

func (d *desk) code() string {
	d.t.Helper()
	to, err := url.Parse(d.decide(d.begin(), "ada").header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		d.t.Fatalf("no code: %v", to)
	}
	return to.Query().Get("code")
}

func (d *desk) exchange(code string) reply {
	d.t.Helper()
	return d.post("/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {"http://127.0.0.1:4567/callback"},
	})
}

func (d *desk) refresh(token string) reply {
	d.t.Helper()
	return d.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

func refreshToken(a reply) string { s, _ := a.body["refresh_token"].(string); return s }

// A refresh token lasts as long as it is used.
func TestRefreshExtendsOnUse(t *testing.T) {
	t.Parallel()
	atDesk(t, func(c *authserver.Config) { c.RefreshTTL = 24 * time.Hour }, func(d *desk) {
		t := d.t
		a := d.exchange(d.code())
		for day := range 5 {
			time.Sleep(23 * time.Hour)
			if a = d.refresh(refreshToken(a)); a.status != 200 {
				t.Fatalf("day %d: got %d %q", day, a.status, a.code())
			}
		}
		time.Sleep(25 * time.Hour)
		if a = d.refresh(refreshToken(a)); a.status != 400 || a.code() != "invalid_grant" {
			t.Errorf("unused for too long: got %d %q", a.status, a.code())
		}
	})
}

// What was used long ago is still remembered as used, for as long as its family
// lives.
func TestRefreshReusedLate(t *testing.T) {
	t.Parallel()
	atDesk(t, func(c *authserver.Config) { c.RefreshTTL = 24 * time.Hour }, func(d *desk) {
		t := d.t
		first := d.exchange(d.code())
		a := first
		for range 5 {
			time.Sleep(20 * time.Hour)
			a = d.refresh(refreshToken(a))
		}
		if got := d.refresh(refreshToken(first)); got.code() != "invalid_grant" {
			t.Fatalf("reused: got %d %q", got.status, got.code())
		}
		if got := d.refresh(refreshToken(a)); got.code() != "invalid_grant" {
			t.Errorf("the newest: got %d %q", got.status, got.code())
		}
	})
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		code := d.code()
		time.Sleep(2 * time.Minute)
		if a := d.exchange(code); a.status != 400 || a.code() != "invalid_grant" {
			t.Errorf("got %d %q", a.status, a.code())
		}
	})
}

func TestSecretExpires(t *testing.T) {
	t.Parallel()
	atDesk(t, func(c *authserver.Config) {
		c.Clients[0].Secrets = []authserver.Secret{{Value: "soon over", Expires: time.Now().Add(time.Hour)}}
	}, func(d *desk) {
		t := d.t
		form := func(s string) url.Values {
			return url.Values{"client_id": {"machine"}, "client_secret": {s}, "grant_type": {"client_credentials"}}
		}
		if a := d.post("/token", form("soon over")); a.status != 200 {
			t.Errorf("before: got %d %q", a.status, a.code())
		}
		if err := d.AddSecret("machine", authserver.Secret{Value: "next"}, 30*time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		if a := d.post("/token", form("soon over")); a.status != 401 || a.code() != "invalid_client" {
			t.Errorf("after: got %d %q", a.status, a.code())
		}
		if a := d.post("/token", form("next")); a.status != 200 {
			t.Errorf("its successor: got %d %q", a.status, a.code())
		}
	})
}

// startDevice begins a device grant and returns its code and page.
func (d *desk) startDevice() (deviceCode, userCode string) {
	d.t.Helper()
	a := d.post("/device_authorization", url.Values{"scope": {"read:timesheets"}})
	deviceCode, _ = a.body["device_code"].(string)
	userCode, _ = a.body["user_code"].(string)
	if deviceCode == "" || userCode == "" {
		d.t.Fatalf("got %d %q", a.status, a.code())
	}
	return deviceCode, userCode
}

func (d *desk) poll(deviceCode string) reply {
	d.t.Helper()
	return d.post("/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {deviceCode}})
}

// enter enters a user code and returns where the browser goes.
func (d *desk) enter(userCode string) view {
	d.t.Helper()
	return d.send(http.MethodPost, "/device", url.Values{"csrf": {d.page("/device")}, "user_code": {userCode}})
}

func TestDevicePolling(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		deviceCode, userCode := d.startDevice()
		poll := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			if a := d.poll(deviceCode); a.code() != want || (want != "" && a.status != 400) {
				t.Errorf("after %s: got %d %q, want %q", after, a.status, a.code(), want)
			}
		}
		poll(0, "authorization_pending")
		poll(5*time.Second, "authorization_pending")
		poll(4*time.Second, "slow_down")              // from now on 10 seconds
		poll(9*time.Second, "slow_down")              // 15
		poll(14*time.Second, "slow_down")             // 20
		poll(20*time.Second, "authorization_pending") // and no more
		poll(20*time.Second, "authorization_pending")
		page := d.enter(strings.ToLower(strings.ReplaceAll(userCode, "-", ""))).header.Get("Location")
		if resp := d.decide(page, "cy"); resp.status != http.StatusOK || !strings.Contains(resp.body, "The device is connected") {
			t.Errorf("decided: got %d", resp.status)
		}
		poll(20*time.Second, "")
		poll(20*time.Second, "invalid_grant")
	})
}

func TestDeviceRefused(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		deviceCode, userCode := d.startDevice()
		page := d.enter(userCode).header.Get("Location")
		resp := d.send(http.MethodPost, page, url.Values{"csrf": {d.page(page)}, "action": {"deny"}})
		if resp.status != http.StatusOK || !strings.Contains(resp.body, "Refused") {
			t.Errorf("page: got %d", resp.status)
		}
		if a := d.poll(deviceCode); a.status != 400 || a.code() != "access_denied" {
			t.Errorf("got %d %q", a.status, a.code())
		}
		if resp := d.enter(userCode); resp.status != 404 {
			t.Errorf("the code again: got %d", resp.status)
		}
	})
}

func TestDeviceExpires(t *testing.T) {
	t.Parallel()
	for name, approved := range map[string]bool{"nobody came": false, "the device came too late": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atDesk(t, func(c *authserver.Config) { c.DeviceTTL = 5 * time.Minute }, func(d *desk) {
				t := d.t
				deviceCode, userCode := d.startDevice()
				if approved {
					d.decide(d.enter(userCode).header.Get("Location"), "cy")
				}
				time.Sleep(5 * time.Minute)
				if a := d.poll(deviceCode); a.status != 400 || a.code() != "expired_token" {
					t.Errorf("got %d %q", a.status, a.code())
				}
				if resp := d.enter(userCode); resp.status != 404 {
					t.Errorf("the code: got %d", resp.status)
				}
			})
		})
	}
}

func TestDeviceOfAnotherClient(t *testing.T) {
	t.Parallel()
	atDesk(t, func(c *authserver.Config) {
		other := c.Clients[1]
		other.ID = "other"
		c.Clients = append(c.Clients, other)
	}, func(d *desk) {
		t := d.t
		deviceCode, userCode := d.startDevice()
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {deviceCode}, "client_id": {"other"}}
		if a := d.post("/token", form); a.code() != "invalid_grant" {
			t.Errorf("got %d %q", a.status, a.code())
		}
		d.decide(d.enter(userCode).header.Get("Location"), "cy")
		if a := d.poll(deviceCode); a.status != 200 {
			t.Errorf("its own client: got %d %q", a.status, a.code())
		}
		for _, code := range []string{"", "made-up"} {
			if a := d.poll(code); a.status != 400 || a.code() == "authorization_pending" {
				t.Errorf("device code %q: got %d %q", code, a.status, a.code())
			}
		}
		if a := d.post("/device_authorization", url.Values{"scope": {"everything"}}); a.status != 400 || a.code() != "invalid_scope" {
			t.Errorf("unknown scope: got %d %q", a.status, a.code())
		}
	})
}

// Whoever guesses codes has to wait, and can go on then.
func TestUserCodesAreLimited(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		_, userCode := d.startDevice()
		for range 10 {
			if resp := d.enter("BCDF-GHJK"); resp.status != 404 {
				t.Fatalf("got %d", resp.status)
			}
		}
		resp := d.enter(userCode)
		if resp.status != http.StatusTooManyRequests || resp.header.Get("Retry-After") != "61" {
			t.Errorf("got %d, Retry-After %q", resp.status, resp.header.Get("Retry-After"))
		}
		time.Sleep(time.Minute)
		if resp := d.enter(userCode); resp.status != 303 {
			t.Errorf("a minute later: got %d", resp.status)
		}
	})
}

// Whoever guesses passwords has to wait, even with the right one at last.
func TestLoginsAreLimited(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		page := d.begin()
		try := func(username, pw string) view {
			t.Helper()
			return d.send(http.MethodPost, page, url.Values{"csrf": {d.page(page)}, "action": {"login"}, "username": {username}, "password": {pw}})
		}
		for range 5 {
			if resp := try("ada", "guess"); resp.status != http.StatusUnauthorized {
				t.Fatalf("got %d", resp.status)
			}
		}
		if resp := try("ada", password("ada")); resp.status != http.StatusTooManyRequests || resp.header.Get("Retry-After") == "" {
			t.Errorf("got %d", resp.status)
		}
		time.Sleep(time.Minute)
		if resp := try("ada", password("ada")); resp.status != 303 || resp.header.Get("Location") != page {
			t.Errorf("a minute later: got %d to %q", resp.status, resp.header.Get("Location"))
		}
	})
}

// A login lasts for a working day, prompt=login wants another, and nobody waits
// for a page for ever.
func TestLoginEnds(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		asks := func(page string) bool {
			t.Helper()
			return strings.Contains(d.send(http.MethodGet, page, nil).body, `name="password"`)
		}
		d.code()
		time.Sleep(time.Millisecond) // within one second is again, too
		if asks(d.begin()) {
			t.Error("asks for a password again")
		}
		if !asks(d.begin("prompt", "login")) || asks(d.begin("prompt", "consent")) {
			t.Error("prompt is not followed")
		}
		if !asks(d.begin("max_age", "0")) || asks(d.begin("max_age", "3600")) {
			t.Error("max_age is not followed")
		}
		if to := d.begin("prompt", "none"); !strings.Contains(to, "error=consent_required") {
			t.Errorf("prompt=none: got %s", to)
		}
		page := d.begin("prompt", "login")
		if to := d.decide(page, "cy").header.Get("Location"); !strings.Contains(to, "code=") {
			t.Errorf("logged in again: got %s", to)
		}
		page = d.begin()
		time.Sleep(16 * time.Minute)
		if resp := d.send(http.MethodGet, page, nil); resp.status != 400 {
			t.Errorf("an old page: got %d", resp.status)
		}
		time.Sleep(8 * time.Hour)
		if !asks(d.begin()) {
			t.Error("a login of yesterday is good")
		}
	})
}
