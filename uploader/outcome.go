package uploader

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Class is what an HTTP outcome means for the entries of a request.
type Class string

// The classes of outcomes. Only Accepted, Rejected and TooLarge end anything.
const (
	Accepted     Class = "accepted"     // a complete answer that matches what was sent
	PerItem      Class = "per_item"     // each entry has an end of its own
	Refused      Class = "refused"      // the content was refused; nothing was executed
	TooLarge     Class = "too_large"    // 413: smaller, please
	NotSent      Class = "not_sent"     // no byte of the request arrived
	Busy         Class = "busy"         // 429, or a status that means "not executed"
	Unknown      Class = "unknown"      // it may have been executed, or may be yet
	Unauthorized Class = "unauthorized" // refused twice with a new token in between
	Forbidden    Class = "forbidden"    // 403
	Misplaced    Class = "misplaced"    // 404, 405, 415, a redirect: not how to talk to this API
	KeyReused    Class = "key_reused"   // 422: our key with another body, so our bug
	InProgress   Class = "in_progress"  // 409: the first request under this key is still running
	Conflict     Class = "conflict"     // 409: the API holds something else
	NoToken      Class = "no_token"     // the token could not be had
)

// again tells whether the very same request can be repeated without harm.
func (c Class) again(idempotent bool) bool {
	switch c {
	case NotSent, Busy:
		return true
	case Unknown, InProgress:
		return idempotent
	default:
		return false
	}
}

// classify says what a status means. wrote tells whether a byte of the request
// may have left; a nil response is a failure of the connection.
func (c *client) classify(resp *http.Response, err error, wrote bool, req *request) Class {
	if err != nil || resp == nil {
		if noToken(err) {
			return NoToken
		}
		if !wrote {
			return NotSent
		}
		return Unknown
	}
	code := resp.StatusCode
	switch {
	case slices.Contains(c.api.NotExecuted, code):
		return Busy
	case code == http.StatusOK, code == http.StatusCreated, code == http.StatusNoContent, code == http.StatusMultiStatus:
		return Accepted // so far: the body decides
	case code == http.StatusUnauthorized:
		return Unauthorized
	case code == http.StatusForbidden:
		return Forbidden
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusUnsupportedMediaType, code >= 300 && code < 400:
		return Misplaced
	case code == http.StatusRequestEntityTooLarge:
		return TooLarge
	case code == http.StatusTooManyRequests:
		return Busy
	case code == http.StatusBadRequest:
		return Refused
	case code == http.StatusUnprocessableEntity:
		return Refused
	case code == http.StatusConflict && req.key != "":
		return InProgress
	case code == http.StatusConflict && req.update:
		return Conflict
	}
	// 202 is no end, 408 and 5xx may come after the execution, and nothing is
	// known of the rest.
	return Unknown
}

// noToken tells whether err comes from getting a token, before any byte of the
// request could leave.
func noToken(err error) bool {
	return err != nil && asToken(err) != nil
}

// retryAfter reads both forms of Retry-After (RFC 9110, section 10.2.3).
// Nonsense counts as absent. What is above limit is no longer told apart: it
// comes back as a little more than limit.
func retryAfter(h http.Header, now time.Time, limit time.Duration) (time.Duration, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if n < 0 {
			return 0, false
		}
		if n > int64(limit/time.Second) {
			return limit + time.Second, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return min(at.Sub(now), limit+time.Second), true
}
