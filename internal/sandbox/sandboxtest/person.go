// Package sandboxtest drives the pages of the sandbox's authorization server in
// tests, as a person with a browser would: with cookies, forms and redirects,
// over HTTP alone.
package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Person is somebody who decides about a request.
type Person struct {
	Username, Password string
	// Scopes are those to grant; nil grants all that are offered.
	Scopes []string
	// Deny refuses everything, with the button for it.
	Deny bool
}

// PageError is a page where another was expected.
type PageError struct {
	Status int
	// Text is what the page says, without markup.
	Text string
}

// Error implements error.
func (e *PageError) Error() string { return fmt.Sprintf("page %d: %s", e.Status, e.Text) }

// LogIn opens an authorization request, logs in and answers the consent page. It
// returns where the browser is sent then, which is not opened: the client's
// redirect URI with a code or an error. A page that goes no further is a
// *PageError.
func (p Person) LogIn(ctx context.Context, authorizeURL string) (redirect string, err error) {
	b, err := newBrowser(authorizeURL)
	if err != nil {
		return "", err
	}
	defer b.close()
	if err := b.get(ctx, authorizeURL); err != nil {
		return "", err
	}
	if err := p.answer(ctx, b); err != nil {
		return "", err
	}
	if b.left == "" {
		return "", b.stuck()
	}
	return b.left, nil
}

// Connect enters a user code at the verification address of the device grant,
// or opens the complete address, logs in and answers the consent page.
func (p Person) Connect(ctx context.Context, verificationURI, userCode string) error {
	b, err := newBrowser(verificationURI)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.get(ctx, verificationURI); err != nil {
		return err
	}
	if userCode == "" {
		userCode = b.value("user_code")
	}
	if err := b.post(ctx, url.Values{"user_code": {userCode}}); err != nil {
		return err
	}
	if err := p.answer(ctx, b); err != nil {
		return err
	}
	if b.status != http.StatusOK || b.value("csrf") != "" {
		return b.stuck()
	}
	return nil
}

// Open opens an address as a browser does, such as the one that LogIn returned,
// and returns what is there.
func Open(ctx context.Context, address string) (status int, body string, err error) {
	b, err := newBrowser(address)
	if err != nil {
		return 0, "", err
	}
	defer b.close()
	err = b.get(ctx, address)
	return b.status, b.body, err
}

// answer goes through the pages for logging in and for consent.
func (p Person) answer(ctx context.Context, b *browser) error {
	if strings.Contains(b.body, `name="password"`) {
		form := url.Values{"username": {p.Username}, "password": {p.Password}, "action": {"login"}}
		if err := b.post(ctx, form); err != nil {
			return err
		}
	}
	if b.left != "" || strings.Contains(b.body, `name="password"`) || b.value("csrf") == "" {
		if b.left == "" {
			return b.stuck()
		}
		return nil
	}
	if p.Deny {
		return b.post(ctx, url.Values{"action": {"deny"}})
	}
	form := url.Values{"action": {"allow"}}
	for _, scope := range b.values("scope") {
		if p.Scopes == nil || slices.Contains(p.Scopes, scope) {
			form.Add("scope", scope)
		}
	}
	return b.post(ctx, form)
}

// browser shows one page at a time and follows redirects on one host.
type browser struct {
	client *http.Client
	at     *url.URL
	status int
	body   string
	left   string // where a redirect led off the host
}

func newBrowser(address string) (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	home := u.Host
	b := &browser{at: u}
	b.client = &http.Client{
		Jar: jar, Transport: &http.Transport{}, Timeout: 10 * time.Second,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Host != home {
				b.left = r.URL.String()
				return http.ErrUseLastResponse
			}
			if len(via) > 10 {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
	return b, nil
}

func (b *browser) close() { b.client.CloseIdleConnections() }

func (b *browser) get(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return b.do(req)
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)

// post sends the first form of the page, with its hidden token.
func (b *browser) post(ctx context.Context, form url.Values) error {
	m := formAction.FindStringSubmatch(b.body)
	if m == nil {
		return b.stuck()
	}
	to, err := b.at.Parse(html.UnescapeString(m[1]))
	if err != nil {
		return err
	}
	form.Set("csrf", b.value("csrf"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

func (b *browser) do(req *http.Request) error {
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	b.status, b.body, b.at = resp.StatusCode, string(body), resp.Request.URL
	return err
}

var field = regexp.MustCompile(`<input [^>]*name="([^"]*)" value="([^"]*)"`)

// values are those of the fields with this name.
func (b *browser) values(name string) (list []string) {
	for _, m := range field.FindAllStringSubmatch(b.body, -1) {
		if m[1] == name {
			list = append(list, html.UnescapeString(m[2]))
		}
	}
	return list
}

func (b *browser) value(name string) string {
	if list := b.values(name); len(list) > 0 {
		return list[0]
	}
	return ""
}

var (
	style = regexp.MustCompile(`(?s)<head>.*?</head>`)
	tags  = regexp.MustCompile(`(?s)<[^>]*>`)
)

// stuck is the page as an error.
func (b *browser) stuck() error {
	text := html.UnescapeString(tags.ReplaceAllString(style.ReplaceAllString(b.body, ""), " "))
	return &PageError{Status: b.status, Text: strings.Join(strings.Fields(text), " ")}
}
