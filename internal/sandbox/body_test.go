package sandbox

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections have no network, so that its clock can
// be a fake one.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A body that trickles ends the request; an answer that takes long and a
// connection that idles between two requests do not.
func TestBodiesHaveTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/unread" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			wait := time.NewTimer(2 * bodyTime)
			<-wait.C // as a latency
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
				return
			}
			wait.Reset(2 * bodyTime)
			select {
			case <-wait.C:
			case <-r.Context().Done():
				w.WriteHeader(http.StatusGone)
			}
		})
		server, listener := &http.Server{Handler: timed(slow)}, make(pipes)
		go func() { _ = server.Serve(listener) }()
		defer func() {
			close(listener)
			_ = server.Close()
		}()
		client, far := net.Pipe()
		listener <- far
		answers := bufio.NewReader(client)
		for _, tt := range []struct {
			request string
			status  int
			takes   time.Duration
		}{
			{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", 200, 4 * bodyTime},
			{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 4 * bodyTime},
			{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", 408, 3 * bodyTime},
		} {
			began := time.Now()
			if _, err := io.Copy(client, strings.NewReader(tt.request)); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if took := time.Since(began); resp.StatusCode != tt.status || took != tt.takes {
				t.Errorf("%q: got %d after %s, want %d after %s", tt.request, resp.StatusCode, took, tt.status, tt.takes)
			}
			idle := time.NewTimer(2 * bodyTime)
			<-idle.C
		}
		if _, err := answers.ReadByte(); err == nil {
			t.Error("the connection outlived a body that never came")
		}
		client, far = net.Pipe()
		listener <- far
		began := time.Now()
		if _, err := io.WriteString(client, "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != http.StatusUnauthorized || took != bodyTime {
			t.Errorf("a body that nobody reads: got %d after %s", resp.StatusCode, took)
		}
	})
}
