package uploader

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestBounded: an attempt ends in its time, whether the answer does not begin
// or does not end, and leaves no timer behind when it ends before.
func TestBounded(t *testing.T) {
	t.Parallel()
	hung := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, c := range map[string]struct {
		answer func(ctx context.Context) (io.Reader, error)
		detail string
		after  time.Duration
	}{
		"no answer": {func(ctx context.Context) (io.Reader, error) { return nil, hung(ctx) }, "no answer in time", 3 * time.Second},
		"half an answer": {func(ctx context.Context) (io.Reader, error) {
			return readerFunc(func([]byte) (int, error) { return 0, hung(ctx) }), nil
		}, "the answer was cut off", 3 * time.Second},
		"in time": {func(context.Context) (io.Reader, error) { return strings.NewReader(`{"id":7}`), nil }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var over func() error
				client, err := newClient(&API{URL: "http://127.0.0.1", Timeout: 3 * time.Second, RetryWait: 1}, transportFunc(func(req *http.Request) (*http.Response, error) {
					over = req.Context().Err
					body, err := c.answer(req.Context())
					if err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(body)}, nil
				}), slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				stopping := make(chan struct{})
				close(stopping) // one attempt is enough
				client.stopping = stopping
				began := time.Now()
				v := client.send(t.Context(), client.request(benchParcel(1), []int{0}))
				if took := time.Since(began); took != c.after || v.detail != c.detail {
					t.Errorf("got %+v after %s, want %q after %s", v, took, c.detail, c.after)
				}
				if over() == nil {
					t.Error("the time of the attempt goes on")
				}
			})
		})
	}
}
