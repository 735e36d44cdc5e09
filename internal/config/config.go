package config

import (
	"slices"
	"time"
)

// Config is the effective configuration. The doc comment of a field is the
// manual entry of its key; `config schema` shows the same text in an editor.
type Config struct {
	// File is the file that was read; empty where there is none.
	File string `yaml:"-"`

	// Where uploads go, and what the Timesheets API there can do.
	API API `yaml:"api"`
	// Limits of one run.
	Run Run `yaml:"run"`
	// How an access token is obtained.
	Auth Auth `yaml:"auth"`
	// What tsupload keeps on disk.
	State State `yaml:"state"`
	// The log on standard error.
	Log Log `yaml:"log"`
	// Where the daemon can be asked how it is: probes, metrics, status page.
	Listen Listen `yaml:"listen"`
	// Figures for Prometheus, beside those of the listener.
	Metrics Metrics `yaml:"metrics"`
	// What makes an entry suspicious; a source may override single rules.
	Rules Rules `yaml:"rules"`
	// Who is told when something goes wrong, and when it is over.
	Notify Notify `yaml:"notify"`
	// Where hours come from.
	Sources []Source `yaml:"sources"`

	origins map[string]Origin
}

// API is the section `api`.
type API struct {
	// Base URL of the Timesheets API; uploads go to {url}/timesheets/upload, a person's to {url}/timesheets. Required for uploads. https, except on loopback.
	URL string `yaml:"url" check:"base_url"`
	// Name of the API in the ledger, by default its URL. A ledger made for another id is refused. Set it to keep the ledger when the URL moves.
	ID string `yaml:"id"`
	// What the API can do beyond the plain contract: batch, idempotency_key, read_back, update. Only what is named here is used, and it decides the promise of a run (level L0, L1 or L2).
	Supports []string `yaml:"supports" enum:"batch,idempotency_key,read_back,update"`
	// Entries in one request: 1, or 500 where batch is supported.
	BatchSize int `yaml:"batch_size" min:"1" max:"10000"`
	// Requests under way at once. Two requests for one person and day never are.
	Concurrency int `yaml:"concurrency" min:"1" max:"512"`
	// Requests per second, 0 for no limit.
	RateLimit float64 `yaml:"rate_limit" min:"0" max:"10000"`
	// Longest wait for one request, from dialling to the last byte of the answer.
	Timeout time.Duration `yaml:"timeout" min:"100ms" max:"10m"`
	// Base of the pauses between attempts; they grow and are spread by chance.
	RetryWait time.Duration `yaml:"retry_wait" min:"1ms" max:"1m"`
	// Longest Retry-After that is waited for; a longer one defers the entries to the next run.
	MaxRetryAfter time.Duration `yaml:"max_retry_after" min:"0s" max:"24h"`
	// What happens to entries whose answer was lost, where the API can neither be asked nor recognize a repetition: hold (a person decides) or resend (may upload twice).
	OnAmbiguous string `yaml:"on_ambiguous" enum:"hold,resend"`
	// Whether the header Idempotency-Key is sent as the IETF draft says (quoted) or bare.
	IdempotencyKeyStyle string `yaml:"idempotency_key_style" enum:"quoted,bare"`
	// Renames, drops or adds what is sent. Wire name -> an entry's field (user_id, user_type, date, project, hours, external_id, id, start, end, seconds, task, notes, day), "-" to drop it, or "=text" for a constant.
	Fields map[string]string `yaml:"fields"`
	// Headers added to each request to the API. A value is text or a secret reference.
	Headers map[string]Value `yaml:"headers"`
	// PEM file with the certificate authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file" check:"path"`
	// What the operator of the API vouches for.
	Server Server `yaml:"server"`
}

