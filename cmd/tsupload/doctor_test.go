package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// doctorWorld is an API that a test answers for, and a configuration that
// points at it.
func doctorWorld(t *testing.T, api *httptest.Server, more string) *authProxy {
	t.Helper()
	p := newAuthProxy(t)
	p.write("in/hours.csv", "user_id,date,project,hours\n")
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
	p.template = func(text string) string {
		return strings.NewReplacer("  url: "+p.box.APIURL()+"\n", "  url: "+api.URL+"\n"+more, "supports: [batch, idempotency_key, read_back]", "supports: []").Replace(text)
	}
	p.do(exitOK, "ledger", "create")
	return p
}

// What the API answers to an upload without a token, and what the doctor makes
// of it. The request could not make an entry anywhere: it has neither token nor
// body.
func TestDoctorRefusedOnPurpose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		exit   int
		said   []string
	}{
		{401, "", exitOK, []string{`^ok    api +reachable, .*refused with 401 \(it does not ask for a bearer token`}},
		{400, "{}", exitOK, []string{`^warn  api +reachable, .*refused with 400 where 401 is due`}},
		{403, "{}", exitOK, []string{`^warn  api +.*403 where 401 is due`}},
		{201, "{}", exitFault, []string{`^fail  api +it takes an upload without a token \(HTTP 201\)`, "hint: tell whoever runs the API"}},
		{200, "\n<html>", exitUnreachable, []string{`^fail  api +HTTP 200 with a web page`}},
		{302, "", exitConfig, []string{`^fail  api +HTTP 302, a redirect`}},
		{404, "{}", exitConfig, []string{`^fail  api +HTTP 404: there are no uploads`, `hint: see api\.url`}},
		{429, "{}", exitUnreachable, []string{`^fail  api +HTTP 429`}},
		{500, "{}", exitUnreachable, []string{`^fail  api +HTTP 500`}},
	} {
		t.Run(fmt.Sprint(tt.status, tt.body), func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Method != http.MethodPost || r.URL.Path != "/timesheets/upload" || r.Header.Get("Authorization") != "" || len(body) > 0 || r.URL.RawQuery != "" {
					t.Errorf("got %s %s with %q", r.Method, r.URL, body)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			t.Cleanup(api.Close)
			out, _ := doctorWorld(t, api, "").do(tt.exit, "doctor")
			for _, said := range tt.said {
				contains(t, out, "(?m)"+said)
			}
		})
	}
}

// Clocks that do not agree.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		off  time.Duration
		exit int
		said string
	}{
		{2 * time.Second, exitOK, `^ok    clock +agrees with: API -\ds`},
		{-time.Minute, exitOK, `^warn  clock +this machine's clock is (1m0s|1m1s) ahead of the API's`},
		{time.Hour, exitFault, `^fail  clock +this machine's clock is (59m59s|1h0m0s) behind the API's`},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(tt.off).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusUnauthorized)
		}))
		p := doctorWorld(t, api, "")
		p.set(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			p.issue(w, r)
		})
		out, _ := p.do(tt.exit, "doctor")
		contains(t, out, "(?m)"+tt.said)
		api.Close()
	}
}

// issueCertificate makes a certificate by itself or by another.
func issueCertificate(t *testing.T, name string, from, until time.Time, host string, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		BasicConstraintsValid: true, IsCA: by == nil,
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// What is wrong with a certificate, or soon will be.
func TestDoctorTLS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const day = 24 * time.Hour
	ca := issueCertificate(t, "Example CA", now.Add(-day), now.Add(900*day), "ca.example", nil)
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		host        string
		known       bool
		exit        int
		said        string
	}{
		{"good", -day, 90 * day, "127.0.0.1", true, exitOK, `^ok    tls +API https://127.*: TLS 1\.3, its certificate is good for 89 days \(until 2\d{3}-\d\d-\d\d\), for 127\.0\.0\.1, by Example CA`},
		{"soon over", -day, 5 * day, "127.0.0.1", true, exitOK, `^warn  tls +API .*is good for 4 days`},
		{"over", -9 * day, -day, "127.0.0.1", true, exitUnreachable, `^fail  tls +API https://127.*: its certificate has expired \(for 127\.0\.0\.1, by Example CA, until `},
		{"not yet good", day, 9 * day, "127.0.0.1", true, exitUnreachable, `^fail  tls +API .*: its certificate is not valid yet`},
		{"of another", -day, 90 * day, "other.example", true, exitUnreachable, `^fail  tls +API .*: its certificate is for other names \(for other\.example`},
		{"by nobody known", -day, 90 * day, "127.0.0.1", false, exitUnreachable, `^fail  tls +API .*: its certificate is by an authority that is not known here`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
			api.Config.ErrorLog = log.New(io.Discard, "", 0)
			api.TLS = &tls.Config{Certificates: []tls.Certificate{issueCertificate(t, "API", now.Add(tt.from), now.Add(tt.until), tt.host, &ca)}}
			api.StartTLS()
			t.Cleanup(api.Close)
			more := ""
			if tt.known {
				more = fmt.Sprintf("  ca_file: %q\n", (&world{tb: t, dir: t.TempDir()}).write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]}))))
			}
			out, _ := doctorWorld(t, api, more).do(tt.exit, "doctor")
			contains(t, out, "(?m)"+tt.said)
			if tt.exit != exitOK {
				contains(t, out, `(?m)^fail  api +it cannot be reached: `, `hint: see the line tls`)
			}
		})
	}
}

