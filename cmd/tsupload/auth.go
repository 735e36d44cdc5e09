package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/tokencache"
)

func newAuthCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Look at, obtain and store credentials",
		Long: `tsupload obtains access tokens with its own machine identity (OAuth 2.0 client
credentials), or, with auth.as: person, from the login of a person. One token
serves every run until it nears its end.`,
		Example: `  tsupload auth status
  tsupload auth login
  tsupload auth set-secret < secret.txt`,
		RunE: group,
	}
	var minTTL time.Duration
	token := &cobra.Command{
		Use:   "token",
		Short: "Print an access token",
		Long: `Print an access token on standard output, for use in other programs. The kept one
is printed where it is good for long enough; otherwise one is obtained, and the
kept one stays if that fails.

This is the only command that prints a token: keep its output out of logs.`,
		Example: `  curl -H "Authorization: Bearer $(tsupload auth token)" https://timesheets.example.com/timesheets
  tsupload auth token --min-ttl 10m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAuthToken(cmd.Context(), a, minTTL) },
	}
	token.Flags().DurationVar(&minTTL, "min-ttl", 0, "obtain another token where the kept one ends sooner than this")
	cmd.AddCommand(
		&cobra.Command{
			Use:   "status",
			Short: "Show whose credentials are used, the kept token's expiry and scopes, and what tokens cost",
			Long: `Show where the client's credentials come from (a secret, a private key, or an
assertion of the platform), who is asked for tokens, expiry and scopes of the kept
token, how many tokens were fetched and how many the kept ones saved, and what the
authorization server says is left. Neither credentials nor token are shown, and
nothing is asked of the authorization server; "tsupload doctor" does that.`,
			Example: `  tsupload auth status
  tsupload auth status -o json`,
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runAuthStatus(cmd.Context(), a) },
		},
		newLoginCommand(a), newLogoutCommand(a),
		token,
		&cobra.Command{
			Use:   "set-secret",
			Short: "Store the client secret in the keyring",
			Long: `Read the client secret from standard input and store it in the keyring of this
