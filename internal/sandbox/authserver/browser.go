package authserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Names of our cookies. Cookies do not tell ports apart, so they must differ
// from those of the API's page on the same host.
const (
	browserCookie = "sandbox_auth_browser"
	loginCookie   = "sandbox_auth_login"
)

// browsers knows who is logged in where. A browser has an identity of its own
// before anybody logs in, to which a page under way and the tokens of its forms
// are bound; a login gets a new cookie each time, so that nobody can plant one.
type browsers struct {
	key []byte // of the form tokens

	mu     sync.Mutex
	logins map[string]login // by the digest of the cookie

	passwords, addresses, userCodes *limiter
}

type login struct {
	subject string
	at      time.Time
}

func newBrowsers() *browsers {
	b := &browsers{
		key: make([]byte, 32), logins: make(map[string]login),
		passwords: newLimiter(5, time.Minute),
		addresses: newLimiter(30, time.Minute),
		userCodes: newLimiter(10, time.Minute),
	}
	rand.Read(b.key)
	return b
}

func setCookie(w http.ResponseWriter, name, value string) {
	// Secure would keep the cookie from loopback HTTP, which is all there is.
	//nolint:gosec // see above
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// identify returns the browser's identity, giving it one if need be.
func (b *browsers) identify(w http.ResponseWriter, r *http.Request) string {
	if id := identity(r); id != "" {
		return id
	}
	id := rand.Text()
	setCookie(w, browserCookie, id)
	return id
}

// identity is that of a browser that was here before; otherwise empty.
func identity(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil || len(c.Value) < 16 {
		return ""
	}
	return c.Value
}

// formToken protects a form of a page against being sent from elsewhere.
func (b *browsers) formToken(browser, page string) string {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(browser + "\x00" + page))
	return hex.EncodeToString(mac.Sum(nil))
}

func (b *browsers) checkForm(r *http.Request, page string) bool {
	browser := identity(r)
	return browser != "" && hmac.Equal([]byte(r.PostFormValue("csrf")), []byte(b.formToken(browser, page)))
}

// logIn checks a password and sets the cookie of a new login. Where it fails,
// wait says how long the next try must wait, if at all.
func (b *browsers) logIn(w http.ResponseWriter, r *http.Request, d *people.Directory) (ok bool, wait time.Duration) {
	username, from := r.PostFormValue("username"), address(r)
	if wait = max(b.passwords.blocked(username), b.addresses.blocked(from)); wait > 0 {
		return false, wait
	}
	p, ok := d.CheckPassword(username, r.PostFormValue("password"))
	if !ok {
		b.passwords.fail(username)
		b.addresses.fail(from)
		return false, 0
	}
	b.passwords.clear(username)
	cookie := rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for k, l := range b.logins {
		if now.Sub(l.at) > loginTTL {
			delete(b.logins, k)
		}
	}
	b.logins[digest(cookie)] = login{p.Subject, now}
	setCookie(w, loginCookie, cookie)
	return true, 0
}

// who is logged in, and since when.
func (b *browsers) who(r *http.Request, d *people.Directory) (p people.Person, since time.Time, ok bool) {
	c, err := r.Cookie(loginCookie)
	if err != nil {
		return p, since, false
	}
	b.mu.Lock()
	l, ok := b.logins[digest(c.Value)]
	b.mu.Unlock()
	if !ok || time.Since(l.at) > loginTTL {
		return p, since, false
	}
	p, ok = d.BySubject(l.subject)
	return p, l.at, ok
}

// logOut ends the login of this browser.
func (b *browsers) logOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(loginCookie); err == nil {
		b.mu.Lock()
		delete(b.logins, digest(c.Value))
		b.mu.Unlock()
	}
	setCookie(w, loginCookie, "")
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
