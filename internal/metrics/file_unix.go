//go:build !windows

package metrics

import (
	"path/filepath"

	"github.com/google/renameio/v2"
)

// replaceFile sets the mode whatever the umask: the file is for another user's
// program. Its temporary name does not end in .prom, so that no half is read.
func replaceFile(path string, data []byte) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
