package sandbox

import (
	"io"
	"net/http"
	"time"
)

// bodyTime is how long a client may take to send a body.
const bodyTime = 30 * time.Second

// timed gives bodies a deadline, so that one that trickles holds nothing for
// ever. The server lifts it once the body is read: what an answer takes, and how
// long a connection idles, is another matter.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			b := &timedBody{ReadCloser: r.Body, conn: http.NewResponseController(w)}
			b.begin() // for what the server itself throws away unread
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

type timedBody struct {
	io.ReadCloser
	conn *http.ResponseController
	read bool
}

func (b *timedBody) begin() { _ = b.conn.SetReadDeadline(time.Now().Add(bodyTime)) }

// Read implements io.Reader. Whoever begins late to read, because a fault or a
// latency was ordered, has the whole time from then on.
func (b *timedBody) Read(p []byte) (int, error) {
	if !b.read {
		b.read = true
		b.begin()
	}
	return b.ReadCloser.Read(p)
}
