package source

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// converter makes rows of the records of one file.
type converter struct {
	s      *Source
	cfg    *Config
	u      *unit
	form   *form
	t      *table
	today  timesheet.Day
	seen   *seen
	ids    *seen // of all files of the read; nil where there is one
	hasher timesheet.Hasher
	users  map[string]bool // the user ids that People maps to
	// rejected counts equal refused rows.
	rejected map[uint64]int

	// Handed out and used again.
	row       timesheet.Row
	entry     timesheet.Entry
	rejection timesheet.Rejection
	skipped   timesheet.Skipped
	values    timesheet.Values

	below below // the table, and where it ends

	start, end moment // of the row at hand
	ranged     bool   // it has both
	loose      timesheet.DateFormat

	projects, people *suggestions
	names            map[string]string // of people and projects; see name

	// The last date, because rows of one day stand together.
	lastText, lastISO string
	lastDay           timesheet.Day
}

func newConverter(s *Source, u *unit) *converter {
	c := &converter{
		s: s, cfg: &s.cfg, u: u, form: u.form, t: u.form.table, today: s.today(),
		seen: newSeen(u.rows), rejected: map[uint64]int{}, users: map[string]bool{},
		below: u.form.table.below(), projects: newSuggestions(s.cfg.Projects), people: newSuggestions(s.cfg.People), names: map[string]string{},
	}
	// A constant format is a valid one.
	c.loose, _ = timesheet.ParseDateFormat("YYYY-M-D")
	for _, id := range s.cfg.People {
		c.users[id] = true
	}
	return c
}

// fault is why a row is refused.
type fault struct {
	reason  timesheet.Reason
	field   field // fieldCount for the whole row
	message string
	hint    string
}

// convert makes a Row of rec; why is set instead of rec where the record could
// not be parsed. number is the row's, from 1.
func (c *converter) convert(rec *record, why string, fr *frame, number int) *timesheet.Row {
	c.row = timesheet.Row{}
	line := c.u.place(fr.line, number)
	c.entry = timesheet.Entry{Origin: timesheet.Origin{Source: c.cfg.Name, File: c.u.name, Line: line, Column: c.u.column(fr.line)}}
	e := &c.entry
	part := partial{}
	var f *fault
	skip := timesheet.Reason("")
	switch {
	case c.below.has(fr):
		skip = timesheet.ReasonSubtotal
	case why != "":
		f = &fault{timesheet.ReasonBadRow, fieldCount, why, "mend the row in the export; values with quotation marks or delimiters must be quoted"}
	case strings.HasPrefix(rec.Refused, skipMark):
		skip = timesheet.Reason(strings.TrimPrefix(rec.Refused, skipMark))
	case rec.Refused != "":
		f = &fault{timesheet.ReasonBadRow, fieldCount, rec.Refused, "mend the export"}
	default:
		skip, f = c.fill(e, rec, &part)
	}
	switch {
	case f != nil:
		c.reject(f, fr, &part)
		if part.stranger {
			c.identify(e)
			c.rejection.Entry = e.Key
		}
		return &c.row
	case skip != "":
		return c.skip(skip)
	}
	c.identify(e)
	if e.ID == "" {
		return c.take(e)
	}
	switch c.seen.id(&e.Key, &e.Digest) {
	case idSame:
		return c.skip(timesheet.ReasonDuplicate)
	case idOther:
		c.reject(&fault{
			timesheet.ReasonDuplicateID, fieldID, "another row of this file has the same id and other values",
			"keep the row that is right and take the other one out of the export; neither is sent",
		}, fr, &part)
		c.rejection.Key = e.Key
		return &c.row
	}
	if c.ids != nil && c.ids.id(&e.Key, &e.Digest) == idOther {
		c.reject(&fault{
			timesheet.ReasonDuplicateID, fieldID, "another file of this read has a row with the same id and other values",
			"take the file with the outdated row away; what was not sent before waits until then",
		}, fr, &part)
		c.rejection.Key = e.Key
		return &c.row
	}
	return c.take(e)
}

// identify gives e its Digest and Key.
func (c *converter) identify(e *timesheet.Entry) {
	e.Digest = c.hasher.Digest(&c.values)
	if e.ID == "" {
		e.Key = c.hasher.ContentKey(c.cfg.ID, e.Digest, c.seen.occurrence(&e.Digest))
		return
	}
	e.Key = c.hasher.IDKey(c.cfg.ID, e.ID)
}

func (c *converter) take(e *timesheet.Entry) *timesheet.Row {
	c.row.Entry = e
	if c.ranged {
		c.row.Parts = c.over(e)
	}
	return &c.row
}

