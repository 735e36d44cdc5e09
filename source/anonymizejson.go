package source

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// jsonTwin copies JSON byte by byte, but for its texts and numbers. What is no
// JSON any more is masked to the end, so that a broken file has a twin that is
// broken in the same place.
type jsonTwin struct {
	w     *twin
	in    *bufio.Reader
	out   *bufio.Writer
	roles map[string]role // by the path within a record
}

var errNoJSON = errors.New("no JSON")

func (w *twin) json(data *io.SectionReader, to io.Writer) error {
	j := &jsonTwin{
		w: w, roles: map[string]role{},
		in:  bufio.NewReader(ctxReader{w.ctx, io.NewSectionReader(data, 0, data.Size())}),
		out: bufio.NewWriter(to),
	}
	for i, name := range w.head {
		j.roles[strings.TrimSpace(name)] = w.roles[i]
	}
	for {
		err := j.space()
		if err == nil {
			err = j.value("", w.r.s.cfg.Records == "", 0)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return j.out.Flush()
		case errors.Is(err, errNoJSON):
			if err := j.line(); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
}

// line masks what is left of a line that is no JSON.
func (j *jsonTwin) line() error {
	line, err := readLine(j.in, j.w.r.s.cfg.Limits.Line)
	if _, err := j.out.WriteString(j.w.m.text(string(line))); err != nil {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
		return nil // the next read tells
	}
	return err
}

// space copies what is between values.
func (j *jsonTwin) space() error {
	for {
		c, err := j.in.ReadByte()
		if err != nil {
			return err
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return j.in.UnreadByte()
		}
		if err := j.out.WriteByte(c); err != nil {
			return err
		}
	}
}

// next reads the byte behind the space, which the caller writes.
func (j *jsonTwin) next() (byte, error) {
	if err := j.space(); err != nil {
		return 0, err
	}
	return j.in.ReadByte()
}

// value copies the value that comes next. within tells that path counts from
// the record; before that, from the root.
func (j *jsonTwin) value(path string, within bool, depth int) error {
	if depth > jsonDepth {
		return errNoJSON
	}
	c, err := j.next()
	if err != nil {
		return err
	}
	switch {
	case c == '{' || c == '[':
		if err := j.out.WriteByte(c); err != nil {
			return err
		}
		return j.members(c, path, within, depth)
	case c == '"':
		raw, err := j.literal()
		if err != nil {
			return err
		}
		return j.text(raw, j.role(path))
	case c == '-' || digit(c):
		return j.number(c, j.role(path))
	case c == 't' || c == 'f' || c == 'n':
		return j.word(c)
	}
	return errors.Join(j.in.UnreadByte(), errNoJSON)
}

func (j *jsonTwin) members(open byte, path string, within bool, depth int) error {
	end := open + 2 // ] and } stand two behind their openings
	for n := 0; ; n++ {
		c, err := j.next()
		if err != nil {
			return err
		}
		switch {
		case c == end:
			return j.out.WriteByte(c)
		case n > 0 && c == ',':
			if err := j.out.WriteByte(c); err != nil {
				return err
			}
		case n > 0:
			return errors.Join(j.in.UnreadByte(), errNoJSON)
		default:
			if err := j.in.UnreadByte(); err != nil {
				return err
			}
		}
		if open == '[' {
			sub, record := join(path, strconv.Itoa(n)), within
			if !within && path == j.w.r.s.cfg.Records {
				sub, record = "", true // the records begin here
			} else if path == "" {
				sub = ""
			}
			if err := j.value(sub, record, depth+1); err != nil {
				return err
			}
			continue
		}
		if c, err = j.next(); err != nil {
			return err
		}
		if c != '"' {
			return errors.Join(j.in.UnreadByte(), errNoJSON)
		}
		raw, err := j.literal()
		if err != nil {
			return err
		}
		key, err := j.key(raw)
		if err != nil {
			return err
		}
		if c, err = j.next(); err != nil {
			return err
		}
		if c != ':' {
			return errors.Join(j.in.UnreadByte(), errNoJSON)
		}
		if err := j.out.WriteByte(c); err != nil {
			return err
		}
		if err := j.value(join(path, key), within, depth+1); err != nil {
			return err
		}
	}
}

// plainKey is what programs call their fields. Other keys may be somebody's.
var plainKey = regexp.MustCompile(`^[A-Za-z_@$][A-Za-z0-9_.-]{0,63}$`)

func (j *jsonTwin) key(raw string) (string, error) {
	var key string
	if json.Unmarshal([]byte(raw), &key) != nil {
		return "", errNoJSON
	}
	if _, known := j.roles[key]; known || plainKey.MatchString(key) {
		_, err := j.out.WriteString(raw)
		return key, err
	}
	return key, j.text(raw, rolePlain)
}

// literal reads a text with its quotation marks, of which the first is read.
func (j *jsonTwin) literal() (string, error) {
	raw := []byte{'"'}
	for escaped := false; ; {
		c, err := j.in.ReadByte()
		if err != nil {
			_, writeErr := j.out.WriteString(`"` + j.w.m.text(string(raw[1:])))
			return "", errors.Join(err, writeErr)
		}
		raw = append(raw, c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return string(raw), nil
		}
	}
}

// text writes the twin of a text literal.
func (j *jsonTwin) text(raw string, r role) error {
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil {
		_, err := j.out.WriteString(j.w.m.text(raw))
		return err
	}
	masked := j.w.m.value(s, r)
	if masked == s {
		_, err := j.out.WriteString(raw)
		return err
	}
	return j.quoted(masked, strings.Contains(raw, `\u`))
}

// quoted writes a text literal; plain: in ASCII alone, as the original was.
func (j *jsonTwin) quoted(s string, plain bool) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	for _, c := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case c < utf8.RuneSelf || !plain:
			_, _ = j.out.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			_, _ = j.out.WriteString(`\u` + hex4(0xd800+c>>10) + `\u` + hex4(0xdc00+c&0x3ff))
		default:
			_, _ = j.out.WriteString(`\u` + hex4(c))
		}
	}
	return nil // the flush at the end tells
}

