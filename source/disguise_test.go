package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
)

// The same export in other clothes is the same entries.
func TestDisguises(t *testing.T) {
	t.Parallel()
	for _, c := range presetFiles {
		if c.otherForm() {
			continue
		}
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(presetDir + c.name())
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.TrimPrefix(string(raw), "\ufeff")
			cfg := c.config()
			cfg.Preset = c.preset
			want := keys(must(t, cfg))
			dir := t.TempDir()
			forms := disguises(t, plain)
			if c.preset == "atimelogger" {
				// What stands below the header of the sums is taken for one of them.
				delete(forms, "turned")
				delete(forms, "overlapping parts")
			}
			for name, files := range forms {
				cfg := cfg
				cfg.Files = nil
				for i, content := range files {
					path := filepath.Join(dir, name+string(rune('1'+i))+".txt")
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
					cfg.Files = append(cfg.Files, path)
				}
				if name == "other zone" {
					cfg.Location = time.FixedZone("far", 9*3600)
				}
				got := slices.Compact(keys(must(t, cfg)))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

func disguises(t *testing.T, plain string) map[string][]string {
	t.Helper()
	crlf := strings.ReplaceAll(strings.ReplaceAll(plain, "\r\n", "\n"), "\n", "\r\n")
	wide := func(e unicode.Endianness) string {
		s, err := unicode.UTF16(e, unicode.UseBOM).NewEncoder().String(plain)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	delim := ','
	if first, _, _ := strings.Cut(plain, "\n"); strings.Contains(first, "\t") {
		delim = '\t'
	} else if strings.Count(first, ";") > strings.Count(first, ",") {
		delim = ';'
	}
	r := csv.NewReader(strings.NewReader(plain))
	r.Comma, r.FieldsPerRecord = delim, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	head, body := rows[0], rows[1:]
	write := func(delim rune, body ...[]string) string {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.Comma = delim
		if err := errors.Join(w.Write(head), w.WriteAll(body)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	turned := slices.Clone(body)
	slices.Reverse(turned)
	// A date order that one row tells must be told in both halves, so all halves
	// share the last row.
	half := len(body) / 2
	last := body[len(body)-1:]
	first := body[:min(len(body), half+1)]
	if len(first) < len(body) {
		first = append(slices.Clone(first), last...)
	}
	out := map[string][]string{
		"other name": {plain}, "bom": {"\ufeff" + plain}, "crlf": {crlf}, "utf-16le": {wide(unicode.LittleEndian)}, "utf-16be": {wide(unicode.BigEndian)},
		"semicolons": {write(';', body...)}, "tabs": {write('\t', body...)}, "turned": {write(delim, turned...)}, "other zone": {plain},
		"preamble":          {"Report of the week\n\n" + plain},
		"no final newline":  {strings.TrimRight(plain, "\r\n")},
		"overlapping parts": {write(delim, first...), write(delim, body[half:]...)},
	}
	if !utf8.ValidString(plain) {
		t.Fatal("the fixture is no UTF-8")
	}
	return out
}

// Whatever stands under a tracker's header, every line becomes one thing: read
// checks it.
func FuzzPresets(f *testing.F) {
	for i, c := range presetFiles {
		raw, err := os.ReadFile(presetDir + c.name())
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(raw), "\n")
		f.Add(i, body)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, i int, body string) {
		c := presetFiles[uint(i)%uint(len(presetFiles))]
		raw, err := os.ReadFile(presetDir + c.name())
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(raw), "\n")
		cfg := Config{Stdin: strings.NewReader(head + "\n" + body), SpoolDir: dir, Preset: c.preset, User: c.user}
		cfg.Limits = Limits{Line: 4096, Field: 256}
		if _, err := read(t, cfg); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Message == "" || e.Message == "reading" || e.HintText == "" {
				t.Errorf("got %v", err)
			}
		}
	})
}
