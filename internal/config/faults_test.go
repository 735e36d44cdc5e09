package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// All faults of the file, in one go.
func TestFaults(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := ""
	_, err = load(t, string(data), func(o *LoadOptions) {
		dir = o.WorkDir
		env("TSUPLOAD_API_SERVER_READ_GAP=never", "TSUPLOAD_RULES_MAX_HOURS_PER_ENTRY=x")(o)
		o.Flags = map[string]string{"no.such": "x"}
	})
	for _, f := range faults(t, err) {
		if f.Hint == "" && f.Flag == "" {
			t.Errorf("no hint: %v", f)
		}
	}
	golden(t, "faults.golden", strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")+"\n")
}

func TestSingleFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ yaml, want string }{
		{"api: [1\nb: 2", ":2:2: did not find expected ',' or ']'"},
		{"api:\n\turl: x", ":2:1: found character that cannot start any token"},
		{"a: 1\n---\nb: 2", "the file holds a second document"},
		{"- a", ":1:1: the file holds a list instead of keys"},
		{"text", ":1:1: the file holds text instead of keys"},
		{"api: {concurency: 4}", ":1:7: api.concurency: unknown key\n    hint: did you mean concurrency?"},
		{"batch_size: 4", "hint: did you mean api.batch_size?"},
		{"api: {batch_size: 4}", ":1:19: api.batch_size: is more than 1 for an API without batches"},
		{"api: {batch_size: 0x10}", "is not a whole number"},
		{"api: {supports: batch}", "api.supports: is text instead of a list"},
		{"api: {url: 'https://x/?a=b'}", "has a query"},
		{"api: {url: 'http://localhost.example.com'}", "is not https"},
		{"auth: {client_secret: {}}", "names no place"},
		{"auth: {client_secret: {file: a, env: B}}", "names several places: file, env"},
		{"auth: {client_secret: {fil: a}}", "did you mean file?"},
		{"auth: {client_secret: {credential: a/b}}", "is not the name of a credential"},
		{"auth: {client_secret: {env: A}, private_key: {file: k}}", ":1:46: auth.private_key: excludes client_secret"},
		{"auth: {private_key: {file: k}, assertion: {file: t}}", "auth.assertion: excludes private_key"},
		{"auth: {private_key: '-----BEGIN PRIVATE KEY-----'}", "auth.private_key: is text instead of a secret reference"},
		{"auth: {private_key: {file: k}, auth_style: post}", "auth.auth_style: has no meaning without a client secret"},
		{"auth: {assertion: {file: t}, auth_style: basic}", "auth.auth_style: has no meaning without a client secret"},
		{"auth: {private_key_id: k1}", "auth.private_key_id: has no meaning without private_key"},
		{"auth: {assertion: {file: t}, signing_alg: RS256}", "auth.signing_alg: has no meaning without private_key"},
		{"auth: {assertion_audience: issuer}", "auth.assertion_audience: has no meaning without private_key"},
		{"auth: {private_key: {file: k}, signing_alg: HS256}", `"HS256" is not known here`},
		{"auth: {private_key: {file: k}, assertion_audience: token}", `one of issuer, token_endpoint`},
		{"auth: {private_key: {file: k}, token_url: 'https://x/t', assertion_audience: issuer}", "auth.assertion_audience: needs auth.issuer"},
		{"auth: {as: person, issuer: 'https://x/', private_key: {file: k}}", "auth.private_key: is how a machine proves itself"},
		{"auth: {dialect: azure}", `one of auth0, entra, okta, keycloak, cognito`},
		{"auth: {dialect: autho}", `did you mean auth0?`},
		{"auth: {dialect: auth0}", "auth.audience: is missing for auth0"},
		{"auth: {dialect: auth0, scopes: [x]}", "auth.audience: is missing for auth0"},
		{"auth: {dialect: entra}", "auth.audience: is missing for entra"},
		{"auth: {dialect: cognito}", "auth.audience: is missing for cognito"},
		{"auth: {dialect: cognito, audience: a, private_key: {file: k}}", "auth.private_key: means nothing to cognito"},
		{"auth: {dialect: entra, audience: a, resource: ['https://r']}", "auth.resource: means nothing to entra"},
		{"auth: {dialect: okta, issuer: 'https://x.okta.com'}", "is Okta's org server"},
		{"auth: {scope_claims: [groups]}", "one of scope, scp, permissions, roles"},
		{"auth: {scope_claims: [scp, scp]}", "appears twice"},
		{"listen: {address: 9464}", "listen.address: \"9464\" is not HOST:PORT"},
		{"listen: {address: 'host.example:9464'}", "\"host.example\" is not an address"},
		{"listen: {address: '127.0.0.1:http'}", "\"http\" is not the number of a port"},
		{"listen: {address: '127.0.0.1:94640'}", "is not the number of a port"},
		{"listen: {address: '::1:9464'}", "is not HOST:PORT"},
		{"listen: {token: hunter2}", "listen.token: "},
		{"metrics: {textfile: /x/tsupload.txt}", "does not end in .prom"},
		{"metrics: {textfile: /x/.prom}", "does not end in .prom"},
		{"run: {deadline: 10s}", "leaves no time for one request"},
		{"notify: {ping: 'https://hc.example/secret-canary'}", "notify.ping: is text instead of a secret reference"},
		{"notify: {ping: {file: a, env: B}}", "notify.ping: names several places"},
		{"notify: {webhooks: [{preset: slack}]}", "notify.webhooks[0].url: is missing"},
		{"notify: {webhooks: [{url: {env: A}, preset: slak}]}", "did you mean slack?"},
		{"notify: {webhooks: [{url: {env: A}, on: [recovery]}]}", "names recovery alone"},
		{"notify: {webhooks: [{url: {env: A}, on: [failure, failure]}]}", "appears twice"},
		{"notify: {webhooks: [{url: {env: A}, preset: json, template: x}]}", "excludes preset"},
		{"notify: {hook: {timeout: 1s}}", "notify.hook.command: is missing"},
		{"notify: {hook: {command: ['', x]}}", "names no program"},
		{"notify: {hook: {command: []}}", "names no program"},
		{"notify: {webhooks: [{url: {env: A}, on: []}]}", "names nothing"},
		{"notify: {silence: [{working_days: 2}]}", "nobody is told of it"},
		{"notify: {hook: {command: [x], on: [failure, recovery]}, silence: [{working_days: 2}]}", "nobody is told of it"},
		{"notify: {holidays: [25.12.2026]}", "is not a day"},
		{"notify: {silence: [{user: ada}]}", "says nothing to watch"},
		{"notify: {silence: [{working_days: 2, unchanged_for: 1h}]}", "gives several: working_days, unchanged_for"},
		{"notify: {silence: [{expected_hours: 38.5}]}", "notify.silence[0].deadline: is missing"},
		{"notify: {silence: [{expected_hours: 38.5, deadline: Freitag}]}", "is not a deadline"},
		{"notify: {silence: [{expected_hours: 38.5, deadline: 'Fri 25:00'}]}", "is not a deadline"},
		{"notify: {silence: [{expected_hours: 8, deadline: 'Fri 12:00', below: 8}]}", "allows a week without any hours"},
		{"notify: {silence: [{working_days: 2, deadline: 'Fri 12:00'}]}", "has no meaning without expected_hours"},
		{"notify: {silence: [{unchanged_for: 1h}]}", "notify.silence[0].source: is missing"},
		{"notify: {silence: [{source: nobody, unchanged_for: 1h}]}", `there is no source "nobody"`},
		{"notify: {silence: [{working_days: 2}]}\nsources: [{name: a, timezone: UTC, csv: {path: x}}, {name: b, timezone: Europe/Berlin, csv: {path: y}}]", "the sources have different zones"},
		{"sources: [{}]", "sources[0].name: is missing"},
		{"sources: [{name: a, timezone: '', csv: {path: x}}]", "names no zone"},
		{"sources: [{name: a, timezone: UTC}]", "has nothing to read"},
		{"sources: [{name: a, timezone: UTC, csv: {path: x}, http: {url: https://x}}]", "excludes csv"},
		{"sources: [{name: a, timezone: posix/UTC, csv: {path: x}}]", "is not the name of a zone"},
		{"sources: [{name: a, timezone: Local, csv: {path: x}}]", "names no zone"},
		{"sources: [{name: a, timezone: ../../etc/passwd, csv: {path: x}}]", "is not the name of a zone"},
		{"sources: [{name: a, timezone: UTC, csv: {path: x}}, {name: b, id: a, timezone: UTC, csv: {path: y}}]", "is the id of sources[0] too"},
		{"sources: [{name: a, timezone: UTC, csv: {path: x}, <<: {user: x}}]", "merging mappings is not supported"},
	} {
		_, err := load(t, row.yaml, nil)
		if f := faults(t, err); len(f) == 0 || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s\ngot %v\nwant %s", row.yaml, err, row.want)
		}
	}
	for _, yaml := range []string{
		"api: {url: 'http://127.0.0.1:8080'}",
		"api: {url: 'http://[::1]:8080/base/'}",
		"notify: {webhooks: [{url: {env: A}, template: \"{\\n}\"}], silence: [{user: ada, expected_hours: 38.5, deadline: 'fri 09:30'}]}",
		"api: {url: 'http://localhost:8080'}",
		"sources: [{name: a, timezone: America/Argentina/Buenos_Aires, csv: {path: x, delimiter: \"\\t\"}}]",
	} {
		if _, err := load(t, yaml, nil); err != nil {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

// An alias is followed; aliases of aliases do not blow up.
func TestAliases(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "api: {id: &n ada}\nsources: [{name: *n, timezone: UTC, csv: {path: x}}]", nil)
	if c.Sources[0].Name != "ada" {
		t.Errorf("got %q", c.Sources[0].Name)
	}
	bomb := "sources:\n- &s {name: x, timezone: UTC, http: {url: https://x, headers: {A: {command: [" + strings.Repeat("x, ", 999) + "x]}}}}\n" +
		strings.Repeat("- *s\n", 999)
	if _, err := load(t, bomb, nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error("got no fault for aliases of a large value")
	}
	if _, err := load(t, "api: &a\n  server: *a\n", nil); err == nil {
		t.Error("a mapping inside itself: got no error")
	}
}
