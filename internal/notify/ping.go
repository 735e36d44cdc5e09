package notify

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// check is something in the style of healthchecks.io that is pinged, and the
// sources that are its affair.
type check struct {
	url  Secret
	line *line
}

// started pings {url}/start.
func (n *Notifier) started(c *check, run string) {
	c.line.add(func(ctx context.Context) { n.ping(ctx, c, run, "start", "") })
}

// ended pings {url} where all is well, {url}/log where somebody ended the run
// early, and {url}/{exit status} otherwise.
func (n *Notifier) ended(c *check, run string, sources []SourceRun) {
	var total Counts
	exit, aborted := 0, false
	for i, s := range sources {
		total.Read += s.Read
		total.Rejected += s.Rejected
		total.Held += s.Held
		total.InDoubt += s.InDoubt
		total.Sent += s.Sent
		total.SentSeconds += s.SentSeconds
		aborted = aborted || s.Aborted
		if i == 0 || n.worse(exit, s.Exit) == s.Exit {
			exit = s.Exit
		}
	}
	path := ""
	switch {
	case aborted:
		path = "log"
	case exit != 0:
		path = strconv.Itoa(exit)
	}
	body := fmt.Sprintf("run %s\nexit status %d\nrows read %d\nentries sent %d\nhours sent %s\nrejected %d\nheld %d\nin doubt %d\n",
		run, exit, total.Read, total.Sent, total.SentSeconds.Clock(), total.Rejected, total.Held, total.InDoubt)
	c.line.add(func(ctx context.Context) { n.ping(ctx, c, run, path, body) })
}

func (n *Notifier) ping(ctx context.Context, c *check, run, path, body string) {
	err := n.poster.post(ctx, c.url, func(u *url.URL) {
		u.Path = strings.TrimSuffix(u.Path, "/")
		u.RawPath = strings.TrimSuffix(u.RawPath, "/")
		if path != "" {
			*u = *u.JoinPath(path)
		}
		q := u.Query()
		q.Set("rid", requestID(run))
		u.RawQuery = q.Encode()
	}, "text/plain; charset=utf-8", []byte(body))
	if err != nil {
		n.log.WarnContext(ctx, "ping failed", "run_id", run, "err", err)
	}
}

// requestID makes a UUID of a run's id, so that the start and the end of a run
// belong together.
func requestID(run string) string {
	b := sha256.Sum256([]byte(run))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
