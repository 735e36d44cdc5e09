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

// discovery remembers the token endpoint for the life of the cache.
type discovery struct {
	mu       sync.Mutex
	endpoint string
}

// endpoint returns the token endpoint: the configured one, the one found before, or the one the issuer's metadata names.
func (c *Cache) endpoint(ctx context.Context) (string, error) {
	if c.cfg.TokenURL != "" {
		return c.cfg.TokenURL, nil
	}
	// Fetches run one at a time, so the lock is held by nobody for long.
	c.discovery.mu.Lock()
	defer c.discovery.mu.Unlock()
	if c.discovery.endpoint != "" {
		return c.discovery.endpoint, nil
	}
	var problems []string
	var down *UnavailableError
	for _, at := range metadataURLs(c.cfg.Issuer) {
		endpoint, err := c.metadata(ctx, at)
		if err == nil {
			c.discovery.endpoint = endpoint
			return endpoint, nil
		}
		if errors.As(err, &down) {
			if down.Status == 0 {
				return "", down
			}
			continue
		}
		problems = append(problems, err.Error())
	}
	// A server in trouble may have either document; only two clear answers say it has neither.
	if down != nil {
		return "", down
	}
	return "", &RefusedError{
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

// metadata reads one document and returns its token endpoint. Its errors name the document, since two are tried.
func (c *Cache) metadata(ctx context.Context, at string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := (&http.Client{Transport: c.http, CheckRedirect: noRedirects}).Do(req)
	if err != nil {
		return "", &UnavailableError{Endpoint: endpointName(at), Err: plainError(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readLimited(resp.Body)
	rec := recorder{status: resp.StatusCode, header: resp.Header}
	name := endpointName(at)
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return "", &UnavailableError{Endpoint: name, Status: resp.StatusCode, RetryAfter: rec.wait()}
	case errors.Is(err, errTooLarge):
		return "", fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return "", &UnavailableError{Endpoint: name, Status: resp.StatusCode, Err: err}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return "", fmt.Errorf("%s: HTTP %d, and redirects are not followed", name, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s: HTTP %d", name, resp.StatusCode)
	case strings.Contains(media, "html"):
		return "", fmt.Errorf("%s: an HTML page, not metadata", name)
	}
	var doc struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return "", fmt.Errorf("%s: not JSON metadata", name)
	}
	if doc.Issuer != c.cfg.Issuer {
		return "", fmt.Errorf("%s: the document is of issuer %q, configured is %q", name, quote(doc.Issuer, 200), c.cfg.Issuer)
	}
	if err := checkURL("token_endpoint", doc.TokenEndpoint); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return doc.TokenEndpoint, nil
}
