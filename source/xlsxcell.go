package source

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// cellKind is what the number in a cell means, by its number format.
type cellKind byte

const (
	cellNumber cellKind = iota
	cellDate
	cellTime
	cellStamp // date and time
)

// readStyles finds the kind of each style of cells.
func (b *book) readStyles() error {
	custom := map[string]string{}
	within := ""
	return b.each("xl/styles.xml", func(_ *xml.Decoder, el xml.StartElement) error {
		switch el.Name.Local {
		case "cellXfs", "cellStyleXfs", "dxfs":
			within = el.Name.Local
		case "numFmt":
			custom[attr(el, "numFmtId")] = attr(el, "formatCode")
		case "xf":
			if within == "cellXfs" {
				id := attr(el, "numFmtId")
				kind := builtinKind(id)
				if code, ok := custom[id]; ok {
					kind = kindOf(code)
				}
				b.kinds = append(b.kinds, kind)
			}
		}
		return nil
	})
}

// builtinKind knows the formats that have a number only (ECMA-376, 18.8.30).
func builtinKind(id string) cellKind {
	n, err := strconv.Atoi(id)
	switch {
	case err != nil:
		return cellNumber
	case n >= 14 && n <= 17, n >= 27 && n <= 31, n == 36, n >= 50 && n <= 54, n == 57, n == 58:
		return cellDate
	case n >= 18 && n <= 21, n >= 32 && n <= 35, n >= 45 && n <= 47, n == 55, n == 56:
		return cellTime
	case n == 22:
		return cellStamp
	}
	return cellNumber
}

// kindOf reads a format code such as dd.mm.yyyy, [h]:mm:ss or 0.00.
func kindOf(code string) cellKind {
	code = strings.ToLower(code)
	if code == "general" {
		return cellNumber
	}
	var day, clock, m bool
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case ';':
			i = len(code) // negative numbers are written in another way, but mean the same
		case '"':
			if j := strings.IndexByte(code[i+1:], '"'); j >= 0 {
				i += j + 1
			}
		case '\\', '_', '*':
			i++
		case '[':
			j := strings.IndexByte(code[i:], ']')
			if j < 0 {
				continue
			}
			clock = clock || strings.Trim(code[i+1:i+j], "h") == "" || strings.Trim(code[i+1:i+j], "m") == "" || strings.Trim(code[i+1:i+j], "s") == ""
			i += j
		case 'y', 'd':
			day = true
		case 'h', 's':
			clock = true
		case 'm':
			m = true
		}
	}
	switch {
	case day && clock:
		return cellStamp
	case day, m && !clock:
		return cellDate
	case clock:
		return cellTime
	}
	return cellNumber
}

const (
	secondsOfDay = 86400
	// firstSerial is the number from which a time is one of a certain day: nobody
	// works for 27 years, and nobody logs hours of 1927.
	firstSerial = 10000
	lastSerial  = 2958466 // after 9999-12-31
)

// number is a number as text: one that means a day or a time is written as
// such, others as they would be shown, with at most six decimals.
func (b *book) number(raw string, kind cellKind) string {
	v, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.Abs(v) >= 1e15 || strings.ContainsAny(raw, "xXnNiI_") {
		return raw // whoever needs a number will refuse it
	}
	if kind == cellNumber || v < 0 || v >= lastSerial || kind == cellDate && v < 1 {
		return b.plain(v)
	}
	sec := int64(math.Round(v * secondsOfDay))
	if kind == cellTime && v < firstSerial || v < 1 {
		return timesheet.Seconds(sec).Clock()
	}
	days, sec := sec/secondsOfDay, sec%secondsOfDay
	if b.date1904 {
		days += 1462
	}
	// Day 0 is the one before New Year's Eve of 1899, because spreadsheets count a
	// 29th of February 1900.
	day := timesheet.Date(1899, 12, 30) + timesheet.Day(days)
	if kind == cellDate && sec == 0 && !b.stamped {
		return day.String()
	}
	return fmt.Sprintf("%s %02d:%02d:%02d", day, sec/3600, sec/60%60, sec%60)
}

// plain writes a number without the noise of binary fractions.
func (b *book) plain(v float64) string {
	shown, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64)
	if err != nil {
		shown = v
	}
	s := strconv.FormatFloat(shown, 'f', -1, 64)
	if i := strings.IndexByte(s, '.'); i >= 0 {
		if len(s)-i-1 > 6 {
			s = strings.TrimRight(strconv.FormatFloat(shown, 'f', 6, 64), "0")
			s = strings.TrimSuffix(s, ".")
		}
		s = strings.Replace(s, ".", string(rune(b.decimal)), 1)
	}
	return s
}
