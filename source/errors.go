package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Error is a source that could not be read, or a file that was refused whole.
type Error struct {
	Source string // empty where it is not about a source yet
	File   string // may be empty
	Line   int    // may be 0
	// Message says what is wrong, HintText what to do about it.
	Message  string
	HintText string
	// Key of the configuration that settles what the file leaves open, and the
	// values that it may take, the likelier first; empty where none does.
	Key     string
	Options []string
	// Refused says that the source refused our credentials.
	Refused bool
	Err     error // the cause, where there is one
}

// Error gives place and message.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString("source " + e.Source + ": ")
	}
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unauthorized tells whether the source refused our credentials.
func (e *Error) Unauthorized() bool { return e.Refused }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.HintText }

func (s *Source) fault(message, hint string) *Error {
	return &Error{Source: s.cfg.Name, Message: message, HintText: hint}
}

// place fills in source and file of an *Error made deeper down, and turns any
// other error into one.
func (s *Source) place(file string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Source == "" {
			e.Source = s.cfg.Name
		}
		if e.File == "" {
			e.File = file
		}
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // no fault of the source's
	}
	// The system's errors name the true path.
	if p, ok := errors.AsType[*fs.PathError](err); ok && s.as(p.Path) != p.Path {
		err = p.Err
	}
	return &Error{Source: s.cfg.Name, File: file, Message: "reading", Err: err}
}

// quote shows a value of an export in a message, cut to a sane length.
func quote(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// several is a number of things, by their name.
func several(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
