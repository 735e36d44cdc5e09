package main

import (
	"math"
	"runtime/debug"

	"github.com/exampleco/tsupload/internal/config"
)

// What a run may take, as far as the garbage collector can have a say: so much
// in any case, so much for each request under way and for each entry in it, and
// so much for each row that is planned, of which a record is kept until the plan
// is complete. Far below that garbage is left lying, because collecting it after
// every few requests would cost a third of the time of sending.
const (
	memory           = 32 << 20
	memoryPerRequest = 32 << 10
	memoryPerSent    = 512
	memoryPerRow     = 48 // a record of the plan, and what tells equal rows apart
)

// roomFor gives a run memory to plan rows or, with none, to send.
func (a *app) roomFor(api *config.API, rows int) {
	if a.ownRoom() {
		debug.SetMemoryLimit(memory + int64(api.Concurrency)*int64(memoryPerRequest+memoryPerSent*api.BatchSize) + memoryPerRow*int64(rows))
		debug.SetGCPercent(400)
	}
}

// usualRoom is for the time between runs.
func (a *app) usualRoom() {
	if a.ownRoom() {
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(100)
	}
}

// ownRoom tells whether nobody who knows better has set it.
func (a *app) ownRoom() bool { return a.getenv("GOGC") == "" && a.getenv("GOMEMLIMIT") == "" }
