//go:build !windows

package tokencache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/renameio/v2"
)

// readPrivate reads a file that must be ours alone. The open file is checked, not the name, which could change between.
func readPrivate(path string) ([]byte, error) {
	// A symlink or a pipe in place of the file must neither be followed nor wait.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, &FileError{Path: path, Problem: "is a symbolic link", Fix: "rm " + strconv.Quote(path)}
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &FileError{Path: path, Problem: "is not a regular file", Fix: "rm " + strconv.Quote(path)}
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, &FileError{
			Path: path, Problem: fmt.Sprintf("mode %04o lets others at the token", perm), Fix: "chmod 600 " + strconv.Quote(path),
		}
	}
	return io.ReadAll(io.LimitReader(f, maxPrivateFile))
}

// checkDir refuses a directory in which another user could replace our files.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return &FileError{
			Path: dir, Problem: fmt.Sprintf("mode %04o lets others write", perm), Fix: "chmod 700 " + strconv.Quote(dir),
		}
	}
	return nil
}

func checkOwner(path string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if uid := os.Geteuid(); int(st.Uid) != uid {
		return &FileError{
			Path: path, Problem: fmt.Sprintf("belongs to user %d, not %d", st.Uid, uid),
			Fix: fmt.Sprintf("chown %d %s", uid, strconv.Quote(path)),
		}
	}
	return nil
}

// replaceFile names the temporary directory itself: by default renameio may pick $TMPDIR, which others share.
func replaceFile(path string, data []byte) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
