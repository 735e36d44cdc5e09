package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/ledger"
	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/internal/rescue"
	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/source"
	"github.com/exampleco/tsupload/tokencache"
	"github.com/exampleco/tsupload/uploader"
)

// Plain values of the configuration become the parts of the program here, in
// the order of their dependence, and nowhere else.

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
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", caFile)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// identity is whose name uploads go out in.
type identity struct {
	cache     *tokencache.Cache
	transport *tokencache.Transport
	network   []*http.Transport
	metrics   *meter // nil: nobody counts
}

// Close leaves no connection behind: a daemon makes an identity for each run.
func (i *identity) Close() error {
	err := i.cache.Close()
	for _, t := range i.network {
		t.CloseIdleConnections()
	}
	if i.metrics != nil {
		s := i.cache.Stats()
		i.metrics.TokenFetches(s.Tokens, s.Failures, s.StoreHits, s.Invalidated)
	}
	return err
}

// newIdentity makes the token cache and the transport above it.
func (a *app) newIdentity(cfg *config.Config, log *slog.Logger) (*identity, error) {
	auth, err := newTransport(cfg.Auth.CAFile, 1, 30*time.Second)
	if err != nil {
		return nil, err
	}
	cache, err := a.newCacheOver(auth, cfg, log)
	if err != nil {
		return nil, err
	}
	network, err := newTransport(cfg.API.CAFile, cfg.API.Concurrency, cfg.API.Timeout)
	if err != nil {
		return nil, err
	}
	var base http.RoundTripper = network
	if a.metrics != nil {
		base = a.metrics.Transport(base)
	}
	return &identity{
		cache: cache, transport: &tokencache.Transport{Base: base, Cache: cache, Origins: []string{cfg.API.URL}}, network: []*http.Transport{auth, network},
		metrics: a.metrics,
	}, nil
}

// newCache makes a token cache for a command, which ends soon.
func (a *app) newCache(cfg *config.Config, log *slog.Logger) (*tokencache.Cache, error) {
	auth, err := newTransport(cfg.Auth.CAFile, 1, 30*time.Second)
	if err != nil {
		return nil, err
	}
	return a.newCacheOver(auth, cfg, log)
}

func (a *app) newCacheOver(base http.RoundTripper, cfg *config.Config, log *slog.Logger) (*tokencache.Cache, error) {
	ring := tokencache.NewKeyring()
	secrets := a.resolver(ring)
	params := url.Values{}
	for name, value := range cfg.Auth.Params {
		params.Set(name, value)
	}
	c := tokencache.Config{
		Issuer: cfg.Auth.Issuer, TokenURL: cfg.Auth.TokenURL, ClientID: cfg.Auth.ClientID,
		Secret: func(ctx context.Context) ([]byte, error) {
			s, err := readCredentials(ctx, secrets, &cfg.Auth)
			crash.Point("C11") // a token is about to be asked for
			return s.Reveal(), err
		},
		AuthStyle: tokencache.AuthStyle(cfg.Auth.AuthStyle), Scopes: cfg.Auth.Scopes, ExpectedScopes: cfg.Auth.ExpectedScopes, CheckScope: cfg.Auth.CheckScope,
		ExpectedAudiences: cfg.Auth.TokenAudiences(), ScopeClaims: cfg.Auth.ScopeClaims, Resources: cfg.Auth.Resource, Params: params, As: cfg.Auth.As,
		Store: newTokenStore(cfg, ring, log), LockDir: tokenDir(cfg), Transport: base, Logger: log,
	}
	if cfg.Auth.SendsAudience() {
		c.Audience = cfg.Auth.Audience
	}
	switch assert := newAsserter(&cfg.Auth); {
	case cfg.Auth.As == "person":
		c.Grant = tokencache.GrantLogin
		if cfg.Auth.ClientSecret.IsZero() {
			c.Secret = nil // a public client; a secret lying about is the machine's
		}
	case assert != nil:
		c.AuthStyle, c.Assert = tokencache.AuthAssertion, assert
	}
	return tokencache.New(c)
}

// readCredentials reads what proves who the client is: its secret, the key that
// it signs with, or what the platform signed for it.
func readCredentials(ctx context.Context, secrets *config.Resolver, auth *config.Auth) (config.Secret, error) {
	switch auth.ClientAuth() {
	case "private_key":
		return secrets.Read(ctx, auth.PrivateKey)
	case "assertion":
		return secrets.Read(ctx, auth.Assertion)
	}
	return secrets.ClientSecret(ctx, auth.ClientSecret)
}

