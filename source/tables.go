package source

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// below tells of the records of a file, in their order, which of them stand in a
// second table of sums.
type below struct {
	sums    []string // its header; nil where there is none
	delim   byte
	reached bool
}

func (t *table) below() below {
	if t.lay.preset == nil {
		return below{}
	}
	return below{sums: t.lay.preset.sums, delim: t.delim}
}

func (b *below) has(rec *frame) bool {
	if b.sums != nil && !b.reached {
		cells := foldAll(rec.fields(b.delim))
		for len(cells) > 0 && cells[len(cells)-1] == "" {
			cells = cells[:len(cells)-1] // a sheet is as wide as its first table
		}
		b.reached = slices.Equal(cells, b.sums)
	}
	return b.reached
}

// headings are the words that stand in headers: what a row of nothing else is.
// Two tables in one file, or one export appended to another, show in such a
// row, and nothing tells what the rows behind it mean.
type headings struct {
	words map[string]bool
	most  int // bytes of a cell that may be one
	// lengths has, for each first byte of a word, a bit for every length that such
	// words have: most cells need no other look.
	lengths [256]uint64
	used    []bool
	least   int // cells that make a row a header
}

func (l *layout) headings(t *table) *headings {
	h := &headings{words: map[string]bool{}, used: make([]bool, len(t.header)), least: 3}
	for f := range fieldRefused {
		for _, words := range [][]string{{f.name()}, f.aliases(), l.wanted[f]} {
			for _, w := range words {
				h.words[w] = true
			}
		}
	}
	for _, w := range t.header {
		h.words[bare(w)] = true
	}
	delete(h.words, "")
	for w := range h.words {
		h.most = max(h.most, len(w))
		if c := core([]byte(w)); len(c) > 0 {
			h.lengths[c[0]] |= 1 << min(len(c), 63)
		}
	}
	// Quotation marks, and the byte-order mark of a file that was appended.
	h.most += len(`""`) + len("\ufeff")
	used := 0
	for _, i := range t.at {
		if i >= 0 {
			h.used[i] = true
			used++
		}
	}
	// A table can be as narrow as a date and hours; the date must be a word then.
	h.least = min(h.least, used)
	return h
}

// match tells whether all used cells of a row are words of headers. A bad row
// can be one too: a byte-order mark in front of a quotation mark makes it bad.
func (h *headings) match(rec *frame, delim byte) bool {
	cells := 0
	for i, pos := 0, 0; pos >= 0 && i < len(h.used); i++ {
		var raw []byte
		raw, pos = rec.field(delim, pos)
		if !h.used[i] {
			continue
		}
		if len(raw) > h.most {
			return false
		}
		if h.words[string(raw)] {
			cells++
			continue
		}
		if h.strange(raw) {
			return false
		}
		if word := bare(string(raw)); h.words[word] {
			cells++
		} else if word != "" {
			return false
		}
	}
	return cells >= h.least
}

// bare is a cell as it is compared with the words of headers.
func bare(cell string) string { return fold(strings.Trim(fold(cell), `"`)) }

// strange tells of a cell that it is not blank and surely no word of headers. It
// is cheap, and may miss some.
func (h *headings) strange(cell []byte) bool {
	cell = core(cell)
	if len(cell) == 0 {
		return false
	}
	for _, c := range cell {
		if c >= utf8.RuneSelf {
			return false // lower case and space are more than bytes there
		}
	}
	first := cell[0]
	if 'A' <= first && first <= 'Z' {
		first += 'a' - 'A'
	}
	return h.lengths[first]&(1<<min(len(cell), 63)) == 0
}

// core is a cell without the space and the quotation marks around it.
func core(cell []byte) []byte {
	edge := func(c byte) bool { return c == '"' || c <= ' ' }
	for len(cell) > 0 && edge(cell[0]) {
		cell = cell[1:]
	}
	for len(cell) > 0 && edge(cell[len(cell)-1]) {
		cell = cell[:len(cell)-1]
	}
	return cell
}
