package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/exampleco/tsupload/tokencache"
)

// What the doctor asks of others.

// shortLife is a token's life below which it saves little.
const shortLife = 5 * time.Minute

// connect makes what a run would upload with, watched.
func (d *doctor) connect() error {
	cfg := d.cfg
	auth, err := newTransport(cfg.Auth.CAFile, 1, 30*time.Second)
	if err != nil {
		return err
	}
	network, err := newTransport(cfg.API.CAFile, 1, cfg.API.Timeout)
	if err != nil {
		return err
	}
	d.seen = &witness{}
	cache, err := d.a.newCacheOver(d.seen.watch("authorization server", auth), cfg, d.a.logger(cfg))
	if err != nil {
		return err
	}
	base := d.seen.watch("API", network)
	d.identity = &identity{
		cache: cache, transport: &tokencache.Transport{Base: base, Cache: cache, Origins: []string{cfg.API.URL}}, network: []*http.Transport{auth, network},
	}
	return nil
}

func (d *doctor) checkDiscovery(ctx context.Context) []finding {
	endpoint, err := d.identity.cache.Endpoint(ctx)
	if err != nil {
		return []finding{failed(err)}
	}
	if d.cfg.Auth.Issuer == "" {
		return []finding{fine("token_url is given, so nothing is discovered: %s", endpoint)}
	}
	return []finding{fine("the server calls itself %s, as configured; tokens come from %s", d.cfg.Auth.Issuer, endpoint)}
}

func (d *doctor) checkToken(ctx context.Context) []finding {
	cache := d.identity.cache
	least := time.Duration(0)
	if d.fresh {
		least = 1 << 62 // no kept one lives so long
	}
	token, err := cache.TokenFor(ctx, least)
	var scope *tokencache.ScopeError
	if err != nil && !errors.As(err, &scope) {
		return []finding{failed(err)}
	}
	if err != nil { // that it says too little is another line
		token, _ = cache.Peek(ctx)
	} else if kept, has := cache.Peek(ctx); has {
		token.Allotments = kept.Allotments
	}
	d.token = token
	life, left := token.ExpiresAt.Sub(token.ObtainedAt), time.Until(token.ExpiresAt)
	if cache.Stats().Tokens == 0 {
		return []finding{fine("kept since %s, good for another %s; --fresh-token obtains another", moment(token.ObtainedAt, time.Local), age(left))}
	}
	if life < shortLife {
		return []finding{warning("let the authorization server issue tokens for an hour or so: each is a request, and many are billed", "obtained, but it lives %s only", life.Round(time.Second))}
	}
	return []finding{fine("obtained, good for %s", life.Round(time.Second))}
}

func (d *doctor) checkScope(context.Context) []finding {
	granted := strings.Join(d.token.Scopes, " ")
	if err := d.identity.cache.CheckScopes(d.token.Scopes); err != nil {
		return []finding{failed(err)}
	}
	for _, f := range d.identity.cache.Inspect(d.token.Value) {
		if f.About == "scope" && f.Odd {
			return []finding{warning("the API decides by what the token names: grant it to this client at the authorization server (as an app role in Entra ID), or mend auth.expected_scopes and auth.scope_claims", "%s", f.Text)}
		}
	}
	return []finding{fine("granted: %s", orNone(granted))}
}

// checkAudience tells who may take the token, who made it, and when it is good.
func (d *doctor) checkAudience(context.Context) (found []finding) {
	hints := map[string]string{
		"audience": "the API takes tokens for itself alone: see auth.audience and auth.dialect, and which API the server issues this client's tokens for",
		"issuer":   "the API takes tokens of the issuer it knows: see whether auth.issuer names the server that the API trusts",
		"time":     "see this machine's clock (timedatectl, chronyc tracking)",
	}
	for _, f := range d.identity.cache.Inspect(d.token.Value) {
		line := fine("%s", f.Text)
		if f.Odd {
			line = warning(hints[f.About], "%s", f.Text)
		}
		switch f.About {
		case "scope":
			continue
		case "issuer":
			line.check = "issuer"
		case "time":
			if !f.Odd {
				continue // the line token has it
			}
		}
		found = append(found, line)
	}
	return found
}

// checkAllotment says nothing where the server does not.
func (d *doctor) checkAllotment(context.Context) []finding {
	text, low := quota(&d.token, d.now)
	switch {
	case text == "":
		return nil
	case low:
		return []finding{warning(littleLeft, "%s", text)}
	}
	return []finding{fine("%s", text)}
}

