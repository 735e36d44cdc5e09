package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseDeadline reads a weekday and a time of day such as "Fri 12:00"; the
// duration counts from midnight.
func ParseDeadline(text string) (time.Weekday, time.Duration, error) {
	name, clock, _ := strings.Cut(text, " ")
	weekday := slices.IndexFunc([]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}, func(d string) bool { return strings.EqualFold(d, name) })
	t, err := time.Parse("15:04", strings.TrimSpace(clock))
	if weekday < 0 || err != nil {
		return 0, 0, fmt.Errorf("%s is not a deadline", quote(text))
	}
	return time.Weekday(weekday), time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

func (l *loader) validateNotify() {
	n := &l.cfg.Notify
	l.repeated("notify.holidays", n.Holidays)
	for i := range n.Webhooks {
		w, key := &n.Webhooks[i], "notify.webhooks["+strconv.Itoa(i)+"]"
		l.told(key+".on", w.On)
		if w.Template == "" {
			continue
		}
		if l.cfg.origins[key+".preset"] != (Origin{}) {
			l.complain(key+".template", "excludes preset", "remove one of both")
		}
		if l.opts.ValidateTemplate != nil {
			if err := l.opts.ValidateTemplate(w.Template); err != nil {
				l.complain(key+".template", err.Error(), `a Go text/template that makes JSON, such as {"content": {{json .Text}}}`)
			}
		}
	}
	if n.Hook != nil {
		l.told("notify.hook.on", n.Hook.On)
		empty := len(n.Hook.Command) == 0 && l.cfg.origins["notify.hook.command"] != (Origin{})
		if empty || len(n.Hook.Command) > 0 && n.Hook.Command[0] == "" {
			l.complain("notify.hook.command", "names no program", "write [PROGRAM, ARGUMENT, ...]")
		}
	}
	if len(n.Silence) > 0 && !n.tells("silence") && !l.badBelow("notify") {
		l.complain("notify.silence", "nobody is told of it", "give notify.webhooks or notify.hook, with silence in their on, if they have one; pings tell of runs alone")
	}
	for i := range n.Silence {
		l.validateSilence(&n.Silence[i], "notify.silence["+strconv.Itoa(i)+"]")
	}
}

// tells finds whether anybody is told of a kind of event.
func (n *Notify) tells(kind string) bool {
	asks := func(on []string) bool { return len(on) == 0 || slices.Contains(on, kind) }
	return n.Hook != nil && asks(n.Hook.On) || slices.ContainsFunc(n.Webhooks, func(w Webhook) bool { return asks(w.On) })
}

// told checks which events are told.
func (l *loader) told(key string, on []string) {
	l.repeated(key, on)
	if len(on) == 0 && l.cfg.origins[key] != (Origin{}) {
		l.complain(key, "names nothing", "leave it out to tell everything")
	}
	if len(on) == 1 && on[0] == "recovery" {
		l.complain(key, "names recovery alone", "add what to recover from: failure, rejected, held, in_doubt or silence")
	}
}

func (l *loader) validateSilence(s *Silence, key string) {
	if l.badBelow(key) {
		return
	}
	var kinds []string
	for _, k := range []struct {
		name  string
		given bool
	}{{"working_days", s.WorkingDays > 0}, {"expected_hours", s.ExpectedHours > 0}, {"unchanged_for", s.UnchangedFor > 0}} {
		if k.given {
			kinds = append(kinds, k.name)
		}
	}
	given := func(name string) bool { return l.cfg.origins[key+"."+name] != (Origin{}) }
	switch {
	case len(kinds) == 0:
		l.complain(key, "says nothing to watch", "give one of working_days, expected_hours and unchanged_for")
		return
	case len(kinds) > 1:
		l.complain(key, "gives several: "+strings.Join(kinds, ", "), "make a rule of each")
		return
	case kinds[0] == "expected_hours" && s.Deadline == "":
		l.complain(key+".deadline", "is missing", "when the week is judged, such as Fri 12:00")
	case kinds[0] == "expected_hours" && s.Below >= s.ExpectedHours:
		l.complain(key+".below", "allows a week without any hours", "less than expected_hours")
	case kinds[0] == "unchanged_for" && s.Source == "":
		l.complain(key+".source", "is missing", "name the source that is watched")
	case kinds[0] == "unchanged_for" && s.User != "":
		l.complain(key+".user", "has no meaning with unchanged_for", "remove it; working_days watches a person")
	}
	if kinds[0] != "expected_hours" {
		for _, name := range []string{"deadline", "week", "below", "above"} {
			if given(name) {
				l.complain(key+"."+name, "has no meaning without expected_hours", "remove it")
			}
		}
	}
	zones, known := map[string]bool{}, false
	for i := range l.cfg.Sources {
		zones[l.cfg.Sources[i].Timezone] = true
		known = known || l.cfg.Sources[i].Name == s.Source
	}
	switch {
	case s.Source != "" && !known:
		l.complain(key+".source", "there is no source "+quote(s.Source), "one of the names in sources")
	case s.Source == "" && len(zones) > 1:
		l.complain(key+".source", "is missing", "the sources have different zones, and a day is a day in one of them")
	}
}
