package tokencache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// AuthStyle is how the client proves who it is. It is never guessed: a guess costs a second request with each error.
type AuthStyle string

// The ways of sending a client's credentials.
const (
	// AuthBasic sends id and secret in the Authorization header, form-encoded first, as RFC 6749 section 2.3.1 asks.
	AuthBasic AuthStyle = "basic"
	// AuthPost sends id and secret in the body.
	AuthPost AuthStyle = "post"
	// AuthAssertion sends a signed statement in the body (RFC 7523 section 2.2), and no secret.
	AuthAssertion AuthStyle = "assertion"
)

// assertionType is what RFC 7523 section 2.2 calls a JWT.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Recipient is the authorization server that an assertion is for.
type Recipient struct {
	// Issuer is Config.Issuer; empty where only the endpoint is known.
	Issuer string
	// TokenURL is the token endpoint that is about to be asked.
	TokenURL string
}

// Grant is what a token is asked for with.
type Grant string

// The two grants.
const (
	// GrantClient is the client's own identity: client credentials (RFC 6749 section 4.4).
	GrantClient Grant = "client_credentials"
	// GrantLogin is a person's login, which [Cache.Adopt] kept: each token is made from its refresh token, which may be
	// replaced every time (RFC 6749 section 6).
	GrantLogin Grant = "refresh_token"
)

// Config says which token to get, from whom, and where to keep it.
type Config struct {
	// Issuer is the authorization server; its token endpoint is discovered. It must be what the server calls itself,
	// byte for byte.
	Issuer string
	// TokenURL is the token endpoint; with it nothing is discovered. One of Issuer and TokenURL is required.
	TokenURL string
	// ClientID is required.
	ClientID string
	// Grant is GrantClient when empty.
	Grant Grant
	// Secret is required but for GrantLogin, where it is nil for a public client: the client secret, or what Assert makes
	// assertions of. It is called for each token request, so a rotated secret is picked up.
	Secret func(context.Context) ([]byte, error)
	// AuthStyle is AuthBasic when empty.
	AuthStyle AuthStyle
	// Assert makes the client assertion of one request out of what Secret returned; AuthAssertion requires it. It is
	// called for repetitions too, for a server takes an assertion once.
	Assert func(secret []byte, to Recipient) (string, error)
	// Scopes are asked for.
	Scopes []string
	// ExpectedScopes are the names the grant must hold, when the server names them differently; Scopes when empty.
	ExpectedScopes []string
	// CheckScope compares what was granted with what was expected.
	CheckScope bool
	// Audience is sent as the parameter "audience".
	Audience string
	// ExpectedAudiences are the API's names in a token, where they are not Audience or Resources. Only Inspect and
	// Diagnose ask.
	ExpectedAudiences []string
	// ScopeClaims are the claims of a token in which scopes stand: scope, scp, permissions, roles; all when empty. Only
	// Inspect and Diagnose ask.
	ScopeClaims []string
	// Resources are sent as parameters "resource" (RFC 8707).
	Resources []string
	// Params are sent as they are. They may not replace a parameter that this package sets.
	Params url.Values
	// As says for whom uploads are made ("machine", "person"). With Subject it keeps tokens of different kinds apart.
	As string
	// Subject names the person a token belongs to; empty for a machine.
	Subject string
	// Store keeps the token between processes; nil keeps it in memory only.
	Store Store
	// LockDir holds the lock and the last refusal of each key, beside the stored tokens; without it there is neither
	// a lock nor a memory of refusals between processes.
	LockDir string
	// Transport carries requests to the authorization server; nil uses one of our own.
	Transport http.RoundTripper
	// Timeout bounds one fetch with its discovery and retries; 30 s when zero.
	Timeout time.Duration
	// Logger is where trouble that is no error goes; nil logs nothing.
	Logger *slog.Logger
}

const defaultTimeout = 30 * time.Second

// ownParams are set from other fields or by the library; a secret has no place in Params, which enter the key.
var ownParams = []string{
	"grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "refresh_token",
	"password", "assertion",
}

