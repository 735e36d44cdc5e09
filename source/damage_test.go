package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// togglRow is a row of a Toggl export in which a spreadsheet may have been.
func togglRow(date, start, endDate, end, duration string) string {
	return "Email,Project,Start date,Start time,End date,End time,Duration\nu,P," +
		strings.Join([]string{date, start, endDate, end, duration}, ",") + "\n"
}

// What a spreadsheet did to a duration is repaired where start and end prove
// it, and refused by name where they do not.
func TestDamagedDurations(t *testing.T) {
	t.Parallel()
	const day = "2026-03-02"
	for _, c := range []struct {
		start, end, duration string
		want                 timesheet.Seconds
		reason               timesheet.Reason
		named                string
	}{
		{"09:00:00", "10:30:15", "01:30:15", 5415, "", ""},
		{"09:00:00", "10:30:15", "1:30:15 AM", 5415, "", ""},
		{"09:00:00", "10:30:15", "1:30 AM", 5415, "", ""},
		{"09:00:00", "10:30:15", "1900-01-01 01:30:15", 5415, "", ""},
		{"09:00:00", "10:30:15", "12/30/1899 1:30:15 AM", 5415, "", ""},
		{"09:00:00", "10:30:15", "31.12.1899 01:30:15", 5415, "", ""},
		{"09:00:00", "10:30:15", "0.062673611", 5415, "", ""},
		{"09:00:00", "10:30:15", "0.0627", 5415, "", ""},
		{"09:00:00", "10:30:15", "6.26736E-02", 5415, "", ""},
		{"09:00:00", "10:05:07", "1:5:7", 3907, "", ""},
		{"09:00:00", "10:30:15", "'01:30:15", 5415, "", ""},
		{"'09:00:00", "'10:30:15", "01:30:15", 5415, "", ""},
		{"09:00:00", "10:30:15", "2:30:15 AM", 0, timesheet.ReasonDamaged, "time of day"},
		{"09:00:00", "10:30:15", "1900-01-01 02:30:15", 0, timesheet.ReasonDamaged, "date and time"},
		{"09:00:00", "10:30:15", "1:5:7", 0, timesheet.ReasonDamaged, "padding"},
		{"09:00:00", "10:30:15", "7.26736E-02", 0, timesheet.ReasonDamaged, "scientific notation"},
		{"09:00:00", "10:30:15", "0.072673611", 0, timesheet.ReasonDamaged, "fraction of a day"},
		{"09:00:00", "10:30:15", "0.0727", 0, timesheet.ReasonDisagree, "the row says"},
		{"09:00:00", "01:30:00", "04:30:00", 0, timesheet.ReasonDisagree, "12 hours off: AM or PM"},
		{"09:00:00", "01:30:00", "05:30:00", 0, timesheet.ReasonDisagree, "the row says"},
		{"09:00:00", "10:30:15", "-01:30:15", 0, timesheet.ReasonNegative, "negative"},
		{"09:00:00", "", "12:00:00 AM", 0, timesheet.ReasonRunning, ""},
		{"09:00:00", "", "01:30:15", 0, timesheet.ReasonRunning, ""},
	} {
		end := day
		if strings.HasPrefix(c.end, "01") {
			end = "2026-03-03"
		}
		got, sec, message, hint := only(must(t, text(togglRow(day, c.start, end, c.end, c.duration))))
		if got != c.reason || sec != c.want || !strings.Contains(message, c.named) {
			t.Errorf("%s to %s, %s: got %d %s %q, want %d %s %q", c.start, c.end, c.duration, sec, got, message, c.want, c.reason, c.named)
		}
		again := c.reason == timesheet.ReasonDamaged || strings.Contains(c.named, "12 hours")
		if again != strings.HasPrefix(hint, "export again") {
			t.Errorf("%s: got hint %q", c.duration, hint)
		}
	}
	// Without start and end nothing is proven.
	for _, duration := range []string{"1:30:15 AM", "1:5:7", "1900-01-01 01:30:15", "1.5E+00"} {
		got, _, message, _ := only(must(t, text("user,date,project,duration\nu,2026-03-02,P,"+duration+"\n")))
		if got != timesheet.ReasonDamaged || !strings.Contains(message, "spreadsheet") {
			t.Errorf("%s: got %s %q", duration, got, message)
		}
	}
}

