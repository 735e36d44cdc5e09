package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entryFields are the values of an entry that api.fields may send.
var entryFields = []string{
	"user_id", "user_type", "date", "project", "hours", "external_id",
	"id", "start", "end", "seconds", "task", "notes", "day",
}

// near is the place of key, or of the closest section around it.
func (l *loader) near(key string) Origin {
	for {
		if o, ok := l.cfg.origins[key]; ok {
			return o
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return Origin{File: l.cfg.File}
		}
		key = key[:i]
	}
}

// complain reports a fault at key, unless the key has one already.
func (l *loader) complain(key, message, hint string) {
	l.fault(l.near(key), key, message, hint)
}

// validate checks what no single value shows. Each value by itself was checked
// when it was set.
func (l *loader) validate() {
	leaves(reflect.ValueOf(l.cfg).Elem(), "", "", func(lf leaf) {
		if lf.tag.Get("required") == "true" && lf.v.IsZero() && !l.badBelow(lf.key) && !l.badAbove(lf.key) {
			hint := "give it"
			switch {
			case lf.v.Type() == typeSecretRef:
				hint = secretHint
			case lf.tag.Get("check") == "zone":
				hint = "write an IANA name such as Europe/Berlin, or UTC: dates mean nothing without their zone"
			}
			l.complain(lf.key, "is missing", hint)
		}
		switch x := lf.v.Interface().(type) {
		case SecretRef:
			l.reference(lf.key, x)
		case Value:
			l.reference(lf.key, x.Secret)
		}
	})
	l.validateAPI()
	l.validateAuth()
	l.validateNotify()
	for i := range l.cfg.Sources {
		l.validateSource(i)
	}
}

func (l *loader) validateAPI() {
	c := l.cfg
	if c.API.BatchSize > 1 && !c.Supports("batch") {
		l.complain("api.batch_size", "is more than 1 for an API without batches", "add batch to api.supports if the API has it, or remove the key")
	}
	l.repeated("api.supports", c.API.Supports)
	if least := c.API.Timeout + 2*time.Second; c.Run.Deadline < least {
		l.complain("run.deadline", "leaves no time for one request", "at least api.timeout + 2s, which is "+FormatDuration(least))
	}
	for _, name := range sortedKeys(c.API.Fields) {
		key, value := join("api.fields", name), c.API.Fields[name]
		switch {
		case name == "":
			l.complain(key, "the name on the wire is empty", "write name: field")
		case value != "-" && !strings.HasPrefix(value, "=") && !slices.Contains(entryFields, value):
			hint := "one of " + strings.Join(entryFields, ", ") + `, "-" to drop it, or "=text" for a constant`
			if s := nearest(value, entryFields); s != "" {
				hint = "did you mean " + s + "? " + hint
			}
			l.complain(key, quote(value)+" is no field of an entry", hint)
		}
	}
	l.headers("api.headers", c.API.Headers, "Authorization", "Content-Type", "Content-Length", "Host", "Idempotency-Key", "X-Idempotency-Key", "Transfer-Encoding", "Connection")
}

// headers checks headers that are added to requests; reserved ones are ours to
// set.
func (l *loader) headers(key string, headers map[string]Value, reserved ...string) {
	seen := map[string]string{}
	for _, name := range sortedKeys(headers) {
		k, v := join(key, name), headers[name]
		lower := strings.ToLower(name)
		switch {
		case !httpToken.MatchString(name):
			l.complain(k, "is not the name of a header", "letters, digits and dashes, without a colon")
		case slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) }):
			l.complain(k, "is set by tsupload itself", "remove it")
		case seen[lower] != "":
			l.complain(k, "is the same header as "+seen[lower], "remove one of both")
		case v.Secret.IsZero() && v.Text != "" && secretName(name):
			l.complain(k, "carries a secret as text", secretHint)
		}
		seen[lower] = name
	}
}

func (l *loader) validateAuth() {
	a := l.cfg.Auth
	if a.Issuer != "" && a.TokenURL != "" {
		l.complain("auth.token_url", "excludes auth.issuer", "the issuer's endpoints are discovered: remove one of both")
	}
	for _, name := range sortedKeys(a.Params) {
		key := join("auth.params", name)
		switch {
		case slices.Contains([]string{"grant_type", "scope", "client_id", "audience", "resource"}, name):
			l.complain(key, "is set by tsupload itself", "use the key of auth for it (scopes, client_id, audience, resource)")
		case secretName(name):
			l.complain(key, "carries a secret as text", "client_secret, private_key and assertion take secret references")
		}
	}
	for i, r := range a.Resource {
		if r == "" || strings.Contains(r, "#") {
			l.complain("auth.resource["+strconv.Itoa(i)+"]", "is not a resource", "an absolute URI without a fragment (RFC 8707)")
		}
	}
	l.validateClientAuth()
	l.validateDialect()
	l.repeated("auth.scope_claims", a.ScopeClaims)
	if a.As == "person" {
		l.validatePerson()
	}
	l.repeated("auth.scopes", a.Scopes)
	l.repeated("auth.expected_scopes", a.ExpectedScopes)
}