// Server is the section `api.server`.
type Server struct {
	// How long an accepted upload may take to appear in read_back.
	Settle time.Duration `yaml:"settle" min:"0s" max:"168h"`
	// Wait between the two reads that have to agree that an entry is absent.
	ReadGap time.Duration `yaml:"read_gap" min:"0s" max:"1h"`
	// How long the API remembers an idempotency key.
	KeyTTL time.Duration `yaml:"key_ttl" min:"1m" max:"8784h"`
	// Statuses, such as 503, that are vouched to mean "not executed". Others leave the entries in doubt.
	NotExecuted []int `yaml:"not_executed" min:"400" max:"599"`
	// A batch is accepted or refused as a whole, instead of item by item.
	BatchAtomic bool `yaml:"batch_atomic"`
}

// Run is the section `run`.
type Run struct {
	// Longest time of one run; what is left is deferred to the next.
	Deadline time.Duration `yaml:"deadline" min:"1s" max:"168h"`
	// How long a request under way may go on after the first signal.
	Drain time.Duration `yaml:"drain" min:"0s" max:"1h"`
	// Longest time that the daemon starts a run after its slot, so that many installations do not come at once. How long it is depends on source and slot alone.
	Jitter time.Duration `yaml:"jitter" min:"0s" max:"1h"`
	// Wait before the daemon repeats a run that failed in a way that may pass (exit status 1, 4, 5 or 7). It doubles up to 30m; the next slot begins anew. 0s repeats none.
	RetryAfter time.Duration `yaml:"retry_after" min:"0s" max:"30m"`
	// Share of bad rows, of at least 50, above which an export is refused whole: the mapping is wrong, not the rows.
	MaxRejectRatio float64 `yaml:"max_reject_ratio" min:"0" max:"1"`
}

// Auth is the section `auth`.
type Auth struct {
	// Issuer of the authorization server, byte for byte as in its metadata; its endpoints are discovered. Or token_url.
	Issuer string `yaml:"issuer" check:"base_url"`
	// Token endpoint of an authorization server without discovery. Or issuer.
	TokenURL string `yaml:"token_url" check:"url"`
	// The server's own way of OAuth: auth0, entra, okta, keycloak or cognito; empty: none. It decides how scopes and audience are asked for and where a token names them, unless the keys for it say otherwise.
	Dialect string `yaml:"dialect" enum:",auth0,entra,okta,keycloak,cognito"`
	// The API's identifier at the authorization server.
	Audience string `yaml:"audience"`
	// The client's id at the authorization server.
	ClientID string `yaml:"client_id"`
	// Reference to the client's secret; without one: the systemd credential tsupload-client-secret, then TSUPLOAD_CLIENT_SECRET, then the keyring. Or private_key, or assertion.
	ClientSecret SecretRef `yaml:"client_secret"`
	// Reference to a private key that the client signs with, in place of a secret (private_key_jwt): PEM (PKCS#8, PKCS#1, SEC1) or JWK; RSA, P-256 or Ed25519. A certificate in the same PEM is named in the signature.
	PrivateKey SecretRef `yaml:"private_key"`
	// Id by which the authorization server knows the private key (kid); a JWK may have its own.
	PrivateKeyID string `yaml:"private_key_id"`
	// Algorithm of signatures; empty: as the key has it (RS256 for RSA).
	SigningAlg string `yaml:"signing_alg" enum:",RS256,PS256,ES256,EdDSA"`
	// Reference to an assertion that the platform makes for the client, in place of a secret (workload identity), such as a projected service account token of Kubernetes. It is read again for each token.
	Assertion SecretRef `yaml:"assertion"`
	// Whom signatures are made out to: issuer, or token_endpoint for servers that want its URL (Entra ID, Okta).
	AssertionAudience string `yaml:"assertion_audience" enum:",issuer,token_endpoint"`
	// How the secret is presented: basic (header) or post (form).
	AuthStyle string `yaml:"auth_style" enum:"basic,post"`
	// Scopes to ask for, by default what api.supports needs: batch:upload (create:timesheets for a person), and read:timesheets for read_back.
	Scopes []string `yaml:"scopes" check:"scope"`
	// Resource indicators (RFC 8707), for servers that do not know audience.
	Resource []string `yaml:"resource"`
	// Further form parameters of the token request.
	Params map[string]string `yaml:"params"`
	// Whose identity uploads carry: machine (client credentials), or person, who logs in with auth login and uploads own entries one by one to {url}/timesheets. A person needs issuer and no client_secret.
	As string `yaml:"as" enum:"machine,person"`
	// Where tokens are kept: auto (those of a person in the keyring and, where that cannot be, in a file; those of a machine in a file), keyring, or file. Files have mode 0600, in state.dir.
	TokenStore string `yaml:"token_store" enum:"auto,keyring,file"`
	// Scopes that the token must carry, where the granted names differ from those asked for.
	ExpectedScopes []string `yaml:"expected_scopes" check:"scope"`
	// Check the token's scopes before the first upload. By default true; false for the dialect entra, whose answers do not tell them.
	CheckScope bool `yaml:"check_scope"`
	// Claims of a token in which scopes stand: scope, scp, permissions, roles. By default as the dialect has it, else all. Only explanations look there.
	ScopeClaims []string `yaml:"scope_claims" enum:"scope,scp,permissions,roles"`
	// PEM file with the certificate authorities to trust for the authorization server.
	CAFile string `yaml:"ca_file" check:"path"`
}

