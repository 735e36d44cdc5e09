// Package web answers browsers, probes and scrapers: one listener, read only.
//
// What holds:
//
//   - GET and HEAD alone are answered, nothing is changed by any request, and no
//     request has a body.
//   - On an address that other machines can reach, the probes and the metrics
//     answer everybody, all else only who has the token. On loopback no token is
//     needed unless there is one, and requests for any other host are refused:
//     a page on the web whose name is made to point here learns nothing.
//   - Every request, and every connection, has a limit.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Limits of the listener.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 30 * time.Second
	maxHeader    = 16 << 10
	maxConns     = 64
)

// policy lets a browser load nothing. A page that needs its own styles or
// scripts sets the header itself.
const policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	// Address is HOST:PORT; port 0 takes a free one.
	Address string
	// Guarded tells whether there is a token now; a reload may bring or take it.
	// Nil: there is one where Token is given.
	Guarded func() bool
	// Token reads the token, at most once for each request that presents one; nil: there is none.
	Token func(ctx context.Context) ([]byte, error)
	// Live and Ready are what /livez and /readyz look at.
	Live, Ready []Check
	// Metrics answers /metrics.
	Metrics http.Handler
	// Page answers /; nil: there is none. It replaces Content-Security-Policy by
	// what it needs.
	Page   http.Handler
	Logger *slog.Logger
}

// Server is a listener and what answers on it.
type Server struct {
	cfg      ServerConfig
	http     http.Server
	addr     net.Addr
	loopback bool
	done     sync.WaitGroup
}

// Listen opens the address and answers until Close. An error names the
// address.
func Listen(ctx context.Context, c ServerConfig) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, networkOf(c.Address), c.Address)
	if err != nil {
		return nil, err // names the address
	}
	s := &Server{cfg: c, addr: l.Addr(), loopback: isLoopback(l.Addr())}
	s.http = http.Server{
		Handler: s.handler(), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
	}
	s.done.Go(func() {
		if err := s.http.Serve(limit(l, maxConns)); !errors.Is(err, http.ErrServerClosed) {
			c.Logger.ErrorContext(ctx, "the listener has ended", "err", err)
		}
	})
	return s, nil
}

// Addr is where the Server listens.
func (s *Server) Addr() string { return s.addr.String() }

// Close lets requests under way end until ctx does, and cuts those left.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.done.Wait()
}

// networkOf keeps who wrote 0.0.0.0 from listening on every IPv6 address too.
func networkOf(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

func isLoopback(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// handler is what every request passes through, in this order.
func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
		case r.ContentLength != 0:
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusRequestEntityTooLarge, "no request here has a body")
		case s.loopback && !isLocal(r.Host):
			refuse(w, http.StatusMisdirectedRequest, "this is a listener on loopback: ask for it as localhost or by its address")
		case r.URL.Path == "/livez":
			s.probe(w, r, s.cfg.Live)
		case r.URL.Path == "/readyz":
			s.probe(w, r, s.cfg.Ready)
		case r.URL.Path == "/metrics" && s.cfg.Metrics != nil:
			s.cfg.Metrics.ServeHTTP(w, r)
		case !s.allowed(w, r):
		case r.URL.Path == "/" && s.cfg.Page != nil:
			s.cfg.Page.ServeHTTP(w, r)
		default:
			refuse(w, http.StatusNotFound, "there is nothing here; there are /livez, /readyz and /metrics")
		}
	})
}

// harden sets the headers that every answer has.
func harden(h http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy":      policy,
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	} {
		h.Set(name, value)
	}
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, why)
}

// isLocal tells whether a Host header can only mean this machine.
func isLocal(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
