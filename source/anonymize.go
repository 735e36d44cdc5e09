package source

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Anonymize writes a harmless twin of the first file, which must be CSV: the
// same encoding, delimiter, quotation marks, lines and lengths, and the same
// header; years are moved, times and durations stay, and every other letter and
// digit is another one. Equal values stay equal. A file that cannot be read as
// entries has a twin as well.
func (r *Reading) Anonymize(ctx context.Context, to io.Writer) error {
	h, err := r.Header(ctx)
	if err != nil {
		return err
	}
	u := r.units[0]
	if err := r.anonymize(ctx, u, h, to); err != nil {
		return r.s.place(u.name, err)
	}
	return nil
}

func (r *Reading) anonymize(ctx context.Context, u *unit, h Header, to io.Writer) error {
	if u.made != nil && u.made.table {
		return &Error{Message: "only CSV files can be made anonymous", HintText: "save it as CSV UTF-8 and try whether that shows the fault as well"}
	}
	data, size := u.data()
	head := make([]byte, min(headSize, size))
	if _, err := data.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	cs, err := sniff(head, r.s.layout.encoding)
	if err != nil {
		return err
	}
	if w := newWatcher(ctxReader{ctx, io.NewSectionReader(data, 0, size)}, r.s.cfg.Limits.File); cs.auto {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{w}); err != nil {
			return err
		}
		if w.broken {
			cs = charset{name: cp1252Name}
		}
	}
	if _, err := to.Write(head[:cs.bom]); err != nil {
		return err
	}
	delim := byte(',')
	for _, d := range []byte(delimiters) {
		fr := newFramer(cs.decode(io.NewSectionReader(data, int64(cs.bom), size-int64(cs.bom))), d, &r.s.cfg.Limits, nil)
		var rec frame
		for range headerSearch {
			if fr.next(&rec) != nil {
				break
			}
			if rec.line == h.Line && slices.Equal(rec.fields(d), h.Columns) {
				delim = d
			}
		}
	}
	m, err := newMask(h.Columns)
	if err != nil {
		return err
	}
	out := cs.encode(to)
	fr := newFramer(cs.decode(ctxReader{ctx, io.NewSectionReader(data, int64(cs.bom), size-int64(cs.bom))}), delim, &r.s.cfg.Limits, nil)
	var rec frame
	for line, end := 1, "\n"; ; {
		err := fr.next(&rec)
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		rest := rec.data[len(chomp(rec.data)):]
		if len(rest) > 0 {
			end = string(rest)
		}
		text := strings.Repeat(end, rec.line-line) // lines that are blank
		line = rec.line + max(1, bytes.Count(rec.data, []byte{'\n'}))
		if rec.line == h.Line {
			text += string(rec.data)
		} else {
			text += m.record(&rec, delim, rec.line < h.Line) + string(rest)
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
}

// encode is the way back of decode.
func (c charset) encode(w io.Writer) io.WriteCloser {
	switch c.name {
	case utf16leName:
		return transform.NewWriter(w, xunicode.UTF16(xunicode.LittleEndian, xunicode.IgnoreBOM).NewEncoder())
	case utf16beName:
		return transform.NewWriter(w, xunicode.UTF16(xunicode.BigEndian, xunicode.IgnoreBOM).NewEncoder())
	case cp1252Name:
		return transform.NewWriter(w, charmap.Windows1252.NewEncoder())
	}
	return transform.NewWriter(w, transform.Nop)
}

// mask puts other letters and digits in the place of those of values.
type mask struct {
	key    []byte // of this twin alone, so that no value can be found by trying
	years  int
	timed  map[int]bool // columns whose digits are times, durations or hours
	fixed  map[string]bool
	dates  *regexp.Regexp
	clocks *regexp.Regexp
}

func newMask(header []string) (*mask, error) {
	m := &mask{key: make([]byte, 32), timed: map[int]bool{}, fixed: map[string]bool{}}
	if _, err := rand.Read(m.key); err != nil {
		return nil, err
	}
	// Four years and their multiples have the same days, of leap years as well.
	m.years = 4 * (1 + int(m.key[0])%3)
	// Words that say how a row is to be read, and of nobody.
	for w := range strings.FieldsSeq("yes no true false ja nein oui non si break regular timesheet utc") {
		m.fixed[w] = true
	}
	m.dates = regexp.MustCompile(`\b(?:((?:19|20)\d\d)([-./]\d\d?[-./]\d\d?)|(\d\d?[-./]\d\d?[-./])((?:19|20)\d\d|\d\d)|((?:19|20)\d\d)(\d{4}T\d{6}))`)
	m.clocks = regexp.MustCompile(`^-?\d+:\d\d(:\d\d)?([.,]\d+)?( ?[AaPp][Mm])?$`)
	for i, h := range header {
		m.fixed[bare(h)] = true // in a second header, too
		for field, column := range Guess([]string{h}) {
			switch field {
			case "start", "end", "duration", "hours":
				m.timed[i] = column != ""
			}
		}
		// Rates and amounts are nobody's business, hours are what it is about.
		if f := fold(h); strings.HasPrefix(f, "hours") || strings.HasPrefix(f, "duration") {
			m.timed[i] = true
		}
	}
	return m, nil
}

// record is a row without its line end.
func (m *mask) record(rec *frame, delim byte, above bool) string {
	if above {
		return m.text(string(chomp(rec.data)), false)
	}
	var b strings.Builder
	if rec.bad != "" {
		for i, cell := range strings.Split(string(chomp(rec.data)), string(rune(delim))) {
			if i > 0 {
				b.WriteByte(delim)
			}
			b.WriteString(m.value(cell, m.timed[i]))
		}
		return b.String()
	}
	for i, pos := 0, 0; pos >= 0; i++ {
		var raw []byte
		raw, pos = rec.field(delim, pos)
		if i > 0 {
			b.WriteByte(delim)
		}
		b.WriteString(m.value(string(raw), m.timed[i]))
	}
	return b.String()
}

// value masks a cell as it stands in the file.
func (m *mask) value(raw string, timed bool) string {
	inner, quote := raw, ""
	if len(raw) > 1 && raw[0] == '"' {
		inner, quote = raw[1:len(raw)-1], `"`
	}
	if m.fixed[bare(inner)] || m.clocks.MatchString(strings.TrimSpace(inner)) {
		return raw
	}
	return quote + m.text(inner, timed && !strings.ContainsFunc(inner, unicode.IsLetter)) + quote
}

// text masks letters and digits, but moves what is a date; keep keeps digits.
func (m *mask) text(s string, keep bool) string {
	var b strings.Builder
	last := 0
	for _, at := range m.dates.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(m.letters(s[last:at[0]], keep))
		group := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return s[at[2*i]:at[2*i+1]]
		}
		b.WriteString(m.year(group(1)) + group(2) + group(3) + m.year(group(4)) + m.year(group(5)) + group(6))
		last = at[1]
		// The time of day behind a date belongs to it.
		if n := len(stampTail.FindString(s[last:])); n > 0 {
			b.WriteString(s[last : last+n])
			last += n
		}
	}
	b.WriteString(m.letters(s[last:], keep))
	return b.String()
}

