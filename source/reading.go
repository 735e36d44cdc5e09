package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Reading is one opening of a Source: its files, held open, or its export,
// spooled. It is not for use by several goroutines.
type Reading struct {
	s        *Source
	units    []*unit
	notes    []string
	partial  bool // something there was not read, or may be cut off
	window   *timesheet.Window
	stamp    string // of an export over HTTP; empty where it cannot be asked for changes
	same     bool   // the server says that the export is what it was
	surveyed bool
	lenient  bool // an unknown header is no reason not to look at a workbook
}

// Close closes the files and removes what was spooled.
func (r *Reading) Close() error {
	var errs []error
	for _, u := range r.units {
		errs = append(errs, u.close())
	}
	r.units = nil
	return errors.Join(errs...)
}

// Stamp is a cheap sign of the same bytes: paths and sizes, or what the server of
// an export calls them. It is empty for what has none. When a file was written
// does not enter it: many trackers write the same export again every night.
func (r *Reading) Stamp() string {
	h := sha256.New()
	for _, u := range r.units {
		if u.spool {
			return r.stamp
		}
		fmt.Fprintf(h, "%q %d\n", u.f.Name(), u.stamp.size)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Fingerprint hashes all bytes and the way of reading them. Today is part of
// that way where a row of tomorrow is refused today.
func (r *Reading) Fingerprint(ctx context.Context) ([32]byte, error) {
	for _, u := range r.units {
		if u.hashed {
			continue
		}
		if err := r.prepare(ctx, u); err != nil {
			return [32]byte{}, r.s.place(u.name, err)
		}
		data, n := u.data()
		h := sha256.New()
		if _, err := io.CopyBuffer(h, ctxReader{ctx, io.NewSectionReader(data, 0, n)}, make([]byte, 256<<10)); err != nil {
			return [32]byte{}, r.s.place(u.name, err)
		}
		if err := u.changed(); err != nil {
			return [32]byte{}, r.s.place(u.name, err)
		}
		h.Sum(u.sum[:0])
		u.hashed = true
	}
	return r.fingerprint()
}

func (r *Reading) fingerprint() (sum [32]byte, err error) {
	way, err := r.s.way()
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	h.Write(way)
	for _, u := range r.units {
		var size [8]byte
		_, n := u.data()
		binary.BigEndian.PutUint64(size[:], uint64(n))
		h.Write(size[:])
		h.Write(u.sum[:])
	}
	h.Sum(sum[:0])
	return sum, nil
}

// wayVersion is raised when the same bytes come to be read differently.
const wayVersion = 4

// way encodes everything but the bytes that decides what rows become.
func (s *Source) way() ([]byte, error) {
	c := &s.cfg
	today := ""
	if c.Rules.Future == FutureReject {
		today = s.today().String()
	}
	return json.Marshal([]any{
		wayVersion, c.ID, c.Preset, c.Columns, c.User, c.UserType, c.Defaults, c.Location.String(), c.DateFormat, c.TimeFormat,
		c.DurationFormat, c.Decimal, c.Delimiter, c.Encoding, c.Records, c.Sheet, c.People, c.Projects, c.Rules, c.Limits, today,
	})
}

func (s *Source) today() timesheet.Day { return timesheet.DayOf(time.Now().In(s.cfg.Location)) }
