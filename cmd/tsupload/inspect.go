package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/replace"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
)

func newInspectCommand(a *app) *cobra.Command {
	var zone, twin string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what an export is, and how to configure it",
		Long: `Read an export from beginning to end and say what it is: its form, encoding and
delimiter, whose tracker's it is and what each column is read as, how dates,
times, numbers and durations are written, each with the line that shows it; how
many entries and hours there are, and what would be refused and why. Then print
a source for tsupload.yaml that reads it.

What the file does not say is listed with the key of the configuration that
settles it, and taken in the way that refuses the fewest rows; check those.
Where no tracker is known, columns are guessed by their names. An id is never
guessed.

FILE may be CSV, XLSX, JSON, NDJSON or a calendar, also packed with gzip; "-" is
standard input. It needs no configuration, sends nothing and writes nothing.

With --anonymize it writes a twin of the file instead, for a report of a fault:
in the same form, with the same header, encoding, delimiter, quotation marks,
lines and lengths, but other letters and digits. Dates are moved by whole weeks,
all by as many; times of day and hours stay. It is read to see that it is one:
with as many entries, hours and refused rows. Of a workbook only cells and their
number formats go along. The twin is readable by you alone. Look through it
before you give it away: the names of columns stay.`,
		Example: `  tsupload inspect week47.csv
  tsupload inspect --timezone Europe/Berlin export.xlsx
  timew export | tsupload inspect -
  tsupload inspect -o json week47.csv
  tsupload inspect --anonymize harmless.csv week47.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), a, args[0], zone, twin)
		},
	}
	cmd.Flags().StringVar(&twin, "anonymize", "", "write a harmless twin of the file to `OUT` instead")
	cmd.Flags().StringVar(&zone, "timezone", "", "`ZONE` of the times in the export, such as Europe/Berlin (default: UTC)")
	return cmd
}

func runInspect(ctx context.Context, a *app, file, zone, twin string) error {
	in, err := a.newInspection(file, zone)
	if err != nil {
		return err
	}
	if twin != "" {
		return in.anonymize(ctx, a, twin)
	}
	in.settle(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if a.json() {
		return errors.Join(a.emit("inspection", in.json()), in.err)
	}
	if in.err == nil {
		in.print(a.stdout)
		return nil
	}
	if len(in.found.Columns) > 0 {
		fmt.Fprintf(a.stdout, "%s\n", clean(in.file))
		in.printColumns(a.stdout)
	}
	return in.err
}

// twinTries is how many twins are made until one is read as its original is.
const twinTries = 5

// anonymize writes the twin of the file, and reads it to see that it is one.
func (in *inspection) anonymize(ctx context.Context, a *app, out string) error {
	if exists(out) {
		return usage("name another file, or remove it", "%s exists", out)
	}
	in.settle(ctx)
	var twin []byte
	differs := ""
	for range twinTries {
		var err error
		if twin, err = in.twin(ctx); err != nil {
			return err
		}
		if differs = in.differs(ctx, twin); differs == "" {
			break
		}
	}
	switch err := replace.New(out, twin, 0o600); {
	case errors.Is(err, fs.ErrExist):
		return usage("name another file, or remove it", "%s exists", out)
	case err != nil:
		return usage("name a file in a directory that you can write to", "%s", err)
	}
	if a.json() {
		return a.emit("anonymized", map[string]any{"file": out, "alike": differs == "", "differs": differs, "entries": in.entries, "seconds": in.seconds, "rejected": in.refused})
	}
	fmt.Fprintf(a.stdout, "wrote a twin of %s without personal data to %s\n", clean(in.file), clean(out))
	switch {
	case differs != "":
		a.say("note: it is not read as its original is: %s", clean(differs))
	case in.err != nil:
		a.say("it is refused as its original is")
	default:
		fmt.Fprintf(a.stdout, "it is read as its original is: %s, %s hours, %s refused\n", count(in.entries, "entry"), in.seconds.Clock(), count(in.refused, "row"))
	}
	a.say("look through it before you give it away: the names of columns are as they were")
	return nil
}

func (in *inspection) twin(ctx context.Context) ([]byte, error) {
	cfg := in.cfg
	if in.file == "-" {
		cfg.Stdin = bytes.NewReader(in.stdin)
	}
	s, err := source.New(cfg)
	if err != nil {
		return nil, err
	}
	r, err := s.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	err = r.Anonymize(ctx, &b)
	return b.Bytes(), err
}

// differs says in what a twin is read otherwise than the file; empty: nothing.
func (in *inspection) differs(ctx context.Context, twin []byte) string {
	cfg := in.cfg
	cfg.Files, cfg.As = nil, nil
	other := &inspection{stdin: twin}
	t := other.try(ctx, cfg)
	switch {
	case in.err != nil && t.err != nil:
		return ""
	case (in.err == nil) != (t.err == nil):
		return "one of them is refused whole"
	case t.entries != in.entries || t.refused != in.refused:
		return fmt.Sprintf("it has %s and %s, the file %s and %s", count(t.entries, "entry"), count(t.refused, "refused row"), count(in.entries, "entry"), count(in.refused, "refused row"))
	case t.seconds != in.seconds:
		return fmt.Sprintf("it has %s hours, the file %s", t.seconds.Clock(), in.seconds.Clock())
	case !maps.Equal(t.rejected, in.rejected) || !maps.Equal(t.skipped, in.skipped):
		return "rows are refused or skipped for other reasons"
	}
	for _, d := range in.found.Decisions {
		i := slices.IndexFunc(t.found.Decisions, func(o timesheet.Decision) bool { return o.What == d.What })
		if i < 0 || t.found.Decisions[i].Value != d.Value && d.What != "form" && d.What != "days" { // those name sheets and days
			return d.What + " is decided otherwise"
		}
	}
	return ""
}
