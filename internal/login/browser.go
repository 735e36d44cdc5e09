package login

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Opener opens addresses in the browser of this machine.
type Opener struct {
	// Getenv looks up an environment variable.
	Getenv func(string) string
	// OS is runtime.GOOS when empty.
	OS string
	// LookPath is exec.LookPath when nil.
	LookPath func(string) (string, error)
}

// Find returns the program, with its arguments, that opens a page here; nil where there is none: on a server, over SSH, in
// a container. $BROWSER, a list of commands separated by colons in which %s stands for the address, comes first.
func (o Opener) Find() []string {
	look := o.LookPath
	if look == nil {
		look = exec.LookPath
	}
	goos := o.OS
	if goos == "" {
		goos = runtime.GOOS
	}
	separator := ":"
	if goos == "windows" {
		separator = ";"
	}
	for command := range strings.SplitSeq(o.Getenv("BROWSER"), separator) {
		words := strings.Fields(command)
		if len(words) == 0 {
			continue
		}
		if path, err := look(words[0]); err == nil {
			return append([]string{path}, words[1:]...)
		}
	}
	var known [][]string
	switch goos {
	case "darwin":
		known = [][]string{{"open"}}
	case "windows":
		// Not through a shell, to which & in an address means something.
		known = [][]string{{"rundll32", "url.dll,FileProtocolHandler"}}
	default:
		if o.Getenv("DISPLAY") == "" && o.Getenv("WAYLAND_DISPLAY") == "" && o.Getenv("WSL_DISTRO_NAME") == "" {
			return nil
		}
		known = [][]string{{"xdg-open"}, {"wslview"}, {"x-www-browser"}}
	}
	for _, words := range known {
		if path, err := look(words[0]); err == nil {
			return append([]string{path}, words[1:]...)
		}
	}
	return nil
}

// openTime is how long a browser's starter has to fail; one that runs longer is the browser itself.
const openTime = 3 * time.Second

// Open starts command with the address. It returns an error where the command ends with one soon, and does not wait for a
// browser that stays. The address is an argument and never goes through a shell.
func Open(ctx context.Context, command []string, address string) error {
	args, filled := make([]string, 0, len(command)), false
	for _, word := range command[1:] {
		if strings.Contains(word, "%s") {
			word, filled = strings.ReplaceAll(word, "%s", address), true
		}
		args = append(args, word)
	}
	if !filled {
		args = append(args, address)
	}
	// The browser outlives us; what it prints is nobody's business.
	cmd := exec.Command(command[0], args...) //nolint:gosec,noctx // the user names the program; see above
	if err := cmd.Start(); err != nil {
		return &Error{Kind: Local, Problem: "the browser does not start", Err: errors.Unwrap(err)}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	select {
	case err := <-done:
		if err != nil {
			return &Error{Kind: Local, Problem: "the browser does not open (" + err.Error() + ")"}
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
