package tokencache

import (
	"net/http"
	"testing"
	"time"
	"unicode"
)

var (
	_ Store             = (*FileStore)(nil)
	_ Store             = (*MemoryStore)(nil)
	_ Store             = (*KeyringStore)(nil)
	_ http.RoundTripper = (*Transport)(nil)
)

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="a, b", error="invalid_token"`, `Bearer`, `"\`, `a=b, Bearer error=x`, "9223372036854775807", "-1",
		"Fri, 31 Dec 2099 23:59:59 GMT", "b=per_hour;q=100;r=0;t=9999999999999", "99999999999999999999", "Bearer error=\"\x1b[2J\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := readChallenge(http.Header{"Www-Authenticate": {s}})
		for _, text := range []string{c.code, c.scope, c.about} {
			for _, r := range text {
				if !unicode.IsPrint(r) {
					t.Errorf("%q came through in %q", r, text)
				}
			}
		}
		for _, name := range []string{"Retry-After", "X-Ratelimit-Reset", "Auth0-Client-Quota-Limit"} {
			if d, _ := retryAfter(http.StatusTooManyRequests, http.Header{name: {s}}, time.Now()); d < 0 || d > maxRetryAfter {
				t.Errorf("%s %q: got a wait of %s", name, s, d)
			}
		}
	})
}

func TestLeads(t *testing.T) {
	t.Parallel()
	for life := time.Second; life <= maxLifetime; life += 7 * time.Second {
		hard, soft := hardLead(life), softLead(life)
		if hard > soft || soft > life/2 || hard <= 0 || hard > hardMargin {
			t.Fatalf("life %s: hard lead %s, soft lead %s", life, hard, soft)
		}
		end := time.Unix(1e9, 0)
		if at := refreshAt(end, life); at.Before(end.Add(-soft)) || at.After(end.Add(-hard)) {
			t.Fatalf("life %s: renewal %s before the end", life, end.Sub(at))
		}
	}
}
