package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/source"
)

// initOptions are the flags of init; what is empty is asked for, or has a
// default.
type initOptions struct {
	sample             string
	out                string
	force, withoutAPI  bool
	source             sourceBlock
	columns, params    []string
	tokenFrom          string
	apiURL             string
	supports           []string
	issuer, tokenURL   string
	audience, clientID string
	secretFrom         string
}

func newInitCommand(a *app) *cobra.Command {
	var opts initOptions
	cmd := &cobra.Command{
		Use:   "init [SAMPLE]",
		Short: "Write a configuration from a sample export and a few answers",
		Long: `Look at a sample export as "tsupload inspect" does, ask for what it does not say,
and write a configuration that reads it. On a terminal every answer that no flag
gave is asked for, with a proposal where there is one, and asked again where it
cannot be right. Elsewhere, and with --no-input, nothing is asked: flags that are
missing are named.

With --tracker, or its name where a sample is asked for, the source is that
tracker's API, with its parameters and a token; nothing is asked of the API.

Without --without-api the configuration is one for uploads. --secret-from says
where the client secret lies, never what it is: keyring, file:PATH, env:NAME,
credential:NAME (systemd), or command:PROGRAM ARGUMENT... So does --token-from
of the tracker's token, in the keyring as keyring:NAME.

The file is checked, and the sample read with it, before it is written, whole or
not at all; a file that is there stays, unless --force is given. It holds no
secret. It is readable by its owner alone, or, where root writes it, by the user
that tsupload runs as.`,
		Example: `  tsupload init week47.csv
  tsupload init --without-api --timezone Europe/Berlin --no-input week47.csv
  tsupload init week47.csv --no-input --timezone Europe/Berlin --schedule "0 6 * * *" \
      --path "/srv/acme/*.csv" --api-url https://timesheets.exampleco.com \
      --issuer https://exampleco.eu.auth0.com/ --client-id abc --secret-from keyring`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				opts.sample = args[0]
			}
			return runInit(cmd.Context(), a, &opts, a.asks())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.out, "out", "O", "", "write to `FILE` (default: --config, or tsupload.yaml)")
	f.BoolVar(&opts.force, "force", false, "replace a file that is there")
	f.BoolVar(&opts.withoutAPI, "without-api", false, "for dry runs and rehearsals only: no API, no credentials")
	s := &opts.source
	f.StringVar(&s.name, "name", "", "`NAME` of the source (default: made of the sample's)")
	f.StringVar(&s.path, "path", "", "file or `PATTERN` of the exports (default: the sample)")
	f.StringVar(&s.timezone, "timezone", "", "`ZONE` of the times in the export, such as Europe/Berlin")
	f.StringVar(&s.schedule, "schedule", "", "`CRON` expression of when the daemon reads it; none: by hand or a timer")
	f.StringVar(&s.preset, "preset", "", "`TRACKER` whose export it is (default: as the sample's header tells)")
	f.StringVar(&s.tracker, "tracker", "", "read the API of `TRACKER` in place of files like a sample: "+strings.Join(source.APIs(), ", "))
	f.StringVar(&s.url, "tracker-url", "", "base `URL` of the tracker's API, where it is your own or of another region")
	f.StringArrayVar(&opts.params, "param", nil, "`NAME=VALUE` of a parameter of the tracker's API, such as workspace=1234567 (repeatable)")
	f.StringVar(&opts.tokenFrom, "token-from", "", "`WHERE` the tracker's API token lies")
	f.StringArrayVar(&opts.columns, "column", nil, "`FIELD=HEADER` of a column, in place of a preset (repeatable)")
	f.StringVar(&s.user, "user", "", "user `ID` of the one person whose hours these are")
	f.StringVar(&s.project, "project", "", "`PROJECT` of rows without one")
	f.StringVar(&s.dateFormat, "date-format", "", "`FORMAT` of dates, such as DD/MM/YYYY, where no date tells")
	f.StringVar(&s.timeFormat, "time-format", "", "`CLOCK` of times of day: 24h or 12h, where both are there")
	f.StringVar(&s.durationFormat, "duration-format", "", "`FORMAT` of the duration column: h:mm, decimal, minutes or seconds")
	f.StringVar(&s.decimal, "decimal", "", "decimal `SIGN` of hours: . or ,")
	f.StringVar(&opts.apiURL, "api-url", "", "base `URL` of the Timesheets API")
	f.StringSliceVar(&opts.supports, "supports", nil, "what the API has beyond the plain contract: `LIST` of batch, idempotency_key, read_back, update")
	f.StringVar(&opts.issuer, "issuer", "", "issuer `URL` of the authorization server")
	f.StringVar(&opts.tokenURL, "token-url", "", "token endpoint `URL`, where the server has no discovery")
	f.StringVar(&opts.audience, "audience", "", "the API's `ID` at the authorization server")
	f.StringVar(&opts.clientID, "client-id", "", "the client's `ID` at the authorization server")
	f.StringVar(&opts.secretFrom, "secret-from", "", "`WHERE` the client secret lies (default: keyring)")
	return cmd
}

