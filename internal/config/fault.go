package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Origin is where a value came from. The zero Origin is the default in code.
type Origin struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Env    string `json:"env,omitempty"`  // name of the environment variable
	Flag   string `json:"flag,omitempty"` // name of the flag, without dashes
}

// String names the place: "default", "env NAME", "flag --name" or
// "file:line".
func (o Origin) String() string {
	switch {
	case o.Flag != "":
		return "flag --" + o.Flag
	case o.Env != "":
		return "env " + o.Env
	case o.File == "":
		return "default"
	case o.Line == 0:
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// place is where a person has to look: like String, with the column.
func (o Origin) place() string {
	switch {
	case o == Origin{}:
		return "config"
	case o.Flag == "" && o.Env == "" && o.Line != 0:
		return fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Column)
	}
	return o.String()
}

// Fault is one thing that is wrong with the configuration. Neither Message nor
// Hint ever quotes what may be a secret.
type Fault struct {
	Origin

	Key     string `json:"key,omitempty"` // path of the key: api.batch_size, sources[0].csv.path
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// String renders the fault on one line, and its hint on a second.
func (f Fault) String() string {
	s := f.place() + ": "
	if f.Key != "" {
		s += f.Key + ": "
	}
	s += f.Message
	if f.Hint != "" {
		s += "\n    hint: " + f.Hint
	}
	return s
}

// Error is an invalid configuration: all its faults, in the order of the file.
type Error struct {
	Faults []Fault
}

// Error renders all faults, one after the other.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Faults)+1)
	if n := len(e.Faults); n > 1 {
		lines = append(lines, fmt.Sprintf("configuration has %d faults", n))
	}
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Hint is what to do after mending the faults; each fault has its own hint in
// the message.
func (e *Error) Hint() string {
	return "`tsupload config validate` checks the configuration without running anything"
}

// sorted orders faults by file position, then those without one as they came.
func sorted(faults []Fault) []Fault {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return b.Line - a.Line
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return faults
}
