package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
)

func newConfigCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Long: `The configuration is one YAML file. It is looked for in --config, $TSUPLOAD_CONFIG,
./tsupload.yaml, the user's configuration directory and /etc/tsupload. Values
outside of sources can be overridden by the environment (TSUPLOAD_API_URL, ...).
Secrets never sit in it; it says where they are.`,
		Example: `  tsupload config validate
  tsupload config show
  tsupload config schema > tsupload.schema.json`,
		RunE: group,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "validate",
			Short: "Check the configuration without running anything",
			Long: `Check the configuration and list all its faults at once, each with file, line,
column and what to do. Where there are none, list the next runs of every source
that has a schedule. Nothing is read but the configuration.`,
			Example: `  tsupload config validate
  tsupload config validate --config /etc/tsupload/tsupload.yaml -o json`,
			Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return runConfigValidate(a) },
		},
		&cobra.Command{
			Use:   "show",
			Short: "Show every effective value and where it came from",
			Long: `Show every effective value of the configuration with its origin: a flag, the
environment, a line of the file, or the default. Secrets show as the place where
they are.`,
			Example: `  tsupload config show
  tsupload config show -o json`,
			Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return runConfigShow(a) },
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Print the JSON Schema of the configuration file, for editors",
			Long: `Print the JSON Schema of the configuration file. Editors that know YAML complete
and explain keys with it.`,
			Example: `  tsupload config schema > tsupload.schema.json`,
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := a.stdout.Write(config.Schema())
				return err
			},
		},
	)
	return cmd
}

// upcomingRuns is how many runs of a source validate shows.
const upcomingRuns = 5

func runConfigValidate(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if cfg.File == "" {
		return &config.Error{Faults: []config.Fault{{
			Message: "there is no configuration file", Hint: "write ./tsupload.yaml, or name a file with --config",
		}}}
	}
	if a.json() {
		if err := a.emit("config", map[string]any{"file": cfg.File, "ok": true, "sources": len(cfg.Sources)}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(a.stdout, "%s: ok, %s\n", cfg.File, count(len(cfg.Sources), "source")); err != nil {
		return err
	}
	if err := cfg.ForUpload(); err != nil {
		a.say("note: for --dry-run and --sandbox only; an upload needs more:\n%s", err)
	}
	for i := range cfg.Sources {
		if err := showRuns(a, &cfg.Sources[i], cfg.Run.Jitter, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func showRuns(a *app, s *config.Source, jitter time.Duration, now time.Time) error {
	zone := zoneOf(s)
	runs := []time.Time{}
	if s.Schedule != "" {
		schedule, err := daemon.ParseSchedule(s.Schedule, zone)
		if err != nil {
			return err
		}
		runs = schedule.Upcoming(now, upcomingRuns)
	}
	if a.json() {
		next := []any{}
		for _, t := range runs {
			next = append(next, stamp(t))
		}
		return a.emit("schedule", map[string]any{"source": s.Name, "schedule": s.Schedule, "timezone": s.Timezone, "next": next, "jitter_seconds": int(jitter.Seconds())})
	}
	if s.Schedule == "" {
		_, err := fmt.Fprintf(a.stdout, "source %s: no schedule; read by `tsupload run --once`\n", s.Name)
		return err
	}
	late := ""
	if jitter > 0 {
		late = " (and up to " + config.FormatDuration(jitter) + " later)"
	}
	_, err := fmt.Fprintf(a.stdout, "source %s: %s in %s%s, next\n", s.Name, s.Schedule, s.Timezone, late)
	for _, t := range runs {
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "  %s\n", t.In(zone).Format("Mon 2006-01-02 15:04 MST"))
		}
	}
	return err
}

func runConfigShow(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if !a.json() {
		return cfg.Show(a.stdout)
	}
	for _, s := range cfg.Settings() {
		if err := a.emit("setting", map[string]any{"key": s.Key, "value": s.Value, "origin": s.Origin.String()}); err != nil {
			return err
		}
	}
	return nil
}
