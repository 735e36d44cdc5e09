package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"
)

// validators are what a server calls a state of an export.
type validators struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

// httpStamp is the Stamp of an export: what was asked for, how it is read, and
// what the server called it. Of the first two only hashes are kept, because
// queries can be secrets.
type httpStamp struct {
	Request string `json:"request"`
	Way     string `json:"way"`
	validators
}

// validatorsOf reads what an answer is called. A time of last change counts
// only where it is a minute before the answer: in the same second there can be
// another change (RFC 9110, section 8.8.2.2).
func validatorsOf(h http.Header) (v validators) {
	v.ETag = h.Get("ETag")
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return v
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil && date.Sub(modified) >= time.Minute {
		v.Modified = h.Get("Last-Modified")
	}
	return v
}

// ask makes a request conditional.
func (v *validators) ask(h http.Header) {
	if v.ETag != "" {
		h.Set("If-None-Match", v.ETag)
		return
	}
	h.Set("If-Modified-Since", v.Modified)
}

// stampOf is the Stamp of what was fetched, or empty.
func (f *fetch) stampOf(way []byte) string {
	if f.found == (validators{}) || f.h.Method != http.MethodGet {
		return ""
	}
	b, err := json.Marshal(httpStamp{f.requested(), short128(way), f.found})
	if err != nil {
		return ""
	}
	return string(b)
}

// conditionOf is what an earlier Stamp allows to ask: nothing, unless the very
// same is asked for and read in the same way.
func (f *fetch) conditionOf(stamp string, way []byte) *validators {
	var s httpStamp
	if stamp == "" || json.Unmarshal([]byte(stamp), &s) != nil || s.validators == (validators{}) {
		return nil
	}
	if f.h.Method != http.MethodGet || s.Request != f.requested() || s.Way != short128(way) {
		return nil
	}
	return &s.validators
}

// requested stands for the request and for what is taken from its answer.
func (f *fetch) requested() string {
	b, _ := json.Marshal([]any{f.h.Method, f.address(&spot{url: f.first}).String(), f.body(&spot{}), f.h.Format, f.h.Records}) // text always can be
	return short128(b)
}

func short128(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
