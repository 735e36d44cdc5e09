package notify

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
)

// maxWaiting bounds the jobs that wait in a line: where a receiver is slower
// than the runs, old news is dropped instead of gathered.
const maxWaiting = 32

// line does jobs one after the other, in a goroutine that lives as long as
// there are any. The WaitGroup is its owner's.
type line struct {
	ctx    context.Context // of the owner, ended by it
	owner  *sync.WaitGroup
	log    *slog.Logger
	mu     sync.Mutex
	jobs   []func(context.Context)
	active bool
}

func (l *line) add(job func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.jobs) >= maxWaiting {
		l.log.WarnContext(l.ctx, "notification dropped, too many wait")
		return
	}
	l.jobs = append(l.jobs, job)
	if !l.active {
		l.active = true
		l.owner.Go(l.work)
	}
}

func (l *line) work() {
	for {
		l.mu.Lock()
		if len(l.jobs) == 0 {
			l.active = false
			l.mu.Unlock()
			return
		}
		job := l.jobs[0]
		l.jobs = l.jobs[1:]
		l.mu.Unlock()
		l.one(job)
	}
}

// one keeps a panic from ending the program: no notification is worth a run.
func (l *line) one(job func(context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			l.log.ErrorContext(l.ctx, "notification panicked", "err", p, "stack", string(debug.Stack()))
		}
	}()
	job(l.ctx)
}
