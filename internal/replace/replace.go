// Package replace writes files as a whole: whoever reads one finds what was
// there before, or all of what is there now.
package replace

import (
	"errors"
	"os"
	"path/filepath"
)

// File replaces the file at path, or makes it, with exactly the mode perm: neither
// the umask nor what was there has a say. The directory has to exist and be
// writable. When File returns nil the data is on disk; where it fails, what was
// there is there still.
func File(path string, data []byte, perm os.FileMode) error {
	// Beside it, because no rename leaves a file system; hidden, because some
	// programs read every file of a directory that ends as this one does.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // in vain once it is renamed
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
	return os.Rename(f.Name(), path)
}
