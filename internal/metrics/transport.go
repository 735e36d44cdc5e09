package metrics

import (
	"net/http"
	"strconv"
	"time"
)

// Transport measures the requests to the API that next carries.
func (m *Metrics) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{next: next, m: m}
}

type transport struct {
	next http.RoundTripper
	m    *Metrics
}

// RoundTrip implements http.RoundTripper and changes nothing.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := t.next.RoundTrip(req)
	method, class := "other", "none"
	switch req.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
		method = req.Method
	}
	if err == nil {
		class = strconv.Itoa(resp.StatusCode/100) + "xx"
	}
	t.m.latency.WithLabelValues(method).Observe(time.Since(began).Seconds())
	t.m.answers.WithLabelValues(method, class).Inc()
	return resp, err
}

// CloseIdleConnections passes the wish on, as http.Client does.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
