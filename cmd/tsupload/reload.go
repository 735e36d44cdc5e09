package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/exampleco/tsupload/internal/config"
	"github.com/exampleco/tsupload/internal/daemon"
)

// reload reads the configuration for a daemon that is running. What is wrong
// with it, or what has changed, goes to the log.
func (s *service) reload(ctx context.Context) (daemon.Settings, error) {
	var changed []string
	cfg, settings, err := s.settings(func(cfg *config.Config) (err error) {
		if s.cfg.File != "" && cfg.File != s.cfg.File {
			return usage("put it back", "%s is not there any more", s.cfg.File)
		}
		changed = changes(s.cfg, cfg)
		for _, key := range changed {
			if why := fixed(key); why != "" {
				err = errors.Join(err, usage("restart the daemon, or take the change back", "%s may not change while the daemon runs: %s", key, why))
			}
		}
		return err
	})
	if faults, ok := errors.AsType[*config.Error](err); ok {
		for _, f := range faults.Faults {
			s.log.ErrorContext(ctx, "fault of the configuration", "at", f.Origin.String(), "key", f.Key, "fault", f.Message, "hint", f.Hint)
		}
		err = fmt.Errorf("the configuration has faults: %d", len(faults.Faults))
	}
	if err == nil && len(settings.Sources) == 0 {
		err = daemon.ErrNoSchedule
	}
	if err != nil {
		return daemon.Settings{}, err
	}
	s.log.InfoContext(ctx, "configuration read", "file", cfg.File, "changed", strings.Join(changed, ", "))
	return settings, nil
}

// fixed says why a key may not change by a reload; empty where it may.
func fixed(key string) string {
	switch key {
	case "state.dir":
		return "another ledger knows nothing of what this one has sent"
	case "api.id":
		return "the ledger speaks for one API; set api.id to the old one if only the address has changed"
	case "listen.address":
		return "the address is in use until the end"
	}
	return ""
}

var sourceKey = regexp.MustCompile(`^sources\[(\d+)\]\.`)

// changes names what differs between two configurations: keys, and sources that
// were added, changed or removed. Their keys may hold people's names.
func changes(before, after *config.Config) []string {
	old, now := values(before), values(after)
	names := slices.Collect(maps.Keys(old))
	names = slices.AppendSeq(names, maps.Keys(now))
	slices.Sort(names)
	var list []string
	for _, name := range slices.Compact(names) {
		if old[name] != now[name] {
			list = append(list, name)
		}
	}
	return list
}

// values are the effective values by key, and all of a source under its name.
func values(cfg *config.Config) map[string]string {
	all := map[string]string{}
	for _, s := range cfg.Settings() {
		m := sourceKey.FindStringSubmatch(s.Key)
		if m == nil {
			all[s.Key] = s.Value
			continue
		}
		if i, err := strconv.Atoi(m[1]); err == nil && i < len(cfg.Sources) {
			all["source "+cfg.Sources[i].Name] += s.Key[len(m[0]):] + "=" + s.Value + "\n"
		}
	}
	return all
}
