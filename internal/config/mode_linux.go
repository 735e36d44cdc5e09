package config

import (
	"os"
	"syscall"
)

// modesMatter tells whether the file's mode protects it: on a read-only mount,
// such as a secret's in Kubernetes, it does not, nobody can write there and
// 0644 is usual.
func modesMatter(f *os.File) bool {
	const readOnly = 1 // ST_RDONLY of statfs(2)
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &s); err != nil {
		return true
	}
	return s.Flags&readOnly == 0
}
