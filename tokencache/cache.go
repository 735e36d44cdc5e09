package tokencache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// After a renewal failed the token in hand is used on, and the server left alone for this long.
	softRetry = 30 * time.Second
	// A token that came with too little scope is not asked for again sooner: each one may be billed.
	scopeRetry = 5 * time.Minute
	// Close lets a fetch under way finish within this time; its token may be billed already.
	closeGrace = 5 * time.Second
	// Removing a refused token from the store is worth no longer wait: who holds the lock is about to replace it.
	dropWait = time.Second
	// maxRejected bounds the refused tokens that are remembered.
	maxRejected = 16
)

// Token is an access token that may be sent now.
type Token struct {
	// Value is the token itself.
	Value string
	// Scopes lists what the token allows: what the server said, else what was asked for.
	Scopes []string
	// ObtainedAt is the moment before the token was asked for.
	ObtainedAt time.Time
	// ExpiresAt is the end of the token's life.
	ExpiresAt time.Time
	// Allotments are what the server said is left of tokens; only Peek tells.
	Allotments []Allotment
}

// Format implements fmt.Formatter; the token is never printed.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "token REDACTED until "+t.ExpiresAt.UTC().Format(time.RFC3339))
}

// LogValue implements slog.LogValuer; the token is never logged.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(slog.Time("expires_at", t.ExpiresAt), slog.Any("scopes", t.Scopes))
}

