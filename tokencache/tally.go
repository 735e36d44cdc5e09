package tokencache

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"time"
)

// keptDays is how long counts are kept.
const keptDays = 31

// DayCount is what a day cost in tokens, over all processes.
type DayCount struct {
	// Day is in UTC, as 2026-11-16.
	Day string `json:"day"`
	// Fetched counts tokens that the server issued.
	Fetched int64 `json:"fetched"`
	// Saved counts tokens that were taken over from the store, and would have been fetched without it.
	Saved int64 `json:"saved"`
}

type tally struct {
	Version int        `json:"version"`
	Days    []DayCount `json:"days"`
}

func (c *Cache) tallyPath() string { return filepath.Join(c.cfg.LockDir, c.key+".count") }

// Counts lists what the last days cost, oldest first; days without tokens are left out. It is empty without a LockDir.
func (c *Cache) Counts() []DayCount {
	if c.cfg.LockDir == "" {
		return nil
	}
	data, err := readPrivate(c.tallyPath())
	var t tally
	// Counts that cannot be read are none: nothing depends on them.
	if err != nil || json.Unmarshal(data, &t) != nil || t.Version != entryVersion {
		return nil
	}
	oldest := time.Now().UTC().AddDate(0, 0, -keptDays).Format(time.DateOnly)
	return slices.DeleteFunc(t.Days, func(d DayCount) bool { return d.Day <= oldest })
}

// count adds what this cache did to what others did.
func (c *Cache) count(ctx context.Context) {
	fetched, saved := c.tokens.Load(), c.storeHits.Load()
	if c.cfg.LockDir == "" || c.cfg.Store == nil || fetched+saved == 0 {
		return
	}
	unlock, err := c.lock(ctx, dropWait)
	if err != nil {
		return
	}
	defer unlock()
	days, today := c.Counts(), time.Now().UTC().Format(time.DateOnly)
	if len(days) == 0 || days[len(days)-1].Day != today {
		days = append(days, DayCount{Day: today})
	}
	days[len(days)-1].Fetched += fetched
	days[len(days)-1].Saved += saved
	data, err := json.Marshal(tally{Version: entryVersion, Days: days})
	if err == nil {
		err = writePrivate(c.tallyPath(), data)
	}
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "token counts not kept", slog.Any("err", err))
	}
}

// Fetches tells how many tokens that live so long serve all uses, which are in order. It is what a schedule costs at
// most: a use that needs no token after all costs none.
func Fetches(uses []time.Time, life time.Duration) int {
	n := 0
	var until time.Time
	for _, at := range uses {
		if n == 0 || !at.Before(until) {
			n++
			until = at.Add(life - softLead(life))
		}
	}
	return n
}
