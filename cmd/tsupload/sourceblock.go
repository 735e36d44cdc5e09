package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sourceBlock is an element of sources, to be pasted into a configuration or
// written by init. Comments say what nobody but a person knows.
type sourceBlock struct {
	name, path, timezone, schedule  string
	preset, user, project           string
	columns                         map[string]string
	dateFormat, timeFormat, decimal string
	durationFormat                  string
	encoding, records, sheet        string
	// Of a tracker that is read through its API, in place of files. token is a
	// reference, as the configuration has it.
	tracker, url, token string
	params              map[string]string
	// notes go behind the lines of the keys of that name.
	notes map[string]string
}

// yaml is the block with its heading.
func (s *sourceBlock) yaml() string {
	var b strings.Builder
	line := func(key, text string) {
		if text == "" {
			return
		}
		b.WriteString("    " + key + ": " + text)
		if note := s.notes[key]; note != "" {
			b.WriteString("  # " + note)
		}
		b.WriteByte('\n')
	}
	quoted := func(key, text string) {
		if text != "" {
			line(key, yamlText(text))
		}
	}
	b.WriteString("sources:\n  - name: " + yamlText(s.name) + "  # never change it once hours were sent\n")
	line("timezone", s.timezone)
	quoted("schedule", s.schedule)
	if s.tracker != "" {
		line("http", s.http())
	} else {
		line("csv", s.csv())
	}
	quoted("preset", s.preset)
	quoted("user", s.user)
	if len(s.columns) > 0 {
		fields := []string{}
		for _, field := range slices.Sorted(maps.Keys(s.columns)) {
			fields = append(fields, field+": "+yamlText(s.columns[field]))
		}
		line("columns", "{"+strings.Join(fields, ", ")+"}")
	}
	if s.project != "" {
		line("defaults", "{project: "+yamlText(s.project)+"}")
	}
	quoted("date_format", s.dateFormat)
	quoted("time_format", s.timeFormat)
	quoted("duration_format", s.durationFormat)
	quoted("decimal", s.decimal)
	return b.String()
}

// csv is where the block's files lie and how they are read, on one line.
func (s *sourceBlock) csv() string {
	csv := []string{"path: " + yamlText(s.path)}
	for _, k := range [][2]string{{"encoding", s.encoding}, {"sheet", s.sheet}, {"records", s.records}} {
		if k[1] != "" {
			csv = append(csv, k[0]+": "+yamlText(k[1]))
		}
	}
	return "{" + strings.Join(csv, ", ") + "}"
}

// yamlText quotes s as both JSON and YAML do.
func yamlText(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// yamlList is a list on one line.
func yamlList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = yamlText(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// globQuote is a pattern that matches the path alone.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
