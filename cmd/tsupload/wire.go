package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

// Plain values of the configuration become the parts of the program here, in
// the order of their dependence, and, for who we are, in identity.go.

func loadLocation(zone string) (*time.Location, error) {
	if zone == "" || zone == "Local" {
		return nil, fmt.Errorf("zone %q is not an IANA name", zone)
	}
	return time.LoadLocation(zone)
}

func (a *app) resolver(keyring *tokencache.Keyring) *config.Resolver {
	return config.NewResolver(config.ResolverConfig{
		Getenv:  a.getenv,
		Keyring: func(ctx context.Context, name string) ([]byte, error) { return keyring.Secret(name)(ctx) },
	})
}

// newTransport is the network: every step of a request has a limit.
func newTransport(caFile string, conns int, timeout time.Duration) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: timeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          conns,
		MaxIdleConnsPerHost:   conns,
		MaxConnsPerHost:       conns,
		ForceAttemptHTTP2:     true,
		// No server has that much to say before its answer; the library's own limit is ten times as much.
		MaxResponseHeaderBytes: 1 << 20,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s has no certificate in PEM form", caFile)
	}
	if err != nil {
		return nil, &uploader.StopError{Kind: uploader.StopConfig, Message: "ca_file", Err: err, HintText: "it names a PEM file with the certificates of authorities"}
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// newAPI describes the other end.
func (a *app) newAPI(cfg *config.Config) uploader.API {
	c := &cfg.API
	api := uploader.API{
		URL: c.URL, Person: cfg.Auth.As == "person", Batch: cfg.Supports("batch"), IdempotencyKey: cfg.Supports("idempotency_key"), ReadBack: cfg.Supports("read_back"), Update: cfg.Supports("update"),
		BatchSize: c.BatchSize, Concurrency: c.Concurrency, RateLimit: c.RateLimit, Timeout: c.Timeout, MaxRetryAfter: c.MaxRetryAfter, RetryWait: c.RetryWait,
		Resend: c.OnAmbiguous == "resend", BareKey: c.IdempotencyKeyStyle == "bare", Fields: c.Fields,
		Settle: c.Server.Settle, ReadGap: c.Server.ReadGap, KeyTTL: c.Server.KeyTTL, NotExecuted: c.Server.NotExecuted, BatchAtomic: c.Server.BatchAtomic,
	}
	if len(c.Headers) > 0 {
		secrets := a.resolver(tokencache.NewKeyring())
		api.Headers = func(ctx context.Context) (http.Header, error) { return readHeaders(ctx, secrets, c.Headers) }
	}
	return api
}

func readHeaders(ctx context.Context, secrets *config.Resolver, values map[string]config.Value) (http.Header, error) {
	h := http.Header{}
	for name, v := range values {
		text, err := readValue(ctx, secrets, v)
		if err != nil {
			return nil, err
		}
		h.Set(name, text)
	}
	return h, nil
}

func readValue(ctx context.Context, secrets *config.Resolver, v config.Value) (string, error) {
	if v.Secret.IsZero() {
		return v.Text, nil
	}
	s, err := secrets.Read(ctx, v.Secret)
	return string(s.Reveal()), err
}

// feedOptions say how a source is read in this run.
type feedOptions struct {
	files []string          // read as this source, instead of what it names
	as    map[string]string // names to show them under
	lines map[string][]int  // and lines
	spool string
	dir   string // where commands run: that of the configuration
	alive func() // called with every answer of an export; may be nil
}

func (a *app) newFeed(s *config.Source, opts feedOptions, log *slog.Logger) (uploader.Feed, error) {
	location, err := loadLocation(s.Timezone)
	if err != nil {
		return uploader.Feed{}, err
	}
	var after func() error
	c := source.Config{
		Name: s.Name, ID: s.ID, Preset: s.Preset, Columns: columnsOf(s.Columns), User: s.User, UserType: s.UserType,
		Defaults: source.Defaults{Project: s.Defaults.Project, Task: s.Defaults.Task, UserType: s.Defaults.UserType},
		Location: location, DateFormat: s.DateFormat, TimeFormat: s.TimeFormat, DurationFormat: s.DurationFormat, Decimal: s.Decimal,
		People: s.People, Projects: s.Projects,
		Rules:    source.Rules{MaxPerEntry: seconds(s.Rules.MaxHoursPerEntry), ForgottenTimer: forgotten(s.Rules.ForgottenTimer), Future: s.Rules.Future, UnknownProject: s.Rules.UnknownProject},
		SpoolDir: opts.spool, Logger: log,
	}
	switch {
	case len(opts.files) == 1 && opts.files[0] == "-":
		c.Stdin = a.stdin
	case len(opts.files) > 0:
		c.Files, c.As, c.Lines = opts.files, opts.as, opts.lines
	case s.CSV != nil:
		c.Glob = s.CSV.Path
	case s.HTTP != nil:
		c.HTTP = a.newExport(s.HTTP)
		network, err := newTransport(s.HTTP.CAFile, 1, s.HTTP.Timeout)
		if err != nil {
			return uploader.Feed{}, err
		}
		c.HTTP.Transport = network
		if opts.alive != nil {
			c.HTTP.Transport = livingTransport{network, opts.alive}
		}
		if s.HTTP.Auth.ClientCredentials != nil {
			if c.HTTP.Transport, after, err = a.newExportTokens(s.HTTP, c.HTTP.Transport, opts.spool, log); err != nil {
				return uploader.Feed{}, err
			}
		}
	case s.Exec != nil:
		c.Exec = &source.Exec{Command: s.Exec.Command, Timeout: s.Exec.Timeout, Dir: opts.dir}
	}
	if s.CSV != nil {
		c.Delimiter, c.Encoding, c.SettleFile = auto(s.CSV.Delimiter), auto(s.CSV.Encoding), max(s.CSV.SettleFile, 1) // none at all is not the default
		c.Sheet, c.Records = s.CSV.Sheet, s.CSV.Records
	}
	if e := s.Exec; e != nil {
		c.Delimiter, c.Encoding, c.Sheet, c.Records = auto(e.Delimiter), auto(e.Encoding), e.Sheet, e.Records
	}
	if s.HTTP != nil && s.HTTP.Preset != "" && c.HTTP == nil {
		c.ReadAs(s.HTTP.Preset)
	}
	if a.mended {
		c.Delimiter, c.Encoding = ",", "utf-8" // as `rejects retry` writes it
		c.DateFormat, c.Decimal = cmp.Or(c.DateFormat, a.form.date), cmp.Or(c.Decimal, a.form.decimal)
		c.TimeFormat = cmp.Or(c.TimeFormat, a.form.clock)
		c.Limits.BadShare = 1 // every row of it was bad once
	}
	src, err := source.New(c)
	if err != nil {
		return uploader.Feed{}, err
	}
	return uploader.Feed{
		Name: s.Name, ID: s.ID, Source: openSource{src, after}, OnChange: s.OnChange, MaxPerDay: seconds(s.Rules.MaxHoursPerDay), Overlap: s.Rules.Overlap,
		Rounding: roundingOf(s.Rounding), Split: s.Midnight == "split",
		Part: a.mended,
	}, nil
}

// roundingOf is what the configuration says about rounding, such as "15m up".
func roundingOf(text string) uploader.Rounding {
	unit, up := strings.CutSuffix(text, " up")
	d, err := time.ParseDuration(unit)
	if err != nil {
		return uploader.Rounding{} // none
	}
	return uploader.Rounding{Unit: timesheet.Seconds(d / time.Second), Up: up, Name: text}
}

// forgotten is the rule for timers that nobody stopped; 0 in the configuration
// is no rule.
func forgotten(d time.Duration) timesheet.Seconds {
	if d == 0 {
		return -1
	}
	return timesheet.Seconds(d / time.Second)
}

func seconds(hours float64) timesheet.Seconds { return timesheet.Seconds(hours * 3600) }

func auto(s string) string {
	if s == "auto" {
		return ""
	}
	return s
}

func columnsOf(c config.Columns) map[string]string {
	m := map[string]string{}
	for field, header := range map[string]string{
		"user": c.User, "user_type": c.UserType, "date": c.Date, "start": c.Start, "end": c.End, "end_date": c.EndDate,
		"duration": c.Duration, "hours": c.Hours, "project": c.Project, "task": c.Task, "notes": c.Notes, "id": c.ID,
	} {
		if header != "" {
			m[field] = header
		}
	}
	return m
}

// openSource and planLedger only turn concrete results into the interfaces
// that the uploader asks for.
type openSource struct {
	*source.Source
	after func() error // ends what fetching needed; may be nil
}

func (s openSource) Open(ctx context.Context) (uploader.Reading, error) {
	r, _, err := s.OpenUnless(ctx, "")
	return r, err
}

func (s openSource) OpenUnless(ctx context.Context, stamp string) (uploader.Reading, bool, error) {
	r, unchanged, err := s.Source.OpenUnless(ctx, stamp)
	if s.after != nil {
		_ = s.after() // what was fetched stands
	}
	if err != nil || unchanged {
		return nil, unchanged, err
	}
	return r, false, nil
}

type planLedger struct{ *ledger.Ledger }

func (l planLedger) Plan(ctx context.Context, source, run string, rows, size int) (uploader.Planning, error) {
	p, err := l.Ledger.Plan(ctx, source, run, rows, size)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// newRunID sorts by time and is never the same twice.
func newRunID() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return time.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// openLedger opens the real ledger.
func (a *app) openLedger(ctx context.Context, cfg *config.Config, readOnly bool, log *slog.Logger) (*ledger.Ledger, error) {
	return ledger.Open(ctx, ledger.Options{Dir: cfg.State.Dir, API: cfg.API.ID, ReadOnly: readOnly, Logger: log})
}

// readLedger loads the configuration and opens its ledger for reading, as
// every command does that only looks.
func (a *app) readLedger(ctx context.Context) (*config.Config, *ledger.Ledger, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	l, err := a.openLedger(ctx, cfg, true, a.logger(cfg))
	return cfg, l, err
}

// newObservers makes all that want to hear of runs; n is nil where nobody is
// told.
func (a *app) newObservers(cfg *config.Config, n *notifier, log *slog.Logger) []observer {
	all := []observer{a.newMetricsObserver(cfg, log)}
	if n != nil {
		all = append(all, n)
	}
	return all
}

// configDir is the directory of the configuration file; empty without one.
func configDir(cfg *config.Config) string {
	if cfg.File == "" {
		return ""
	}
	return filepath.Dir(cfg.File)
}
