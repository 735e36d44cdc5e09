package tokencache

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Codes of a [RefusedError] that are ours and not the authorization server's.
const (
	// CodeInvalidResponse says the answer was not a usable token answer, whatever its status.
	CodeInvalidResponse = "invalid_response"
	// CodeRedirect says the endpoint answered with a redirect, which is never followed.
	CodeRedirect = "redirect"
	// CodeDiscovery says no acceptable metadata document was found for the issuer.
	CodeDiscovery = "discovery"
)

// ErrClosed is returned by a [Cache] that was closed and holds no usable token.
var ErrClosed = errors.New("token cache is closed")

// RefusedError says the authorization server will not give this client this token, and asking again will not help.
type RefusedError struct {
	// Code is the OAuth error code, one of our own codes, or "http_" and a status.
	Code string
	// Description is the server's error_description, shortened and without control characters or the secret.
	Description string
	// Status is the HTTP status, 0 when there was none.
	Status int
	// Endpoint is the address that was asked, without query or user.
	Endpoint string
	// Until is the end of the cool-down; zero when the next call asks again.
	Until time.Time

	hint string
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Code == CodeDiscovery {
		return fmt.Sprintf("no metadata of %s that can be used: %s", e.Endpoint, e.Description)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "token request refused by %s: %s", e.Endpoint, e.Code)
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if !e.Until.IsZero() {
		fmt.Fprintf(&b, "; not asked again before %s", e.Until.UTC().Format("15:04:05 MST"))
	}
	return b.String()
}

// Hint tells the reader what to check.
func (e *RefusedError) Hint() string { return e.hint }

// UnavailableError says the authorization server could not be reached or could not answer now; a later try may work.
type UnavailableError struct {
	// Endpoint is the address that was asked, without query or user.
	Endpoint string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// RetryAfter is what the server asked us to wait, capped; 0 when it did not say.
	RetryAfter time.Duration
	// Err is the network error; nil when there was an answer.
	Err error

	what string // that was asked for; empty: a token
}

// Error implements error.
func (e *UnavailableError) Error() string {
	what := cmp.Or(e.what, "token")
	switch {
	case e.Err != nil:
		return fmt.Sprintf("no %s from %s: %v", what, e.Endpoint, e.Err)
	case e.RetryAfter > 0:
		return fmt.Sprintf("no %s from %s: HTTP %d, to be asked again in %s", what, e.Endpoint, e.Status, e.RetryAfter.Round(time.Second))
	}
	return fmt.Sprintf("no %s from %s: HTTP %d", what, e.Endpoint, e.Status)
}

// Unwrap gives the network error.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint tells the reader what to do.
func (e *UnavailableError) Hint() string {
	if e.Status == 429 {
		return "the authorization server limits token requests; check that the state directory is kept between runs, so that a token is used for its whole life"
	}
	if isCertificateError(e.Err) {
		return "see whether that is the authorization server, its certificate, and this machine's clock; ca_file names a private authority"
	}
	return "nothing was uploaded; the next run tries again"
}

// ScopeError says the token was issued with fewer scopes than the work needs.
type ScopeError struct {
	// Granted lists what the token allows.
	Granted []string
	// Wanted lists what is needed.
	Wanted []string
	// Missing lists what is wanted and not granted.
	Missing []string

	hint string
}

// Error implements error.
func (e *ScopeError) Error() string {
	granted := "none"
	if len(e.Granted) > 0 {
		granted = strings.Join(e.Granted, " ")
	}
	return fmt.Sprintf("the token lacks scope %s (granted: %s)", strings.Join(e.Missing, " "), granted)
}

// Hint tells the reader what to check.
func (e *ScopeError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "grant the scope to this client at the authorization server; if the server names scopes differently, set auth.expected_scopes, or auth.check_scope: false"
}

// SecretError says the client's credentials could not be read or made, so nothing was asked.
type SecretError struct {
	// Err is the reader's own error.
	Err error

	what string
}

// Error implements error.
func (e *SecretError) Error() string {
	return fmt.Sprintf("%s: %v", cmp.Or(e.what, "client secret"), e.Err)
}

// Unwrap gives the reader's own error.
func (e *SecretError) Unwrap() error { return e.Err }

// Hint passes on the reader's own hint, when it has one.
func (e *SecretError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.Err, &h) {
		return h.Hint()
	}
	return "check auth.client_secret; tsupload auth set-secret keeps one in the keyring"
}

// waitError is a caller that left before there was a token.
type waitError struct{ err error }

// Error implements error.
func (e *waitError) Error() string { return "waiting for an access token: " + e.err.Error() }

// Unwrap gives the end of the caller's context.
func (e *waitError) Unwrap() error { return e.err }

// Hint tells the reader what to do.
func (e *waitError) Hint() string {
	return "the authorization server did not answer in time; nothing was uploaded, and the next run tries again; `tsupload doctor` says more"
}

// LockError says that another process held the lock of the stored tokens for as long as we waited.
type LockError struct {
	// Path is the lock.
	Path string
	// Waited is how long that was.
	Waited time.Duration
}

// Error implements error.
func (e *LockError) Error() string {
	return fmt.Sprintf("another process has held %s for %s", e.Path, e.Waited)
}

// Hint tells the reader who it may be.
func (e *LockError) Hint() string {
	return "another tsupload (a run, the daemon, or an auth command) is asking the authorization server for a token; try again when it is done, or end it where it hangs (`fuser -v " + e.Path + "` names it on Linux)"
}

// OriginError says a request was about to carry the token to a host that is not on the list.
type OriginError struct {
	// Origin is where the request was going.
	Origin string
}

// Error implements error.
func (e *OriginError) Error() string {
	return fmt.Sprintf("the access token is not sent to %s", e.Origin)
}

// Hint tells the reader why.
func (e *OriginError) Hint() string {
	return "the token is meant for the configured API only; check api.url"
}

// endpointName is an address fit for an error: no user, no query.
func endpointName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "the token endpoint"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// plainError takes the address out of an HTTP client's error: its query may hold anything.
func plainError(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// quote makes foreign text fit for a terminal and a log line: printable, on one line, of bounded length.
func quote(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}
