package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/oauth2"
)

const maxAnswer = 4 << 20

// issuer is the authorization server, as its metadata (RFC 8414) describes it.
type issuer struct {
	cfg    Config
	client *http.Client

	mu    sync.Mutex
	known *metadata
}

type metadata struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Revocation    string `json:"revocation_endpoint"`
	NamesItself   bool   `json:"authorization_response_iss_parameter_supported"`
}

// config returns what logins need, and whether the answer to one names its
// issuer (RFC 9207).
func (i *issuer) config(ctx context.Context) (*oauth2.Config, bool, error) {
	m, err := i.discover(ctx)
	if err != nil {
		return nil, false, err
	}
	return &oauth2.Config{
		ClientID: i.cfg.ClientID, ClientSecret: i.cfg.ClientSecret,
		Endpoint:    oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: oauth2.AuthStyleInHeader},
		RedirectURL: i.cfg.URL + CallbackPath,
		Scopes:      []string{scopeRead, scopeCreate, scopeDelete, scopeApprove},
	}, m.NamesItself, nil
}

// discover asks for the metadata until it has once been had.
func (i *issuer) discover(ctx context.Context) (*metadata, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known != nil {
		return i.known, nil
	}
	u, err := url.Parse(i.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	// RFC 8414 3: between host and path.
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var m metadata
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("discovery answers %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&m); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if m.Issuer != i.cfg.Issuer || m.Authorization == "" || m.Token == "" {
		return nil, errors.New("discovery: the document is of another issuer, or incomplete")
	}
	i.known = &m
	return i.known, nil
}

// revoke tells the issuer that a token is not used any more (RFC 7009).
func (i *issuer) revoke(ctx context.Context, token string) error {
	m, err := i.discover(ctx)
	if err != nil || m.Revocation == "" {
		return err
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(i.cfg.ClientID), url.QueryEscape(i.cfg.ClientSecret))
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("revocation answers %d", resp.StatusCode)
	}
	return nil
}
