package main

import "runtime/debug"

// What a run may take, as far as the garbage collector can have a say: so much,
// and so much for each row that is planned, of which a record is kept until the
// plan is complete. Far below that garbage is left lying, because collecting it
// after every few requests would cost a third of the time of sending.
const (
	memory       = 30 << 20
	memoryPerRow = 42
)

// roomFor gives the run memory to plan rows, or to send, which keeps none.
func (a *app) roomFor(rows int) {
	if a.getenv("GOGC") != "" || a.getenv("GOMEMLIMIT") != "" {
		return // somebody knows better
	}
	debug.SetMemoryLimit(memory + memoryPerRow*int64(rows))
	debug.SetGCPercent(400)
}