func (c *Config) validate() error {
	var errs []error
	if c.Issuer == "" && c.TokenURL == "" {
		errs = append(errs, errors.New("neither issuer nor token_url is set"))
	}
	if c.Issuer != "" {
		errs = append(errs, checkURL("issuer", c.Issuer))
	}
	if c.TokenURL != "" {
		errs = append(errs, checkURL("token_url", c.TokenURL))
	}
	if c.ClientID == "" {
		errs = append(errs, errors.New("client_id is empty"))
	}
	if c.Secret == nil && c.Grant != GrantLogin {
		errs = append(errs, errors.New("no client secret"))
	}
	switch c.AuthStyle {
	case AuthBasic, AuthPost:
		if c.Assert != nil {
			errs = append(errs, fmt.Errorf("auth_style %q sends no assertion", c.AuthStyle))
		}
	case AuthAssertion:
		if c.Assert == nil {
			errs = append(errs, errors.New("nothing makes assertions"))
		}
	default:
		errs = append(errs, fmt.Errorf("auth_style %q is none of basic, post and assertion", c.AuthStyle))
	}
	for name := range c.Params {
		if slices.Contains(ownParams, name) || (name == "audience" && c.Audience != "") || (name == "resource" && len(c.Resources) > 0) {
			errs = append(errs, fmt.Errorf("params: %q is set by its own setting", name))
		}
	}
	for _, s := range slices.Concat(c.Scopes, c.ExpectedScopes) {
		if s == "" || strings.ContainsAny(s, " \t\r\n") {
			errs = append(errs, fmt.Errorf("scope %q is not one name", s))
		}
	}
	return errors.Join(errs...)
}

// checkURL demands https, or http to this machine: the secret travels there.
func checkURL(field, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%s is not an absolute URL", field)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%s must not have a user or a fragment", field)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%s %s must be https (http only to this machine)", field, endpointName(raw))
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// key names the token: everything that changes what the server would issue, and never the secret.
func (c *Config) key() (string, error) {
	id := struct {
		Version   int        `json:"version"`
		Issuer    string     `json:"issuer"`
		TokenURL  string     `json:"token_url"`
		ClientID  string     `json:"client_id"`
		Grant     string     `json:"grant"`
		Scopes    []string   `json:"scopes"`
		Audience  string     `json:"audience"`
		Resources []string   `json:"resources"`
		Params    url.Values `json:"params"`
		AuthStyle AuthStyle  `json:"auth_style"`
		As        string     `json:"as"`
		Subject   string     `json:"subject"`
	}{
		entryVersion, c.Issuer, c.TokenURL, c.ClientID, string(c.Grant), sorted(c.Scopes), c.Audience, sorted(c.Resources), c.Params,
		c.AuthStyle, c.As, c.Subject,
	}
	if len(id.Params) == 0 {
		id.Params = nil
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(id); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

func sorted(s []string) []string {
	out := slices.Clone(s)
	slices.Sort(out)
	return slices.Compact(out)
}

// wanted lists the scopes a grant must hold.
func (c *Config) wanted() []string {
	if !c.CheckScope {
		return nil
	}
	return c.needed()
}

// needed lists the scopes the work needs. "/.default" stands for others and is never granted under that name.
func (c *Config) needed() []string {
	if len(c.ExpectedScopes) > 0 {
		return sorted(c.ExpectedScopes)
	}
	return slices.DeleteFunc(sorted(c.Scopes), func(s string) bool { return s == ".default" || strings.HasSuffix(s, "/.default") })
}

// params are the extra parameters of a token request.
func (c *Config) params() url.Values {
	v := url.Values{}
	for name, values := range c.Params {
		v[name] = slices.Clone(values)
	}
	if c.Audience != "" {
		v.Set("audience", c.Audience)
	}
	if len(c.Resources) > 0 {
		v["resource"] = slices.Clone(c.Resources)
	}
	return v
}

func (c *Config) libraryStyle() oauth2.AuthStyle {
	if c.AuthStyle == AuthBasic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}
