package config

import "strings"

// dialect is how an authorization server does what OAuth leaves open.
type dialect struct {
	// sendsAudience: the parameter audience means something there.
	sendsAudience bool
	// scope is how a scope of the API is asked for.
	scope func(audience, name string) string
	// unsaid: answers do not tell which scopes were granted, or tell others.
	unsaid bool
	// claims are where a token names its scopes.
	claims []string
	// endpoint: assertions are made out to the token endpoint.
	endpoint bool
	// together: who revokes one login of a person may end the others with it.
	together bool
	// needsAudience says what goes wrong without an audience; empty: nothing.
	needsAudience, audienceHint string
}

func plainScope(_, name string) string { return name }

func underAudience(audience, name string) string {
	return strings.TrimSuffix(audience, "/") + "/" + name
}

// dialect describes how the configured server is spoken to; without a dialect
// it is plain OAuth.
func (a *Auth) dialect() dialect {
	switch a.Dialect {
	case "auth0":
		return dialect{
			sendsAudience: true, scope: plainScope, claims: []string{"scope", "permissions"}, together: true,
			needsAudience: "is missing for auth0", audienceHint: "the API's identifier; without one Auth0 issues an opaque token that no API can check",
		}
	case "entra":
		if a.As == "person" {
			return dialect{
				scope: underAudience, claims: []string{"scp"},
				needsAudience: "is missing for entra", audienceHint: "the API's Application ID URI, such as api://GUID; or give auth.scopes",
			}
		}
		return dialect{
			// What a client may do are roles of the application; they are asked for all at once.
			scope:  func(audience, _ string) string { return strings.TrimSuffix(audience, "/") + "/.default" },
			unsaid: true, claims: []string{"roles"}, endpoint: true,
			needsAudience: "is missing for entra", audienceHint: "the API's Application ID URI, such as api://GUID; or give auth.scopes",
		}
	case "okta":
		return dialect{scope: plainScope, claims: []string{"scp"}, endpoint: true}
	case "keycloak":
		return dialect{scope: plainScope, claims: []string{"scope"}, together: true}
	case "cognito":
		return dialect{
			scope:         func(audience, name string) string { return strings.TrimSuffix(audience, "/") + "/" + name },
			claims:        []string{"scope"},
			needsAudience: "is missing for cognito", audienceHint: "the identifier of the resource server, which goes before each scope; or give auth.scopes",
		}
	}
	return dialect{sendsAudience: true, scope: plainScope}
}

// needs lists the scopes of the API that uploads need.
func (c *Config) needs() []string {
	list := []string{"batch:upload"}
	if c.Auth.As == "person" {
		list = []string{"create:timesheets"}
	}
	if c.Supports("read_back") {
		list = append(list, "read:timesheets")
	}
	return list
}

// deriveAuth fills in what the dialect decides.
func (l *loader) deriveAuth() {
	c, a := l.cfg, &l.cfg.Auth
	d := a.dialect()
	// What comes from the dialect came from where the dialect came from.
	unless := func(key string, set func()) {
		if _, given := c.origins[key]; given {
			return
		}
		set()
		if a.Dialect != "" {
			l.inherit(key, "auth.dialect")
		}
	}
	if d.unsaid {
		unless("auth.expected_scopes", func() { a.ExpectedScopes = c.needs() })
	}
	unless("auth.scopes", func() {
		for _, name := range c.needs() {
			if s := d.scope(a.Audience, name); len(a.Scopes) == 0 || s != a.Scopes[len(a.Scopes)-1] {
				a.Scopes = append(a.Scopes, s)
			}
		}
	})
	unless("auth.check_scope", func() { a.CheckScope = !d.unsaid })
	unless("auth.scope_claims", func() { a.ScopeClaims = d.claims })
	if a.AssertionAudience == "" {
		a.AssertionAudience = a.madeOutTo()
		delete(c.origins, "auth.assertion_audience")
		if d.endpoint {
			l.inherit("auth.assertion_audience", "auth.dialect")
		}
	}
}

// madeOutTo is whom assertions are for where nothing else is said.
func (a *Auth) madeOutTo() string {
	if a.dialect().endpoint || a.Issuer == "" && a.TokenURL != "" {
		return "token_endpoint"
	}
	return "issuer"
}

// AsAuth is the client of an export in the form of that of uploads, with what
// its dialect decides.
func (c *ClientCredentials) AsAuth() *Auth {
	a := &Auth{
		Issuer: c.Issuer, TokenURL: c.TokenURL, Dialect: c.Dialect, Audience: c.Audience, ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		PrivateKey: c.PrivateKey, PrivateKeyID: c.PrivateKeyID, SigningAlg: c.SigningAlg, AssertionAudience: c.AssertionAudience,
		AuthStyle: c.AuthStyle, Scopes: c.Scopes, As: "machine",
	}
	if a.AssertionAudience == "" {
		a.AssertionAudience = a.madeOutTo()
	}
	// The one scope there is in this grant; elsewhere nobody can guess.
	if d := a.dialect(); d.unsaid && len(a.Scopes) == 0 && a.Audience != "" {
		a.Scopes = []string{d.scope(a.Audience, "")}
	}
	return a
}

// SendsAudience tells whether the authorization server knows the parameter
// audience; elsewhere the audience only says what a token should name.
func (a *Auth) SendsAudience() bool { return a.dialect().sendsAudience }

