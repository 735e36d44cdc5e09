// Package page is the sandbox's web page, on which a person logs in and sees the
// whole scenario work: own entries and hours per week, entering hours, and, as a
// manager, approving those of others. It is rendered by the server and has no
// script. It knows nothing but the addresses of both servers: it calls the API
// over HTTP with the person's token, as any client does.
//
// Invariants:
//   - A token stays on the server; the browser holds the name of a session only.
//   - What changes something is a POST that carries the session's own proof, and
//     comes from this page.
//   - A login answers the very one that this browser began, once.
package page

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Path is where the page is, on the listener of the API.
const Path = "/ui/"

// CallbackPath is where the authorization server sends people back to.
const CallbackPath = Path + "callback"

//go:embed templates style.css
var files embed.FS

// Config is what a Page needs.
type Config struct {
	// URL is the address of the API, without a final slash; the page is on the
	// same listener.
	URL string
	// Issuer is the authorization server, and Audience the API's name there.
	Issuer, Audience string
	// ClientID and ClientSecret are the page's own.
	ClientID, ClientSecret string
	Logger                 *slog.Logger
}

// Page answers under Path. It is safe for concurrent use.
type Page struct {
	cfg       Config
	handler   http.Handler
	templates *template.Template
	sessions  *sessions
	issuer    *issuer
	api       *api
	transport *http.Transport
	log       *slog.Logger
}

// New returns a page. It asks nobody for anything yet.
func New(cfg Config) (*Page, error) {
	if cfg.URL == "" || cfg.Issuer == "" || cfg.ClientID == "" {
		return nil, errors.New("page: URL, issuer and client are required")
	}
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{}
	client := &http.Client{
		Transport: transport, Timeout: 15 * time.Second,
		// Tokens and secrets are for the addresses above alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p := &Page{
		cfg: cfg, templates: templates, sessions: newSessions(), transport: transport,
		issuer: &issuer{cfg: cfg, client: client}, api: &api{url: cfg.URL, client: client},
		log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path+"{$}", p.overview)
	mux.HandleFunc("GET "+Path+"style.css", p.style)
	mux.HandleFunc("GET "+Path+"login", p.login)
	mux.HandleFunc("GET "+CallbackPath, p.callback)
	mux.HandleFunc("POST "+Path+"entries", p.proven(p.addEntry))
	mux.HandleFunc("POST "+Path+"entries/{id}/delete", p.proven(p.deleteEntry))
	mux.HandleFunc("POST "+Path+"approvals/{id}", p.proven(p.approve))
	mux.HandleFunc("POST "+Path+"logout", p.proven(p.logout))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.message(w, r, http.StatusNotFound, "There is nothing at this address.")
	})
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.message(w, r, http.StatusForbidden, "This request did not come from this page, so nothing was done.")
	}))
	p.handler = guarded.Handler(mux)
	return p, nil
}

// Close lets go of the connections to both servers.
func (p *Page) Close() { p.transport.CloseIdleConnections() }

// ServeHTTP answers the browser.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	p.handler.ServeHTTP(w, r)
}

func (p *Page) style(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "style.css")
}

// proven lets a POST through that carries the proof of its session: a page of
// somebody else's cannot know it.
func (p *Page) proven(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := p.session(r)
		switch {
		case s == nil:
			p.message(w, r, http.StatusForbidden, "You are not logged in any more, so nothing was done.")
		case !s.proves(r.PostFormValue("proof")):
			p.message(w, r, http.StatusForbidden, "This form is of another session, so nothing was done.")
		default:
			next(w, r, s)
		}
	}
}

// home sends the browser back to the page, so that reloading repeats nothing.
func (p *Page) home(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

// message answers with one sentence.
func (p *Page) message(w http.ResponseWriter, r *http.Request, status int, text string) {
	p.render(w, r, status, "message.html", view{Problem: text, Session: p.session(r)})
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := p.templates.ExecuteTemplate(w, name, v); err != nil {
		p.log.DebugContext(r.Context(), "page not rendered", "err", err)
	}
}

// elsewhere tells whether the browser calls this machine by another name than
// the one it will come back to, where its cookie would not be sent.
func (p *Page) elsewhere(r *http.Request) bool {
	u, err := url.Parse(p.cfg.URL)
	return err == nil && r.Host != u.Host
}

// failed says what went wrong between this page and a server. A token that is
// no good any more ends the session.
func (p *Page) failed(ctx context.Context, s *session, err error) (status int, text string) {
	if refused, ok := errors.AsType[*refusal](err); ok {
		if refused.Status == http.StatusUnauthorized {
			p.sessions.end(s)
			return http.StatusForbidden, "Your login has ended. Log in again."
		}
		return refused.Status, refused.Message
	}
	p.log.WarnContext(ctx, "page cannot reach a server", "err", err)
	return http.StatusBadGateway, "The Timesheets API does not answer. Try again in a moment."
}
