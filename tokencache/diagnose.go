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

// Diagnose compares what a token says about itself with the configuration and the clock: facts for a reader whose upload
// was refused. It shows audience, issuer, times and scopes, and nothing else of the token.
func (c *Cache) Diagnose(token string) []string {
	cl, ok := readClaims(token)
	if !ok {
		out := []string{"the token is opaque (not a JWT), so only the API can read it"}
		if c.cfg.Audience == "" && len(c.cfg.Resources) == 0 {
			out = append(out, "no audience is configured; some servers (Auth0) issue an opaque token then")
		}
		return out
	}
	var out []string
	out = append(out, c.aboutAudience(cl), c.aboutIssuer(cl))
	out = append(out, aboutTimes(cl, time.Now())...)
	return append(out, c.aboutScope(cl))
}

func (c *Cache) aboutAudience(cl claims) string {
	aud := listOf(cl.Audience, false)
	wanted := c.cfg.Resources
	if c.cfg.Audience != "" {
		wanted = append([]string{c.cfg.Audience}, wanted...)
	}
	switch {
	case len(aud) == 0:
		return "the token has no audience"
	case len(wanted) == 0:
		return fmt.Sprintf("the token's audience is %q; none is configured", aud)
	case slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(aud, w) }):
		return fmt.Sprintf("the token's audience is %q, as configured", aud)
	}
	return fmt.Sprintf("the token's audience is %q, configured is %q", aud, wanted)
}

func (c *Cache) aboutIssuer(cl claims) string {
	iss := quote(cl.Issuer, 200)
	switch {
	case iss == "":
		return "the token names no issuer"
	case c.cfg.Issuer == "":
		return fmt.Sprintf("the token's issuer is %q", iss)
	case cl.Issuer == c.cfg.Issuer:
		return fmt.Sprintf("the token's issuer is %q, as configured", iss)
	}
	return fmt.Sprintf("the token's issuer is %q, configured is %q", iss, c.cfg.Issuer)
}

func aboutTimes(cl claims, now time.Time) []string {
	var out []string
	switch exp, ok := moment(cl.Expires); {
	case !ok:
		out = append(out, "the token names no expiry")
	case exp.Before(now):
		out = append(out, fmt.Sprintf("by this machine's clock the token expired %s ago", now.Sub(exp).Round(time.Second)))
	default:
		out = append(out, fmt.Sprintf("by this machine's clock the token is valid for another %s", exp.Sub(now).Round(time.Second)))
	}
	if nbf, ok := moment(cl.NotBefore); ok && nbf.After(now) {
		out = append(out, fmt.Sprintf("by this machine's clock the token is valid only in %s", nbf.Sub(now).Round(time.Second)))
	}
	if iat, ok := moment(cl.IssuedAt); ok && iat.Sub(now) > clockDoubt {
		out = append(out, "this machine's clock is "+ahead(now.Sub(iat).Round(time.Second))+" the authorization server's")
	}
	return out
}

func (c *Cache) aboutScope(cl claims) string {
	var have []string
	for _, raw := range []json.RawMessage{cl.Scope, cl.Scp, cl.Permissions, cl.Roles} {
		have = append(have, listOf(raw, true)...)
	}
	have = sorted(have)
	if len(have) == 0 {
		return "the token names no scope, permission or role"
	}
	said := "the token's scopes: " + strings.Join(have, " ")
	if missing := slices.DeleteFunc(slices.Clone(c.want), func(w string) bool { return slices.Contains(have, w) }); len(missing) > 0 {
		said += "; missing: " + strings.Join(missing, " ")
	}
	return said
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