// validatePerson refuses what makes no sense for a person: a person's entries
// go out one by one, and who that is the login page decides.
func (l *loader) validatePerson() {
	c := l.cfg
	if c.Supports("batch") {
		l.complain("api.supports["+strconv.Itoa(slices.Index(c.API.Supports, "batch"))+"]", "batch makes no sense with auth.as: person", "remove it: a person uploads one entry a request; batches are for machines")
	} else if c.API.BatchSize > 1 {
		l.complain("api.batch_size", "makes no sense with auth.as: person", "remove it: a person uploads one entry a request")
	}
	if slices.Contains(c.Auth.Scopes, "batch:upload") {
		l.complain("auth.scopes", "asks for batch:upload, which is for machines", "remove auth.scopes: with as: person the default is create:timesheets")
	}
	if way := c.Auth.ClientAuth(); way != "client_secret" {
		l.complain("auth."+way, "is how a machine proves itself", "remove it: with as: person the person logs in; some servers want a client_secret beside that")
	}
	if c.Auth.TokenURL != "" {
		l.complain("auth.token_url", "is not enough for a login", "give auth.issuer instead: the addresses of the login page and of the device grant are discovered")
	}
}

// ForLogin reports what a login needs and the configuration lacks.
func (c *Config) ForLogin() error {
	l := &loader{cfg: c, bad: map[string]bool{}}
	if c.Auth.As != "person" {
		l.complain("auth.as", quote(c.Auth.As)+" does not log in", "set auth.as: person where uploads go out as the person who logs in; a machine has a client secret instead")
	}
	l.needServer()
	if len(l.faults) > 0 {
		return &Error{Faults: sorted(l.faults)}
	}
	return nil
}

func (l *loader) needServer() {
	c := l.cfg
	if c.Auth.Issuer == "" && c.Auth.TokenURL == "" {
		l.complain("auth.issuer", "is missing", "the issuer of the authorization server, or auth.token_url")
	}
	if c.Auth.ClientID == "" {
		l.complain("auth.client_id", "is missing", "the client's id at the authorization server")
	}
}

func (l *loader) repeated(key string, list []string) {
	for i, s := range list {
		if s != "" && slices.Index(list, s) < i {
			l.complain(key+"["+strconv.Itoa(i)+"]", quote(s)+" appears twice", "remove one of both")
		}
	}
}

// reference checks what a secret reference names.
func (l *loader) reference(key string, r SecretRef) {
	if given := r.given(); len(given) > 1 {
		l.complain(key, "names several places: "+strings.Join(given, ", "), "exactly one of file, env, keyring, credential, command")
	}
	if r.Credential != "" && !credentialName(r.Credential) {
		l.complain(key+".credential", "is not the name of a credential", "a name without / or \\, as in LoadCredential=NAME:PATH")
	}
	if strings.ContainsAny(r.Env, "= ") {
		l.complain(key+".env", "is not the name of an environment variable", "write the variable's name, not its value")
	}
	if len(r.Command) > 0 && r.Command[0] == "" {
		l.complain(key+".command", "names no program", "write [PROGRAM, ARGUMENT, ...]")
	}
}

