package source

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Whatever the bytes, reading them neither panics nor loses a row: read checks
// that each becomes one thing and that both passes count alike.
func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"*.csv", "bad/*.csv", "xlsx/*.xlsx"} {
		files, err := filepath.Glob(exports + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 8000 {
				f.Add(data)
			}
		}
	}
	record := `{"user":"u","date":"2026-11-16","hours":1,"project":"P","tags":["a",{"b":[]}]}`
	for _, s := range []string{"[" + record + "]", record + "\n" + record, `{"a":{"b":[` + record + "]}}"} {
		f.Add([]byte(s))
		f.Add(gzipped(f, []byte(s)))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := Config{Stdin: strings.NewReader(string(data)), SpoolDir: dir}
		cfg.Limits = Limits{Line: 4096, Field: 256}
		if _, err := read(t, cfg); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Where encoding/csv reads a file without complaint, the framer cuts it into the
// same records, on the same lines.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a,\"b\nc\"\r\n\r\n\"\"\"\",d", ",,\n \n\"\"\n", "a\rb,c\n", "a,b\r\r\n", "\"a\r\n\"\"b\",c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cr := csv.NewReader(strings.NewReader(s))
		cr.FieldsPerRecord = -1
		fr := newFramer(iotest{strings.NewReader(s)}, ',', &Limits{Line: 1 << 20, Field: 1 << 16}, make([]byte, 16))
		for {
			want, err := cr.Read()
			if err == nil && !slices.ContainsFunc(want, func(v string) bool { return strings.Trim(v, " \t\r") != "" }) {
				line, _ := cr.FieldPos(0)
				if !strings.Contains(strings.Split(s, "\n")[line-1], `"`) {
					continue // a blank record
				}
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return // the framer goes on where encoding/csv would be lost
			}
			var got frame
			if gotErr := fr.next(&got); errors.Is(err, io.EOF) || gotErr != nil {
				if !errors.Is(gotErr, err) {
					t.Fatalf("%q: got %v, want %v", s, gotErr, err)
				}
				return
			}
			if got.bad != "" {
				if got.cr || strings.Contains(got.bad, "NUL") {
					continue
				}
				t.Fatalf("%q: got bad record %s", s, got.bad)
			}
			line, _ := cr.FieldPos(0)
			if fields := got.fields(','); !slices.Equal(fields, want) || got.line != line {
				t.Fatalf("%q: got %q on line %d, want %q on line %d", s, fields, got.line, want, line)
			}
		}
	})
}

// iotest reads a byte or two at a time.
type iotest struct{ r io.Reader }

func (r iotest) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 2)]) }

// fuzzed reads what a fuzzer made; whatever it is, it is read to its end or
// refused with a hint.
func fuzzed(t *testing.T, dir string, cfg Config) {
	t.Helper()
	cfg.SpoolDir, cfg.Limits = dir, Limits{Line: 4096, Field: 256}
	if _, err := read(t, cfg); err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" || e.HintText == "" {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzJSON is for lists of records, records of trackers, and one a line.
func FuzzJSON(f *testing.F) {
	files, err := filepath.Glob(presetDir + "*.json")
	if err != nil {
		f.Fatal(err)
	}
	more, err := filepath.Glob(corpus + "*json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, more...) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "")
	}
	f.Add(`{"data":{"entries":[{"user":"u"}]}}`, "data.entries")
	f.Add(`{"records":[{"date":"2026-03-02","total_mins":1,"entries":[{"entries":[{}],"start_mins":99999}]}]}`, "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content, records string) {
		cfg := text(content)
		cfg.User, cfg.Records = "ada", records
		fuzzed(t, dir, cfg)
	})
}

// FuzzWorkbook is for the parts of a workbook, which is a zip file of XML.
func FuzzWorkbook(f *testing.F) {
	const (
		book  = `<workbook xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><workbookPr date1904="1"/><sheets><sheet name="A" r:id="r1"/></sheets></workbook>`
		style = `<styleSheet><numFmts><numFmt numFmtId="164" formatCode="[h]:mm:ss"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs></styleSheet>`
		texts = `<sst><si><t>user</t></si><si><r><t>da</t></r><r><t>te</t></r></si><si><t>hours_x000D_</t></si></sst>`
		sheet = `<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="inlineStr"><is><t>hours</t></is></c></row>` +
			`<row r="3"><c r="A3" t="str"><v>u</v></c><c r="B3" s="1"><v>45000</v></c><c r="C3" s="2"><v>0.0625</v></c><c t="e"><v>#REF!</v></c><c><f>A1</f></c></row></sheetData></worksheet>`
	)
	f.Add(book, style, texts, sheet)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, book, style, texts, sheet string) {
		fuzzed(t, dir, bytesOf(zipped(t, map[string]string{
			"xl/workbook.xml": book, "xl/styles.xml": style, "xl/sharedStrings.xml": texts, "xl/worksheets/s.xml": sheet,
			"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="r1" Target="/xl/worksheets/s.xml"/></Relationships>`,
		})))
	})
}

// FuzzGzip is for what is packed, and how.
func FuzzGzip(f *testing.F) {
	f.Add([]byte(hoursCSV), 0, byte(0))
	f.Add([]byte("[{}]"), 5, byte(1))
	f.Add(make([]byte, 1<<10), 20, byte(255))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, at int, change byte) {
		packed := gzipped(t, content)
		if at = int(uint(at) % uint(len(packed))); at > 2 {
			packed[at] ^= change
		}
		fuzzed(t, dir, bytesOf(packed))
	})
}

// FuzzValues is for what stands in one cell: durations, dates, times, in all the
// ways in which they are written or have been damaged.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"1:30:15", "1:5:7", "0.0625", "6.25E-02", "1900-01-01 02:10:00", "1:30:15 AM", "PT1H30M15S", "P1DT2H", "1h 30m", "5400000", "1.234,5", "-0:30", "Mon 3/2", "2026-3-2", "20260302T080000Z", "02/03/26", "'09:00", "2026-03-02T09:00:00.123+01:00"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range map[string]func(string) (timesheet.Seconds, bool){"worked": worked, "padded": padded, "parseISO": parseISO} {
			if sec, ok := read(s); ok && (sec < 0 || sec > 1<<31) {
				t.Errorf("%s(%q): got %d", name, s, sec)
			}
		}
		if d := damaged(s); d.name != "" && (d.rest < 0 || d.rest >= 100*3600*24) {
			t.Errorf("damaged(%q): got %+v", s, d)
		}
		if _, _, err := parseLength(s); err == nil && !strings.Contains(s, "P") {
			t.Errorf("parseLength(%q) is one", s)
		}
		if unit := ungroup(s, '.'); len(unit) > len(s) {
			t.Errorf("ungroup(%q): got %q", s, unit)
		}
		cell := `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		for _, column := range []string{"date", "start", "end", "duration", "hours"} {
			row := map[string]string{"user": "u", "date": "2026-03-02", "start": "09:00", "end": "10:30", "duration": "1:30:00", "hours": "1.5", "project": "P"}
			row[column] = cell
			names := []string{"user", "date", "start", "end", "duration", "hours", "project"}
			var values []string
			for _, n := range names {
				values = append(values, row[n])
			}
			fuzzed(t, dir, text(strings.Join(names, ",")+"\n"+strings.Join(values, ",")+"\n"))
		}
	})
}