// EndsLoginsTogether tells whether the authorization server may end a login
// along with another one, of the same person with the same client, that is
// revoked: Keycloak ends what hangs on one session in the browser, and older
// versions all; Auth0 deletes the grant, where a tenant is set so. Both are
// known by their issuers too, for a dialect is optional.
func (a *Auth) EndsLoginsTogether() bool {
	return a.dialect().together || strings.Contains(a.Issuer, "/realms/") || strings.HasSuffix(strings.TrimSuffix(a.Issuer, "/"), ".auth0.com")
}

// TokenAudiences lists what a token may name as its audience.
func (a *Auth) TokenAudiences() []string {
	switch {
	case a.Audience == "" || a.Dialect == "cognito": // which names none
		return nil
	case a.Dialect == "entra":
		// Version 2 of its tokens names the GUID alone.
		if id, ok := strings.CutPrefix(a.Audience, "api://"); ok {
			return []string{a.Audience, id}
		}
	}
	return []string{a.Audience}
}

// ClientAuth is how the client proves who it is: the key that says so,
// client_secret where none does.
func (a *Auth) ClientAuth() string {
	switch {
	case !a.PrivateKey.IsZero():
		return "private_key"
	case !a.Assertion.IsZero():
		return "assertion"
	}
	return "client_secret"
}

// validateClientAuth checks that the client has one way to prove who it is, and
// nothing that belongs to another.
func (l *loader) validateClientAuth() {
	a := &l.cfg.Auth
	// What a dialect decides is given by nobody.
	given := func(key string) bool {
		o, ok := l.cfg.origins["auth."+key]
		return ok && o != l.cfg.origins["auth.dialect"]
	}
	var ways []string
	for _, w := range []struct {
		key string
		ref SecretRef
	}{{"client_secret", a.ClientSecret}, {"private_key", a.PrivateKey}, {"assertion", a.Assertion}} {
		if !w.ref.IsZero() || l.badBelow("auth."+w.key) {
			ways = append(ways, w.key)
		}
	}
	if len(ways) > 1 {
		l.complain("auth."+ways[1], "excludes "+ways[0], "a client has one way to prove who it is: remove one of both")
		return
	}
	if (!a.PrivateKey.IsZero() || !a.Assertion.IsZero()) && given("auth_style") {
		l.complain("auth.auth_style", "has no meaning without a client secret", "remove it: "+a.ClientAuth()+" goes into the form")
	}
	for key, value := range map[string]string{"private_key_id": a.PrivateKeyID, "signing_alg": a.SigningAlg, "assertion_audience": a.AssertionAudience} {
		if value != "" && a.PrivateKey.IsZero() && !l.badBelow("auth.private_key") && given(key) {
			l.complain("auth."+key, "has no meaning without private_key", "remove it, or give private_key")
		}
	}
	if a.AssertionAudience == "issuer" && a.Issuer == "" && a.TokenURL != "" {
		l.complain("auth.assertion_audience", "needs auth.issuer", "give issuer in place of token_url, or write token_endpoint")
	}
}

// validateExportClient checks the same of the client of an export at key.
func (l *loader) validateExportClient(c *ClientCredentials, key string) {
	given := func(name string) bool { return l.cfg.origins[key+"."+name] != (Origin{}) }
	secret, signs := !c.ClientSecret.IsZero() || l.badBelow(key+".client_secret"), !c.PrivateKey.IsZero() || l.badBelow(key+".private_key")
	switch {
	case secret && signs:
		l.complain(key+".private_key", "excludes client_secret", "a client has one way to prove who it is: remove one of both")
	case !secret && !signs:
		l.complain(key+".client_secret", "is missing", "a reference to the secret, or private_key")
	case signs && given("auth_style"):
		l.complain(key+".auth_style", "has no meaning without a client secret", "remove it: private_key goes into the form")
	}
	for _, name := range []string{"private_key_id", "signing_alg", "assertion_audience"} {
		if given(name) && !signs {
			l.complain(key+"."+name, "has no meaning without private_key", "remove it, or give private_key")
		}
	}
	if c.AssertionAudience == "issuer" && c.Issuer == "" && c.TokenURL != "" {
		l.complain(key+".assertion_audience", "needs issuer", "give issuer in place of token_url, or write token_endpoint")
	}
	if c.Dialect == "entra" && len(c.Scopes) == 0 && c.Audience == "" {
		l.complain(key+".audience", "is missing for entra", "the export's Application ID URI, such as api://GUID; or give scopes")
	}
}

// validateDialect checks what a dialect cannot do without, or not at all.
func (l *loader) validateDialect() {
	a := &l.cfg.Auth
	if a.Dialect == "" || l.bad["auth.dialect"] {
		return
	}
	d := a.dialect()
	_, scopesGiven := l.cfg.origins["auth.scopes"]
	scopesGiven = scopesGiven && l.cfg.origins["auth.scopes"] != l.cfg.origins["auth.dialect"]
	if d.needsAudience != "" && a.Audience == "" && (a.Dialect == "auth0" || !scopesGiven) {
		l.complain("auth.audience", d.needsAudience, d.audienceHint)
	}
	if !d.sendsAudience && a.Dialect != "keycloak" && len(a.Resource) > 0 {
		l.complain("auth.resource", "means nothing to "+a.Dialect, "remove it")
	}
	if a.Dialect == "okta" && a.Issuer != "" && !l.bad["auth.issuer"] && !strings.Contains(a.Issuer, "/oauth2/") {
		l.complain("auth.issuer", "is Okta's org server, whose tokens only Okta itself takes", "name a custom authorization server, such as https://ORG.okta.com/oauth2/default")
	}
	if a.Dialect == "cognito" && a.ClientAuth() != "client_secret" {
		l.complain("auth."+a.ClientAuth(), "means nothing to cognito", "it knows client secrets only")
	}
}
