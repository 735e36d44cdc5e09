package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

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

FILE may be CSV, XLSX, JSON or NDJSON, also packed with gzip; "-" is standard
input. It needs no configuration, sends nothing and writes nothing.

With --anonymize it writes a twin of the file instead, for a report of a fault:
with the same header, encoding, delimiter, quotation marks, lines and lengths, but
other letters and digits. Years are moved; days, times of day and hours stay. Look
through it before you give it away.`,
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

// anonymize writes the twin of the file.
func (in *inspection) anonymize(ctx context.Context, a *app, out string) (err error) {
	if in.file == "-" {
		in.cfg.Stdin = strings.NewReader(string(in.stdin))
	}
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
