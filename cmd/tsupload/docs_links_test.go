package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	elsewhere = regexp.MustCompile(`^[a-z]+:`)
)

// prose reads a document without its fenced blocks, where links are text.
func prose(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, inside := &strings.Builder{}, false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			inside = !inside
		} else if !inside {
			out.WriteString(line)
		}
	}
	return out.String()
}

// anchors are the names that a document's headings have on GitHub.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range mdHeading.FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// broken are the links of a document that lead nowhere, and how many there are
// that stay within the repository.
func broken(t *testing.T, file string) (bad []string, links int) {
	t.Helper()
	for _, m := range mdLink.FindAllStringSubmatch(prose(t, file), -1) {
		if elsewhere.MatchString(m[1]) {
			continue
		}
		links++
		path, anchor, _ := strings.Cut(m[1], "#")
		target := file
		if path != "" {
			target = filepath.Join(filepath.Dir(file), path)
		}
		if _, err := os.Stat(target); err != nil {
			bad = append(bad, m[1])
			continue
		}
		if anchor != "" && !anchors(prose(t, target))[anchor] {
			bad = append(bad, m[1])
		}
	}
	return bad, links
}

func TestLinks(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} {
		files = append(files, filepath.Join("../..", name))
	}
	for _, file := range files {
		bad, links := broken(t, file)
		total += links
		for _, link := range bad {
			t.Errorf("%s: the link %s leads nowhere", filepath.Base(file), link)
		}
	}
	if total < 15 {
		t.Errorf("only %d links were found", total)
	}
}

func TestLinksFindFaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.md")
	text := "# Time to `stop`, now\n[1](#time-to-stop-now) [2](a.md#time-to-stop-now) [3](https://example.com/x) [4](#stop) [5](b.md) [6](a.md#b)\n```\n[7](c.md)\n```\n"
	write(t, file, text)
	if bad, links := broken(t, file); strings.Join(bad, " ") != "#stop b.md a.md#b" || links != 5 {
		t.Errorf("got %q of %d links", bad, links)
	}
}

// Whoever has alerts on lines of the log needs them to stay as they are
// documented.
func TestDocumentedLogLines(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, dir := range []string{"../../cmd", "../../internal", "../../uploader", "../../source", "../../tokencache"} {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			code.Write(text)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	_, table, _ := strings.Cut(prose(t, "../../docs/operations.md"), "| line | level |")
	table, _, _ = strings.Cut(table, "\n\n")
	levels := map[string]string{"ERROR": "Error", "WARN": "Warn"}
	lines := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`.+`) \\| (\\w+) \\|").FindAllStringSubmatch(table, -1) {
		for line := range strings.SplitSeq(row[1], ", `") {
			line = strings.Trim(line, "`")
			lines++
			if !regexp.MustCompile(`\.` + levels[row[2]] + `Context\([^\n]*, "` + regexp.QuoteMeta(line) + `"`).MatchString(code.String()) {
				t.Errorf("nothing logs %q as %s", line, row[2])
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines were found", lines)
	}
}