// State is the section `state`.
type State struct {
	// Directory of ledger and tokens. By default $STATE_DIRECTORY, else /var/lib/tsupload for root, else the XDG state directory.
	Dir string `yaml:"dir" check:"path"`
}

// Log is the section `log`.
type Log struct {
	// Least level that is logged.
	Level string `yaml:"level" enum:"debug,info,warn,error"`
	// Form of the log lines.
	Format string `yaml:"format" enum:"text,json"`
}

// Listen is the section `listen`.
type Listen struct {
	// HOST:PORT on which the daemon answers; empty: nowhere. On an address that other machines can reach, only /livez, /readyz and /metrics answer without the token.
	Address string `yaml:"address" check:"listen"`
	// Reference to the token that all else asks for, as a bearer token or as the password of HTTP basic. On loopback none is needed; where one is given it is asked for there too.
	Token SecretRef `yaml:"token"`
}

// Metrics is the section `metrics`.
type Metrics struct {
	// File for node_exporter's textfile collector, NAME.prom, replaced at the end of every run; empty: none. Its directory has to exist.
	Textfile string `yaml:"textfile" check:"prom"`
}

// Rules is the section `rules`, and `rules` of a source.
type Rules struct {
	// Entries longer than this are rejected.
	MaxHoursPerEntry float64 `yaml:"max_hours_per_entry" min:"0.25" max:"168"`
	// A person's day with more hours than this is held.
	MaxHoursPerDay float64 `yaml:"max_hours_per_day" min:"0.25" max:"168"`
	// An entry whose start and end are further apart is held: a timer that nobody stopped. 0s: none is.
	ForgottenTimer time.Duration `yaml:"forgotten_timer" min:"0s" max:"168h"`
	// What happens to entries after today: reject, or allow.
	Future string `yaml:"future" enum:"reject,allow"`
	// What happens when entries of one person overlap in time: warn says how many do, hold waits for a person, reject refuses those that are not sent yet.
	Overlap string `yaml:"overlap" enum:"warn,hold,reject"`
	// What happens to a project that the source's projects do not name: hold, or send as it is.
	UnknownProject string `yaml:"unknown_project" enum:"hold,send"`
}

// Notify is the section `notify`.
type Notify struct {
	// Reference to the URL of a check that is pinged when a run starts and ends, in the style of healthchecks.io. The URL is a secret. A source may have one of its own.
	Ping SecretRef `yaml:"ping"`
	// Who gets a message when a state changes.
	Webhooks []Webhook `yaml:"webhooks"`
	// A program that is run when a state changes.
	Hook *Hook `yaml:"hook"`
	// When what lasts is told again; 0s for never.
	Remind time.Duration `yaml:"remind" min:"0s" max:"8784h"`
	// How long the end of the program waits for messages on their way. What does not arrive is told by the next run.
	Wait time.Duration `yaml:"wait" min:"0s" max:"5m"`
	// Days that are no working days beside Saturdays and Sundays, as YYYY-MM-DD.
	Holidays []string `yaml:"holidays" check:"day"`
	// What is told of although nothing fails: entries that do not come.
	Silence []Silence `yaml:"silence"`
}

