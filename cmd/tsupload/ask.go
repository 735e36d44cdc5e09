package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// asker puts questions to a person, one line each.
type asker struct {
	out      io.Writer
	stopping <-chan struct{}
	lines    chan string
	failed   chan error
}

// asks is somebody to ask, or nil where nobody can answer: standard input is no
// terminal, or --no-input was given.
func (a *app) asks() *asker {
	if in, ok := a.stdin.(interface{ Fd() uintptr }); !ok || a.noInput || !isTerminalFd(in.Fd()) {
		return nil
	}
	return newAsker(a.stdin, a.stderr, a.stopping)
}

// newAsker reads answers from in, until the end of the program.
func newAsker(in io.Reader, out io.Writer, stopping <-chan struct{}) *asker {
	k := &asker{out: out, stopping: stopping, lines: make(chan string), failed: make(chan error, 1)}
	go func() {
		// A read from a terminal ends with the program, not with a context.
		r := bufio.NewReader(io.LimitReader(in, 1<<20))
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				select {
				case k.lines <- strings.TrimSpace(line):
				case <-stopping:
					return
				}
			}
			if err != nil {
				k.failed <- err
				return
			}
		}
	}()
	return k
}

// errStopped says that a signal came while an answer was awaited.
var errStopped = errors.New("stopped by a signal")

func (k *asker) line(ctx context.Context) (string, error) {
	select {
	case line := <-k.lines:
		return line, nil
	default:
	}
	select {
	case line := <-k.lines:
		return line, nil
	case err := <-k.failed:
		if errors.Is(err, io.EOF) {
			return "", usage("answer the questions, or give flags", "the answers ended early")
		}
		return "", err
	case <-k.stopping:
		return "", errStopped
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// mostTries is how often one question is put: whoever answers is no person.
const mostTries = 20

// ask puts a question until its answer passes check. An empty answer is the
// one proposed.
func (k *asker) ask(ctx context.Context, question, proposed string, check func(string) error) (string, error) {
	for range mostTries {
		if proposed == "" {
			fmt.Fprintf(k.out, "%s: ", question)
		} else {
			fmt.Fprintf(k.out, "%s [%s]: ", question, proposed)
		}
		answer, err := k.line(ctx)
		if err != nil {
			fmt.Fprintln(k.out)
			return "", err
		}
		if answer == "" {
			answer = proposed
		}
		err = check(answer)
		if err == nil {
			return answer, nil
		}
		fmt.Fprintf(k.out, "  no: %s\n", err)
		if hint := hintOf(err); hint != "" {
			fmt.Fprintf(k.out, "  %s\n", hint)
		}
	}
	return "", usage("give flags instead: see `tsupload init --help`", "%s: %d answers were not understood", question, mostTries)
}
