package authserver_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Every page is protected the same way, and the one style it has is the one that
// its policy allows.
func TestPages(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		login := d.begin("scope", "read:timesheets approve:timesheets openid")
		views := map[string]view{
			"login":   d.send(http.MethodGet, login, nil),
			"device":  d.send(http.MethodGet, "/device?user_code=%3Cscript%3Ebcdf", nil),
			"message": d.send(http.MethodGet, "/authorize?client_id=stranger", nil),
			"failed": d.send(http.MethodPost, login, url.Values{
				"csrf": {d.page(login)}, "action": {"login"}, "username": {`"><script>alert(1)</script>`}, "password": {"canary"},
			}),
		}
		d.send(http.MethodPost, login, url.Values{
			"csrf": {d.page(login)}, "action": {"login"}, "username": {"ada"}, "password": {password("ada")},
		})
		views["consent"] = d.send(http.MethodGet, login, nil)
		style := regexp.MustCompile(`(?s)<style>(.*?)</style>`)
		for name, resp := range views {
			body := resp.body
			h := resp.header
			if !strings.Contains(h.Get("Cache-Control"), "no-store") || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: headers: got %v", name, h)
			}
			m := style.FindStringSubmatch(body)
			if m == nil {
				t.Fatalf("%s: no style in %q", name, body)
			}
			sum := sha256.Sum256([]byte(m[1]))
			policy := h.Get("Content-Security-Policy")
			if !strings.Contains(policy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
				t.Errorf("%s: the policy does not allow the style: %s", name, policy)
			}
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("%s: policy: got %s, want %s", name, policy, want)
				}
			}
			// Browsers apply form-action to the redirect after consent.
			if got := strings.Contains(policy, "form-action 'self' http://127.0.0.1:4567;"); got != (name == "consent") {
				t.Errorf("%s: policy: got %s", name, policy)
			}
			if strings.Contains(body, "<script") || strings.Contains(body, "canary") || !strings.HasPrefix(body, "<!DOCTYPE html>\n<html lang=\"en\">") {
				t.Errorf("%s: got %s", name, body)
			}
		}
		consent := html.UnescapeString(d.send(http.MethodGet, login, nil).body)
		for _, want := range []string{
			"Ada Ito", "a program</strong> asks to:", "See the hours that you have logged", `value="read:timesheets" checked`,
			"Know who you are", "Your role does not allow:", "Approve the hours of the people in EMEA",
		} {
			if !strings.Contains(consent, want) {
				t.Errorf("consent: no %q in %s", want, consent)
			}
		}
		if strings.Contains(consent, `value="approve:timesheets"`) {
			t.Error("what the role does not allow can be ticked")
		}
		if h := views["login"].header.Get("Content-Type"); h != "text/html; charset=utf-8" {
			t.Errorf("media type: got %s", h)
		}
	})
}

// A form that did not come from our page to this browser does nothing.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		page := d.begin()
		other := d.begin()
		login := func(token string) url.Values {
			return url.Values{"csrf": {token}, "action": {"login"}, "username": {"ada"}, "password": {password("ada")}}
		}
		for name, token := range map[string]string{"none": "", "made up": strings.Repeat("0", 64), "another page's": d.page(other)} {
			if resp := d.send(http.MethodPost, page, login(token)); resp.status != 403 {
				t.Errorf("%s: got %d", name, resp.status)
			}
		}
		if resp := d.send(http.MethodPost, "/device", url.Values{"user_code": {"BCDFGHJK"}}); resp.status != 403 {
			t.Errorf("user code: got %d", resp.status)
		}
		// A login gets a cookie that was not there before.
		before := maps.Clone(d.cookies)
		if resp := d.send(http.MethodPost, page, login(d.page(page))); resp.status != 303 {
			t.Fatalf("got %d", resp.status)
		}
		cookie := d.cookies["sandbox_auth_login"]
		if cookie == nil || before["sandbox_auth_login"] != nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie: got %v", cookie)
		}
		if resp := d.send(http.MethodPost, page, url.Values{"action": {"allow"}, "scope": {"read:timesheets"}}); resp.status != 403 {
			t.Errorf("consent: got %d", resp.status)
		}
		// Another browser does not get on with this one's page.
		mine := d.cookies
		d.cookies = make(map[string]*http.Cookie)
		if resp := d.send(http.MethodGet, page, nil); resp.status != 400 || !strings.Contains(resp.body, "another browser") {
			t.Errorf("another browser: got %d", resp.status)
		}
		d.begin() // now it has an identity of its own
		if resp := d.send(http.MethodGet, page, nil); resp.status != 400 || !strings.Contains(resp.body, "another browser") {
			t.Errorf("a third browser: got %d", resp.status)
		}
		d.cookies = mine
		// Scopes that were not offered are not granted.
		to := d.send(http.MethodPost, page, url.Values{
			"csrf": {d.page(page)}, "action": {"allow"}, "scope": {"approve:timesheets", "batch:upload", "read:timesheets"},
		}).header.Get("Location")
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		if a := d.exchange(u.Query().Get("code")); a.body["scope"] != "read:timesheets" {
			t.Errorf("scope: got %v", a.body["scope"])
		}
		// Nobody decides twice.
		if resp := d.send(http.MethodGet, page, nil); resp.status != 400 {
			t.Errorf("decided: got %d", resp.status)
		}
	})
}