// only is what the one row became.
func only(res *result) (reason timesheet.Reason, sec timesheet.Seconds, message, hint string) {
	switch {
	case len(res.entries) == 1:
		return "", res.entries[0].Duration, "", ""
	case len(res.skipped) == 1:
		return res.skipped[0].Reason, 0, "", ""
	case len(res.rejected) == 1:
		return res.rejected[0].Reason, 0, res.rejected[0].Message, res.rejected[0].Hint
	}
	return "nothing", 0, "", ""
}

// A repaired value is the value: the entry is the one that it was before.
func TestRepairedKeys(t *testing.T) {
	t.Parallel()
	want := keys(must(t, text(togglRow("2026-03-02", "09:00:00", "2026-03-02", "10:05:07", "01:05:07"))))
	for _, row := range []string{
		togglRow("2026-3-2", "9:00:00", "2026-3-2", "10:05:07", "1:5:7"),
		togglRow("'2026-03-02", "'09:00:00", "'2026-03-02", "'10:05:07", "'01:05:07"),
		togglRow("2026-03-02", "9:00:00 AM", "2026-03-02", "10:05:07 AM", "1:05:07 AM"),
	} {
		if got := keys(must(t, text(row))); len(got) != 1 || got[0] != want[0] {
			t.Errorf("%s: got %s, want %s", row, got, want)
		}
	}
	bad, _, message, _ := only(must(t, text("id,user,date,project,hours\n6.52E+14,u,2026-03-02,P,1\n")))
	if bad != timesheet.ReasonDamaged || !strings.Contains(message, "scientific notation") {
		t.Errorf("got %s %q", bad, message)
	}
}

// What the whole file cannot decide is refused, with both lines and the key
// that decides it; the key then does.
func TestPresetDecisions(t *testing.T) {
	t.Parallel()
	const head = "Email,Project,Start Date,Start Time,End Date,End Time,Duration (h),Duration (decimal)\n"
	row := func(start, from, end, to, h, dec string) string {
		return "u,P," + strings.Join([]string{start, from, end, to, h, dec}, ",") + "\n"
	}
	for name, c := range map[string]struct {
		content, message, hint string
		line                   int
		set                    func(*Config)
	}{
		"order": {
			head + row("02/03/2026", "9:00", "02/03/2026", "10:00", "1:00", "1.00"), "whether the day or the month", "set date_format", 2,
			func(c *Config) { c.DateFormat = "DD/MM/YYYY" },
		},
		"clock": {
			head + row("2026-03-02", "9:00 AM", "2026-03-02", "10:00 AM", "1:00", "1.00") + row("2026-03-02", "11:00", "2026-03-02", "12:00", "1:00", "1.00"),
			"with AM or PM and without, see also line 2", "set time_format", 3,
			func(c *Config) { c.TimeFormat = "12h" },
		},
		"decimal": {
			head + row("2026-03-02", "", "2026-03-02", "", "1.5", "\"1,5\""), "decimal comma and a decimal point", "set decimal", 2,
			func(c *Config) { c.Decimal = "." },
		},
	} {
		_, err := read(t, text(c.content))
		var e *Error
		if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(e.Message, c.message) || !strings.Contains(e.HintText, c.hint) {
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
		}
		cfg := text(c.content)
		c.set(&cfg)
		if _, err := read(t, cfg); err != nil {
			t.Errorf("%s, set: got %v", name, err)
		}
	}
	// An end date tells the order too; a date in no order tells nothing.
	res := must(t, text(head+row("12/03/2026", "23:00", "13/03/2026", "1:00", "2:00", "2.00")+row("13/15/2026", "9:00", "13/15/2026", "10:00", "1:00", "1.00")))
	if got := res.decision("date order"); got != "D/M/YYYY :2" || len(res.entries) != 1 || len(res.rejected) != 1 {
		t.Errorf("got %q, %d entries, %d rejected", got, len(res.entries), len(res.rejected))
	}
	// Both signs in one number: the last one is the decimal sign.
	for hours, want := range map[string]string{`"1.002,5"`: ", :2", `"1,002.5"`: ". :2"} {
		cfg := text("Date,Hours,First Name,Last Name,Project\n2026-03-02," + hours + ",A,B,P\n")
		cfg.Rules.MaxPerEntry = 1e9
		res := must(t, cfg)
		if got := res.decision("decimal sign"); got != want || res.seconds() != 1002*3600+1800 {
			t.Errorf("%s: got %q, %d s", hours, got, res.seconds())
		}
	}
}
