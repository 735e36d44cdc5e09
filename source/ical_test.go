package source

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func vevent(lines ...string) string {
	return "BEGIN:VEVENT\r\nUID:1\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\n"
}

func vcalendar(parts ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + strings.Join(parts, "") + "END:VCALENDAR\r\n"
}

func calendarConfig(content string) Config {
	cfg := text(content)
	cfg.User, cfg.Defaults = "ada", Defaults{Project: "P"}
	return cfg
}

// What each event becomes: its stamps in UTC and its length, or why it is none.
func TestCalendarEvents(t *testing.T) {
	t.Parallel()
	const berlin = "DTSTART;TZID=Europe/Berlin:"
	for name, c := range map[string]struct{ event, want string }{
		"utc":                 {"DTSTART:20260302T080000Z|DTEND:20260302T093015Z", "08:00:00 5415"},
		"wall":                {"DTSTART:20260302T080000|DTEND:20260302T090000", "08:00:00 3600"},
		"lower case":          {"dtstart:20260302T080000Z|dtend:20260302T090000Z", "08:00:00 3600"},
		"two zones":           {berlin + "20260302T090000|DTEND;TZID=America/New_York:20260302T040000", "08:00:00 3600"},
		"path of a zone":      {"DTSTART;TZID=/mozilla.org/20050126_1/Europe/Berlin:20260302T090000|DURATION:PT1M", "08:00:00 60"},
		"time that is twice":  {berlin + "20261025T023000|DURATION:PT1H", "00:30:00 3600"},
		"time that is not":    {berlin + "20260329T023000|DURATION:PT1H", "01:30:00 3600"},
		"over the change":     {berlin + "20260329T010000|DTEND;TZID=Europe/Berlin:20260329T040000", "00:00:00 7200"},
		"a day in summer":     {berlin + "20260701T090000|DURATION:P0DT23H", "07:00:00 82800"},
		"weeks and time":      {"DTSTART:20260302T080000Z|DURATION:P1WT1H", "too_long"},
		"long":                {"DTSTART:20260302T080000Z|DURATION:P1DT1H1M1S", "too_long"},
		"alone":               {"DTSTART:20260302T080000Z", "zero"},
		"backwards":           {"DTSTART:20260302T080000Z|DURATION:-PT1H", "negative"},
		"all day":             {"DTSTART;VALUE=DATE:20260302", "all_day"},
		"all day by length":   {"DTSTART:20260302|RRULE:FREQ=DAILY", "all_day"},
		"cancelled":           {"DTSTART:20260302T080000Z|STATUS:cancelled", "cancelled"},
		"rule":                {"DTSTART:20260302T080000Z|DTEND:20260302T090000Z|RRULE:FREQ=DAILY", "bad_row the event repeats (RRULE)"},
		"dates":               {"DTSTART:20260302T080000Z|DTEND:20260302T090000Z|RDATE:20260303T080000Z", "bad_row the event repeats (RDATE)"},
		"no start":            {"SUMMARY:x", "bad_row the event has no DTSTART"},
		"two starts":          {"DTSTART:20260302T080000Z|DTSTART:20260303T080000Z", "bad_row the event has two properties DTSTART"},
		"end and length":      {"DTSTART:20260302T080000Z|DTEND:20260302T090000Z|DURATION:PT1H", "bad_row the event has both"},
		"half a zone":         {"DTSTART:20260302T080000Z|DTEND:20260302T090000", "bad_row only one of start and end"},
		"no such day":         {"DTSTART:20260230T080000Z|DURATION:PT1H", "bad_row DTSTART: \"20260230T080000Z\" is a date or time that does not exist"},
		"leap second":         {"DTSTART:20261231T235960Z|DURATION:PT1H", "bad_row DTSTART"},
		"local zone":          {"DTSTART;TZID=Local:20260302T080000|DURATION:PT1H", `bad_row the time zone "Local"`},
		"no property":         {"DTSTART:20260302T080000Z|DURATION PT1H", "bad_row line 4 of the event is no property"},
		"unclosed quotation":  {"DTSTART;TZID=\"Europe/Berlin:20260302T080000|DURATION:PT1H", "bad_row line 3"},
		"too far":             {"DTSTART:20260302T080000Z|DURATION:P999999W", "bad_row DURATION ends"},
		"not a length":        {"DTSTART:20260302T080000Z|DURATION:P1H", "bad_row DURATION"},
		"nothing in a length": {"DTSTART:20260302T080000Z|DURATION:PT", "bad_row DURATION"},
	} {
		res, err := read(t, calendarConfig(vcalendar(vevent(strings.Split(c.event, "|")...))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		for _, e := range res.entries {
			got = e.Start.Format(time.TimeOnly) + fmt.Sprintf(" %d", e.Duration)
		}
		for _, s := range res.skipped {
			got = string(s.Reason)
		}
		for _, r := range res.rejected {
			got = string(r.Reason) + " " + r.Message
		}
		if res.survey.Rows != 1 || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// An event that was refused because it repeats stays refused when its row comes
// back as it went out.
func TestCalendarRefusedStaysRefused(t *testing.T) {
	t.Parallel()
	for _, event := range []string{
		vevent("DTSTART:20260302T080000Z", "DTEND:20260302T090000Z", "RRULE:FREQ=DAILY"),
		vevent("DTSTART;TZID=Nowhere:20260302T080000", "DTEND;TZID=Nowhere:20260302T090000"),
	} {
		r := must(t, calendarConfig(vcalendar(event))).rejected[0]
		res := must(t, calendarConfig(strings.Join(r.Header, ";")+"\n"+strings.Join(r.Record, ";")+"\n"))
		if len(res.rejected) != 1 || res.rejected[0].Reason != timesheet.ReasonBadTime {
			t.Errorf("got %+v", res)
		}
	}
}

// A calendar that describes a zone itself, as offices do, has the same events as
// one that names it.
func TestCalendarZones(t *testing.T) {
	t.Parallel()
	observance := func(kind, start, from, to, rule string) string {
		return "BEGIN:" + kind + "\r\nDTSTART:" + start + "\r\nTZOFFSETFROM:" + from + "\r\nTZOFFSETTO:" + to + "\r\n" + rule + "\r\nEND:" + kind + "\r\n"
	}
	zones := map[string]string{
		"Europe/Berlin": observance("STANDARD", "16010101T030000", "+0200", "+0100", "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10") +
			observance("DAYLIGHT", "16010101T020000", "+0100", "+0200", "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3"),
		"America/New_York": observance("DAYLIGHT", "19870405T020000", "-0500", "-0400", "RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T070000Z") +
			observance("DAYLIGHT", "20070311T020000", "-0500", "-0400", "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU") +
			observance("STANDARD", "20071104T020000", "-0400", "-0500", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=SU;BYMONTHDAY=1,2,3,4,5,6,7"),
		"Asia/Kathmandu":   observance("STANDARD", "19860101T000000", "+0530", "+0545", ""),
		"America/Santiago": observance("STANDARD", "20260405T000000", "-0300", "-0400", "") + observance("DAYLIGHT", "20260906T000000", "-0400", "-0300", "RDATE:20250907T000000"),
	}
	for name, described := range zones {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		in, err := newCalendarReader(strings.NewReader(vcalendar("BEGIN:VTIMEZONE\r\nTZID:Own\r\n", described, "END:VTIMEZONE\r\n")), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		z, err := readZones(in)
		if err != nil {
			t.Fatal(err)
		}
		offsetAt, err := z.zone("Own")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for at := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC); at.Year() < 2027; at = at.Add(time.Hour) {
			if _, want := at.In(loc).Zone(); offsetAt(at.Unix()) != int64(want) {
				t.Fatalf("%s at %s: got %d, want %d", name, at, offsetAt(at.Unix()), want)
			}
		}
	}
}

func TestBadCalendars(t *testing.T) {
	t.Parallel()
	event := vevent("DTSTART:20260302T080000Z", "DTEND:20260302T090000Z")
	for name, c := range map[string]struct{ content, message string }{
		"cut":           {strings.TrimSuffix(vcalendar(event), "END:VCALENDAR\r\n"), "cut off"},
		"cut in event":  {vcalendar(event)[:90], "cut off"},
		"begin alone":   {"BEGIN:VCALENDAR", "cut off"},
		"wrong end":     {vcalendar(strings.Replace(event, "END:VEVENT", "END:VTODO", 1)), "no beginning"},
		"no property":   {vcalendar("BEGIN VEVENT\r\n"), "no property"},
		"after the end": {vcalendar(event) + "UID:2\r\n", "outside of a calendar"},
		"deep":          {vcalendar(strings.Repeat("BEGIN:X\r\n", 100)), "nested deeper than 32"},
		"long line":     {vcalendar("X-A:" + strings.Repeat("x", 2<<20) + "\r\n"), "longer than"},
		"long folded":   {vcalendar("X-A:" + strings.Repeat("xxxxxxxxxxxxxxx\r\n ", 70000) + "\r\n"), "longer than"},
		"not UTF-8":     {vcalendar(vevent("SUMMARY:\xe9")), "not valid UTF-8"},
	} {
		_, err := read(t, calendarConfig(c.content))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, c.message) || e.HintText == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	nobody := calendarConfig(vcalendar(event))
	nobody.User = ""
	if _, err := read(t, nobody); err == nil || !strings.Contains(hintText(err), "set user") {
		t.Errorf("got %v", err)
	}
	// Two calendars in one file, a byte-order mark, LF alone and no last newline.
	two := strings.ReplaceAll("\ufeff"+vcalendar(event)+strings.Replace(vcalendar(event), "UID:1", "UID:2", 1), "\r\n", "\n")
	if res := must(t, calendarConfig(strings.TrimSuffix(two, "\n"))); len(res.entries) != 2 || res.entries[1].Origin.Line != 11 {
		t.Errorf("got %+v", res.entries)
	}
	if res := must(t, calendarConfig(vcalendar())); res.survey.Rows != 0 {
		t.Errorf("got %+v", res.survey)
	}
}

func hintText(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.HintText
	}
	return ""
}

// What is still to come is no work yet, today's afternoon included.
func TestCalendarFuture(t *testing.T) {
	t.Parallel()
	stamp := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(calendarStamp + "Z") }
	cfg := calendarConfig(vcalendar(
		vevent("DTSTART:"+stamp(-3*time.Hour), "DTEND:"+stamp(-2*time.Hour)),
		strings.Replace(vevent("DTSTART:"+stamp(-time.Hour), "DTEND:"+stamp(time.Hour)), "UID:1", "UID:2", 1),
	))
	cfg.Rules.Future = FutureReject
	res := must(t, cfg)
	if len(res.entries) != 1 || len(res.skipped) != 1 || res.skipped[0].Reason != timesheet.ReasonFuture {
		t.Errorf("got %+v", res)
	}
}

// What another program writes is read as it was meant.
func TestForeignCalendar(t *testing.T) {
	t.Parallel()
	cal := ics.NewCalendar()
	summary := "Übergabe, Teil 2; \"fertig\"\nund \\ weiter " + strings.Repeat("lang ", 40)
	start := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	for i := range 3 {
		e := cal.AddEvent(fmt.Sprintf("%d@example.test", i))
		e.SetStartAt(start.Add(time.Duration(i) * time.Hour))
		e.SetEndAt(start.Add(time.Duration(i)*time.Hour + 31*time.Minute + 7*time.Second))
		e.SetSummary(summary)
		e.AddProperty(ics.ComponentPropertyCategories, "Website")
	}
	res := must(t, calendarConfig(cal.Serialize()))
	if len(res.entries) != 3 || res.seconds() != 3*(31*60+7) {
		t.Fatalf("got %+v", res)
	}
	for i, e := range res.entries {
		if e.Notes != strings.TrimSpace(summary) || e.Project != "Website" || e.ID != fmt.Sprintf("%d@example.test", i) || !e.Start.Equal(start.Add(time.Duration(i)*time.Hour)) {
			t.Errorf("got %+v", e)
		}
	}
}

// Where another reader finds a property, this one finds the same; and any
// calendar is read to its end, or refused with a hint.
func FuzzCalendar(f *testing.F) {
	raw, err := os.ReadFile(presetDir + "calendar.ics")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		f.Add(line)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := parseProperty(s); ok && !strings.ContainsAny(s, "\r\n\\") {
			other, err := ics.ParseProperty(ics.ContentLine(s))
			if err == nil && other != nil && len(other.ICalParameters) == len(p.params) {
				if diff := cmp.Diff(strings.ToUpper(other.IANAToken), p.name); diff != "" {
					t.Errorf("%q: %s", s, diff)
				}
				for k, v := range other.ICalParameters {
					if p.params[strings.ToUpper(k)] != v[0] && len(other.ICalParameters) == 1 {
						t.Errorf("%q: %s is %q, want %q", s, k, p.params[strings.ToUpper(k)], v[0])
					}
				}
			}
		}
		for _, content := range []string{s, vcalendar(vevent(s)), vcalendar("BEGIN:VTIMEZONE\nTZID:Z\nBEGIN:STANDARD\n"+s+"\nEND:STANDARD\nEND:VTIMEZONE\n", vevent("DTSTART;TZID=Z:20260302T090000", "DURATION:PT1H"))} {
			cfg := calendarConfig(content)
			cfg.SpoolDir, cfg.Limits = dir, Limits{Line: 4096, Field: 256}
			if _, err := read(t, cfg); err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" || e.HintText == "" {
					t.Errorf("%q: got %v", content, err)
				}
			}
		}
	})
}
