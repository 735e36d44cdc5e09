package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// headerSearch is how many records from the top may be looked at for a header.
const headerSearch = 10

// findHeader looks for the header in the first bytes of a file (decoded), with
// each delimiter in turn, behind at most a few lines of preamble.
func (l *layout) findHeader(head []byte, lim *Limits) (*table, error) {
	if l.preset != nil {
		return l.findMarked(head, lim)
	}
	best, bestFound := (*table)(nil), 0
	var bestErr, firstErr error
	candidates := []byte(delimiters)
	if l.delim != 0 {
		candidates = []byte{l.delim}
	}
	for _, delim := range candidates {
		// A head cut off inside a record looks unterminated; that is told from the
		// real thing later, over the whole file.
		fr := frameBytes(head, delim, lim)
		var rec frame
		for range headerSearch {
			if err := fr.next(&rec); err != nil {
				if !errors.Is(err, io.EOF) && firstErr == nil {
					firstErr = err
				}
				break
			}
			if rec.bad != "" && !rec.cr {
				continue
			}
			t := newTable(l, delim, &rec)
			var found int
			var err error
			t.at, found, err = l.match(t.header)
			t.found = found
			if rec.cr {
				// Data rows are judged later, one by one; a header on the same line as
				// them says that all lines are like that.
				cr := loneCR(rec.line)
				if found > 0 && best == nil {
					return nil, cr
				}
				if firstErr == nil {
					firstErr = cr
				}
				continue
			}
			if err == nil {
				if lack, near := l.complete(&t.at); lack != "" {
					err = l.lacks(t, lack, near)
				}
			} else {
				err = &Error{Line: t.line, Message: err.Error(), HintText: "rename one of the two, or leave one out of the export"}
			}
			if found > 0 && err == nil && (best == nil || bestErr != nil || found > bestFound) {
				best, bestFound, bestErr = t, found, nil
				break
			}
			if found > bestFound && (best == nil || bestErr != nil) {
				best, bestFound, bestErr = t, found, err
			}
		}
	}
	switch {
	case best != nil && bestErr == nil:
		return best, nil
	case best != nil:
		return nil, bestErr
	case firstErr != nil && len(head) < headSize:
		return nil, firstErr
	}
	// Nothing is like a header: the first line is shown as what stands there.
	fr := frameBytes(head, ',', lim)
	var rec frame
	if err := fr.next(&rec); err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return nil, err
		}
		return nil, &Error{Message: "the file is empty", HintText: "an export without entries still has a header; check the export"}
	}
	t := &table{delim: ',', line: rec.line, header: rec.fields(',')}
	none := [fieldCount]int{}
	for f := range none {
		none[f] = -1
	}
	lack, near := l.complete(&none)
	return nil, l.lacks(t, lack, near)
}

// newTable is a table whose header could be rec.
func newTable(l *layout, delim byte, rec *frame) *table {
	t := &table{lay: l, delim: delim, line: rec.line, header: rec.fields(delim), quoted: rec.quoted && rec.bad == "", crlf: bytes.HasSuffix(rec.data, []byte("\r\n"))}
	for pos := 0; pos >= 0 && t.quoted; {
		var raw []byte
		raw, pos = rec.field(delim, pos)
		t.quoted = len(raw) > 1 && raw[0] == '"'
	}
	return t
}

// lacks is the error of a header without a required column; it names the
// header nearest to the one that is wanted.
func (l *layout) lacks(t *table, lack, want string) error {
	near, dist := "", 4
	for _, h := range t.header {
		if d := distance(fold(h), want); want != "" && d < dist && d < max(len(want)-1, 2) {
			near, dist = strings.TrimSpace(h), d
		}
	}
	shown := make([]string, 0, 12)
	for _, h := range t.header {
		if h == refusedHeader {
			continue
		}
		if len(shown) == 12 {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, quote(strings.TrimSpace(h)))
	}
	hint := "the header is " + strings.Join(shown, ", ") + "; map its columns with the columns key"
	if near != "" {
		hint = fmt.Sprintf("did the export rename it? the nearest header is %s; map it with the columns key", quote(near))
	}
	return &Error{Line: t.line, Message: lack, HintText: hint}
}

// distance is the Levenshtein distance of two short strings.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func loneCR(line int) *Error {
	return &Error{
		Line: line, Message: "the lines end in CR alone",
		HintText: "save the file with LF or CRLF line ends (in a spreadsheet: \"CSV UTF-8\", not \"CSV Macintosh\")",
	}
}
