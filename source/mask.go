package source

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// role is what a twin does with the values of a column.
type role byte

const (
	rolePlain    role = iota // dates are moved, yes and no stay, everything else is another text
	rolePersonal             // everything is another text
	roleDate                 // dates are moved, times of day stay
	roleLength               // stays, as far as it is a length
	roleKind                 // the tracker's own words stay
)

// mask puts other letters and digits in the place of those of values. It goes
// over a file twice: first it only collects what must not come out by chance,
// and the days; then it masks.
type mask struct {
	key     []byte // of this twin alone, so that no value can be found by trying
	seed    maphash.Seed
	collect bool
	tokens  map[uint64]struct{} // words of what is masked
	brief   map[string]struct{} // short texts that are words
	shift   byte                // of short texts, see chooseShift
	taken   map[uint64]uint64   // masked texts, and what each stands for
	days    dayMove
	narrow  bool              // the file is in Windows-1252
	known   map[string]string // masked texts again
	kinds   map[string]bool
}

// mostTokens bounds the memory: what comes after is masked all the same.
const mostTokens = 1 << 20

func newMask() (*mask, error) {
	m := &mask{key: make([]byte, 32), seed: maphash.MakeSeed(), known: map[string]string{}, collect: true, tokens: map[uint64]struct{}{}, brief: map[string]struct{}{}, taken: map[uint64]uint64{}, kinds: map[string]bool{}}
	_, err := rand.Read(m.key)
	return m, err
}

// fixedWords say how a row is to be read, and nothing of anybody.
var fixedWords = regexp.MustCompile(`(?i)^(yes|no|true|false|ja|nein|oui|non|si|null|none|break|regular|timesheet|utc|y|n|range|open_range|duration)$`)

var (
	clockOnly  = regexp.MustCompile(`^[<-]?\d{1,4}:\d\d?(:\d\d?)?([.,]\d+)?( ?[AaPp]\.?[Mm]\.?)?>?$|^-?\d{1,3}h(\d{1,2}m)?!?$|^-?\d{1,2}m$`)
	lengthOnly = regexp.MustCompile(`^'?[+-]?(\d+([.,:]\d+)*( ?([hms]|min|std|AM|PM|am|pm)\b\.?)?|\d+([.,]\d+)?[eE][+-]?\d+|(\d+ ?h)? ?(\d+ ?m)?( ?\d+ ?s)?|PT[0-9HMS.]+)$`)
	digits     = regexp.MustCompile(`^\d+$`)
	hexed      = regexp.MustCompile(`^[0-9a-f]{7,}$`)
	isoLength  = regexp.MustCompile(`^P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$`)
)

// roleOf tells by the name of a column what is in it, where no field does.
func roleOf(header string) role {
	if wholeDate(header) {
		return roleLength // a column for each day
	}
	words := strings.FieldsFunc(fold(header), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	has := func(list string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(list, " "+w+" ") })
	}
	switch {
	case has(" rate rates price amount cost costs currency preis satz betrag fee salary id uid key number name email mail client customer kunde tag tags label labels comment title summary text url "):
		return rolePersonal
	case has(" duration durations dauer hours hour stunden std minutes minute mins min seconds second secs sec worked h "):
		return roleLength
	}
	for f := range Guess([]string{header}) {
		switch f {
		case "date", "start", "end", "end_date":
			return roleDate
		case "duration", "hours":
			return roleLength
		case "user_type":
		default:
			return rolePersonal
		}
	}
	return rolePlain
}

// rolesOf gives the role of every column; t may be nil.
func rolesOf(header []string, t *table) []role {
	out := make([]role, len(header))
	for i, h := range header {
		out[i] = roleOf(h)
	}
	if t == nil {
		return out
	}
	for f, at := range t.at {
		if at < 0 || at >= len(out) {
			continue
		}
		switch field(f) {
		case fieldDate, fieldStart, fieldEnd, fieldEndDate:
			out[at] = roleDate
		case fieldDuration, fieldHours:
			out[at] = roleLength
		case fieldKind:
			out[at] = roleKind
		default:
			out[at] = rolePersonal
		}
	}
	return out
}

// value masks a value. While collecting it returns it as it is.
func (m *mask) value(s string, r role) string {
	bare := strings.TrimSpace(s)
	if bare == "" {
		return s
	}
	switch r {
	case rolePersonal:
	case roleKind:
		if m.kinds[fold(bare)] || fixedWords.MatchString(bare) {
			return s
		}
	case roleLength:
		if lengthOnly.MatchString(bare) || isoLength.MatchString(bare) || dated.MatchString(bare) {
			return s
		}
	case roleDate, rolePlain:
		if wholeDate(bare) {
			return m.days.move(s, m.collect)
		}
		if clockOnly.MatchString(strings.TrimPrefix(bare, "'")) || r == rolePlain && (fixedWords.MatchString(bare) || isoLength.MatchString(bare)) {
			return s
		}
	}
	return m.text(s)
}