// What a server says is left of tokens.
func TestDoctorAllotment(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	p.write("in/hours.csv", "user_id,date,project,hours\n")
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
	p.template = func(text string) string {
		return strings.Replace(text, "    timezone: UTC\n", "    timezone: UTC\n    schedule: \"@every 30m\"\n", 1)
	}
	p.do(exitOK, "ledger", "create")
	p.set(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Auth0-Client-Quota-Limit", "b=per_day;q=300;r=12;t=3600")
		p.issue(w, r)
	})
	out, log := p.do(exitOK, "doctor")
	contains(t, out, `(?m)^warn  allotment +12 of 300 left \(per_day\) until .*, as told with the last token`, `hint: few tokens are left`)
	contains(t, log, `level=WARN msg="token allotment" bucket=per_day limit=300 remaining=12`)
	out, _ = p.do(exitOK, "status")
	contains(t, out, `(?m)^tokens: at most 24 a day by the schedules \(one lives 1h\); 1 fetched`, `(?m)^warning: tokens: 12 of 300 left`)
	out, _ = p.do(exitOK, "status", "-o", "json")
	contains(t, out, `"allotments":\[\{"bucket":"per_day","limit":300,"low":true,"remaining":12,"reset_at":"[^"]+"\}\]`, `"tokens_a_day":24`, `"tokens_fetched":1`)
	out, log = p.do(exitOK, "auth", "status")
	contains(t, out, `(?m)^allotment +12 of 300 left`)
	contains(t, log, "warning: few tokens are left")
}

// Files that cannot be read, programs that are not there, secrets of exports.
func TestDoctorSources(t *testing.T) {
	t.Parallel()
	p := newAuthProxy(t)
	p.write("in/hours.csv", "user_id,date,project,hours\n")
	p.auth = "  client_secret: {env: TSUPLOAD_CLIENT_SECRET}\n"
	p.template = func(text string) string {
		return text + fmt.Sprintf(`  - {name: gone, timezone: UTC, csv: {path: %q}}
  - {name: none, timezone: UTC, csv: {path: "nothing-*.csv"}}
  - {name: prog, timezone: UTC, exec: {command: [tsupload-no-such-program]}}
  - {name: web, timezone: UTC, http: {url: "https://tracker.example/x", auth: {bearer: {env: TRACKER_TOKEN}}}}
`, filepath.Join(p.dir, "gone", "*.csv"))
	}
	p.do(exitOK, "ledger", "create")
	out, _ := p.do(exitRefused, "doctor")
	contains(t, out,
		`(?m)^ok    sources +acme: 1 file, the newest 1 hour old`,
		`(?m)^fail  sources +gone: the directory of .* cannot be read`, `(?m)^warn  sources +none: no file matches`,
		`(?m)^fail  sources +prog: the program tsupload-no-such-program is not there`, `(?m)^fail  sources +web: secret from env TRACKER_TOKEN: the environment variable is not set`)
	p.env["TRACKER_TOKEN"] = "canary-tracker-77"
	out, _ = p.do(exitSource, "doctor")
	contains(t, out, `(?m)^ok    sources +web: its credentials are there; not asked: tsupload run --dry-run --source web does`)
	if strings.Contains(p.said.String(), "canary-tracker-77") {
		t.Error("a secret is shown")
	}
}
