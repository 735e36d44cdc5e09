// Package source reads the hours that a contractor keeps elsewhere: CSV files,
// standard input, an HTTP export, or a program that prints one.
//
// A Source is opened once a run; the Reading is gone through twice. Survey
// finds the structure, decides from the whole file what only the whole file can
// decide (encoding, date order, decimal sign) and counts the rows; Rows then
// turns every data row into exactly one Entry, Rejection or Skipped, in the
// order of the file. Both passes read one open descriptor, and a file that
// changes in between is an error.
//
// What holds throughout:
//
//   - A bad row never stops the reading; a bad file yields an Error and the
//     caller must not use a row of it.
//   - Identity (Key, Digest) is made of the values as they are read, trimmed and
//     in NFC, and of nothing that the configuration can change, except which
//     column means what.
//   - Memory does not grow with the file, but for eleven bytes a row that tell
//     equal rows apart.
//   - No error or log holds a secret, a query string, or what a person wrote in
//     a note.
package source

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// The words of the domain, for programs outside this module.
type (
	// Entry is one person's time on one project and date.
	Entry = timesheet.Entry
	// Rejection is a row that was refused.
	Rejection = timesheet.Rejection
	// Skipped is a row that is no work.
	Skipped = timesheet.Skipped
	// Row is what one data row became.
	Row = timesheet.Row
	// Survey is what the first pass found.
	Survey = timesheet.Survey
)

// DefaultUserType is the type of a user where neither the export nor the
// configuration names one.
const DefaultUserType = "Contractor"

// The ways of Rules.Future and Rules.UnknownProject.
const (
	FutureReject = "reject"
	FutureAllow  = "allow"
	UnknownHold  = "hold"
	UnknownSend  = "send"
)

// Config describes a Source. Exactly one of Glob, Files, Stdin, HTTP
// and Exec is set.
type Config struct {
	// Name is how people call the source.
	Name string
	// ID enters every Key and must never change. Default: Name.
	ID string

	// Glob is a path or a pattern of files that a producer drops. A file counts
	// once it has been quiet for SettleFile.
	Glob string
	// Files are named by a person and read at once.
	Files []string
	// As gives paths, of Files or of what Glob matches, another name to be shown
	// under: in Origin.File, in the files, decisions and notes of a Survey, in
	// errors and in logs. So a temporary file can stand for the one that it was
	// made of. The Stamp stays that of the file that is read.
	As map[string]string
	// Lines gives the rows of a path, of Files or of what Glob matches, other
	// lines to be shown at: one for each data row, in their order.
	Lines map[string][]int
	// Stdin is read to its end into a spool file.
	Stdin io.Reader
	// HTTP fetches an export.
	HTTP *HTTP
	// Exec runs a program that prints an export.
	Exec *Exec

	// Preset is PresetAuto, or one of Presets: the tracker whose export this is.
	// Empty is PresetAuto: our own header, or else the tracker that the header
	// tells of.
	Preset string
	// Columns maps fields (user, user_type, date, start, end, end_date,
	// duration, hours, project, task, notes, id) to headers of the export, in the
	// place of a preset.
	Columns map[string]string
	// User and UserType are fixed values for an export that is all one person's.
	User     string
	UserType string
	// Defaults stand in for empty values; they never enter a Key.
	Defaults Defaults
	// Location is the zone of the wall times in the export. Required.
	Location *time.Location

	// DateFormat has tokens such as DD.MM.YYYY; empty: ISO, or decided by the file.
	DateFormat string
	// TimeFormat is "24h", "12h", or empty for either, by value.
	TimeFormat string
	// DurationFormat is how the duration column is written: "h:mm", "decimal",
	// "minutes", "seconds", or empty for h:mm or decimal hours, by value.
	DurationFormat string
	// Decimal is ".", ",", or empty: decided by the file.
	Decimal string
	// Delimiter is one of , ; | and tab, or empty or auto: sniffed from the header.
	Delimiter string
	// Records is the dotted path of the list of records in a file of JSON; empty:
	// the file is the list, or has one record on each line.
	Records string
	// Sheet is the sheet of a workbook to read; empty: the first with a known
	// header.
	Sheet string
	// Encoding is utf-8, utf-16le, utf-16be, windows-1252, or empty or auto: sniffed.
	Encoding string

	// People maps a person as in the export to a user id. With a map, a person
	// who is neither in it nor already one of its user ids is refused.
	People map[string]string
	// Projects maps a project as in the export to a project on the wire; what
	// becomes of others is Rules.UnknownProject.
	Projects map[string]string
	Rules    Rules

	// SpoolDir takes what cannot be read twice. Default: the system's temporary
	// directory.
	SpoolDir string
	// SettleFile is how long a file of a Glob must have been quiet. Default: 60 s.
	SettleFile time.Duration
	Limits     Limits
	Logger     *slog.Logger
}

