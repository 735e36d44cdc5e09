package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/exampleco/tsupload/tokencache"
)

// What the doctor asks of others.

const (
	// From here on a difference between two clocks is worth a word, and from
	// there on tokens and signatures are refused because of it.
	clockWorth = 30 * time.Second
	clockBad   = 5 * time.Minute
	// certificateSoon is how long before its end a certificate should have been
	// renewed.
	certificateSoon = 21 * 24 * time.Hour
	// shortLife is a token's life below which it saves little.
	shortLife = 5 * time.Minute
)

// witness keeps what servers' answers tell beside their contents.
type witness struct {
	mu   sync.Mutex
	seen []*testimony // in the order in which they were asked first
}

// testimony is of one server.
type testimony struct {
	who, origin string
	ahead       time.Duration // this machine's clock; as good as a second
	told        bool          // the time
	tls         *tls.ConnectionState
	refused     *tls.CertificateVerificationError
}

// watch returns a transport whose answers are noted under who is asked.
func (w *witness) watch(who string, next http.RoundTripper) http.RoundTripper {
	return watching{w, who, next}
}

type watching struct {
	to   *witness
	who  string
	next http.RoundTripper
}

func (t watching) RoundTrip(req *http.Request) (*http.Response, error) {
	before := time.Now()
	resp, err := t.next.RoundTrip(req)
	took := time.Since(before)
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	origin := req.URL.Scheme + "://" + req.URL.Host
	var of *testimony
	for _, x := range t.to.seen {
		if x.who == t.who && x.origin == origin {
			of = x
		}
	}
	if of == nil {
		of = &testimony{who: t.who, origin: origin}
		t.to.seen = append(t.to.seen, of)
	}
	if err != nil {
		_ = errors.As(err, &of.refused)
		return nil, err
	}
	of.tls = resp.TLS
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// The header is cut to the second; the answer was made somewhere between.
		of.ahead, of.told = before.Add(took/2).Sub(at.Add(500*time.Millisecond)), true
	}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks for.
func (t watching) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

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

func (d *doctor) checkClock(context.Context) []finding {
	d.seen.mu.Lock()
	defer d.seen.mu.Unlock()
	const hint = "set this machine's clock (timedatectl set-ntp true), or tell whoever runs the other; tokens and signatures are good for minutes only"
	var found []finding
	var agree []string
	for _, s := range d.seen.seen {
		if !s.told {
			continue
		}
		off := s.ahead.Round(time.Second)
		text := fmt.Sprintf("this machine's clock is %s ahead of the %s's", off, s.who)
		if off < 0 {
			text = fmt.Sprintf("this machine's clock is %s behind the %s's", -off, s.who)
		}
		switch {
		case off.Abs() > clockBad:
			found = append(found, failure(exitFault, hint, "%s", text))
		case off.Abs() > clockWorth:
			found = append(found, warning(hint, "%s", text))
		default:
			agree = append(agree, fmt.Sprintf("%s %+ds", s.who, int(off.Seconds())))
		}
	}
	switch {
	case len(agree) > 0:
		return append([]finding{fine("agrees with: %s", strings.Join(agree, ", "))}, found...)
	case len(found) == 0:
		return []finding{warning("see it yourself: timedatectl", "no server told what time it is")}
	}
	return found
}

func (d *doctor) checkTLS(context.Context) (found []finding) {
	d.seen.mu.Lock()
	defer d.seen.mu.Unlock()
	for _, s := range d.seen.seen {
		switch {
		case s.refused != nil:
			found = append(found, distrusted(s, d.now))
		case s.tls != nil:
			found = append(found, trusted(s, d.now))
		case strings.HasPrefix(s.origin, "http://") && s.told:
			found = append(found, fine("%s %s: plain http, on this machine only", s.who, s.origin))
		}
	}
	return found
}

// distrusted tells what is wrong with a certificate that was not accepted.
func distrusted(s *testimony, now time.Time) finding {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	presented := ""
	if len(s.refused.UnverifiedCertificates) > 0 {
		c := s.refused.UnverifiedCertificates[0]
		presented = fmt.Sprintf(" (for %s, by %s, until %s)", names(c), clean(c.Issuer.CommonName), c.NotAfter.UTC().Format(time.DateOnly))
	}
	what, hint := "its certificate is not accepted", "see what answers there"
	err := s.refused.Err
	switch {
	case errors.As(err, &host):
		what, hint = "its certificate is for other names", "use a name that is on the certificate, or renew it with this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		what, hint = "its certificate is not valid yet", "see this machine's clock"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what, hint = "its certificate has expired", "renew it on the server, or see this machine's clock"
	case errors.As(err, &unknown):
		what, hint = "its certificate is by an authority that is not known here", "name the authority with auth.ca_file or api.ca_file; if it is publicly trusted, the server does not send the certificates between"
	}
	return failure(exitUnreachable, hint, "%s %s: %s%s", s.who, s.origin, what, presented)
}

func trusted(s *testimony, now time.Time) finding {
	head := fmt.Sprintf("%s %s: %s", s.who, s.origin, tls.VersionName(s.tls.Version))
	if len(s.tls.VerifiedChains) == 0 || len(s.tls.PeerCertificates) == 0 {
		return fine("%s", head)
	}
	first := s.tls.PeerCertificates[0]
	ends, which := first.NotAfter, "its certificate"
	for _, c := range s.tls.VerifiedChains[0][1:] {
		if c.NotAfter.Before(ends) {
			ends, which = c.NotAfter, "the certificate of "+clean(c.Subject.CommonName)
		}
	}
	left := ends.Sub(now)
	text := fmt.Sprintf("%s, %s is good for %s (until %s), for %s, by %s", head, which, age(left), ends.UTC().Format(time.DateOnly), names(first), clean(first.Issuer.CommonName))
	if left < certificateSoon {
		return warning("see why it is not renewed", "%s", text)
	}
	return fine("%s", text)
}

// names are the hosts that a certificate is for, a few of them.
func names(c *x509.Certificate) string {
	list := c.DNSNames
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	const shown = 3
	if len(list) > shown {
		list = append(list[:shown:shown], fmt.Sprintf("%d more", len(list)-shown))
	}
	return orNone(clean(strings.Join(list, ", ")))
}
