package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/oauth2"
)

// Kind is why a login failed.
type Kind string

// The kinds of failure.
const (
	// Denied: the person, or the server in the person's name, said no.
	Denied Kind = "denied"
	// Refused: the server does not take the request, or its answer cannot be trusted.
	Refused Kind = "refused"
	// Expired: nobody logged in within the time.
	Expired Kind = "expired"
	// Unavailable: the server cannot be reached or is in trouble.
	Unavailable Kind = "unavailable"
	// Local: this machine cannot do it, such as open a browser.
	Local Kind = "local"
	// Port: the port that was asked for is not to be had.
	Port Kind = "port"
)

// Error says why a login failed. It holds no code, token, state or verifier.
type Error struct {
	Kind Kind
	// Problem says what happened; text of the server is quoted and shortened.
	Problem string
	// Err is the cause; nil when there is none beyond Problem.
	Err error

	hint string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return "login: " + e.Problem
	}
	return fmt.Sprintf("login: %s: %v", e.Problem, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint tells the reader what to do.
func (e *Error) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	switch e.Kind {
	case Denied:
		return "log in again and allow the access; where it is not offered, ask who administers the authorization server"
	case Expired:
		return "log in again; --timeout gives more time, --device lets you log in with a browser on another machine"
	case Unavailable:
		return "nothing has changed on this machine; try again later"
	case Local, Port:
		return "try --device, which needs nothing on this machine"
	case Refused:
	}
	return "check auth.issuer and auth.client_id: the client has to be one at which people log in (native, public), with redirects to 127.0.0.1 on any port"
}

// tokenError turns the library's error into ours. The library's holds the raw answer and, in its request, code and
// verifier; it goes no further. about says what was asked for.
func tokenError(ctx context.Context, about string, err error) error {
	lib, isLib := errors.AsType[*oauth2.RetrieveError](err)
	var status int
	if isLib && lib.Response != nil {
		status = lib.Response.StatusCode
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		return &Error{Kind: Expired, Problem: "nobody logged in within the time"}
	case isLib && (lib.ErrorCode == "access_denied" || lib.ErrorCode == "consent_required"):
		return &Error{Kind: Denied, Problem: "the access was denied" + said(lib.ErrorCode, lib.ErrorDescription)}
	case isLib && lib.ErrorCode == "expired_token":
		return &Error{Kind: Expired, Problem: "nobody logged in within the time, and the code has expired"}
	case isLib && (status >= 500 || status == http.StatusTooManyRequests || lib.ErrorCode == "temporarily_unavailable" || lib.ErrorCode == "server_error"):
		return &Error{Kind: Unavailable, Problem: about + ": the authorization server answered HTTP " + strconv.Itoa(status)}
	case isLib && lib.ErrorCode != "":
		return &Error{Kind: Refused, Problem: about + ": the authorization server refused" + said(lib.ErrorCode, lib.ErrorDescription), hint: refusalHint(lib.ErrorCode)}
	case isLib:
		return &Error{Kind: Refused, Problem: about + ": the authorization server answered HTTP " + strconv.Itoa(status)}
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return &Error{Kind: Unavailable, Problem: about, Err: ue.Err}
	}
	// What is left are answers that the library cannot read; its words may quote them.
	return &Error{Kind: Refused, Problem: about + ": the authorization server's answer is not a token answer"}
}

// refusalHint names the key that a refusal is about; empty where its code does not tell.
func refusalHint(code string) string {
	switch code {
	case "invalid_scope":
		return "check auth.scopes: the authorization server has to know each, and to let this client ask people for it"
	case "invalid_target":
		return "check auth.audience and auth.resource: the authorization server has to know the API by that name"
	}
	return ""
}

// said quotes an OAuth error of the server.
func said(code, description string) string {
	out := " (" + plain(code, 64)
	if description != "" {
		out += ": " + plain(description, 200)
	}
	return out + ")"
}

func quote(s string) string { return strconv.Quote(plain(s, 80)) }

// plain makes foreign text fit for a terminal: printable, on one line, of bounded length.
func plain(s string, limit int) string {
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