user, where it is found when auth.client_secret names no other place. On servers
without a desktop session use a file or a systemd credential instead.`,
			Example: `  tsupload auth set-secret < secret.txt
  pass show tsupload | tsupload auth set-secret`,
			Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return runAuthSetSecret(cmd.Context(), a) },
		},
	)
	return cmd
}

func runAuthStatus(ctx context.Context, a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	var person *loginStanding
	if cfg.Auth.As == "person" && cfg.ForLogin() == nil {
		cache, err := a.newCache(cfg, a.logger(cfg))
		if err != nil {
			return err
		}
		defer cache.Close()
		s := peekLogin(ctx, cache)
		person = &s
	}
	now := time.Now()
	proof := a.lookAtCredential(ctx, cfg)
	problem := ""
	if proof.err != nil {
		problem = proof.err.Error()
		if hint := hintOf(proof.err); hint != "" {
			problem += "; " + hint
		}
	}
	token, has, none := a.peekToken(ctx, cfg)
	days := a.tokenDays(cfg)
	server := cfg.Auth.Issuer
	if server == "" {
		server = cfg.Auth.TokenURL
	}
	if a.json() {
		line := map[string]any{
			"issuer": cfg.Auth.Issuer, "token_url": cfg.Auth.TokenURL, "dialect": cfg.Auth.Dialect, "audience": cfg.Auth.Audience, "client_id": cfg.Auth.ClientID,
			"auth_style": cfg.Auth.AuthStyle, "as": cfg.Auth.As, "wanted_scopes": cfg.Auth.Scopes, "store": tokenDir(cfg),
			"credential": proof.way, "secret_from": proof.from, "secret_problem": problem, "algorithm": proof.algorithm, "key_id": proof.keyID, "assertion_expires_at": stamp(proof.expires),
			"kept": has, "expires_at": nil, "obtained_at": nil, "scopes": []string{}, "seconds_left": nil,
		}
		if proof.way != "client_secret" {
			line["auth_style"] = proof.way
		}
		maps.Copy(line, economyJSON(cfg, &token, has, days, now))
		if has {
			line["expires_at"], line["obtained_at"], line["scopes"] = stamp(token.ExpiresAt), stamp(token.ObtainedAt), token.Scopes
			line["seconds_left"] = max(0, int64(token.ExpiresAt.Sub(now).Seconds()))
		}
		if person != nil {
			maps.Copy(line, person.fields())
		}
		return a.emit("auth", line)
	}
	from := proof.String()
	if problem != "" {
		from = "none: " + problem
		if proof.from != "" {
			from = proof.from + ": " + problem
		}
	}
	t := newTable(a.stdout)
	t.row("authorization server", orNone(server))
	if cfg.Auth.Dialect != "" {
		t.row("dialect", cfg.Auth.Dialect)
	}
	t.row("audience", orNone(cfg.Auth.Audience))
	t.row("client", orNone(cfg.Auth.ClientID))
	t.row(proof.words(), from)
	t.row("uploads go out as", cfg.Auth.As)
	t.row("scopes asked for", orNone(strings.Join(cfg.Auth.Scopes, " ")))
	if person != nil {
		person.rows(t)
	} else {
		t.row("tokens are kept in", tokenDir(cfg))
	}
	switch {
	case none != "":
		t.row("token", "none ("+none+")")
	case !has:
		t.row("token", "none is kept")
	default:
		t.row("token obtained", moment(token.ObtainedAt, time.Local))
		expiry := moment(token.ExpiresAt, time.Local)
		if left := token.ExpiresAt.Sub(now); left > 0 {
			expiry += ", in " + age(left)
		} else {
			expiry += ", expired"
		}
		t.row("token expires", expiry)
		t.row("scopes granted", orNone(strings.Join(token.Scopes, " ")))
	}
	if words := economy(cfg, &token, has, days, now); words != "" {
		t.row("tokens", words)
	}
	left, low := quota(&token, now)
	if left != "" {
		t.row("allotment", left)
	}
	if low {
		a.say("warning: %s", littleLeft)
	}
	return t.flush()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func runAuthToken(ctx context.Context, a *app, minTTL time.Duration) error {
	if minTTL < 0 {
		return usage("give a positive duration such as 10m", "--min-ttl %s makes no sense", minTTL)
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.ForUpload(); err != nil {
		return err
	}
	cache, err := a.newCache(cfg, a.logger(cfg))
	if err != nil {
		return err
	}
	defer cache.Close()
	token, err := cache.TokenFor(ctx, minTTL)
	if err != nil {
		return err
	}
	if left := time.Until(token.ExpiresAt); left < minTTL {
		a.say("note: the authorization server issues tokens for %s only", left.Round(time.Second))
	}
	if a.json() {
		return a.emit("token", map[string]any{"access_token": token.Value, "expires_at": stamp(token.ExpiresAt), "scopes": token.Scopes})
	}
	_, err = fmt.Fprintln(a.stdout, token.Value)
	return err
}

// maxSecret is more than any keyring holds.
const maxSecret = 4 << 10

func runAuthSetSecret(ctx context.Context, a *app) error {
	ring := tokencache.NewKeyring()
	secret, err := a.readSecret()
	if err != nil {
		return err
	}
	if err := ring.SetSecret(ctx, config.ClientSecretName, secret); err != nil {
		return err
	}
	if a.json() {
		return a.emit("secret", map[string]any{"stored": "keyring", "name": config.ClientSecretName})
	}
	fmt.Fprintf(a.stdout, "stored in the keyring as %s\n", config.ClientSecretName)
	a.say("next: tsupload auth token > /dev/null, to see that it is accepted")
	return nil
}

// readSecret takes the secret from standard input, less one line end.
func (a *app) readSecret() ([]byte, error) {
	if f, ok := a.stdin.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		if a.noInput {
			return nil, usage("pipe the secret in: tsupload auth set-secret < FILE", "standard input is a terminal, and --no-input forbids to ask")
		}
		fmt.Fprint(a.stderr, "client secret (it will be visible; pipe it in to avoid that): ")
		line, err := bufio.NewReader(io.LimitReader(f, maxSecret+1)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return checkSecret([]byte(line))
	}
	if a.stdin == nil {
		return checkSecret(nil)
	}
	b, err := io.ReadAll(io.LimitReader(a.stdin, maxSecret+1))
	if err != nil {
		return nil, err
	}
	return checkSecret(b)
}

func checkSecret(b []byte) ([]byte, error) {
	if len(b) > maxSecret {
		return nil, usage("is it the right file?", "the secret is longer than %d bytes", maxSecret)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case s == "":
		return nil, usage("pipe it in: tsupload auth set-secret < FILE", "there is no secret on standard input")
	case strings.ContainsAny(s, "\r\n\x00"):
		return nil, usage("is it the right file? A secret is one line", "the secret has more than one line")
	}
	return []byte(s), nil
}
