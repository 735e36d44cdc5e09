package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
	"github.com/exampleco/tsupload/internal/login"
	"github.com/exampleco/tsupload/tokencache"
)

// credential is what proves who the client is, without the proof itself.
type credential struct {
	way  string // the key of auth: client_secret, private_key, assertion
	from string // where it is; empty where it cannot be read
	// Of a key.
	algorithm, keyID string
	bits             int
	// Of an assertion; zero where it does not say.
	expires time.Time
	err     error
}

// words is what people call it.
func (c *credential) words() string { return strings.ReplaceAll(c.way, "_", " ") }

// String tells where it is and of what kind.
func (c *credential) String() string {
	s := c.from
	if c.algorithm != "" {
		s += ", " + c.algorithm
	}
	if c.keyID != "" {
		s += ", key id " + c.keyID
	}
	if !c.expires.IsZero() {
		s += ", expires " + moment(c.expires, time.Local)
	}
	return s
}

// lookAtCredential reads what proves who the client is, and sees whether it
// can be used.
func (a *app) lookAtCredential(ctx context.Context, cfg *config.Config) credential {
	c := credential{way: cfg.Auth.ClientAuth()}
	if cfg.Auth.As == "person" && cfg.Auth.ClientSecret.IsZero() {
		c.from = "none is needed"
		return c
	}
	secret, err := readCredentials(ctx, a.resolver(tokencache.NewKeyring()), &cfg.Auth)
	if err != nil {
		c.err = err
		return c
	}
	c.from = secret.From()
	switch c.way {
	case "private_key":
		key, err := login.ParseKey(secret.Reveal(), cfg.Auth.SigningAlg, cfg.Auth.PrivateKeyID)
		if err != nil {
			c.err = err
			return c
		}
		c.algorithm, c.keyID, c.bits = key.Algorithm, key.ID, key.Bits
	case "assertion":
		c.expires, c.err = login.CheckAssertion(strings.TrimSpace(string(secret.Reveal())), time.Now())
	}
	return c
}

// tokenDays lists what the last days cost in tokens.
func (a *app) tokenDays(cfg *config.Config) []tokencache.DayCount {
	cache, err := a.newCache(cfg, a.logger(cfg))
	if err != nil {
		return nil
	}
	defer cache.Close()
	return cache.Counts()
}

// sumDays adds up days.
func sumDays(days []tokencache.DayCount) (fetched, saved int64) {
	for _, d := range days {
		fetched, saved = fetched+d.Fetched, saved+d.Saved
	}
	return fetched, saved
}

// dayLong is a day of schedules.
const dayLong = 24 * time.Hour

// tokensADay tells how many tokens the schedules cost in a day at most, where
// one lives so long; 0 where there is no schedule.
func tokensADay(cfg *config.Config, life time.Duration, now time.Time) int {
	var uses []time.Time
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		if s.Schedule == "" {
			continue
		}
		schedule, err := daemon.ParseSchedule(s.Schedule, zoneOf(s))
		if err != nil {
			continue // it has been checked
		}
		for at := schedule.Next(now); !at.IsZero() && at.Before(now.Add(dayLong)); at = schedule.Next(at) {
			uses = append(uses, at)
		}
	}
	slices.SortFunc(uses, time.Time.Compare)
	return tokencache.Fetches(uses, life)
}

// economy tells what tokens cost, in words; empty where nothing is known.
func economy(cfg *config.Config, token *tokencache.Token, has bool, days []tokencache.DayCount, now time.Time) string {
	var words []string
	if life := token.ExpiresAt.Sub(token.ObtainedAt); has {
		if n := tokensADay(cfg, life, now); n > 0 {
			words = append(words, fmt.Sprintf("at most %d a day by the schedules (one lives %s)", n, config.FormatDuration(life.Round(time.Second))))
		}
	}
	if fetched, saved := sumDays(days); fetched+saved > 0 {
		words = append(words, fmt.Sprintf("%d fetched and %d saved since %s", fetched, saved, days[0].Day))
	}
	return strings.Join(words, "; ")
}

// economyJSON is economy for machines.
func economyJSON(cfg *config.Config, token *tokencache.Token, has bool, days []tokencache.DayCount, now time.Time) map[string]any {
	fetched, saved := sumDays(days)
	line := map[string]any{"tokens_fetched": fetched, "tokens_saved": saved, "days": slices.Clip(days), "tokens_a_day": nil, "lifetime_seconds": nil, "allotments": []any{}}
	if days == nil {
		line["days"] = []any{}
	}
	if has {
		life := token.ExpiresAt.Sub(token.ObtainedAt)
		line["lifetime_seconds"] = int64(life.Seconds())
		if n := tokensADay(cfg, life, now); n > 0 {
			line["tokens_a_day"] = n
		}
		left := []any{}
		for _, q := range token.Allotments {
			left = append(left, map[string]any{"bucket": q.Bucket, "limit": q.Limit, "remaining": q.Remaining, "reset_at": stamp(q.ResetAt), "low": q.Low(now)})
		}
		line["allotments"] = left
	}
	return line
}

// quota is what the authorization server said is left of tokens; low where
// that is little. Empty where it said nothing.
func quota(token *tokencache.Token, now time.Time) (text string, low bool) {
	var words []string
	for _, q := range token.Allotments {
		word := fmt.Sprintf("%d of %d left (%s)", q.Remaining, q.Limit, q.Bucket)
		switch {
		case q.ResetAt.Before(now):
			word = fmt.Sprintf("%d (%s), full again since", q.Limit, q.Bucket)
		case q.Low(now):
			low = true
			word += " until " + moment(q.ResetAt, time.Local)
		}
		words = append(words, word)
	}
	if len(words) == 0 {
		return "", false
	}
	return strings.Join(words, "; ") + ", as told with the last token at " + moment(token.ObtainedAt, time.Local), low
}

const littleLeft = "few tokens are left: see that the state directory is kept between runs, and how often they run"
