package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/tokencache"
)

// loginOptions are the flags of auth login.
type loginOptions struct {
	device, noBrowser bool
	port              int
	timeout           time.Duration
}

func newLoginCommand(a *app) *cobra.Command {
	var opts loginOptions
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in as a person, in a browser",
		Long: `Log in at the authorization server, so that uploads go out as the person who
logs in (auth.as: person). Nothing is uploaded.

The login page opens in the browser of this machine, or the one that BROWSER
names; its answer comes to a port of 127.0.0.1. Where there is no browser, or
with --device, a code is shown instead, to be typed on a page that any browser
on any machine can open.

What the login yields is kept in the keyring of this user; where there is none,
in a file that only this user can read, which is said. It is prolonged by being
used, until the authorization server ends it or ` + "`tsupload auth logout`" + ` does. A
login before is replaced, and ended at the server where that spares the new one.`,
		Example: `  tsupload auth login                        opens a browser
  tsupload auth login --device               on a server, or over SSH
  tsupload auth login --no-browser           shows the address to open
  tsupload auth login --redirect-port 8400   where only one port is allowed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogin(cmd.Context(), a, opts) },
	}
	f := cmd.Flags()
	f.BoolVar(&opts.device, "device", false, "show a code to type on a page, on any machine (device grant)")
	f.BoolVar(&opts.noBrowser, "no-browser", false, "show the address of the login page instead of opening it")
	f.IntVar(&opts.port, "redirect-port", 0, "`PORT` of 127.0.0.1 for the answer of the login page (default: a free one)")
	f.DurationVar(&opts.timeout, "timeout", 5*time.Minute, "time to log in")
	return cmd
}

func newLogoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the login of a person",
		Long: `Give the tokens of a login back to the authorization server, which ends them
there, and delete them on this machine. Where the server cannot be told they are
deleted all the same, and that is said: it may know them until they expire.`,
		Example: `  tsupload auth logout`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runLogout(cmd.Context(), a) },
	}
}

func (o *loginOptions) check(a *app) error {
	switch {
	case a.noInput:
		return usage("log in once without --no-input; later runs need nobody", "a login needs a person, and --no-input forbids to ask one")
	case o.device && o.noBrowser:
		return usage("--device needs no browser on this machine anyway", "--device and --no-browser exclude each other")
	case o.device && o.port != 0:
		return usage("the device grant needs no port", "--device and --redirect-port exclude each other")
	case o.port < 0 || o.port > 65535:
		return usage("a port is between 1 and 65535", "--redirect-port %d is no port", o.port)
	case o.timeout < time.Second || o.timeout > time.Hour:
		return usage("give a duration between 1s and 1h", "--timeout %s makes no sense", o.timeout)
	}
	return nil
}

func runLogin(ctx context.Context, a *app, opts loginOptions) error {
	if err := opts.check(a); err != nil {
		return err
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.ForLogin(); err != nil {
		return err
	}
	if cfg.Auth.TokenStore == "keyring" {
		if err := tokencache.NewKeyring().Available(); err != nil {
			return &config.Error{Faults: []config.Fault{{
				Origin: config.Origin{File: cfg.File}, Key: "auth.token_store", Message: "is keyring, and there is none: " + err.Error(), Hint: "leave it at auto: where there is no keyring the login is kept in a file that only this user can read",
			}}}
		}
	}
	log := a.logger(cfg)
	network, err := newTransport(cfg.Auth.CAFile, 2, 30*time.Second)
	if err != nil {
		return err
	}
	defer network.CloseIdleConnections()
	cache, err := a.newCacheOver(network, cfg, log)
	if err != nil {
		return err
	}
	defer cache.Close()
	ctx, stop := a.untilSignal(ctx)
	defer stop()
	if err := cache.Probe(ctx); err != nil {
		return err
	}
	server, err := cache.Metadata(ctx)
	if down := (*tokencache.UnavailableError)(nil); errors.As(err, &down) {
		return &login.Error{Kind: login.Unavailable, Problem: "the authorization server does not say where to log in", Err: down}
	}
	if err != nil {
		return err
	}
	c := a.loginConfig(cfg, server, network)
	c.Timeout, c.Logger = opts.timeout, log
	tokens, err := a.logIn(ctx, c, opts)
	if err != nil {
		return err
	}
	if err := cache.CheckScopes(tokens.Scopes); err != nil {
		// Of no use, so it is not to live on at the server either.
		_ = cache.Revoke(context.WithoutCancel(ctx), tokens.Refresh, tokens.Access)
		return err
	}
	before, err := cache.Adopt(ctx, tokencache.Entry{
		AccessToken: tokens.Access, RefreshToken: tokens.Refresh, Scopes: tokens.Scopes, ObtainedAt: tokens.ObtainedAt, ExpiresAt: tokens.ExpiresAt,
		Issuer: cfg.Auth.Issuer, ClientID: cfg.Auth.ClientID,
	})
	if err != nil {
		_ = cache.Revoke(context.WithoutCancel(ctx), tokens.Refresh, tokens.Access)
		return err
	}
	if before != "" && server.RevocationEndpoint != "" && !cfg.Auth.EndsLoginsTogether() {
		if err := cache.Revoke(ctx, before, ""); err != nil {
			a.say("note: the authorization server was not told that the login before is over, and may know it until it expires: %s", err)
		}
	}
	return a.sayLogin(ctx, cfg, cache, tokens)
}

// untilSignal ends with the first signal: a login has nothing to drain.
func (a *app) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (a *app) loginConfig(cfg *config.Config, server tokencache.Metadata, network http.RoundTripper) *login.Config {
	c := &login.Config{
		Server: login.Server{
			Issuer: server.Issuer, AuthorizationEndpoint: server.AuthorizationEndpoint, TokenEndpoint: server.TokenEndpoint,
			DeviceEndpoint: server.DeviceEndpoint, IssInAnswers: server.IssInAnswers,
		},
		ClientID: cfg.Auth.ClientID, Post: cfg.Auth.AuthStyle == "post", Scopes: slices.Clone(cfg.Auth.Scopes), Params: url.Values{}, Transport: network,
	}
	// What a refresh token is asked for with, where the server has a word for it; elsewhere one comes by itself.
	const offline = "offline_access"
	if slices.Contains(server.ScopesSupported, offline) && !slices.Contains(c.Scopes, offline) {
		c.Scopes = append(c.Scopes, offline)
	}
	for name, value := range cfg.Auth.Params {
		c.Params.Set(name, value)
	}
	if cfg.Auth.Audience != "" && cfg.Auth.SendsAudience() {
		c.Params.Set("audience", cfg.Auth.Audience)
	}
	if len(cfg.Auth.Resource) > 0 {
		c.Params["resource"] = slices.Clone(cfg.Auth.Resource)
	}
	if ref := cfg.Auth.ClientSecret; !ref.IsZero() {
		secrets := a.resolver(tokencache.NewKeyring())
		c.Secret = func(ctx context.Context) ([]byte, error) {
			s, err := secrets.Read(ctx, ref)
			return s.Reveal(), err
		}
	}
	return c
}

// logIn takes the way that is there.
func (a *app) logIn(ctx context.Context, c *login.Config, opts loginOptions) (login.Tokens, error) {
	browser := login.Opener{Getenv: a.getenv}.Find()
	switch {
	case opts.device:
		return c.WithDevice(ctx, a.showCode)
	case opts.noBrowser, opts.port != 0 && browser == nil:
		browser = nil
	case browser == nil && c.Server.DeviceEndpoint != "":
		a.say("there is no browser here, so the login goes by a code (--no-browser shows an address instead)")
		return c.WithDevice(ctx, a.showCode)
	}
	return c.WithBrowser(ctx, login.Browser{Port: opts.port, Show: func(ctx context.Context, address string) error {
		if browser != nil {
			err := login.Open(ctx, browser, address)
			if err == nil {
				fmt.Fprintf(a.stderr, "log in at %s in the browser that opens; without one, end this with Ctrl-C and use --no-browser or --device\n", c.Server.Issuer)
				return nil
			}
			fmt.Fprintf(a.stderr, "%s\n", err)
		}
		fmt.Fprintf(a.stderr, "open this address in a browser on this machine and log in:\n\n%s\n\n", address)
		return nil
	}})
}

// showCode is what a person needs; it is said with --quiet too.
func (a *app) showCode(p login.Prompt) error {
	fmt.Fprintf(a.stderr, "open %s in any browser, type this code and log in; it holds for %s:\n\n    %s\n\n", p.Address, age(p.ExpiresIn.Round(time.Second)), p.Code)
	if p.Complete != "" {
		fmt.Fprintf(a.stderr, "or open %s and compare the code\n", p.Complete)
	}
	return nil
}

// sayLogin tells what was granted and where it is kept.
func (a *app) sayLogin(ctx context.Context, cfg *config.Config, cache *tokencache.Cache, tokens login.Tokens) error {
	where, why := cache.Place(ctx)
	kept, _ := cache.Peek(ctx)
	if a.json() {
		line := map[string]any{
			"issuer": cfg.Auth.Issuer, "client_id": cfg.Auth.ClientID, "scopes": tokens.Scopes, "store": where, "store_problem": nil,
			"renewable": tokens.Refresh != "", "expires_at": stamp(kept.ExpiresAt),
		}
		if why != nil {
			line["store_problem"] = why.Error()
		}
		return a.emit("login", line)
	}
	t := newTable(a.stdout)
	t.row("logged in at", cfg.Auth.Issuer)
	t.row("scopes granted", orNone(strings.Join(tokens.Scopes, " ")))
	t.row("login is kept in", place(where, why))
	if tokens.Refresh == "" {
		t.row("login ends", moment(kept.ExpiresAt, time.Local)+": the authorization server gave nothing to prolong it with")
	}
	return t.flush()
}

// place says where a login is kept, and why not in the keyring.
func place(where string, why error) string {
	switch {
	case where == "keyring":
		return "the keyring"
	case why == nil:
		return where
	}
	return fmt.Sprintf("%s, which only this user can read (%s)", where, why)
}

func runLogout(ctx context.Context, a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.ForLogin(); err != nil {
		return err
	}
	cache, err := a.newCache(cfg, a.logger(cfg))
	if err != nil {
		return err
	}
	defer cache.Close()
	was, told, err := cache.Logout(ctx)
	if told != nil {
		a.say("warning: the authorization server was not told, and may know the login until it expires: %s", told)
	}
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	if a.json() {
		return a.emit("logout", map[string]any{"issuer": cfg.Auth.Issuer, "client_id": cfg.Auth.ClientID, "was_logged_in": was, "revoked": was && told == nil})
	}
	switch {
	case !was:
		fmt.Fprintln(a.stdout, "nobody was logged in")
	case told != nil:
		fmt.Fprintln(a.stdout, "logged out on this machine")
	default:
		fmt.Fprintln(a.stdout, "logged out")
	}
	return nil
}

// loginStanding is what is known of a person's login, without asking anybody.
type loginStanding struct {
	has        bool
	scopes     []string
	renewedAt  time.Time
	where      string
	why        error
	problem    error
	renewable  bool
	accessEnds time.Time
}

// peekLogin looks at the login that is kept.
func peekLogin(ctx context.Context, cache *tokencache.Cache) loginStanding {
	var s loginStanding
	e, err := cache.Login(ctx)
	access, hasAccess := cache.Peek(ctx)
	switch {
	case err == nil:
		s.has, s.renewable, s.scopes, s.renewedAt = true, true, e.Scopes, e.ObtainedAt
	case !errors.Is(err, tokencache.ErrNotFound):
		s.problem = err
	case hasAccess && time.Now().Before(access.ExpiresAt):
		s.has, s.scopes, s.renewedAt, s.accessEnds = true, access.Scopes, access.ObtainedAt, access.ExpiresAt
	}
	s.where, s.why = cache.Place(ctx)
	return s
}

// rows are the lines of a page about credentials.
func (s loginStanding) rows(t *table) {
	switch {
	case s.problem != nil:
		t.row("login", "cannot be read: "+s.problem.Error())
	case !s.has:
		t.row("login", "none; log in with `tsupload auth login`")
	default:
		said := "renewed " + moment(s.renewedAt, time.Local)
		if !s.renewable {
			said = "until " + moment(s.accessEnds, time.Local) + ", cannot be prolonged"
		}
		t.row("login", said)
		t.row("login is kept in", place(s.where, s.why))
		t.row("scopes of the login", orNone(strings.Join(s.scopes, " ")))
	}
}

// fields are the same for machines.
func (s loginStanding) fields() map[string]any {
	f := map[string]any{"logged_in": s.has, "login_renewable": s.renewable, "login_scopes": []string{}, "login_renewed_at": nil, "login_store": nil, "login_problem": nil}
	if s.has {
		f["login_scopes"], f["login_renewed_at"], f["login_store"] = s.scopes, stamp(s.renewedAt), s.where
	}
	if s.problem != nil {
		f["login_problem"] = s.problem.Error()
	}
	return f
}
