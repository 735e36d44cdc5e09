package uploader

import (
	"context"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// Answer is what the API said when it was asked for a parcel in doubt, and
// what became of its entries.
type Answer struct {
	Sent   int // the API has them
	New    int // proved absent: they are to be sent again
	Absent int // not found, which proves nothing yet
	// Proof says that absence can mean something at all: the API's list carries
	// what entries are found by.
	Proof bool
	// Settles is when absence begins to count.
	Settles time.Time
}

// Ask settles one parcel in doubt by reading back, under the same rules as a
// run: what the API has is sent; what it has not is new again only after the
// settle window, when two looks agree. It waits for the second look where that
// takes seconds, until stopping is closed.
func (u *Uploader) Ask(ctx context.Context, parcel int64, stopping <-chan struct{}) (Answer, error) {
	u.client.stopping = stopping
	p, err := u.cfg.Ledger.Parcel(ctx, parcel)
	if err != nil || p.State != timesheet.StateInDoubt {
		return Answer{}, err
	}
	return u.look(ctx, p, newReport(u.cfg), true)
}

// ExternalID is what an entry of the ledger is found by when reading back;
// empty where the entries that are sent carry nothing of the kind.
func (u *Uploader) ExternalID(w *timesheet.Waiting) string {
	return u.client.enc.externalID(&timesheet.Entry{
		ID: w.ID, Person: w.Person, Day: w.Day, Project: w.Project, Duration: w.Seconds, Rounding: w.Rounding,
	}, w.Key)
}
