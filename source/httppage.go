package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// csvPage appends a page to the spool and its rows to sum. The header of later
// pages is left out; it must be the first page's. It returns 0 for a page
// without rows, else more: how many they are is for the survey to tell.
func (f *fetch) csvPage(r io.Reader, sum io.Writer) (rows int, err error) {
	buf := make([]byte, 64<<10)
	n, err := io.ReadFull(r, buf)
	if err != nil && !short(err) {
		return 0, err
	}
	buf = buf[:n]
	if f.header != nil {
		buf = bytes.TrimPrefix(buf, []byte("\xef\xbb\xbf"))
	}
	header, rest, found := bytes.Cut(buf, []byte("\n"))
	if len(bytes.TrimSpace(rest)) > 0 {
		rows = 1
	}
	_, _ = sum.Write(rest)
	if f.header == nil {
		f.header = bytes.Clone(bytes.TrimPrefix(header, []byte("\xef\xbb\xbf")))
		rest = buf
	} else if len(buf) > 0 && !bytes.Equal(bytes.TrimRight(header, "\r"), bytes.TrimRight(f.header, "\r")) {
		return 0, &Error{Message: "a later page has another header than the first", HintText: "check that all pages are of one export"}
	} else {
		if !found {
			rest = nil
		}
		if _, err := f.newline(); err != nil {
			return 0, err
		}
	}
	if _, err := f.spool.f.Write(rest); err != nil {
		return 0, err
	}
	more, err := io.Copy(io.MultiWriter(f.spool.f, sum), r)
	return rows + int(min(more, 1)), err
}

// newline ends the last row of the page before, where it did not itself.
func (f *fetch) newline() (int, error) {
	st, _, err := stampOf(f.spool.f)
	if err != nil {
		return 0, err
	}
	if ended, err := endsWithNewline(f.spool.f, st.size); err != nil || ended {
		return 0, err
	}
	return f.spool.f.WriteString("\n")
}

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Message: "the answer was cut off", HintText: "run again; nothing of it was used"}
	}
	var e *Error
	var path *os.PathError
	if errors.As(err, &e) || errors.As(err, &path) {
		return err
	}
	return &Error{Message: "reading the answer", HintText: "run again; nothing of it was used", Err: noURL(err)}
}

// An answer that comes more slowly than this, in bytes a second after a while,
// is no export under way: it would keep a run for as long as the time-out is.
const (
	slowest = 10
	awhile  = 30 * time.Second
)

// limited counts what comes, after decompression, against what may, and against
// the time that it takes to come.
type limited struct {
	r    io.Reader
	left *int64
	max  int64
	err  error

	got   int64
	began time.Time // when the first of it was there: until then the server may think
}

func (l *limited) Read(p []byte) (int, error) {
	// What is slow so far may have been late only, and be at its end with this.
	slow := l.got > 0 && time.Since(l.began) > awhile && float64(l.got) < slowest*time.Since(l.began).Seconds()
	n, err := l.r.Read(p)
	if l.got == 0 {
		l.began = time.Now()
	}
	l.got += int64(n)
	if slow && err == nil {
		n, err = 0, &Error{Message: fmt.Sprintf("the answer trickles in: %d bytes in %s", l.got, time.Since(l.began).Round(time.Second)), HintText: "see what is wrong with the server or the way to it; nothing of it was used"}
	}
	if *l.left -= int64(n); *l.left < 0 {
		n, err = 0, &Error{Message: fmt.Sprintf("the export is larger than %d bytes", l.max), HintText: "ask for a shorter time with http.since, or raise http.max_bytes"}
	}
	if err != nil {
		l.err = err
	}
	return n, err
}

// failed tells that the answer did not come to its proper end.
func (l *limited) failed() bool { return l.err != nil && !errors.Is(l.err, io.EOF) }

// short tells that io.ReadFull met the end, which is no fault of a short answer.
func short(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// linkNext is the target of the Link header with rel=next (RFC 8288).
func linkNext(h http.Header) string {
	for _, value := range h.Values("Link") {
		for value != "" {
			_, rest, ok := strings.Cut(value, "<")
			if !ok {
				break
			}
			target, params, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			value = ""
			if i := strings.Index(params, ",<"); i >= 0 {
				params, value = params[:i], params[i:]
			} else if i := strings.Index(params, ", <"); i >= 0 {
				params, value = params[:i], params[i:]
			}
			for param := range strings.SplitSeq(params, ";") {
				k, v, _ := strings.Cut(strings.TrimSpace(param), "=")
				if !strings.EqualFold(k, "rel") {
					continue
				}
				for rel := range strings.FieldsSeq(strings.Trim(v, `"`)) {
					if strings.EqualFold(rel, "next") {
						return target
					}
				}
			}
		}
	}
	return ""
}
