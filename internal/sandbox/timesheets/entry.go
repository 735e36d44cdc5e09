package timesheets

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxHours   = 24  // in one entry
	maxProject = 200 // characters
)

// entry is one stored timesheet entry.
type entry struct {
	id         int64
	client     string // the owner that uploaded it
	userID     string
	userType   string
	date       string // as received
	project    string
	hours      string // the number as received
	externalID string
	approved   bool
	hash       [sha256.Size]byte // of the received object, compacted
}

// day is the calendar day that the entry's date shows in its own zone.
func (e *entry) day() string { return e.date[:len(time.DateOnly)] }

// itemError is why one item was refused.
type itemError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`

	status int // of the answer; zero is 422
}

// code is the status to answer with.
func (e *itemError) code() int { return cmp.Or(e.status, http.StatusUnprocessableEntity) }

func invalid(field, message string) *itemError {
	return &itemError{Code: "validation_failed", Message: field + " " + message, Field: field}
}

// wire is the plain contract, and external_id. Fields that the API does not
// know are ignored.
type wire struct {
	UserID     *string         `json:"user_id"`
	UserType   *string         `json:"user_type"`
	Date       *string         `json:"date"`
	Project    *string         `json:"project"`
	Hours      json.RawMessage `json:"hours"`
	ExternalID string          `json:"external_id"`
}

// parseEntry reads and validates one JSON object that is known to be valid
// JSON. The entry's hash is set even where the object is refused. scratch is
// reused from call to call. Whose entry it is may be left out where the caller
// is a person.
func parseEntry(raw []byte, scratch *bytes.Buffer, c *caller) (entry, *itemError) {
	var e entry
	scratch.Reset()
	if err := json.Compact(scratch, raw); err != nil {
		return e, invalid("entry", "is not JSON")
	}
	e.hash = sha256.Sum256(scratch.Bytes())

	w, plain := plainWire(scratch.Bytes())
	if !plain {
		w = wire{}
		if bad := checkNames(raw, "user_id", "user_type", "date", "project", "hours", "external_id"); bad != nil {
			return e, bad
		}
		if err := json.Unmarshal(raw, &w); err != nil {
			if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && bad.Field != "" {
				return e, invalid(bad.Field, "has the wrong type: "+bad.Value)
			}
			return e, invalid("entry", "is not a JSON object")
		}
	}
	if c.kind == person {
		fill(&w.UserID, c.claims.UserID)
		fill(&w.UserType, string(c.claims.UserType))
	}
	switch {
	case w.UserID == nil || strings.TrimSpace(*w.UserID) == "":
		return e, invalid("user_id", "is required")
	case w.Date == nil:
		return e, invalid("date", "is required")
	case w.Project == nil || strings.TrimSpace(*w.Project) == "":
		return e, invalid("project", "is required")
	case len(w.Hours) == 0 || string(w.Hours) == "null":
		return e, invalid("hours", "is required")
	}
	if t, err := time.Parse(time.RFC3339, *w.Date); err != nil {
		return e, invalid("date", "is not an RFC 3339 date and time")
	} else if t.Year() == 0 {
		return e, invalid("date", "is in the year 0000")
	}
	if bad := checkProject(*w.Project); bad != nil {
		return e, bad
	}
	if c := w.Hours[0]; c != '-' && (c < '0' || c > '9') {
		return e, invalid("hours", "is not a number")
	}
	if h, err := strconv.ParseFloat(string(w.Hours), 64); err != nil || h <= 0 || h > maxHours {
		return e, invalid("hours", "must be more than 0 and at most 24")
	}
	e.userID, e.date, e.project = *w.UserID, *w.Date, *w.Project
	e.hours, e.externalID = string(w.Hours), w.ExternalID
	if w.UserType != nil {
		e.userType = *w.UserType
	}
	return e, c.vouch(&e)
}

// checkProject refuses names that no page can show: too long, or with characters
// that make it show something else.
func checkProject(name string) *itemError {
	if utf8.RuneCountInString(name) > maxProject {
		return invalid("project", "has more than "+strconv.Itoa(maxProject)+" characters")
	}
	for _, c := range name {
		if unicode.IsControl(c) || c >= 0x80 && unicode.Is(unicode.Bidi_Control, c) {
			return invalid("project", "has characters that control a terminal or the direction of text")
		}
	}
	return nil
}

func fill(field **string, value string) {
	if *field == nil {
		*field = &value
	}
}

// vouch refuses what a person cannot say: that hours are another's, or that they
// are employed in another way than the claims have it.
func (c *caller) vouch(e *entry) *itemError {
	switch {
	case c.kind != person:
		return nil
	case e.userID != c.claims.UserID:
		return &itemError{Code: "not_own", Message: "user_id is another person's; people enter their own hours only", Field: "user_id", status: http.StatusForbidden}
	case e.userType != "" && !strings.EqualFold(e.userType, string(c.claims.UserType)):
		return invalid("user_type", "is not that of the person that the access token speaks for")
	default:
		return nil
	}
}

// plainWire reads the usual object (compacted JSON in UTF-8, known fields only,
// without escapes) several times faster than encoding/json. Anything else it
// leaves to that, so it never decides that something is wrong.
func plainWire(b []byte) (w wire, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return w, false
	}
	var seen int
	for b = b[1:]; ; b = b[1:] { // past the brace or comma
		name, rest, ok := plainString(b)
		if !ok || rest[0] != ':' {
			return w, false
		}
		b = rest[1:]
		if string(name) == "hours" {
			n := 0
			for n < len(b) && (b[n] == '-' || b[n] == '+' || b[n] == '.' || b[n] == 'e' || b[n] == 'E' || b[n] >= '0' && b[n] <= '9') {
				n++
			}
			if n == 0 || w.Hours != nil {
				return w, false
			}
			w.Hours, b = b[:n], b[n:]
		} else {
			value, rest, ok := plainString(b)
			if !ok {
				return w, false
			}
			s, field := string(value), 0
			switch string(name) {
			case "user_id":
				w.UserID, field = &s, 1
			case "user_type":
				w.UserType, field = &s, 2
			case "date":
				w.Date, field = &s, 4
			case "project":
				w.Project, field = &s, 8
			case "external_id":
				w.ExternalID, field = s, 16
			}
			if field == 0 || seen&field != 0 {
				return w, false
			}
			seen |= field
			b = rest
		}
		switch {
		case b[0] == '}':
			return w, true
		case b[0] != ',':
			return w, false
		}
	}
}

// plainString takes a string off the front of b. Something follows it always,
// where b is the inside of an object.
func plainString(b []byte) (s, rest []byte, ok bool) {
	if b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b)-1; i++ {
		switch b[i] {
		case '"':
			return b[1:i], b[i+1:], true
		case '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// appendJSON renders the entry as the API shows it. Fields that were sent come
// back as they were sent.
func (e *entry) appendJSON(b []byte) []byte {
	b = append(b, `{"id":"`...)
	b = strconv.AppendInt(b, e.id, 10)
	b = append(b, '"')
	if e.externalID != "" {
		b = appendString(append(b, `,"external_id":`...), e.externalID)
	}
	b = appendString(append(b, `,"user_id":`...), e.userID)
	b = appendString(append(b, `,"user_type":`...), e.userType)
	b = appendString(append(b, `,"date":`...), e.date)
	b = appendString(append(b, `,"project":`...), e.project)
	b = append(append(b, `,"hours":`...), e.hours...)
	b = strconv.AppendBool(append(b, `,"approved":`...), e.approved)
	return append(b, '}')
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			// A string always marshals.
			q, _ := json.Marshal(s)
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
