// Package rescue hands a panic to whoever waits for the work that panicked. A
// panic in a goroutine ends the whole process, whatever its starter recovers;
// so every goroutine of a run does its work through Do.
package rescue

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Error is a panic.
type Error struct {
	Value any
	// Stack is that of the goroutine that panicked.
	Stack []byte
}

func (e *Error) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Hint says what to do.
func (e *Error) Hint() string {
	return "this is a bug in tsupload; please report it with the log. What was sent is recorded"
}

// Do calls work and returns what it returns; an *Error where it panics.
func Do(work func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		// On its way up it may have been handed over before.
		if cause, ok := r.(error); ok {
			if e, ok := errors.AsType[*Error](cause); ok {
				err = e
				return
			}
		}
		err = &Error{Value: r, Stack: debug.Stack()}
	}()
	return work()
}
