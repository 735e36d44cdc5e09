package config

import (
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// derive fills in the defaults that depend on other keys.
func (l *loader) derive() {
	c := l.cfg
	// A slash at the end would make another id of the same API.
	c.API.URL = strings.TrimRight(c.API.URL, "/")
	if c.API.ID == "" {
		c.API.ID = c.API.URL
		l.inherit("api.id", "api.url")
	}
	if _, given := c.origins["api.batch_size"]; !given {
		c.API.BatchSize = 1
		if c.Supports("batch") {
			c.API.BatchSize = 500
		}
	}
	l.deriveAuth()
	if c.State.Dir == "" {
		var o Origin
		c.State.Dir, o = stateDir(l.opts)
		if o != (Origin{}) {
			c.origins["state.dir"] = o
		}
	}
	for i := range c.Sources {
		s, key := &c.Sources[i], "sources["+strconv.Itoa(i)+"]"
		if s.CSV != nil && s.CSV.Delimiter == "tab" {
			s.CSV.Delimiter = "\t"
		}
		if s.Exec != nil && s.Exec.Delimiter == "tab" {
			s.Exec.Delimiter = "\t"
		}
		if s.ID == "" {
			s.ID = s.Name
			l.inherit(key+".id", key+".name")
		}
		for f := range reflect.TypeFor[Rules]().Fields() {
			if _, given := c.origins[key+".rules."+keyOf(f)]; !given {
				l.inherit(key+".rules."+keyOf(f), "rules."+keyOf(f))
			}
		}
	}
}

// inherit notes that the value of key came from where other came from.
func (l *loader) inherit(key, other string) {
	if o, ok := l.cfg.origins[other]; ok {
		l.cfg.origins[key] = o
	}
}

// stateDir is where ledger and tokens lie when state.dir is not given, and the
// variable that decided it.
func stateDir(o LoadOptions) (string, Origin) {
	if d := o.getenv("STATE_DIRECTORY"); d != "" {
		// systemd lists several, separated by colons; the first is ours.
		first, _, _ := strings.Cut(d, ":")
		if runtime.GOOS == "windows" {
			first = d
		}
		return first, Origin{Env: "STATE_DIRECTORY"}
	}
	if o.Root {
		return "/var/lib/tsupload", Origin{}
	}
	if d := o.getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "tsupload"), Origin{Env: "XDG_STATE_HOME"}
	}
	if d := o.getenv("LOCALAPPDATA"); runtime.GOOS == "windows" && d != "" {
		return filepath.Join(d, "tsupload"), Origin{Env: "LOCALAPPDATA"}
	}
	if o.Home == "" {
		return "", Origin{}
	}
	return filepath.Join(o.Home, ".local", "state", "tsupload"), Origin{}
}
