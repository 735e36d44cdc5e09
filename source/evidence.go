package source

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// evidence is what the values of a file say about how they are written. Lines
// are 0 where nothing was seen.
type evidence struct {
	iso, other           int
	firstOver12          int // line of a first component above 12
	secondOver12         int
	sep                  byte
	sepLine, otherSep    int
	shortYear            bool
	pointLine, commaLine int
	twelveLine, fullLine int // of a time of day with AM or PM, and of one without
	wholeLine            int // of a duration that is a whole number
	otherLength          bool
	who                  []byte // the first person
	several              bool   // there is another one
}

// look is a column of which evidence is wanted.
type look struct {
	at  int
	see func(ev *evidence, b []byte, line int)
}

// wanted gives the columns that decide something, in the order of the file.
func (s *Source) wanted(t *table) (out []look) {
	date, decimal := (*evidence).date, (*evidence).number
	clock := (*evidence).clock
	dates := []field{fieldDate}
	if !t.has(fieldDate) {
		dates[0] = fieldStart
	}
	if t.lay.preset != nil {
		// Both dates of an entry are written alike.
		dates = append(dates, fieldEndDate)
	}
	for i := range t.header {
		var sees []func(*evidence, []byte, int)
		for f, at := range t.at {
			switch f := field(f); {
			case at != i:
			case slices.Contains(dates, f) && f != fieldStart:
				if s.layout.date == nil {
					sees = append(sees, date)
				}
			case f == fieldStart || f == fieldEnd:
				if slices.Contains(dates, f) && s.layout.date == nil {
					sees = append(sees, date)
				}
				sees = append(sees, clock)
			case f == fieldUser && s.cfg.User != "":
				sees = append(sees, (*evidence).person)
			case f == fieldDuration || f == fieldHours:
				if s.layout.decimal == 0 {
					sees = append(sees, decimal)
				}
				if f == fieldDuration && t.lay.preset == nil && s.cfg.DurationFormat == "" {
					sees = append(sees, (*evidence).length)
				}
			}
		}
		switch len(sees) {
		case 0:
		case 1:
			out = append(out, look{i, sees[0]})
		default:
			out = append(out, look{i, func(ev *evidence, b []byte, line int) {
				for _, see := range sees {
					see(ev, b, line)
				}
			}})
		}
	}
	return out
}

// clock notes on which clock a time of day is written.
func (ev *evidence) clock(b []byte, line int) {
	if ev.twelveLine > 0 && ev.fullLine > 0 {
		return
	}
	b = bytes.TrimRight(b, " ")
	n := len(b)
	switch {
	case n < 4:
	case b[n-1] == 'm' || b[n-1] == 'M':
		if ev.twelveLine == 0 {
			ev.twelveLine = line
		}
	case digit(b[n-1]) && ev.fullLine == 0 && bytes.IndexByte(b, ':') > 0:
		ev.fullLine = line
	}
}

func (ev *evidence) number(b []byte, line int) {
	if i, j := bytes.LastIndexByte(b, '.'), bytes.LastIndexByte(b, ','); i > 0 && j > 0 {
		// One of them groups thousands: the last one is the decimal sign.
		b = b[max(i, j)-1:]
	}
	for i, c := range b {
		if (c == '.' || c == ',') && i > 0 && i < len(b)-1 && digit(b[i-1]) && digit(b[i+1]) {
			if c == '.' && ev.pointLine == 0 {
				ev.pointLine = line
			} else if c == ',' && ev.commaLine == 0 {
				ev.commaLine = line
			}
		}
	}
}

// person notes whether a source of one person has rows of several.
func (ev *evidence) person(b []byte, _ int) {
	switch b = bytes.TrimSpace(b); {
	case len(b) == 0 || ev.several:
	case ev.who == nil:
		ev.who = bytes.Clone(b)
	default:
		ev.several = !bytes.Equal(b, ev.who)
	}
}

// length notes whether durations are whole numbers.
func (ev *evidence) length(b []byte, line int) {
	switch b = bytes.Trim(b, " '"); {
	case len(b) == 0 || len(b) == 1 && b[0] == '0':
	case digitsOnly(string(b)) < len(b):
		ev.otherLength = true
	case ev.wholeLine == 0:
		ev.wholeLine = line
	}
}

