package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/tokencache"
)

// counting makes assertions that can be told apart and that a secret shows through.
func counting(n *atomic.Int64) func([]byte, tokencache.Recipient) (string, error) {
	return func(secret []byte, to tokencache.Recipient) (string, error) {
		return fmt.Sprintf("made-%d of %s for %s at %s", n.Add(1), secret, to.Issuer, to.TokenURL), nil
	}
}

// An assertion stands in the form, and nothing else proves the client.
func TestAssertionForm(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	c := newCache(t, tokencache.Config{
		TokenURL: s.URL, ClientID: "a b", AuthStyle: tokencache.AuthAssertion, Assert: counting(new(atomic.Int64)), Secret: secretOf("key"),
		Scopes: []string{"batch:upload"},
	})
	if got := mustToken(t, c); got != "tok-1" {
		t.Errorf("got token %q, want tok-1", got)
	}
	want := url.Values{
		"grant_type": {"client_credentials"}, "scope": {"batch:upload"}, "client_id": {"a b"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {"made-1 of key for  at " + s.URL},
	}
	if d := cmp.Diff(want, s.forms[0]); d != "" {
		t.Errorf("form (-want +got):\n%s", d)
	}
	if s.seen[0].Header.Get("Authorization") != "" {
		t.Error("two ways of authentication in one request")
	}
}

// A server takes an assertion once, also where its answer was lost: repetitions carry another.
func TestAssertionIsFreshInRepetitions(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	s := newAuthServer(t, nil)
	good := s.answer
	s.set(func(w http.ResponseWriter, r *http.Request) {
		a := r.PostForm.Get("client_assertion")
		switch {
		case used[a]:
			sendJSON(w, 401, `{"error":"invalid_client","error_description":"jti was used before"}`)
		case len(used) < 2:
			sendJSON(w, 503, `{}`)
		default:
			good(w, r)
		}
		used[a] = true
	})
	c := newCache(t, tokencache.Config{
		TokenURL: s.URL, AuthStyle: tokencache.AuthAssertion, Assert: counting(new(atomic.Int64)), Secret: secretOf("key"),
	})
	_ = mustToken(t, c)
	wantRequests(t, s, 3)
	c.Invalidate("tok-1")
	_ = mustToken(t, c)
	wantRequests(t, s, 4)
}

// What a server repeats of an assertion is not shown; new credentials are tried at once, the same ones are not.
func TestAssertionRefused(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := newAuthServer(t, func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, 401, `{"error":"invalid_client","error_description":"bad `+r.PostForm.Get("client_assertion")+`"}`)
	})
	var secret atomic.Value
	secret.Store("canary-one")
	c := newCache(t, tokencache.Config{
		TokenURL: s.URL, AuthStyle: tokencache.AuthAssertion, Logger: log.logger(), LockDir: t.TempDir(),
		Assert: func(secret []byte, _ tokencache.Recipient) (string, error) { return "signed." + string(secret), nil },
		Secret: func(context.Context) ([]byte, error) { return []byte(secret.Load().(string)), nil },
	})
	for range 2 {
		_, err := c.Token(t.Context())
		var refused *tokencache.RefusedError
		if !errors.As(err, &refused) || refused.Code != "invalid_client" || !strings.Contains(refused.Hint(), "auth.assertion_audience") {
			t.Fatalf("got %v, want invalid_client with a hint", err)
		}
		if text := err.Error() + refused.Hint() + log.String(); strings.Contains(text, "canary") || !strings.Contains(text, "bad REDACTED") {
			t.Errorf("got %s, want it without the assertion", text)
		}
	}
	wantRequests(t, s, 1)
	secret.Store("canary-two")
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("got a token")
	}
	wantRequests(t, s, 2)
}

// A key that does not sign is an error of the credentials, and nothing is asked.
func TestAssertionCannotBeMade(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	cause := errors.New("no key")
	c := newCache(t, tokencache.Config{
		TokenURL: s.URL, AuthStyle: tokencache.AuthAssertion, Secret: secretOf("key"),
		Assert: func([]byte, tokencache.Recipient) (string, error) { return "", cause },
	})
	_, err := c.Token(t.Context())
	var secret *tokencache.SecretError
	if !errors.As(err, &secret) || !errors.Is(err, cause) || err.Error() != "client assertion: no key" {
		t.Errorf("got %v, want a SecretError", err)
	}
	wantRequests(t, s, 0)
}
