package login

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Browser says how a person gets to the login page.
type Browser struct {
	// Port pins the port of the redirect; 0 takes a free one.
	Port int
	// Show is called once with the address of the login page, when the listener is there. It opens a browser or shows the
	// address, and does not wait for the login. An error ends the login.
	Show func(ctx context.Context, address string) error
}

// WithBrowser lets a person log in with a browser on this machine: authorization code with PKCE, on a redirect to
// loopback. It fails with an Error, an error of Secret or Show, or when ctx ends.
func (c *Config) WithBrowser(ctx context.Context, b Browser) (Tokens, error) {
	if c.Server.AuthorizationEndpoint == "" {
		return Tokens{}, &Error{Kind: Refused, Problem: "the authorization server has no login page (authorization_endpoint)", hint: "check auth.issuer, or try --device"}
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	state, verifier := random(), oauth2.GenerateVerifier()
	l, err := listen(ctx, b.Port, expected{state: state, issuer: c.Server.Issuer, issRequired: c.Server.IssInAnswers})
	if err != nil {
		return Tokens{}, err
	}
	defer l.close() //nolint:contextcheck // the browser gets its page even when the login is over
	conf, err := c.client(ctx)
	if err != nil {
		return Tokens{}, err
	}
	conf.RedirectURL = l.redirect
	address := c.withRest(conf.AuthCodeURL(state, append(c.params(), oauth2.S256ChallengeOption(verifier))...))
	if err := b.Show(ctx, address); err != nil {
		return Tokens{}, err
	}
	code, err := l.wait(ctx)
	if err != nil {
		if outer.Err() != nil {
			return Tokens{}, outer.Err()
		}
		return Tokens{}, err
	}
	c.log().DebugContext(ctx, "answer of the login page received")
	// The code is spent now: what it brings must not get lost to the end of the person's time.
	ctx, cancel = context.WithTimeout(outer, exchangeTime)
	defer cancel()
	asked := time.Now().Round(0)
	tok, err := conf.Exchange(c.through(ctx, c.base()), code, append(c.params(), oauth2.VerifierOption(verifier))...)
	if err != nil {
		if outer.Err() != nil {
			return Tokens{}, outer.Err()
		}
		if ctx.Err() != nil {
			return Tokens{}, &Error{Kind: Unavailable, Problem: "token request: no answer in time"}
		}
		return Tokens{}, tokenError(ctx, "token request", err)
	}
	return c.tokens(tok, asked)
}

const exchangeTime = 30 * time.Second

func (c *Config) base() http.RoundTripper {
	if c.Transport == nil {
		return http.DefaultTransport
	}
	return c.Transport
}

// through is a context by which the library sends requests over rt. Redirects are not followed: the code, or a device's,
// would go along.
func (c *Config) through(ctx context.Context, rt http.RoundTripper) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     answers{c: c, next: rt},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
}

// withRest adds to an address what the library has no words for: further values of a parameter.
func (c *Config) withRest(address string) string {
	rest := c.rest()
	if len(rest) == 0 {
		return address
	}
	sep := "&"
	if !strings.Contains(address, "?") {
		sep = "?"
	}
	return address + sep + rest.Encode()
}

// random has 256 bits.
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
