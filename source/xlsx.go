package source

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Workbooks are read by ourselves, cell by cell: what a number in a cell means,
// decimal hours or a fraction of a day, only the cell's number format tells,
// and libraries give the one, or the other, or hold the whole sheet in memory.

const (
	xlsxPart    = 64 << 20 // bytes of one part of a workbook, unpacked
	xlsxFile    = 256 << 20
	xlsxColumns = 1000
	xlsxHead    = 3 * headerSearch // rows that are held back to find the header in
)

// book is an open workbook.
type book struct {
	ctx     context.Context
	parts   map[string]*zip.File
	sheets  []sheet
	strings []string
	kinds   []cellKind // of each style
	date1904,
	stamped bool // dates are written with a time, which no date_format touches
	decimal  byte
	formulas int // cells with a formula and no value
}

type sheet struct {
	name, part string
	hidden     bool
}

func brokenBook(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Message: "the spreadsheet is damaged", HintText: "open it and save it again, or save the sheet as CSV UTF-8", Err: err}
}

// workbook makes a CSV of the sheet that the configuration names, or of the
// first one in which a header is found.
func (r *Reading) workbook(ctx context.Context, m *made, to io.Writer) error {
	if m.size > xlsxFile {
		return &Error{Message: fmt.Sprintf("the spreadsheet is larger than %d bytes", xlsxFile), HintText: "save the sheet as CSV UTF-8"}
	}
	b, err := openBook(ctx, m.f, m.size)
	if err != nil {
		return err
	}
	b.decimal = '.'
	if r.s.layout.decimal != 0 {
		b.decimal = r.s.layout.decimal
	}
	b.stamped = r.s.layout.date != nil && r.s.layout.date.String() != isoFormat
	names := make([]string, len(b.sheets))
	for i, s := range b.sheets {
		names[i] = quote(s.name)
	}
	chosen := b.sheets
	want := r.s.cfg.Sheet
	if want != "" {
		i := slices.IndexFunc(b.sheets, func(s sheet) bool { return fold(s.name) == fold(want) })
		if i < 0 {
			return &Error{Message: "there is no sheet " + quote(want), HintText: "the sheets are " + strings.Join(names, ", ") + "; set " + r.s.section() + ".sheet"}
		}
		chosen = b.sheets[i : i+1]
	}
	var first error
	tries := chosen
	if r.lenient {
		tries = append(slices.Clone(chosen), chosen...)
	}
	for i, s := range tries {
		if s.hidden && want == "" {
			continue
		}
		out := newTableWriter(to)
		found, err := r.sheet(b, s, out, i >= len(chosen))
		if found {
			if err != nil {
				return brokenBook(err)
			}
			if b.formulas > 0 {
				r.note("sheet %s has %s without a value: open the spreadsheet and save it, or they count as empty", quote(s.name), plural(b.formulas, "formula", "formulas"))
			}
			m.lines = out.lines
			m.how = append(m.how, timesheet.Decision{What: "form", Value: "XLSX, sheet " + quote(s.name), Evidence: map[bool]string{true: r.s.section() + ".sheet", false: "first with a known header"}[want != ""]})
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if e, ok := errors.AsType[*Error](first); ok && len(names) > 1 {
		e.Message = "no sheet has a known header; of the first one: " + e.Message
		e.HintText += "; the sheets are " + strings.Join(names, ", ")
	}
	if first == nil {
		first = &Error{Message: "the spreadsheet has no visible sheet", HintText: "set " + r.s.section() + ".sheet"}
	}
	return brokenBook(first)
}

// sheet writes s as CSV, if a header is found in its first rows; with lax,
// whatever looks like one will do.
func (r *Reading) sheet(b *book, s sheet, out *tableWriter, lax bool) (found bool, err error) {
	type line struct {
		cells  []string
		number int
	}
	var held []line
	width := 0
	write := func(cells []string, number int) error {
		for len(cells) < width {
			cells = append(cells, "")
		}
		return out.row(cells, number)
	}
	begin := func() error {
		var head bytes.Buffer
		probe := newTableWriter(&head)
		for _, l := range held {
			if err := probe.row(l.cells, l.number); err != nil {
				return err
			}
		}
		if err := probe.flush(); err != nil {
			return err
		}
		u := &unit{made: &made{table: true, lines: probe.lines}}
		t, err := r.header(u.layout(r.s), head.Bytes(), charset{name: utf8Name})
		if err == nil {
			width = len(t.header)
		} else if lax {
			for _, l := range held {
				if words(l.cells) > 2 {
					width = max(width, len(l.cells))
				}
			}
		}
		if width == 0 {
			return u.located(err)
		}
		found = true
		for _, l := range held {
			if err := write(l.cells, l.number); err != nil {
				return err
			}
		}
		held = nil
		return nil
	}
	b.formulas = 0
	err = b.rows(s, func(cells []string, number int) error {
		if found {
			return write(cells, number)
		}
		held = append(held, line{slices.Clone(cells), number})
		if len(held) < xlsxHead {
			return nil
		}
		return begin()
	})
	if err == nil && !found {
		err = begin()
	}
	if err != nil {
		return found, err
	}
	return found, out.flush()
}

func openBook(ctx context.Context, f io.ReaderAt, size int64) (*book, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, &Error{Message: "the spreadsheet or zip file is damaged or cut off", HintText: "export it again", Err: err}
	}
	b := &book{ctx: ctx, parts: map[string]*zip.File{}}
	for _, p := range z.File {
		b.parts[strings.TrimPrefix(p.Name, "/")] = p
	}
	if b.parts["xl/workbook.xml"] == nil {
		e := &Error{Message: "this is a zip file", HintText: "unpack it first, and name the file in it"}
		switch {
		case b.parts["mimetype"] != nil && b.parts["content.xml"] != nil:
			e = &Error{Message: "this is an OpenDocument spreadsheet", HintText: "save it as XLSX or as CSV UTF-8"}
		case b.parts["xl/workbook.bin"] != nil:
			e = &Error{Message: "this is a binary spreadsheet (XLSB)", HintText: "save it as XLSX or as CSV UTF-8"}
		}
		return nil, e
	}
	if err := errors.Join(b.readBook(), b.readStrings(), b.readStyles()); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, brokenBook(err)
	}
	return b, nil
}

