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
