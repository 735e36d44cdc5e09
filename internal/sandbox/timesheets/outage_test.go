package timesheets

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Whom the API needs and cannot reach is a 503 of every operation, and says
// nothing about the token.
func TestOutages(t *testing.T) {
	t.Parallel()
	codes := map[people.Design]string{people.InToken: "keys_unavailable", people.ByLookup: "directory_unavailable", people.ByReference: "introspection_unavailable"}
	for _, design := range designs {
		w := newWorld(t, design, design != people.ByLookup)
		w.directoryDown.Store(true)
		for _, op := range w.ops {
			for _, subject := range w.callers(op) {
				if op.open || design == people.ByLookup && subject == "client:m" {
					continue // needs nobody
				}
				path := strings.Replace(good[op.id].path, "ID", strconv.FormatInt(w.onlyEntry(), 10), 1)
				got := w.send(op.method, path, good[op.id].body, "Authorization", "Bearer "+w.token(subject, scopesBut("")))
				if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") != "5" || got.Header().Get("WWW-Authenticate") != "" ||
					!strings.Contains(got.Body.String(), `"code":"`+codes[design]+`"`) {
					t.Errorf("%s, %s %s: got %d %v %s", design, op.method, op.path, got.Code, got.Header(), got.Body)
				}
			}
		}
		if design == people.InToken {
			continue // TestKeysUnavailable has the end of it: fetches are limited
		}
		// It is over when it is over: no failure is remembered.
		w.directoryDown.Store(false)
		w.issuer.down.Store(false)
		if got := w.as("user:ada", http.MethodGet, "/me", ""); got.Code != http.StatusOK {
			t.Errorf("%s, afterwards: got %d %s", design, got.Code, got.Body)
		}
	}
}

// A subject is looked up once for each token, and not for machines.
func TestLookedUpOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.ByLookup, false)
	for range 2 {
		token := w.token("user:ada", scopesBut(""))
		for range 3 {
			if got := w.send(http.MethodGet, "/me", "", "Authorization", "Bearer "+token); got.Code != http.StatusOK {
				t.Fatalf("got %d %s", got.Code, got.Body)
			}
		}
	}
	w.as("client:m", http.MethodGet, "/timesheets", "")
	if n := w.lookups.Load(); n != 2 {
		t.Errorf("two tokens cost %d lookups", n)
	}
}

func TestLookupHoldsAsLongAsTheToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		role, asked := people.RoleManager, 0
		l := newLookup(func(context.Context, string) (people.Claims, error) {
			asked++
			return people.Claims{UserID: "1", Role: role}, nil
		})
		c := &caller{subject: "user:x", jti: "a", expires: time.Now().Add(time.Hour)}
		is := func(when string, want people.Role, lookups int) {
			t.Helper()
			got, err := l.claims(t.Context(), c)
			if err != nil || got.Role != want || asked != lookups {
				t.Errorf("%s: got %s, %v after %d lookups, want %s after %d", when, got.Role, err, asked, want, lookups)
			}
		}
		is("first", people.RoleManager, 1)
		role = people.RoleEmployee
		time.Sleep(time.Hour - time.Second)
		is("to the end", people.RoleManager, 1)
		time.Sleep(time.Second)
		is("not beyond it", people.RoleEmployee, 2)
		for i := range 3 * lookupMax {
			c := &caller{jti: strconv.Itoa(i), expires: time.Now().Add(time.Hour)}
			if _, err := l.claims(t.Context(), c); err != nil || len(l.seen) > lookupMax {
				t.Fatalf("%d are remembered, %v", len(l.seen), err)
			}
		}
	})
}

// roundTripper lets a function be the other end.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A token is not asked about at every request, and one that is revoked stops
// within seconds.
func TestIntrospectionIsRecalledShortly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		active, asked := true, 0
		i := newIntrospector(t.Context(), Config{Issuer: "https://issuer", Audience: "https://api"})
		end := time.Now().Add(time.Hour)
		i.client.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			asked++
			body, err := json.Marshal(map[string]any{"active": active, "sub": "client:m", "client_id": "m", "aud": "https://api", "exp": end.Unix()})
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(body)))}, err
		})
		is := func(when string, good bool, requests int) {
			t.Helper()
			if _, err := i.check(t.Context(), "token"); (err == nil) != good || asked != requests {
				t.Errorf("%s: got %v after %d requests, want good: %v after %d", when, err, asked, good, requests)
			}
		}
		is("first", true, 1)
		active = false
		time.Sleep(recall - time.Millisecond)
		is("still", true, 1)
		time.Sleep(time.Millisecond)
		is("revoked", false, 2)
		is("not remembered", false, 3)
		active = true
		is("good again", true, 4)
		time.Sleep(time.Until(end) - time.Second)
		is("near its end", true, 5)
		time.Sleep(time.Second)
		is("at its end", false, 6)
	})
}
