// Package replace writes files as a whole: whoever reads one finds what was
// there before, or all of what is there now.
package replace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// File replaces the file at path, or makes it, with exactly the mode perm: neither
// the umask nor what was there has a say. The directory has to exist and be
// writable. When File returns nil the data is on disk; where it fails, what was
// there is there still.
func File(path string, data []byte, perm os.FileMode) error {
	return write(path, data, perm, os.Rename)
}

// New is File, but for a path at which there is nothing yet: what is there
// stays, and the error is fs.ErrExist.
func New(path string, data []byte, perm os.FileMode) error {
	return write(path, data, perm, func(from, to string) error {
		if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		// A file system without links: claim the name, then take it.
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if err != nil {
			return err
		}
		return errors.Join(f.Close(), os.Rename(from, to))
	})
}

func write(path string, data []byte, perm os.FileMode, put func(from, to string) error) error {
	// Beside it, because no rename leaves a file system; hidden, because some
	// programs read every file of a directory that ends as this one does.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // in vain once it was renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return put(f.Name(), path)
}