func (l *loader) validateSource(i int) {
	s, key := &l.cfg.Sources[i], "sources["+strconv.Itoa(i)+"]"
	for j := range i {
		other := &l.cfg.Sources[j]
		switch {
		case s.Name != "" && s.Name == other.Name:
			l.complain(key+".name", quote(s.Name)+" is the name of sources["+strconv.Itoa(j)+"] too", "names are how sources are told apart")
		case s.ID != "" && s.ID == other.ID:
			l.complain(key+".id", quote(s.ID)+" is the id of sources["+strconv.Itoa(j)+"] too", "equal rows of both would count as one")
		}
	}
	switch {
	case l.badBelow(key + ".csv"), l.badBelow(key + ".http"), l.badBelow(key + ".exec"):
	case l.bad[key]:
	case s.CSV == nil && s.HTTP == nil && s.Exec == nil:
		l.complain(key, "has nothing to read", "give csv: {path: ...}, http: {url: ...} or exec: {command: [...]}")
	case s.CSV != nil && s.HTTP != nil:
		l.complain(key+".http", "excludes csv", "make two sources of it")
	case s.Exec != nil && s.CSV != nil:
		l.complain(key+".exec", "excludes csv", "make two sources of it")
	case s.Exec != nil && s.HTTP != nil:
		l.complain(key+".exec", "excludes http", "make two sources of it")
	}
	if s.Exec != nil && len(s.Exec.Command) > 0 && s.Exec.Command[0] == "" {
		l.complain(key+".exec.command", "names no program", "write [PROGRAM, ARGUMENT, ...]")
	}
	if s.Schedule != "" && l.opts.ValidateSchedule != nil {
		zone := s.Timezone
		if zone == "" || l.bad[key+".timezone"] {
			zone = "UTC" // the zone has its own fault; the expression may have another
		}
		if err := l.opts.ValidateSchedule(s.Schedule, zone); err != nil {
			hint := `five fields (minute, hour, day, month, weekday) such as "0 6 * * *", or @daily, or @every 1h`
			var h interface{ Hint() string }
			if errors.As(err, &h) && h.Hint() != "" {
				hint = h.Hint()
			}
			l.complain(key+".schedule", err.Error(), hint)
		}
	}
	if s.DateFormat != "" && l.opts.ValidateDateFormat != nil {
		if err := l.opts.ValidateDateFormat(s.DateFormat); err != nil {
			l.complain(key+".date_format", err.Error(), "use YYYY, YY, MM, M, DD, D and separators, such as DD.MM.YYYY")
		}
	}
	l.columns(s, key)
	if s.HTTP != nil {
		l.export(s.HTTP, key+".http")
	}
	for _, m := range []struct {
		key   string
		table map[string]string
	}{{"people", s.People}, {"projects", s.Projects}} {
		for _, name := range sortedKeys(m.table) {
			if m.table[name] == "" {
				l.complain(join(key+"."+m.key, name), "has no value", "give the name on the API's side")
			}
		}
	}
}

func (l *loader) columns(s *Source, key string) {
	c := s.Columns
	if c == (Columns{}) || l.badBelow(key+".columns") {
		return
	}
	if s.HTTP != nil && s.HTTP.Preset != "" {
		return // they join those of the preset
	}
	if o := l.cfg.origins[key+".preset"]; o != (Origin{}) {
		l.complain(key+".columns", "excludes preset", "remove one of both")
	}
	if c.User == "" && s.User == "" {
		l.complain(key+".columns", "names no person", "add user: COLUMN here, or user: ID to the source")
	}
	if c.Date == "" && c.Start == "" {
		l.complain(key+".columns.date", "is missing", "name the column of the day, or a start with its date")
	}
	if c.Duration == "" && c.Hours == "" && (c.Start == "" || c.End == "") {
		l.complain(key+".columns.duration", "is missing", "name duration, hours, or start and end")
	}
	if c.User != "" && s.User != "" {
		l.complain(key+".user", "excludes columns.user", "remove one of both")
	}
	if c.UserType != "" && s.UserType != "" {
		l.complain(key+".user_type", "excludes columns.user_type", "for cells that are empty, use defaults: {user_type: ...}")
	}
	if s.UserType != "" && s.Defaults.UserType != "" {
		l.complain(key+".defaults.user_type", "excludes user_type", "remove one of both")
	}
}

func (l *loader) export(h *HTTP, key string) {
	l.headers(key+".headers", h.Headers, "Host", "Content-Length", "Transfer-Encoding", "Connection")
	for _, name := range sortedKeys(h.Query) {
		if secretName(name) {
			l.complain(join(key+".query", name), "carries a secret in the URL", "use http.auth with a secret reference; URLs end up in logs")
		}
	}
	if h.Until > h.Since {
		l.complain(key+".until", "is before since", fmt.Sprintf("at most %s, as since", FormatDuration(h.Since)))
	}
	var given []string
	if h.Auth.Header != nil {
		given = append(given, "header")
	}
	if h.Auth.Basic != nil {
		given = append(given, "basic")
	}
	if !h.Auth.Bearer.IsZero() {
		given = append(given, "bearer")
	}
	if !h.Auth.Token.IsZero() {
		given = append(given, "token")
	}
	l.exportPreset(h, key, given)
	if c := h.Auth.ClientCredentials; c != nil {
		given = append(given, "client_credentials")
		k := key + ".auth.client_credentials"
		switch {
		case c.Issuer != "" && c.TokenURL != "":
			l.complain(k+".token_url", "excludes issuer", "the issuer's endpoints are discovered: remove one of both")
		case c.Issuer == "" && c.TokenURL == "":
			l.complain(k+".issuer", "is missing", "the issuer of the authorization server, or token_url")
		}
		l.repeated(k+".scopes", c.Scopes)
		l.validateExportClient(c, k)
	}
	if len(given) > 1 {
		l.complain(key+".auth", "gives several: "+strings.Join(given, ", "), "exactly one of header, basic, bearer, client_credentials")
	}
	l.paging(h, key)
	if h.Format == "csv" && h.Records != "" {
		l.complain(key+".records", "has no meaning for csv", "remove it, or set format: json")
	}
}