// text masks every letter and digit.
func (m *mask) text(s string) string {
	if out, ok := m.known[s]; ok {
		return out
	}
	if m.collect {
		m.remember(s, s)
		eachToken(s, func(t string) bool {
			if len(m.tokens) < mostTokens {
				m.tokens[m.hash('t', t)] = struct{}{}
				if isShort(s) && !digits.MatchString(t) {
					m.brief[s] = struct{}{}
				}
			}
			return true
		})
		return s
	}
	self := m.hash('v', s)
	out := ""
	for nonce := range byte(64) {
		out = m.letters(s, nonce)
		is := m.hash('m', out)
		owner, used := m.taken[is]
		if used && owner != self {
			continue // two texts must not become one
		}
		if !m.isNew(out) {
			continue
		}
		if len(m.taken) < mostTokens {
			m.taken[is] = self
		}
		break
	}
	m.remember(s, out)
	return out
}

// chooseShift looks for a way to shift short texts by which none becomes a word
// of the file. Numbers are left out: where most of three digits are there, each
// becomes another one.
func (m *mask) chooseShift() {
	for m.shift = range 64 {
		clash := false
		for s := range m.brief {
			if clash = !m.isNew(m.letters(s, 0)); clash {
				break
			}
		}
		if !clash {
			return
		}
	}
}

// isNew tells that no word of a masked text is one of the file's.
func (m *mask) isNew(out string) bool {
	return eachToken(out, func(t string) bool {
		_, there := m.tokens[m.hash('t', t)]
		return !there
	})
}

func isShort(s string) bool { return utf8.RuneCountInString(s) <= 4 }

// remember spares masking what comes up often.
func (m *mask) remember(s, out string) {
	if len(m.known) < 1<<16 && len(s) < 256 {
		m.known[s] = out
	}
}

// eachToken calls f for every run of letters and digits of at least three, in
// small letters, until f returns false; it tells whether f never did.
func eachToken(s string, f func(string) bool) bool {
	for t := range strings.FieldsFuncSeq(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if utf8.RuneCountInString(t) >= 3 && !f(strings.ToLower(t)) {
			return false
		}
	}
	return true
}

func (m *mask) hash(kind byte, s string) uint64 {
	var h maphash.Hash
	h.SetSeed(m.seed)
	_ = h.WriteByte(kind) // never fails
	_, _ = h.WriteString(s)
	return h.Sum64()
}

// letters puts another letter or digit in the place of each, never the same.
// What is short is shifted by its places alone, so that no two short texts
// become one.
func (m *mask) letters(s string, nonce byte) string {
	seed := s
	if isShort(s) {
		seed, nonce = "", m.shift
	}
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte{'t', nonce})
	mac.Write([]byte(seed))
	stream := mac.Sum(nil)
	used := 0
	pick := func(c rune, from string) rune {
		if used == len(stream) {
			mac.Write(stream)
			stream, used = mac.Sum(nil), 0
		}
		by := int(stream[used])
		used++
		r := []rune(from)
		at := slices.Index(r, c)
		if at < 0 {
			return r[by%len(r)]
		}
		return r[(at+1+by%(len(r)-1))%len(r)]
	}
	letters := "abcdefghijklmnopqrstuvwxyz"
	if hexed.MatchString(s) {
		letters = "abcdef" // ids are recognized by it
	}
	power := scientific.MatchString(strings.TrimSpace(s))
	first := true
	return strings.Map(func(c rune) rune {
		number := c >= '0' && c <= '9'
		lead := number && first
		first = !number
		switch {
		case c < utf8.RuneSelf && !unicode.IsLetter(c) && !number, power && (c == 'e' || c == 'E'):
			return c
		case lead && c != '0':
			return pick(c, "123456789")
		case lead:
			return c // a zero in front says that there is padding
		case number:
			return pick(c, "0123456789")
		case c >= 'a' && c <= 'z':
			return pick(c, letters)
		case c < utf8.RuneSelf:
			return pick(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		case !unicode.IsLetter(c) && !unicode.IsNumber(c) && c < 0x2190, c == utf8.RuneError, unicode.In(c, unicode.Mn, unicode.Cf):
			return c // signs
		case c <= 0xff && unicode.IsUpper(c):
			return pick(c, "ÄÖÜÉÈÀ")
		case c <= 0xff:
			return pick(c, "äöüéèà")
		case m.narrow:
			return pick(c, "ŠŽŒšžœ")
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
