package metrics

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"github.com/exampleco/tsupload/internal/replace"
)

// Handler answers scrapes. Where one figure cannot be had the others are given.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.all, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

// WriteTextfile replaces the file at path by what node_exporter's textfile
// collector reads: the gauges that stay true when the process has ended, no
// counters. Everybody can read it. Its directory has to exist.
func (m *Metrics) WriteTextfile(path string) error {
	families, err := m.text.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return replace.File(path, b.Bytes(), 0o644)
}
