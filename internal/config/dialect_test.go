package config

import (
	"strings"
	"testing"
)

// Each dialect with what it decides, and what it does not do without.
func TestDialects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		yaml string
		want string // lines of config show, by their beginnings
	}{
		{"auth: {issuer: 'https://x/', audience: a}", `auth.scopes ["batch:upload"] default|auth.expected_scopes [] default|auth.check_scope true default|auth.scope_claims [] default|auth.assertion_audience "issuer" default`},
		{"api: {supports: [read_back]}\nauth: {dialect: auth0, audience: a}", `auth.scopes ["batch:upload", "read:timesheets"] f:2|auth.check_scope true f:2|auth.scope_claims ["scope", "permissions"] f:2|auth.assertion_audience "issuer" default`},
		{"api: {supports: [read_back]}\nauth: {dialect: entra, audience: 'api://guid'}", `auth.scopes ["api://guid/.default"] f:2|auth.expected_scopes ["batch:upload", "read:timesheets"] f:2|auth.check_scope false f:2|auth.scope_claims ["roles"] f:2|auth.assertion_audience "token_endpoint" f:2`},
		{"auth: {dialect: entra, scopes: ['x/.default'], check_scope: true, expected_scopes: [Upload]}", `auth.scopes ["x/.default"] f:1|auth.expected_scopes ["Upload"] f:1|auth.check_scope true f:1`},
		{"auth: {dialect: entra, as: person, issuer: 'https://x/', audience: 'api://guid'}", `auth.scopes ["api://guid/create:timesheets"] f:1|auth.check_scope true f:1|auth.scope_claims ["scp"] f:1`},
		{"auth: {dialect: okta, issuer: 'https://x.okta.com/oauth2/default', audience: a}", `auth.scopes ["batch:upload"] f:1|auth.scope_claims ["scp"] f:1|auth.assertion_audience "token_endpoint" f:1`},
		{"auth: {dialect: okta, private_key: {file: k}, assertion_audience: issuer, issuer: 'https://x.okta.com/oauth2/default'}", `auth.assertion_audience "issuer" f:1`},
		{"auth: {dialect: keycloak}", `auth.scopes ["batch:upload"] f:1|auth.scope_claims ["scope"] f:1|auth.assertion_audience "issuer" default`},
		{"api: {supports: [read_back]}\nauth: {dialect: cognito, audience: timesheets}", `auth.scopes ["timesheets/batch:upload", "timesheets/read:timesheets"] f:2|auth.expected_scopes [] default|auth.scope_claims ["scope"] f:2`},
		{"auth: {token_url: 'https://x/token', private_key: {file: k}}", `auth.assertion_audience "token_endpoint" default`},
	} {
		c := mustLoad(t, tt.yaml, nil)
		shown := map[string]string{}
		for _, s := range c.Settings() {
			origin := s.Origin.String()
			if s.Origin.Line > 0 {
				origin = "f" + origin[strings.LastIndex(origin, ":"):]
			}
			shown[s.Key] = s.Key + " " + s.Value + " " + origin
		}
		for want := range strings.SplitSeq(tt.want, "|") {
			if key, _, _ := strings.Cut(want, " "); shown[key] != want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.yaml, shown[key], want)
			}
		}
	}
}

// A dialect is optional, so the issuer tells too.
func TestEndsLoginsTogether(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		auth Auth
		want bool
	}{
		{Auth{Dialect: "keycloak", Issuer: "https://x"}, true},
		{Auth{Issuer: "https://x/auth/realms/work"}, true},
		{Auth{Dialect: "auth0", Issuer: "https://login.x/"}, true},
		{Auth{Issuer: "https://x.eu.auth0.com/"}, true},
		{Auth{Dialect: "okta", Issuer: "https://x.okta.com/oauth2/default"}, false},
		{Auth{Issuer: "https://notauth0.com/"}, false},
	} {
		if got := tt.auth.EndsLoginsTogether(); got != tt.want {
			t.Errorf("%s at %s: got %t, want %t", tt.auth.Dialect, tt.auth.Issuer, got, tt.want)
		}
	}
}

// The audience goes along where the server knows it, and is compared with what
// a token of that server names.
func TestTokenAudiences(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dialect string
		sends   bool
		names   string
	}{
		{"", true, "api://x"},
		{"auth0", true, "api://x"},
		{"entra", false, "api://x x"},
		{"okta", false, "api://x"},
		{"keycloak", false, "api://x"},
		{"cognito", false, ""},
	} {
		a := Auth{Dialect: tt.dialect, Audience: "api://x"}
		if got := strings.Join(a.TokenAudiences(), " "); a.SendsAudience() != tt.sends || got != tt.names {
			t.Errorf("%s: got %v %q, want %v %q", tt.dialect, a.SendsAudience(), got, tt.sends, tt.names)
		}
	}
}