// The pages of one kind of session do not work under the path of the other.
func TestPathsDoNotMix(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		deviceCode, userCode := d.startDevice()
		device := d.enter(userCode).header.Get("Location")
		page := d.begin()
		for _, path := range []string{
			strings.Replace(device, "/device/", "/authorize/", 1), strings.Replace(page, "/authorize/", "/device/", 1),
			"/authorize/made-up", "/device/made-up",
		} {
			if resp := d.send(http.MethodGet, path, nil); resp.status != 404 && resp.status != 400 {
				t.Errorf("%s: got %d", path, resp.status)
			}
		}
		if resp := d.send(http.MethodPut, page, nil); resp.status != 405 {
			t.Errorf("PUT: got %d", resp.status)
		}
		if a := d.poll(deviceCode); a.code() != "authorization_pending" {
			t.Errorf("the device: got %q", a.code())
		}
	})
}

func TestSwitchPerson(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		d.code()
		page := d.begin()
		if resp := d.send(http.MethodPost, page, url.Values{"csrf": {d.page(page)}, "action": {"switch"}}); resp.status != 303 || resp.header.Get("Location") != page {
			t.Fatalf("got %d to %q", resp.status, resp.header.Get("Location"))
		}
		u, err := url.Parse(d.decide(page, "cy").header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		token, _ := d.exchange(u.Query().Get("code")).body["access_token"].(string)
		if got := subject(t, token); got != "user:cy" {
			t.Errorf("got %s", got)
		}
	})
}

// Who asks for more than the role allows is told so on the page, with a way out.
func TestNothingToAllow(t *testing.T) {
	t.Parallel()
	atDesk(t, nil, func(d *desk) {
		t := d.t
		a := d.post("/device_authorization", url.Values{"scope": {"approve:timesheets"}})
		code, _ := a.body["user_code"].(string)
		page := d.enter(code).header.Get("Location")
		d.send(http.MethodPost, page, url.Values{"csrf": {d.page(page)}, "action": {"login"}, "username": {"ada"}, "password": {password("ada")}})
		body := d.send(http.MethodGet, page, nil).body
		if !strings.Contains(body, "asks for nothing that you can allow") || strings.Contains(body, `value="allow"`) || !strings.Contains(body, `value="deny"`) {
			t.Errorf("got %s", body)
		}
	})
}

// Without people, nobody logs in, and machines work all the same.
func TestNobody(t *testing.T) {
	t.Parallel()
	atDesk(t, func(c *authserver.Config) { c.People = (*people.Directory)(nil) }, func(d *desk) {
		t := d.t
		page := d.begin()
		resp := d.send(http.MethodPost, page, url.Values{"csrf": {d.page(page)}, "action": {"login"}, "username": {"ada"}, "password": {password("ada")}})
		if resp.status != http.StatusUnauthorized {
			t.Errorf("got %d", resp.status)
		}
		a := d.post("/token", url.Values{"client_id": {"machine"}, "client_secret": {secret}, "grant_type": {"client_credentials"}})
		if a.status != 200 {
			t.Errorf("got %d %q", a.status, a.code())
		}
	})
}
