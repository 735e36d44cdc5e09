package sandbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is one misbehaviour to order. As text it is
//
//	[KIND-]NAME[=ARG][@SELECTOR]
//
// KIND says which requests: none is uploads (POST /timesheets/upload, and POST
// /timesheets of people), read is GET, update PUT and DELETE, of /timesheets,
// /timesheets/{id}, /approvals and /approvals/{id}. Of the authorization server,
// token is the token endpoint, discovery both metadata documents, keys the JWKS
// and introspect what the API asks about tokens.
//
// NAME, for every kind ("-after": the request is executed first):
//
//	status=CODE        answers with this status, not executed
//	status-after=CODE  executed, answers with this status all the same
//	429[=SECONDS]      too many requests, with Retry-After where SECONDS are given
//	reset              connection reset before the request is read
//	reset-after        executed, then connection reset
//	hang               never answers until the client goes away, not executed
//	hang-after         executed, then never answers
//	cut-after          executed, the answer ends before its Content-Length
//	html               200 with an HTML page, not executed
//	html-after         executed, 200 with an HTML page
//	slow[=DURATION]    executed, the answer trickles in over this time (2s)
//
// NAME, for uploads:
//
//	item=STATUS        one item of a batch (the middle one), or the object, is refused
//	max-items=N        an array may have at most N items
//	late=DURATION      connection reset at once, committed after this time
//	forbid             403 insufficient_scope, after the token was found good
//	revoke             access tokens issued so far become invalid when this fires;
//	                   as token-revoke, refresh tokens too
//	rotate-keys        the authorization server takes a new signing key (also
//	                   token-rotate-keys)
//
// NAME, for the token endpoint, without its prefix:
//
//	expires-in=SECONDS lifetime of the token (the API allows 30 s more), or what
//	                   the answer says of it, the token being good: missing, zero,
//	                   negative, float, string, huge (the largest int64)
//	skew=DURATION      the authorization server's clock is this far ahead (or behind)
//	scope-missing      the token is granted without batch:upload and create:timesheets
//
// SELECTOR picks among the requests of that kind, counted from 1 since the
// faults were set: @3, @3-5, @3- (from the third on), @every=4, @p=0.2 (by
// chance, the same for the same Config.Seed). Without one, all.
//
// Of several faults on one request the first that decides the answer wins; the
// others (revoke, max-items, skew, ...) add up.
type Fault struct {
	kind   kind
	name   string
	arg    string
	n      int           // ARG as a number
	d      time.Duration // ARG as a duration
	choose selector
}

// String is the text that ParseFault reads.
func (f Fault) String() string {
	s := f.name
	if !slices.Contains(tokenNames, f.name) {
		s = f.kind.prefix() + s
	}
	if f.arg != "" {
		s += "=" + f.arg
	}
	return s + f.choose.text
}

// kind is a kind of request.
type kind int

const (
	uploads kind = iota
	reads
	updates
	tokens
	discovery
	keys
	introspections
	kinds // how many there are
)

func (k kind) prefix() string {
	return [kinds]string{"", "read-", "update-", "token-", "discovery-", "keys-", "introspect-"}[k]
}

// argument is what a fault's ARG must be.
type argument int

const (
	noArg argument = iota
	statusArg
	secondsArg // a whole number, may be left out
	countArg
	durationArg // may be left out
	neededDurationArg
	lifetimeArg // seconds, or one of lifetimes
)

// lifetimes are what a token's answer can say of expires_in, as JSON; an empty
// one is left out.
var lifetimes = map[string]string{
	"missing": "", "zero": "0", "negative": "-3600", "float": "3600.5", "string": `"3600"`, "huge": "9223372036854775807",
}

// tokenNames are names that only the token endpoint knows and that take no
// prefix.
var tokenNames = []string{"expires-in", "skew", "scope-missing"}

// spec returns what is known of a name, or ok false.
func spec(name string, k kind) (arg argument, ok bool) {
	switch name {
	case "status", "status-after":
		return statusArg, true
	case "429":
		return secondsArg, true
	case "reset", "reset-after", "hang", "hang-after", "cut-after", "html", "html-after":
		return noArg, true
	case "slow":
		return durationArg, true
	}
	switch k {
	case uploads:
		switch name {
		case "item":
			return statusArg, true
		case "max-items":
			return countArg, true
		case "late":
			return neededDurationArg, true
		case "forbid", "revoke", "rotate-keys":
			return noArg, true
		}
	case tokens:
		switch name {
		case "expires-in":
			return lifetimeArg, true
		case "skew":
			return neededDurationArg, true
		case "scope-missing", "revoke", "rotate-keys":
			return noArg, true
		}
	default:
	}
	return noArg, false
}

// FaultError is a fault that ParseFault could not read.
type FaultError struct {
	Text    string
	Problem string
}

