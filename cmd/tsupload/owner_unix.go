//go:build !windows

package main

import (
	"os"
	"syscall"
)

// ownerOf is whose a file is; false where that cannot be told.
func ownerOf(info os.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
