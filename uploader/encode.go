package uploader

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// field is one member of the JSON object that an entry is sent as.
type field struct {
	name  string // on the wire
	label []byte // `"name":`, ready to append
	what  string // an entry field, or "=constant"
}

// plainFields is the plain contract, in its order.
var plainFields = []string{"user_id", "user_type", "date", "project", "hours"} // a constant list

// entryFields are the names that api.fields can refer to.
var entryFields = []string{"user_id", "user_type", "date", "project", "hours", "external_id", "id", "start", "end", "seconds", "task", "notes", "day"} // a constant list

// encoder writes entries as the API wants them.
type encoder struct{ fields []field }

// newEncoder lays api.fields over the plain contract.
func newEncoder(a *API) (*encoder, error) {
	order := slices.Clone(plainFields)
	if a.ReadBack {
		order = append(order, "external_id")
	}
	what := map[string]string{}
	for _, name := range order {
		what[name] = name
	}
	var added []string
	for name, spec := range a.Fields {
		switch {
		case spec == "-" || strings.HasPrefix(spec, "=") || slices.Contains(entryFields, spec):
		default:
			return nil, errConfig("api.fields: %s: %q is no entry field; use one of %s, \"-\" to leave the member out, or \"=text\" for a constant", name, spec, strings.Join(entryFields, ", "))
		}
		if _, known := what[name]; !known {
			added = append(added, name)
		}
		what[name] = spec
	}
	slices.Sort(added)
	enc := &encoder{}
	for _, name := range append(order, added...) {
		if what[name] == "-" {
			continue
		}
		label, _ := json.Marshal(name)
		enc.fields = append(enc.fields, field{name: name, label: append(label, ':'), what: what[name]})
	}
	return enc, nil
}

// append writes e as one JSON object. Empty optional values are left out.
func (enc *encoder) append(b []byte, e *timesheet.Entry, key timesheet.Packed) []byte {
	b = append(b, '{')
	first := true
	for i := range enc.fields {
		f := &enc.fields[i]
		if f.empty(e) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = f.value(append(b, f.label...), e, key)
	}
	return append(b, '}')
}

func (f *field) empty(e *timesheet.Entry) bool {
	switch f.what {
	case "user_type":
		return e.UserType == ""
	case "id":
		return e.ID == ""
	case "start":
		return e.Start.IsZero()
	case "end":
		return e.End.IsZero()
	case "task":
		return e.Task == ""
	case "notes":
		return e.Notes == ""
	}
	return false
}

func (f *field) value(b []byte, e *timesheet.Entry, key timesheet.Packed) []byte {
	switch f.what {
	case "user_id":
		return appendString(b, e.Person)
	case "user_type":
		return appendString(b, e.UserType)
	case "date":
		// The calendar day in the source's zone, written so that no zone moves it.
		b = e.Day.AppendTo(append(b, '"'))
		return append(b, `T00:00:00.000Z"`...)
	case "day":
		return append(e.Day.AppendTo(append(b, '"')), '"')
	case "project":
		return appendString(b, e.Project)
	case "hours":
		return e.Rounded().AppendHours(b)
	case "seconds":
		return strconv.AppendInt(b, int64(e.Rounded()), 10)
	case "external_id":
		return append(hex.AppendEncode(append(b, '"'), key[:]), '"')
	case "id":
		return appendString(b, e.ID)
	case "start":
		return append(e.Start.AppendFormat(append(b, '"'), time.RFC3339), '"')
	case "end":
		return append(e.End.AppendFormat(append(b, '"'), time.RFC3339), '"')
	case "task":
		return appendString(b, e.Task)
	case "notes":
		return appendString(b, e.Notes)
	}
	return appendString(b, strings.TrimPrefix(f.what, "="))
}

// sent is the value of a member as it goes out; false where it does not.
func (enc *encoder) sent(name string, e *timesheet.Entry, key timesheet.Packed) (json.RawMessage, bool) {
	for i := range enc.fields {
		f := &enc.fields[i]
		if f.name == name && !f.empty(e) {
			return f.value(nil, e, key), true
		}
	}
	return nil, false
}

// externalID is what the entry is found by when reading back.
func (enc *encoder) externalID(e *timesheet.Entry, key timesheet.Packed) string {
	for i := range enc.fields {
		f := &enc.fields[i]
		if f.name != "external_id" || f.empty(e) {
			continue
		}
		switch f.what {
		case "external_id":
			return hex.EncodeToString(key[:])
		case "id":
			return e.ID
		}
		var id string
		_ = json.Unmarshal(f.value(nil, e, key), &id)
		return id
	}
	return ""
}

// appendString appends s as a JSON string. Invalid UTF-8 cannot come this far
// from a source; what still does is replaced, as encoding/json would.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), `\ufffd`...)
				from = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			const hexDigits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
