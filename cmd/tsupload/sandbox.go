package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/sandbox"
)

// sandboxOptions are the flags of sandbox.
type sandboxOptions struct {
	listen, authListen string
	db                 string
	faults             []string
	latency, tokenTTL  time.Duration
	secretFile         string
	seed               uint64
}

func newSandboxCommand(a *app) *cobra.Command {
	var opts sandboxOptions
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run an authorization server and a Timesheets API on this machine",
		Long: `Run the other end on this machine: an authorization server and the Timesheets
API, with real HTTP on loopback and real signed tokens, until interrupted. What
is uploaded to it goes nowhere else; without --db it is gone at the end.

A configuration for it is printed on standard output, with a secret that is
made for this sandbox alone (not with --client-secret-file).

A FAULT is [KIND-]NAME[=ARG][@SELECTOR]. KIND is read, update or token; none
means uploads. "-after" means that the request is executed first.

    status=CODE, status-after=CODE   answers with this status
    429[=SECONDS]                    too many requests, with Retry-After
    reset, reset-after               connection reset
    hang, hang-after                 never answers
    cut-after                        the answer is cut off
    html, html-after                 200 with an HTML page
    slow[=DURATION]                  the answer trickles in
    item=STATUS                      one item of a batch is refused
    max-items=N                      an array may have at most N items
    late=DURATION                    reset at once, committed later
    forbid, revoke, rotate-keys      403; tokens become invalid; a new signing key
    token-expires-in=SECONDS, token-skew=DURATION, token-scope-missing

SELECTOR picks requests of that kind, counted from 1: @3, @3-5, @3-, @every=4,
@p=0.2. Without one, all.`,
		Example: `  tsupload sandbox
  tsupload sandbox --listen 127.0.0.1:8080 --auth-listen 127.0.0.1:8081 --db sandbox.db
  tsupload sandbox --fault reset-after@2 --fault 429=5@every=10 --latency 50ms`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSandbox(cmd.Context(), a, opts) },
	}
	f := cmd.Flags()
	f.StringVar(&opts.listen, "listen", "127.0.0.1:0", "`ADDRESS` of the API; port 0 is any free one")
	f.StringVar(&opts.authListen, "auth-listen", "127.0.0.1:0", "`ADDRESS` of the authorization server")
	f.StringVar(&opts.db, "db", "", "keep what is uploaded in the SQLite `FILE` (default: in memory)")
	f.StringArrayVar(&opts.faults, "fault", nil, "order a `FAULT` (repeatable)")
	f.DurationVar(&opts.latency, "latency", 0, "delay of every answer")
	f.DurationVar(&opts.tokenTTL, "token-ttl", time.Hour, "lifetime of access tokens")
	f.StringVar(&opts.secretFile, "client-secret-file", "", "`FILE` with the client's secret (default: a random one, printed)")
	f.Uint64Var(&opts.seed, "seed", 0, "what decides faults by chance")
	return cmd
}

func runSandbox(ctx context.Context, a *app, opts sandboxOptions) error {
	if opts.latency < 0 || opts.tokenTTL <= 0 {
		return usage("give a positive duration such as 50ms", "--latency and --token-ttl cannot be negative or zero")
	}
	cfg := sandbox.Config{
		Addr: opts.listen, AuthAddr: opts.authListen, DB: opts.db, Latency: opts.latency, TokenTTL: opts.tokenTTL, Seed: opts.seed, Logger: a.logger(nil),
	}
	for _, text := range opts.faults {
		fault, err := sandbox.ParseFault(text)
		if err != nil {
			return usage("see `tsupload sandbox --help`", "%s", err)
		}
		cfg.Faults = append(cfg.Faults, fault)
	}
	if opts.secretFile != "" {
		secret, err := config.NewResolver(config.ResolverConfig{Getenv: a.getenv}).Read(ctx, config.SecretRef{File: opts.secretFile})
		if err != nil {
			return err
		}
		cfg.ClientSecret = string(secret.Reveal())
	}
	s, err := sandbox.Start(ctx, cfg)
	if err != nil {
		return sandboxError(err)
	}
	defer s.Close()
	if err := announceSandbox(a, s, opts); err != nil {
		return err
	}
	select {
	case <-a.stopping:
	case <-ctx.Done():
	}
	return s.Close()
}

// sandboxError calls an address that cannot be used wrong usage.
func sandboxError(err error) error {
	hint := hintOf(err)
	if hint == "" && strings.Contains(err.Error(), "listen") {
		hint = "another program has that address; name one with a free port, such as 127.0.0.1:0"
	}
	if hint == "" {
		return err
	}
	return usage(hint, "%s", err)
}

func announceSandbox(a *app, s *sandbox.Sandbox, opts sandboxOptions) error {
	if a.json() {
		line := map[string]any{"api_url": s.APIURL(), "issuer": s.Issuer(), "audience": s.Audience(), "client_id": s.ClientID(), "pid": os.Getpid()}
		if opts.secretFile == "" {
			line["client_secret"] = s.ClientSecret()
		}
		return a.emit("sandbox", line)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The sandbox is running. Put this into tsupload.yaml, beside your sources:\n%s\n", s.ConfigBlock())
	if opts.secretFile == "" {
		fmt.Fprintf(&b, "# The secret of this sandbox, made for it alone:\nexport TSUPLOAD_CLIENT_SECRET=%s\n", s.ClientSecret())
	} else {
		fmt.Fprintf(&b, "# The secret is in %s: set TSUPLOAD_CLIENT_SECRET, or client_secret: {file: ...}\n", opts.secretFile)
	}
	if _, err := io.Copy(a.stdout, &b); err != nil {
		return err
	}
	a.say("press Ctrl-C to end it")
	return nil
}
