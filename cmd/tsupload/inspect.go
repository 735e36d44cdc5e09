package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
)

func newInspectCommand(a *app) *cobra.Command {
	var zone, twin string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what an export is, and how to configure it",
		Long: `Read an export from beginning to end and say what it is: its form, encoding and
delimiter, which columns are which, how dates, times and numbers are written, each
with the line that shows it; how many entries and hours there are, and what would
be refused. Then print a source for tsupload.yaml that reads it.

It needs no configuration, sends nothing and writes nothing. Where no column is
known, columns are guessed by their names: check them. An id is never guessed.

With --anonymize it writes a twin of a CSV file instead, for a report of a fault:
with the same header, encoding, delimiter, quotation marks, lines and lengths, but
other letters and digits. Years are moved; days, times of day and hours stay. Look
through it before you give it away.`,
		Example: `  tsupload inspect week47.csv
  tsupload inspect --anonymize harmless.csv week47.csv
  tsupload inspect --timezone Europe/Berlin export.xlsx
  timew export | tsupload inspect -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), a, args[0], zone, twin)
		},
	}
	cmd.Flags().StringVar(&twin, "anonymize", "", "write a harmless twin of the file to `OUT` instead")
	cmd.Flags().StringVar(&zone, "timezone", "UTC", "`ZONE` of the times in the export, such as Europe/Berlin")
	return cmd
}

// inspection is what is found out about a file.
type inspection struct {
	file, zone string
	cfg        source.Config
	guessed    bool
	dates      string // another way of reading dates that nothing excludes
	header     source.Header
	survey     timesheet.Survey
	seconds    timesheet.Seconds
	entries    int
	persons    map[string]bool
	projects   map[string]bool
	from, to   timesheet.Day
	skipped    map[timesheet.Reason]int
	rejected   int
	first      []string // of the rejections
}

func runInspect(ctx context.Context, a *app, file, zone, twin string) error {
	location, err := loadLocation(zone)
	if err != nil {
		return usage("write an IANA name such as Europe/Berlin, or UTC", "--timezone: %s", err)
	}
	in := &inspection{file: file, zone: zone, cfg: source.Config{Name: "inspect", Location: location, Logger: a.logger(nil)}}
	if file == "-" {
		// It is read several times.
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxInspected+1))
		if err != nil {
			return err
		}
		if len(b) > maxInspected {
			return usage("write it to a file", "standard input is longer than %d bytes", maxInspected)
		}
		in.cfg.Stdin = strings.NewReader(string(b))
		if twin != "" {
			return in.anonymize(ctx, a, twin)
		}
		return in.report(ctx, a, string(b))
	}
	in.cfg.Files = []string{file}
	if twin != "" {
		return in.anonymize(ctx, a, twin)
	}
	return in.report(ctx, a, "")
}

// anonymize writes the twin of the file.
func (in *inspection) anonymize(ctx context.Context, a *app, out string) (err error) {
	s, err := source.New(in.cfg)
	if err != nil {
		return err
	}
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage("name another file, or remove it", "%s exists", out)
	}
	if err != nil {
		return usage("name a file in a directory that you can write to", "%s", err)
	}
	buf := bufio.NewWriter(f)
	if err := errors.Join(r.Anonymize(ctx, buf), buf.Flush(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(out))
	}
	if a.json() {
		return a.emit("anonymized", map[string]any{"file": out})
	}
	fmt.Fprintf(a.stdout, "wrote a twin of %s without personal data to %s\n", clean(in.file), clean(out))
	a.say("look through it before you give it away: headers are as they were")
	return nil
}

const maxInspected = 64 << 20

var eitherDate = regexp.MustCompile(`date_format, to (\S+) or to (\S+)`)

// report reads the file in the ways that it may take, and prints what is known.
func (in *inspection) report(ctx context.Context, a *app, stdin string) error {
	err := in.read(ctx)
	for range 2 {
		if in.cfg.Stdin != nil {
			in.cfg.Stdin = strings.NewReader(stdin)
		}
		if err == nil {
			break
		}
		if either := eitherDate.FindStringSubmatch(hintOf(err)); either != nil && in.dates == "" {
			in.cfg.DateFormat, in.dates = either[1], strings.TrimSuffix(either[2], ";")
		} else if columns := source.Guess(in.header.Columns); !in.guessed && len(columns) > 2 {
			if in.guessed, in.cfg.Columns = true, columns; columns["user"] == "" {
				in.cfg.User = "USER-ID"
			}
			guessed := in.read(ctx)
			if _, ok := columns["date"]; guessed != nil && !ok && columns["start"] == "" {
				break // nothing is gained: the first error says more
			}
			err = guessed
			continue
		} else {
			break
		}
		err = in.read(ctx)
	}
	if a.json() {
		if err != nil {
			return err
		}
		return a.emit("inspection", in.json())
	}
	if err == nil {
		in.print(a.stdout)
		return nil
	}
	if len(in.header.Columns) > 0 {
		fmt.Fprintf(a.stdout, "%s\n", clean(in.file))
		in.printHeader(a.stdout)
	}
	return err
}

// read goes through the file once in the way that cfg says.
func (in *inspection) read(ctx context.Context) error {
	in.entries, in.seconds, in.rejected, in.first = 0, 0, 0, nil
	in.persons, in.projects, in.skipped = map[string]bool{}, map[string]bool{}, map[timesheet.Reason]int{}
	s, err := source.New(in.cfg)
	if err != nil {
		return err
	}
	r, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if in.header.Columns == nil {
		if in.header, err = r.Header(ctx); err != nil {
			return err
		}
	}
	if in.survey, err = r.Survey(ctx); err != nil {
		return err
	}
	return r.Rows(ctx, func(row *timesheet.Row) error {
		switch {
		case row.Entry != nil:
			e := row.Entry
			if in.entries == 0 || e.Day < in.from {
				in.from = e.Day
			}
			if in.entries == 0 || e.Day > in.to {
				in.to = e.Day
			}
			in.entries++
			in.seconds += e.Duration
			in.persons[e.Person], in.projects[e.Project] = true, true
		case row.Skipped != nil:
			in.skipped[row.Skipped.Reason]++
		default:
			if in.rejected++; len(in.first) < 5 {
				in.first = append(in.first, fmt.Sprintf("line %d: %s", row.Rejection.Origin.Line, row.Rejection.Message))
			}
		}
		return nil
	})
}

func (in *inspection) decided(what string) string {
	for _, d := range in.survey.Files[0].Decisions {
		if d.What == what {
			return d.Value
		}
	}
	return ""
}

func (in *inspection) printHeader(w io.Writer) {
	where := "keys of the records"
	if in.header.Line > 0 {
		where = fmt.Sprintf("header, line %d", in.header.Line)
	}
	quoted := make([]string, len(in.header.Columns))
	for i, c := range in.header.Columns {
		quoted[i] = yamlText(strings.TrimSpace(c))
	}
	fmt.Fprintf(w, "  %s: %s\n", where, strings.Join(quoted, ", "))
}

func (in *inspection) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", clean(in.file), count(in.survey.Rows, "row"))
	for _, d := range in.survey.Files[0].Decisions {
		fmt.Fprintf(w, "  %s: %s (%s)\n", d.What, clean(d.Value), clean(d.Evidence))
	}
	in.printHeader(w)
	if in.guessed {
		fmt.Fprintf(w, "  columns are guessed by their names: check them below\n")
	}
	if in.dates != "" {
		fmt.Fprintf(w, "  no date tells whether the day or the month comes first: shown as %s, check it below\n", in.cfg.DateFormat)
	}
	for _, n := range in.survey.Notes {
		fmt.Fprintf(w, "  note: %s\n", clean(n))
	}
	fmt.Fprintf(w, "\n%s, %s hours", plural(in.entries, "entry", "entries"), in.seconds.Clock())
	if in.entries > 0 {
		fmt.Fprintf(w, " of %s on %s, from %s to %s", plural(len(in.persons), "person", "persons"), plural(len(in.projects), "project", "projects"), in.from, in.to)
	}
	fmt.Fprintln(w)
	for _, reason := range slices.Sorted(maps.Keys(in.skipped)) {
		fmt.Fprintf(w, "%s skipped: %s\n", count(in.skipped[reason], "row"), reason)
	}
	if in.rejected > 0 {
		fmt.Fprintf(w, "%s refused\n", count(in.rejected, "row"))
		for _, f := range in.first {
			fmt.Fprintf(w, "  %s\n", clean(f))
		}
	}
	fmt.Fprintf(w, "\nFor tsupload.yaml:\n\n%s", in.block())
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// yamlText quotes s as both JSON and YAML do.
func yamlText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// block is a configuration that reads the file.
func (in *inspection) block() string {
	var b strings.Builder
	name := strings.Trim(notInName.ReplaceAllString(strings.SplitN(filepath.Base(in.file), ".", 2)[0], "-"), "-._")
	if name == "" {
		name = "export"
	}
	b.WriteString("sources:\n  - name: " + yamlText(name) + "  # never change it once hours were sent\n")
	check := ""
	if in.zone == "UTC" {
		check = "  # the zone of the times in the export: check it"
	}
	fmt.Fprintf(&b, "    timezone: %s%s\n", in.zone, check)
	path := in.file
	if path == "-" {
		path = "EXPORT"
	} else if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	fmt.Fprintf(&b, "    csv: {path: %s}  # or a pattern\n", yamlText(strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)))
	if tracker := in.decided("tracker"); tracker != "" && !in.guessed {
		fmt.Fprintf(&b, "    preset: %s\n", yamlText(tracker))
	}
	if in.guessed {
		if in.cfg.User != "" {
			b.WriteString("    user: " + in.cfg.User + "  # whose hours these are\n")
		}
		fields := []string{}
		for _, field := range slices.Sorted(maps.Keys(in.cfg.Columns)) {
			fields = append(fields, field+": "+yamlText(in.cfg.Columns[field]))
		}
		fmt.Fprintf(&b, "    columns: {%s}\n", strings.Join(fields, ", "))
	}
	if in.dates != "" {
		fmt.Fprintf(&b, "    date_format: %s  # or %s: no date in the file tells\n", yamlText(in.cfg.DateFormat), in.dates)
	}
	return b.String()
}

func (in *inspection) json() map[string]any {
	decisions := []map[string]string{}
	for _, d := range in.survey.Files[0].Decisions {
		decisions = append(decisions, map[string]string{"what": d.What, "value": d.Value, "evidence": d.Evidence})
	}
	skipped := map[string]int{}
	for reason, n := range in.skipped {
		skipped[string(reason)] = n
	}
	return map[string]any{
		"file": in.file, "rows": in.survey.Rows, "decisions": decisions, "header": in.header.Columns, "header_line": in.header.Line, "guessed": in.guessed,
		"notes": append([]string{}, in.survey.Notes...), "entries": in.entries, "seconds": in.seconds, "persons": len(in.persons), "projects": len(in.projects),
		"skipped": skipped, "rejected": in.rejected, "config": in.block(),
	}
}