// unit refuses the whole numbers of a JSON file, where nothing else says what
// they count: programs write seconds, people mean hours.
func (ev *evidence) unit() error {
	if ev.wholeLine == 0 || ev.otherLength {
		return nil
	}
	return &Error{
		Line: ev.wholeLine, Message: "nothing tells whether durations are hours, minutes or seconds: all are whole numbers",
		HintText: "set duration_format to seconds, to minutes, or to decimal for hours",
		Key:      "duration_format", Options: []string{"seconds", "minutes", "decimal"},
	}
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func (ev *evidence) date(b []byte, line int) {
	b = bytes.Trim(b, " '")
	if len(b) >= 10 && b[4] == '-' && b[7] == '-' {
		ev.iso++
		return
	}
	if i := bytes.IndexByte(b, ' '); i > 0 {
		b = b[:i] // date and time
	}
	var num [3]int
	var width [3]int
	k := 0
	var sep byte
	for _, c := range b {
		switch {
		case digit(c) && width[k] < 4:
			num[k] = num[k]*10 + int(c-'0')
			width[k]++
		case (c == '.' || c == '/' || c == '-') && k < 2 && width[k] > 0 && (sep == 0 || sep == c):
			sep = c
			k++
		default:
			return
		}
	}
	if k != 2 || width[0] > 2 || width[1] > 2 || width[2] != 4 && width[2] != 2 {
		return
	}
	if num[0] > 12 && num[1] > 12 {
		return // no date in any order: the row is refused, and says nothing about the others
	}
	ev.other++
	if ev.sep == 0 {
		ev.sep, ev.sepLine, ev.shortYear = sep, line, width[2] == 2
	}
	if ev.sep != sep && ev.otherSep == 0 {
		ev.otherSep = line
	}
	if num[0] > 12 && ev.firstOver12 == 0 {
		ev.firstOver12 = line
	}
	if num[1] > 12 && ev.secondOver12 == 0 {
		ev.secondOver12 = line
	}
}

// dateFormats are the two ways of reading dates that tell no order.
func (ev *evidence) dateFormats() []string {
	sep, year := string(ev.sep), "YYYY"
	if ev.shortYear {
		year = "YY"
	}
	return []string{"DD" + sep + "MM" + sep + year, "MM" + sep + "DD" + sep + year}
}

// decide settles what the whole file had to settle, or refuses it.
func (f *form) decide(lay *layout, ev *evidence, name string) ([]timesheet.Decision, error) {
	at := func(line int) string { return name + ":" + strconv.Itoa(line) }
	delim := map[byte]string{',': "comma", ';': "semicolon", '\t': "tab", '|': "bar"}[f.table.delim]
	out := []timesheet.Decision{
		{What: "encoding", Value: f.charset.name, Evidence: f.charset.why},
		{What: "delimiter", Value: delim, Evidence: at(f.table.line)},
	}
	switch order := ""; {
	case lay.date != nil:
		f.date = *lay.date
		out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: "date_format"})
	case ev.other == 0 || ev.iso >= ev.other:
		if ev.iso > 0 {
			out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: plural(ev.iso, "date", "dates")})
		}
	default:
		evidence := 0
		sep := string(ev.sep)
		switch {
		case ev.otherSep > 0:
			return out, &Error{
				Line: ev.otherSep, Message: fmt.Sprintf("dates are written in two ways, see also line %d", ev.sepLine),
				HintText: "export the dates in one format, best YYYY-MM-DD",
			}
		case ev.firstOver12 > 0 && ev.secondOver12 > 0:
			return out, &Error{
				Line:     ev.secondOver12,
				Message:  fmt.Sprintf("day and month are written in both orders, see also line %d", ev.firstOver12),
				HintText: "a spreadsheet may have changed some of the dates; export again, best as YYYY-MM-DD",
			}
		case ev.firstOver12 > 0:
			order, evidence = "D"+sep+"M", ev.firstOver12
		case ev.secondOver12 > 0:
			order, evidence = "M"+sep+"D", ev.secondOver12
		default:
			return out, &Error{
				Line: ev.sepLine, Message: "no date in the file tells whether the day or the month comes first",
				HintText: "set date_format, to DD" + sep + "MM" + sep + "YYYY or to MM" + sep + "DD" + sep + "YYYY",
				Key:      "date_format", Options: ev.dateFormats(),
			}
		}
		year := "YYYY"
		if ev.shortYear {
			year = "YY"
		}
		var err error
		if f.date, err = timesheet.ParseDateFormat(order + sep + year); err != nil {
			return out, err
		}
		out = append(out, timesheet.Decision{What: "date order", Value: f.date.String(), Evidence: at(evidence)})
	}
	if p := f.table.lay.preset; p != nil {
		out = append(out, timesheet.Decision{What: "tracker", Value: p.name, Evidence: at(f.table.line)})
	}
	switch {
	case lay.clock != "" || ev.twelveLine == 0 && ev.fullLine == 0:
	case ev.twelveLine > 0 && ev.fullLine > 0:
		if f.table.lay.preset != nil {
			return out, &Error{
				Line:     max(ev.twelveLine, ev.fullLine),
				Message:  fmt.Sprintf("times of day are written with AM or PM and without, see also line %d", min(ev.twelveLine, ev.fullLine)),
				HintText: "a spreadsheet may have changed some of them: export again; or, if it is sure which clock is meant, set time_format to 12h or 24h: rows on the other one are then refused",
				Key:      "time_format", Options: []string{"24h", "12h"},
			}
		}
	case ev.twelveLine > 0:
		out = append(out, timesheet.Decision{What: "clock", Value: "12h", Evidence: at(ev.twelveLine)})
	case f.table.lay.preset != nil:
		out = append(out, timesheet.Decision{What: "clock", Value: "24h", Evidence: at(ev.fullLine)})
	}
	f.several = ev.several
	f.decimal = '.'
	switch {
	case lay.decimal != 0:
		f.decimal = lay.decimal
		out = append(out, timesheet.Decision{What: "decimal sign", Value: string(f.decimal), Evidence: "decimal"})
	case ev.pointLine > 0 && ev.commaLine > 0:
		return out, &Error{
			Line:     max(ev.commaLine, ev.pointLine),
			Message:  fmt.Sprintf("hours have a decimal comma and a decimal point, see also line %d", min(ev.commaLine, ev.pointLine)),
			HintText: "if it is sure which one is meant, set decimal to \".\" or \",\": rows with the other one are then refused",
			Key:      "decimal", Options: []string{".", ","},
		}
	case ev.commaLine > 0:
		f.decimal = ','
		out = append(out, timesheet.Decision{What: "decimal sign", Value: ",", Evidence: at(ev.commaLine)})
	case ev.pointLine > 0:
		out = append(out, timesheet.Decision{What: "decimal sign", Value: ".", Evidence: at(ev.pointLine)})
	}
	return out, nil
}
