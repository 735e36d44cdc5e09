package ledger

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Entries lie in a parcel as two byte strings, each a plain sequence of
// length-prefixed values in a fixed order: facts, which stay for good, and
// the rest, which goes once the entry is settled: notes are nobody's business
// longer than needed. The formats carry a version so that they can grow.
const codecVersion = 1

var errCodec = errors.New("entries in the ledger cannot be decoded")

// A record is what names an entry and tells its content from another: sixteen
// bytes of key, eight of the Digest.
const (
	keySize    = len(timesheet.Packed{})
	recordSize = keySize + 8
)

// packer gathers the entries of one parcel.
type packer struct {
	records, facts, rest []byte
	rounding             []byte
	n                    int
	seconds              timesheet.Seconds
	file                 string
}

func (p *packer) add(key timesheet.Packed, digest uint64, e *timesheet.Entry) {
	if p.n == 0 {
		p.facts, p.rest = append(p.facts, codecVersion), append(p.rest, codecVersion)
	}
	p.records = binary.BigEndian.AppendUint64(append(p.records, key[:]...), digest)
	b := p.facts
	b = putString(b, e.Person)
	b = putString(b, e.Project)
	b = binary.AppendVarint(b, int64(e.Duration))
	b = binary.AppendVarint(b, int64(e.Day))
	b = binary.AppendUvarint(b, e.Origin.Place())
	if e.Origin.File == p.file && p.n > 0 {
		b = append(b, 0) // as before; a file name is never empty
	} else {
		b = putString(b, e.Origin.File)
		p.file = e.Origin.File
	}
	p.facts = putString(b, e.ID)
	b = p.rest
	b = putString(b, e.UserType)
	b = putString(b, e.Task)
	b = putString(b, e.Notes)
	b = putTime(b, e.Start)
	p.rest = putTime(b, e.End)
	if e.Rounding != 0 {
		p.rounding = putRounding(p.rounding, p.n, e.Rounding)
	}
	p.n++
	p.seconds += e.Duration
}

func putString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// putTime writes seconds since 1970 and the offset from UTC; zero is two zeros.
func putTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0, 0)
	}
	_, offset := t.Zone()
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendVarint(b, int64(offset)+1<<20) // never 0 for a time that is set
}

// unpacker reads what a packer wrote. The first fault sticks. It works on a
// string, so that the strings of an entry are parts of it and cost nothing.
type unpacker struct {
	s   string
	bad bool
}

func (u *unpacker) fail() {
	u.bad, u.s = true, ""
}

func (u *unpacker) uvarint() (v uint64) {
	for i := 0; i < len(u.s) && i < binary.MaxVarintLen64; i++ {
		c := u.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.s = u.s[i+1:]
			return v
		}
	}
	u.fail()
	return 0
}

func (u *unpacker) varint() int64 {
	v := u.uvarint()
	return int64(v>>1) ^ -int64(v&1) // zigzag, as encoding/binary has it
}

func (u *unpacker) text() string {
	n := u.uvarint()
	if n > uint64(len(u.s)) {
		u.fail()
		return ""
	}
	s := u.s[:n]
	u.s = u.s[n:]
	return s
}

func (u *unpacker) time() time.Time {
	sec, offset := u.varint(), u.varint()
	if offset == 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0).In(time.FixedZone("", int(offset-1<<20)))
}

func (u *unpacker) version() {
	if len(u.s) == 0 || u.s[0] != codecVersion {
		u.fail()
		return
	}
	u.s = u.s[1:]
}

// eachFact calls each with the facts of every entry in turn.
func eachFact(facts []byte, n int, each func(i int, person, project, file, id string, place uint64, day timesheet.Day, s timesheet.Seconds)) error {
	u := unpacker{s: string(facts)}
	u.version()
	file := ""
	for i := range n {
		person, project := u.text(), u.text()
		s, day, place := u.varint(), u.varint(), u.uvarint()
		if f := u.text(); f != "" {
			file = f
		}
		id := u.text()
		if u.bad {
			return errCodec
		}
		each(i, person, project, file, id, place, timesheet.Day(day), timesheet.Seconds(s))
	}
	return nil
}

// unpack decodes n entries; rest is nil once they are settled.
func unpack(source string, records, facts, rest []byte, n int) ([]timesheet.Packed, []timesheet.Entry, error) {
	if len(records) != n*recordSize {
		return nil, nil, errCodec
	}
	packed := make([]timesheet.Packed, n)
	for i := range packed {
		copy(packed[i][:], records[i*recordSize:])
	}
	entries := make([]timesheet.Entry, n)
	err := eachFact(facts, n, func(i int, person, project, file, id string, place uint64, day timesheet.Day, s timesheet.Seconds) {
		e := &entries[i]
		e.Origin.Source, e.Origin.File = source, file
		e.Origin.SetPlace(place)
		e.ID, e.Person, e.Project, e.Day, e.Duration = id, person, project, day, s
	})
	if err != nil || rest == nil {
		return packed, entries, err
	}
	u := unpacker{s: string(rest)}
	u.version()
	for i := range entries {
		e := &entries[i]
		e.UserType, e.Task, e.Notes = u.text(), u.text(), u.text()
		e.Start, e.End = u.time(), u.time()
	}
	if u.bad {
		return nil, nil, errCodec
	}
	return packed, entries, nil
}

// putPosition appends a position.
func putPosition(b []byte, pos int) []byte { return binary.BigEndian.AppendUint16(b, uint16(pos)) }

// getPositions reads positions, two bytes each: a parcel has at most maxParcel
// entries.
func getPositions(b []byte, n int) []bool {
	gone := make([]bool, n)
	for ; len(b) >= 2; b = b[2:] {
		if i := int(binary.BigEndian.Uint16(b)); i < n {
			gone[i] = true
		}
	}
	return gone
}
