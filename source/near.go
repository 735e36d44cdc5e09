package source

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// maxSuggestions bounds how many names suggestions are made for in one file.
const maxSuggestions = 100

// suggestions remembers what is near to names that are in no map. Its texts are
// few, because each is a group of its own in the ledger.
type suggestions struct {
	known []string
	said  map[string]string
}

// newSuggestions takes both sides of a map for names that may be meant.
func newSuggestions(names map[string]string) *suggestions {
	all := map[string]bool{}
	for from, to := range names {
		all[from], all[to] = true, true
	}
	return &suggestions{known: slices.Sorted(maps.Keys(all)), said: map[string]string{}}
}

// meant says which of the names that may stand there are nearest to one that may
// not; empty where none is near.
func meant(name string, names []string) string {
	s := &suggestions{known: names, said: map[string]string{}}
	if near := s.near(name); near != "" {
		return "it is " + near
	}
	return ""
}

// near is a clause with the names nearest to name; empty where none is near.
func (s *suggestions) near(name string) string {
	text, ok := s.said[name]
	if ok || len(s.said) == maxSuggestions {
		return text
	}
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	want := fold(name)
	for _, k := range s.known {
		have := fold(k)
		far := distance(want, have)
		if len(want) >= 4 && len(have) >= 4 && (strings.Contains(have, want) || strings.Contains(want, have)) {
			far = min(far, 1)
		}
		if want != "" && strings.TrimLeft(want, "0") == strings.TrimLeft(have, "0") {
			far = 0 // 007, as a spreadsheet leaves it
		}
		if far <= min(len(want), len(have))/3 {
			found = append(found, candidate{k, far})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	for i, c := range found[:min(len(found), 3)] {
		if i == 0 {
			text = "near to "
		} else {
			text += ", "
		}
		text += quote(c.name)
	}
	s.said[strings.Clone(name)] = text
	return text
}
