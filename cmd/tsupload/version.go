package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  `Print version, commit and date of this program, and the Go version it was built with.`,
		Example: `  tsupload version
  tsupload version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runVersion(a) },
	}
}

// versionInfo is what the release build stamped, or else what the Go tool did.
func versionInfo() (v, revision, built string) {
	v, revision, built = version, commit, date
	if info, ok := debug.ReadBuildInfo(); ok && revision == "" {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.time":
				built = s.Value
			}
		}
	}
	return v, revision, built
}

func runVersion(a *app) error {
	version, commit, date := versionInfo()
	if a.json() {
		return a.emit("version", map[string]any{
			"version": version, "commit": commit, "date": date, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		})
	}
	line := "tsupload " + version
	if commit != "" {
		line += " (" + commit[:min(12, len(commit))]
		if date != "" {
			line += ", " + date
		}
		line += ")"
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s %s/%s\n", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
