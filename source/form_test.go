package source

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// bytesOf reads what a program wrote to standard output.
func bytesOf(content []byte) Config { return Config{Stdin: bytes.NewReader(content)} }

func gzipped(tb testing.TB, content []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zipped(tb testing.TB, parts map[string]string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range parts {
		p, err := w.Create(name)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := p.Write([]byte(content)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// keysOf are the keys in an order that does not depend on that of the rows.
func keysOf(res *result) (keys []string) {
	for _, e := range res.entries {
		keys = append(keys, fmt.Sprintf("%x", e.Key))
	}
	slices.Sort(keys)
	return keys
}

const hoursCSV = `User,Date,Start,End,Duration,Project,Notes,Rate
ada,2026-11-02,09:00:00,10:30:15,1:30:15,Website,"Fix cart, part 2
second line",95
ada,2026-11-03,22:00:00,01:00:00,3:00:00,Website,,
ben,2026-11-03,08:15:00,11:15:00,3:00:00,Café,=1+1,95.5
`

// The same entries in other forms have the same keys.
func TestFormsGiveSameKeys(t *testing.T) {
	t.Parallel()
	want := must(t, text(hoursCSV))
	if want.seconds() != 5415+2*10800 || len(want.entries) != 3 {
		t.Fatalf("got %d s in %d entries", want.seconds(), len(want.entries))
	}
	records := `{"User":"ada","Date":"2026-11-02","Start":"09:00:00","End":"10:30:15","Duration":"1:30:15","Project":"Website","Notes":"Fix cart, part 2\nsecond line"},
{"User":"ada","Date":"2026-11-03","Start":"22:00:00","End":"01:00:00","Duration":"3:00:00","Project":"Website","Notes":null},
{"User":"ben","Date":"2026-11-03","Start":"08:15:00","End":"11:15:00","Duration":"3:00:00","Project":"Café","Notes":"=1+1"}`
	lined := strings.ReplaceAll(records, "},\n", "}\n\n")
	xlsx, err := os.ReadFile(exports + "xlsx/hours.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	mac := Config{Files: []string{exports + "xlsx/hours-1904.xlsx"}}
	old := Config{Files: []string{exports + "xlsx/hours.xlsx"}, Sheet: "old"}
	path := text(`{"meta":{"of":[1]},"data":{"entries":[` + records + `]}}`)
	path.Records = "data.entries"
	// Settings of other files of the source do not touch what is in no dialect.
	odd := bytesOf(xlsx)
	odd.Delimiter, odd.Encoding, odd.DateFormat, odd.Decimal = ";", "windows-1252", "DD.MM.YYYY", ","
	for name, c := range map[string]struct {
		cfg   Config
		form  string
		lines []int
	}{
		"gzip":           {bytesOf(gzipped(t, []byte(hoursCSV))), "", []int{2, 4, 5}},
		"json":           {text("\n[" + records + "]"), "JSON list of records", []int{1, 2, 3}},
		"json below":     {path, "JSON csv.records", []int{1, 2, 3}},
		"ndjson":         {text(lined), "NDJSON one record a line", []int{1, 3, 5}},
		"ndjson in gzip": {bytesOf(gzipped(t, []byte(lined+"\r\n"))), "NDJSON one record a line", []int{1, 3, 5}},
		"xlsx":           {bytesOf(xlsx), `XLSX, sheet "Hours" first with a known header`, []int{5, 6, 7}},
		"xlsx settings":  {odd, `XLSX, sheet "Hours" first with a known header`, []int{5, 6, 7}},
		"xlsx in gzip":   {bytesOf(gzipped(t, xlsx)), `XLSX, sheet "Hours" first with a known header`, []int{5, 6, 7}},
		"xlsx sheet":     {old, `XLSX, sheet "Old" csv.sheet`, []int{3, 4, 5}},
		"xlsx 1904":      {mac, `XLSX, sheet "Sheet" first with a known header`, []int{3, 4, 5}},
	} {
		res, err := read(t, c.cfg)
		if err != nil {
			var e *Error
			_ = errors.As(err, &e)
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
			continue
		}
		if got := res.decision("form"); got != c.form {
			t.Errorf("%s: got form %q, want %q", name, got, c.form)
		}
		if res.seconds() != want.seconds() || !slices.Equal(keysOf(res), keysOf(want)) {
			t.Errorf("%s: got %+v\nwant %+v", name, res.entries, want.entries)
		}
		var lines []int
		for _, e := range res.entries {
			lines = append(lines, e.Origin.Line)
		}
		if !slices.Equal(lines, c.lines) {
			t.Errorf("%s: got lines %v, want %v", name, lines, c.lines)
		}
		if strings.Contains(name, "gzip") && res.decision("packed") != "gzip first bytes" {
			t.Errorf("%s: got decisions %+v", name, res.survey.Files[0].Decisions)
		}
	}
}

// Numbers of formulas are written with all digits of their binary fraction;
// hours come to whole seconds all the same.
func TestWorkbookNumbers(t *testing.T) {
	t.Parallel()
	for _, decimal := range []string{"", ".", ","} {
		res := must(t, Config{Files: []string{exports + "xlsx/decimal.xlsx"}, Decimal: decimal})
		var got []timesheet.Seconds
		for _, e := range res.entries {
			got = append(got, e.Duration)
		}
		if want := []timesheet.Seconds{3960, 4800, 1080, 25200}; !slices.Equal(got, want) || res.entries[3].Day.String() != "2026-11-04" {
			t.Errorf("decimal %q: got %v, want %v; %+v", decimal, got, want, res.rejected)
		}
	}
}

func TestCellKind(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]cellKind{
		"General": cellNumber, "0.00": cellNumber, `0.00" hours of days"`: cellNumber, "0.00E+00": cellNumber, `#,##0\h`: cellNumber,
		"dd.mm.yyyy": cellDate, `[$-407]d\. mmmm yyyy;@`: cellDate, "mmm-yy": cellDate, "[h]:mm:ss": cellTime, "[mm]:ss": cellTime, "h:mm AM/PM": cellTime,
		"yyyy-mm-dd hh:mm": cellStamp, "[Red]0.00;[h]": cellNumber,
	} {
		if got := kindOf(code); got != want {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
	b := book{decimal: '.'}
	for _, c := range []struct {
		raw  string
		kind cellKind
		want string
	}{
		{"46328", cellDate, "2026-11-02"},
		{"46328.375", cellStamp, "2026-11-02 09:00:00"},
		{"46328.375", cellTime, "2026-11-02 09:00:00"}, // shown as a time of day, but a day is in it
		{"46328.99999999", cellDate, "2026-11-03"},
		{"0.375", cellTime, "9:00:00"},
		{"6.25E-2", cellTime, "1:30:00"},
		{"1.0625", cellTime, "25:30:00"},
		{"0.0625", cellStamp, "1:30:00"},
		{"-0.5", cellTime, "-0.5"},
		{"12", cellNumber, "12"},
		{"1.1000000000000001", cellNumber, "1.1"},
		{"NaN", cellNumber, "NaN"},
		{"0x10", cellTime, "0x10"},
	} {
		if got := b.number(c.raw, c.kind); got != c.want {
			t.Errorf("%s as %d: got %q, want %q", c.raw, c.kind, got, c.want)
		}
	}
	if got := unescape("a_x000D_b_x_x0041__"); got != "a\rb_xA_" {
		t.Errorf("got %q", got)
	}
}

// A bad row of any form is one rejection; a bad file is refused whole.
func TestBadForms(t *testing.T) {
	t.Parallel()
	res := must(t, text(`{"user":"u","date":"2026-11-16","hours":1,"project":"P","tags":["a",{"b":1},"c"]}
{"user":"u","date":"2026-11-16",
[1,[2]]
{"user":"u","User":"v","date":"2026-11-16","hours":1,"project":"P"}
7
{}
{"user":"u","date":"2026-11-16","hours":2,"project":"P"}`))
	var lines []int
	for _, r := range res.rejected {
		lines = append(lines, r.Origin.Line)
		if r.Reason != timesheet.ReasonBadRow {
			t.Errorf("got %+v", r)
		}
	}
	if len(res.entries) != 2 || !slices.Equal(lines, []int{2, 3, 4, 5, 6}) {
		t.Errorf("got %d entries, rejected lines %v", len(res.entries), lines)
	}
	sheets := func(sheet, book string) []byte {
		if book == "" {
			book = `<sheets><sheet name="A" r:id="r1"/></sheets>`
		}
		return zipped(t, map[string]string{
			"xl/workbook.xml":            `<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">` + book + `</workbook>`,
			"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="r1" Target="/xl/worksheets/s.xml"/></Relationships>`,
			"xl/worksheets/s.xml":        `<worksheet><sheetData>` + sheet + `</sheetData></worksheet>`,
		})
	}
	cell := `<row r="1"><c r="A1" t="inlineStr"><is><t>user</t></is></c></row>`
	gz := gzipped(t, []byte(hoursCSV))
	record := `{"user":"u","date":"2026-11-16","hours":1,"project":"P"}`
	for name, want := range map[string]struct {
		content       []byte
		message, hint string
	}{
		"cut gzip":          {gz[:len(gz)-9], "damaged or cut off", "again"},
		"gzip in gzip":      {gzipped(t, gz), "within a gzip", "once"},
		"gzip bomb":         {gzipped(t, make([]byte, 3<<20)), "200 times", "look"},
		"empty gzip":        {gzipped(t, nil), "empty", "header"},
		"zip":               {zipped(t, map[string]string{"a.csv": hoursCSV}), "a zip file", "unpack"},
		"ods":               {zipped(t, map[string]string{"mimetype": "", "content.xml": ""}), "OpenDocument", "XLSX"},
		"xls":               {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest"), "old kind", "XLSX"},
		"cut xlsx":          {sheets(cell, "")[:200], "damaged", "again"},
		"no sheet":          {sheets(cell, "<sheets/>"), "no visible sheet", "csv.sheet"},
		"unknown header":    {sheets(cell, ""), "(date)", "columns"},
		"text out of range": {sheets(`<row r="1"><c t="s"><v>-1</v></c></row>`, ""), "damaged", "save"},
		"huge row":          {sheets(`<row r="99999999"/>`, ""), "damaged", "save"},
		"many columns":      {sheets(`<row r="1"><c r="XFD1"><v>1</v></c></row>`, ""), "more than 1000 columns", "hours"},
		"not XML":           {sheets(`<row><c></row>`, ""), "damaged", "save"},
		"cut json":          {[]byte(`[` + record + `,`), "cut off", "again"},
		"cut ndjson":        {[]byte(record + "\n" + record[:20]), "cut off", "again"},
		"two lists":         {[]byte(`[` + record + `][]`), "something follows", "line of its own"},
		"deep":              {[]byte(strings.Repeat("[", 1000)), "deeper than 32", ""},
		"deep record":       {[]byte(`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}\n"), "deeper than 32", ""},
		"object":            {[]byte("{\n\"data\":{\"list\":[" + record + "]}}"), "no list of records", "csv.records to the path of the list: data.list"},
		"object on a line":  {[]byte(`{"data":[` + record + `]}`), "no list of records", "csv.records to the path of the list: data"},
		"json not utf-8":    {[]byte("[{\"user\":\"\xe9\",\"date\":\"2026-11-16\",\"hours\":1}]"), "not valid UTF-8", "UTF-8"},
		"json with bom":     {[]byte("\xef\xbb\xbf[" + record + "]"), "byte-order mark", "UTF-8"},
		"json in utf-16":    {[]byte("\xff\xfe[\x00]\x00"), "byte-order mark", "UTF-8"},
	} {
		_, err := read(t, bytesOf(want.content))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, want.message) || !strings.Contains(e.Hint(), want.hint) || e.File != "-" {
			t.Errorf("%s: got %v, hint %q", name, err, e.Hint())
		}
	}
	wrong := Config{Files: []string{exports + "xlsx/hours.xlsx"}, Sheet: "Nov"}
	_, err := read(t, wrong)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Hint(), `"Cover", "Hours", "Old"; set csv.sheet`) {
		t.Errorf("got %v", err)
	}
	limit := bytesOf(gz)
	limit.Limits.File = 200
	if _, err := read(t, limit); err == nil || !strings.Contains(err.Error(), "once unpacked") {
		t.Errorf("got %v", err)
	}
	bad := sheets(`<row r="3"><c t="inlineStr"><is><t>user</t></is></c><c t="inlineStr"><is><t>date</t></is></c><c t="inlineStr"><is><t>hours</t></is></c></row>
<row r="7"><c t="str"><v>u</v></c><c t="d"><v>2026-11-16</v></c><c><f>A1+</f></c></row><row r="9"><c t="str"><v>u</v></c><c t="d"><v>2026-11-16</v></c><c t="e"><v>#REF!</v></c><c><v>1</v></c></row>`, "")
	res = must(t, bytesOf(bad))
	if len(res.rejected) != 2 || res.rejected[0].Origin.Line != 7 || res.rejected[1].Origin.Line != 9 || len(res.rejected[1].Record) != 4 ||
		!slices.ContainsFunc(res.survey.Notes, func(s string) bool { return strings.Contains(s, "1 formula without a value") }) {
		t.Errorf("got %+v, notes %q", res.rejected, res.survey.Notes)
	}
}

// A dropped file in another form needs no newline at its end to be whole, and
// unchanged it has the same stamp; one that changes is unpacked again.
func TestFormsOfDroppedFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "export")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-2 * time.Minute)
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	write(gzipped(t, []byte(hoursCSV)))
	first := must(t, Config{Glob: path})
	if len(first.entries) != 3 || !first.survey.Complete || len(first.survey.Notes) > 1 || first.survey.Stamp == "" {
		t.Errorf("got %+v", first.survey)
	}
	if again := must(t, Config{Glob: path}); again.survey.Stamp != first.survey.Stamp || again.survey.Fingerprint != first.survey.Fingerprint {
		t.Error("an unchanged file has another stamp or fingerprint")
	}
	write(gzipped(t, []byte(strings.TrimSuffix(hoursCSV, "\n"))))
	if res := must(t, Config{Glob: path}); res.survey.Complete {
		t.Error("a table without its last newline counts as complete")
	}

	r := opened(t, Config{Name: "test", Location: time.UTC, Files: []string{path}, SpoolDir: t.TempDir()})
	if _, err := r.Fingerprint(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(gzipped(t, []byte(hoursCSV+hoursCSV[strings.Index(hoursCSV, "ben"):])))
	if sv, err := r.Survey(t.Context()); err != nil || sv.Rows != 4 {
		t.Errorf("got %d rows, %v, want the 4 of the changed file", sv.Rows, err)
	}
}

// Whole numbers of a program may be seconds: five of them must not become five
// hours.
func TestJSONUnit(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[{"user":"u","date":"2026-03-02","project":"P","duration":20}]`:                                                               "refused",
		`[{"user":"u","date":"2026-03-02","project":"P","duration":0},{"user":"u","date":"2026-03-02","project":"P","duration":"20"}]`: "refused",
		`[{"user":"u","date":"2026-03-02","project":"P","duration":20},{"user":"u","date":"2026-03-03","project":"P","duration":1.5}]`: "21h30m0s",
		`[{"user":"u","date":"2026-03-02","project":"P","duration":"2:00"}]`:                                                           "2h0m0s",
		`[{"user":"u","date":"2026-03-02","project":"P","hours":20}]`:                                                                  "20h0m0s",
		"user,date,project,duration\nu,2026-03-02,P,20\n":                                                                              "20h0m0s",
	} {
		res, err := read(t, Config{Stdin: strings.NewReader(in)})
		if want == "refused" {
			var e *Error
			if !errors.As(err, &e) || e.Key != "duration_format" || e.Line == 0 {
				t.Errorf("%s: got %v", in, err)
			}
			for format, sec := range map[string]timesheet.Seconds{"seconds": 20, "minutes": 1200, "decimal": 72000} {
				if res, err := read(t, Config{Stdin: strings.NewReader(in), DurationFormat: format}); err != nil || res.seconds() != sec {
					t.Errorf("%s as %s: got %v", in, format, err)
				}
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if got := time.Duration(res.seconds()) * time.Second; got.String() != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// The header itself may have letters that are not UTF-8.
func TestWindows1252Header(t *testing.T) {
	t.Parallel()
	header := "Datum;Von;Bis;Dauer;W\xe4hrung;Benutzer;Projekt;T\xe4tigkeit;Beschreibung\n"
	row := "2026-03-02;09:00;10:30;1:30;EUR;ada;Website;Entwurf;B\xfcro\n"
	res, err := read(t, Config{Stdin: strings.NewReader(header + row)})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.entries) != 1 || res.entries[0].Notes != "Büro" || res.decision("tracker") == "" || !strings.HasPrefix(res.decision("encoding"), "windows-1252") {
		t.Errorf("got %+v, %q", res.entries, res.decision("encoding"))
	}
	// Behind the part that is looked at first there may be proof that it is not.
	mixed := header + strings.Repeat(row, 2000) + "2026-03-02;09:00;10:30;1:30;EUR;ada;Website;Entwurf;Büro\n"
	if _, err := read(t, Config{Stdin: strings.NewReader(mixed)}); err == nil || !strings.Contains(err.Error(), "mixes UTF-8") {
		t.Errorf("got %v", err)
	}
}

func TestSeveralPeople(t *testing.T) {
	t.Parallel()
	const header = "user,date,project,hours\n"
	for in, want := range map[string]bool{
		"ada,2026-03-02,P,1\n,2026-03-03,P,1\nada,2026-03-04,P,1\n": false,
		"ada,2026-03-02,P,1\nbob,2026-03-03,P,1\n":                  true,
	} {
		res, err := read(t, Config{User: "007", Stdin: strings.NewReader(header + in)})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(res.survey.Notes, "\n"), "more than one person"); got != want {
			t.Errorf("%q: got notes %q", in, res.survey.Notes)
		}
	}
}