// Webhook is an element of `notify.webhooks`.
type Webhook struct {
	// Reference to the URL that the message is posted to. The URL is a secret.
	URL SecretRef `yaml:"url" required:"true"`
	// Form of the message: json (every field), or slack (a text, for Slack and what is compatible with it).
	Preset string `yaml:"preset" enum:"json,slack"`
	// Message of one's own in place of the preset: a Go text/template that makes JSON, such as {"content": {{json .Text}}}.
	Template string `yaml:"template" check:"template"`
	// What is told, by default everything: failure, rejected, held, in_doubt, silence, and recovery from those of them that are named.
	On []string `yaml:"on" enum:"failure,recovery,rejected,held,in_doubt,silence"`
}

// Hook is the section `notify.hook`.
type Hook struct {
	// Program and arguments, run without a shell. What there is to tell is in its environment (TSUPLOAD_EVENT, TSUPLOAD_SOURCE, ...).
	Command []string `yaml:"command" required:"true"`
	// Longest time it may take.
	Timeout time.Duration `yaml:"timeout" min:"100ms" max:"5m"`
	// What is told, as for a webhook.
	On []string `yaml:"on" enum:"failure,recovery,rejected,held,in_doubt,silence"`
}

// Silence is an element of `notify.silence`: exactly one of working_days,
// expected_hours and unchanged_for.
type Silence struct {
	// Only entries of this source; without one those of all sources together.
	Source string `yaml:"source" check:"name"`
	// Only this person (the user id that is uploaded); without one everybody who has had entries in the last 100 days.
	User string `yaml:"user"`
	// Told when there is no entry of a person for this many working days (Monday to Friday), today not counted.
	WorkingDays int `yaml:"working_days" min:"0" max:"60"`
	// Told when a person's week has not as many hours at the deadline. A holiday from Monday to Friday takes a fifth off.
	ExpectedHours float64 `yaml:"expected_hours" min:"0" max:"168"`
	// Weekday and time of day, in the source's zone, at which the week is judged, such as Fri 12:00.
	Deadline string `yaml:"deadline" check:"deadline"`
	// Week that is judged: the one that the deadline is in, or the one before.
	Week string `yaml:"week" enum:"this,last"`
	// Hours that may be missing.
	Below float64 `yaml:"below" min:"0" max:"168"`
	// Hours that may be too many.
	Above float64 `yaml:"above" min:"0" max:"168"`
	// Told when the source has brought nothing new for this long.
	UnchangedFor time.Duration `yaml:"unchanged_for" min:"0s" max:"8784h"`
}

