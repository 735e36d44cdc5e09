package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What the doctor learns of servers by the way: their clocks and certificates.

// certificateSoon is how long before its end a certificate should have been
// renewed.
const certificateSoon = 21 * 24 * time.Hour

// witness keeps what servers' answers tell beside their contents.
type witness struct {
	mu   sync.Mutex
	seen []*testimony // in the order in which they were asked first
}

// testimony is of one server.
type testimony struct {
	who, origin string
	ahead       time.Duration // this machine's clock; as good as a second
	told        bool          // the time
	tls         *tls.ConnectionState
	refused     *tls.CertificateVerificationError
}

// watch returns a transport whose answers are noted under who is asked.
func (w *witness) watch(who string, next http.RoundTripper) http.RoundTripper {
	return watching{w, who, next}
}

type watching struct {
	to   *witness
	who  string
	next http.RoundTripper
}

func (t watching) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := time.Now()
	resp, err := t.next.RoundTrip(req)
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	origin := req.URL.Scheme + "://" + req.URL.Host
	var of *testimony
	for _, x := range t.to.seen {
		if x.who == t.who && x.origin == origin {
			of = x
		}
	}
	if of == nil {
		of = &testimony{who: t.who, origin: origin}
		t.to.seen = append(t.to.seen, of)
	}
	if err != nil {
		_ = errors.As(err, &of.refused)
		return nil, err
	}
	of.tls = resp.TLS
	if ahead, told := clockAhead(resp, asked); told {
		of.ahead, of.told = ahead, true
	}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks for.
func (t watching) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (d *doctor) checkClock(context.Context) []finding {
	d.seen.mu.Lock()
	defer d.seen.mu.Unlock()
	var found []finding
	var agree []string
	for _, s := range d.seen.seen {
		if !s.told {
			continue
		}
		off := s.ahead.Round(time.Second)
		text := fmt.Sprintf("this machine's clock is %s ahead of the %s's", off, s.who)
		if off < 0 {
			text = fmt.Sprintf("this machine's clock is %s behind the %s's", -off, s.who)
		}
		switch {
		case off.Abs() > clockBad:
			found = append(found, failure(exitFault, setClock, "%s", text))
		case off.Abs() > clockWorth:
			found = append(found, warning(setClock, "%s", text))
		default:
			agree = append(agree, fmt.Sprintf("%s %+ds", s.who, int(off.Seconds())))
		}
	}
	switch {
	case len(agree) > 0:
		return append([]finding{fine("agrees with: %s", strings.Join(agree, ", "))}, found...)
	case len(found) == 0:
		return []finding{warning("see it yourself: timedatectl", "no server told what time it is")}
	}
	return found
}

func (d *doctor) checkTLS(context.Context) (found []finding) {
	d.seen.mu.Lock()
	defer d.seen.mu.Unlock()
	for _, s := range d.seen.seen {
		switch {
		case s.refused != nil:
			found = append(found, distrusted(s, d.now))
		case s.tls != nil:
			found = append(found, trusted(s, d.now))
		case strings.HasPrefix(s.origin, "http://") && s.told:
			found = append(found, fine("%s %s: plain http, on this machine only", s.who, s.origin))
		}
	}
	return found
}

// distrusted tells what is wrong with a certificate that was not accepted.
func distrusted(s *testimony, now time.Time) finding {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	presented := ""
	if len(s.refused.UnverifiedCertificates) > 0 {
		c := s.refused.UnverifiedCertificates[0]
		presented = fmt.Sprintf(" (for %s, by %s, until %s)", names(c), clean(c.Issuer.CommonName), c.NotAfter.UTC().Format(time.DateOnly))
	}
	what, hint := "its certificate is not accepted", "see what answers there"
	err := s.refused.Err
	switch {
	case errors.As(err, &host):
		what, hint = "its certificate is for other names", "use a name that is on the certificate, or renew it with this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		what, hint = "its certificate is not valid yet", "see this machine's clock"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what, hint = "its certificate has expired", "renew it on the server, or see this machine's clock"
	case errors.As(err, &unknown):
		what, hint = "its certificate is by an authority that is not known here", "name the authority with auth.ca_file or api.ca_file; if it is publicly trusted, the server does not send the certificates between"
	}
	return failure(exitUnreachable, hint, "%s %s: %s%s", s.who, s.origin, what, presented)
}

func trusted(s *testimony, now time.Time) finding {
	head := fmt.Sprintf("%s %s: %s", s.who, s.origin, tls.VersionName(s.tls.Version))
	if len(s.tls.VerifiedChains) == 0 || len(s.tls.PeerCertificates) == 0 {
		return fine("%s", head)
	}
	first := s.tls.PeerCertificates[0]
	ends, which := first.NotAfter, "its certificate"
	for _, c := range s.tls.VerifiedChains[0][1:] {
		if c.NotAfter.Before(ends) {
			ends, which = c.NotAfter, "the certificate of "+clean(c.Subject.CommonName)
		}
	}
	left := ends.Sub(now)
	text := fmt.Sprintf("%s, %s is good for %s (until %s), for %s, by %s", head, which, age(left), ends.UTC().Format(time.DateOnly), names(first), clean(first.Issuer.CommonName))
	if left < certificateSoon {
		return warning("see why it is not renewed", "%s", text)
	}
	return fine("%s", text)
}

// names are the hosts that a certificate is for, a few of them.
func names(c *x509.Certificate) string {
	list := c.DNSNames
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	const shown = 3
	if len(list) > shown {
		list = append(list[:shown:shown], fmt.Sprintf("%d more", len(list)-shown))
	}
	return orNone(clean(strings.Join(list, ", ")))
}