// Error implements error.
func (e *FaultError) Error() string { return fmt.Sprintf("fault %q: %s", e.Text, e.Problem) }

// Hint is the grammar.
func (e *FaultError) Hint() string {
	return `a fault is [read-|update-|token-|discovery-|keys-|introspect-]NAME[=ARG][@SELECTOR]
NAME: status=CODE, status-after=CODE, 429[=SECONDS], reset, reset-after, hang, hang-after, cut-after, html, html-after, slow[=DURATION];
uploads only: item=STATUS, max-items=N, late=DURATION, forbid, revoke, rotate-keys;
token endpoint only: expires-in=SECONDS|missing|zero|negative|float|string|huge, skew=DURATION, scope-missing, token-revoke, token-rotate-keys
SELECTOR: @3, @3-5, @3-, @every=4, @p=0.2; none is every request`
}

// ParseFault reads a fault from its text; the error is a *FaultError.
func ParseFault(text string) (Fault, error) {
	bad := func(format string, args ...any) (Fault, error) {
		return Fault{}, &FaultError{Text: text, Problem: fmt.Sprintf(format, args...)}
	}
	head, sel, selected := strings.Cut(strings.TrimSpace(text), "@")
	name, arg, hasArg := strings.Cut(head, "=")
	f := Fault{arg: arg, kind: uploads}
	for k := reads; k < kinds; k++ {
		if rest, ok := strings.CutPrefix(name, k.prefix()); ok {
			f.kind, name = k, rest
		}
	}
	if slices.Contains(tokenNames, name) && f.kind == uploads {
		f.kind = tokens
	}
	f.name = name
	want, ok := spec(name, f.kind)
	if !ok {
		return bad("there is no fault of this name")
	}
	if problem := f.parseArg(want, hasArg); problem != "" {
		return bad("%s", problem)
	}
	if selected {
		if f.choose, ok = parseSelector(sel); !ok {
			return bad("@%s is no selector", sel)
		}
	}
	return f, nil
}

// parseArg reads f.arg and returns what is wrong with it.
func (f *Fault) parseArg(want argument, has bool) string {
	var err error
	switch want {
	case noArg:
		if has {
			return f.name + " takes no value"
		}
	case statusArg:
		if f.n, err = strconv.Atoi(f.arg); err != nil || f.n < 200 || f.n > 599 {
			return f.name + " needs a status from 200 to 599"
		}
	case countArg:
		if f.n, err = strconv.Atoi(f.arg); err != nil || f.n < 1 {
			return f.name + " needs a number above 0"
		}
	case secondsArg:
		if !has {
			return ""
		}
		// Kept as text: a Retry-After too large for a number is worth a test.
		if f.arg == "" || strings.Trim(f.arg, "0123456789") != "" {
			return f.name + " needs whole seconds"
		}
	case durationArg, neededDurationArg:
		if !has && want == durationArg {
			return ""
		}
		if f.d, err = time.ParseDuration(f.arg); err != nil || (f.d <= 0 && f.name != "skew") {
			return f.name + " needs a duration such as 500ms"
		}
	case lifetimeArg:
		if _, ok := lifetimes[f.arg]; ok {
			return ""
		}
		if f.n, err = strconv.Atoi(f.arg); err != nil || f.n < 1 {
			return f.name + " needs seconds above 0, or missing, zero, negative, float, string or huge"
		}
	}
	return ""
}

// selector picks among the requests of a kind. The zero value picks all.
type selector struct {
	text     string // with its @
	from, to int
	every    int
	p        float64
}

func parseSelector(s string) (selector, bool) {
	sel := selector{text: "@" + s}
	var err error
	if v, ok := strings.CutPrefix(s, "every="); ok {
		sel.every, err = strconv.Atoi(v)
		return sel, err == nil && sel.every > 0
	}
	if v, ok := strings.CutPrefix(s, "p="); ok {
		sel.p, err = strconv.ParseFloat(v, 64)
		return sel, err == nil && sel.p > 0 && sel.p <= 1
	}
	from, to, ranged := strings.Cut(s, "-")
	if sel.from, err = strconv.Atoi(from); err != nil || sel.from < 1 {
		return sel, false
	}
	switch {
	case !ranged:
		sel.to = sel.from
	case to == "":
		sel.to = int(^uint(0) >> 1)
	default:
		if sel.to, err = strconv.Atoi(to); err != nil || sel.to < sel.from {
			return sel, false
		}
	}
	return sel, true
}

// picks decides on the n-th request. It draws from chance only where it must,
// so that the draws of one fault do not depend on another.
func (s selector) picks(n int, chance *rand.Rand) bool {
	switch {
	case s.every > 0:
		return n%s.every == 0
	case s.p > 0:
		return chance.Float64() < s.p
	case s.from > 0:
		return n >= s.from && n <= s.to
	default:
		return true
	}
}
