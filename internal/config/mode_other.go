//go:build !linux

package config

import (
	"os"
	"runtime"
)

// modesMatter tells whether the file's mode protects it; on Windows it says
// nothing.
func modesMatter(*os.File) bool { return runtime.GOOS != "windows" }
