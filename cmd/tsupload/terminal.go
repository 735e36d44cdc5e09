package main

import (
	"io"
	"os"
	"sync"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// isTerminal tells whether a person looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminalFd(f.Fd())
}

func isTerminalFd(fd uintptr) bool { return isatty.IsTerminal(fd) }

// style is an SGR sequence (ECMA-48, section 8.3.117).
type style string

// Colour only repeats what the words say.
const (
	bold   style = "1"
	red    style = "1;31"
	yellow style = "33"
	green  style = "32"
)

// paint colours text for w, if w is to have colour.
func (a *app) paint(w io.Writer, s style, text string) string {
	switch {
	case a.color == "never":
		return text
	case a.color == "always":
	case a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" || !isTerminal(w):
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// progress draws a bar on standard error while entries are sent, if a person
// looks at it. end must be called.
func (a *app) progress() (step func(done, total int), end func()) {
	if a.quiet || a.output == "json" || !isTerminal(a.stderr) || a.getenv("TERM") == "dumb" {
		return nil, func() {}
	}
	var (
		mu    sync.Mutex
		bars  = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
		bar   *mpb.Bar
		ended bool
	)
	step = func(done, total int) {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		if bar == nil {
			bar = bars.AddBar(int64(total), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name("sending ")), mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")))
		}
		bar.SetCurrent(int64(done))
	}
	return step, func() {
		mu.Lock()
		ended = true
		if bar != nil {
			bar.Abort(true)
		}
		mu.Unlock()
		bars.Wait()
	}
}
