package tokencache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// FallbackStore keeps entries in the platform's keyring and, where there is none or it does not take them, in files. Of
// two entries under one key the later one counts, so that a login made beside a locked keyring is not hidden by an older
// one inside it.
type FallbackStore struct {
	ring *KeyringStore
	file *FileStore
	log  *slog.Logger

	mu   sync.Mutex
	why  error // the keyring was not used, and why
	said bool
}

// NewFallbackStore returns a store that prefers the keyring to the files.
func NewFallbackStore(ring *KeyringStore, file *FileStore, log *slog.Logger) *FallbackStore {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &FallbackStore{ring: ring, file: file, log: log}
}

// Load implements Store. A keyring that is absent holds nothing; one that does not answer may hold the entry, so its
// error is returned where no file has it.
func (s *FallbackStore) Load(ctx context.Context, key string) (Entry, error) {
	inRing, ringErr := s.loadRing(ctx, key)
	inFile, fileErr := s.file.Load(ctx, key)
	switch {
	case ringErr == nil && fileErr == nil:
		if inFile.ObtainedAt.After(inRing.ObtainedAt) {
			return inFile, nil
		}
		return inRing, nil
	case ringErr == nil:
		return inRing, nil
	case fileErr == nil:
		return inFile, nil
	case errors.Is(ringErr, ErrNotFound):
		return Entry{}, fileErr
	}
	return Entry{}, ringErr
}

func (s *FallbackStore) loadRing(ctx context.Context, key string) (Entry, error) {
	if s.ring.k.Available() != nil && !s.ring.k.stuck() {
		return Entry{}, ErrNotFound
	}
	return s.ring.Load(ctx, key)
}

// Save implements Store. It leaves one copy.
func (s *FallbackStore) Save(ctx context.Context, key string, e Entry) error {
	err := s.ring.Save(ctx, key, e)
	if err == nil {
		return s.file.Delete(ctx, key)
	}
	if ctx.Err() != nil {
		return err
	}
	_, before := s.file.Load(ctx, key)
	if ferr := s.file.Save(ctx, key, e); ferr != nil {
		return errors.Join(ferr, err)
	}
	s.mu.Lock()
	first := !s.said
	s.said, s.why = true, err
	s.mu.Unlock()
	if first && before != nil && s.ring.k.probe() == nil {
		// It was in the keyring so far, or nowhere. Where there is no keyring at all the login said so.
		s.log.LogAttrs(ctx, slog.LevelWarn, "keyring not used, tokens are kept in a file that only this user can read", slog.String("path", s.file.path(key)), slog.Any("err", err))
	}
	// An older copy that can still be deleted would come back the day the file is lost.
	if s.ring.k.Available() == nil {
		_ = s.ring.Delete(ctx, key)
	}
	return nil
}

// Delete implements Store.
func (s *FallbackStore) Delete(ctx context.Context, key string) error {
	err := s.file.Delete(ctx, key)
	if s.ring.k.Available() == nil || s.ring.k.stuck() {
		err = errors.Join(err, s.ring.Delete(ctx, key))
	}
	return err
}

// Place says where the entry under key is: "keyring", or the path of a file and why it is not in the keyring; empty where
// it is nowhere.
func (s *FallbackStore) Place(ctx context.Context, key string) (string, error) {
	inRing, ringErr := s.loadRing(ctx, key)
	inFile, fileErr := s.file.Load(ctx, key)
	if fileErr == nil && (ringErr != nil || inFile.ObtainedAt.After(inRing.ObtainedAt)) {
		s.mu.Lock()
		why := s.why
		s.mu.Unlock()
		if why == nil {
			why = s.ring.k.Available()
		}
		return s.file.path(key), why
	}
	if ringErr == nil {
		return "keyring", nil
	}
	return "", nil
}
