package source

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/gocarina/gocsv"
)

// record is a row as gocsv hands it over: text only, because gocsv's own
// numbers take an empty cell for 0 and "1,234" for 1.234. The tags are the
// names of the fields, under which our reader presents the columns.
type record struct {
	User     string `csv:"user"`
	UserType string `csv:"user_type"`
	Date     string `csv:"date"`
	Start    string `csv:"start"`
	End      string `csv:"end"`
	EndDate  string `csv:"end_date"`
	Duration string `csv:"duration"`
	Hours    string `csv:"hours"`
	Project  string `csv:"project"`
	Task     string `csv:"task"`
	Notes    string `csv:"notes"`
	ID       string `csv:"id"`
	Refused  string `csv:"refused"`
	Surname  string `csv:"surname"`
	Kind     string `csv:"kind"`
}

// decoder lets gocsv decode records, one at a time.
type decoder struct {
	t    *table
	feed feed
	buf  *bufio.Reader
	um   *gocsv.Unmarshaller
}

// feed hands out the bytes of one record and then ends, so that gocsv can never
// be at another record than the framer, which knows where each one begins.
type feed struct{ data []byte }

func (f *feed) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

func newDecoder(t *table) (*decoder, error) {
	d := &decoder{t: t}
	// encoding/csv uses a bufio.Reader as it is, so it can be emptied from here.
	d.buf = bufio.NewReaderSize(&d.feed, 16<<10)
	cr := csv.NewReader(d.buf)
	cr.Comma = rune(t.delim)
	cr.ReuseRecord = true
	cr.FieldsPerRecord = len(t.header)
	// The header that gocsv sees names the fields, and leaves out what is not used.
	names := make([]string, len(t.header))
	for i := range names {
		names[i] = "_" + strconv.Itoa(i)
	}
	for f, i := range t.at {
		if i >= 0 {
			names[i] = field(f).name()
		}
	}
	d.feed.data = []byte(strings.Join(names, string(rune(t.delim))) + "\n")
	var err error
	if d.um, err = gocsv.NewUnmarshaller(cr, &record{}); err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	for _, lost := range d.um.MismatchedStructFields {
		for f, i := range t.at {
			if i >= 0 && field(f).name() == lost {
				return nil, fmt.Errorf("csv: column %s was not taken", lost)
			}
		}
	}
	return d, nil
}

// decode gives the record of a frame, or says why there is none.
func (d *decoder) decode(fr *frame) (rec *record, bad string) {
	if fr.bad != "" {
		return nil, fr.bad
	}
	d.feed.data = fr.data
	v, err := d.um.Read()
	if err == nil && d.buf.Buffered() == 0 {
		if rec, ok := v.(*record); ok {
			return rec, ""
		}
	}
	d.buf.Reset(&d.feed)
	d.feed.data = nil
	if errors.Is(err, csv.ErrFieldCount) {
		n := len(fr.fields(d.t.delim))
		return nil, fmt.Sprintf("the row has %s, the header has %d", plural(n, "value", "values"), len(d.t.header))
	}
	return nil, "the row cannot be parsed"
}