// Source is an element of `sources`.
type Source struct {
	// Name in reports, logs and --source: letters, digits, dot, dash and underscore.
	Name string `yaml:"name" required:"true" check:"name"`
	// Identity of the source, by default its name. It enters the key of each entry: never change it, or everything counts as new.
	ID string `yaml:"id" check:"name"`
	// Zone of the source's dates and times: an IANA name such as Europe/Berlin, or UTC.
	Timezone string `yaml:"timezone" required:"true" check:"zone"`
	// When the daemon reads the source: five cron fields, @daily and the like, or @every 1h. In the source's zone.
	Schedule string `yaml:"schedule"`
	// Reference to the URL of a check of its own, in place of notify.ping.
	Ping SecretRef `yaml:"ping"`
	// The tracker whose export this is, by which columns and oddities are known; auto: our own columns, or the tracker that the header tells of.
	Preset string `yaml:"preset" enum:"auto,toggl,clockify,harvest,kimai-import,kimai,tempo,watson,timetagger,simple-time-tracker,hamster,atimelogger,clockify-cli,super-productivity,timewarrior,watson-json,clockify-api,klog,ical,hubstaff,hubstaff-detailed"`
	// Names of the export's columns, in place of the preset.
	Columns Columns `yaml:"columns"`
	// The one person whose hours these are, for exports without a person's column.
	User string `yaml:"user"`
	// The user type of all entries, for exports without such a column.
	UserType string `yaml:"user_type"`
	// Values for cells that are empty.
	Defaults Defaults `yaml:"defaults"`
	// Format of dates, of the tokens YYYY, YY, MM, M, DD and D, such as DD.MM.YYYY; empty: YYYY-MM-DD, or decided from the whole file.
	DateFormat string `yaml:"date_format"`
	// Clock of times of day, 24h or 12h; empty: either.
	TimeFormat string `yaml:"time_format" enum:",24h,12h"`
	// Format of the duration column: h:mm, decimal, minutes or seconds; empty: h:mm or decimal hours.
	DurationFormat string `yaml:"duration_format" enum:",h:mm,decimal,minutes,seconds"`
	// Decimal sign of hours, "." or ","; empty: decided from the whole file.
	Decimal string `yaml:"decimal" enum:"|.|,"`
	// Files to read. Or http, or exec.
	CSV *CSV `yaml:"csv"`
	// Export to fetch. Or csv, or exec.
	HTTP *HTTP `yaml:"http"`
	// Program that prints an export. Or csv, or http.
	Exec *Exec `yaml:"exec"`
	// Person as in the export -> user id.
	People map[string]string `yaml:"people"`
	// Project as in the export -> project.
	Projects map[string]string `yaml:"projects"`
	// Rules of this source; those not given are as in the top level's rules.
	Rules Rules `yaml:"rules"`
	// What a person's day is rounded to: 15m to the nearest quarter of an hour, 15m up to the next one. All entries of the source that are sent count together; what is sent stays as it is, what is not takes the remainder.
	Rounding string `yaml:"rounding" enum:"none|1m|5m|6m|15m|30m|1m up|5m up|6m up|15m up|30m up"`
	// What happens to entries with a start and an end over midnight: keep sends them whole, on the day of the start; split in two, each on its own day.
	Midnight string `yaml:"midnight" enum:"keep,split"`
	// What happens when an entry that was sent has changed: hold (a person decides), or update where the API supports it. Only entries with an id of the tracker's can be updated.
	OnChange string `yaml:"on_change" enum:"hold,update"`
	// What happens when an entry that was sent is gone. Only report is supported so far.
	OnMissing string `yaml:"on_missing" enum:"report"`
}

// Columns is the section `columns` of a source; each value is the header of a
// column.
type Columns struct {
	// Column of the person.
	User string `yaml:"user"`
	// Column of the user type.
	UserType string `yaml:"user_type"`
	// Column of the day.
	Date string `yaml:"date"`
	// Column of the start: a time of day, or date and time.
	Start string `yaml:"start"`
	// Column of the end: a time of day, or date and time.
	End string `yaml:"end"`
	// Column of the day on which the entry ends.
	EndDate string `yaml:"end_date"`
	// Column of the duration as h:mm or h:mm:ss.
	Duration string `yaml:"duration"`
	// Column of the duration as decimal hours.
	Hours string `yaml:"hours"`
	// Column of the project.
	Project string `yaml:"project"`
	// Column of the task.
	Task string `yaml:"task"`
	// Column of the description.
	Notes string `yaml:"notes"`
	// Column of the tracker's own id, only where an id never changes and is never used again.
	ID string `yaml:"id"`
}

// Defaults is the section `defaults` of a source.
type Defaults struct {
	// Project of entries without one.
	Project string `yaml:"project"`
	// Task of entries without one.
	Task string `yaml:"task"`
	// User type of entries without one.
	UserType string `yaml:"user_type"`
}

