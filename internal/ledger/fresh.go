package ledger

import (
	"encoding/binary"
	"errors"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// fresh is an entry that a plan adds: all that is kept of it in memory, in 37
// bytes, because there is one for every new row of a read.
type fresh struct {
	key    timesheet.Packed
	digest [8]byte // the short Digest; of 64 bits, but a uint64 would leave a gap
	where  [8]byte // see at
	when   [5]byte // see seconds
}

// How many bits each part of a fresh record has.
const (
	traitBits  = 4
	personBits = 21
	posBits    = 11 // maxParcel
	parcelBits = 28 // counted from the plan's first
	startBits  = 17 // a day has 86,400 seconds
)

var errTooMuch = errors.New("one read has more people or entries than a plan can hold; split the export")

// traits of a fresh entry.
type traits uint8

const (
	trusted  traits = 1 << iota // it has an id of the tracker's
	conflict                    // another row of the read has the same id and another content
	renewed                     // it was known before, and has its place in the index
	notNew                      // it is held, or assumed sent
)

func (f *fresh) is(one traits) bool { return f.where[0]&byte(one) != 0 }
func (f *fresh) mark(as traits)     { f.where[0] |= byte(as) }

// put places the entry: parcel counts from the plan's first.
func (f *fresh) put(person uint32, parcel int64, pos int) error {
	if person >= 1<<personBits || parcel < 0 || parcel >= 1<<parcelBits || pos >= 1<<posBits {
		return errTooMuch
	}
	w := uint64(parcel)<<(traitBits+personBits+posBits) | uint64(pos)<<(traitBits+personBits) | uint64(person)<<traitBits
	binary.LittleEndian.PutUint64(f.where[:], w)
	return nil
}

func (f *fresh) person() uint32 {
	return uint32(binary.LittleEndian.Uint64(f.where[:])>>traitBits) & (1<<personBits - 1)
}

// at is where the entry lies: in which parcel, counted from the plan's first,
// and where in it. It grows with the order in which entries were added.
func (f *fresh) at() (parcel int64, pos int) {
	w := binary.LittleEndian.Uint64(f.where[:]) >> (traitBits + personBits)
	return int64(w >> posBits), int(w & (1<<posBits - 1))
}

// last sets duration and time of day; start is in seconds, -1 without one.
func (f *fresh) last(d timesheet.Seconds, start int) {
	const most = 1<<(8*len(f.when)-startBits) - 1 // 97 days
	w := uint64(min(max(d, 0), most))<<startBits | uint64(start+1)
	for i := range f.when {
		f.when[i] = byte(w >> (8 * i))
	}
}

func (f *fresh) times() (d timesheet.Seconds, start int) {
	var w uint64
	for i, b := range f.when {
		w |= uint64(b) << (8 * i)
	}
	return timesheet.Seconds(w >> startBits), int(w&(1<<startBits-1)) - 1
}
