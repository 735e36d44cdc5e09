package tokencache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// maxPrivateFile bounds what is read back; a token entry is a few KiB.
const maxPrivateFile = 256 << 10

// FileError says a file that holds a token, or its directory, is open to others or cannot be used, so nothing is kept in it.
type FileError struct {
	// Path is the file or directory.
	Path string
	// Problem says what is wrong with it.
	Problem string
	// Fix is the command that puts it right; empty where the system refuses to write there.
	Fix string
	// Err is what the system says; nil where others are the problem.
	Err error
}

// Error implements error.
func (e *FileError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Path, e.Problem, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Problem)
}

// Unwrap gives what the system says.
func (e *FileError) Unwrap() error { return e.Err }

// Hint gives the exact command, where there is one.
func (e *FileError) Hint() string {
	if e.Fix == "" {
		return "tokens are kept below state.dir, where this user has to be able to write: see its owner and mode, and whether the disk is full or read-only"
	}
	return e.Fix + " (on Kubernetes with fsGroup, set fsGroupChangePolicy: OnRootMismatch)"
}

// FileStore keeps each entry in a 0600 file named by its key, in a 0700 directory, replaced atomically. Files that others
// can read, or that belong to another user, are refused. A file that cannot be understood is set aside as *.bad.
type FileStore struct {
	dir string
	log *slog.Logger
}

// NewFileStore returns a store in dir, which is created when the first token is saved.
func NewFileStore(dir string, log *slog.Logger) *FileStore {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &FileStore{dir: dir, log: log}
}

// Dir is the directory the files are in.
func (s *FileStore) Dir() string { return s.dir }

func (s *FileStore) path(key string) string { return filepath.Join(s.dir, key+".json") }

// Load implements Store.
func (s *FileStore) Load(ctx context.Context, key string) (Entry, error) {
	path := s.path(key)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, err
	}
	e, err := decodeEntry(key, data)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "stored token set aside", slog.String("path", path), slog.Any("err", err))
		if err := os.Rename(path, path+".bad"); err != nil {
			s.log.LogAttrs(ctx, slog.LevelDebug, "stored token stays in place", slog.Any("err", err))
		}
		return Entry{}, ErrNotFound
	}
	return e, nil
}

// Save implements Store.
func (s *FileStore) Save(_ context.Context, key string, e Entry) error {
	data, err := encodeEntry(key, e)
	if err != nil {
		return err
	}
	return writePrivate(s.path(key), data)
}

// Delete implements Store.
func (s *FileStore) Delete(_ context.Context, key string) error {
	if err := os.Remove(s.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Place says in which file the entry under key is; empty where it is not.
func (s *FileStore) Place(ctx context.Context, key string) (string, error) {
	if _, err := s.Load(ctx, key); err != nil {
		return "", nil //nolint:nilerr // what cannot be used is nowhere
	}
	return s.path(key), nil
}

// privateDir makes a directory only we can enter, and refuses one others can plant files in.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &FileError{Path: dir, Problem: "cannot be made", Err: plainFile(err)}
	}
	return checkDir(dir)
}

// tryDir sees whether a file can be made in a directory of ours.
func tryDir(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return &FileError{Path: dir, Problem: "cannot be written", Err: plainFile(err)}
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// plainFile takes the name out of a file system's error.
func plainFile(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// writePrivate replaces a file as a whole: a reader finds the old bytes or the new ones, never a mixture.
func writePrivate(path string, data []byte) error {
	if err := privateDir(filepath.Dir(path)); err != nil {
		return err
	}
	return replaceFile(path, data)
}
