package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/text/encoding/unicode"
)

// disguise FILE KIND OUT... writes FILE, a CSV, in other clothes. A kind of two
// files shares rows between them.
func (w *scriptWorld) cmdDisguise(ts *testscript.TestScript, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: disguise FILE KIND OUT...")
	}
	plain := ts.ReadFile(args[0])
	rows, err := csv.NewReader(strings.NewReader(plain)).ReadAll()
	ts.Check(err)
	written := func(delim rune, body [][]string) string {
		var b bytes.Buffer
		out := csv.NewWriter(&b)
		out.Comma = delim
		ts.Check(errors.Join(out.Write(rows[0]), out.WriteAll(body)))
		return b.String()
	}
	body := rows[1:]
	var contents []string
	switch args[1] {
	case "bom":
		contents = []string{"\ufeff" + plain}
	case "crlf":
		contents = []string{strings.ReplaceAll(plain, "\n", "\r\n")}
	case "utf-16":
		wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(plain)
		ts.Check(err)
		contents = []string{wide}
	case "semicolons":
		contents = []string{written(';', body)}
	case "sorted":
		turned := slices.Clone(body)
		slices.Reverse(turned)
		contents = []string{written(',', turned)}
	case "gzip":
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write([]byte(plain))
		ts.Check(errors.Join(err, z.Close()))
		contents = []string{b.String()}
	case "split":
		contents = []string{written(',', body[:len(body)-1]), written(',', body[2:])}
	default:
		ts.Fatalf("disguise: there is no kind %s", args[1])
	}
	if len(args) != len(contents)+2 {
		ts.Fatalf("disguise: %s makes %d files", args[1], len(contents))
	}
	for i, content := range contents {
		ts.Check(os.WriteFile(ts.MkAbs(args[i+2]), []byte(content), 0o600))
	}
}
