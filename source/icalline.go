package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The content lines of a calendar (RFC 5545, section 3.1), and in which
// component they are.

const calendarDepth = 32

// property is a content line, unfolded.
type property struct {
	name   string // in capitals
	params map[string]string
	value  string
	line   int
}

// parseProperty reads NAME;PARAM=VALUE:VALUE (RFC 5545, section 3.1). Of a
// parameter with several values the first is kept.
func parseProperty(text string) (p property, ok bool) {
	n := tokenLen(text)
	if n == 0 {
		return p, false
	}
	p.name, text = strings.ToUpper(text[:n]), text[n:]
	for text != "" && text[0] == ';' {
		text = text[1:]
		n := tokenLen(text)
		if n == 0 || n == len(text) || text[n] != '=' {
			return p, false
		}
		name := strings.ToUpper(text[:n])
		text = text[n:]
		for i := 0; text != "" && (i == 0 || text[0] == ','); i++ {
			text = text[1:]
			var value string
			if strings.HasPrefix(text, `"`) {
				end := strings.IndexByte(text[1:], '"')
				if end < 0 {
					return p, false
				}
				value, text = text[1:1+end], text[2+end:]
			} else {
				end := strings.IndexAny(text, `;:,"`)
				if end < 0 || text[end] == '"' {
					return p, false
				}
				value, text = text[:end], text[end:]
			}
			if i == 0 {
				if p.params == nil {
					p.params = map[string]string{}
				}
				p.params[name] = value
			}
		}
	}
	if text == "" || text[0] != ':' {
		return p, false
	}
	p.value = text[1:]
	return p, true
}

// tokenLen is the length of the name that text begins with.
func tokenLen(text string) (n int) {
	for n < len(text) && (digit(text[n]) || text[n] == '-' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z') {
		n++
	}
	return n
}

// textOf takes the escapes out of a value of text; several are joined.
func textOf(value string) string { return strings.Join(textsOf(value), ", ") }

// textsOf are the texts of a list of them.
func textsOf(value string) (out []string) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value):
			if i++; value[i] == 'n' || value[i] == 'N' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(value[i])
			}
		case c == ',':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(out, b.String())
}

// raw is the property's value with the zone that it names.
func (p *property) raw() string {
	if zone := p.params["TZID"]; zone != "" {
		return "TZID=" + zone + ":" + p.value
	}
	return p.value
}

// calendarReader reads content lines and knows in which component they are.
type calendarReader struct {
	in      *bufio.Reader
	most    int
	number  int    // of the line that is read ahead
	ahead   []byte // with its end
	ended   bool
	inside  []string // the components around the line at hand
	lastEnd int      // line of the end of the last calendar
}

func newCalendarReader(r io.Reader, most int) (*calendarReader, error) {
	c := &calendarReader{in: bufio.NewReaderSize(r, 64<<10), most: most}
	if mark, err := c.in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = c.in.Discard(3) // they are there
	}
	return c, c.advance()
}

func (c *calendarReader) advance() (err error) {
	if c.ended {
		c.ahead = nil
		return nil
	}
	c.ahead, err = readLine(c.in, c.most)
	c.number++
	switch {
	case errors.Is(err, io.EOF):
		c.ended = true
	case errors.Is(err, errTooLong):
		return c.tooLong(c.number)
	case err != nil:
		return err
	}
	return nil
}

func (c *calendarReader) tooLong(line int) error {
	return &Error{Line: line, Message: fmt.Sprintf("a line is longer than %d bytes", c.most), HintText: "this is no calendar, or something in it is not for reading"}
}

// next gives the next content line that is not blank, or io.EOF.
func (c *calendarReader) next() (text string, line int, err error) {
	for {
		if len(c.ahead) == 0 && c.ended {
			return "", c.number, io.EOF
		}
		line := c.number
		whole := append([]byte(nil), bytes.TrimRight(c.ahead, "\r\n")...)
		if err := c.advance(); err != nil {
			return "", line, err
		}
		for len(c.ahead) > 0 && (c.ahead[0] == ' ' || c.ahead[0] == '\t') {
			if whole = append(whole, bytes.TrimRight(c.ahead[1:], "\r\n")...); len(whole) > c.most {
				return "", line, c.tooLong(line)
			}
			if err := c.advance(); err != nil {
				return "", line, err
			}
		}
		if len(bytes.TrimSpace(whole)) > 0 {
			return string(whole), line, nil
		}
	}
}

// property gives the next property; BEGIN and END have moved inside already. A
// line that is none is an error, unless it is within an event: then its name is
// empty. At the end of the file all components must be closed.
func (c *calendarReader) property() (property, error) {
	text, line, err := c.next()
	if errors.Is(err, io.EOF) && (len(c.inside) > 0 || c.lastEnd == 0) {
		return property{}, &Error{Line: line, Message: "the calendar is cut off: END:VCALENDAR is missing", HintText: "export it again"}
	}
	if err != nil {
		return property{}, err
	}
	p, ok := parseProperty(text)
	p.line = line
	wrong := func(what string) (property, error) {
		return p, &Error{Line: line, Message: what, HintText: "the calendar is damaged: export it again"}
	}
	name := strings.ToUpper(strings.TrimSpace(p.value))
	switch {
	case !ok && slices.Contains(c.inside, "VEVENT"):
		return property{line: line}, nil
	case !ok:
		return wrong("this line is no property of a calendar")
	case p.name == "BEGIN":
		if len(c.inside) == calendarDepth {
			return wrong(fmt.Sprintf("the calendar is nested deeper than %d levels", calendarDepth))
		}
		if len(c.inside) == 0 && name != "VCALENDAR" {
			return wrong("this is outside of a calendar")
		}
		c.inside = append(c.inside, name)
	case p.name == "END":
		if len(c.inside) == 0 || c.inside[len(c.inside)-1] != name {
			return wrong("END:" + name + " has no beginning of its own")
		}
		if c.inside = c.inside[:len(c.inside)-1]; len(c.inside) == 0 {
			c.lastEnd = line
		}
	case len(c.inside) == 0:
		return wrong("this is outside of a calendar")
	}
	p.value = strings.TrimRight(p.value, " \t")
	return p, nil
}