// Defaults stand in for empty values.
type Defaults struct {
	Project, Task, UserType string
}

// Rules say what a plausible entry is.
type Rules struct {
	// MaxPerEntry refuses longer entries. Default: 24 hours.
	MaxPerEntry timesheet.Seconds
	// ForgottenTimer holds entries that are longer from start to end: somebody
	// forgot to stop a timer. Default: 16 hours; negative: never.
	ForgottenTimer timesheet.Seconds
	// Future is FutureReject (default) or FutureAllow, for days after today in
	// the source's zone.
	Future string
	// UnknownProject is UnknownHold (default) or UnknownSend.
	UnknownProject string
}

// Limits bound what is read. Zero fields take the default.
type Limits struct {
	File  int64 // bytes of one file: 1 GiB
	Line  int   // bytes of one record: 1 MiB
	Field int   // bytes of one field: 64 KiB
	Files int   // files of one Glob: 4096
	// BadMin and BadShare refuse a file in which more than BadShare of at least
	// BadMin rows are bad: 50 and 0.2.
	BadMin   int
	BadShare float64
}

// HTTP describes an export that is fetched. Secrets are asked for at each use.
type HTTP struct {
	// Preset names a tracker's API, one of Presets. It gives everything but
	// Params, Token and the window; URL is its base where that is not the
	// tracker's own, and Query adds to its query.
	Preset string
	// Params are what the preset needs to know, such as workspace.
	Params map[string]string
	// Token is the tracker's token, presented as its API wants it.
	Token Secret

	// URL may contain {{since}} and {{until}}. Plain http is for loopback only.
	URL string
	// Method is GET by default. Whatever it is, the request is taken for one that
	// changes nothing and is repeated where it fails.
	Method string
	// Body is sent with each request. Beside {{since}} and {{until}} it may
	// contain {{page}} and {{cursor}}.
	Body string
	// Query is added to the URL; values may contain the placeholders.
	Query map[string]string
	// Headers are sent with every request to the URL's own origin.
	Headers map[string]Secret
	// Bearer, and Username with Password, are two ways of authorization.
	Bearer   Secret
	Username string
	Password Secret

	// Format is "csv", "json", or empty: by content type.
	Format string
	// Records is the dotted path of the array of records in a JSON body; empty:
	// the body is the array.
	Records string
	// Next is "link" (a Link header with rel=next), the dotted path of the next
	// page's URL in a JSON body, or empty: one page. Page and Cursor are other
	// ways; only one of the three may be given.
	Next   string
	Page   *Page
	Cursor *Cursor
	// Total is where the number of all records stands, as in Cursor.From. It is
	// what an export of several pages can be held against.
	Total string
	// Since and Until reach back from today: the window is of whole days in the
	// source's zone, the first today minus Since, the last today minus Until.
	// Default: 35 days and 0.
	Since, Until time.Duration
	// Times is how the placeholders are written: "date" (default), the first and
	// the last day; "rfc3339", the first moment of the window and the first one
	// after it, in UTC; or "local", the first and the last second on the wall.
	Times string

	Timeout     time.Duration // of one request: 60 s
	MaxTime     time.Duration // of the whole export: 15 min
	MaxBytes    int64         // of all pages, decompressed: 1 GiB
	MaxPages    int           // 1000
	limit       int
	skip        []skipRule
	columns     []string // there even where no record has them
	tokenHeader string   // that Token went into, if any

	// Transport is http.DefaultTransport by default. One that adds credentials of
	// its own and has none returns an *Error, which is not tried again.
	Transport http.RoundTripper
}

// Page asks for pages by number, until one has no records.
type Page struct {
	// Parameter of the query takes the number; empty where Body has {{page}}.
	Parameter string
	First     int // number of the first page
	// SizeParameter takes Size, the records that a page is to have; 0: the
	// server's own size.
	SizeParameter string
	Size          int
	// EndStatus is how the server answers to a page after the last, such as 404;
	// 0 where that is a page without records.
	EndStatus int
}

// Cursor asks for pages by a mark that each page names for the next, until one
// names none.
type Cursor struct {
	// From is where a page has the mark: a dotted path in the JSON body, or
	// "header:NAME".
	From string
	// Parameter of the query takes it; empty where Body has {{cursor}}.
	Parameter string
}

// Secret gives a secret when it is needed.
type Secret func(context.Context) ([]byte, error)

// Source produces Readings.
type Source struct {
	cfg     Config
	layout  layout   // our own, the columns key's, or the one preset's
	presets []layout // that a header is compared with
	log     *slog.Logger
}

