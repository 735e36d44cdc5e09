package login

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Server is the authorization server, as its metadata describes it.
type Server struct {
	// Issuer is compared with the issuer of an answer.
	Issuer string
	// AuthorizationEndpoint, TokenEndpoint and DeviceEndpoint are absolute URLs; one that is empty is not there.
	AuthorizationEndpoint, TokenEndpoint, DeviceEndpoint string
	// IssInAnswers says that an answer without an issuer is not the server's (RFC 9207).
	IssInAnswers bool
}

// Config says who logs in where.
type Config struct {
	Server Server
	// ClientID is the client that the person lets in.
	ClientID string
	// Secret is the client's, called for each token request; nil for a public client.
	Secret func(context.Context) ([]byte, error)
	// Post sends the secret in the form instead of the header.
	Post bool
	// Scopes are asked for.
	Scopes []string
	// Params go along with every request of the login: audience, resource and the like.
	Params url.Values
	// Transport carries requests to the server; nil means http.DefaultTransport. It has limits of its own.
	Transport http.RoundTripper
	// Timeout is the time that a person has; five minutes when zero.
	Timeout time.Duration
	// Logger hears what helps to understand a login that fails; nil logs nothing.
	Logger *slog.Logger
}

// Tokens is what a login yields.
type Tokens struct {
	// Access may be sent to the API now.
	Access string
	// Refresh is what further access tokens are made from; empty where the server gave none.
	Refresh string
	// Scopes are those granted: what the server said, else what was asked for.
	Scopes []string
	// ObtainedAt is the moment before the tokens were asked for.
	ObtainedAt time.Time
	// ExpiresAt is the end of the access token; zero where the server did not say.
	ExpiresAt time.Time
}

// String does not show the tokens.
func (Tokens) String() string { return "REDACTED" }

// GoString does not show the tokens.
func (Tokens) GoString() string { return "REDACTED" }

// LogValue implements slog.LogValuer; tokens are never logged.
func (t Tokens) LogValue() slog.Value { return slog.AnyValue(t.Scopes) }

const defaultTimeout = 5 * time.Minute

func (c *Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c *Config) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// client is the library's view of us. The secret is read anew, so it is made for one request or a few in a row.
func (c *Config) client(ctx context.Context) (*oauth2.Config, error) {
	conf := &oauth2.Config{
		ClientID: c.ClientID, Scopes: c.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: c.Server.AuthorizationEndpoint, TokenURL: c.Server.TokenEndpoint, DeviceAuthURL: c.Server.DeviceEndpoint,
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	if c.Secret == nil {
		return conf, nil
	}
	secret, err := c.Secret(ctx)
	if err != nil {
		return nil, err
	}
	conf.ClientSecret = string(secret)
	if !c.Post {
		conf.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return conf, nil
}

// params are the options of the library's requests. It knows no parameter given several times, so all but the first
// value of each are left to add.
func (c *Config) params() []oauth2.AuthCodeOption {
	var opts []oauth2.AuthCodeOption
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		if values := c.Params[name]; len(values) > 0 {
			opts = append(opts, oauth2.SetAuthURLParam(name, values[0]))
		}
	}
	return opts
}

// rest are the values that params leaves to add.
func (c *Config) rest() url.Values {
	rest := url.Values{}
	for name, values := range c.Params {
		if len(values) > 1 {
			rest[name] = values[1:]
		}
	}
	return rest
}

// tokens reads the library's answer.
func (c *Config) tokens(t *oauth2.Token, asked time.Time) (Tokens, error) {
	if t.AccessToken == "" {
		return Tokens{}, &Error{Kind: Refused, Problem: "the authorization server's answer holds no access token"}
	}
	if t.TokenType != "" && !strings.EqualFold(t.TokenType, "bearer") {
		return Tokens{}, &Error{Kind: Refused, Problem: "the authorization server's token is of type " + quote(t.TokenType) + ", not Bearer"}
	}
	granted := slices.Clone(c.Scopes)
	if said, ok := t.Extra("scope").(string); ok {
		granted = strings.Fields(said)
		for i, s := range granted {
			granted[i] = plain(s, 200)
		}
	}
	slices.Sort(granted)
	return Tokens{Access: t.AccessToken, Refresh: t.RefreshToken, Scopes: slices.Compact(granted), ObtainedAt: asked, ExpiresAt: t.Expiry.Round(0)}, nil
}
