package tokencache

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
)

const (
	assertionParam     = "client_assertion"
	assertionTypeParam = "client_assertion_type"
)

// proving puts a fresh assertion into each token request that passes, below what repeats them: a server that has seen an
// assertion refuses it the second time, although the answer to the first was lost.
type proving struct {
	next http.RoundTripper
}

// proof makes the assertions of one token request and its repetitions.
type proof struct {
	make func() (string, error)
	sent []string // what must not be shown
}

type proofKey struct{}

// RoundTrip implements http.RoundTripper.
func (p proving) RoundTrip(req *http.Request) (*http.Response, error) {
	with, ok := req.Context().Value(proofKey{}).(*proof)
	if !ok {
		return p.next.RoundTrip(req)
	}
	defer closeBody(req.Body)
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	assertion, err := with.make()
	if err != nil {
		return nil, err
	}
	with.sent = append(with.sent, assertion)
	form.Set(assertionTypeParam, assertionType)
	form.Set(assertionParam, assertion)
	body = []byte(form.Encode())
	out := req.Clone(req.Context())
	out.Body, out.GetBody, out.ContentLength = io.NopCloser(bytes.NewReader(body)), nil, int64(len(body))
	return p.next.RoundTrip(out)
}

// assert makes one assertion; its error says so.
func (c *Cache) assert(secret []byte, endpoint string) (string, error) {
	text, err := c.cfg.Assert(secret, Recipient{Issuer: c.cfg.Issuer, TokenURL: endpoint})
	if err != nil {
		return "", &SecretError{Err: err, what: "client assertion"}
	}
	return text, nil
}
