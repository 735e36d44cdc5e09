package source

import (
	"encoding/binary"
	"math/bits"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// seen tells equal rows of one file apart and repeated ids from new ones, in
// eleven bytes a row: an open-addressing table of 64-bit words, three quarters
// full when all rows that the survey counted are in it.
//
// Where a row goes is decided by other bits of its hash than the ones that are
// stored, so that two rows are taken for one with a chance below 2^-60 a pair.
type seen struct {
	slots   []uint64
	repeats map[uint64]int // occurrences of what was seen more than once
}

func newSeen(rows int) *seen {
	return &seen{slots: make([]uint64, rows+rows/3+8), repeats: map[uint64]int{}}
}

// slot finds the place of word: where it stands under mask, or a free one.
func (s *seen) slot(hash, word, mask uint64) *uint64 {
	i, _ := bits.Mul64(hash, uint64(len(s.slots)))
	for {
		p := &s.slots[i]
		if *p == 0 || (*p^word)&mask == 0 {
			return p
		}
		if i++; i == uint64(len(s.slots)) {
			i = 0
		}
	}
}

// occurrence counts, from 1, how often a row of this content was seen.
func (s *seen) occurrence(d *timesheet.Digest) int {
	hash, word := binary.LittleEndian.Uint64(d[8:]), binary.LittleEndian.Uint64(d[16:])|1
	p := s.slot(hash, word, ^uint64(0))
	if *p == 0 {
		*p = word
		return 1
	}
	s.repeats[hash^word] = max(s.repeats[hash^word], 1) + 1
	return s.repeats[hash^word]
}

// The verdicts of seen.id.
const (
	idNew = iota
	idSame
	idOther
)

// id notes an id and its content: 40 bits of one, 24 of the other. It tells
// whether the id is new, or came before with the same or with other content.
func (s *seen) id(k *timesheet.Key, d *timesheet.Digest) int {
	const content = 1<<24 - 1
	hash := binary.LittleEndian.Uint64(k[12:])
	word := (binary.LittleEndian.Uint64(k[20:])|1<<24)&^content | binary.LittleEndian.Uint64(d[:])&content
	p := s.slot(hash, word, ^uint64(content))
	switch *p {
	case 0:
		*p = word
		return idNew
	case word:
		return idSame
	default:
		return idOther
	}
}
