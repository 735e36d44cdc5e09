// Package timesheet holds the words of the domain: Entry, Key, Digest, Day,
// Seconds, Origin, Rejection. Every other package speaks in them. The package
// does no I/O, knows no format of a file and no API, and imports the standard
// library only.
package timesheet

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Seconds is a duration in whole seconds. Hours exist only at the edges.
type Seconds int64

// Hours renders s as decimal hours with at most four decimals and no
// superfluous zero: 5400 is "1.5", 1 is "0.0003".
func (s Seconds) Hours() string { return string(s.AppendHours(nil)) }

// AppendHours appends the decimal hours of s, as Hours renders them, to b.
func (s Seconds) AppendHours(b []byte) []byte {
	n := int64(s)
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	// Ten-thousandths of an hour, to the nearest: 10,000/3,600 is 25/9.
	t := (n*25*2 + 9) / 18
	b = strconv.AppendInt(b, t/10000, 10)
	frac := t % 10000
	if frac == 0 {
		return b
	}
	b = append(b, '.')
	for div := int64(1000); frac > 0; div /= 10 {
		b = append(b, byte('0'+frac/div))
		frac %= div
	}
	return b
}

// Clock renders s as hours, minutes and seconds: "1:30:00".
func (s Seconds) Clock() string {
	sign, n := "", int64(s)
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d:%02d:%02d", sign, n/3600, n/60%60, n%60)
}

// Day is a calendar day without a zone, counted from 1970-01-01.
type Day int32

// DayOf is the calendar day that t shows in its own location.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Date(y, m, d)
}

// Date is the Day of a proleptic Gregorian date; like time.Date it normalizes
// values out of range.
func Date(year int, month time.Month, day int) Day {
	u := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()
	if u < 0 && u%86400 != 0 {
		return Day(u/86400 - 1)
	}
	return Day(u / 86400)
}

// ParseDay reads YYYY-MM-DD.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q is not YYYY-MM-DD", s)
	}
	return DayOf(t), nil
}

// Time is midnight UTC of d.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String renders d as YYYY-MM-DD.
func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// AppendTo appends YYYY-MM-DD to b.
func (d Day) AppendTo(b []byte) []byte { return d.Time().AppendFormat(b, time.DateOnly) }

// Monday is the first day of d's ISO week.
func (d Day) Monday() Day {
	// 1970-01-01 was a Thursday.
	return d - Day(((int(d)+3)%7+7)%7)
}

// Origin is where something was read: the source's name, the file (or URL
// without its query) and the line on which the row begins, counted from 1.
type Origin struct {
	Source string
	File   string
	Line   int
	// Column is the one, counted from 1, of an entry that is a cell of a row with
	// several entries; 0 where it is a whole row.
	Column int
}

// String renders the place as file:line, or file:line:column.
func (o Origin) String() string {
	s := o.File + ":" + strconv.Itoa(o.Line)
	if o.Column > 0 {
		s += ":" + strconv.Itoa(o.Column)
	}
	return s
}

// Place is line and column in one number; that of a whole row is its line.
func (o Origin) Place() uint64 { return uint64(uint32(o.Line)) | uint64(uint32(o.Column))<<32 }

// SetPlace takes line and column from a Place.
func (o *Origin) SetPlace(p uint64) { o.Line, o.Column = int(uint32(p)), int(p>>32) }

// Entry is one person's time on one project and date, normalized.
type Entry struct {
	Origin Origin
	Key    Key
	Digest Digest
	// ID is the tracker's own id of the row where the source declares one that
	// can be trusted, otherwise empty.
	ID string
	// Person is the user id on the wire. It and Project may be kept by whoever
	// sees many entries; other texts keep the whole row in memory.
	Person   string
	UserType string
	Day      Day
	// Start and End carry the source's zone; both are zero where the export
	// has no times of day.
	Start, End time.Time
	Project    string
	Task       string
	Notes      string
	Duration   Seconds
	// Rounding is what the rounding of the person's day adds to Duration on the
	// wire, or takes off it. It never enters an identity.
	Rounding Seconds
	// Hold is why the source itself wants a person to look before the entry is
	// sent; empty for most.
	Hold Reason
	// HoldDetail says more about Hold, for people; few different texts a read.
	HoldDetail string
}

// LogValue shows which entry it is and where it came from, never whose it is
// nor what it says.
func (e *Entry) LogValue() slog.Value {
	return slog.GroupValue(slog.String("entry_key", e.Ref()), slog.String("origin", e.Origin.String()))
}

// Rounded is how long the entry is on the wire.
func (e *Entry) Rounded() Seconds { return e.Duration + e.Rounding }

// Ref is the short name by which people call the entry; see Ref (the function).
func (e *Entry) Ref() string { return Ref(e.Key.Packed(e.Day)) }

// Row is what one data row of an export became: exactly one of Entry, Rejection
// and Skipped is set. What
// it points to is valid only until the reader moves on.
type Row struct {
	Entry *Entry
	// Parts are of an Entry that runs over midnight: one for each day, with keys
	// of their own, as long as the Entry together. Nil for most.
	Parts     []Entry
	Rejection *Rejection
	Skipped   *Skipped
}

// Skipped is a row that is no work to upload, by name: a break, a running
// timer, a row of zero length.
type Skipped struct {
	Origin Origin
	Reason Reason
}

// Reason is a code that says why an entry or row is in the state it is in. It
// is an interface: it appears in reports, JSON and the ledger.
type Reason string

