//go:build !man

// Command tsupload carries contractors' hours from the tool they keep them in
// to the company's Timesheets API, each entry exactly once and with nothing
// lost.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones must be known where the system has none
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(context.Background(), environment{
		args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, signals: signals, hangup: onHangup,
	}))
}
