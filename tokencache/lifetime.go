package tokencache

import (
	"math/rand/v2"
	"time"
)

const (
	// A token is not handed out in its last minute: a batch must get through with it.
	hardMargin = 60 * time.Second
	// Renewal starts this long before the end, or at a tenth of the lifetime if that is more.
	softFloor = 5 * time.Minute
	// What a server that does not say gets.
	defaultLifetime = 5 * time.Minute
	// No token is kept longer than this, whatever the server says.
	maxLifetime = 24 * time.Hour
	// Two processes on one volume may disagree a little about the time.
	clockTolerance = 5 * time.Second
)

// hardLead is how long before its end a token stops being used. It shrinks for short lives, so that a token of ten
// seconds is still used and does not make every call fetch.
func hardLead(life time.Duration) time.Duration { return min(hardMargin, life/2) }

// softLead is how long before its end renewal starts.
func softLead(life time.Duration) time.Duration {
	return min(max(softFloor, life/10), life/2)
}

// refreshAt spreads renewals, so that many hosts that started together do not renew together.
func refreshAt(expires time.Time, life time.Duration) time.Time {
	soft := softLead(life)
	at := expires.Add(-soft)
	if spread := (soft - hardLead(life)) / 4; spread > 0 {
		at = at.Add(rand.N(spread)) //nolint:gosec // spreads load, guards nothing
	}
	return at
}

// lifetime turns the server's expires_in into the life we believe. Zero and negative values say nothing useful and count
// as absent.
func lifetime(seconds int64, stated bool) time.Duration {
	switch {
	case !stated || seconds <= 0:
		return defaultLifetime
	case seconds > int64(maxLifetime/time.Second):
		return maxLifetime
	}
	return time.Duration(seconds) * time.Second
}

// held is an entry in memory with its moments on the monotonic clock, which a clock set back cannot stretch. The wall
// clock is asked as well: the monotonic one may stand still while the machine sleeps.
type held struct {
	Entry

	useUntil, renewFrom time.Time
}

// hold anchors an entry's wall-clock moments to now.
func hold(e Entry, now time.Time) *held {
	wall := now.Round(0)
	use := e.ExpiresAt.Add(-hardLead(e.ExpiresAt.Sub(e.ObtainedAt)))
	return &held{Entry: e, useUntil: now.Add(use.Sub(wall)), renewFrom: now.Add(e.RefreshAt.Sub(wall))}
}

// usable says whether the token may be sent.
func (h *held) usable(now time.Time) bool {
	return now.Before(h.useUntil) && now.Round(0).Before(h.ExpiresAt.Add(-hardLead(h.ExpiresAt.Sub(h.ObtainedAt))))
}

// renewable says whether a better token should be sought.
func (h *held) renewable(now time.Time) bool {
	return !now.Before(h.renewFrom) || !now.Round(0).Before(h.RefreshAt)
}

// sane says whether a stored entry can be true: one from the future was written under another clock.
func (e *Entry) sane(now time.Time) bool {
	life := e.ExpiresAt.Sub(e.ObtainedAt)
	return e.AccessToken != "" && life > 0 && life <= maxLifetime && !e.ObtainedAt.After(now.Add(clockTolerance))
}
