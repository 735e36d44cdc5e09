package source

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	jsonDepth   = 32
	jsonColumns = 1000
)

// jsonSpool takes the records of a JSON export, page by page, and makes a CSV
// of them, so that there is one way of reading rows. Objects within a record
// become columns with dotted names; lists within it are left out.
type jsonSpool struct {
	w       *bufio.Writer
	records string    // path of the array
	next    string    // path of the next page's URL, or "link"
	places  []string  // paths of further values around the records
	sum     io.Writer // takes the records of a page; may be nil
	skip    []skipRule

	key string // of the configuration that gives records; empty: http.records

	columns map[string]int
	names   []string
	rows    int
	extra   []string // columns that a record need not have, added where none has
	copies  []jsonCopy
	inner   string    // list in each record, of which each object is a row
	entries []jsonRow // of the record at hand
	// finish adds to a row of an inner list what follows from its values.
	finish func(j *jsonSpool, row *jsonRow)
	sample map[string]string // the values of the first record
	good   []bool            // columns that a record has that was not refused
	lists  []string          // paths of lists that are not taken for the records

	dec   *json.Decoder
	found bool // the array, on this page
	link  string
	// values are what stands at places, on this page.
	values map[string]string
}

func newJSONSpool(w io.Writer, records, next string) *jsonSpool {
	return &jsonSpool{w: bufio.NewWriter(w), records: records, next: next, columns: map[string]int{}}
}

// jsonRow is a line of the spool: why it is refused, and column, value pairs.
type jsonRow struct {
	Refused string `json:"r,omitempty"`
	Line    int    `json:"l,omitempty"`
	Columns []int  `json:"c"`
	Values  []string
}

// page reads one page whole and returns the next one's URL.
func (j *jsonSpool) page(r io.Reader) (next string, err error) {
	j.dec = json.NewDecoder(&longValues{r: r})
	j.dec.UseNumber()
	j.found, j.link, j.values = false, "", map[string]string{}
	if err := j.walk("", 0); err != nil {
		return "", jsonFault(err)
	}
	if _, err := j.dec.Token(); err != io.EOF {
		return "", &Error{Message: "something follows the JSON of a page", HintText: "the export is damaged; several records stand each on a line of its own (NDJSON)"}
	}
	if !j.found {
		return "", j.noList()
	}
	return j.link, nil
}

func jsonFault(err error) error {
	var e *Error
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Message: "the JSON ends early: it was cut off", HintText: "run again; nothing of it was used"}
	case errors.As(err, &syntax):
		return &Error{Message: "this is not valid JSON", HintText: "the export is damaged, or no JSON", Err: err}
	}
	return err
}

// errDepth makes a new one each time: who reads fills in the place.
func errDepth() error {
	return &Error{Message: fmt.Sprintf("the JSON is nested deeper than %d levels", jsonDepth), HintText: "this is no export"}
}

// walk goes through what surrounds the records.
func (j *jsonSpool) walk(path string, depth int) error {
	if depth > jsonDepth {
		return errDepth()
	}
	t, err := j.dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		list := t == '['
		records := list && path == j.records && !j.found
		if records {
			j.found = true
		} else if list && path != "" && len(j.lists) < 3 && !strings.Contains(path, "[]") {
			j.lists = append(j.lists, path)
		}
		for j.dec.More() {
			sub := join(path, "[]")
			if !list {
				key, err := j.dec.Token()
				if err != nil {
					return err
				}
				sub = join(path, fmt.Sprint(key))
			}
			if records {
				err = j.record(depth + 1)
			} else {
				err = j.walk(sub, depth+1)
			}
			if err != nil {
				return err
			}
		}
		_, err = j.dec.Token()
		return err
	case string:
		if path == j.next && path != "" {
			j.link = t
		}
		j.note(path, t)
	case json.Number:
		j.note(path, t.String())
	}
	return nil
}