func (c *converter) skip(why timesheet.Reason) *timesheet.Row {
	c.skipped = timesheet.Skipped{Origin: c.entry.Origin, Reason: why}
	c.row.Skipped = &c.skipped
	return &c.row
}

// partial says how far a row could be read.
type partial struct {
	person           string
	stranger         bool // all is well but for the person, whom the people map does not have
	hasDay, hasHours bool
	day              timesheet.Day
	duration         timesheet.Seconds
}

func (c *converter) reject(f *fault, fr *frame, part *partial) {
	header, fields := c.t.header, fr.fields(c.t.delim)
	column := ""
	if f.field < fieldCount {
		column = c.t.column(f.field)
	}
	if c.u.json {
		// The last column is ours.
		header = header[:len(header)-1]
		fields = fields[:min(len(fields), len(header))]
	}
	base := c.hasher.RowKey(c.cfg.ID, fields, 0)
	h := binary.LittleEndian.Uint64(base[:])
	c.rejected[h]++
	c.rejection = timesheet.Rejection{
		Origin: c.entry.Origin, Key: c.hasher.RowKey(c.cfg.ID, fields, c.rejected[h]),
		Reason: f.reason, Column: column, Message: f.message, Hint: f.hint,
		Header: header, Record: fields,
		Person: part.person, Day: part.day, HasDay: part.hasDay, Duration: part.duration, HasDuration: part.hasHours,
	}
	c.row.Rejection = &c.rejection
}

// fill reads rec into the entry and the values that identify it, in the order
// in which people look at a row: who, when, how long, what for. It reads on
// behind a fault as far as the report needs it.
func (c *converter) fill(e *timesheet.Entry, rec *record, part *partial) (skip timesheet.Reason, f *fault) {
	v := &c.values
	*v = timesheet.Values{
		Person: clean(rec.User), Project: c.name(clean(rec.Project)), Task: clean(rec.Task), Notes: clean(rec.Notes),
	}
	if c.t.has(fieldSurname) {
		v.Person = clean(v.Person + " " + clean(rec.Surname))
	}
	v.Person = c.name(v.Person)
	if why := c.noWork(rec); why != "" {
		return why, nil
	}
	if p := c.t.lay.preset; p != nil && p.never != "" && fold(rec.End) == p.never {
		rec.End = ""
	}
	who := c.person(e, v.Person)
	part.person = e.Person

	c.start, c.end = moment{}, moment{}
	start, end := &c.start, &c.end
	if f = c.when(e, rec, start, end); f == nil {
		part.day, part.hasDay = e.Day, true
	}
	sec, skip, g := c.duration(rec, start, end)
	f = first(f, g)
	if g == nil && skip == "" {
		part.duration, part.hasHours = sec, true
	}
	e.Duration, v.Seconds = sec, sec
	stranger := who != nil && v.Person != "" && who.reason == timesheet.ReasonUnknownUser
	switch {
	case f != nil || who != nil && !stranger:
		// A timer still running or a row of no length is no work, but a row that
		// is broken besides is shown as broken.
		return "", first(who, f)
	case skip != "":
		return skip, nil
	}
	c.instants(e, start, end)
	skip, f = c.what(e, rec)
	if stranger {
		part.stranger = f == nil && skip == ""
		return "", who
	}
	return skip, f
}

// what reads what the time was for, and judges the entry as a whole.
func (c *converter) what(e *timesheet.Entry, rec *record) (timesheet.Reason, *fault) {
	v := &c.values
	e.Task, e.Notes = v.Task, v.Notes
	if e.Task == "" {
		e.Task = c.cfg.Defaults.Task
	}
	if e.UserType = c.cfg.UserType; e.UserType == "" {
		if e.UserType = clean(rec.UserType); e.UserType == "" {
			e.UserType = c.cfg.Defaults.UserType
		}
	}
	if f := c.project(e, v.Project); f != nil {
		return "", f
	}
	if c.t.has(fieldID) {
		e.ID = clean(rec.ID)
		if e.ID == "" {
			return "", &fault{timesheet.ReasonMissing, fieldID, "the id is empty", "every row must have its id, or the column must not be named as one"}
		}
		// The sign comes first because most ids have none and the pattern is slow.
		if strings.ContainsAny(e.ID, "+-") && scientific.MatchString(e.ID) {
			return "", &fault{timesheet.ReasonDamaged, fieldID, quote(e.ID) + " is an id in scientific notation, which a spreadsheet made of a number", exportAgain}
		}
		if !timesheet.CleanID(e.ID) {
			return "", &fault{timesheet.ReasonBadPerson, fieldID, "the id contains invisible or control characters", "mend it where it was typed or pasted"}
		}
	}
	if p := c.t.lay.preset; p != nil && p.planned && c.cfg.Rules.Future == FutureReject && e.End.After(time.Now()) {
		return timesheet.ReasonFuture, nil
	}
	if f := c.plausible(e); f != nil {
		return "", f
	}
	c.ranged = c.start.set && rec.End != "" && c.t.has(fieldEnd)
	if most := c.cfg.Rules.ForgottenTimer; e.Hold == "" && most > 0 && e.Duration > most && c.ranged {
		e.Hold = timesheet.ReasonForgot
	}
	return "", nil
}

