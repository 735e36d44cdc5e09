package sandbox

import (
	"crypto/rand"
	"maps"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/page"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Clients of the authorization server, beside the machine.
const (
	// NoScopeClient is a second machine, with the secret of the first, that is
	// granted no batch:upload.
	NoScopeClient = "sandbox-noscope"
	// CLIClient is tsupload on a person's computer: public, with PKCE on a
	// loopback address, or by the device grant.
	CLIClient = "tsupload-cli"
	// WebClient is the page of the API.
	WebClient = "sandbox-web"
	// APIClient is the API, which introspects tokens.
	APIClient = "sandbox-api"
)

// clients are the registered ones.
func (s *Sandbox) clients() []authserver.Client {
	secret := authserver.Secret{Value: s.cfg.ClientSecret, Expires: time.Now().Add(s.cfg.SecretTTL)}
	return []authserver.Client{
		{
			ID: s.cfg.ClientID, Name: "tsupload (machine)", Grants: []string{authserver.GrantClientCredentials},
			Secrets: []authserver.Secret{secret}, Keys: s.cfg.ClientKeys,
			Scopes: []string{authserver.ScopeUpload, authserver.ScopeRead, authserver.ScopeDelete},
		},
		{
			ID: NoScopeClient, Name: "a machine without rights", Grants: []string{authserver.GrantClientCredentials},
			Secrets: []authserver.Secret{secret}, Scopes: []string{authserver.ScopeRead},
		},
		{
			ID: CLIClient, Name: "tsupload on your computer", Native: true,
			Grants:    []string{authserver.GrantCode, authserver.GrantDevice, authserver.GrantRefresh},
			Redirects: []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
			Scopes:    authserver.PersonScopes(),
		},
		{
			ID: WebClient, Name: "the ExampleCo timesheets page",
			Grants:    []string{authserver.GrantCode, authserver.GrantRefresh},
			Secrets:   []authserver.Secret{{Value: s.webSecret}},
			Redirects: []string{s.apiURL + page.CallbackPath},
			Scopes:    authserver.PersonScopes(),
		},
		{
			ID: APIClient, Name: "the Timesheets API", Secrets: []authserver.Secret{{Value: s.apiSecret}}, Introspects: true,
		},
	}
}

// hire gives everybody at ExampleCo a password, which cfg has afterwards.
func hire(cfg *Config) (*people.Directory, error) {
	staff := people.ExampleCo()
	passwords := maps.Clone(cfg.Passwords)
	if passwords == nil {
		passwords = make(map[string]string)
	}
	for _, p := range staff {
		if passwords[p.Username] == "" {
			// Short enough to type, and far too long for the login page to be guessed.
			passwords[p.Username] = strings.ToLower(rand.Text()[:12])
		}
	}
	cfg.Passwords = passwords
	return people.New(staff, passwords)
}
