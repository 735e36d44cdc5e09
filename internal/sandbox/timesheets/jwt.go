package timesheets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

const (
	leeway = 30 * time.Second
	// A verified token is not verified again for this long: a withdrawn key
	// stops working within it.
	trust   = time.Minute
	maxJWKS = 256 << 10

	fetchTime = 5 * time.Second
	// A flood of made-up key ids costs one fetch in this time, or, while the
	// issuer is down, in the shorter one: the end of that is to be seen soon.
	fetchEvery = 30 * time.Second
	retryEvery = 5 * time.Second
)

var (
	errKeysUnavailable = errors.New("the issuer's keys cannot be fetched")
	errWrongType       = errors.New("not an access token: typ is not at+jwt")
	errCritical        = errors.New("crit names extensions that must be understood")
	errNoKeyID         = errors.New("no kid, and the issuer has more than one key")
	errIncomplete      = errors.New("sub, client_id or jti is missing")
)

// verifier is step one for signed tokens, in full: signature, algorithm, type, issuer, audience
// and time of an access token (RFC 9068).
type verifier struct {
	keys   keyfunc.Keyfunc
	parser *jwt.Parser
	link   *link
	good   verdicts
}

func newVerifier(ctx context.Context, cfg Config) (*verifier, error) {
	t := &http.Transport{}
	context.AfterFunc(ctx, t.CloseIdleConnections)
	return newVerifierOver(ctx, cfg, t)
}

func newVerifierOver(ctx context.Context, cfg Config, next http.RoundTripper) (*verifier, error) {
	// The burst lets keys rotate several times in a row, as tests make them.
	l := &link{next: next, limit: rate.NewLimiter(rate.Every(fetchEvery), 10)}
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{cfg.JWKSURL}, keyfunc.Override{
		Client:      &http.Client{Transport: l},
		HTTPTimeout: fetchTime,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				cfg.Logger.WarnContext(ctx, "issuer's keys not fetched", "err", err)
			}
		},
		RefreshInterval:   time.Hour,
		RefreshUnknownKID: l.limit,
		// This bounds the wait for the limiter, which gives up at once when its
		// wait would be longer, so that a flood does not hold requests.
		RateLimitWaitMax: 2 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("keys of the issuer: %w", err)
	}
	return &verifier{
		keys: keys,
		link: l,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{"RS256", "ES256", "PS256", "EdDSA"}),
			jwt.WithIssuer(cfg.Issuer),
			jwt.WithAudience(cfg.Audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(leeway),
			jwt.WithStrictDecoding(),
		),
	}, nil
}

// tokenClaims is what a token says, signed or introspected.
type tokenClaims struct {
	jwt.RegisteredClaims
	people.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// caller is whom the claims speak for.
func (t *tokenClaims) caller() (caller, error) {
	if t.Subject == "" || t.ClientID == "" || t.ID == "" || t.ExpiresAt == nil {
		return caller{}, errIncomplete
	}
	c := caller{
		subject: t.Subject, client: t.ClientID, scopes: strings.Fields(t.Scope),
		jti: t.ID, expires: t.ExpiresAt.Time,
	}
	// RFC 9700 4.15: a machine's subject has a form that no person's has.
	switch {
	case t.Subject == "client:"+t.ClientID:
		c.kind = machine
	case strings.HasPrefix(t.Subject, "user:"):
		c.kind, c.claims = person, t.Claims
	}
	return c, nil
}

// check implements checker.
func (v *verifier) check(ctx context.Context, token string) (caller, error) {
	now := time.Now()
	if known, ok := v.good.recall(token, now); ok {
		return known, nil
	}
	var cl tokenClaims
	if _, err := v.parser.ParseWithClaims(token, &cl, v.key(ctx)); err != nil {
		return caller{}, err
	}
	c, err := cl.caller()
	if err != nil {
		return caller{}, err
	}
	v.good.remember(token, c, now.Add(trust), c.expires.Add(leeway))
	return c, nil
}

// key finds the key a token was signed with.
func (v *verifier) key(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		typ, _ := t.Header["typ"].(string)
		if !strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "at+jwt") {
			return nil, errWrongType
		}
		if _, ok := t.Header["crit"]; ok { // RFC 7515 4.1.11: we understand none
			return nil, errCritical
		}
		// The issuer fetch must not end with the request that caused it.
		ctx := context.WithoutCancel(ctx)
		if _, ok := t.Header["kid"]; !ok {
			all, err := v.keys.Storage().KeyReadAll(ctx)
			if err != nil {
				return nil, err
			}
			// The library would try every key, one after the other.
			if len(all) > 1 {
				return nil, errNoKeyID
			}
			if len(all) == 0 {
				return nil, v.blame(errNoKeyID)
			}
		}
		key, err := v.keys.KeyfuncCtx(ctx)(t)
		if err != nil {
			return nil, v.blame(err)
		}
		return key, nil
	}
}

// blame tells a key that does not exist from one that could not be asked for.
func (v *verifier) blame(err error) error {
	if v.link.down.Load() {
		return errKeysUnavailable
	}
	return err
}

// link is the way to the issuer. It bounds the answer, which the library reads
// without a limit, and remembers whether the last fetch gave a key set: a page or
// half an answer is an issuer that is down too, and takes no known key away.
type link struct {
	next  http.RoundTripper
	limit *rate.Limiter // of fetches for unknown keys
	down  atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	// Whoever waited for the limiter has next to no time left, and the fetch is
	// for everybody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), fetchTime)
	defer cancel()
	resp, err := l.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		l.isDown(true)
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err == nil && resp.StatusCode == http.StatusOK {
		err = vetKeySet(body)
	}
	l.isDown(err != nil || resp.StatusCode != http.StatusOK)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (l *link) isDown(down bool) {
	l.down.Store(down)
	every := fetchEvery
	if down {
		every = retryEvery
	}
	l.limit.SetLimit(rate.Every(every))
}

// vetKeySet tells a key set (RFC 7517 5) from anything else.
func vetKeySet(body []byte) error {
	if len(body) > maxJWKS {
		return fmt.Errorf("the key set is longer than %d bytes", maxJWKS)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return errors.Join(errors.New("the answer is no key set"), err)
	}
	return nil
}
