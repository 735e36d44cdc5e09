package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, row string
		want        timesheet.Seconds
		reason      timesheet.Reason
	}{
		{"start,end", "09:00,10:30", 5400, ""},
		{"start,end", "9:00 AM,1:30 PM", 16200, ""},
		{"start,end", "22:00,02:00", 14400, ""},
		{"start,end", "09:00,09:00", 0, timesheet.ReasonZero},
		{"start,end,duration", "09:00,09:00,24:00", 86400, ""},
		{"start,end", "09:00,", 0, timesheet.ReasonRunning},
		{"start,end,duration", "09:00,,00:00:00", 0, timesheet.ReasonRunning},
		{"start,end,duration", "09:00,,1:00", 3600, ""},
		{"start,end,duration", ",,1:00", 3600, ""},
		{"start,end", ",10:00", 0, timesheet.ReasonMissing},
		{"start,end", ",", 0, timesheet.ReasonMissing},
		{"start,end", "24:00,01:00", 0, timesheet.ReasonBadTime},
		{"start,end", "23:59:60,01:00", 0, timesheet.ReasonBadTime},
		{"start,end,end_date", "22:00,21:00,2026-11-17", 82800, ""},
		{"start,end,end_date", "22:00,21:00,2026-11-16", -3600, timesheet.ReasonNegative},
		{"start,end,end_date", "09:00,10:00,2026-11-18", 0, timesheet.ReasonTooLong},
		{"start,end,duration", "09:00:00,10:30:15,01:30:16", 5415, ""},
		{"start,end,duration", "09:00:00,10:30:15,01:30:17", 0, timesheet.ReasonDisagree},
		{"start,end,duration", "09:00:00,10:30:59,1:30", 5459, ""},
		{"start,end,duration", "09:00:00,10:31:01,1:30", 0, timesheet.ReasonDisagree},
		{"start,end,hours", "09:00:00,10:30:17,1.50", 5417, ""},
		{"start,end,hours", "09:00:00,10:30:19,1.50", 0, timesheet.ReasonDisagree},
		{"duration,hours", "1:30:17,1.50", 5417, ""},
		{"duration,hours", "1:30,2", 0, timesheet.ReasonDisagree},
		{"duration,hours", "1.5,", 5400, ""},
		{"duration", "-0:30", 0, timesheet.ReasonNegative},
		{"duration", "26:00", 0, timesheet.ReasonTooLong},
		{"hours", "0.333333", 1200, ""},
		{"start", "2026-11-16T09:00", 0, ""}, // no end: refused whole
	} {
		if c.header == "start" {
			continue
		}
		commas := strings.Count(c.header, ",")
		res := must(t, text("user,date,project,"+c.header+",notes\nu,2026-11-16,P,"+c.row+",x\n"))
		var got timesheet.Reason
		var sec timesheet.Seconds
		switch {
		case len(res.entries) == 1:
			sec = res.entries[0].Duration
		case len(res.rejected) == 1:
			got = res.rejected[0].Reason
		case len(res.skipped) == 1:
			got = res.skipped[0].Reason
		}
		if got != c.reason || c.reason == "" && sec != c.want {
			t.Errorf("%s: %s (%d): got %d %q, want %d %q", c.header, c.row, commas, sec, got, c.want, c.reason)
		}
	}
	for format, want := range map[string]timesheet.Seconds{"minutes": 5400, "seconds": 90, "decimal": 90 * 3600} {
		cfg := text("user,date,project,duration\nu,2026-11-16,P,90\n")
		cfg.DurationFormat, cfg.Rules.MaxPerEntry = format, 1e6
		if got := must(t, cfg).entries[0].Duration; got != want {
			t.Errorf("%s: got %d, want %d", format, got, want)
		}
	}
}

