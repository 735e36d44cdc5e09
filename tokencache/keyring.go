package tokencache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/exampleco/tsupload/internal/rescue"
)

// KeyringService is the name our items have in the platform's keyring.
const KeyringService = "tsupload"

const (
	keyringTimeout = 3 * time.Second
	tokenAccount   = "token:"
)

// KeyringError says the platform's keyring could not be used.
type KeyringError struct {
	// Problem says what went wrong; it never quotes an item.
	Problem string
	// Err is the library's error, if there is one.
	Err error
}

// Error implements error.
func (e *KeyringError) Error() string {
	if e.Err == nil {
		return "keyring: " + e.Problem
	}
	return fmt.Sprintf("keyring: %s: %v", e.Problem, e.Err)
}

// Unwrap gives the library's error.
func (e *KeyringError) Unwrap() error { return e.Err }

// Hint tells the reader what else there is.
func (e *KeyringError) Hint() string {
	return "on a server without a desktop session use a file ({file: PATH}), a systemd credential, or TSUPLOAD_CLIENT_SECRET"
}

// ring is the part of the keyring library that is used.
type ring interface {
	Set(service, account, secret string) error
	Get(service, account string) (string, error)
	Delete(service, account string) error
}

// platformRing calls the library's process-wide keyring.
type platformRing struct{}

// Set implements ring.
func (platformRing) Set(service, account, secret string) error {
	return keyring.Set(service, account, secret)
}

// Get implements ring.
func (platformRing) Get(service, account string) (string, error) {
	return keyring.Get(service, account)
}

// Delete implements ring.
func (platformRing) Delete(service, account string) error { return keyring.Delete(service, account) }

// Keyring is the platform's keyring behind a time limit. A call that does not come back cannot be cancelled, so after the
// first one the keyring stays off: make one Keyring per process.
type Keyring struct {
	ring    ring
	probe   func() error
	limit   int
	timeout time.Duration

	mu  sync.Mutex
	off error
}

// NewKeyring returns the platform's keyring. It touches nothing yet.
func NewKeyring() *Keyring {
	return &Keyring{ring: platformRing{}, probe: probeKeyring, limit: keyringLimit(runtime.GOOS), timeout: keyringTimeout}
}

// keyringLimit is the size of an item that surely fits: Windows holds 2560 bytes; macOS takes a command line of 4096, with
// the item in base64 and quotes, and leaves a child process behind when it is longer.
func keyringLimit(goos string) int {
	switch goos {
	case "windows":
		return 2500
	case "darwin":
		return 2900
	}
	return 64 << 10
}

// Available says whether the keyring can be tried, without talking to it.
func (k *Keyring) Available() error {
	k.mu.Lock()
	off := k.off
	k.mu.Unlock()
	if off != nil {
		return off
	}
	return k.probe()
}

// stuck says whether the keyring was given up because it did not answer, which is not the same as being absent.
func (k *Keyring) stuck() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.off != nil
}

// do runs one call with the time limit. The call must not touch its caller's memory after that: it may still be running.
func (k *Keyring) do(ctx context.Context, call func() (string, error)) (string, error) {
	if err := k.Available(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	type result struct {
		value string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.err = rescue.Do(func() (err error) { r.value, err = call(); return err })
		done <- r
	}()
	timer := time.NewTimer(k.timeout)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err != nil && !errors.Is(r.err, keyring.ErrNotFound) {
			return "", &KeyringError{Problem: "not usable", Err: r.err}
		}
		return r.value, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-timer.C:
		err := &KeyringError{Problem: fmt.Sprintf("no answer within %s; not asked again (is it locked?)", k.timeout)}
		k.mu.Lock()
		k.off = err
		k.mu.Unlock()
		return "", err
	}
}

// set keeps an item, if it surely fits.
func (k *Keyring) set(ctx context.Context, account, value string) error {
	if len(value) > k.limit {
		return &KeyringError{Problem: fmt.Sprintf("%d bytes do not fit, the limit is %d", len(value), k.limit)}
	}
	_, err := k.do(ctx, func() (string, error) { return "", k.ring.Set(KeyringService, account, value) })
	return err
}

func (k *Keyring) get(ctx context.Context, account string) (string, error) {
	return k.do(ctx, func() (string, error) { return k.ring.Get(KeyringService, account) })
}

func (k *Keyring) remove(ctx context.Context, account string) error {
	_, err := k.do(ctx, func() (string, error) { return "", k.ring.Delete(KeyringService, account) })
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

// SetSecret keeps a client secret under the account's name.
func (k *Keyring) SetSecret(ctx context.Context, account string, secret []byte) error {
	if account == "" || len(secret) == 0 {
		return &KeyringError{Problem: "an empty name or an empty secret is not kept"}
	}
	return k.set(ctx, account, string(secret))
}

// DeleteSecret removes a client secret; removing nothing is no error.
func (k *Keyring) DeleteSecret(ctx context.Context, account string) error {
	return k.remove(ctx, account)
}

// Secret returns a reader of the client secret under the account's name, for [Config].Secret.
func (k *Keyring) Secret(account string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := k.get(ctx, account)
		if errors.Is(err, keyring.ErrNotFound) {
			return nil, &KeyringError{Problem: fmt.Sprintf("no item %s/%s", KeyringService, account), Err: err}
		}
		if err != nil {
			return nil, err
		}
		return []byte(v), nil
	}
}

// KeyringStore keeps entries in the platform's keyring. A token too large for it is an error of Save, and stays in memory.
type KeyringStore struct{ k *Keyring }

// NewKeyringStore returns a store in the keyring.
func NewKeyringStore(k *Keyring) *KeyringStore { return &KeyringStore{k: k} }

// Load implements Store. An item that cannot be understood is a miss and is replaced by the next Save.
func (s *KeyringStore) Load(ctx context.Context, key string) (Entry, error) {
	v, err := s.k.get(ctx, tokenAccount+key)
	if errors.Is(err, keyring.ErrNotFound) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, err
	}
	e, err := decodeEntry(key, []byte(v))
	if err != nil {
		return Entry{}, ErrNotFound
	}
	return e, nil
}

// Save implements Store.
func (s *KeyringStore) Save(ctx context.Context, key string, e Entry) error {
	data, err := encodeEntry(key, e)
	if err != nil {
		return err
	}
	return s.k.set(ctx, tokenAccount+key, string(data))
}

// Delete implements Store.
func (s *KeyringStore) Delete(ctx context.Context, key string) error {
	return s.k.remove(ctx, tokenAccount+key)
}

// Place says "keyring" where the entry under key is there; empty where it is not.
func (s *KeyringStore) Place(ctx context.Context, key string) (string, error) {
	if _, err := s.Load(ctx, key); err != nil {
		return "", nil //nolint:nilerr // what cannot be used is nowhere
	}
	return "keyring", nil
}
