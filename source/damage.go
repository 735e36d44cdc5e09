package source

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// A spreadsheet that opens an export and saves it again takes durations for
// times of day, long ids for large numbers, and leading zeros for nothing.
// What it did is named here. A damaged duration counts only where start and end
// prove it; what they do not prove is refused.

// damage is what a spreadsheet made of a duration.
type damage struct {
	// name is a clause behind the quoted text; empty: there is no damage.
	name string
	// rest is what is left of the duration: it may lack whole days. slack is how
	// far it may be from them.
	rest, slack timesheet.Seconds
}

const exportAgain = "export again, and do not open the file in a spreadsheet before it is uploaded"

var (
	// scientific is how spreadsheets write large and small numbers.
	scientific = regexp.MustCompile(`^-?\d([.,]\d+)?[Ee][+-]\d{2,3}$`)
	fraction   = regexp.MustCompile(`^\d{1,3}[.,]\d{3,}$`)
	// unpadded is h:mm:ss without the zeros in front of minutes or seconds.
	unpadded = regexp.MustCompile(`^(\d{1,4}):(\d{1,2}):(\d{1,2})$`)
	// dated is a duration from the days around 1900, where spreadsheets begin to
	// count.
	dated = regexp.MustCompile(`^(?:(?:1899|1900)[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:1899|1900))[ T](.+)$`)
)

// damaged recognizes what a spreadsheet made of a duration.
func damaged(text string) damage {
	if m := dated.FindStringSubmatch(text); m != nil {
		if sec, _, err := timesheet.ParseTimeOfDay(m[1]); err == nil {
			return damage{"is a date and time, which a spreadsheet made of a duration", sec, 1}
		}
	}
	if sec, twelve, err := timesheet.ParseTimeOfDay(text); err == nil && twelve {
		slack := timesheet.Seconds(1)
		if strings.Count(text, ":") == 1 {
			slack = 59
		}
		return damage{"is a time of day, which a spreadsheet made of a duration", sec, slack}
	}
	if sec, ok := padded(text); ok {
		return damage{"has lost its padding in a spreadsheet", sec, 1}
	}
	name := "is a fraction of a day, which a spreadsheet made of a duration"
	if scientific.MatchString(text) {
		name = "is in scientific notation, which a spreadsheet made of a number"
	} else if !fraction.MatchString(text) {
		return damage{}
	}
	// Not the value that is uploaded: it is only compared with start and end.
	days, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	if err != nil || days < 0 || days > 1000 {
		return damage{}
	}
	return damage{name, timesheet.Seconds(math.Round(days*86400)) % 86400, 5}
}

// padded reads h:mm:ss as it is without the zeros in front.
func padded(text string) (timesheet.Seconds, bool) {
	m := unpadded.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	for i := range m[1:] {
		if len(m[i+1]) == 1 {
			m[i+1] = "0" + m[i+1]
		}
	}
	sec, _, err := timesheet.ParseClock(m[1] + ":" + m[2] + ":" + m[3])
	return sec, err == nil
}

// proven tells whether a duration of sec can have become this.
func (d *damage) proven(sec timesheet.Seconds) bool {
	off := (sec - d.rest) % 86400
	if off < 0 {
		off += 86400
	}
	return d.name != "" && (off <= d.slack || off >= 86400-d.slack)
}

// unguard takes off the apostrophe with which spreadsheets, and exports that
// fear them, mark a value as text.
func unguard(text string) string {
	if len(text) > 1 && text[0] == '\'' {
		return strings.TrimSpace(text[1:])
	}
	return text
}

// ungroup takes the signs that group thousands out of a number that also has a
// decimal sign.
func ungroup(text string, decimal byte) string {
	group := byte(',')
	if decimal == ',' {
		group = '.'
	}
	i := strings.IndexByte(text, decimal)
	if i < 0 || strings.IndexByte(text, group) < 0 {
		return text
	}
	parts := strings.Split(text[:i], string(group))
	for k, p := range parts {
		if k > 0 && len(p) != 3 || k == 0 && (p == "" || len(p) > 3) {
			return text
		}
	}
	return strings.Join(parts, "") + text[i:]
}
