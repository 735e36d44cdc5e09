package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load reads yaml as tsupload.yaml of an otherwise empty machine.
func load(tb testing.TB, yaml string, change func(*LoadOptions)) (*Config, error) {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(yaml), 0o600); err != nil {
		tb.Fatal(err)
	}
	opts := options(dir)
	if change != nil {
		change(&opts)
	}
	return Load(opts)
}

func options(dir string) LoadOptions {
	return LoadOptions{
		WorkDir: dir, Home: filepath.Join(dir, "home"), SystemDir: filepath.Join(dir, "etc"),
		ValidateSchedule: func(expr, _ string) error {
			if strings.Contains(expr, "TZ=") {
				return errors.New("bad schedule")
			}
			return nil
		},
		ValidateDateFormat: func(format string) error {
			if !strings.Contains(format, "YY") {
				return errors.New("bad date format")
			}
			return nil
		},
	}
}

func mustLoad(tb testing.TB, yaml string, change func(*LoadOptions)) *Config {
	tb.Helper()
	c, err := load(tb, yaml, change)
	if err != nil {
		tb.Fatalf("got error:\n%v", err)
	}
	return c
}

func faults(tb testing.TB, err error) []Fault {
	tb.Helper()
	var e *Error
	if !errors.As(err, &e) {
		tb.Fatalf("got %T (%v), want *Error", err, err)
	}
	return e.Faults
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func env(pairs ...string) func(*LoadOptions) {
	m := map[string]string{}
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return func(o *LoadOptions) { o.Getenv = func(k string) string { return m[k] } }
}

const productExample = `
api:
  url: https://timesheets.exampleco.com         # uploads go to {url}/timesheets/upload
  supports: []                                  # beyond the plain contract: batch, idempotency_key, read_back, update
auth:
  issuer: https://exampleco.eu.auth0.com/       # discovered; or token_url
  audience: https://timesheets.exampleco.com/api
  client_id: abc
  client_secret: {credential: tsupload-client-secret}
sources:
  - name: acme
    csv: {path: "/srv/acme/*.csv"}
    preset: auto                                # a tracker's name, or columns: {user: Email, date: Day, ...}
    timezone: Europe/Berlin
    schedule: "0 6 * * *"
`

func TestExample(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, productExample, nil)
	if err := c.ForUpload(); err != nil {
		t.Error(err)
	}
	s := c.Sources[0]
	if s.ID != "acme" || s.CSV.Path != "/srv/acme/*.csv" || s.CSV.SettleFile != time.Minute || s.Rules.MaxHoursPerDay != 24 || s.OnChange != "hold" {
		t.Errorf("got source %+v %+v", s, s.CSV)
	}
	if c.API.BatchSize != 1 || c.API.ID != c.API.URL || !cmp.Equal(c.Auth.Scopes, []string{"batch:upload"}) {
		t.Errorf("got %+v, scopes %v", c.API, c.Auth.Scopes)
	}
	if got := c.Auth.ClientSecret.String(); got != "credential tsupload-client-secret" {
		t.Errorf("got secret from %q", got)
	}
}

// The example with every key loads cleanly and leaves out no key.
func TestFull(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, string(data), nil)
	inList, given := regexp.MustCompile(`\[\d+\]`), map[string]bool{}
	for key := range c.origins {
		given[inList.ReplaceAllString(key, "[]")] = true // one item of a list has one key, another the next
	}
	leaves(reflect.ValueOf(c).Elem(), "", "", func(lf leaf) {
		if !given[inList.ReplaceAllString(lf.key, "[]")] && !strings.HasPrefix(lf.key, "sources[") && !slices.Contains(inPlaceOfOthers, lf.key) {
			t.Errorf("%s is not in the example", lf.key)
		}
	})
	if h := c.Sources[1].HTTP; h.Since != 35*24*time.Hour || h.Until != 0 || h.Query["since"] != "{{since}}" {
		t.Errorf("got %+v", h)
	}
	if c.Sources[0].People["ada@example.test"] != "007" {
		t.Errorf("got %v", c.Sources[0].People)
	}
	if r := c.Sources[0].Rules; r.MaxHoursPerDay != 16 || r.MaxHoursPerEntry != 24 {
		t.Errorf("got %+v", r)
	}
	var buf bytes.Buffer
	if err := c.Show(&buf); err != nil {
		t.Fatal(err)
	}
	golden(t, "full.show", strings.ReplaceAll(buf.String(), filepath.Dir(c.File)+"/", ""))
}

