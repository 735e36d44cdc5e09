package tokencache

import (
	"net/http"
	"strings"
)

// challenge is what an API says about a token it did not take.
type challenge struct {
	bearer             bool
	code, scope, about string
}

// renewable says whether a new token may help: the API calls the token invalid, or gives no reason (RFC 6750 section 3).
func (c challenge) renewable() bool { return c.code == "" || c.code == "invalid_token" }

// readChallenge finds the Bearer challenge among all challenges; several may share one header line.
func readChallenge(h http.Header) challenge {
	var c challenge
	for _, line := range h.Values("WWW-Authenticate") {
		inBearer := false
		for _, item := range splitChallenge(line) {
			name, value, isParam := strings.Cut(item, "=")
			name = strings.TrimSpace(name)
			// "Scheme name=value" and a lone "Scheme" start a challenge; a parameter's name has no space in it.
			if scheme, rest, ok := strings.Cut(name, " "); ok || !isParam {
				inBearer = strings.EqualFold(scheme, "Bearer")
				c.bearer = c.bearer || inBearer
				name = strings.TrimSpace(rest)
			}
			if !inBearer || !isParam {
				continue
			}
			value = unquote(strings.TrimSpace(value))
			switch strings.ToLower(name) {
			case "error":
				c.code = quoteCode(value)
			case "scope":
				c.scope = quote(value, 200)
			case "error_description":
				c.about = quote(value, 200)
			}
		}
	}
	return c
}

// splitChallenge splits at commas outside quotes.
func splitChallenge(s string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	out = append(out, strings.TrimSpace(s[start:]))
	return out
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
}
