package login

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxAnswer is far more than any answer of a token endpoint.
const maxAnswer = 64 << 10

var errTooLarge = errors.New("the answer is larger than 64 KiB")

// answers carries requests of the library: it adds what the library has no words for, reads answers through a limit, and
// mends numbers that the library stumbles over: an expires_in or interval that is no whole number spoils the whole answer
// for it.
type answers struct {
	c    *Config
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	req, err := a.withRest(req)
	if err != nil {
		return nil, err
	}
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		if resp.StatusCode < 300 {
			return nil, errTooLarge
		}
		body = nil // a long page of an error says no more than its status
	}
	body = mend(body)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// withRest adds further values of a parameter to a form.
func (a answers) withRest(req *http.Request) (*http.Request, error) {
	rest := a.c.rest()
	if len(rest) == 0 || req.Body == nil {
		return req, nil
	}
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	text := string(form) + "&" + rest.Encode()
	out := req.Clone(req.Context())
	out.Body, out.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	return out, nil
}

// mend writes counts of seconds as whole numbers, and leaves out what is none. Anything but a JSON object passes as it is,
// except null, on which the library panics.
func mend(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	if fields == nil {
		return []byte("{}")
	}
	changed := false
	for _, name := range []string{"expires_in", "interval"} {
		raw, ok := fields[name]
		if !ok {
			continue
		}
		changed = true
		text := strings.Trim(string(raw), `"`)
		n, err := strconv.ParseFloat(text, 64)
		if seconds := atMost(n); err == nil && seconds > 0 {
			fields[name] = json.RawMessage(strconv.FormatInt(seconds, 10))
		} else {
			delete(fields, name)
		}
	}
	if !changed {
		return body
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return out
}
