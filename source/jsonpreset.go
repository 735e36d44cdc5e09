package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Records of JSON are a tracker's by the keys that they have. What only their
// values show becomes a column of ours in the table that is made of them, so
// that this table is recognized by its header as any other is.

// jsonKind is how the records of one tracker are told from others.
type jsonKind struct {
	preset string
	fields []string // keys that records have
	// like is what values of the first record look like.
	like map[string]*regexp.Regexp
	// optional are keys that no record need have; copies are columns of ours.
	optional []string
	copies   []jsonCopy
}

// jsonCopy is a column with the values of another one, because what stands
// there means two things.
type jsonCopy struct{ column, of string }

func jsonKinds() []jsonKind {
	return []jsonKind{
		{
			// An interval has no id that stays, but no two begin at the same time.
			preset: "timewarrior", fields: []string{"start"},
			like:     map[string]*regexp.Regexp{"start": regexp.MustCompile(`^\d{8}T\d{6}Z$`)},
			optional: []string{"end", "tags", "tags.0", "annotation"},
			copies:   []jsonCopy{{"interval", "start"}},
		},
		{
			// The whole id, as the CSV export does not have it.
			preset: "watson-json", fields: []string{"id", "start", "stop", "project"},
			like:     map[string]*regexp.Regexp{"id": regexp.MustCompile(`^[0-9a-f]{32}$`)},
			optional: []string{"tags"},
			copies:   []jsonCopy{{"frame", "id"}},
		},
		{
			preset: "clockify-api", fields: []string{"timeInterval.start"},
			optional: []string{"timeInterval.end", "timeInterval.duration", "projectId", "taskId", "description"},
		},
	}
}

// knowJSON adds to the table of j what the tracker whose records these are
// lacks or needs, unless the configuration says what they are.
func (l *layout) knowJSON(j *jsonSpool) {
	if l.mapped {
		return
	}
	for _, k := range jsonKinds() {
		if l.preset != nil && l.preset.name != k.preset {
			continue
		}
		known := j.rows > 0
		for _, f := range k.fields {
			known = known && slices.Contains(j.names, f)
		}
		for f, like := range k.like {
			known = known && like.MatchString(j.sample[f])
		}
		if known {
			j.extra, j.copies = append(j.extra, k.optional...), k.copies
			return
		}
	}
}

// keep notes the values of the first record.
func (j *jsonSpool) keep(row *jsonRow) {
	if j.sample != nil || row.Refused != "" {
		return
	}
	j.sample = map[string]string{}
	for i, at := range row.Columns {
		j.sample[j.names[at]] = row.Values[i]
	}
}

// mostEntries bounds what is held of one record with a list in it.
const mostEntries = 10000

// innerList reads the list of which each object becomes a row.
func (j *jsonSpool) innerList(path string, depth int) error {
	for j.dec.More() {
		if len(j.entries) == mostEntries {
			return &Error{Message: fmt.Sprintf("a record has more than %d entries", mostEntries), HintText: "this is no export of hours"}
		}
		var row jsonRow
		if err := j.value(path, depth+1, &row); err != nil {
			return err
		}
		j.entries = append(j.entries, row)
	}
	_, err := j.dec.Token()
	return err
}

// putEntries spools the rows of a record's inner list, each with the values of
// the record around it.
func (j *jsonSpool) putEntries(around *jsonRow) error {
	if len(j.entries) == 0 && around.Refused != "" {
		j.entries = append(j.entries, jsonRow{})
	}
	j.rows += len(j.entries) - 1
	for i := range j.entries {
		row := &j.entries[i]
		row.Columns = append(row.Columns, around.Columns...)
		row.Values = append(row.Values, around.Values...)
		if around.Refused != "" {
			row.Refused = around.Refused
		}
		if row.Refused == "" && j.finish != nil {
			j.finish(j, row)
		}
		if err := j.put(row); err != nil {
			return err
		}
	}
	return nil
}

// get is the value of a row at path; set adds one.
func (j *jsonSpool) get(row *jsonRow, path string) string {
	if at, ok := j.columns[path]; ok {
		if i := slices.Index(row.Columns, at); i >= 0 {
			return row.Values[i]
		}
	}
	return ""
}

