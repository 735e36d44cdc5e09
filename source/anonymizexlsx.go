package source

import (
	"archive/zip"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// The twin of a workbook is a new one: of the old one it has the sheets, their
// cells with masked values, and how numbers are shown. Comments, names, links,
// pictures, properties and formulas stay behind, because nobody can say what is
// in them.

const (
	xmlHead     = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	mainSpace   = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	relSpace    = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	contentType = `application/vnd.openxmlformats-officedocument.spreadsheetml.`
)

// sheetTwin is what the cells of a sheet are masked by.
type sheetTwin struct {
	header int // its line, 0 for none
	roles  []role
}

// bookTwin gathers the texts that the cells of the twin share.
type bookTwin struct {
	*book
	w     *twin
	texts []string
	at    map[string]int
}

func (w *twin) workbook(data *io.SectionReader, to io.Writer) error {
	b, err := openBook(w.ctx, data, data.Size())
	if err != nil {
		return err
	}
	t := &bookTwin{book: b, w: w, at: map[string]int{}}
	z := zip.NewWriter(to)
	part := func(name string, write func(io.Writer) error) error {
		p, err := z.Create(name)
		if err != nil {
			return err
		}
		return write(p)
	}
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	var types, sheets, rels strings.Builder
	for i, s := range b.sheets {
		n := i + 1
		hidden := ""
		if s.hidden {
			hidden = ` state="hidden"`
		}
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="%sworksheet+xml"/>`, n, contentType)
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d"%s r:id="rId%d"/>`, escaped(t.sheetName(s.name)), n, hidden, n)
		fmt.Fprintf(&rels, `<Relationship Id="rId%d" Type="%s/worksheet" Target="worksheets/sheet%d.xml"/>`, n, relSpace, n)
	}
	more := len(b.sheets) + 1
	date1904 := ""
	if b.date1904 {
		date1904 = `<workbookPr date1904="1"/>`
	}
	for _, p := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"[Content_Types].xml", text(xmlHead + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
			`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
			`<Override PartName="/xl/workbook.xml" ContentType="` + contentType + `sheet.main+xml"/>` + types.String() +
			`<Override PartName="/xl/styles.xml" ContentType="` + contentType + `styles+xml"/><Override PartName="/xl/sharedStrings.xml" ContentType="` + contentType + `sharedStrings+xml"/></Types>`)},
		{"_rels/.rels", text(xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="` + relSpace + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`)},
		{"xl/workbook.xml", text(xmlHead + `<workbook ` + mainSpace + ` xmlns:r="` + relSpace + `">` + date1904 + `<sheets>` + sheets.String() + `</sheets></workbook>`)},
		{"xl/_rels/workbook.xml.rels", text(xmlHead + `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + rels.String() +
			fmt.Sprintf(`<Relationship Id="rId%d" Type="%s/styles" Target="styles.xml"/><Relationship Id="rId%d" Type="%s/sharedStrings" Target="sharedStrings.xml"/></Relationships>`, more, relSpace, more+1, relSpace))},
		{"xl/styles.xml", t.writeStyles},
	} {
		if err := part(p.name, p.write); err != nil {
			return err
		}
	}
	for i, s := range b.sheets {
		if err := part(fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1), func(w io.Writer) error { return t.writeSheet(w, s) }); err != nil {
			return err
		}
	}
	if err := part("xl/sharedStrings.xml", t.writeStrings); err != nil {
		return err
	}
	return z.Close()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// sheetName keeps the name that the configuration has to have, and the names
// that programs give.
func (t *bookTwin) sheetName(name string) string {
	if fold(name) == fold(t.w.r.s.cfg.Sheet) || slices.Contains([]string{"sheet", "tabelle", "feuil", "hoja", "foglio", "hours", "worklogs", "time entries", "detailed report", "report"}, strings.TrimRight(fold(name), "0123456789 ")) {
		return name
	}
	return t.w.m.text(name)
}

// chosen is the sheet that was read, by what the survey says of it.
func (t *bookTwin) chosen(s sheet) bool {
	if t.w.u.made == nil {
		return false
	}
	for _, d := range t.w.u.made.how {
		if strings.HasPrefix(d.Value, "XLSX, sheet "+quote(s.name)) {
			return true
		}
	}
	return false
}