var stampTail = regexp.MustCompile(`^[T ]\d\d?:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm]\b|Z|[+-]\d\d:?\d\d)?`)

func (m *mask) year(s string) string {
	n, err := strconv.Atoi(s)
	if err != nil {
		return s
	}
	if len(s) == 2 {
		return fmt.Sprintf("%02d", (n+100-m.years)%100)
	}
	return strconv.Itoa(n - m.years)
}

// shuffled is an alphabet in another order, at each place of a text another.
func (m *mask) shuffled(alphabet string, at int) []rune {
	mac := hmac.New(sha256.New, m.key)
	fmt.Fprintf(mac, "%s %d", alphabet, at)
	by := mac.Sum(nil)
	out := []rune(alphabet)
	for i := len(out) - 1; i > 0; i-- {
		j := int(by[i%len(by)]) % (i + 1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func (m *mask) letters(s string, keep bool) string {
	if s == "" {
		return s
	}
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(s))
	stream := mac.Sum(nil)
	used, at := 0, 0
	// Short texts and numbers that differ must not become the same.
	short := utf8.RuneCountInString(s) <= 3 || strings.Trim(s, "0123456789") == ""
	pick := func(c rune, from string) rune {
		if short {
			to := m.shuffled(from, at)
			return to[max(slices.Index([]rune(from), c), 0)]
		}
		if used == len(stream) {
			mac.Write(stream)
			stream, used = mac.Sum(nil), 0
		}
		used++
		r := []rune(from)
		return r[int(stream[used-1])%len(r)]
	}
	const lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	first := true
	return strings.Map(func(c rune) rune {
		at++
		number := c >= '0' && c <= '9'
		lead := number && first
		first = !number
		switch {
		case number && keep, c < utf8.RuneSelf && !unicode.IsLetter(c) && !number:
			return c
		case lead && c != '0':
			return pick(c, "123456789")
		case number && lead:
			return c // a zero in front says that there is padding
		case number:
			return pick(c, "0123456789")
		case c >= 'a' && c <= 'z':
			return pick(c, lower)
		case c < utf8.RuneSelf:
			return pick(c, upper)
		case !unicode.IsLetter(c) && !unicode.IsNumber(c) && c < 0x2190, c == utf8.RuneError:
			return c // signs
		case c <= 0xff && unicode.IsUpper(c):
			return pick(c, "ÄÖÜÉÈÀ")
		case c <= 0xff:
			return pick(c, "äöüéèà")
		case unicode.In(c, unicode.Mn, unicode.Cf):
			return c
		case utf8.RuneLen(c) == 2:
			return pick(c, "āčēģīķ")
		case utf8.RuneLen(c) == 3 && c < 0x2190:
			return pick(c, "ẁẃẅ")
		case utf8.RuneLen(c) == 3:
			return pick(c, "漢字文")
		}
		return pick(c, "😀😁😂")
	}, s)
}