// newAsserter makes assertions out of what readCredentials read; nil where a
// secret is sent as it is.
func newAsserter(auth *config.Auth) func([]byte, tokencache.Recipient) (string, error) {
	switch auth.ClientAuth() {
	case "private_key":
		return func(secret []byte, to tokencache.Recipient) (string, error) {
			key, err := login.ParseKey(secret, auth.SigningAlg, auth.PrivateKeyID)
			if err != nil {
				return "", err
			}
			audience := to.Issuer
			if auth.AssertionAudience == "token_endpoint" {
				audience = to.TokenURL
			}
			return key.Assertion(auth.ClientID, audience, time.Now())
		}
	case "assertion":
		return func(secret []byte, _ tokencache.Recipient) (string, error) {
			text := strings.TrimSpace(string(secret))
			// Whether it has expired, the server's clock decides.
			if expires, err := login.CheckAssertion(text, time.Now()); err != nil && expires.IsZero() {
				return "", err
			}
			return text, nil
		}
	}
	return nil
}

// newTokenStore is where tokens are kept: what a login yields in the keyring,
// if there is one.
func newTokenStore(cfg *config.Config, ring *tokencache.Keyring, log *slog.Logger) tokencache.Store {
	file := tokencache.NewFileStore(tokenDir(cfg), log)
	inRing := tokencache.NewKeyringStore(ring)
	var store tokenStore
	switch {
	case cfg.Auth.TokenStore == "keyring":
		store = inRing
	case cfg.Auth.TokenStore == "auto" && cfg.Auth.As == "person":
		store = tokencache.NewFallbackStore(inRing, file, log)
	default:
		store = file
	}
	return dyingStore{store}
}

// dyingStore marks what a crash between the steps of a refresh leaves.
type dyingStore struct{ tokenStore }

// tokenStore also tells where it keeps things.
type tokenStore interface {
	tokencache.Store
	Place(ctx context.Context, key string) (string, error)
}

// Save implements tokencache.Store.
func (s dyingStore) Save(ctx context.Context, key string, e tokencache.Entry) error {
	if e.RefreshToken == "" {
		return s.tokenStore.Save(ctx, key, e)
	}
	crash.Point("login-answered") // a refresh token was replaced at the server, and not here
	err := s.tokenStore.Save(ctx, key, e)
	crash.Point("login-saved") // nor is the access token that came with it kept
	return err
}

func tokenDir(cfg *config.Config) string { return filepath.Join(cfg.State.Dir, "tokens") }

// tokenErrors marks errors of the token layer, so that the uploader knows that
// nothing was sent, without knowing that layer.
type tokenErrors struct{ next http.RoundTripper }

func (t tokenErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	return nil, markToken(err)
}

func markToken(err error) error {
	var (
		refused     *tokencache.RefusedError
		scope       *tokencache.ScopeError
		secret      *tokencache.SecretError
		origin      *tokencache.OriginError
		unavailable *tokencache.UnavailableError
		ended       *tokencache.LoginError
		panicked    *rescue.Error
	)
	switch {
	case errors.As(err, &panicked):
		return &uploader.StopError{Kind: uploader.StopBug, Err: err}
	case errors.As(err, &unavailable):
		return &uploader.StopError{Kind: uploader.StopUnreachable, Err: err}
	case errors.As(err, &refused), errors.As(err, &scope), errors.As(err, &secret), errors.As(err, &origin), errors.As(err, &ended):
		return &uploader.StopError{Kind: uploader.StopAuth, Err: err}
	}
	return err
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
		if opts.alive != nil {
			c.HTTP.Transport = livingTransport{http.DefaultTransport, opts.alive}
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

// apiID is what the ledger speaks for.
func apiID(cfg *config.Config) string { return cfg.API.ID }

// openLedger opens the real ledger.
func (a *app) openLedger(ctx context.Context, cfg *config.Config, readOnly bool, log *slog.Logger) (*ledger.Ledger, error) {
	return ledger.Open(ctx, ledger.Options{Dir: cfg.State.Dir, API: apiID(cfg), ReadOnly: readOnly, Logger: log})
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
