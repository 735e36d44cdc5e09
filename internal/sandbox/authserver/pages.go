package authserver

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

//go:embed templates
var files embed.FS

// pageSet is our pages, with their one style, which the policy allows by hash.
type pageSet struct {
	templates *template.Template
	styleHash string
}

var pages = func() pageSet {
	style, err := files.ReadFile("templates/style.css")
	if err != nil {
		panic(err) // embedded
	}
	sum := sha256.Sum256(style)
	return pageSet{
		templates: template.Must(template.New("").Funcs(template.FuncMap{
			"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // ours
		}).ParseFS(files, "templates/*.html")),
		styleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
	}
}()

// frame is what every page has.
type frame struct {
	Title, Action, CSRF string
	Problem             string
}

type loginView struct {
	frame
	Client, Username string
}

type consentView struct {
	frame
	Client, Person, Username, Role string
	Device                         string // the user code, where a device asks
	Scopes                         []scopeView
	Beyond                         []scopeView // what the role does not allow
	Renews                         bool
}

type scopeView struct{ Name, Sentence string }

type userCodeView struct {
	frame
	Code string
}

type messageView struct {
	frame
	Text string
}

// page sets what protects every page. No script, no frame, no cache; a form may
// be sent here, and after consent the browser may be sent on to the client.
func (s *Server) page(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		setPolicy(h, "")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		next(w, r)
	}
}

// setPolicy writes the content security policy. Browsers apply form-action to
// the redirect that follows a form too, so a consent page names its client.
func setPolicy(h http.Header, redirect string) {
	forms := "'self'"
	if u, err := url.Parse(redirect); err == nil && u.Host != "" && !strings.ContainsAny(u.Host, ";, ") {
		forms += " " + u.Scheme + "://" + u.Host
	}
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src '"+pages.styleHash+"'; form-action "+forms+"; frame-ancestors 'none'; base-uri 'none'")
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, view any) {
	var b bytes.Buffer
	if err := pages.templates.ExecuteTemplate(&b, name, view); err != nil {
		s.log.ErrorContext(r.Context(), "page not rendered", "page", name, "err", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request, here string, c Client, username, problem string, status int) {
	s.render(w, r, status, "login.html", loginView{
		frame:  frame{Title: "Log in", Action: here, CSRF: s.browsers.formToken(identity(r), here), Problem: problem},
		Client: clientName(c), Username: username,
	})
}

func (s *Server) consentPage(w http.ResponseWriter, r *http.Request, here string, as *goidc.AuthnSession, c Client, p people.Person, may, beyond []string, problem string) {
	setPolicy(w.Header(), as.RedirectURI)
	v := consentView{
		frame:  frame{Title: "Allow access", Action: here, CSRF: s.browsers.formToken(identity(r), here), Problem: problem},
		Client: clientName(c), Person: p.Name, Username: p.Username, Role: string(p.Role),
	}
	if as.DeviceCode != "" {
		v.Device = showUserCode(as.UserCode)
	}
	asksOffline := false
	for _, scope := range may {
		asksOffline = asksOffline || scope == ScopeOffline
		v.Scopes = append(v.Scopes, scopeView{scope, explain(scope, p)})
	}
	for _, scope := range beyond {
		v.Beyond = append(v.Beyond, scopeView{scope, explain(scope, p)})
	}
	for _, g := range c.Grants {
		v.Renews = v.Renews || (g == GrantRefresh && !asksOffline)
	}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusServiceUnavailable
	}
	s.render(w, r, status, "consent.html", v)
}

func (s *Server) userCodePage(w http.ResponseWriter, r *http.Request, code, problem string, status int) {
	browser := s.browsers.identify(w, r)
	s.render(w, r, status, "device.html", userCodeView{
		frame: frame{Title: "Connect a device", Action: DevicePath, CSRF: s.browsers.formToken(browser, DevicePath), Problem: problem},
		Code:  code,
	})
}

// message is a page that ends something.
func (s *Server) message(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	s.render(w, r, status, "message.html", messageView{frame: frame{Title: title}, Text: text})
}

func clientName(c Client) string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}