func hex4(c rune) string {
	s := strconv.FormatInt(int64(c), 16)
	return strings.Repeat("0", 4-len(s)) + s
}

// number copies a number whose first byte is read.
func (j *jsonTwin) number(c byte, r role) error {
	raw := []byte{c}
	for {
		c, err := j.in.ReadByte()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil || !digit(c) && strings.IndexByte("+-.eE", c) < 0 {
			if err == nil {
				err = j.in.UnreadByte()
			} else {
				err = nil
			}
			_, writeErr := j.out.WriteString(j.w.count(string(raw), r))
			return errors.Join(err, writeErr)
		}
		raw = append(raw, c)
	}
}

// count is the twin of a number.
func (w *twin) count(raw string, r role) string {
	switch {
	case r == roleLength || raw == "0":
		return raw
	case r == roleDate && digitsOnly(raw) == len(raw) && (len(raw) == 10 || len(raw) == 13):
		// Seconds or milliseconds since 1970.
		unit := int64(86400)
		if len(raw) == 13 {
			unit *= 1000
		}
		n, err := strconv.ParseInt(raw, 10, 64)
		if err != nil {
			return raw
		}
		day := w.m.days.moved(time.Unix(n/unit*86400, 0), w.m.collect)
		return strconv.FormatInt(day*unit+n%unit, 10)
	}
	whole, power, has := raw, "", false
	if i := strings.IndexAny(raw, "eE"); i >= 0 {
		whole, power, has = raw[:i], raw[i:], true
	}
	if has {
		return w.m.text(whole) + power
	}
	return w.m.text(raw)
}

// word copies true, false or null.
func (j *jsonTwin) word(first byte) error {
	rest := map[byte]string{'t': "true", 'f': "false", 'n': "null"}[first][1:]
	is, err := j.in.Peek(len(rest))
	if string(is) != rest {
		if err == nil || errors.Is(err, io.EOF) {
			err = errNoJSON
		}
		return errors.Join(j.in.UnreadByte(), err)
	}
	_, err = j.in.Discard(len(rest))
	_, writeErr := j.out.WriteString(string(first) + rest)
	return errors.Join(err, writeErr)
}

// role is what stands at a path: what the table made of it says, or the name.
func (j *jsonTwin) role(path string) role {
	if r, ok := j.roles[path]; ok {
		return r
	}
	parts := strings.Split(path, ".")
	for i, part := range slices.Backward(parts) {
		if strings.Trim(part, "0123456789") == "" {
			continue // a place in a list
		}
		if r, ok := j.roles[strings.Join(parts[:i+1], ".")]; ok {
			return r
		}
		return roleOf(snake(part))
	}
	return rolePersonal
}

// snake writes startDate as start date.
func snake(s string) string {
	var b strings.Builder
	for i, c := range s {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte(' ')
		}
		if c == '_' || c == '-' {
			c = ' '
		}
		b.WriteRune(c)
	}
	return b.String()
}
