package source

import (
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/exampleco/tsupload/internal/rescue"
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
