package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
)

// The twin of a calendar has its lines, folded where they were: what is masked
// is as long as it was.

var (
	// calendarKept are properties whose values are the format's own words.
	calendarKept = strings.Fields("BEGIN END VERSION CALSCALE METHOD TRANSP STATUS CLASS ACTION SEQUENCE PRIORITY DURATION TZOFFSETFROM TZOFFSETTO TZID X-WR-TIMEZONE PERCENT-COMPLETE REPEAT")
	// calendarDates are properties that hold days.
	calendarDates = strings.Fields("DTSTART DTEND DTSTAMP CREATED LAST-MODIFIED RECURRENCE-ID EXDATE RDATE COMPLETED DUE RRULE EXRULE TRIGGER FREEBUSY")
	paramsKept    = strings.Fields("TZID VALUE ENCODING FMTTYPE RELATED RANGE PARTSTAT ROLE RSVP CUTYPE FBTYPE RELTYPE LANGUAGE")
	basicDate     = regexp.MustCompile(`\b((?:19|20)\d\d)(\d\d)(\d\d)(T\d{6}Z?)?\b`)
)

func (w *twin) calendar(data *io.SectionReader, to io.Writer) error {
	in := bufio.NewReader(ctxReader{w.ctx, io.NewSectionReader(data, 0, data.Size())})
	out := bufio.NewWriter(to)
	var inside []string
	var whole []byte
	var folds []string // what stands between the parts of a folded line
	var at []int       // where, in the line without them
	flush := func(end string) error {
		text := w.property(string(whole), &inside)
		last := 0
		for i, p := range at {
			if _, err := out.WriteString(text[last:p] + folds[i]); err != nil {
				return err
			}
			last = p
		}
		_, err := out.WriteString(text[last:] + end)
		whole, folds, at = whole[:0], folds[:0], at[:0]
		return err
	}
	line, err := readLine(in, w.r.s.cfg.Limits.Line)
	for {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text := bytes.TrimRight(line, "\r\n")
		whole = append(whole, text...)
		end := string(line[len(text):])
		if errors.Is(err, io.EOF) {
			return errors.Join(flush(end), out.Flush())
		}
		if line, err = readLine(in, w.r.s.cfg.Limits.Line); len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			at, folds = append(at, len(whole)), append(folds, end+string(line[:1]))
			line = line[1:]
			continue
		}
		if err := flush(end); err != nil {
			return err
		}
	}
}

// property masks a content line.
func (w *twin) property(text string, inside *[]string) string {
	p, ok := parseProperty(text)
	if !ok {
		return w.m.text(text)
	}
	head, value := text[:len(text)-len(p.value)], p.value
	switch in := *inside; p.name {
	case "BEGIN":
		*inside = append(in, strings.ToUpper(strings.TrimSpace(value)))
	case "END":
		*inside = in[:max(len(in)-1, 0)]
	}
	head = w.params(head)
	zone := slices.Contains(*inside, "VTIMEZONE")
	switch {
	case slices.Contains(calendarKept, p.name), zone && (slices.Contains(calendarDates, p.name) || p.name == "TZNAME"):
		return head + value
	case slices.Contains(calendarDates, p.name):
		return head + w.basicDates(value)
	}
	if rest, ok := strings.CutPrefix(value, "mailto:"); ok {
		return head + "mailto:" + w.m.text(rest)
	}
	// Of \n the letter is no text.
	var b strings.Builder
	last := 0
	for i := 0; i+1 < len(value); i++ {
		if value[i] == '\\' {
			b.WriteString(w.m.text(value[last:i]) + value[i:i+2])
			i++
			last = i + 1
		}
	}
	return head + b.String() + w.m.text(value[last:])
}

// basicDates moves days of ISO's basic form.
func (w *twin) basicDates(value string) string {
	return basicDate.ReplaceAllStringFunc(value, func(s string) string {
		moved := w.m.days.date(s[:4], s[4:6], s[6:8], "", false, w.m.collect)
		if w.m.collect {
			return s
		}
		return moved + s[8:]
	})
}

// params masks the parameters of a property that may name somebody.
func (w *twin) params(head string) string {
	var b strings.Builder
	for head != "" {
		i := strings.IndexByte(head, '=')
		if i < 0 {
			break
		}
		name := head[strings.LastIndexByte(head[:i], ';')+1 : i]
		b.WriteString(head[:i+1])
		head = head[i+1:]
		// Up to the next parameter or the value, quoted or not.
		end, quoted := 0, false
		for end < len(head) && (quoted || head[end] != ';' && head[end] != ':') {
			quoted = quoted != (head[end] == '"')
			end++
		}
		if value := head[:end]; slices.Contains(paramsKept, strings.ToUpper(name)) {
			b.WriteString(value)
		} else {
			b.WriteString(w.m.text(value))
		}
		head = head[end:]
	}
	return b.String() + head
}