// CSV is the section `csv` of a source: files in CSV, XLSX, JSON or NDJSON,
// each of them perhaps packed with gzip. What a file is, its bytes tell.
type CSV struct {
	// File or glob to read (CSV, XLSX, JSON, NDJSON; also packed with gzip); relative to the directory of the configuration file.
	Path string `yaml:"path" required:"true" check:"glob"`
	// Character between cells: comma, semicolon, bar or tab (also written as the word tab), or auto.
	Delimiter string `yaml:"delimiter" enum:"auto ; | , tab \t"`
	// Encoding of the file.
	Encoding string `yaml:"encoding" enum:"auto,utf-8,utf-16le,utf-16be,windows-1252"`
	// Sheet of a workbook (XLSX); empty: the first one with a known header.
	Sheet string `yaml:"sheet"`
	// Path of the list of rows in a JSON file, such as data.entries; empty: the file is the list, or has one row on each line (NDJSON).
	Records string `yaml:"records"`
	// A file is read when it has been quiet for this long.
	SettleFile time.Duration `yaml:"settle_file" min:"0s" max:"24h"`
}

// Exec is the section `exec` of a source. What the program prints may be in any
// form that files have.
type Exec struct {
	// Program and arguments, run without a shell, in the directory of the configuration file; it prints the export and exits with 0. It does not see variables that begin with TSUPLOAD_.
	Command []string `yaml:"command" required:"true"`
	// Longest time it may take.
	Timeout time.Duration `yaml:"timeout" min:"100ms" max:"1h"`
	// Character between cells, as of csv.
	Delimiter string `yaml:"delimiter" enum:"auto ; | , tab \t"`
	// Encoding of what is printed, as of csv.
	Encoding string `yaml:"encoding" enum:"auto,utf-8,utf-16le,utf-16be,windows-1252"`
	// Sheet of a workbook, as of csv.
	Sheet string `yaml:"sheet"`
	// Path of the list of rows in JSON, as of csv.
	Records string `yaml:"records"`
}

// HTTP is the section `http` of a source.
type HTTP struct {
	// API of a tracker that is known: toggl, clockify, harvest or kimai. It gives everything but params, auth.token and the window.
	Preset string `yaml:"preset" enum:",toggl,clockify,harvest,kimai"`
	// What the preset has to know, such as workspace.
	Params map[string]string `yaml:"params"`
	// URL of the export. https, except on loopback. With preset: the base of the API, where it is not the tracker's own.
	URL string `yaml:"url" check:"url"`
	// Method of the request. Whichever it is, it has to change nothing: it is repeated where it fails.
	Method string `yaml:"method" enum:"GET,POST,PUT,PATCH,QUERY"`
	// Body of the request; "{{since}}", "{{until}}", "{{page}}" and "{{cursor}}" are replaced. Sent as JSON where it begins with a brace or bracket, else as a form; headers may say otherwise.
	Body string `yaml:"body"`
	// Headers of the request. A value is text or a secret reference.
	Headers map[string]Value `yaml:"headers"`
	// Query parameters; "{{since}}" and "{{until}}" stand for the dates of the window.
	Query map[string]string `yaml:"query"`
	// Credentials for the export, one of header, basic, bearer, client_credentials; with preset: token.
	Auth HTTPAuth `yaml:"auth"`
	// PEM file with the certificate authorities to trust for the export, and for the authorization server of client_credentials, instead of the system's.
	CAFile string `yaml:"ca_file" check:"path"`
	// Format of the body.
	Format string `yaml:"format" enum:"auto,csv,json"`
	// Path of the list of rows in a JSON body, such as data.entries; empty: the body is the list.
	Records string `yaml:"records"`
	// Where the next page's URL is: link (the Link header), or a path in the JSON body; empty: one page. Or page, or cursor.
	Next string `yaml:"next"`
	// Pages are asked for by number, until one has no entries.
	Page *HTTPPage `yaml:"page"`
	// Pages are asked for by a mark that each names for the next.
	Cursor *HTTPCursor `yaml:"cursor"`
	// Where the number of all entries stands: a path in the JSON body, or header:NAME. With it several pages can prove that nothing is absent.
	Total string `yaml:"total"`
	// First day of the window, counted back from today.
	Since time.Duration `yaml:"since" min:"0s" max:"87840h"`
	// Last day of the window, counted back from today.
	Until time.Duration `yaml:"until" min:"0s" max:"87840h"`
	// How the window is written: date (first and last day), rfc3339 (the first moment and the one after the last, in UTC), local (first and last second, without a zone).
	Times string `yaml:"times" enum:"date,rfc3339,local"`
	// Longest wait for one page.
	Timeout time.Duration `yaml:"timeout" min:"1s" max:"1h"`
	// Largest export in bytes, over all pages and after decompression.
	MaxBytes int64 `yaml:"max_bytes" min:"1" max:"17179869184"`
	// Most pages of one export.
	MaxPages int `yaml:"max_pages" min:"1" max:"100000"`
}