func (j *jsonSpool) note(path, value string) {
	if path != "" && slices.Contains(j.places, path) {
		j.values[path] = value
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// record spools the record that comes next.
func (j *jsonSpool) record(depth int) error {
	j.rows++
	row := jsonRow{}
	j.entries = j.entries[:0]
	if err := j.value("", depth, &row); err != nil {
		return err
	}
	if j.inner != "" {
		return j.putEntries(&row)
	}
	j.keep(&row)
	if row.Refused == "" {
		row.Refused = j.skips(&row)
	}
	return j.put(&row)
}

func (j *jsonSpool) put(row *jsonRow) error {
	for len(j.good) < len(j.names) {
		j.good = append(j.good, false)
	}
	if row.Refused == "" || strings.HasPrefix(row.Refused, skipMark) {
		for _, at := range row.Columns {
			j.good[at] = true
		}
	}
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if j.sum != nil {
		_, _ = j.sum.Write(b)
	}
	_, err = j.w.Write(b)
	return err
}

// skipMark begins what stands in place of a refusal where a record is skipped;
// the reason follows.
const skipMark = "\u2060skip:"

// skips tells why a record is no work, or nothing.
func (j *jsonSpool) skips(row *jsonRow) string {
	for i := range j.skip {
		r, value := &j.skip[i], ""
		if at, ok := j.columns[r.path]; ok {
			if k := slices.Index(row.Columns, at); k >= 0 {
				value = row.Values[k]
			}
		}
		if r.match(value) {
			return skipMark + string(r.reason)
		}
	}
	return ""
}

// column is the place of a path among the columns.
func (j *jsonSpool) column(path string) int {
	at, ok := j.columns[path]
	if !ok {
		at = len(j.names)
		j.columns[path] = at
		j.names = append(j.names, path)
	}
	return at
}

// value adds the value that comes next to row, under path; a nil row drops it.
func (j *jsonSpool) value(path string, depth int, row *jsonRow) error {
	if depth > jsonDepth {
		return errDepth()
	}
	t, err := j.dec.Token()
	if err != nil {
		return err
	}
	if open, ok := t.(json.Delim); ok {
		if path == "" && open != '{' {
			if row != nil {
				row.Refused = "the record is no object"
			}
			return j.drop(open, depth)
		}
		if open == '[' {
			return j.list(path, depth, row)
		}
		seen := map[string]string{}
		for j.dec.More() {
			k, err := j.dec.Token()
			if err != nil {
				return err
			}
			key := fmt.Sprint(k)
			// The last of two would win elsewhere, or the first; nobody can tell.
			into := row
			if other, ok := seen[strings.ToLower(key)]; ok && row != nil {
				row.Refused, into = "the record has the keys "+quote(other)+" and "+quote(key), nil
			}
			seen[strings.ToLower(key)] = key
			if err := j.value(join(path, key), depth+1, into); err != nil {
				return err
			}
		}
		_, err = j.dec.Token()
		return err
	}
	if row == nil {
		return nil
	}
	if path == "" {
		row.Refused = "the record is no object"
		return nil
	}
	return j.put1(path, scalar(t), row)
}

// put1 adds a value to row.
func (j *jsonSpool) put1(path, text string, row *jsonRow) error {
	if _, ok := j.columns[path]; !ok && len(j.names) == jsonColumns {
		return &Error{Message: fmt.Sprintf("the records have more than %d different keys", jsonColumns), HintText: "this is no export of hours"}
	}
	if at := j.column(path); text != "" {
		row.Columns, row.Values = append(row.Columns, at), append(row.Values, text)
	}
	return nil
}

// csv writes the records as CSV, one column more telling which are refused.
// Without a record, the header is example.
func (j *jsonSpool) csv(from *os.File, to io.Writer, example []string) error {
	return j.table(from, example, newTableWriter(to))
}

func (j *jsonSpool) table(from *os.File, example []string, w *tableWriter) error {
	if err := j.w.Flush(); err != nil {
		return err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	names := j.names
	if j.rows == 0 {
		// An export without entries has no keys; it is no less an export.
		names = example
	}
	// Of two keys that differ in case, the one of refused records is out of the way.
	folded := foldAll(names)
	for i, good := range j.good {
		if j.rows > 0 && !good && (slices.Contains(folded[:i], folded[i]) || slices.Contains(folded[i+1:], folded[i])) {
			names = slices.Clone(names)
			names[i] = "refused: " + names[i]
		}
	}
	for _, h := range j.extra {
		if !slices.ContainsFunc(names, func(n string) bool { return fold(n) == fold(h) }) {
			names = append(slices.Clip(names), h)
		}
	}
	copied := make([]int, len(j.copies))
	for i, c := range j.copies {
		copied[i] = slices.Index(names, c.of)
		names = append(slices.Clip(names), c.column)
	}
	if err := w.row(append(append([]string{}, names...), refusedHeader), 0); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(from))
	record := make([]string, len(names)+1)
	for number := 1; ; number++ {
		var row jsonRow
		if err := dec.Decode(&row); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		clear(record)
		for i, at := range row.Columns {
			record[at] = row.Values[i]
		}
		for i, from := range copied {
			if from >= 0 {
				record[len(names)-len(copied)+i] = record[from]
			}
		}
		// A row of nothing would not be counted as one.
		if record[len(names)] = row.Refused; row.Refused == "" && len(row.Columns) == 0 {
			record[len(names)] = "the record is empty"
		}
		if err := w.row(record, cmp.Or(row.Line, number)); err != nil {
			return err
		}
	}
	return w.flush()
}