// writeStyles keeps what a number in a cell means, and no more.
func (t *bookTwin) writeStyles(w io.Writer) error {
	var formats, cells strings.Builder
	n, xfs, within := 0, 0, ""
	if err := t.each("xl/styles.xml", func(_ *xml.Decoder, el xml.StartElement) error {
		switch el.Name.Local {
		case "cellXfs", "cellStyleXfs", "dxfs":
			within = el.Name.Local
		case "numFmt":
			if within == "" {
				n++
				fmt.Fprintf(&formats, `<numFmt numFmtId="%s" formatCode="%s"/>`, escaped(attr(el, "numFmtId")), escaped(plainFormat(attr(el, "formatCode"))))
			}
		case "xf":
			if within == "cellXfs" {
				xfs++
				id := attr(el, "numFmtId")
				if id == "" {
					id = "0"
				}
				fmt.Fprintf(&cells, `<xf numFmtId="%s" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>`, escaped(id))
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if xfs == 0 {
		xfs = 1
		cells.WriteString(`<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>`)
	}
	numFmts := ""
	if n > 0 {
		numFmts = fmt.Sprintf(`<numFmts count="%d">%s</numFmts>`, n, formats.String())
	}
	_, err := fmt.Fprintf(w, `%s<styleSheet %s>%s<fonts count="1"><font/></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>`+
		`<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="%d">%s</cellXfs></styleSheet>`, xmlHead, mainSpace, numFmts, xfs, cells.String())
	return err
}

// plainFormat takes the texts out of a number format.
func plainFormat(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case c == '"':
			j := strings.IndexByte(code[i+1:], '"')
			if j < 0 {
				return b.String()
			}
			i += j + 1
		case c == '\\' || c == '_' || c == '*':
			if i+1 < len(code) && strings.IndexByte(" .,:/-()", code[i+1]) >= 0 {
				b.WriteString(code[i : i+2])
			}
			i++
		case c == '[':
			j := strings.IndexByte(code[i:], ']')
			if j < 0 {
				continue
			}
			if inner := strings.ToLower(code[i+1 : i+j]); strings.Trim(inner, "h") == "" || strings.Trim(inner, "m") == "" || strings.Trim(inner, "s") == "" {
				b.WriteString(code[i : i+j+1])
			}
			i += j
		case strings.IndexByte("yYmMdDhHsSaApPgGeEnNrRlL0123456789#?.,:;/-+%@() ", c) >= 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (t *bookTwin) writeStrings(w io.Writer) error {
	if _, err := fmt.Fprintf(w, `%s<sst %s uniqueCount="%d">`, xmlHead, mainSpace, len(t.texts)); err != nil {
		return err
	}
	for _, s := range t.texts {
		if _, err := fmt.Fprintf(w, `<si><t xml:space="preserve">%s</t></si>`, escaped(s)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "</sst>")
	return err
}

func (t *bookTwin) share(s string) int {
	i, ok := t.at[s]
	if !ok {
		i = len(t.texts)
		t.at[s], t.texts = i, append(t.texts, s)
	}
	return i
}

func (t *bookTwin) writeSheet(w io.Writer, s sheet) error {
	as := sheetTwin{}
	if t.chosen(s) {
		as.header, as.roles = t.w.h.Line, t.w.roles
	}
	if _, err := io.WriteString(w, xmlHead+"<worksheet "+mainSpace+"><sheetData>"); err != nil {
		return err
	}
	number := 0
	if err := t.each(s.part, func(d *xml.Decoder, el xml.StartElement) error {
		if el.Name.Local != "row" {
			return nil
		}
		number++
		if n, err := strconv.Atoi(attr(el, "r")); err == nil {
			number = n
		}
		if _, err := fmt.Fprintf(w, `<row r="%d">`, number); err != nil {
			return err
		}
		if err := t.writeRow(w, d, number, &as); err != nil {
			return err
		}
		_, err := io.WriteString(w, "</row>")
		return err
	}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "</sheetData></worksheet>")
	return err
}

// writeRow copies the cells of a row up to its end.
func (t *bookTwin) writeRow(w io.Writer, d *xml.Decoder, number int, as *sheetTwin) error {
	column := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		if end, ok := tok.(xml.EndElement); ok && end.Name.Local == "row" {
			return nil
		}
		c, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if c.Name.Local != "c" {
			if err := d.Skip(); err != nil {
				return err
			}
			continue
		}
		if at := columnOf(attr(c, "r")); at >= 0 {
			column = at
		}
		if err := t.writeCell(w, d, c, number, column, as); err != nil {
			return err
		}
		column++
	}
}

func (t *bookTwin) writeCell(w io.Writer, d *xml.Decoder, el xml.StartElement, number, column int, as *sheetTwin) error {
	kind, style := attr(el, "t"), attr(el, "s")
	value, formula, cached := "", false, false
	for done := false; !done; {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			done = true
		case xml.StartElement:
			switch tok.Name.Local {
			case "v":
				var s string
				if err := d.DecodeElement(&s, &tok); err != nil {
					return err
				}
				value, cached = s, true
			case "is":
				if value, err = richText(d); err != nil {
					return err
				}
				cached = true
			default:
				formula = formula || tok.Name.Local == "f"
				if err := d.Skip(); err != nil {
					return err
				}
			}
		}
	}
	ref := fmt.Sprintf(`<c r="%s%d"`, columnName(column), number)
	if n, err := strconv.Atoi(style); err == nil && n >= 0 {
		ref += fmt.Sprintf(` s="%d"`, n)
	}
	if !cached {
		if formula {
			ref += "><f>NA()</f></c>" // one without a value, as it was
		} else {
			ref += "/>"
		}
		_, err := io.WriteString(w, ref)
		return err
	}
	text, v := "", ""
	switch kind {
	case "s", "str", "inlineStr":
		s, err := t.value(kind, style, value)
		if err != nil {
			return err
		}
		text = fmt.Sprintf(` t="s"><v>%d</v></c>`, t.share(t.cellText(s, number, column, as)))
	case "b":
		v, text = map[bool]string{true: "1", false: "0"}[isTrue(value)], ` t="b"><v>`
	case "e":
		v, text = "#VALUE!", ` t="e"><v>`
		if slices.Contains([]string{"#N/A", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"}, value) {
			v = value
		}
	case "d":
		v, text = t.w.m.value(value, roleDate), ` t="d"><v>`
	default:
		v, text = t.cellNumber(value, style, number, column, as), `><v>`
	}
	if kind != "s" && kind != "str" && kind != "inlineStr" {
		text += escaped(v) + "</v></c>"
	}
	_, err := io.WriteString(w, ref+text)
	return err
}

// cellText masks the text of a cell.
func (t *bookTwin) cellText(s string, number, column int, as *sheetTwin) string {
	switch {
	case as.header > 0 && number == as.header && column < len(as.roles):
		return t.w.name(s)
	case as.header > 0 && number < as.header:
		return t.w.preamble(s)
	}
	return t.w.m.value(s, t.roleIn(number, column, as))
}

func (t *bookTwin) roleIn(number, column int, as *sheetTwin) role {
	if as.header > 0 && number > as.header && column < len(as.roles) {
		return as.roles[column]
	}
	return rolePersonal
}

// cellNumber masks a number: one that is a day is moved, one that is a time of
// day or a length stays.
func (t *bookTwin) cellNumber(raw, style string, number, column int, as *sheetTwin) string {
	k := cellNumber
	if i, err := strconv.Atoi(style); err == nil && i >= 0 && i < len(t.kinds) {
		k = t.kinds[i]
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(raw), 64)
	if err != nil {
		return "0"
	}
	epoch := timesheet.Date(1899, 12, 30)
	if t.date1904 {
		epoch += 1462
	}
	switch r := t.roleIn(number, column, as); {
	case k != cellNumber && v >= 1 && v < lastSerial && (k != cellTime || v >= firstSerial):
		at := epoch + timesheet.Day(math.Floor(v))
		if t.w.m.collect {
			t.w.m.days.seen[at] = struct{}{}
			return raw
		}
		// The fraction stays digit by digit: it is a time of day.
		whole, part, has := strings.Cut(raw, ".")
		if n, err := strconv.Atoi(whole); err == nil && !strings.ContainsAny(part, "eE") {
			moved := strconv.Itoa(n + int(t.w.m.days.to(at)-at))
			if has {
				moved += "." + part
			}
			return moved
		}
		return strconv.FormatFloat(v+float64(t.w.m.days.to(at)-at), 'f', -1, 64)
	case k != cellNumber || r == roleLength:
		return raw
	}
	if masked := t.w.count(strconv.FormatFloat(v, 'f', -1, 64), rolePersonal); masked != "" {
		return masked
	}
	return "0"
}

// columnName is the letters of a column, counted from 0.
func columnName(n int) string {
	name := ""
	for n++; n > 0; n = (n - 1) / 26 {
		name = string(rune('A'+(n-1)%26)) + name
	}
	return name
}
