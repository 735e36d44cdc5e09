package source

import (
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// Decoding is most of the work of a pass, and rows do not depend on one
// another in it; so it is shared among the processors, in batches that are put
// back into order before anybody looks at them.
const (
	batchRows  = 256
	batchBytes = 256 << 10
	maxWorkers = 4
)

// batch is a run of records on its way from the framer to the converter.
type batch struct {
	data   []byte
	frames []frame
	ends   []int // of each frame in data
	recs   []*record
	bad    []string
	err    error // after the last frame: io.EOF or worse
	fault  error // of decoding; nothing of the batch counts then
	ready  chan struct{}
}

// fill takes the next records behind the header from the framer.
func (b *batch) fill(fr *framer, header int) {
	b.data, b.frames, b.ends, b.err = b.data[:0], b.frames[:0], b.ends[:0], nil
	var f frame
	for len(b.frames) < batchRows && len(b.data) < batchBytes {
		if b.err = fr.next(&f); b.err != nil {
			break
		}
		if f.line <= header {
			continue
		}
		b.data = append(b.data, f.data...)
		b.frames, b.ends = append(b.frames, f), append(b.ends, len(b.data))
	}
	// Only now does data stay where it is.
	start := 0
	for i, end := range b.ends {
		b.frames[i].data = b.data[start:end]
		start = end
	}
}

func (b *batch) decode(d *decoder) {
	b.recs, b.bad = b.recs[:0], b.bad[:0]
	for i := range b.frames {
		rec, bad := d.decode(&b.frames[i])
		b.recs, b.bad = append(b.recs, rec), append(b.bad, bad)
	}
}

// decodeAll calls each for every data record of r, in order, on the caller's
// goroutine. What each is given is valid until it returns. When decodeAll
// returns, nothing that it started is left.
func decodeAll(r io.Reader, t *table, lim *Limits, each func(rec *record, why string, fr *frame) error) error {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	decoders := make([]*decoder, workers)
	for i := range decoders {
		var err error
		if decoders[i], err = newDecoder(t); err != nil {
			return err
		}
	}
	// The number of batches bounds both memory and how far reading runs ahead; as
	// there is room for all of them in every channel, only free makes anybody wait.
	batches := 2*workers + 1
	free, work, order := make(chan *batch, batches), make(chan *batch, batches), make(chan *batch, batches)
	for range batches {
		free <- &batch{ready: make(chan struct{}, 1)}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		defer close(work)
		defer close(order)
		framer := newFramer(r, t.delim, lim, nil)
		for {
			select {
			case <-stop:
				return
			case b := <-free:
				if err := rescue.Do(func() error { b.fill(framer, t.line); return nil }); err != nil {
					b.frames, b.ends, b.err = nil, nil, err
				}
				order <- b
				work <- b
				if b.err != nil {
					return
				}
			}
		}
	})
	for _, d := range decoders {
		wg.Go(func() {
			for b := range work {
				b.fault = rescue.Do(func() error { b.decode(d); return nil })
				b.ready <- struct{}{}
			}
		})
	}
	for b := range order {
		<-b.ready
		if b.fault != nil {
			return b.fault
		}
		for i := range b.frames {
			if err := each(b.recs[i], b.bad[i], &b.frames[i]); err != nil {
				return err
			}
		}
		if errors.Is(b.err, io.EOF) {
			return nil
		}
		if b.err != nil {
			return b.err
		}
		free <- b
	}
	return nil
}

// heldRow is a row on its way to the caller; which of the three it is, row says.
type heldRow struct {
	row       timesheet.Row
	entry     timesheet.Entry
	rejection timesheet.Rejection
	skipped   timesheet.Skipped
}

// hold copies row: what it points to, but for Parts, is used again once it has
// been handed over.
func (h *heldRow) hold(row *timesheet.Row) {
	h.row = timesheet.Row{}
	switch {
	case row.Entry != nil:
		h.entry = *row.Entry
		h.row.Entry, h.row.Parts = &h.entry, row.Parts
	case row.Rejection != nil:
		h.rejection = *row.Rejection
		h.row.Rejection = &h.rejection
	default:
		h.skipped = *row.Skipped
		h.row.Skipped = &h.skipped
	}
}

var errNoMore = errors.New("no more rows are wanted")

// ahead lets the rows that produce makes be checked beside the work that take
// does with those before: produce has a goroutine of its own, take the caller's.
// An error of take ends both and is returned. Nothing that ahead started is left
// when it returns.
func ahead(produce func(next func(*timesheet.Row) error) error, take func(*timesheet.Row) error) error {
	const groups = 3
	free, full := make(chan []heldRow, groups), make(chan []heldRow, groups)
	for range groups {
		free <- make([]heldRow, 0, batchRows)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var produced error // of produce; read when it has ended
	wg.Go(func() {
		defer close(full)
		produced = rescue.Do(func() error {
			group := <-free
			err := produce(func(row *timesheet.Row) error {
				group = group[:len(group)+1]
				group[len(group)-1].hold(row)
				if len(group) < cap(group) {
					return nil
				}
				full <- group // there is room for all groups
				select {
				case group = <-free:
					return nil
				case <-stop:
					return errNoMore
				}
			})
			if err == nil {
				full <- group
			}
			return err
		})
	})
	defer wg.Wait()
	defer close(stop)
	for group := range full {
		for i := range group {
			if err := take(&group[i].row); err != nil {
				return err
			}
		}
		free <- group[:0]
	}
	return produced
}
