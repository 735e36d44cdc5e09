package main

import (
	"math"
	"runtime/debug"
)

// The two halves of a run want the opposite of the garbage collector. A large
// plan keeps one block of records that never becomes garbage, and as much
// garbage again beside it would double what the program takes. Sending keeps
// next to nothing and makes garbage with every request: collected as often, it
// would cost a third of the time.

// collectOften is for planning.
func (a *app) collectOften() {
	if a.getenv("GOGC") == "" && a.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(40)
	}
}

// collectSeldom is for sending. The limit is what planning a few rows takes.
func (a *app) collectSeldom() {
	if a.getenv("GOGC") == "" && a.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(36 << 20)
		debug.SetGCPercent(400)
	}
}