// initiation is one run of init.
type initiation struct {
	*app
	*initOptions
	ask     *asker // nil: nobody to ask
	in      *inspection
	missing []string // flags
}

func runInit(ctx context.Context, a *app, opts *initOptions, ask *asker) error {
	n := &initiation{app: a, initOptions: opts, ask: ask}
	// Nothing is under way that the first signal would have to wait for.
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-a.stopping:
			cancel()
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel()
	err := n.run(ctx)
	if errors.Is(err, errStopped) || errors.Is(err, context.Canceled) {
		return stoppedError{}
	}
	return err
}

// stoppedError is the end of a command by a signal before it has written
// anything.
type stoppedError struct{}

func (stoppedError) Error() string { return "stopped by a signal; nothing was written" }

func (stoppedError) Unwrap() error { return context.Canceled }

func (n *initiation) run(ctx context.Context) error {
	if n.out == "" {
		if n.out = n.configPath; n.out == "" {
			n.out = config.FileName
		}
	}
	if exists(n.out) && !n.force {
		return usage("name another with --out, or replace it with --force", "%s exists", n.out)
	}
	if dir := filepath.Dir(n.out); !exists(dir) {
		return usage("make it first, or name another file with --out", "the directory %s does not exist", dir)
	}
	for _, step := range []func(context.Context) error{n.file, n.place, n.reading, n.identify, n.upload} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if len(n.missing) > 0 {
		return usage("give them, or run `tsupload init` on a terminal, which asks", "missing: %s", strings.Join(n.missing, ", "))
	}
	return n.write(ctx)
}

// need gets a value: from its flag, from its default where nobody can be
// asked, or from a person. Where none gives it, the flag is missing.
func (n *initiation) need(ctx context.Context, flag, question string, value *string, proposed string, optional bool, check func(string) error) error {
	given := *value != ""
	if n.ask == nil && !given {
		if proposed == "" && !optional {
			n.missing = append(n.missing, "--"+flag)
			return nil
		}
		*value = proposed
		given = proposed != ""
		if !given {
			return nil
		}
	}
	checked := func(text string) error {
		if text == "" {
			if optional {
				return nil
			}
			return errors.New("an answer is needed")
		}
		return check(text)
	}
	if given {
		if err := checked(*value); err != nil {
			return usage(hintOf(err), "--%s: %s", flag, err)
		}
		return nil
	}
	answer, err := n.ask.ask(ctx, question, proposed, checked)
	*value = answer
	return err
}

// file is the sample.
func (n *initiation) file(ctx context.Context) error {
	if n.sample == "-" {
		return usage("save it to a file first", "a sample has to be a file")
	}
	if n.sample != "" || n.source.tracker != "" || n.ask == nil {
		if n.sample+n.source.tracker == "" {
			n.missing = append(n.missing, "SAMPLE (an export to look at) or --tracker")
		}
		return nil
	}
	var err error
	n.sample, err = n.ask.ask(ctx, "a sample export, as a file, or a tracker to read through its API: "+strings.Join(source.APIs(), ", "), "", func(text string) error {
		if text == "" {
			return errors.New("an answer is needed")
		}
		if slices.Contains(source.APIs(), text) && !exists(text) {
			n.source.tracker = text
			return nil
		}
		if info, err := os.Stat(text); err != nil || info.IsDir() {
			return errors.New("there is no such file")
		}
		return nil
	})
	if n.source.tracker != "" {
		n.sample = ""
	}
	return err
}

// place asks where and when the export is from.
func (n *initiation) place(ctx context.Context) error {
	s := &n.source
	return n.need(ctx, "timezone", "time zone of the export, such as Europe/Berlin", &s.timezone, "", false, func(text string) error {
		s.timezone = text
		return n.faultsOf("sources[0].timezone")
	})
}