// noWork tells, by the tracker's own words, that a row is no entry.
func (c *converter) noWork(rec *record) timesheet.Reason {
	p := c.t.lay.preset
	if p == nil || rec.Kind == "" {
		return ""
	}
	if p.subtotals && rec.Date == "" && rec.Start == "" && rec.End == "" {
		return timesheet.ReasonSubtotal
	}
	return p.skip[fold(rec.Kind)]
}

func first(f, g *fault) *fault {
	if f != nil {
		return f
	}
	return g
}

// mostNames bounds the memory for names that come up again.
const mostNames = 1 << 14

// name is a name that may be kept: as it was read it is a part of its record,
// all of which it would keep.
func (c *converter) name(s string) string {
	if known, ok := c.names[s]; ok {
		return known
	}
	s = strings.Clone(s)
	if len(c.names) < mostNames {
		c.names[s] = s
	}
	return s
}

func (c *converter) person(e *timesheet.Entry, raw string) *fault {
	e.Person = raw
	if c.cfg.User != "" {
		e.Person = c.cfg.User
	} else if raw == "" {
		return &fault{timesheet.ReasonUnknownUser, fieldUser, "the row does not say whose time it is", "fill in the person, or set user for the whole source"}
	} else if !timesheet.CleanID(raw) {
		return &fault{timesheet.ReasonBadPerson, fieldUser, "the person's name contains invisible or control characters", "mend it where it was typed or pasted"}
	}
	if len(c.cfg.People) == 0 {
		return nil
	}
	if id, ok := c.cfg.People[e.Person]; ok {
		e.Person = id
	} else if !c.users[e.Person] && c.cfg.User == "" {
		hint := "add the person to people, with the user id"
		if near := c.people.near(e.Person); near != "" {
			hint += "; it is " + near
		}
		return &fault{timesheet.ReasonUnknownUser, fieldUser, quote(raw) + " is not in the people map", hint}
	}
	return nil
}

func (c *converter) project(e *timesheet.Entry, raw string) *fault {
	e.Project = raw
	if mapped, ok := c.cfg.Projects[raw]; ok {
		e.Project = mapped
		return nil
	}
	if raw == "" {
		if e.Project = c.cfg.Defaults.Project; e.Project == "" {
			return &fault{timesheet.ReasonMissing, fieldProject, "the project is empty", "fill it in, or set defaults.project"}
		}
		return nil
	}
	if len(c.cfg.Projects) > 0 && c.cfg.Rules.UnknownProject == UnknownHold {
		e.Hold, e.HoldDetail = timesheet.ReasonProject, c.projects.near(raw)
	}
	return nil
}

// year2000 is the first day that is taken for one on which somebody worked.
var year2000 = timesheet.Date(2000, time.January, 1)

func (c *converter) plausible(e *timesheet.Entry) *fault {
	switch {
	case e.Duration < 0:
		return &fault{timesheet.ReasonNegative, c.durationField(), "the duration is negative", "take the hours off the entry itself; corrections cannot be uploaded"}
	case e.Duration > c.cfg.Rules.MaxPerEntry:
		return &fault{
			timesheet.ReasonTooLong, c.durationField(),
			fmt.Sprintf("%s h is more than the %s h that one entry may have", e.Duration.Hours(), c.cfg.Rules.MaxPerEntry.Hours()),
			"mend the row, or raise rules.max_hours_per_entry",
		}
	case e.Day < year2000:
		return &fault{timesheet.ReasonTooOld, fieldDate, e.Day.String() + " is before the year 2000", "mend the date"}
	case e.Day > c.today && c.cfg.Rules.Future == FutureReject:
		return &fault{timesheet.ReasonFuture, fieldDate, e.Day.String() + " is still to come", "mend the date, or wait: the row is taken once its day has come"}
	}
	return nil
}

// clean is a value as it enters an identity: without the space around it, and
// in Unicode's composed form, because the same name is typed in two ways.
func clean(s string) string {
	if s == "" {
		return s
	}
	var all byte
	for i := range len(s) {
		all |= s[i]
	}
	if all < 0x80 && s[0] > ' ' && s[len(s)-1] > ' ' {
		return s
	}
	return norm.NFC.String(strings.TrimSpace(s))
}
