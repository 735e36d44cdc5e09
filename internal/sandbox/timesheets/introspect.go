package timesheets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// recall is for how long a token that was found good is not asked about again:
// one that is revoked stops working within it.
const recall = 5 * time.Second

var (
	errIntrospectionUnavailable = errors.New("the issuer cannot be asked about tokens")
	errInactive                 = errors.New("the issuer says that the token is not active")
	errOtherAPI                 = errors.New("the token is of another issuer or for another API")
	errExpired                  = errors.New("the token is expired")
)

// Introspection is how the API asks the authorization server about reference
// tokens (RFC 7662), as a client of its own.
type Introspection struct {
	URL, ClientID, ClientSecret string
}

// introspector is step one for reference tokens. The issuer checks them; that
// the answer is for this API and still holds is checked here.
type introspector struct {
	cfg              Introspection
	issuer, audience string
	transport        *http.Transport
	client           *http.Client
	good             verdicts
}

func newIntrospector(ctx context.Context, cfg Config) *introspector {
	i := &introspector{
		cfg: cfg.Introspection, issuer: cfg.Issuer, audience: cfg.Audience,
		transport: &http.Transport{},
	}
	i.client = &http.Client{
		Transport: i.transport, Timeout: 5 * time.Second,
		// The credentials are for the issuer alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	context.AfterFunc(ctx, i.transport.CloseIdleConnections)
	return i
}

// check implements checker. Only good tokens are remembered.
func (i *introspector) check(ctx context.Context, token string) (caller, error) {
	now := time.Now()
	if known, ok := i.good.recall(token, now); ok {
		return known, nil
	}
	said, err := i.ask(ctx, token)
	if err != nil {
		return caller{}, err
	}
	switch {
	case !said.Active:
		return caller{}, errInactive
	// An issuer that is not named is the one that was asked.
	case said.Issuer != "" && said.Issuer != i.issuer || !slices.Contains(said.Audience, i.audience):
		return caller{}, errOtherAPI
	case said.ExpiresAt == nil || !now.Before(said.ExpiresAt.Time):
		return caller{}, errExpired
	}
	if said.ID == "" {
		said.ID = "reference" // nothing is kept under it in this design
	}
	c, err := said.caller()
	if err != nil {
		return caller{}, err
	}
	i.good.remember(token, c, now.Add(recall), c.expires)
	return c, nil
}

// introspected is the answer of RFC 7662, 2.2, with our claims.
type introspected struct {
	Active bool `json:"active"`
	tokenClaims
}

// ask returns what the issuer says; the error is errIntrospectionUnavailable.
func (i *introspector) ask(ctx context.Context, token string) (introspected, error) {
	var said introspected
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.cfg.URL, strings.NewReader(form.Encode())) //nolint:gosec // the address is configured
	if err != nil {
		return said, errors.Join(errIntrospectionUnavailable, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 2.3.1: both are form-encoded inside Basic.
	req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	resp, err := i.client.Do(req) //nolint:gosec // see above
	if err != nil {
		return said, errors.Join(errIntrospectionUnavailable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("introspection answers %d", resp.StatusCode)
	}
	if err == nil {
		err = json.Unmarshal(body, &said)
	}
	if err != nil {
		return introspected{}, errors.Join(errIntrospectionUnavailable, err)
	}
	return said, nil
}