// reading looks at the sample and asks for what it leaves open.
func (n *initiation) reading(ctx context.Context) error {
	if n.source.tracker != "" {
		return n.tracker(ctx)
	}
	if n.source.url+n.tokenFrom != "" || len(n.params) > 0 {
		return usage("name the tracker, or leave them out", "--tracker-url, --param and --token-from have no meaning without --tracker")
	}
	if n.sample == "" {
		return nil
	}
	zone := n.source.timezone
	if zone == "" {
		zone = "UTC"
	}
	in, err := n.newInspection(n.sample, zone)
	if err != nil {
		return err
	}
	s := &n.source
	in.cfg.Preset, in.cfg.User, in.cfg.Defaults.Project = s.preset, s.user, s.project
	in.cfg.DateFormat, in.cfg.TimeFormat, in.cfg.DurationFormat, in.cfg.Decimal = s.dateFormat, s.timeFormat, s.durationFormat, s.decimal
	if in.cfg.Columns, err = parseColumns(n.columns); err != nil {
		return usage("write it like --column date=Day", "--column: %s", err)
	}
	in.settle(ctx)
	if in.err != nil {
		return in.err
	}
	n.in = in
	if n.ask != nil && !n.quiet {
		tracker, _ := in.decided("tracker")
		fmt.Fprintf(n.stderr, "%s: %s, %s hours, %s refused; tracker: %s\n", clean(in.file),
			count(in.entries, "entry"), in.seconds.Clock(), count(in.refused, "row"), clean(tracker))
	}
	if err := n.guesses(ctx); err != nil {
		return err
	}
	for _, q := range slices.Clone(n.in.open) {
		if err := n.settles(ctx, q); err != nil {
			return err
		}
	}
	b := n.in.block()
	name, path, schedule := s.name, s.path, s.schedule
	*s = *b
	s.name, s.path, s.timezone, s.schedule, s.notes = name, path, zone, schedule, map[string]string{}
	for _, key := range []string{"date_format", "decimal"} {
		s.notes[key] = b.notes[key]
		if n.in.asks(key) {
			s.notes[key] = "" // a person's word, not the file's
		}
	}
	return nil
}

// guesses has somebody look at columns that were guessed.
func (n *initiation) guesses(ctx context.Context) error {
	in := n.in
	if !in.guessed {
		return nil
	}
	fields := slices.Sorted(maps.Keys(in.cfg.Columns))
	if n.ask == nil {
		for _, field := range fields {
			n.missing = append(n.missing, fmt.Sprintf("--column %s", shellWord(field+"="+in.cfg.Columns[field])))
		}
		return nil
	}
	fmt.Fprintf(n.stderr, "no tracker has such a header; by their names the columns are\n")
	for _, field := range fields {
		fmt.Fprintf(n.stderr, "  %s=%s\n", field, clean(in.cfg.Columns[field]))
	}
	_, err := n.ask.ask(ctx, "columns to change, as FIELD=HEADER with commas between; - for none", "", func(text string) error {
		if text == "-" {
			return nil
		}
		if text == "" {
			return errors.New("look at them, then answer - if they are right")
		}
		changed, err := parseColumns(strings.Split(text, ","))
		if err != nil {
			return err
		}
		cfg := in.cfg
		cfg.Columns = maps.Clone(in.cfg.Columns)
		maps.Copy(cfg.Columns, changed)
		if changed["user"] != "" {
			cfg.User = n.source.user
		}
		t := in.try(ctx, cfg)
		if t.err != nil {
			return t.err
		}
		in.trial = t
		in.open = slices.DeleteFunc(in.open, func(q question) bool { return q.key == "user" && changed["user"] != "" })
		return nil
	})
	return err
}

// settles asks one of the questions that the sample leaves open.
func (n *initiation) settles(ctx context.Context, q question) error {
	in := n.in
	flag := strings.ReplaceAll(q.key, "_", "-")
	prompt := q.why + "; " + q.key
	switch q.key {
	case "user":
		prompt = "user id of the one person whose hours these are"
	case "defaults.project":
		flag, prompt = "project", "project of rows without one"
	case "date_format", "time_format", "duration_format", "decimal":
		prompt += ", " + strings.Join(q.options, " or ")
	default:
		return nil // the file has only one answer
	}
	if q.taken == "" {
		return nil // some rows are refused for it: that may be right
	}
	if n.ask == nil {
		if len(q.options) > 0 {
			flag += " " + strings.Join(q.options, "|")
		}
		n.missing = append(n.missing, "--"+flag)
		return nil
	}
	_, err := n.ask.ask(ctx, prompt, "", func(text string) error {
		switch {
		case text == "":
			return errors.New("an answer is needed: nothing in the file tells")
		case len(q.options) > 0 && !slices.Contains(q.options, text):
			return errors.New("it has to be " + strings.Join(q.options, " or "))
		}
		cfg := in.cfg
		setKey(&cfg, q.key, text)
		t := in.try(ctx, cfg)
		if t.err == nil {
			in.trial = t
		}
		return t.err
	})
	return err
}

