package page

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	scopeRead    = "read:timesheets"
	scopeCreate  = "create:timesheets"
	scopeDelete  = "delete:timesheets"
	scopeApprove = "approve:timesheets"
)

// login begins a login: authorization code with PKCE.
func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	if p.elsewhere(r) {
		http.Redirect(w, r, p.cfg.URL+Path+"login", http.StatusSeeOther)
		return
	}
	oauth, _, err := p.issuer.config(r.Context())
	if err != nil {
		p.log.WarnContext(r.Context(), "page cannot reach the authorization server", "err", err)
		p.message(w, r, http.StatusBadGateway, "The authorization server does not answer. Try again in a moment.")
		return
	}
	if old := p.any(r); old != nil {
		p.sessions.end(old)
	}
	s := &session{begun: &begun{state: rand.Text(), verifier: oauth2.GenerateVerifier()}}
	p.sessions.add(s, loginTime)
	p.cookie(w, s.id, loginTime)
	// Who logged out here, and logs in again, is asked who they are.
	http.Redirect(w, r, oauth.AuthCodeURL(s.begun.state, oauth2.S256ChallengeOption(s.begun.verifier),
		oauth2.SetAuthURLParam("resource", p.cfg.Audience), oauth2.SetAuthURLParam("prompt", "login")), http.StatusSeeOther)
}

// callback ends a login. It is over with that, whatever the answer was.
func (p *Page) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from := p.any(r)
	if from == nil || from.begun == nil || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(from.begun.state)) != 1 {
		p.message(w, r, http.StatusBadRequest, "This answer belongs to no login that was begun in this browser. Log in again.")
		return
	}
	p.sessions.end(from)
	p.cookie(w, "", -time.Second)
	oauth, mustName, err := p.issuer.config(r.Context())
	if err != nil {
		p.log.WarnContext(r.Context(), "page cannot reach the authorization server", "err", err)
		p.message(w, r, http.StatusBadGateway, "The authorization server does not answer. Log in again.")
		return
	}
	switch iss := q.Get("iss"); { // RFC 9207
	case iss == "" && mustName, iss != "" && iss != p.cfg.Issuer:
		p.message(w, r, http.StatusBadRequest, "This answer is from another authorization server. Log in again.")
		return
	case q.Get("error") == "access_denied":
		p.message(w, r, http.StatusForbidden, "You are not logged in: access was denied.")
		return
	case q.Get("code") == "":
		p.message(w, r, http.StatusBadGateway, "The authorization server did not log you in. Try again.")
		return
	}
	ctx := context.WithValue(r.Context(), oauth2.HTTPClient, p.issuer.client)
	token, err := oauth.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(from.begun.verifier), oauth2.SetAuthURLParam("resource", p.cfg.Audience))
	if err != nil {
		// The error holds what the server said, which may be anything.
		code := "no answer"
		if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			code = said.ErrorCode
		}
		p.log.WarnContext(r.Context(), "page got no token", "oauth_error", code)
		p.message(w, r, http.StatusBadGateway, "The authorization server gave no token. Log in again.")
		return
	}
	lifetime := sessionLimit
	if !token.Expiry.IsZero() {
		lifetime = time.Until(token.Expiry)
	}
	granted, ok := token.Extra("scope").(string)
	if !ok {
		granted = strings.Join(oauth.Scopes, " ") // RFC 6749 5.1: as asked
	}
	s := &session{token: token.AccessToken, scopes: strings.Fields(granted)}
	p.sessions.add(s, lifetime)
	p.cookie(w, s.id, lifetime)
	p.home(w, r)
}

// logout ends the session here and the token there.
func (p *Page) logout(w http.ResponseWriter, r *http.Request, s *session) {
	p.sessions.end(s)
	p.cookie(w, "", -time.Second)
	if err := p.issuer.revoke(r.Context(), s.token); err != nil {
		p.log.WarnContext(r.Context(), "token not revoked", "err", err)
	}
	p.home(w, r)
}
