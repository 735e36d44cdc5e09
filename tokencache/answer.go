package tokencache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// A token answer is a few KiB.
	maxAnswer = 64 << 10
	// A header longer than this is refused by most servers.
	maxToken = 16 << 10
)

var errTooLarge = fmt.Errorf("the answer is larger than %d KiB", maxAnswer>>10)

// answerError is a fault in an answer that the server meant as a success.
type answerError struct{ problem string }

func (e *answerError) Error() string { return e.problem }

// recorder keeps the last answer's facts, which the OAuth library's errors do not carry, and reads expires_in itself:
// the library takes a float as the end of the whole answer and a missing value as "for ever".
type recorder struct {
	next http.RoundTripper

	status        int
	header        http.Header
	err           error // while reading the body
	expiresIn     int64
	expiresStated bool
	expiresErr    error
	body0         byte
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func(b io.Closer) { _ = b.Close() }(resp.Body) // not the body put in its place below
	r.status, r.header = resp.StatusCode, resp.Header
	body, err := readLimited(resp.Body)
	if errors.Is(err, errTooLarge) && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		// A long error page says no more than its status.
		body, err = nil, nil
	}
	if err != nil {
		r.err = err
		return nil, err
	}
	if t := bytes.TrimSpace(body); len(t) > 0 {
		r.body0 = t[0]
	}
	body = r.takeExpiry(body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// takeExpiry reads expires_in and takes it out of a JSON answer, so that the library cannot stumble over it.
func (r *recorder) takeExpiry(body []byte) []byte {
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if media == "application/x-www-form-urlencoded" || media == "text/plain" {
		if v, err := url.ParseQuery(string(body)); err == nil && v.Has("expires_in") {
			r.readExpiry(v.Get("expires_in"))
		}
		return body
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	raw, ok := fields["expires_in"]
	if !ok {
		return body
	}
	delete(fields, "expires_in")
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		text = s
	}
	if text != "" && text != "null" {
		r.readExpiry(text)
	}
	without, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return without
}

func (r *recorder) readExpiry(text string) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && text[0] != '-':
		n = math.MaxInt64
	case errors.Is(err, strconv.ErrRange):
		n = math.MinInt64
	case err != nil:
		r.expiresErr = fmt.Errorf("expires_in is %q, not a whole number of seconds", quote(text, 40))
		return
	}
	r.expiresIn, r.expiresStated = n, true
}

// html says whether a web page came instead of an answer: a login page, a proxy, a wrong address.
func (r *recorder) html() bool {
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	return strings.Contains(media, "html") || r.body0 == '<'
}

func (r *recorder) wait() time.Duration {
	d, _ := retryAfter(r.status, r.header, time.Now())
	return d
}

func readLimited(body io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxAnswer {
		return nil, errTooLarge
	}
	return b, nil
}

// checkToken refuses what could not be sent as a bearer token.
func checkToken(t *oauth2.Token) error {
	if t.TokenType != "" && !strings.EqualFold(t.TokenType, "bearer") {
		return &answerError{fmt.Sprintf("token_type is %q, want Bearer", quote(t.TokenType, 40))}
	}
	if len(t.AccessToken) > maxToken {
		return &answerError{fmt.Sprintf("the token is longer than %d KiB", maxToken>>10)}
	}
	for _, b := range []byte(t.AccessToken) {
		if b <= ' ' || b >= 0x7f {
			return &answerError{"the token has characters that no header can carry"}
		}
	}
	return nil
}

// grantedScopes reads what was granted. No scope at all means as asked (RFC 6749 section 5.1); an empty one means none.
func grantedScopes(said any, asked []string) []string {
	var out []string
	switch v := said.(type) {
	case string:
		out = strings.Fields(v)
	case []any:
		for _, s := range v {
			if s, ok := s.(string); ok {
				out = append(out, strings.Fields(s)...)
			}
		}
	default:
		return asked
	}
	for i, s := range out {
		out[i] = quote(s, 200)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// quoteCode keeps an OAuth error code to the letters such codes have.
func quoteCode(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}
