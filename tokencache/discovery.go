package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Metadata is what an authorization server says about itself (RFC 8414, OpenID Connect Discovery). An endpoint that is
// absent, or that no credential may be sent to (plain HTTP beyond this machine), is empty.
type Metadata struct {
	// Issuer is the configured one; a document of another was refused.
	Issuer string
	// TokenEndpoint is never empty.
	TokenEndpoint string
	// AuthorizationEndpoint is where a person logs in with a browser.
	AuthorizationEndpoint string
	// DeviceEndpoint is where the device grant begins (RFC 8628).
	DeviceEndpoint string
	// RevocationEndpoint is where a token is given back (RFC 7009).
	RevocationEndpoint string
	// ScopesSupported are the scopes that the server tells of, which need not be all.
	ScopesSupported []string
	// IssInAnswers says that answers to the redirect name their issuer (RFC 9207).
	IssInAnswers bool
}

// discovery remembers the metadata for the life of the cache.
type discovery struct {
	mu    sync.Mutex
	found *Metadata
}

// Endpoint is the token endpoint: the configured one, or what the issuer's metadata names, which has to be of that very
// issuer. It fails as Token does.
func (c *Cache) Endpoint(ctx context.Context) (string, error) { return c.endpoint(ctx) }

// endpoint returns the token endpoint: the configured one, the one found before, or the one the issuer's metadata names.
func (c *Cache) endpoint(ctx context.Context) (string, error) {
	m, err := c.Metadata(ctx)
	return m.TokenEndpoint, err
}

// Metadata returns what the issuer says about itself, which is asked for once. Where Config.TokenURL is set nothing is
// asked, and nothing but the token endpoint is known. It fails like Token.
func (c *Cache) Metadata(ctx context.Context) (Metadata, error) {
	if c.cfg.TokenURL != "" {
		return Metadata{Issuer: c.cfg.Issuer, TokenEndpoint: c.cfg.TokenURL}, nil
	}
	// Fetches run one at a time, so the lock is held by nobody for long.
	c.discovery.mu.Lock()
	defer c.discovery.mu.Unlock()
	if c.discovery.found != nil {
		return *c.discovery.found, nil
	}
	var problems []string
	var down *UnavailableError
	for _, at := range metadataURLs(c.cfg.Issuer) {
		found, err := c.metadata(ctx, at)
		if err == nil {
			c.discovery.found = &found
			return found, nil
		}
		if errors.As(err, &down) {
			if down.Status == 0 {
				return Metadata{}, down
			}
			continue
		}
		problems = append(problems, err.Error())
	}
	// A server in trouble may have either document; only two clear answers say it has neither.
	if down != nil {
		return Metadata{}, down
	}
	return Metadata{}, &RefusedError{
		Code: CodeDiscovery, Description: strings.Join(problems, "; "), Endpoint: endpointName(c.cfg.Issuer),
		hint: "auth.issuer must be exactly what the server calls itself, with or without the last slash; or set auth.token_url and nothing is discovered",
	}
}

// metadataURLs lists where an issuer's metadata may be: RFC 8414 puts the well-known part between host and path,
// OpenID Connect at the end.
func metadataURLs(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	root := u.Scheme + "://" + u.Host
	return []string{root + "/.well-known/oauth-authorization-server" + path, root + path + "/.well-known/openid-configuration"}
}

// metadata reads one document. Its errors name the document, since two are tried.
func (c *Cache) metadata(ctx context.Context, at string) (Metadata, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return Metadata{}, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := (&http.Client{Transport: c.http, CheckRedirect: noRedirects}).Do(req)
	if err != nil {
		return Metadata{}, &UnavailableError{Endpoint: endpointName(at), Err: plainError(err), what: "metadata"}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readLimited(resp.Body)
	rec := recorder{status: resp.StatusCode, header: resp.Header}
	name := endpointName(at)
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return Metadata{}, &UnavailableError{Endpoint: name, Status: resp.StatusCode, RetryAfter: rec.wait(), what: "metadata"}
	case errors.Is(err, errTooLarge):
		return Metadata{}, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return Metadata{}, &UnavailableError{Endpoint: name, Status: resp.StatusCode, Err: err, what: "metadata"}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return Metadata{}, fmt.Errorf("%s: HTTP %d, and redirects are not followed", name, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return Metadata{}, fmt.Errorf("%s: HTTP %d", name, resp.StatusCode)
	case strings.Contains(media, "html"):
		return Metadata{}, fmt.Errorf("%s: an HTML page, not metadata", name)
	}
	var doc struct {
		Issuer                string   `json:"issuer"`
		TokenEndpoint         string   `json:"token_endpoint"`
		AuthorizationEndpoint string   `json:"authorization_endpoint"`
		DeviceEndpoint        string   `json:"device_authorization_endpoint"`
		RevocationEndpoint    string   `json:"revocation_endpoint"`
		ScopesSupported       []string `json:"scopes_supported"`
		IssInAnswers          bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return Metadata{}, fmt.Errorf("%s: not JSON metadata", name)
	}
	if doc.Issuer != c.cfg.Issuer {
		return Metadata{}, fmt.Errorf("%s: the document is of issuer %q, configured is %q", name, quote(doc.Issuer, 200), c.cfg.Issuer)
	}
	if err := checkURL("token_endpoint", doc.TokenEndpoint); err != nil {
		return Metadata{}, fmt.Errorf("%s: %w", name, err)
	}
	m := Metadata{
		Issuer: doc.Issuer, TokenEndpoint: doc.TokenEndpoint, AuthorizationEndpoint: doc.AuthorizationEndpoint, DeviceEndpoint: doc.DeviceEndpoint,
		RevocationEndpoint: doc.RevocationEndpoint, ScopesSupported: doc.ScopesSupported, IssInAnswers: doc.IssInAnswers,
	}
	// Who wants no more than a token is not to fail because of these.
	for _, optional := range []*string{&m.AuthorizationEndpoint, &m.DeviceEndpoint, &m.RevocationEndpoint} {
		if checkURL("endpoint", *optional) != nil {
			*optional = ""
		}
	}
	return m, nil
}
