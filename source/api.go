package source

import (
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// api is how a tracker's own API gives the entries of a window.
type api struct {
	base   string // of the URL, where the configuration gives none
	path   string // with {{params}}
	params []APIParam
	// query and headers may contain {{params}}; what is empty then is left out.
	query   map[string]string
	headers map[string]string
	auth    authKind
	times   string

	records, next, total string
	page                 *Page
	// limit is how many entries an answer has at most; one with as many may lack
	// some, and there is no next page.
	limit int

	columns  map[string]string
	duration string // Config.DurationFormat
	skip     []skipRule
}

// APIParam is a parameter of a preset.
type APIParam struct {
	Name     string
	Required bool
	What     string // it is, for hints
}

// authKind is how the tracker's token is presented.
type authKind int

const (
	authBearer authKind = iota
	authAPIKey          // X-Api-Key
	authBasic           // as the user name, beside the password api_token
)

// skipRule leaves out records that are no work.
type skipRule struct {
	path   string
	when   condition
	value  string // may contain {{params}}
	reason timesheet.Reason
}

type condition int

const (
	isEmpty condition = iota
	isSet
	equals
	differs
)

func (r *skipRule) match(value string) bool {
	switch r.when {
	case isEmpty:
		return value == ""
	case isSet:
		return value != ""
	case equals:
		return value == r.value
	default:
		return value != r.value
	}
}

// APIs lists the presets that HTTP.Preset can name.
func APIs() []string { return slices.Sorted(maps.Keys(apis)) }

// APIParams lists the parameters of a preset that HTTP.Preset can name, and tells
// whether it needs a URL too.
func APIParams(name string) (params []APIParam, ownURL bool) {
	a := apis[name]
	return slices.Clone(a.params), a.base == ""
}

// CheckPreset checks what a configuration says beside HTTP.Preset. The error
// has a hint.
func CheckPreset(name string, params map[string]string, address string) error {
	a, ok := apis[name]
	if !ok {
		return &Error{Message: quote(name) + " is no preset", HintText: "one of " + strings.Join(APIs(), ", ")}
	}
	var known []string
	for _, p := range a.params {
		known = append(known, p.Name)
		if p.Required && params[p.Name] == "" {
			return &Error{Message: name + " needs params." + p.Name, HintText: p.What}
		}
	}
	for _, given := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(known, given) {
			return &Error{Message: name + " knows no params." + given, HintText: "params are " + cmp.Or(strings.Join(known, ", "), "none")}
		}
	}
	if a.base == "" && address == "" {
		return &Error{Message: name + " needs http.url", HintText: "the address of your own installation, such as https://kimai.example.com"}
	}
	return nil
}

// apply fills in the preset of h; what h and cfg say themselves stands.
func (h *HTTP) apply(cfg *Config) error {
	if err := CheckPreset(h.Preset, h.Params, h.URL); err != nil {
		return err
	}
	a := apis[h.Preset]
	var plain, escaped []string
	for _, p := range a.params {
		plain = append(plain, "{{"+p.Name+"}}", h.Params[p.Name])
		escaped = append(escaped, "{{"+p.Name+"}}", url.PathEscape(h.Params[p.Name]))
	}
	fill := strings.NewReplacer(plain...).Replace
	h.URL = strings.TrimRight(cmp.Or(h.URL, a.base), "/") + strings.NewReplacer(escaped...).Replace(a.path)
	query := map[string]string{}
	for k, v := range a.query {
		if v = fill(v); v != "" {
			query[k] = v
		}
	}
	maps.Copy(query, h.Query)
	h.Query = query
	headers := maps.Clone(h.Headers)
	if headers == nil {
		headers = map[string]Secret{}
	}
	for k, v := range a.headers {
		headers[k] = func(context.Context) ([]byte, error) { return []byte(fill(v)), nil }
	}
	h.Headers = headers
	if h.Token != nil {
		h.present(a.auth)
	}
	h.Format, h.Records, h.Next, h.Total, h.Times, h.Page = "json", a.records, a.next, a.total, a.times, a.page
	h.limit = a.limit
	for _, r := range a.skip {
		r.value = fill(r.value)
		h.skip = append(h.skip, r)
	}

	// A key that is empty everywhere may be left out; one that somebody has named
	// may be misspelt.
	for name, path := range a.columns {
		if cfg.Columns[name] == "" && (name != fieldUser.name() || cfg.User == "") {
			h.columns = append(h.columns, path)
		}
	}
	slices.Sort(h.columns)
	cfg.ReadAs(h.Preset)
	return nil
}

// ReadAs fills in how the rows of a preset are read, in a Config that does not
// fetch them: of rows that were refused and mended, for one. What c says itself
// stands.
func (c *Config) ReadAs(preset string) {
	a := apis[preset]
	columns := maps.Clone(a.columns)
	if c.User != "" {
		delete(columns, fieldUser.name())
	}
	maps.Copy(columns, c.Columns)
	c.Columns = columns
	c.DurationFormat = cmp.Or(c.DurationFormat, a.duration)
	c.Decimal = cmp.Or(c.Decimal, ".") // JSON has no other
}

func (h *HTTP) present(how authKind) {
	token := h.Token
	switch how {
	case authBearer:
		h.Bearer = token
	case authAPIKey:
		h.tokenHeader = "X-Api-Key"
		h.Headers[h.tokenHeader] = token
	case authBasic:
		h.tokenHeader = "Authorization"
		h.Headers[h.tokenHeader] = func(ctx context.Context) ([]byte, error) {
			b, err := token(ctx)
			if err != nil {
				return nil, err
			}
			return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(strings.TrimRight(string(b), "\r\n")+":api_token"))), nil
		}
	}
}