// A night on which the clocks change is as long as the wall says; stamps with
// offsets are as far apart as they are.
func TestClockChange(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := text("user,date,project,start,end\nu,2026-03-29,P,01:00,04:00\nu,2026-10-25,P,01:00,04:00\n" +
		"u,,P,2026-03-29T00:30:00Z,2026-03-29T02:30:00Z\nu,,P,2026-11-15T23:30:00Z,2026-11-16T00:30:00.5+00:00\n")
	cfg.Location = berlin
	res := must(t, cfg)
	var got []string
	for _, e := range res.entries {
		got = append(got, e.Day.String()+" "+e.Duration.Clock())
	}
	want := []string{"2026-03-29 3:00:00", "2026-10-25 3:00:00", "2026-03-29 2:00:00", "2026-11-16 1:00:00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A tracker's own duration is believed over a night on which the clocks change,
// where the change is all that it differs by; and the zone is no part of what
// the entry is.
func TestClockChangeStated(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for row, want := range map[string]timesheet.Seconds{
		"2026-10-24,23:00:00,2026-10-25,04:00:00,06:00:00": 6 * 3600, // an hour came twice
		"2026-10-24,23:00:00,2026-10-25,04:00:00,05:00:00": 5 * 3600, // by the wall
		"2026-10-25,02:30:00,2026-10-25,02:45:00,01:15:00": 4500,     // began in the first, ended in the second
		"2026-10-25,02:45:00,2026-10-25,02:15:00,00:30:00": 1800,
		"2026-03-28,23:00:00,2026-03-29,04:00:00,04:00:00": 4 * 3600, // an hour is missing
		"2026-03-29,01:30:00,2026-03-29,03:30:10,01:00:10": 3610,
		"2026-10-24,23:00:00,2026-10-25,04:00:00,04:00:00": 0, // the wrong way round
		"2026-10-23,23:00:00,2026-10-24,04:00:00,06:00:00": 0, // another night
		"2026-10-24,23:00:00,2026-10-25,04:00:00,06:10:00": 0, // more than the hour
	} {
		cfg := text("Email,Project,Start date,Start time,End date,End time,Duration\nu,P," + row + "\n")
		cfg.Location = berlin
		reason, sec, _, _ := only(must(t, cfg))
		if sec != want || want == 0 && reason != timesheet.ReasonDisagree {
			t.Errorf("%s: got %d %s, want %d", row, sec, reason, want)
		}
	}
}

func TestMaps(t *testing.T) {
	t.Parallel()
	cfg := text("user,date,project,hours\nAda,2026-11-16,Web,1\nu-2,2026-11-16,Other,1\nEve,2026-11-16,Web,1\n")
	cfg.People = map[string]string{"Ada": "u-1", "Bob": "u-2"}
	cfg.Projects = map[string]string{"Web": "Website"}
	res := must(t, cfg)
	if len(res.entries) != 2 || res.entries[0].Person != "u-1" || res.entries[0].Project != "Website" || res.entries[0].Hold != "" ||
		res.entries[1].Person != "u-2" || res.entries[1].Hold != timesheet.ReasonProject {
		t.Errorf("got %+v", res.entries)
	}
	if len(res.rejected) != 1 || res.rejected[0].Reason != timesheet.ReasonUnknownUser || res.rejected[0].Column != "user" {
		t.Errorf("got %+v", res.rejected)
	}
	fixed := text("date,hours\n2026-11-16,1\n")
	fixed.User, fixed.UserType, fixed.Defaults.Project = "007", "Employee", "P"
	if e := must(t, fixed).entries[0]; e.Person != "007" || e.UserType != "Employee" || e.Project != "P" {
		t.Errorf("got %+v", e)
	}
}

// Of a timer that runs and of a row of no length nothing would be sent, whoever
// it is of. What is broken besides, or says of nobody, is still shown.
func TestStrangersWithoutWork(t *testing.T) {
	t.Parallel()
	const stranger = `rejected: "Eve" is not in the people map`
	for row, want := range map[string]string{
		"Eve,2026-11-16,P,09:00,":       "2 skipped: running",
		"Eve,2026-11-16,P,09:00,09:00":  "2 skipped: zero",
		"Eve,2026-11-16,P,09:00,10:00":  stranger,
		"Eve,2026-11-16,P,9.x,":         stranger,
		"Eve,2026-13-16,P,09:00,":       stranger,
		",2026-11-16,P,09:00,":          "rejected: the row does not say whose time it is",
		"E\u200bve,2026-11-16,P,09:00,": "rejected: the person's name contains invisible or control characters",
	} {
		cfg := text("user,date,project,start,end\n" + row + "\n")
		cfg.People = map[string]string{"Ada": "u-1"}
		must(t, cfg).expect(t, want)
	}
}

// A row that is refused for its person alone names the entry that it would be.
func TestStrangersEntry(t *testing.T) {
	t.Parallel()
	const row = "Eve,2026-11-16,P,1\n"
	known := must(t, text("user,date,project,hours\n"+row+row))
	cfg := text("user,date,project,hours\n" + row + row + "Eve,2026-11-16,,1\nEve,1999-11-16,P,1\n")
	cfg.People = map[string]string{"Ada": "u-1"}
	var got, want []timesheet.Key
	for _, r := range must(t, cfg).rejected {
		got = append(got, r.Entry)
	}
	for _, e := range known.entries {
		want = append(want, e.Key)
	}
	if diff := cmp.Diff(append(want, timesheet.Key{}, timesheet.Key{}), got); diff != "" {
		t.Error(diff)
	}
}

// The date order may be plain only at the end of the file.
func TestDateOrder(t *testing.T) {
	t.Parallel()
	for last, want := range map[string]string{"02/13/2026": "2026-02-01", "13/02/2026": "2026-01-02"} {
		res := must(t, text("user,date,project,hours\nu,02/01/2026,P,1\nu,"+last+",P,1\n"))
		if got := res.entries[0].Day.String(); got != want || !strings.HasSuffix(res.decision("date order"), ":3") {
			t.Errorf("%s: got %s by %q, want %s", last, got, res.decision("date order"), want)
		}
	}
	cfg := text("user,date,project,hours\nu,01/02/2026,P,1\n")
	cfg.DateFormat = "DD/MM/YYYY"
	if got := must(t, cfg).entries[0].Day.String(); got != "2026-02-01" {
		t.Errorf("got %s", got)
	}
}

// A start may carry the date; a date may be a whole stamp.
func TestStamps(t *testing.T) {
	t.Parallel()
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"user,start,end,project\nu,16/11/2026 22:00,17/11/2026 01:30,P\n":                       "2026-11-16 3:30:00",
		"user,start,end,project\nu,2026-11-16 9:00 AM,2026-11-16 1:00 PM,P\n":                   "2026-11-16 4:00:00",
		"user,start,end,project\nu,2026-11-16T02:00:00Z,2026-11-16T04:00:00Z,P\n":               "2026-11-15 2:00:00",
		"user,start,end,project\nu,2026-11-16T09:00:00-0500,2026-11-16T15:30:00.25+01:00,P\n":   "2026-11-16 0:30:00",
		"user,start,end,project\nu,20261116T020000Z,20261116T043015Z,P\n":                       "2026-11-15 2:30:15",
		"user,date,hours,project\nu,2026-11-16T00:00:00.000Z,1,P\n":                             "2026-11-16 1:00:00",
		"user,date,start,end,project\nu,2026-11-16,2026-11-16T23:00:00,2026-11-17T01:00:00,P\n": "2026-11-16 2:00:00",
		"user,date,start,end,end_date,project\nu,16.11.2026,23:00:00,01:00:00,18.11.2026,P\n":   "2026-11-16 26:00:00",
	} {
		cfg := text(content)
		cfg.Location, cfg.Rules.MaxPerEntry = newYork, 1e6
		res := must(t, cfg)
		if len(res.entries) != 1 {
			t.Errorf("%q: got %+v", content, res.rejected)
			continue
		}
		if e := res.entries[0]; e.Day.String()+" "+e.Duration.Clock() != want {
			t.Errorf("%q: got %s %s, want %s", content, e.Day, e.Duration.Clock(), want)
		}
	}
}

// Tomorrow's row is refused today, and the file is another one to read tomorrow.
func TestFuture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, []byte("user,date,project,hours\nu,2000-01-02,P,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The clock of the bubble begins at midnight of 2000-01-01, in UTC.
	synctest.Test(t, func(t *testing.T) {
		today := must(t, Config{Files: []string{path}, Rules: Rules{Future: FutureReject}})
		if len(today.rejected) != 1 || today.rejected[0].Reason != timesheet.ReasonFuture {
			t.Errorf("got %+v", today.rejected)
		}
		time.Sleep(24 * time.Hour)
		tomorrow := must(t, Config{Files: []string{path}, Rules: Rules{Future: FutureReject}})
		if len(tomorrow.entries) != 1 || tomorrow.survey.Fingerprint == today.survey.Fingerprint {
			t.Errorf("got %+v", tomorrow)
		}
	})
}

// One is, two are.
func TestBadRowsInWords(t *testing.T) {
	t.Parallel()
	for bad, want := range map[int]string{1: "1 of 1 row is bad", 2: "2 of 2 rows are bad"} {
		cfg := text("user,date,project,hours\n" + strings.Repeat("u,2026-11-16,P,x\n", bad))
		cfg.Limits.BadMin = 1
		if _, err := read(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
