package tokencache

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A difference between two clocks that is worth a word.
const clockDoubt = 30 * time.Second

// claims are those that decide whether an API takes a token. They are not verified; nothing is decided by them here.
type claims struct {
	Issuer      string          `json:"iss"`
	Audience    json.RawMessage `json:"aud"`
	Expires     *float64        `json:"exp"`
	NotBefore   *float64        `json:"nbf"`
	IssuedAt    *float64        `json:"iat"`
	Scope       json.RawMessage `json:"scope"`
	Scp         json.RawMessage `json:"scp"`
	Permissions json.RawMessage `json:"permissions"`
	Roles       json.RawMessage `json:"roles"`
}

// Fact is one thing that a token says about itself.
type Fact struct {
	// About is what it is about: form, audience, issuer, time or scope.
	About string
	// Odd says that it is not as configured, or that the token cannot be used now.
	Odd bool
	// Text says it; it holds audience, issuer, times and scopes, and nothing else of the token.
	Text string
}

// Diagnose compares what a token says about itself with the configuration and the clock: facts for a reader whose upload
// was refused. It shows audience, issuer, times and scopes, and nothing else of the token.
func (c *Cache) Diagnose(token string) []string {
	var out []string
	for _, f := range c.Inspect(token) {
		out = append(out, f.Text)
	}
	return out
}

// Inspect is Diagnose, with what each fact is about.
func (c *Cache) Inspect(token string) []Fact {
	cl, ok := readClaims(token)
	if !ok {
		out := []Fact{{About: "form", Text: "the token is opaque (not a JWT), so only the API can read it"}}
		if c.cfg.Audience == "" && len(c.cfg.Resources) == 0 {
			out = append(out, Fact{About: "audience", Odd: true, Text: "no audience is configured; some servers (Auth0) issue an opaque token then"})
		}
		return out
	}
	out := []Fact{c.aboutAudience(cl), c.aboutIssuer(cl)}
	out = append(out, aboutTimes(cl, time.Now())...)
	return append(out, c.aboutScope(cl))
}

func (c *Cache) aboutAudience(cl claims) Fact {
	aud := listOf(cl.Audience, false)
	wanted := c.cfg.Resources
	if c.cfg.Audience != "" {
		wanted = append([]string{c.cfg.Audience}, wanted...)
	}
	if len(c.cfg.ExpectedAudiences) > 0 {
		wanted = c.cfg.ExpectedAudiences
	}
	f := Fact{About: "audience"}
	switch {
	case len(aud) == 0:
		f.Text, f.Odd = "the token has no audience", len(wanted) > 0
	case len(wanted) == 0:
		f.Text = fmt.Sprintf("the token's audience is %q; none is configured", aud)
	case slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(aud, w) }):
		f.Text = fmt.Sprintf("the token's audience is %q, as configured", aud)
	default:
		f.Text, f.Odd = fmt.Sprintf("the token's audience is %q, configured is %q", aud, wanted), true
	}
	return f
}

func (c *Cache) aboutIssuer(cl claims) Fact {
	iss := quote(cl.Issuer, 200)
	f := Fact{About: "issuer"}
	switch {
	case iss == "":
		f.Text, f.Odd = "the token names no issuer", c.cfg.Issuer != ""
	case c.cfg.Issuer == "":
		f.Text = fmt.Sprintf("the token's issuer is %q", iss)
	case cl.Issuer == c.cfg.Issuer:
		f.Text = fmt.Sprintf("the token's issuer is %q, as configured", iss)
	default:
		f.Text, f.Odd = fmt.Sprintf("the token's issuer is %q, configured is %q", iss, c.cfg.Issuer), true
	}
	return f
}

func aboutTimes(cl claims, now time.Time) []Fact {
	var out []Fact
	say := func(odd bool, format string, args ...any) {
		out = append(out, Fact{About: "time", Odd: odd, Text: fmt.Sprintf(format, args...)})
	}
	switch exp, ok := moment(cl.Expires); {
	case !ok:
		say(false, "the token names no expiry")
	case exp.Before(now):
		say(true, "by this machine's clock the token expired %s ago", now.Sub(exp).Round(time.Second))
	default:
		say(false, "by this machine's clock the token is valid for another %s", exp.Sub(now).Round(time.Second))
	}
	if nbf, ok := moment(cl.NotBefore); ok && nbf.After(now) {
		say(true, "by this machine's clock the token is valid only in %s", nbf.Sub(now).Round(time.Second))
	}
	if iat, ok := moment(cl.IssuedAt); ok && iat.Sub(now) > clockDoubt {
		say(true, "this machine's clock is %s the authorization server's", ahead(now.Sub(iat).Round(time.Second)))
	}
	return out
}

func (c *Cache) aboutScope(cl claims) Fact {
	places := c.cfg.ScopeClaims
	if len(places) == 0 {
		places = []string{"scope", "scp", "permissions", "roles"}
	}
	var have []string
	for _, name := range places {
		raw := map[string]json.RawMessage{"scope": cl.Scope, "scp": cl.Scp, "permissions": cl.Permissions, "roles": cl.Roles}[name]
		have = append(have, listOf(raw, true)...)
	}
	have = sorted(have)
	missing := slices.DeleteFunc(c.cfg.needed(), func(w string) bool {
		// Entra ID asks for scopes below the API's name, and names them without it.
		return slices.Contains(have, w) || slices.Contains(have, w[strings.LastIndexByte(w, '/')+1:])
	})
	f := Fact{About: "scope", Odd: len(missing) > 0, Text: "the token names no scope, permission or role"}
	if len(c.cfg.ScopeClaims) > 0 {
		f.Text = "the token names nothing in " + strings.Join(places, " or ")
	}
	if len(have) > 0 {
		f.Text = "the token's scopes: " + strings.Join(have, " ")
	}
	if len(missing) > 0 {
		f.Text += "; missing: " + strings.Join(missing, " ")
	}
	return f
}

func readClaims(token string) (claims, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return claims{}, false
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return claims{}, false
	}
	var cl claims
	if json.Unmarshal(data, &cl) != nil {
		return claims{}, false
	}
	return cl, true
}

// listOf reads a string or a list of strings, bounded in number and length, for it will be printed.
func listOf(raw json.RawMessage, split bool) []string {
	var list []string
	var one string
	switch {
	case json.Unmarshal(raw, &one) == nil && split:
		list = strings.Fields(one)
	case json.Unmarshal(raw, &one) == nil && one != "":
		list = []string{one}
	case json.Unmarshal(raw, &list) != nil:
		return nil
	}
	if len(list) > 20 {
		list = list[:20]
	}
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, quote(s, 200))
	}
	return out
}

// moment reads a NumericDate; one beyond any calendar says nothing.
func moment(n *float64) (time.Time, bool) {
	if n == nil || *n < 0 || *n > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(*n), 0), true
}

func ahead(off time.Duration) string {
	if off < 0 {
		return (-off).String() + " behind"
	}
	return off.String() + " ahead of"
}
