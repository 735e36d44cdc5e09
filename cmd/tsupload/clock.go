package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// From here on a difference between two clocks is worth a word, and from
	// there on tokens and signatures are refused because of it.
	clockWorth = 30 * time.Second
	clockBad   = 5 * time.Minute

	setClock = "set this machine's clock (timedatectl set-ntp true), or tell whoever runs the other; tokens and signatures are good for minutes only"
)

// clockAhead is how far this machine's clock is ahead of the one of a server
// that was asked at a time and has answered now. It is as good as a second.
func clockAhead(resp *http.Response, asked time.Time) (ahead time.Duration, told bool) {
	took, date := time.Since(asked), resp.Header.Get("Date")
	if date == "" {
		return 0, false
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return 0, false
	}
	// The header is cut to the second; the answer was made somewhere between.
	return asked.Add(took / 2).Sub(at.Add(500 * time.Millisecond)), true
}

// punctual warns of a clock that is wrong: this machine's then spoils more than
// tokens, such as what today is. One answer is enough, and the others cost
// nothing.
type punctual struct {
	next http.RoundTripper
	who  string // is asked
	log  *slog.Logger
	told atomic.Bool
}

// RoundTrip implements http.RoundTripper and changes nothing.
func (t *punctual) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.told.Load() {
		return t.next.RoundTrip(req)
	}
	asked := time.Now()
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	ahead, told := clockAhead(resp, asked)
	if told && !t.told.Swap(true) && ahead.Abs() > clockBad {
		t.log.WarnContext(req.Context(), "this machine's clock and a server's are far apart", "server", t.who, "ahead", ahead.Round(time.Second).String(), "hint", setClock)
	}
	return resp, nil
}