// Reasons of rejected rows.
const (
	ReasonBadRow       Reason = "bad_row"        // ragged, NUL byte, field too long
	ReasonMissing      Reason = "missing_value"  // a required value is empty
	ReasonBadDate      Reason = "bad_date"       // not a date, or not in the format of the file
	ReasonBadTime      Reason = "bad_time"       // not a time of day
	ReasonBadDuration  Reason = "bad_duration"   // not a duration, or too precise
	ReasonNegative     Reason = "negative"       // duration below zero
	ReasonTooLong      Reason = "too_long"       // more than max_hours_per_entry
	ReasonFuture       Reason = "future"         // after today in the source's zone
	ReasonTooOld       Reason = "too_old"        // before the year 2000
	ReasonDisagree     Reason = "disagree"       // start/end and duration differ
	ReasonDamaged      Reason = "damaged"        // changed by a spreadsheet, beyond repair
	ReasonBadPerson    Reason = "bad_person"     // control, bidi or zero-width characters in an id
	ReasonDuplicateID  Reason = "duplicate_id"   // one id, two contents, in one read
	ReasonUnknownUser  Reason = "unknown_user"   // no person can be told
	ReasonRefusedByAPI Reason = "refused_by_api" // the API refused the content
	ReasonTooLarge     Reason = "too_large"      // a single entry that the API finds too large
)

// Reasons of skipped rows and entries.
const (
	ReasonZero      Reason = "zero"         // zero length
	ReasonBreak     Reason = "break"        // a break by the tracker's own type
	ReasonDuplicate Reason = "duplicate"    // the same id with the same content, again in one read
	ReasonRunning   Reason = "running"      // a timer that has not ended
	ReasonByPerson  Reason = "by_person"    // a person said so: resolve --skip
	ReasonSubtotal  Reason = "subtotal"     // a sum of other rows
	ReasonTwoFiles  Reason = "in_two_files" // the same row as in another file of this read
	ReasonWithdrawn Reason = "withdrawn"    // gone from the source before it was sent
	ReasonDeleted   Reason = "deleted"      // the tracker says that it was deleted
	ReasonRounded   Reason = "rounded"      // its time is in what the day's other entries were rounded to
	ReasonElsewhere Reason = "elsewhere"    // of another workspace than the one asked for
	ReasonAllDay    Reason = "all_day"      // an event of a calendar without times of day
	ReasonCancelled Reason = "cancelled"    // an event that does not take place
)

// Reasons of held entries; by rules.overlap, ReasonOverlap rejects them too.
const (
	ReasonChanged  Reason = "changed"         // looks like an edit of what was sent
	ReasonDayTotal Reason = "day_total"       // the person's day is over max_hours_per_day
	ReasonProject  Reason = "unknown_project" // project not in the map
	ReasonOverlap  Reason = "overlap"         // runs while another entry of the person does
	ReasonConflict Reason = "conflict"        // the API holds something else under this key
	ReasonForgot   Reason = "forgotten_timer" // ran from start to end for longer than people work
)

// Rejection is a permanent refusal of a row or entry, with what a person needs
// to mend it.
type Rejection struct {
	Origin Origin
	Key    Key // identity of the refused row: its values as read and its occurrence
	// Entry is the identity of the entry that the row would be if its person were
	// known; zero where that is not all that is wrong.
	Entry   Key
	Reason  Reason
	Column  string // the header of the column at fault; empty where the whole row is
	Message string // what is wrong, one sentence without a full stop
	Hint    string // what to do about it
	// Header and Record are the row in the export's own columns.
	Header []string
	Record []string
	// Person, Day and Duration are filled in as far as the row could be read.
	Person      string
	Day         Day
	HasDay      bool
	Duration    Seconds
	HasDuration bool
}

// Survey is what the first pass over an export found.
type Survey struct {
	// Fingerprint covers the bytes and the way they are read: equal
	// fingerprints mean equal rows.
	Fingerprint [32]byte
	// Stamp is a cheap sign of the same bytes (path, size): equal stamps make it
	// worth asking for the Fingerprint; they prove nothing.
	Stamp string
	Files []File
	Rows  int // data rows, over all files
	// Complete says that the read provably saw all there is: an absence in it
	// means something.
	Complete bool
	// Window is the days of which a complete read has all there is, where it was
	// asked for only some. Nil: the days that it has rows of.
	Window *Window
	Notes  []string // what a person should know: encoding, ignored columns, settled files
}

// Window is a stretch of days, both ends included.
type Window struct{ First, Last Day }

// Has tells whether a day lies in the window.
func (w Window) Has(d Day) bool { return d >= w.First && d <= w.Last }

// File is one file, or one export, of a Survey.
type File struct {
	Name      string
	Size      int64
	Rows      int
	Decisions []Decision
	// Quoted and CRLF say how the header of a CSV file is written: with quotation
	// marks around every name, with such line ends.
	Quoted, CRLF bool `json:",omitempty"`
}

// Decision is something that the whole file decided, with the evidence.
type Decision struct {
	What     string // "date order", "delimiter", "encoding", ...
	Value    string
	Evidence string // file:line or the config key
}

// Level names what the API can do against double entries: 0, 1 or 2.
type Level int

// String is the level's short name.
func (l Level) String() string { return "L" + strconv.Itoa(int(l)) }

// CleanID tells whether s may be used as an id: not empty, no control
// character, no bidirectional override, no zero-width character.
func CleanID(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 ||
			r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff
	})
}
