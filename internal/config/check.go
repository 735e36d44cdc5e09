package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a zone is valid on every machine or on none, also in an image without zone data
)

// check applies the tag check: what a single text must look like.
func check(kind, text string) *problem {
	switch kind {
	case "url":
		return checkURL(text, true)
	case "base_url":
		return checkURL(text, false)
	case "zone":
		return checkZone(text)
	case "name":
		return checkName(text)
	case "scope":
		return checkScope(text)
	case "header":
		return checkHeaderName(text)
	case "glob":
		return checkGlob(text)
	case "listen":
		return checkListen(text)
	case "prom":
		return checkProm(text)
	case "day":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return &problem{quote(text) + " is not a day", "write it like 2026-12-25"}
		}
	case "deadline":
		if _, _, err := ParseDeadline(text); err != nil && text != "" {
			return &problem{err.Error(), "write a weekday and a time of day, such as Fri 12:00"}
		}
	}
	return nil // a path may be anything
}

// checkURL never quotes the text: it may carry a password.
func checkURL(s string, query bool) *problem {
	if s == "" {
		return nil // not given
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return &problem{"is not a URL", "write it like https://timesheets.example.com"}
	case u.User != nil:
		return &problem{"carries a user name or password", "take it out of the URL and use a secret reference"}
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return &problem{"is not an absolute URL", "begin with https:// and a host name"}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return &problem{"is not https", "only loopback addresses may be plain http"}
	case u.Fragment != "" || strings.Contains(s, "#"):
		return &problem{"has a fragment (#...)", "remove it"}
	case !query && (u.RawQuery != "" || u.ForceQuery):
		return &problem{"has a query (?...)", "give the base URL only"}
	}
	for name := range u.Query() {
		if secretName(name) {
			return &problem{"carries a secret in its query", "use auth with a secret reference; URLs end up in logs"}
		}
	}
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){1,2}$`)

func checkZone(s string) *problem {
	const hint = "write an IANA name such as Europe/Berlin, or UTC"
	switch {
	case s == "UTC":
		return nil
	case s == "" || strings.EqualFold(s, "local"):
		return &problem{"names no zone", hint + "; the machine's own zone may change under the data"}
	case !zoneName.MatchString(s):
		return &problem{quote(s) + " is not the name of a zone", hint}
	}
	if _, err := time.LoadLocation(s); err != nil {
		return &problem{quote(s) + " is not a known zone", hint}
	}
	return nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(s string) *problem {
	if s != "" && !plainName.MatchString(s) {
		return &problem{quote(s) + " is not a name", "up to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit"}
	}
	return nil
}

func checkScope(s string) *problem {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }) {
		return &problem{quote(s) + " is not a scope", "give each scope as an item of its own, without spaces or quotes"}
	}
	return nil
}

// httpToken is a token of RFC 9110: what the name of a header may be.
var httpToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func checkHeaderName(s string) *problem {
	if !httpToken.MatchString(s) {
		return &problem{quote(s) + " is not the name of a header", "letters, digits and dashes, without a colon"}
	}
	return nil
}

func checkGlob(s string) *problem {
	if s == "" {
		return &problem{"is empty", "give a file or a glob such as /srv/acme/*.csv"}
	}
	if _, err := filepath.Match(s, ""); err != nil {
		return &problem{quote(s) + " is not a glob", "close each [ with a ], or write \\[ for the character"}
	}
	return nil
}

// checkListen knows no names but localhost: they may resolve to something else
// tomorrow, and who can reach the listener must be plain to see.
func checkListen(s string) *problem {
	const hint = "write it like 127.0.0.1:9464, [::1]:9464, or :9464 for all addresses; empty switches the listener off"
	if s == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return &problem{quote(s) + " is not HOST:PORT", hint}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return &problem{quote(port) + " is not the number of a port", hint}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !strings.EqualFold(host, "localhost") {
		return &problem{quote(host) + " is not an address", hint}
	}
	return nil
}

func checkProm(s string) *problem {
	if s != "" && (!strings.HasSuffix(s, ".prom") || strings.HasPrefix(filepath.Base(s), ".")) {
		return &problem{quote(s) + " does not end in .prom", "node_exporter reads no other files: write it like /var/lib/prometheus/node-exporter/tsupload.prom"}
	}
	return nil
}

// secretName tells whether what is called name is usually a secret.
func secretName(name string) bool {
	n := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
	for _, s := range []string{"authorization", "cookie", "token", "secret", "password", "passwd", "apikey", "assertion", "credential", "authkey", "accesskey"} {
		if strings.Contains(n, s) {
			return true
		}
	}
	return n == "key" || n == "auth" || n == "pwd"
}