// identify asks how the source is called and where its exports lie.
func (n *initiation) identify(ctx context.Context) error {
	s := &n.source
	if n.sample == "" && s.tracker == "" {
		return nil
	}
	if err := n.need(ctx, "name", "name of the source; never change it once hours were sent", &s.name, cmp.Or(s.tracker, nameOf(n.sample)), false, func(text string) error {
		s.name = text
		return n.faultsOf("sources[0].name")
	}); err != nil {
		return err
	}
	if err := n.files(ctx); err != nil {
		return err
	}
	return n.need(ctx, "schedule", "when the daemon reads it, such as 0 6 * * *; empty: by hand or a timer", &s.schedule, "", true, func(text string) error {
		s.schedule = text
		return n.faultsOf("sources[0].schedule")
	})
}

// files asks where the exports lie.
func (n *initiation) files(ctx context.Context) error {
	s := &n.source
	if s.tracker != "" {
		return nil
	}
	own, err := filepath.Abs(n.sample)
	if err != nil {
		return err
	}
	path := s.path
	return n.need(ctx, "path", "file or pattern of the exports, such as /srv/acme/*.csv", &path, globQuote(own), false, func(text string) error {
		if !filepath.IsAbs(text) {
			// In the file it would be relative to the file's directory.
			abs, err := filepath.Abs(text)
			if err != nil {
				return err
			}
			text = abs
		}
		s.path = text
		return n.faultsOf("sources[0].csv.path")
	})
}

// upload asks for the API and who we are there.
func (n *initiation) upload(ctx context.Context) error {
	if n.withoutAPI {
		for flag, value := range map[string]string{
			"api-url": n.apiURL, "issuer": n.issuer, "token-url": n.tokenURL, "audience": n.audience, "client-id": n.clientID, "secret-from": n.secretFrom,
			"supports": strings.Join(n.supports, ","),
		} {
			if value != "" {
				return usage("leave one of them out", "--without-api and --%s exclude each other", flag)
			}
		}
		return nil
	}
	asked := n.ask != nil
	question := "base URL of the Timesheets API"
	if asked {
		question += "; empty: for dry runs only"
	}
	if err := n.need(ctx, "api-url", question, &n.apiURL, "", asked, func(text string) error {
		n.apiURL = text
		return n.faultsOf("api.url")
	}); err != nil {
		return err
	}
	if n.apiURL == "" && asked {
		n.withoutAPI = true
		return nil
	}
	supports := strings.Join(n.supports, ",")
	if err := n.need(ctx, "supports", "what it has beyond the plain contract, of batch, idempotency_key, read_back, update; empty: nothing", &supports, "", true, func(text string) error {
		n.supports = nil
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); word != "" {
				n.supports = append(n.supports, word)
			}
		}
		return n.faultsOf("api.supports")
	}); err != nil {
		return err
	}
	switch {
	case n.issuer != "" && n.tokenURL != "":
		return usage("leave one of them out", "--issuer and --token-url exclude each other")
	case n.tokenURL != "":
		if err := n.faultsOf("auth.token_url"); err != nil {
			return usage(hintOf(err), "--token-url: %s", err)
		}
	default:
		if err := n.need(ctx, "issuer", "issuer of the authorization server", &n.issuer, "", false, func(text string) error {
			n.issuer = text
			return n.faultsOf("auth.issuer")
		}); err != nil {
			return err
		}
		if i := slices.Index(n.missing, "--issuer"); i >= 0 {
			n.missing[i] = "--issuer or --token-url"
		}
	}
	if err := n.need(ctx, "audience", "the API's id there (audience); empty: the server asks for none", &n.audience, "", true, func(string) error { return nil }); err != nil {
		return err
	}
	if err := n.need(ctx, "client-id", "the client's id there", &n.clientID, "", false, func(string) error { return nil }); err != nil {
		return err
	}
	return n.need(ctx, "secret-from", "where the client secret lies: keyring, file:PATH, env:NAME, credential:NAME or command:PROGRAM; not the secret itself", &n.secretFrom, "keyring", false, func(text string) error {
		if _, err := secretReference(text); err != nil {
			return err
		}
		n.secretFrom = text
		return n.faultsOf("auth.client_secret")
	})
}

// parseColumns reads FIELD=HEADER.
func parseColumns(pairs []string) (map[string]string, error) {
	columns := map[string]string{}
	for _, pair := range pairs {
		field, header, ok := strings.Cut(pair, "=")
		if field, header = strings.TrimSpace(field), strings.TrimSpace(header); !ok || field == "" || header == "" {
			return nil, fmt.Errorf("%q is not FIELD=HEADER", pair)
		}
		columns[field] = header
	}
	if len(columns) == 0 {
		return nil, nil // none are none
	}
	return columns, nil
}