// inPlaceOfOthers are keys that exclude one of the example.
var inPlaceOfOthers = []string{ // a table
	"auth.token_url", "auth.private_key", "auth.private_key_id", "auth.signing_alg", "auth.assertion_audience", "auth.assertion",
}

// Paths are relative to the file they are written in.
func TestRelativePaths(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `api: {headers: {X-Api-Key: {file: keys/api}}, ca_file: ca.pem}
sources: [{name: a, timezone: UTC, csv: {path: in/*.csv}}, {name: b, timezone: UTC, csv: {path: ~/b.csv}}]`, nil)
	dir := filepath.Dir(c.File)
	got := []string{c.API.Headers["X-Api-Key"].Secret.File, c.API.CAFile, c.Sources[0].CSV.Path, c.Sources[1].CSV.Path}
	want := []string{dir + "/keys/api", dir + "/ca.pem", dir + "/in/*.csv", dir + "/home/b.csv"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"{}":                                    "127.0.0.1:9464",
		"listen: {address: ''}":                 "",
		"listen: {address: ':9464'}":            ":9464",
		"listen: {address: 'localhost:0'}":      "localhost:0",
		"listen: {address: '[::1]:9464'}":       "[::1]:9464",
		"listen: {address: '[fe80::1%eth0]:1'}": "[fe80::1%eth0]:1",
		"listen: {address: 0.0.0.0:9464}":       "0.0.0.0:9464",
	} {
		if c := mustLoad(t, yaml, nil); c.Listen.Address != want {
			t.Errorf("%s: got %q, want %q", yaml, c.Listen.Address, want)
		}
	}
	c := mustLoad(t, "metrics: {textfile: prom/tsupload.prom}", nil)
	if want := filepath.Join(filepath.Dir(c.File), "prom/tsupload.prom"); c.Metrics.Textfile != want {
		t.Errorf("got %q, want %q", c.Metrics.Textfile, want)
	}
	_, err := load(t, "", env("TSUPLOAD_LISTEN_TOKEN_FILE=a", "TSUPLOAD_LISTEN_TOKEN_ENV=B"))
	if f := faults(t, err); len(f) != 1 || f[0].Key != "listen.token" {
		t.Errorf("got %v", f)
	}
}