// HTTPPage is the section `http.page` of a source.
type HTTPPage struct {
	// Query parameter of the page's number; empty where body has {{page}}.
	Parameter string `yaml:"parameter"`
	// Number of the first page.
	First int `yaml:"first" min:"0" max:"1"`
	// Query parameter of size.
	SizeParameter string `yaml:"size_parameter"`
	// Entries to ask for in one page; 0: as many as the server gives.
	Size int `yaml:"size" min:"0" max:"100000"`
	// Status that the server answers with behind the last page, such as 404; 0: none, there is a page without entries.
	EndStatus int `yaml:"end_status" min:"0" max:"499"`
}

// HTTPCursor is the section `http.cursor` of a source.
type HTTPCursor struct {
	// Where the mark stands: a path in the JSON body, or header:NAME. A page without it is the last.
	From string `yaml:"from" required:"true"`
	// Query parameter of the mark; empty where body has {{cursor}}.
	Parameter string `yaml:"parameter"`
}

// HTTPAuth is the section `http.auth` of a source.
type HTTPAuth struct {
	// A header with a secret value.
	Header *HeaderAuth `yaml:"header"`
	// User name and password.
	Basic *BasicAuth `yaml:"basic"`
	// Reference to a bearer token.
	Bearer SecretRef `yaml:"bearer"`
	// Reference to the API token of the tracker that preset names.
	Token SecretRef `yaml:"token"`
	// Client at an authorization server, whose token is a bearer token of the export; it is kept and shared as that of auth.
	ClientCredentials *ClientCredentials `yaml:"client_credentials"`
}

// ClientCredentials is the section `http.auth.client_credentials` of a source.
type ClientCredentials struct {
	// Issuer of the authorization server, byte for byte as in its metadata; its endpoints are discovered. Or token_url.
	Issuer string `yaml:"issuer" check:"base_url"`
	// Token endpoint of an authorization server without discovery. Or issuer.
	TokenURL string `yaml:"token_url" check:"url"`
	// The server's own way of OAuth: auth0, entra, okta, keycloak or cognito; empty: none. It decides whether audience is sent, and whom signatures are made out to.
	Dialect string `yaml:"dialect" enum:",auth0,entra,okta,keycloak,cognito"`
	// The client's id at the authorization server.
	ClientID string `yaml:"client_id" required:"true"`
	// Reference to the client's secret. Or private_key.
	ClientSecret SecretRef `yaml:"client_secret"`
	// Reference to a private key that the client signs with, in place of a secret (private_key_jwt), as in auth.
	PrivateKey SecretRef `yaml:"private_key"`
	// Id by which the authorization server knows the private key (kid); a JWK may have its own.
	PrivateKeyID string `yaml:"private_key_id"`
	// Algorithm of signatures; empty: as the key has it (RS256 for RSA).
	SigningAlg string `yaml:"signing_alg" enum:",RS256,PS256,ES256,EdDSA"`
	// Whom signatures are made out to: issuer, or token_endpoint for servers that want its URL; empty: as the dialect has it.
	AssertionAudience string `yaml:"assertion_audience" enum:",issuer,token_endpoint"`
	// How the secret is presented: basic (header) or post (form).
	AuthStyle string `yaml:"auth_style" enum:"basic,post"`
	// Scopes to ask for; for the dialect entra AUDIENCE/.default where there are none.
	Scopes []string `yaml:"scopes" check:"scope"`
	// The export's identifier at the authorization server.
	Audience string `yaml:"audience"`
}

