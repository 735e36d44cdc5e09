//go:build !linux

package ledger

// networkFS is only known on Linux.
func networkFS(string) string { return "" }
