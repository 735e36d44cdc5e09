package timesheets

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

var errRepeated = errors.New("a name is repeated")

// checkNames refuses what encoding/json lets pass in raw, which is known to be
// valid JSON: an object that has a name twice, at any depth, and a known name of
// the outermost in another case.
func checkNames(raw []byte, known ...string) *itemError {
	names, err := readNames(json.NewDecoder(bytes.NewReader(raw)))
	if err != nil {
		return &itemError{Code: "malformed_json", Message: "an object has the same name twice", status: http.StatusBadRequest}
	}
	for name := range names {
		i := slices.IndexFunc(known, func(k string) bool { return k != name && strings.EqualFold(k, name) })
		if i >= 0 {
			return &itemError{
				Code: "malformed_json", Message: known[i] + " is written in another case", Field: known[i], status: http.StatusBadRequest,
			}
		}
	}
	return nil
}

// ReadObject reads raw, which is to be one JSON object with no other fields than
// known, into v, or answers 400 with what is wrong with it and where.
func ReadObject(w http.ResponseWriter, raw []byte, v any, known ...string) bool {
	bad := &itemError{Code: "malformed_json", Message: "the body is not one JSON object", status: http.StatusBadRequest}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err == nil && fields != nil {
		bad = checkNames(raw, known...)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if bad == nil && !slices.Contains(known, name) {
			bad = &itemError{Code: "unknown_field", Message: "the body may have " + strings.Join(known, " and "), Field: name, status: http.StatusBadRequest}
		}
	}
	if bad == nil {
		if err := json.Unmarshal(raw, v); err != nil {
			bad = &itemError{Code: "malformed_json", Message: "a value is of the wrong type", status: http.StatusBadRequest}
			if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				bad.Message, bad.Field = wrong.Field+" is of the wrong type", wrong.Field
			}
		}
	}
	if bad != nil {
		writeProblem(w, bad.code(), *bad)
	}
	return bad == nil
}

// readNames reads one value and returns the names that it has, where it is an
// object.
func readNames(dec *json.Decoder) (map[string]bool, error) {
	token, err := dec.Token()
	delim, nested := token.(json.Delim)
	if err != nil || !nested {
		return nil, err
	}
	names := make(map[string]bool)
	for dec.More() {
		if delim == '{' {
			token, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name, _ := token.(string)
			if names[name] {
				return nil, errRepeated
			}
			names[name] = true
		}
		if _, err := readNames(dec); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token() // the end of it
	return names, err
}