// reply is the beginning of an answer of the API.
type reply struct {
	status    int
	challenge string
	page      bool // a web page in place of an answer
	took      time.Duration
}

// ask sends one request to the API.
func (d *doctor) ask(ctx context.Context, through http.RoundTripper, method, path string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.cfg.API.URL+path, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	if req.Header, err = readHeaders(ctx, d.a.resolver(tokencache.NewKeyring()), d.cfg.API.Headers); err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, challenge: resp.Header.Get("WWW-Authenticate"), took: max(time.Since(begin).Round(time.Millisecond), time.Millisecond)}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	r.page = bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	return r, err
}

// unreached is an API that did not answer.
func unreached(err error) finding {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // without the address, which the line has already
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failed(err)
	}
	hint := "see api.url, the network, and the proxy (HTTPS_PROXY)"
	if e := (*tls.CertificateVerificationError)(nil); errors.As(err, &e) {
		hint = "see the line tls; api.ca_file names other certificate authorities"
	}
	if code := exitCode(err); code == exitRefused || code == exitUnreachable {
		return failed(err)
	}
	return failure(exitUnreachable, hint, "it cannot be reached: %s", err)
}

// checkAPI sends an upload that has to be refused: without a token, and without
// a body, so that no server could take an entry from it.
func (d *doctor) checkAPI(ctx context.Context) []finding {
	base := d.identity.transport.Base
	path := "/timesheets/upload"
	if d.cfg.Auth.As == "person" {
		path = "/timesheets"
	}
	got, err := d.ask(ctx, base, http.MethodPost, path)
	if err != nil {
		return []finding{unreached(err)}
	}
	wrong := "see api.url: uploads go to {url}" + path
	answered := fmt.Sprintf("answered in %s", got.took)
	switch code := got.status; {
	case code == http.StatusUnauthorized:
		text := "reachable, " + answered + "; an upload without a token is refused with 401"
		if !strings.Contains(strings.ToLower(got.challenge), "bearer") {
			text += " (it does not ask for a bearer token, as RFC 6750 wants)"
		}
		return []finding{fine("%s", text)}
	case got.page:
		return []finding{failure(exitUnreachable, "a login page or a proxy answers in place of the API; "+wrong, "HTTP %d with a web page", code)}
	case code < 300:
		return []finding{failure(exitFault, "tell whoever runs the API: whoever can reach it can upload hours", "it takes an upload without a token (HTTP %d)", code)}
	case code < 400:
		return []finding{failure(exitConfig, wrong+"; redirects are not followed", "HTTP %d, a redirect", code)}
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return []finding{failure(exitConfig, wrong, "HTTP %d: there are no uploads at this address", code)}
	case code == http.StatusTooManyRequests, code >= 500:
		return []finding{failure(exitUnreachable, "the API is busy or broken: run again later", "HTTP %d", code)}
	default:
		return []finding{warning("no hindrance for uploads; but see that the API looks at tokens before it looks at what is sent",
			"reachable, %s; an upload without a token is refused with %d where 401 is due", answered, code)}
	}
}

// checkAccess asks, with the token, for entries of a day on which there are
// none. Without read_back there is nothing to ask that could change nothing.
func (d *doctor) checkAccess(ctx context.Context) []finding {
	if !d.cfg.Supports("read_back") {
		return nil
	}
	tokens := d.identity.transport
	query := "/timesheets?from=2000-01-01&to=2000-01-01"
	if d.cfg.Auth.As == "machine" {
		query += "&user_id=tsupload-doctor" // nobody; a person may ask for own entries alone
	}
	got, err := d.ask(ctx, tokens, http.MethodGet, query)
	if err != nil {
		return []finding{unreached(err)}
	}
	facts := strings.Join(tokens.Diagnosis(), "\n")
	switch code := got.status; {
	case code == http.StatusOK:
		return []finding{fine("the API takes the token")}
	case code == http.StatusUnauthorized:
		return []finding{failure(exitRefused, "compare audience and issuer with what the API wants, and see the clocks of all three machines", "the API does not take the token:\n%s", facts)}
	case code == http.StatusForbidden:
		return []finding{failure(exitRefused, "grant read:timesheets to this client at the authorization server", "the API takes the token, but allows it too little:\n%s", facts)}
	case code == http.StatusTooManyRequests, code >= 500:
		return []finding{failure(exitUnreachable, "the API is busy or broken: run again later", "reading back: HTTP %d", code)}
	default:
		return []finding{failure(exitConfig, "see whether the API supports read_back, as api.supports says", "reading back: HTTP %d", code)}
	}
}
