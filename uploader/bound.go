package uploader

import (
	"context"
	"io"
	"net/http"
	"time"
)

// bounded gives each attempt its time, reading the answer included, as the
// Timeout of http.Client would. That starts two goroutines and a second timer
// for every request through a transport that is not net/http's own.
type bounded struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), b.limit)
	resp, err := b.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.Body == nil {
		resp.Body = http.NoBody // transports that are not net/http's may leave it out
	}
	resp.Body = boundedBody{resp.Body, cancel}
	return resp, nil
}

// CloseIdleConnections passes the wish on, as http.Client does.
func (b bounded) CloseIdleConnections() {
	if c, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// boundedBody ends the time of an attempt with its answer.
type boundedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
