package metrics

// Outcome is how a run ended: the name of its exit status.
type Outcome string

// Kind is what became of an entry in a run.
type Kind string

// What becomes of entries. Those that are new are counted once more as sent,
// rejected or in doubt when the API has answered; what is left was deferred.
const (
	KindNew      Kind = "new"      // planned to be sent by this run
	KindSent     Kind = "sent"     // accepted by the API in this run
	KindKnown    Kind = "known"    // sent by an earlier run
	KindRejected Kind = "rejected" // refused, by us or by the API
	KindHeld     Kind = "held"     // waits for a person
	KindInDoubt  Kind = "in_doubt" // may have arrived
	KindSkipped  Kind = "skipped"  // no work, or given up by a person
	KindMissing  Kind = "missing"  // sent once, and gone from the source; has no seconds
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{KindNew, KindSent, KindKnown, KindRejected, KindHeld, KindInDoubt, KindSkipped, KindMissing}
}

// Outcomes lists the names of all exit statuses that a run can end with.
func Outcomes() []Outcome {
	return []Outcome{"ok", "fault", "usage", "person", "refused", "unreachable", "config", "source", "locked", "different", "interrupted", "terminated"}
}

// OutcomeOf names an exit status. The README has the table.
func OutcomeOf(exit int) Outcome {
	switch {
	case exit >= 0 && exit <= 9:
		return Outcomes()[exit]
	case exit == 130:
		return "interrupted"
	case exit == 143:
		return "terminated"
	}
	return "fault"
}
