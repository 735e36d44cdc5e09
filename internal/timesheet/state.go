package timesheet

import "time"

// State is where an entry stands. The same words are used in code, SQL, JSON
// and help.
type State string

// The states of an entry.
const (
	StateNew      State = "new"      // to be sent; nothing of it is on the wire
	StateSending  State = "sending"  // its bytes may be on the wire
	StateSent     State = "sent"     // the API has accepted it
	StateRejected State = "rejected" // refused for good, by us or by the API
	StateHeld     State = "held"     // waits for a person; see the Reason
	StateInDoubt  State = "in_doubt" // sent with no known end
	StateSkipped  State = "skipped"  // no work to upload, or a person said so
)

// Op is what a Batch asks of the API.
type Op string

// The operations of the API that upload.
const (
	OpCreate Op = "create"
	OpUpdate Op = "update" // replaces what the API holds under Parcel.Target
)

// Parcel is a stretch of planned entries of one source and one lane, kept
// together in the ledger. A Batch is the part of it that one request carries:
// entries Settled..Begun are on the wire, those before are settled, those
// after are new. An entry that ends otherwise moves to a Parcel of its own,
// so the State of an entry is always that of its Parcel.
type Parcel struct {
	ID     int64
	Source string
	// Lane is the lane out of Lanes that the person and day of every entry in
	// the Parcel hash to.
	Lane, Lanes int
	Op          Op
	Target      string // the API's id of the entry to replace; only for OpUpdate
	// State is held, rejected, in_doubt or skipped for the whole Parcel, or new
	// while it is open: then Settled and Begun tell.
	State          State
	Reason         Reason
	Detail         string
	Begun, Settled int
	Keys           []Packed
	Entries        []Entry // Key and Digest are not kept; Keys has what remains of them
	Gone           []bool  // Gone[i]: entry i has moved to another Parcel

	// What was on the wire when the Parcel fell in doubt.
	Since          time.Time // settle windows count from here
	AbsentSince    time.Time // when a read-back first did not find it; zero if none did
	Attempts       int
	IdempotencyKey string
	KeyExpires     time.Time
	Body           []byte // kept only for requests with an idempotency key
}

// Lane is what one lane has to send: its Parcels, oldest first, and how many
// entries of them are left. Plans with different numbers of Lanes spread
// persons and days differently.
type Lane struct {
	Lanes, Lane int
	Parcels     []int64
	Left        int
}

// Batch names a part of a Parcel that is about to be sent: the intention that
// must be durable before its first byte leaves.
type Batch struct {
	Parcel         int64
	From, To       int
	BodyHash       [32]byte
	IdempotencyKey string
	KeyExpires     time.Time
	Body           []byte // given only with an IdempotencyKey: a resend must be identical
}

// Fate is how one entry of a Batch ended.
type Fate struct {
	State  State // Sent, New, Rejected, Held, InDoubt
	Reason Reason
	Detail string // the API's words, shortened
	ID     string // the API's id, where it gave one
}

// Settlement is the end of a Batch.
type Settlement struct {
	Batch  Batch
	At     time.Time
	Status int    // HTTP status, 0 without one
	Answer []byte // the receipt where the API gives no id: the head of its answer
	// All holds for every entry, unless Each is set: then Each has one Fate an
	// entry of From..To, in order.
	All  Fate
	Each []Fate
	// Answered says that the API has answered for each entry: under the same
	// idempotency key it would say the same again, so that what is still in doubt
	// is not to be sent under it.
	Answered bool
	// Outcome is the class of the last attempt, Attempts how many there were.
	Outcome  string
	Attempts int
}

// Known is an entry that the ledger already has.
type Known struct {
	Key    Packed
	Digest uint64
	State  State
	Reason Reason
	// Amended is the Digest of a change that waits beside a sent entry, and where
	// that stands; 0 if none does.
	Amended       uint64
	AmendedState  State
	AmendedReason Reason
	Person        string
	Project       string
	Seconds       Seconds
	Rounding      Seconds // what it was rounded by; see Entry
	Seen          bool    // by the read under way
	Again         bool    // it was looked up before in this read; told only of what is still to be sent
	Missing       bool    // flagged: sent, and gone from an earlier complete read
	Source        string  // whose it is
}

// Waiting is an entry, or a rejected row, together with all that the ledger
// tells about it.
type Waiting struct {
	Ref     string
	Key     Packed
	State   State
	Reason  Reason
	Detail  string
	Hint    string
	Source  string
	Origin  Origin
	Person  string
	Day     Day
	Project string
	Seconds Seconds
	// Rounding is what was, or will be, sent beyond Seconds; see Entry.
	Rounding Seconds
	ID       string // the tracker's id
	Remote   string // the API's id
	Missing  bool   // sent, but gone from a complete read
	Row      bool   // a row that never became an entry
	Parcel   int64
	Pos      int
	At       time.Time // when the state was reached
}

// Rounded says what rounding adds to an entry; to the change of a sent entry
// that waits, where Change is set.
type Rounded struct {
	Key    Packed
	Change bool
	Add    Seconds
}

// Fresh is an entry that a plan under way adds, as the judge of a day sees it.
type Fresh struct {
	Key     Packed
	Person  string
	Project string // told to Index's twice only
	Seconds Seconds
	Start   int  // seconds into the day, -1 without a time of day
	Trusted bool // has an id of the tracker's own
	// Conflict says that another row of the read has the same id and another content.
	Conflict bool
	New      bool // about to be sent, as opposed to held
	// State and Reason say where it stands otherwise.
	State  State
	Reason Reason
}
