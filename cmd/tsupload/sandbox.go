package main

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// sandboxOptions are the flags of sandbox.
type sandboxOptions struct {
	listen, authListen string
	db                 string
	faults             []string
	latency            time.Duration
	secretFile         string
	keyFile            string
	claims             string
	seed               uint64

	tokenTTL, refreshTTL, secretTTL, deviceTTL, deviceInterval time.Duration
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
made for this sandbox alone (not with --client-secret-file), and the people of
ExampleCo with their passwords, which are new at each start.

Clients of the authorization server:

    sandbox-client    a machine: client credentials, with the secret or, with
                      --client-key, a signed assertion (private_key_jwt)
    sandbox-noscope   a machine with the same secret that may not upload
    tsupload-cli      for people: authorization code with PKCE (S256) on
                      http://127.0.0.1:PORT/callback or http://[::1]:PORT/callback,
                      the device grant, refresh tokens; no secret
    sandbox-web       the page under /ui/ of the API, where people see their hours,
                      enter some, and approve those of others

People log in on a page and see each scope that is asked for, and may refuse
each. Nobody can grant more than their role allows: employees and contractors
create:timesheets, read:timesheets and delete:timesheets; managers and
administrators approve:timesheets too; batch:upload is for machines. Refresh
tokens work once and are replaced at each use; one that comes again ends the
login. Five wrong passwords for a name within a minute, or ten wrong user
codes, must wait.

--claims says how the API learns who a person is: from the token; by looking
the subject up when it first sees a token (lookup); or from the authorization
server, which asks the API at issuance and hands out a reference token that is
introspected (reference).

A FAULT is [KIND-]NAME[=ARG][@SELECTOR]. KIND is read, update, token (the token
endpoint), discovery (metadata), keys (JWKS) or introspect; none means uploads.
"-after" means that the request is executed first.

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
    token-revoke, token-rotate-keys  the same, and refresh tokens too
    token-expires-in=SECONDS         lifetime of the token
    token-expires-in=WORD            the answer says missing, zero, negative,
                                     float, string or huge; the token is good
    token-skew=DURATION              the clock is ahead, or behind (-2h)
    token-scope-missing              granted without leave to upload

SELECTOR picks requests of that kind, counted from 1: @3, @3-5, @3-, @every=4,
@p=0.2. Without one, all.`,
		Example: `  tsupload sandbox
  tsupload sandbox --listen 127.0.0.1:8080 --auth-listen 127.0.0.1:8081 --db sandbox.db
  tsupload sandbox --fault reset-after@2 --fault 429=5@every=10 --latency 50ms
  tsupload sandbox --client-key machine.pub.pem --claims reference`,
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
	f.DurationVar(&opts.refreshTTL, "refresh-ttl", 30*24*time.Hour, "how long a refresh token lasts without use")
	f.DurationVar(&opts.deviceTTL, "device-ttl", 10*time.Minute, "how long a device waits for its person")
	f.DurationVar(&opts.deviceInterval, "device-interval", 5*time.Second, "how long a device waits between its questions; whole seconds")
	f.DurationVar(&opts.secretTTL, "client-secret-ttl", 90*24*time.Hour, "how long the client's secret lasts")
	f.StringVar(&opts.keyFile, "client-key", "", "`FILE` with the client's public keys in PEM (RSA, P-256 or Ed25519), for private_key_jwt")
	f.StringVar(&opts.claims, "claims", string(people.InToken), "how the API learns a person's claims: token, lookup or reference")
	f.StringVar(&opts.secretFile, "client-secret-file", "", "`FILE` with the client's secret (default: a random one, printed)")
	f.Uint64Var(&opts.seed, "seed", 0, "what decides faults by chance")
	return cmd
}

func runSandbox(ctx context.Context, a *app, opts sandboxOptions) error {
	if opts.latency < 0 || opts.tokenTTL <= 0 {
		return usage("give a positive duration such as 50ms", "--latency and --token-ttl cannot be negative or zero")
	}
	if opts.refreshTTL < time.Second || opts.secretTTL <= 0 || opts.deviceTTL < time.Second || opts.deviceInterval < time.Second {
		return usage("give a duration such as 10m", "--refresh-ttl, --device-ttl and --device-interval are at least a second, and --client-secret-ttl is positive")
	}
	claims, err := people.ParseDesign(opts.claims)
	if err != nil {
		return usage("give --claims token, lookup or reference", "--%s", err)
	}
	cfg := sandbox.Config{
		Addr: opts.listen, AuthAddr: opts.authListen, DB: opts.db, Latency: opts.latency, Seed: opts.seed, Claims: claims, Logger: a.logger(nil),
		TokenTTL: opts.tokenTTL, RefreshTTL: opts.refreshTTL, SecretTTL: opts.secretTTL, DeviceTTL: opts.deviceTTL, DeviceInterval: opts.deviceInterval,
	}
	for _, text := range opts.faults {
		fault, err := sandbox.ParseFault(text)
		if err != nil {
			return usage("see `tsupload sandbox --help`", "%s", err)
		}
		cfg.Faults = append(cfg.Faults, fault)
	}
	if opts.keyFile != "" {
		if cfg.ClientKeys, err = readPublicKeys(opts.keyFile); err != nil {
			return err
		}
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

// readPublicKeys reads the keys that the machine signs its assertions with.
func readPublicKeys(path string) ([]crypto.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("name a file with public keys in PEM, as `openssl pkey -in KEY -pubout` writes them", "--client-key: %s", err)
	}
	keys, err := authserver.ParseKeys(data)
	if err != nil {
		return nil, usage("write it with `openssl pkey -in KEY -pubout`", "--client-key: %s: %s", path, err)
	}
	return keys, nil
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
		line := map[string]any{
			"api_url": s.APIURL(), "issuer": s.Issuer(), "audience": s.Audience(), "client_id": s.ClientID(), "pid": os.Getpid(), "page_url": s.PageURL(),
			"person_client_id": sandbox.CLIClient, "people": peopleOf(s),
		}
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
	announcePeople(&b, s)
	if _, err := io.Copy(a.stdout, &b); err != nil {
		return err
	}
	a.say("press Ctrl-C to end it")
	return nil
}

// sandboxPerson is somebody who can log in, as JSON.
type sandboxPerson struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	Name     string   `json:"name"`
	UserID   string   `json:"user_id"`
	UserType string   `json:"user_type"`
	Role     string   `json:"role"`
	Regions  []string `json:"regions"`
}

func peopleOf(s *sandbox.Sandbox) []sandboxPerson {
	var list []sandboxPerson
	for _, p := range s.People() {
		list = append(list, sandboxPerson{
			Username: p.Username, Password: s.Password(p.Username), Name: p.Name, UserID: p.UserID,
			UserType: string(p.UserType), Role: string(p.Role), Regions: p.Regions,
		})
	}
	return list
}

// announcePeople says how to log in, in comments, so that what is printed stays
// a configuration.
func announcePeople(b *bytes.Buffer, s *sandbox.Sandbox) {
	b.WriteString("\n# Or upload as a person: put this in its place, and run `tsupload auth login`.\n")
	for line := range strings.Lines(s.PersonConfigBlock()) {
		b.WriteString("# " + line)
	}
	fmt.Fprintf(b, "\n# Or see it all in a browser: %s\n\n# Who can log in there:\n#\n", s.PageURL())
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "username\tpassword\tuser_id\trole\tregions")
	for _, p := range peopleOf(s) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Username, p.Password, p.UserID, p.Role, strings.Join(p.Regions, ", "))
	}
	_ = t.Flush() // a buffer does not fail
	for line := range strings.Lines(table.String()) {
		b.WriteString("#   " + line)
	}
}
