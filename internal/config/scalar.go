package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types that the walks over the structs treat as one value.
var (
	typeDuration  = reflect.TypeFor[time.Duration]()
	typeSecretRef = reflect.TypeFor[SecretRef]()
	typeValue     = reflect.TypeFor[Value]()
)

// problem is what is wrong with one value, before its place is known.
type problem struct{ message, hint string }

// ParseDuration reads Go's syntax plus days: "30s", "1h30m", "35d", "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	rest, days := s, 0.0
	if d, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(d, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		days, rest = float64(n), after
	}
	var v time.Duration
	if rest != "" || days == 0 && !strings.HasSuffix(s, "d") {
		var err error
		if v, err = time.ParseDuration(rest); err != nil || days != 0 && v < 0 {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
	}
	total := time.Duration(days)*24*time.Hour + v
	if days != 0 && total < v {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	return total, nil
}

// FormatDuration is the inverse of ParseDuration, without superfluous zeros.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// setScalar reads text, as it was written, into v, and checks it against the
// limits in tag. It does not touch v when there is a problem.
func setScalar(v reflect.Value, tag reflect.StructTag, text string) *problem {
	if v.Type() == typeDuration {
		d, err := ParseDuration(text)
		if err != nil {
			if _, numErr := strconv.ParseFloat(text, 64); numErr == nil {
				return &problem{text + " has no unit", "write a duration such as 30s, 15m, 20h or 35d"}
			}
			return &problem{quote(text) + " is not a duration", "write a number with its unit, such as 30s, 15m, 20h or 35d"}
		}
		lo, hi := mustDuration(tag.Get("min")), mustDuration(tag.Get("max"))
		if d < lo || d > hi {
			return &problem{fmt.Sprintf("%s is out of range", text), fmt.Sprintf("%s to %s", FormatDuration(lo), FormatDuration(hi))}
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if p := checkText(tag, text); p != nil {
			return p
		}
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return &problem{quote(text) + " is neither true nor false", "write true or false"}
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return &problem{quote(text) + " is not a whole number", "write decimal digits only"}
		}
		if p := checkRange(tag, float64(n), text); p != nil {
			return p
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return &problem{quote(text) + " is not a number", "write a number such as 4 or 0.5"}
		}
		if p := checkRange(tag, f, text); p != nil {
			return p
		}
		v.SetFloat(f)
	default:
		panic("config: no scalar: " + v.Type().String())
	}
	return nil
}

func mustDuration(s string) time.Duration {
	d, err := ParseDuration(s)
	if err != nil {
		panic("config: tag: " + err.Error())
	}
	return d
}

func checkRange(tag reflect.StructTag, f float64, text string) *problem {
	lo, err1 := strconv.ParseFloat(tag.Get("min"), 64)
	hi, err2 := strconv.ParseFloat(tag.Get("max"), 64)
	if err1 != nil || err2 != nil {
		panic("config: a number without min and max")
	}
	if f < lo || f > hi {
		return &problem{text + " is out of range", tag.Get("min") + " to " + tag.Get("max")}
	}
	return nil
}

// enumOf lists what a text may be. Where a comma is one of the values, they
// are separated by bars; where a bar is one too, by blanks.
func enumOf(tag reflect.StructTag) []string {
	e, ok := tag.Lookup("enum")
	if !ok {
		return nil
	}
	switch {
	case strings.Contains(e, " | "):
		return strings.Split(e, " ")
	case strings.Contains(e, "|"):
		return strings.Split(e, "|")
	}
	return strings.Split(e, ",")
}

func checkText(tag reflect.StructTag, text string) *problem {
	if enum := enumOf(tag); enum != nil && !slices.Contains(enum, text) {
		if len(enum) == 1 {
			return &problem{quote(text) + " is not supported: only " + enum[0] + " is, so far", "write " + enum[0] + ", or remove the key"}
		}
		hint := "one of " + joinEnum(enum)
		if s := nearest(text, enum); s != "" {
			hint = "did you mean " + s + "? " + hint
		}
		return &problem{quote(text) + " is not known here", hint}
	}
	lines := tag.Get("check") == "template"
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' && (r != '\n' || !lines) || r == 0x7f }) {
		return &problem{"contains a control character", "write it on one line"}
	}
	return check(tag.Get("check"), text)
}

func joinEnum(enum []string) string {
	shown := make([]string, 0, len(enum))
	for _, e := range enum {
		if len(e) == 1 {
			e = strconv.Quote(e)
		}
		if e != "" {
			shown = append(shown, e)
		}
	}
	return strings.Join(shown, ", ")
}

// quote shows text that is no secret, shortened so that a slip of the
// clipboard does not fill the screen.
func quote(text string) string {
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return strconv.Quote(text)
}

// nearest is the candidate that text was probably meant to be, or "".
func nearest(text string, candidates []string) string {
	fold := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	}
	best, bestDist := "", 3
	if len(text) > 100 {
		return ""
	}
	for _, c := range candidates {
		if c == "" {
			continue
		}
		d := distance(fold(text), fold(c))
		if d < bestDist && d <= len(c)/2 {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
