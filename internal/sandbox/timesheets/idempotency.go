package timesheets

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"sync"
)

const maxKey = 255

// reservation is one request's hold on its Idempotency-Key, from the moment it
// is read until its answer is stored.
type reservation struct {
	client, key string
	hash        [sha256.Size]byte // of the body
}

// answer is what a request is answered with, and what its key is given again.
type answer struct {
	status   int
	body     []byte
	replayed bool
}

var errKeyReused = errors.New("idempotency key with another body")

// running is the set of keys whose requests are under way.
type running struct {
	mu sync.Mutex
	m  map[[2]string]bool
}

func newRunning() *running { return &running{m: make(map[[2]string]bool)} }

// enter reports false where a request with this key is under way.
func (r *running) enter(k *reservation) bool {
	if k == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := [2]string{k.client, k.key}
	if r.m[id] {
		return false
	}
	r.m[id] = true
	return true
}

func (r *running) leave(k *reservation) {
	if k == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, [2]string{k.client, k.key})
}

// idempotencyKey reads the header, quoted (as the IETF draft has it) or bare.
// No header is a nil reservation.
func idempotencyKey(r *http.Request, client string, body []byte) (*reservation, error) {
	values := r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return nil, nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || strings.ContainsAny(key, `"\`) {
		return nil, errors.New("the Idempotency-Key header is malformed")
	}
	return &reservation{client: client, key: key, hash: sha256.Sum256(body)}, nil
}

// recallAnswer finds the first answer to this key; ok is false where there is
// none. It runs under the lock and in the transaction of the request.
func (s *store) recallAnswer(ctx context.Context, k *reservation) (a answer, ok bool, err error) {
	var hash []byte
	err = s.recall.QueryRowContext(ctx, k.client, k.key).Scan(&hash, &a.status, &a.body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return answer{}, false, nil
	case err != nil:
		return answer{}, false, err
	case string(hash) != string(k.hash[:]):
		return answer{}, false, errKeyReused
	}
	a.replayed = true
	return a, true, nil
}

func (s *store) keepAnswer(ctx context.Context, k *reservation, a answer) error {
	_, err := s.keep.ExecContext(ctx, k.client, k.key, k.hash[:], a.status, a.body)
	return err
}
