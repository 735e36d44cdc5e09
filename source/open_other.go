//go:build !unix

package source

import (
	"io/fs"
	"os"
)

const openFlags = os.O_RDONLY

func isLink(error) bool { return false }

func inode(fs.FileInfo) uint64 { return 0 }