// each calls start for the start of every element of a part; a part that is
// not there has none.
func (b *book) each(part string, start func(d *xml.Decoder, el xml.StartElement) error) error {
	p := b.parts[part]
	if p == nil {
		return nil
	}
	if p.UncompressedSize64 > xlsxPart {
		return &Error{Message: fmt.Sprintf("a sheet of the spreadsheet is larger than %d bytes", xlsxPart), HintText: "save the sheet as CSV UTF-8"}
	}
	in, err := p.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	d := xml.NewDecoder(io.LimitReader(ctxReader{b.ctx, in}, xlsxPart))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if el, ok := t.(xml.StartElement); ok {
			if err := start(d, el); err != nil {
				return err
			}
		}
	}
}

func attr(el xml.StartElement, name string) string {
	for _, a := range el.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func isTrue(s string) bool { return s == "1" || s == "true" }

func (b *book) readBook() error {
	targets := map[string]string{}
	if err := b.each("xl/_rels/workbook.xml.rels", func(_ *xml.Decoder, el xml.StartElement) error {
		if el.Name.Local == "Relationship" {
			to := attr(el, "Target")
			if !strings.HasPrefix(to, "/") {
				to = path.Join("xl", to)
			}
			targets[attr(el, "Id")] = strings.TrimPrefix(path.Clean(to), "/")
		}
		return nil
	}); err != nil {
		return err
	}
	return b.each("xl/workbook.xml", func(_ *xml.Decoder, el xml.StartElement) error {
		switch el.Name.Local {
		case "workbookPr":
			b.date1904 = isTrue(attr(el, "date1904"))
		case "sheet":
			id := ""
			for _, a := range el.Attr {
				if a.Name.Local == "id" && a.Name.Space != "" {
					id = a.Value
				}
			}
			if part := targets[id]; b.parts[part] != nil && strings.Contains(part, "worksheets/") {
				b.sheets = append(b.sheets, sheet{name: attr(el, "name"), part: part, hidden: strings.Contains(strings.ToLower(attr(el, "state")), "hidden")})
			}
		}
		return nil
	})
}

func (b *book) readStrings() error {
	return b.each("xl/sharedStrings.xml", func(d *xml.Decoder, el xml.StartElement) error {
		if el.Name.Local != "si" {
			return nil
		}
		s, err := richText(d)
		b.strings = append(b.strings, s)
		return err
	})
}

// richText is the text of an element, up to its end: of its runs, but not of
// the phonetic hints in it.
func richText(d *xml.Decoder) (string, error) {
	var s strings.Builder
	for depth, text, hint := 1, 0, 0; depth > 0; {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; t.Name.Local == "t" {
				text = depth
			} else if t.Name.Local == "rPh" {
				hint = depth
			}
		case xml.EndElement:
			if depth == text {
				text = 0
			}
			if depth == hint {
				hint = 0
			}
			depth--
		case xml.CharData:
			if text > 0 && hint == 0 {
				s.Write(t)
			}
		}
	}
	return unescape(s.String()), nil
}