func (j *jsonSpool) set(row *jsonRow, path, value string) {
	if at := j.column(path); value != "" {
		row.Columns, row.Values = append(row.Columns, at), append(row.Values, value)
	}
}

// klog tells whether the JSON that comes next is of `klog json`: an object with
// records, each a day with a list of entries in it. A file that klog itself
// refused is an error.
func (r *Reading) klog(in *bufio.Reader) (bool, error) {
	if l := &r.s.layout; l.mapped || l.preset != nil && l.preset.name != "klog" || r.s.cfg.Records != "" {
		return false, nil
	}
	head, err := in.Peek(in.Size())
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false, nil //nolint:nilerr // some other JSON, or none
	}
	keys := map[string]bool{}
	for {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			break
		}
		keys[key] = true
		if t, err = dec.Token(); err != nil {
			break
		}
		if key == "records" && t == json.Delim('[') && dec.More() {
			return klogRecord(dec), nil
		}
		if key == "errors" && t == json.Delim('[') && keys["records"] {
			var e struct {
				Line                 int
				Title, Details, File string
			}
			if dec.More() && dec.Decode(&e) == nil && e.Title != "" {
				return false, &Error{Message: fmt.Sprintf("klog could not read its file, line %d: %s", e.Line, e.Title), HintText: "mend the file of klog, and export it again"}
			}
			return false, nil
		}
		if t == json.Delim('[') && !dec.More() {
			_, err = dec.Token()
		} else if _, nested := t.(json.Delim); nested {
			return false, nil
		}
		if err != nil {
			break
		}
	}
	return keys["records"] && keys["warnings"] && keys["errors"], nil
}

// klogRecord tells whether the object that comes next is a day of klog.
func klogRecord(dec *json.Decoder) bool {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	keys := map[string]bool{}
	for {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			break
		}
		if keys[key] = true; key == "entries" {
			break
		}
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			break
		}
	}
	return keys["date"] && keys["total_mins"] && keys["entries"]
}

// readKlog makes j read the export of klog.
func (j *jsonSpool) readKlog() {
	j.records, j.inner = "records", "entries"
	j.extra = []string{"date", "entries.type", "entries.summary", "entries.total_mins", "entries.from", "entries.to", "entries.tag"}
	// Times can be of the day before or after, and are on either clock; minutes
	// from the beginning of the day always say the same.
	j.finish = func(j *jsonSpool, row *jsonRow) {
		day, err := timesheet.ParseDay(j.get(row, "date"))
		for _, moment := range [][2]string{{"entries.start_mins", "entries.from"}, {"entries.end_mins", "entries.to"}} {
			from, to := moment[0], moment[1]
			text := j.get(row, from)
			minutes, bad := strconv.Atoi(text)
			switch {
			case text == "":
			case err != nil || bad != nil || minutes < -1440 || minutes >= 2*1440:
				row.Refused = quote(text) + " is not a time of the day before, of the day itself or of the day after, in minutes"
			default:
				shift := (minutes + 1440) / 1440
				minutes += 1440 - shift*1440
				j.set(row, to, fmt.Sprintf("%s %02d:%02d", day+timesheet.Day(shift-1), minutes/60, minutes%60))
			}
		}
		tag := j.get(row, "entries.tags.0")
		if tag == "" {
			tag = j.get(row, "tags.0")
		}
		j.set(row, "entries.tag", tag)
	}
}

// longValues refuses JSON with a value that no export of hours has: a decoder
// holds each value in memory, and the space in front of it.
type longValues struct {
	r       io.Reader
	run     int
	quoted  bool
	escaped bool
}

const longestValue = 1 << 20

func (l *longValues) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for _, c := range p[:n] {
		l.run++
		switch {
		case l.escaped:
			l.escaped = false
		case l.quoted && c == '\\':
			l.escaped = true
		case c == '"':
			l.quoted, l.run = !l.quoted, 0
		case !l.quoted && strings.IndexByte(",:[]{}", c) >= 0:
			l.run = 0
		}
		if l.run > longestValue {
			return 0, &Error{Message: fmt.Sprintf("a value, or the space between two, is longer than %d bytes", longestValue), HintText: "this is no export of hours"}
		}
	}
	return n, err
}
