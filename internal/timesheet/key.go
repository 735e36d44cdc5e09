package timesheet

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// keyVersion is hashed into every Key and Digest. Raising it makes every row
// of every source look new, so it is raised only together with a migration.
const keyVersion = 1

// Key is the stable identity of an Entry; it is what makes sending twice safe.
//
// With a trusted id: SHA-256 over version, source id and the tracker's id.
// Without: SHA-256 over version, source id, Digest and the number of this row
// among equal rows of one read, because people do log the same thing twice.
// Every value is length-prefixed, so that no two lists of values encode alike.
type Key [sha256.Size]byte

// Digest is the hash of an Entry's values as read. The same Key with another
// Digest is an amendment.
type Digest [sha256.Size]byte

// Packed is a Key as the ledger stores it: four bytes of day at first sight,
// big-endian with the sign flipped so that bytes sort as days do, and the
// first twelve bytes of the Key.
type Packed [16]byte

// Values are the values of a row as read, before zone, mapping, defaults and
// rounding: only what the contractor wrote decides what an entry is.
type Values struct {
	Person  string
	Date    string // wall date, YYYY-MM-DD
	Start   string // wall time, HH:MM:SS, or empty
	End     string
	Seconds Seconds
	Project string
	Task    string
	Notes   string
}

// Hasher computes Keys and Digests without allocating. The zero value is
// ready; it must not be shared between goroutines.
type Hasher struct{ buf []byte }

// Digest hashes v.
func (h *Hasher) Digest(v *Values) Digest {
	b := append(h.buf[:0], 'd', keyVersion)
	b = appendString(b, v.Person)
	b = appendString(b, v.Date)
	b = appendString(b, v.Start)
	b = appendString(b, v.End)
	b = binary.AppendVarint(b, int64(v.Seconds))
	b = appendString(b, v.Project)
	b = appendString(b, v.Task)
	b = appendString(b, v.Notes)
	h.buf = b
	return sha256.Sum256(b)
}

// IDKey is the Key of a row whose tracker gives it an id that can be trusted.
func (h *Hasher) IDKey(source, id string) Key {
	b := append(h.buf[:0], 'i', keyVersion)
	b = appendString(b, source)
	b = appendString(b, id)
	h.buf = b
	return sha256.Sum256(b)
}

// ContentKey is the Key of a row without an id; occurrence counts equal rows
// of one read from 1.
func (h *Hasher) ContentKey(source string, d Digest, occurrence int) Key {
	b := append(h.buf[:0], 'c', keyVersion)
	b = appendString(b, source)
	b = append(b, d[:]...)
	b = binary.AppendUvarint(b, uint64(occurrence))
	h.buf = b
	return sha256.Sum256(b)
}

// RowKey is the identity of a row that could not be read as an Entry: its
// fields as they stand.
func (h *Hasher) RowKey(source string, record []string, occurrence int) Key {
	b := append(h.buf[:0], 'r', keyVersion)
	b = appendString(b, source)
	b = binary.AppendUvarint(b, uint64(len(record)))
	for _, f := range record {
		b = appendString(b, f)
	}
	b = binary.AppendUvarint(b, uint64(occurrence))
	h.buf = b
	return sha256.Sum256(b)
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Short is the first eight bytes of d, enough to see that content changed.
func (d Digest) Short() uint64 { return binary.BigEndian.Uint64(d[:8]) }

// Packed joins the key with the day on which its entry was first seen.
func (k Key) Packed(day Day) (p Packed) {
	binary.BigEndian.PutUint32(p[:4], uint32(day)^1<<31)
	copy(p[4:], k[:12])
	return p
}

// A row over midnight may be planned in parts, one a day. The first has the
// row's own Key, so that splitting makes no row a new one; the others have keys
// that follow from it, and lead back to it: the bytes that the ledger stores,
// turned by one and crossed with a constant.
const partMask = 0xa5

func nextPart(to, from []byte) {
	for i := range to {
		to[i] = from[(i+1)%len(from)] ^ partMask
	}
}

// Next is the Key of the part of a row that follows the one with k.
func (k Key) Next() Key {
	next := k
	nextPart(next[:12], k[:12])
	return next
}

// Next is what the part of a row that follows on the next day has.
func (p Packed) Next() Packed {
	next := Key{}.Packed(p.Day() + 1)
	nextPart(next[4:], p[4:])
	return next
}

// Prev is what the part of a row before has, if p is of a later part.
func (p Packed) Prev() Packed {
	prev := Key{}.Packed(p.Day() - 1)
	for i := range 12 {
		prev[4+(i+1)%12] = p[4+i] ^ partMask
	}
	return prev
}

// Day is the day with which p was packed.
func (p Packed) Day() Day { return Day(binary.BigEndian.Uint32(p[:4]) ^ 1<<31) }

// ID is p without its day: what two rows of one id have in common, whatever
// their dates.
func (p Packed) ID() [12]byte { return [12]byte(p[4:]) }

// refEncoding has no padding and no letters that people mix up with digits.
var refEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// refBytes of the Key in a Ref: 50 bits within one day.
const refLen = 10

// Ref is the short name of an entry in reports and on the command line: its
// day and the head of its key, such as "2026-11-16/4k2m9x07qd".
func Ref(p Packed) string {
	return p.Day().String() + "/" + refEncoding.EncodeToString(p[4:])[:refLen]
}

// ErrBadRef is returned for a text that cannot be a Ref.
var ErrBadRef = errors.New("not a reference such as 2026-11-16/4k2m9x07qd")

// ParseRef returns the smallest and the largest Packed that a Ref, or its
// head, can stand for.
func ParseRef(s string) (low, high Packed, err error) {
	date, head, found := strings.Cut(s, "/")
	day, err := ParseDay(date)
	if err != nil || !found || head == "" || len(head) > 20 {
		return low, high, fmt.Errorf("%q: %w", s, ErrBadRef)
	}
	const digits = 20 // base32 digits of twelve bytes, the last one short of a bit
	lo := head + strings.Repeat("0", digits-len(head))
	hi := head + strings.Repeat("z", digits-len(head))
	l, err1 := refEncoding.DecodeString(lo)
	h, err2 := refEncoding.DecodeString(hi)
	if err1 != nil || err2 != nil {
		return low, high, fmt.Errorf("%q: %w", s, ErrBadRef)
	}
	low, high = Key{}.Packed(day), Key{}.Packed(day)
	copy(low[4:], l)
	copy(high[4:], h)
	return low, high, nil
}
