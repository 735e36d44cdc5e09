//go:build !windows && !darwin

package tokencache

import (
	"os"
	"path/filepath"
	"strconv"
)

// probeKeyring looks for a session bus: without one the D-Bus library would start one, or fail in a way of its own.
func probeKeyring() error {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	}
	if _, err := os.Stat(filepath.Join(dir, "bus")); err == nil { //nolint:gosec // nothing is read, and the user names the directory
		return nil
	}
	return &KeyringError{Problem: "there is no session bus"}
}
