package config

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Origin is where the value of key came from; the zero Origin is the default.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// Setting is one effective value, ready to be shown.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// Settings lists all effective values in the order of the manual. A secret
// shows as its reference. Keys of sources and of
// the lists of notify that are neither given nor have a
// default are left out.
func (c *Config) Settings() []Setting {
	var list []Setting
	leaves(reflect.ValueOf(c).Elem(), "", "", func(lf leaf) {
		o := c.origins[lf.key]
		if (strings.HasPrefix(lf.key, "sources") || inNotifyList(lf.key)) && lf.v.IsZero() && o == (Origin{}) {
			return
		}
		list = append(list, Setting{Key: lf.key, Value: text(lf.v), Origin: o})
	})
	return list
}

func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case SecretRef:
		return "{" + x.String() + "}"
	case Value:
		if !x.Secret.IsZero() {
			return "{" + x.Secret.String() + "}"
		}
		return strconv.Quote(x.Text)
	case string:
		return strconv.Quote(x)
	case []string:
		quoted := make([]string, len(x))
		for i, s := range x {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	if v.Kind() == reflect.Slice {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = fmt.Sprint(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// Show writes all effective values to w, each with its origin. Secrets are
// never among them.
func (c *Config) Show(w io.Writer) error {
	settings := c.Settings()
	keys, values := 0, 0
	for _, s := range settings {
		keys, values = max(keys, len(s.Key)), max(values, min(len(s.Value), 40))
	}
	file := c.File
	if file == "" {
		file = "none"
	}
	if _, err := fmt.Fprintf(w, "file: %s\n\n", file); err != nil {
		return err
	}
	for _, s := range settings {
		if _, err := fmt.Fprintf(w, "%-*s  %-*s  # %s\n", keys, s.Key, values, s.Value, s.Origin); err != nil {
			return err
		}
	}
	return nil
}