// exportPreset checks what goes with a preset and what without one.
func (l *loader) exportPreset(h *HTTP, key string, auth []string) {
	if l.bad[key+".preset"] {
		return
	}
	if h.Preset == "" {
		if h.URL == "" {
			l.complain(key+".url", "is missing", "give it, or preset")
		}
		if len(h.Params) > 0 {
			l.complain(key+".params", "has no meaning without preset", "name the preset, or put them into query")
		}
		if slices.Contains(auth, "token") {
			l.complain(key+".auth.token", "has no meaning without preset", "use bearer, basic or header")
		}
		return
	}
	for _, name := range []string{"method", "body", "format", "records", "next", "page", "cursor", "total", "times"} {
		if l.cfg.origins[key+"."+name] != (Origin{}) {
			l.complain(key+"."+name, "is given by preset", "remove one of both")
		}
	}
	if !slices.Contains(auth, "token") {
		l.complain(key+".auth.token", "is missing", "a reference to the API token of "+h.Preset)
	} else if len(auth) > 1 || h.Auth.ClientCredentials != nil {
		l.complain(key+".auth", "gives more than token", "the preset knows how to present it")
	}
	if l.opts.ValidateExport == nil || l.bad[key+".url"] {
		return
	}
	if err := l.opts.ValidateExport(h.Preset, h.Params, h.URL); err != nil {
		hint := ""
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			hint = h.Hint()
		}
		l.complain(key+".preset", err.Error(), hint)
	}
}

// paging checks how the pages of an export follow one another.
func (l *loader) paging(h *HTTP, key string) {
	var ways []string
	for _, w := range []struct {
		name  string
		given bool
	}{{"next", h.Next != ""}, {"page", h.Page != nil}, {"cursor", h.Cursor != nil}} {
		if w.given {
			ways = append(ways, w.name)
		}
	}
	if len(ways) > 1 {
		l.complain(key+"."+ways[1], "excludes "+ways[0], "they are ways of paging: give one of them")
	}
	if h.Page != nil && h.Page.Parameter == "" && !strings.Contains(h.Body, "{{page}}") {
		l.complain(key+".page.parameter", "is missing", "name the query parameter, or put {{page}} into body")
	}
	if h.Page != nil && h.Page.SizeParameter != "" && h.Page.Size == 0 {
		l.complain(key+".page.size", "is missing", "say how many entries size_parameter asks for")
	}
	if h.Page != nil && h.Page.EndStatus != 0 && h.Page.EndStatus < 400 {
		l.complain(key+".page.end_status", "is no status of a page that is not there", "such as 404")
	}
	if h.Cursor != nil && h.Cursor.Parameter == "" && !strings.Contains(h.Body, "{{cursor}}") {
		l.complain(key+".cursor.parameter", "is missing", "name the query parameter, or put {{cursor}} into body")
	}
	if h.Format != "csv" {
		return
	}
	const hint = "a CSV body has nothing but entries"
	if h.Cursor != nil && h.Cursor.From != "" && !strings.HasPrefix(h.Cursor.From, "header:") {
		l.complain(key+".cursor.from", "is no header", "write header:NAME; "+hint)
	}
	if h.Next != "" && h.Next != "link" {
		l.complain(key+".next", "is no header", "write link; "+hint)
	}
	if h.Total != "" {
		l.complain(key+".total", "has no meaning for csv", "remove it")
	}
}

// ForUpload reports what an upload needs and the configuration lacks.
func (c *Config) ForUpload() error {
	l := &loader{cfg: c, bad: map[string]bool{}}
	if c.API.URL == "" {
		l.complain("api.url", "is missing", "the base URL of the Timesheets API; --dry-run and --sandbox do without")
	}
	l.needServer()
	if len(l.faults) > 0 {
		return &Error{Faults: sorted(l.faults)}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
