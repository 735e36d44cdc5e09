package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// headSize is how much of a file is looked at to tell what it is.
const headSize = 64 << 10

// The encodings by the names that people see and configure.
const (
	utf8Name    = "utf-8"
	utf16leName = "utf-16le"
	utf16beName = "utf-16be"
	cp1252Name  = "windows-1252"
)

// charset is how bytes become text.
type charset struct {
	name string
	bom  int    // length of the byte-order mark to leave out
	why  string // evidence
	auto bool   // found by us: UTF-8 may still turn out to be Windows-1252
}

const notUTF8 = "not valid UTF-8"

// sniff tells the encoding from the head of a file, or why the file is no CSV.
func sniff(head []byte, configured string) (charset, error) {
	for _, b := range []struct {
		mark string
		name string
	}{{"\xef\xbb\xbf", utf8Name}, {"\xff\xfe", utf16leName}, {"\xfe\xff", utf16beName}} {
		if bytes.HasPrefix(head, []byte(b.mark)) && (configured == "" || configured == b.name) {
			return charset{name: b.name, bom: len(b.mark), why: "byte-order mark"}, nil
		}
	}
	if configured != "" {
		return charset{name: configured, why: "csv.encoding"}, nil
	}
	if len(bytes.TrimSpace(head)) == 0 {
		return charset{}, &Error{Message: "the file is empty", HintText: "an export without entries still has a header; check the export"}
	}
	var zero [2]int
	even := head[:len(head)&^1]
	for i, c := range even {
		if c == 0 {
			zero[i&1]++
		}
	}
	// Latin text has a zero in every second byte and hardly one in the others.
	pairs := len(even) / 2
	switch {
	case pairs > 0 && zero[1] > pairs*2/5 && zero[0] <= pairs/20:
		return charset{name: utf16leName, why: "zero bytes"}, nil
	case pairs > 0 && zero[0] > pairs*2/5 && zero[1] <= pairs/20:
		return charset{name: utf16beName, why: "zero bytes"}, nil
	}
	// The header itself may have letters beyond ASCII.
	see := &watcher{}
	see.check(head)
	if see.broken && !see.wide {
		return charset{name: cp1252Name, why: notUTF8, auto: true}, nil
	}
	return charset{name: utf8Name, why: "valid throughout", auto: true}, nil
}

// foreign refuses what is recognizably no CSV.
func foreign(head []byte) error {
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("<")):
		return &Error{
			Message:  "this is HTML or XML, not CSV; it looks like a login page or an error page",
			HintText: "open the export in a browser, log in, and check what is downloaded",
		}
	case bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")), bytes.HasPrefix(head, []byte("ÐÏ\x11à")):
		return &Error{Message: "this is a spreadsheet of an old kind (XLS), or one with a password", HintText: "save it as XLSX or CSV, without a password"}
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return &Error{Message: "this is JSON with a byte-order mark, or not in UTF-8", HintText: "save it as UTF-8 without a byte-order mark"}
	}
	return nil
}

// decode turns the bytes of r, from which the byte-order mark is already gone,
// into UTF-8.
func (c charset) decode(r io.Reader) io.Reader {
	switch c.name {
	case utf16leName:
		return transform.NewReader(r, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder())
	case utf16beName:
		return transform.NewReader(r, unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder())
	case cp1252Name:
		return transform.NewReader(r, charmap.Windows1252.NewDecoder())
	}
	return r
}

// watcher sees the raw bytes go by: it hashes them, checks them for UTF-8, and
// stops at the limit.
type watcher struct {
	r     io.Reader
	limit int64
	sum   hash.Hash
	n     int64
	last  [2]byte // the last two bytes
	// wide: a valid multi-byte sequence was seen; broken: an invalid byte.
	wide, broken bool
	tail         []byte // an incomplete sequence at the end of the last read
}

func newWatcher(r io.Reader, limit int64) *watcher {
	return &watcher{r: r, limit: limit, sum: sha256.New()}
}

func (w *watcher) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	b := p[:n]
	w.n += int64(n)
	if w.n > w.limit {
		return 0, &Error{Message: fmt.Sprintf("the file is larger than %d bytes", w.limit), HintText: "split the export by month or by person"}
	}
	w.sum.Write(b)
	w.check(b)
	if n > 1 {
		w.last = [2]byte{b[n-2], b[n-1]}
	} else if n == 1 {
		w.last = [2]byte{w.last[1], b[0]}
	}
	if err == io.EOF && len(w.tail) > 0 {
		w.broken = true
	}
	return n, err
}

func (w *watcher) check(b []byte) {
	if w.wide && w.broken || len(w.tail) == 0 && ascii(b) {
		return
	}
	if len(w.tail) > 0 {
		b = append(w.tail, b...)
		w.tail = nil
	}
	if w.wide && utf8.Valid(b) {
		return
	}
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		switch {
		case r != utf8.RuneError || size > 1:
			w.wide = true
		case !utf8.FullRune(b):
			w.tail = append(w.tail, b...)
			return
		default:
			w.broken = true
		}
		b = b[size:]
	}
}

// ascii tells whether no byte of b has its top bit set.
func ascii(b []byte) bool {
	for len(b) >= 32 {
		x := binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:]) | binary.LittleEndian.Uint64(b[16:]) | binary.LittleEndian.Uint64(b[24:])
		if x&0x8080808080808080 != 0 {
			return false
		}
		b = b[32:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
