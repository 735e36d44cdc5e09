// Package man writes the manual pages and the completions that packages carry.
// The program that calls it is cmd/tsupload under the build tag man; the one
// that is shipped has none of this.
package man

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Config says what is written.
type Config struct {
	// Dir receives man1/*.1 and completions/{tsupload.bash,_tsupload,tsupload.fish};
	// it is created.
	Dir string
	// Root is the program's command.
	Root *cobra.Command
	// ExitStatus is the table that ends the long help of commands. In a page it
	// becomes a section.
	ExitStatus string
	// Date stands in the pages' head. Two calls with one date write the same
	// bytes.
	Date time.Time
	// Version stands in the pages' foot.
	Version string
}

// Write writes pages and completions.
func Write(c Config) error {
	pages, completions := filepath.Join(c.Dir, "man1"), filepath.Join(c.Dir, "completions")
	for _, dir := range []string{pages, completions} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // what packages carry is for everybody
			return err
		}
	}
	if err := c.page(c.Root, pages); err != nil {
		return err
	}
	for name, generate := range map[string]func(*bytes.Buffer) error{
		"tsupload.bash": func(b *bytes.Buffer) error { return c.Root.GenBashCompletionV2(b, true) },
		"_tsupload":     func(b *bytes.Buffer) error { return c.Root.GenZshCompletion(b) },
		"tsupload.fish": func(b *bytes.Buffer) error { return c.Root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		if err := generate(&b); err != nil {
			return fmt.Errorf("completion %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(completions, name), b.Bytes(), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}

// page writes the page of a command and of all below it.
func (c Config) page(cmd *cobra.Command, dir string) error {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := c.page(sub, dir); err != nil {
			return err
		}
	}
	long, disabled := cmd.Long, cmd.DisableAutoGenTag
	defer func() { cmd.Long, cmd.DisableAutoGenTag = long, disabled }()
	// The generator's tag would carry the day of the build.
	cmd.Long, cmd.DisableAutoGenTag = strings.TrimSuffix(long, c.ExitStatus), true
	var b bytes.Buffer
	date := c.Date.UTC()
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "tsupload " + c.Version, Manual: "tsupload"}
	if err := doc.GenMan(cmd, header, &b); err != nil {
		return fmt.Errorf("page of %s: %w", cmd.CommandPath(), err)
	}
	page := b.String()
	if cmd.Long != long {
		const next = ".SH SEE ALSO"
		head, rest, found := strings.Cut(page, next)
		page = head + exitStatus(c.ExitStatus)
		if !cmd.HasParent() {
			page += files
		}
		if found {
			page += next + rest
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
	return os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644) //nolint:gosec // as above
}

// exitStatus is the table of the help as a section of a page. A line of it is
// the statuses, two blanks or more, and what they mean.
func exitStatus(table string) string {
	b := &strings.Builder{}
	b.WriteString(".SH EXIT STATUS\n")
	for line := range strings.Lines(table) {
		codes, meaning, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if ok {
			fmt.Fprintf(b, ".TP\n\\fB%s\\fP\n%s\n", codes, roff(strings.TrimSpace(meaning)))
		}
	}
	return b.String()
}

// roff makes a line of text a line of text: a dash a dash, and nothing at its
// beginning a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\\`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

const files = `.SH FILES
.TP
\fI/etc/tsupload/tsupload.yaml\fP
the configuration, where neither \-\-config nor TSUPLOAD_CONFIG, the working directory nor the user's configuration directory has one
.TP
\fI/var/lib/tsupload\fP
ledger and tokens of the service: the memory of what was sent; back it up
.TP
\fI/etc/tsupload/client\-secret\fP
the client's secret, which the service reads as a credential
`