func TestNoFile(t *testing.T) {
	t.Parallel()
	c, err := Load(options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if c.File != "" || c.API.Timeout != 30*time.Second {
		t.Errorf("got %+v", c)
	}
	if got := len(faults(t, c.ForUpload())); got != 3 {
		t.Errorf("got %d faults for an upload, want 3", got)
	}
	if _, err := Load(LoadOptions{WorkDir: t.TempDir(), SystemDir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

func TestEmptyFile(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "# only a comment\n", "---\n", "\ufeff", "{}", "api:\nsources:\n", "~"} {
		if c := mustLoad(t, s, nil); c.File == "" || c.API.Concurrency != 4 {
			t.Errorf("%q: got %+v", s, c)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(rel, id string) {
		p := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("api: {id: "+id+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string, change func(*LoadOptions)) {
		t.Helper()
		o := options(dir)
		if change != nil {
			change(&o)
		}
		c, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if c.API.ID != want {
			t.Errorf("got %s from %s, want %s", c.API.ID, c.File, want)
		}
	}
	put("etc/tsupload.yaml", "etc")
	check("etc", nil)
	put("home/.config/tsupload/tsupload.yaml", "home")
	check("home", nil)
	put("xdg/tsupload/tsupload.yaml", "xdg")
	check("xdg", env("XDG_CONFIG_HOME="+filepath.Join(dir, "xdg")))
	put("tsupload.yaml", "work")
	check("work", nil)
	put("named.yaml", "named")
	check("named", env("TSUPLOAD_CONFIG=named.yaml"))
	put("flag.yaml", "flag")
	check("flag", func(o *LoadOptions) { env("TSUPLOAD_CONFIG=named.yaml")(o); o.Path = "flag.yaml" })

	for _, change := range []func(*LoadOptions){
		func(o *LoadOptions) { o.Path = "absent.yaml" },
		env("TSUPLOAD_CONFIG=absent.yaml"),
		func(o *LoadOptions) { o.Path = "home" }, // a directory
	} {
		o := options(dir)
		change(&o)
		_, err := Load(o)
		if f := faults(t, err); len(f) != 1 || f[0].Flag+f[0].Env == "" {
			t.Errorf("got %v", f)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "api: {timeout: 10s, concurrency: 2}\nlog: {level: warn, format: json}\n"
	c := mustLoad(t, file, func(o *LoadOptions) {
		env("TSUPLOAD_API_TIMEOUT=20s", "TSUPLOAD_LOG_LEVEL=error", "TSUPLOAD_API_SUPPORTS=batch, read_back",
			"TSUPLOAD_API_SERVER_NOT_EXECUTED=502,503", "TSUPLOAD_API_SERVER_SETTLE=1d", "TSUPLOAD_RUN_DRAIN=",
			"TSUPLOAD_AUTH_CHECK_SCOPE=false", "TSUPLOAD_API_RATE_LIMIT=2.5", "STATE_DIRECTORY=/run/a:/run/b")(o)
		o.Flags = map[string]string{"log.level": "debug"}
	})
	for _, row := range []struct{ key, origin, value string }{
		{"api.timeout", "env TSUPLOAD_API_TIMEOUT", "20s"},
		{"api.concurrency", c.File + ":1", "2"},
		{"log.level", "flag --log-level", `"debug"`},
		{"log.format", c.File + ":2", `"json"`},
		{"api.supports", "env TSUPLOAD_API_SUPPORTS", `["batch", "read_back"]`},
		{"api.server.not_executed", "env TSUPLOAD_API_SERVER_NOT_EXECUTED", "[502, 503]"},
		{"api.server.settle", "env TSUPLOAD_API_SERVER_SETTLE", "24h"},
		{"api.rate_limit", "env TSUPLOAD_API_RATE_LIMIT", "2.5"},
		{"auth.check_scope", "env TSUPLOAD_AUTH_CHECK_SCOPE", "false"},
		{"run.drain", "default", "30s"},
		{"api.batch_size", "default", "500"},
		{"auth.scopes", "default", `["batch:upload", "read:timesheets"]`},
		{"state.dir", "env STATE_DIRECTORY", `"/run/a"`},
	} {
		for _, s := range c.Settings() {
			if s.Key == row.key && (s.Value != row.value || s.Origin.String() != row.origin) {
				t.Errorf("%s: got %s from %s, want %s from %s", s.Key, s.Value, s.Origin, row.value, row.origin)
			}
		}
	}
}

func TestStateDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	for _, row := range []struct {
		name, want string
		change     func(*LoadOptions)
	}{
		{"user", filepath.Join(home, ".local/state/tsupload"), func(*LoadOptions) {}},
		{"root", "/var/lib/tsupload", func(o *LoadOptions) { o.Root = true }},
		{"xdg", "/xdg/tsupload", env("XDG_STATE_HOME=/xdg")},
		{"env", filepath.Join(dir, "here"), env("TSUPLOAD_STATE_DIR=here", "STATE_DIRECTORY=/run/a")},
		{"tilde", filepath.Join(home, "ts"), env("TSUPLOAD_STATE_DIR=~/ts")},
	} {
		o := options(dir)
		row.change(&o)
		c, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if c.State.Dir != row.want {
			t.Errorf("%s: got %s, want %s", row.name, c.State.Dir, row.want)
		}
	}
}

// A reference in the environment replaces the file's instead of joining it.
func TestSecretReferenceFromEnv(t *testing.T) {
	t.Parallel()
	const file = "auth: {client_secret: {keyring: a}}"
	c := mustLoad(t, file, env("TSUPLOAD_AUTH_CLIENT_SECRET_FILE=/run/s"))
	if got := c.Auth.ClientSecret.String(); got != "file /run/s" {
		t.Errorf("got %q", got)
	}
	if got := c.Origin("auth.client_secret").String(); got != "env TSUPLOAD_AUTH_CLIENT_SECRET_FILE" {
		t.Errorf("got %q", got)
	}
	_, err := load(t, file, env("TSUPLOAD_AUTH_CLIENT_SECRET_FILE=/run/s", "TSUPLOAD_AUTH_CLIENT_SECRET_ENV=S"))
	if f := faults(t, err); len(f) != 1 || !strings.Contains(f[0].Message, "several") {
		t.Errorf("got %v", f)
	}
	_, err = load(t, file, env("TSUPLOAD_AUTH_CLIENT_SECRET=hunter2"))
	if f := faults(t, err); len(f) != 1 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", f)
	}
}

func TestEnvNamesAreUnique(t *testing.T) {
	t.Parallel()
	n := 0
	settable(Default(), func(leaf) { n++ })
	names := EnvNames()
	if len(names) != n {
		t.Errorf("got %d names for %d keys", len(names), n)
	}
	for _, name := range []string{"TSUPLOAD_API_URL", "TSUPLOAD_API_BATCH_SIZE", "TSUPLOAD_STATE_DIR", "TSUPLOAD_API_SERVER_SETTLE", "TSUPLOAD_RULES_FUTURE"} {
		if names[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range names {
		if name == "TSUPLOAD_CONFIG" || name == "TSUPLOAD_CLIENT_SECRET" || strings.Contains(name, "SOURCES") {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "35d": 35 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "0d": 0, "1h30m": 90 * time.Minute,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
		if back, err := ParseDuration(FormatDuration(want)); err != nil || back != want {
			t.Errorf("%v: comes back as %v, %v", want, back, err)
		}
	}
	for _, s := range []string{"", "30", "d", "-1d", "1.5d", "1d-5h", "1d2", "99999d9999999h", "d5h", "1h2d", "soon"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

// Neither a fault nor what is shown gives a secret away, wherever it was
// written by mistake.
func TestNoSecretShown(t *testing.T) {
	t.Parallel()
	const canary = "Hunter2Canary"
	for _, file := range []string{
		"auth: {client_secret: %s}",
		"auth: {client_secret: [%s]}",
		"auth: {client_secret: {value: %s}}",
		"auth: {client_secret: {file: a, env: b, command: [x, %s]}}",
		"auth: {client_secret: *%s}",
		"auth: {client_secret: &%s }x",
		"auth: {client_secret: !%s x}",
		"auth: {client_secret: @%s}",
		"api: {url: 'https://user:%s@host/'}",
		"api: {url: 'http://user:%s@host:port/'}",
		"api: {headers: {Authorization: Bearer %s}}",
		"api: {headers: {X-Api-Key: %s}}",
		"auth: {params: {client_assertion: %s}}",
		"listen: {token: %s}",
		"sources: [{name: a, timezone: UTC, http: {url: 'https://x/?api_key=%s'}}]",
		"sources: [{name: a, timezone: UTC, http: {url: https://x/, query: {token: %s}}}]",
		"sources: [{name: a, timezone: UTC, http: {url: https://x/, auth: {bearer: %s}}}]",
		"sources: [{name: a, timezone: UTC, http: {url: https://x/, auth: {basic: {username: a, password: %s}}}}]",
		"sources: [{name: a, timezone: UTC, http: {url: https://x/, auth: {header: {name: X, value: '%s'}}}}]",
	} {
		_, err := load(t, fmt.Sprintf(file, canary), nil)
		if err == nil {
			t.Errorf("%s: no error", file)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: shows the secret:\n%v", file, err)
		}
	}
	c := mustLoad(t, "auth: {client_secret: {command: [pass, "+canary+"]}}", nil)
	var buf bytes.Buffer
	if err := c.Show(&buf); err != nil || strings.Contains(buf.String(), canary) {
		t.Errorf("got %v:\n%s", err, &buf)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(productExample)
	for _, name := range []string{"full.yaml", "faults.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("a: &a [*a, *a]\nb: &b [*a, *a, *a]\nsources: &s [*s]\n")
	f.Add("sources: &s [{csv: *s}]\n? {a: b}\n: c\n<<: *s\n")
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, data string) {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		o := options(filepath.Dir(path))
		o.Path = path
		c, err := Load(o)
		if err == nil {
			if err := c.Show(&bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			return
		}
		for _, fault := range faults(t, err) {
			if strings.Contains(fault.Message, "config.") || strings.Contains(fault.Message, "reflect") {
				t.Errorf("a Go type in the message: %v", fault)
			}
		}
	})
}