// MarshalJSON masks the token.
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"REDACTED"`), nil }

// Stats counts what a Cache did since it was made.
type Stats struct {
	// MemoryHits counts calls answered from memory.
	MemoryHits int64
	// StoreHits counts tokens taken over from the store.
	StoreHits int64
	// Requests counts requests sent to the token endpoint, retries included.
	Requests int64
	// Tokens counts tokens the server issued to us.
	Tokens int64
	// Failures counts fetches that brought no token.
	Failures int64
	// Invalidated counts tokens dropped because the API refused them.
	Invalidated int64
}

// Cache holds one token. It is safe for concurrent use.
type Cache struct {
	cfg Config
	key string
	// loginKey names the login among others in a store, and the lock: several kinds of token may be made from one login.
	// It is key where there is no login.
	loginKey string
	want     []string
	log      *slog.Logger
	http     http.RoundTripper // retries; to the authorization server
	own      *http.Transport   // ours to close; nil when the transport was given

	// life ends when Close loses its patience; fetches outlive their callers, not the cache.
	life context.Context
	kill context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	mem       *held
	flight    *flight
	rejected  [][sha256.Size]byte // refused by the API, oldest first
	softAfter time.Time           // no renewal before
	busyUntil time.Time           // the server asked to be left alone
	busy      *UnavailableError
	cool      *refusal
	closed    bool

	discovery discovery

	// unsaved is a login that no store took; it lasts as long as the process. Who holds the lock owns it.
	unsaved *Entry

	warnStore, warnLock, countOnce sync.Once

	memoryHits, storeHits, requests, tokens, failures, invalidated atomic.Int64
}

// New returns a cache for one client and one kind of token. It sends nothing.
func New(cfg Config) (*Cache, error) {
	if cfg.Grant == "" {
		cfg.Grant = GrantClient
	}
	if cfg.AuthStyle == "" {
		cfg.AuthStyle = AuthBasic
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	key, err := cfg.key()
	if err != nil {
		return nil, err
	}
	c := &Cache{cfg: cfg, key: key, loginKey: key, want: cfg.wanted(), log: cfg.Logger}
	if cfg.Grant == GrantLogin {
		if c.loginKey, err = cfg.loginKey(); err != nil {
			return nil, err
		}
	}
	base := cfg.Transport
	if base == nil {
		c.own = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
		}
		base = c.own
	}
	c.http = c.retrying(base)
	c.life, c.kill = context.WithCancel(context.Background())
	return c, nil
}

// Key names the token among others in a store; it holds no secret.
func (c *Cache) Key() string { return c.key }

// Token returns a token that may be sent now and holds the expected scopes. It fails with a RefusedError, an
// UnavailableError, a ScopeError or a SecretError, or when ctx ends.
func (c *Cache) Token(ctx context.Context) (Token, error) { return c.TokenFor(ctx, 0) }

// TokenFor is Token for who needs one that lives for a while: where the kept one ends sooner, another is fetched. The kept
// one stays, whatever comes of that. A server whose tokens live shorter gets one request, and its token is
// returned; so is one that another process obtained since the call began.
func (c *Cache) TokenFor(ctx context.Context, least time.Duration) (Token, error) {
	e, err := c.current(ctx, least)
	if err != nil {
		return Token{}, err
	}
	if err := c.CheckScopes(e.Scopes); err != nil {
		return Token{}, err
	}
	return Token{Value: e.AccessToken, Scopes: slices.Clone(e.Scopes), ObtainedAt: e.ObtainedAt, ExpiresAt: e.ExpiresAt}, nil
}

// Ready says whether a token with the expected scopes can be had, before any work depends on it.
func (c *Cache) Ready(ctx context.Context) error {
	_, err := c.Token(ctx)
	return err
}

// acceptable says whether a token may be used, for a while at least, or, for a renewal, whether it makes the renewal
// needless. The caller holds mu.
func (c *Cache) acceptable(h *held, now time.Time, soft bool, least time.Duration) bool {
	if !h.usable(now) || (soft && h.renewable(now)) || c.isRejected(h.AccessToken) || h.ExpiresAt.Sub(now) < least {
		return false
	}
	// The grant may have been widened since; until it is time to look, the same token gives the same ScopeError.
	return len(c.missing(h.Scopes)) == 0 || now.Sub(h.ObtainedAt) < scopeRetry
}

func (c *Cache) scopeError(granted, missing []string) *ScopeError {
	e := &ScopeError{Granted: slices.Clone(granted), Wanted: slices.Clone(c.want), Missing: missing}
	if c.cfg.Grant == GrantLogin {
		e.hint = "log in again with `tsupload auth login` and allow every scope; where it is not offered, your role at the authorization server does not have it"
	}
	return e
}

func (c *Cache) missing(granted []string) []string {
	var out []string
	for _, w := range c.want {
		if !slices.Contains(granted, w) {
			out = append(out, w)
		}
	}
	return out
}

// isRejected is called with mu held.
func (c *Cache) isRejected(tok string) bool {
	return len(c.rejected) > 0 && slices.Contains(c.rejected, sha256.Sum256([]byte(tok)))
}

// Invalidate drops a token that the API refused, from memory and store, if they still hold that very token. The next
// call of Token gets another one.
func (c *Cache) Invalidate(tok string) {
	sum := sha256.Sum256([]byte(tok))
	c.mu.Lock()
	known := slices.Contains(c.rejected, sum)
	if !known {
		if len(c.rejected) == maxRejected {
			c.rejected = slices.Delete(c.rejected, 0, 1)
		}
		c.rejected = append(c.rejected, sum)
	}
	if c.mem != nil && c.mem.AccessToken == tok {
		c.mem = nil
	}
	c.mu.Unlock()
	// Who comes second leaves the store to the first; the list above already keeps the token from being used.
	if known || c.cfg.Store == nil {
		return
	}
	c.invalidated.Add(1)
	ctx, cancel := context.WithTimeout(c.life, 2*dropWait)
	defer cancel()
	unlock, err := c.lock(ctx, dropWait)
	if err != nil {
		return
	}
	defer unlock()
	if e, err := c.cfg.Store.Load(ctx, c.key); err == nil && e.AccessToken == tok {
		if err := c.cfg.Store.Delete(ctx, c.key); err != nil {
			c.warnAboutStore(ctx, err)
		}
	}
}

// Clear forgets the token, in memory and in the store, and any cool-down.
func (c *Cache) Clear(ctx context.Context) error {
	c.mu.Lock()
	c.mem, c.busy, c.cool, c.busyUntil = nil, nil, nil, time.Time{}
	c.mu.Unlock()
	c.forgetRefusal()
	if c.cfg.Store == nil {
		return nil
	}
	return c.cfg.Store.Delete(ctx, c.key)
}

// Peek returns the token in memory or store without asking the server, expired or not, and whether there is one.
func (c *Cache) Peek(ctx context.Context) (Token, bool) {
	c.mu.Lock()
	h := c.mem
	c.mu.Unlock()
	var e Entry
	switch {
	case h != nil:
		e = h.Entry
	case c.cfg.Store == nil:
		return Token{}, false
	default:
		var err error
		if e, err = c.cfg.Store.Load(ctx, c.key); err != nil {
			return Token{}, false
		}
	}
	return Token{Value: e.AccessToken, Scopes: slices.Clone(e.Scopes), ObtainedAt: e.ObtainedAt, ExpiresAt: e.ExpiresAt, Allotments: slices.Clone(e.Allotments)}, true
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	return Stats{
		MemoryHits: c.memoryHits.Load(), StoreHits: c.storeHits.Load(), Requests: c.requests.Load(), Tokens: c.tokens.Load(),
		Failures: c.failures.Load(), Invalidated: c.invalidated.Load(),
	}
}

// Close waits for a fetch under way, for five seconds at most, and starts no other. The token in memory can still be had.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
	c.countOnce.Do(func() { c.count(c.life) })
	c.kill()
	<-done
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	return nil
}

// warnAboutStore says once that tokens will not outlive this process.
func (c *Cache) warnAboutStore(ctx context.Context, err error) {
	c.warnStore.Do(func() {
		attrs := []slog.Attr{slog.Any("err", err)}
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			attrs = append(attrs, slog.String("hint", h.Hint()))
		}
		c.log.LogAttrs(ctx, slog.LevelWarn, "token store not usable, tokens are kept in memory", attrs...)
	})
}
