//go:build man

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/exampleco/tsupload/internal/man"
)

// main of the program that writes manual pages and completions for packages:
//
//	SOURCE_DATE_EPOCH=1795000000 go run -tags man ./cmd/tsupload DIRECTORY
func main() {
	if err := writePages(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "man: %s\n", err)
		os.Exit(1)
	}
}

func writePages(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: man DIRECTORY")
	}
	// Two builds of one commit have to be the same, so the time is given.
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	if v := os.Getenv("TSUPLOAD_VERSION"); v != "" {
		version = v
	}
	a := &app{environment: environment{getenv: os.Getenv}, overrides: map[string]string{}}
	return man.Write(man.Config{Dir: args[0], Root: newRootCommand(a), ExitStatus: "\n" + exitStatusHelp, Date: time.Unix(epoch, 0), Version: version})
}