// unescape undoes _x000D_, in which spreadsheets write what XML cannot.
func unescape(s string) string {
	for i := 0; ; {
		j := strings.Index(s[i:], "_x")
		if j < 0 {
			return s
		}
		i += j
		if len(s) >= i+7 && s[i+6] == '_' {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
				s = s[:i] + string(rune(n)) + s[i+7:]
			}
		}
		i++
	}
}

// rows calls each for every row of a sheet that is not blank, without the
// empty cells at its end.
func (b *book) rows(s sheet, each func(cells []string, number int) error) error {
	number, column := 0, 0
	var cells []string
	return b.each(s.part, func(d *xml.Decoder, el xml.StartElement) error {
		if el.Name.Local != "row" {
			return nil
		}
		number++
		if at := attr(el, "r"); at != "" {
			n, err := strconv.Atoi(at)
			if err != nil || n < number || n > 1<<20 {
				return fmt.Errorf("row %d is followed by row %q", number-1, at)
			}
			number = n
		}
		cells, column = cells[:0], 0
		for {
			t, err := d.Token()
			if err != nil {
				return err
			}
			if end, ok := t.(xml.EndElement); ok && end.Name.Local == "row" {
				break
			}
			c, ok := t.(xml.StartElement)
			if !ok {
				continue
			}
			if c.Name.Local != "c" {
				if err := d.Skip(); err != nil {
					return err
				}
				continue
			}
			if ref := attr(c, "r"); ref != "" {
				at := columnOf(ref)
				if at < column {
					return fmt.Errorf("cell %q stands in the wrong place", ref)
				}
				column = at
			}
			text, err := b.cell(d, c)
			if err != nil {
				return fmt.Errorf("row %d: %w", number, err)
			}
			if text != "" {
				if column >= xlsxColumns {
					return &Error{Line: number, Message: fmt.Sprintf("the sheet has more than %d columns", xlsxColumns), HintText: "this is no export of hours"}
				}
				for len(cells) <= column {
					cells = append(cells, "")
				}
				cells[column] = text
			}
			column++
		}
		if len(cells) == 0 {
			return nil
		}
		return each(cells, number)
	})
}

// columnOf is the index of the column of a reference such as AB12, -1 for none.
func columnOf(ref string) int {
	n := 0
	for i := 0; i < len(ref) && i < 4 && ref[i] >= 'A' && ref[i] <= 'Z'; i++ {
		n = n*26 + int(ref[i]-'A') + 1
	}
	return n - 1
}

// cell reads a cell to its end.
func (b *book) cell(d *xml.Decoder, el xml.StartElement) (text string, err error) {
	kind, value, formula, cached := attr(el, "t"), "", false, false
	for {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.EndElement:
			if formula && !cached {
				b.formulas++
			}
			return b.value(kind, attr(el, "s"), value)
		case xml.StartElement:
			switch t.Name.Local {
			case "v":
				var s string
				if err := d.DecodeElement(&s, &t); err != nil {
					return "", err
				}
				value, cached = s, true
			case "is":
				if value, err = richText(d); err != nil {
					return "", err
				}
			default:
				formula = formula || t.Name.Local == "f"
				if err := d.Skip(); err != nil {
					return "", err
				}
			}
		}
	}
}

func (b *book) value(kind, style, value string) (string, error) {
	switch kind {
	case "s":
		i, err := strconv.Atoi(strings.TrimSpace(value))
		if value == "" {
			return "", nil
		}
		if err != nil || i < 0 || i >= len(b.strings) {
			return "", errors.New("a cell refers to a text that is not there")
		}
		return b.strings[i], nil
	case "str":
		return unescape(value), nil
	case "inlineStr", "e":
		return value, nil
	case "b":
		return map[bool]string{true: "true", false: "false"}[isTrue(value)], nil
	case "d":
		return strings.TrimSuffix(value, "Z"), nil
	}
	k := cellNumber
	if i, err := strconv.Atoi(style); err == nil && i >= 0 && i < len(b.kinds) {
		k = b.kinds[i]
	}
	return b.number(strings.TrimSpace(value), k), nil
}