// New checks cfg and fills in its defaults.
func New(cfg Config) (*Source, error) {
	if cfg.ID == "" {
		cfg.ID = cfg.Name
	}
	fill(&cfg.SettleFile, time.Minute)
	fill(&cfg.Rules.MaxPerEntry, 24*3600)
	fill(&cfg.Rules.ForgottenTimer, 16*3600)
	fill(&cfg.Rules.Future, FutureReject)
	fill(&cfg.Rules.UnknownProject, UnknownHold)
	fill(&cfg.Defaults.UserType, DefaultUserType)
	fill(&cfg.Limits.File, 1<<30)
	fill(&cfg.Limits.Line, 1<<20)
	fill(&cfg.Limits.Field, 64<<10)
	fill(&cfg.Limits.Files, 4096)
	fill(&cfg.Limits.BadMin, 50)
	fill(&cfg.Limits.BadShare, 0.2)
	for _, v := range []*string{&cfg.Delimiter, &cfg.Encoding} {
		if *v == "auto" {
			*v = ""
		}
	}
	if cfg.Delimiter == "tab" || cfg.Delimiter == `\t` {
		cfg.Delimiter = "\t"
	}
	s := &Source{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = s.log.With("source", cfg.Name)
	if cfg.Name == "" || cfg.Location == nil {
		return nil, s.fault("name and timezone are required", "")
	}
	if cfg.User != "" && !timesheet.CleanID(cfg.User) {
		return nil, s.fault("user contains invisible or control characters", "")
	}
	given := 0
	for _, is := range []bool{cfg.Glob != "", len(cfg.Files) > 0, cfg.Stdin != nil, cfg.HTTP != nil, cfg.Exec != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, s.fault("one of csv, http, exec, files or standard input is required, and only one", "")
	}
	if cfg.HTTP != nil && cfg.HTTP.Preset != "" {
		h := *cfg.HTTP
		if err := h.apply(&cfg); err != nil {
			return nil, s.place("", err)
		}
		cfg.HTTP, s.cfg = &h, cfg
	}
	for key, value := range map[string][2]string{
		"rules.future":          {cfg.Rules.Future, " reject allow "},
		"rules.unknown_project": {cfg.Rules.UnknownProject, " hold send "},
		"time_format":           {cfg.TimeFormat, " 24h 12h "},
		"duration_format":       {cfg.DurationFormat, " h:mm decimal minutes seconds "},
		"decimal":               {cfg.Decimal, " . , "},
		"csv.encoding":          {cfg.Encoding, " utf-8 utf-16le utf-16be windows-1252 "},
	} {
		if value[0] != "" && (strings.Contains(value[0], " ") || !strings.Contains(value[1], " "+value[0]+" ")) {
			return nil, s.fault(key+": "+quote(value[0])+" is not one of"+strings.TrimRight(value[1], " "), "")
		}
	}
	if len(cfg.Delimiter) > 1 || cfg.Delimiter != "" && !strings.Contains(delimiters, cfg.Delimiter) {
		return nil, s.fault("csv.delimiter: "+quote(cfg.Delimiter)+" is not a comma, semicolon, tab or bar", "")
	}
	var err error
	if s.layout, err = newLayout(&cfg); err != nil {
		return nil, s.fault(err.Error(), "")
	}
	if err := s.usePresets(); err != nil {
		return nil, err
	}
	if cfg.HTTP != nil {
		h := *cfg.HTTP
		s.cfg.HTTP = &h
		if err := s.checkHTTP(&h); err != nil {
			return nil, err
		}
	}
	if cfg.Exec != nil {
		e := *cfg.Exec
		if err := s.checkExec(&e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// fill sets *v to def where it has its zero value.
func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Name is how people call the source.
func (s *Source) Name() string { return s.cfg.Name }

// ID is what enters every Key.
func (s *Source) ID() string { return s.cfg.ID }

// Open finds and opens the files, or fetches the export into a spool file. An
// error is a source that cannot be read; the Reading is the caller's to close.
func (s *Source) Open(ctx context.Context) (*Reading, error) {
	r, _, err := s.OpenUnless(ctx, "")
	return r, err
}

// OpenUnless is Open, except that it asks the server of an export whether that
// is still what a Reading with this Stamp was. If so, unchanged is true and
// there is no Reading. Only who needs nothing more of that Reading may ask.
func (s *Source) OpenUnless(ctx context.Context, stamp string) (_ *Reading, unchanged bool, _ error) {
	r := &Reading{s: s}
	var err error
	switch {
	case s.cfg.HTTP != nil:
		err = r.openHTTP(ctx, stamp)
	case s.cfg.Exec != nil:
		err = r.openExec(ctx)
	case s.cfg.Stdin != nil:
		err = r.openStdin(ctx)
	case s.cfg.Glob != "":
		err = r.openGlob(ctx)
	default:
		err = r.openFiles(ctx)
	}
	if err != nil || r.same {
		return nil, r.same, joinClose(err, r)
	}
	return r, false, nil
}

func joinClose(err error, c io.Closer) error {
	// What went wrong first is what the reader needs to know.
	_ = c.Close()
	return err
}
