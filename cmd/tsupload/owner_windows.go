package main

import "os"

// ownerOf is whose a file is; here it cannot be told.
func ownerOf(os.FileInfo) (uid int, ok bool) { return 0, false }
