package tokencache

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	coolDownFor = 5 * time.Minute
	// The print of a secret is made slowly: people do choose guessable ones.
	printRounds = 10_000
)

// refusal is the server's last "no", kept beside the token so that a minutely job does not ask, and get locked, each time.
type refusal struct {
	Version     int       `json:"version"`
	Code        string    `json:"code"`
	Description string    `json:"description,omitempty"`
	Status      int       `json:"status,omitempty"`
	Endpoint    string    `json:"endpoint"`
	Hint        string    `json:"hint,omitempty"`
	Until       time.Time `json:"until"`
	Salt        []byte    `json:"salt"`
	Print       []byte    `json:"print"`
}

func (c *Cache) refusalPath() string {
	if c.cfg.LockDir == "" {
		return ""
	}
	return filepath.Join(c.cfg.LockDir, c.key+".refused")
}

// cooling returns the last refusal while it holds and the credentials are those that were refused.
func (c *Cache) cooling(secret []byte, now time.Time) error {
	c.mu.Lock()
	r := c.cool
	c.mu.Unlock()
	if r == nil || !now.Before(r.Until) {
		r = c.loadRefusal()
	}
	// One that ends later than any could was written under another clock.
	if r == nil || !now.Before(r.Until) || r.Until.After(now.Add(coolDownFor+clockTolerance)) {
		return nil
	}
	p, err := fingerprint(secret, r.Salt)
	if err != nil || !hmac.Equal(p, r.Print) {
		return nil //nolint:nilerr // what cannot be compared is no refusal
	}
	return &RefusedError{Code: r.Code, Description: r.Description, Status: r.Status, Endpoint: r.Endpoint, Until: r.Until, hint: r.Hint}
}

// coolDown remembers a refusal and marks it with its end.
func (c *Cache) coolDown(ctx context.Context, e *RefusedError, secret []byte) {
	e.Until = time.Now().Add(coolDownFor).Round(0)
	r := &refusal{
		Version: entryVersion, Code: e.Code, Description: e.Description, Status: e.Status, Endpoint: e.Endpoint, Hint: e.hint,
		Until: e.Until, Salt: make([]byte, 16),
	}
	_, _ = rand.Read(r.Salt) // never fails
	var err error
	if r.Print, err = fingerprint(secret, r.Salt); err != nil {
		return
	}
	c.mu.Lock()
	c.cool = r
	c.mu.Unlock()
	path := c.refusalPath()
	if path == "" {
		return
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = writePrivate(path, data)
	}
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "refusal not kept for other processes", slog.Any("err", err))
	}
}

// loadRefusal treats whatever it cannot trust or read as no refusal: the worst that follows is one request.
func (c *Cache) loadRefusal() *refusal {
	path := c.refusalPath()
	if path == "" {
		return nil
	}
	data, err := readPrivate(path)
	var r refusal
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil || r.Version != entryVersion {
		return nil
	}
	return &r
}

func (c *Cache) forgetRefusal() {
	if path := c.refusalPath(); path != "" {
		_ = os.Remove(path)
		_ = os.Remove(c.busyPath())
	}
}

// rest is the server's wish to be left alone, kept beside the token for the same reason as a refusal.
type rest struct {
	Version  int       `json:"version"`
	Endpoint string    `json:"endpoint"`
	Status   int       `json:"status"`
	Until    time.Time `json:"until"`
}

func (c *Cache) busyPath() string { return filepath.Join(c.cfg.LockDir, c.key+".busy") }

// leaveAlone remembers how long the server is not to be asked.
func (c *Cache) leaveAlone(ctx context.Context, e *UnavailableError) {
	until := time.Now().Add(e.RetryAfter)
	c.mu.Lock()
	c.busy, c.busyUntil = e, until
	c.mu.Unlock()
	if c.cfg.LockDir == "" {
		return
	}
	data, err := json.Marshal(rest{Version: entryVersion, Endpoint: e.Endpoint, Status: e.Status, Until: until.Round(0)})
	if err == nil {
		err = writePrivate(c.busyPath(), data)
	}
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "wait not kept for other processes", slog.Any("err", err))
	}
}

// stillBusy repeats the server's wish to be left alone without asking it again.
func (c *Cache) stillBusy(now time.Time) error {
	c.mu.Lock()
	e, until := c.busy, c.busyUntil
	c.mu.Unlock()
	if e == nil && c.cfg.LockDir != "" {
		var r rest
		if data, err := readPrivate(c.busyPath()); err == nil && json.Unmarshal(data, &r) == nil && r.Version == entryVersion {
			e, until = &UnavailableError{Endpoint: r.Endpoint, Status: r.Status}, r.Until
		}
	}
	// A wait that ends later than any could was written under another clock.
	if e == nil || !now.Before(until) || until.After(now.Add(maxRetryAfter+clockTolerance)) {
		return nil
	}
	again := *e
	again.RetryAfter = until.Sub(now)
	return &again
}

// fingerprint tells one secret from another without being a way back to it. What else changes the answer is in the key.
func fingerprint(secret, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, string(secret), salt, printRounds, sha256.Size)
}
