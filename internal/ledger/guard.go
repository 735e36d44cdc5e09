package ledger

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"modernc.org/sqlite"
)

// checkDir refuses state directories that others can write to, and network
// file systems: SQLite's WAL needs shared memory, which they do not have, and
// their locks do not hold.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &Error{Kind: Broken, Message: "open the state directory", Err: err}
	}
	if !info.IsDir() {
		return &Error{Kind: Broken, Message: dir + " is not a directory", HintText: "state.dir names the directory that holds ledger and tokens"}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return &Error{Kind: Unsafe, Message: "the state directory can be written by others: " + dir, HintText: "chmod 700 " + dir}
	}
	if name := networkFS(dir); name != "" {
		return &Error{
			Kind:     Unsafe,
			Message:  fmt.Sprintf("the state directory is on a network file system (%s): %s", name, dir),
			HintText: "put it on a local disk, or on a ReadWriteOnce block volume: SQLite damages its files on network file systems",
		}
	}
	return nil
}

func checkMode(path string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return &Error{Kind: Broken, Message: path + " is not a regular file"}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return &Error{Kind: Unsafe, Message: "the ledger can be read by others: " + path, HintText: "chmod 600 " + path}
	}
	return nil
}

// SQLite's result codes that need another word than SQLite's.
const (
	sqliteIO       = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteIOWrite  = 778
	sqliteIOShm    = 4874 // the shared memory of the WAL cannot grow
	sqliteReadOnly = 8
	sqliteCorrupt  = 11
	sqliteNotADB   = 26
)

// explain wraps a fault of the store in an Error with a hint, and leaves
// Errors and nil alone.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	e := &Error{Kind: Broken, Message: doing, Err: err}
	if fault, ok := errors.AsType[*sqlite.Error](err); ok {
		switch code := fault.Code(); {
		case code == sqliteFull, code == sqliteIOWrite, code == sqliteIOShm:
			e.HintText = "the disk is full, or fails, or a limit on file sizes was reached; free some space and run again: what was sent is recorded or will be settled"
		case code&0xff == sqliteIO:
			e.HintText = "the disk does not do what it is asked for; see the system's log, and run again when it works: what was sent is recorded or will be settled"
		case code&0xff == sqliteReadOnly, code&0xff == sqliteCantOpen:
			e.HintText = "the state directory must be writable by the user that runs tsupload"
		case code&0xff == sqliteCorrupt, code&0xff == sqliteNotADB:
			e.HintText = "the ledger is damaged, or the disk fails: see what `tsupload doctor` says of it before a backup is restored"
		}
	}
	return e
}
