package authserver

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const (
	oidcDiscovery  = "/.well-known/openid-configuration"
	oauthDiscovery = "/.well-known/oauth-authorization-server" // RFC 8414
	maxForm        = 64 << 10
)

// shims stands in front of the library and mends what it leaves open:
//   - discovery answers at the path of RFC 8414 too;
//   - the parameter audience of Auth0 means resource, and no resource means the
//     one API there is (the library would issue a token without aud);
//   - a client may authenticate by basic or by post;
//   - a 401 after Basic carries a challenge (RFC 6749 5.2);
//   - nothing that carries a token is cached.
func (s *Server) shims(library http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", library)
	mux.HandleFunc("GET "+oauthDiscovery, func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path = oidcDiscovery
		library.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST "+TokenPath, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
		if skew := ordersFrom(r.Context()).Skew; skew != 0 {
			h.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
		}
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
			invalidRequest(w, "the body must be a form")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			invalidRequest(w, "the form cannot be read")
			return
		}
		for _, name := range []string{"grant_type", "client_id", "client_secret", "scope"} {
			if len(r.PostForm[name]) > 1 {
				invalidRequest(w, "a parameter is repeated: "+name)
				return
			}
		}
		s.setResource(r.PostForm)

		basic := r.Header.Get("Authorization") != ""
		if problem := unifyClientAuth(r); problem != "" {
			invalidRequest(w, problem)
			return
		}
		if basic {
			w = &challenger{ResponseWriter: w}
		}
		library.ServeHTTP(w, r)
	})
	return mux
}

func (s *Server) setResource(form url.Values) {
	if len(form["resource"]) == 0 {
		form["resource"] = form["audience"]
	}
	if len(form["resource"]) == 0 {
		form.Set("resource", s.cfg.Audience)
	}
	form.Del("audience")
}

// unifyClientAuth turns the client's credentials, wherever they are, into the
// one form that the library is told to expect: Basic with plain values. It
// returns what is wrong with the request, if anything.
func unifyClientAuth(r *http.Request) string {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if r.Header.Get("Authorization") != "" {
		if secret != "" {
			return "more than one way of client authentication"
		}
		rawID, rawSecret, ok := r.BasicAuth()
		if !ok {
			return ""
		}
		// RFC 6749 2.3.1: both are form-encoded inside Basic.
		basicID, err := url.QueryUnescape(rawID)
		if err != nil {
			return "the client id in the Authorization header is not form-encoded"
		}
		basicSecret, err := url.QueryUnescape(rawSecret)
		if err != nil {
			return "the client secret in the Authorization header is not form-encoded"
		}
		r.SetBasicAuth(basicID, basicSecret)
		return ""
	}
	if secret != "" {
		r.SetBasicAuth(id, secret)
		r.PostForm.Del("client_secret")
	}
	return ""
}

// challenger adds the challenge that a 401 must carry when the client used the
// Authorization header.
type challenger struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c *challenger) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="token"`)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (c *challenger) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// invalidRequest answers a request that no client should make.
func invalidRequest(w http.ResponseWriter, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	// The client may be gone; there is no one else to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": description})
}
