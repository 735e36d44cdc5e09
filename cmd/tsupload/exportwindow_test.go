package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// missing lists the ids of entries that are flagged as gone.
func (w *world) missing() (ids []string) {
	w.tb.Helper()
	out, _ := w.do(exitOK, "entries", "-o", "json")
	for _, o := range w.objects(out, "entry") {
		if o["missing"] == true {
			ids = append(ids, o["id"].(string))
		}
	}
	slices.Sort(ids)
	return ids
}

// TestExportWindow: within the window that is asked for a changed entry is held
// and one that is gone is flagged, also the only one of its day; outside of it,
// and on its first and last day, nothing is.
func TestExportWindow(t *testing.T) {
	t.Parallel()
	all := []string{
		entry(1, 50, "1"), entry(2, 35, "2"), entry(3, 35, "2.5"), entry(4, 20, "3"), entry(5, 20, "4"), entry(6, 10, "5"), entry(7, 1, "6"), entry(8, 0, "1"),
	}
	only := func(ids ...int) (list []string) {
		for _, id := range ids {
			list = append(list, all[id-1])
		}
		return list
	}
	b, w := newDaybook(t, all...), newWorld(t)
	w.more = b.source("since: 60d")
	w.do(exitOK, "ledger", "create")
	w.do(exitOK, "run", "--once", "--source", "tracker")
	w.more = b.source("since: 35d")
	for _, c := range []struct {
		name    string
		entries []string
		exit    int
		flags   []string
		source  []string
		missing string
		says    string
	}{
		{"all in the window", only(2, 3, 4, 5, 6, 7, 8), exitOK, nil, nil, "", "sent 0 entries"},
		{"one changed", append(only(3, 5, 6, 7, 8), entry(4, 20, "3.5")), exitPerson, nil, nil, "", "held (changed)"},
		{"changed back", only(2, 3, 4, 5, 6, 7, 8), exitOK, nil, nil, "", "sent 0 entries"},
		{"gone on a day with others, and on one without", only(3, 5, 7, 8), exitOK, nil, nil, "4 6", "2 sent entries are gone"},
		{"back", only(2, 3, 4, 5, 6, 7, 8), exitOK, nil, nil, "", "sent 0 entries"},
		{"gone at the ends", only(3, 4, 5, 6, 7), exitOK, nil, nil, "", "sent 0 entries"},
		{"a part of the window", only(7), exitOK, []string{"--since", time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly)}, nil, "", "sent 0 entries"},
		{"a shorter window", only(7), exitOK, nil, []string{"since: 7d"}, "", "sent 0 entries"},
		{"several pages", only(7), exitOK, nil, []string{"since: 35d", "page: {parameter: p}", "max_pages: 2"}, "", ""},
		{"nobody there", nil, exitOK, nil, nil, "", "sent 0 entries"},
		{"all but one gone", only(7), exitOK, nil, nil, "4 5 6", "3 sent entries are gone"},
	} {
		w.more = b.source("since: 35d")
		if c.source != nil {
			w.more = b.source(c.source...)
		}
		b.entries = c.entries
		if c.name == "several pages" {
			// The same again would be a server without pages.
			b.pages = []string{"[" + c.entries[0] + "]", "[]"}
		}
		out, _ := w.do(c.exit, append([]string{"run", "--once", "--source", "tracker"}, c.flags...)...)
		if got := strings.Join(w.missing(), " "); got != c.missing || !strings.Contains(out, c.says) {
			t.Errorf("%s: got %q flagged, want %q, and %q:\n%s", c.name, got, c.missing, c.says, out)
		}
	}
	if got := len(w.refs("sent")); got != 8 {
		t.Errorf("got %d sent, want 8", got)
	}
}
