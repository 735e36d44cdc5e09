package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// records makes a CSV of a file of JSON: a list of records, which may be
// anywhere in it (Records), or one record on each line (NDJSON).
func (r *Reading) records(ctx context.Context, m *made, to io.Writer) error {
	cfg := &r.s.cfg
	spool, err := newSpool(cfg.SpoolDir, "")
	if err != nil {
		return err
	}
	defer spool.close()
	w := newWatcher(ctxReader{ctx, io.NewSectionReader(m.f, 0, m.size)}, cfg.Limits.File)
	in := bufio.NewReaderSize(w, 64<<10)
	j := newJSONSpool(spool.f, cfg.Records, "")
	j.key = r.s.section() + ".records"
	decision := timesheet.Decision{What: "form", Value: "JSON", Evidence: "list of records"}
	first, byLine := []byte(nil), false
	switch kind, err := r.klog(in); {
	case err != nil:
		return err
	case cfg.Records != "":
		decision.Evidence = j.key
	case kind:
		j.readKlog()
	default:
		if first, err = firstLine(in, cfg.Limits.Line); err != nil {
			return err
		}
		byLine = first[0] == '{' && json.Valid(first)
	}
	if byLine {
		decision.Value, decision.Evidence = "NDJSON", "one record a line"
		err = j.lines(first, in, cfg.Limits.Line)
	} else {
		_, err = j.page(io.MultiReader(bytes.NewReader(first), in))
	}
	if err != nil {
		return err
	}
	if w.broken {
		return &Error{Message: "the JSON is not valid UTF-8", HintText: "export it again, as UTF-8"}
	}
	// A key that no record needed is no column; a file of one timer that still
	// runs has no end.
	for _, f := range []field{fieldTask, fieldNotes, fieldEnd} {
		if r.s.layout.mapped && (f != fieldEnd || j.rows == 1) {
			j.extra = append(j.extra, r.s.layout.wanted[f]...)
		}
	}
	r.s.layout.knowJSON(j)
	out := newTableWriter(to)
	if err := j.table(spool.f, r.s.layout.example(), out); err != nil {
		return err
	}
	// One object with a list in it is an answer of an API rather than an entry.
	if byLine && j.rows == 1 && len(j.lists) > 0 {
		m.instead = j.noList()
	}
	m.lines = out.lines
	m.how = append(m.how, decision)
	return nil
}

// firstLine takes the first line that is not blank from in, as far as most
// bytes.
func firstLine(in *bufio.Reader, most int) ([]byte, error) {
	for {
		line, err := readLine(in, most)
		if len(bytes.TrimSpace(line)) > 0 || err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
				err = nil
			}
			return line, err
		}
		if errors.Is(err, io.EOF) {
			return []byte{' '}, nil
		}
	}
}

// readLine reads a line with its end; of one that is longer than most it
// returns what was read and errTooLong.
func readLine(in *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > most:
			return line, errTooLong
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		return line, err
	}
}

// lines reads NDJSON, of which the first line is read already. A line that is
// no record is a refused row; only the last one can have been cut off.
func (j *jsonSpool) lines(line []byte, in *bufio.Reader, most int) (err error) {
	for number, ended := 1, false; ; number++ {
		if text := bytes.TrimSpace(line); len(text) > 0 {
			row := jsonRow{Line: number}
			switch j.dec = newJSONDecoder(text); {
			case json.Valid(text):
				j.rows++
				if err := j.value("", 1, &row); err != nil {
					return jsonFault(err)
				}
				j.keep(&row)
			case ended:
				return &Error{Line: number, Message: "the last line is cut off", HintText: "export it again"}
			default:
				j.rows++
				row.Refused = "the line is no valid JSON"
			}
			if err := j.put(&row); err != nil {
				return err
			}
		}
		if ended {
			break
		}
		line, err = readLine(in, most)
		switch {
		case errors.Is(err, io.EOF):
			ended = true
		case errors.Is(err, errTooLong):
			return &Error{Line: number + 1, Message: fmt.Sprintf("a line is longer than %d bytes", most), HintText: "write one record a line"}
		case err != nil:
			return err
		}
	}
	return nil
}

func newJSONDecoder(b []byte) *json.Decoder {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec
}

// noList says that there is no list of records where one is looked for, and
// where there are lists.
func (j *jsonSpool) noList() error {
	key := j.key
	if key == "" {
		key = "http.records"
	}
	e := &Error{Message: "the JSON is no list of records", HintText: "set " + key + " to the path of the list", Key: key, Options: slices.Clone(j.lists)}
	if j.records != "" {
		e.Message = "the JSON has no list at " + quote(j.records)
	}
	for i, path := range j.lists {
		if e.HintText += map[bool]string{true: ": ", false: " or "}[i == 0] + path; i == 2 {
			break
		}
	}
	return e
}

// list reads a list within a record. Texts become one column, joined by commas,
// and one column each for the first ten; what else is in it is left out, so that
// no list of one number is taken for that number.
func (j *jsonSpool) list(path string, depth int, row *jsonRow) error {
	if j.inner != "" && path == j.inner && row != nil {
		return j.innerList(path, depth)
	}
	var all []byte
	for n := 0; j.dec.More(); n++ {
		t, err := j.dec.Token()
		if err != nil {
			return err
		}
		if open, ok := t.(json.Delim); ok {
			if open == '{' && depth <= 3 && !slices.Contains(j.lists, path) && len(j.lists) < 3 {
				j.lists = append(j.lists, path)
			}
			if err := j.drop(open, depth+1); err != nil {
				return err
			}
			continue
		}
		text, ok := t.(string)
		if row == nil || !ok || text == "" {
			continue
		}
		if len(all) > 0 {
			all = append(all, ", "...)
		}
		all = append(all, text...)
		if n < 10 {
			if err := j.put1(join(path, fmt.Sprint(n)), text, row); err != nil {
				return err
			}
		}
	}
	if _, err := j.dec.Token(); err != nil || len(all) == 0 {
		return err
	}
	return j.put1(path, string(all), row)
}

// drop reads to the end of what open began.
func (j *jsonSpool) drop(open json.Delim, depth int) error {
	if depth > jsonDepth {
		return errDepth()
	}
	for j.dec.More() {
		if open == '{' {
			if _, err := j.dec.Token(); err != nil {
				return err
			}
		}
		t, err := j.dec.Token()
		if err != nil {
			return err
		}
		if inner, ok := t.(json.Delim); ok {
			if err := j.drop(inner, depth+1); err != nil {
				return err
			}
		}
	}
	_, err := j.dec.Token()
	return err
}

func scalar(t json.Token) string {
	switch t := t.(type) {
	case string:
		return t
	case json.Number:
		return t.String()
	case bool:
		return fmt.Sprint(t)
	}
	return ""
}