// HeaderAuth is the section `http.auth.header` of a source.
type HeaderAuth struct {
	// Name of the header.
	Name string `yaml:"name" required:"true" check:"header"`
	// Reference to its value.
	Value SecretRef `yaml:"value" required:"true"`
}

// BasicAuth is the section `http.auth.basic` of a source.
type BasicAuth struct {
	// User name.
	Username string `yaml:"username" required:"true"`
	// Reference to the password.
	Password SecretRef `yaml:"password" required:"true"`
}

// Value is text, or a reference to a secret: exactly one of both.
type Value struct {
	Text   string
	Secret SecretRef
}

// SecretRef says where a secret is; the secret itself never sits in the
// configuration. Exactly one field is set; all are empty where no reference is
// given. See Resolver for how each is read.
type SecretRef struct {
	// Path of a file that only its owner can write and not everybody can read; relative to the directory of the configuration file.
	File string `yaml:"file" check:"path"`
	// Name of an environment variable.
	Env string `yaml:"env"`
	// Name of an item in the keyring.
	Keyring string `yaml:"keyring"`
	// Name of a systemd credential.
	Credential string `yaml:"credential"`
	// Program and arguments, run without a shell; its standard output is the secret.
	Command []string `yaml:"command"`
}

// Default is the configuration before anything is read. What depends on other
// keys (api.id, api.batch_size, auth.scopes, state.dir, a source's id and
// rules) is filled in by Load.
func Default() *Config {
	return &Config{
		API: API{
			Concurrency:         4,
			Timeout:             30 * time.Second,
			RetryWait:           time.Second,
			MaxRetryAfter:       15 * time.Minute,
			OnAmbiguous:         "hold",
			IdempotencyKeyStyle: "quoted",
			Server:              Server{Settle: 5 * time.Minute, ReadGap: 10 * time.Second, KeyTTL: 20 * time.Hour},
		},
		Run:  Run{Deadline: 30 * time.Minute, Drain: 30 * time.Second, RetryAfter: time.Minute, MaxRejectRatio: 0.2},
		Auth: Auth{AuthStyle: "basic", As: "machine", TokenStore: "auto", CheckScope: true},
		Log:  Log{Level: "info", Format: "text"},

		Listen: Listen{Address: "127.0.0.1:9464"},
		Rules: Rules{
			MaxHoursPerEntry: 24, MaxHoursPerDay: 24, ForgottenTimer: 16 * time.Hour,
			Future: "reject", Overlap: "warn", UnknownProject: "hold",
		},
		Notify: Notify{Remind: 24 * time.Hour, Wait: 15 * time.Second},
	}
}

func (w *Webhook) setDefaults(*Config) { w.Preset = "json" }

func (h *Hook) setDefaults(*Config) { h.Timeout = 10 * time.Second }

func (s *Silence) setDefaults(*Config) { s.Week = "this" }

func (s *Source) setDefaults(c *Config) {
	s.Preset, s.Rules = "auto", c.Rules
	s.Rounding, s.Midnight, s.OnChange, s.OnMissing = "none", "keep", "hold", "report"
}

func (c *CSV) setDefaults(*Config) {
	c.Delimiter, c.Encoding, c.SettleFile = "auto", "auto", time.Minute
}

func (e *Exec) setDefaults(*Config) {
	e.Timeout, e.Delimiter, e.Encoding = time.Minute, "auto", "auto"
}

func (h *HTTP) setDefaults(*Config) {
	h.Format, h.Since, h.Timeout = "auto", 35*24*time.Hour, time.Minute
	h.Method, h.Times = "GET", "date"
	h.MaxBytes, h.MaxPages = 1<<30, 1000
}

func (p *HTTPPage) setDefaults(*Config) { p.First = 1 }

func (c *ClientCredentials) setDefaults(*Config) { c.AuthStyle = "basic" }

// Supports tells whether api.supports names the capability.
func (c *Config) Supports(capability string) bool {
	return slices.Contains(c.API.Supports, capability)
}
