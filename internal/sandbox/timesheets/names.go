package timesheets

import (
	"bytes"
	"encoding/json"
	"errors"
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
