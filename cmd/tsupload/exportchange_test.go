package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// daybook is an export of JSON whose entries a test changes; the server names its
// state by an ETag.
type daybook struct {
	*httptest.Server
	entries  []string
	pages    []string // bodies, given before entries are
	tagged   bool
	full     int // answers with a body
	same     int // answers without
	requests []string
}

func newDaybook(t *testing.T, entries ...string) *daybook {
	t.Helper()
	b := &daybook{entries: entries}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests = append(b.requests, r.URL.String())
		body := "[" + strings.Join(b.entries, ",") + "]"
		if sum := sha256.Sum256([]byte(body)); b.tagged {
			tag := `"` + hex.EncodeToString(sum[:8]) + `"`
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				b.same++
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		if b.full++; len(b.pages) > 0 {
			body, b.pages = b.pages[0], b.pages[1:]
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(b.Close)
	return b
}

// source reads the book; the further lines go below http.
func (b *daybook) source(lines ...string) string {
	text := fmt.Sprintf(`  - name: tracker
    timezone: UTC
    columns: {id: id, user: user, date: date, project: project, hours: hours}
    http:
      url: %s/entries?from={{since}}
`, b.URL)
	for _, line := range lines {
		text += "      " + line + "\n"
	}
	return text
}

func entry(id, daysAgo int, hours string) string {
	day := time.Now().UTC().AddDate(0, 0, -daysAgo).Format(time.DateOnly)
	return fmt.Sprintf(`{"id":%d,"user":"u-1001","date":%q,"project":"StoreZero","hours":%s}`, id, day, hours)
}

// TestExportUnchanged: what the server says is unchanged is not fetched again,
// unless something of it waits.
func TestExportUnchanged(t *testing.T) {
	t.Parallel()
	b, w := newDaybook(t, entry(1, 3, "7.5"), entry(2, 2, "8")), newWorld(t)
	b.tagged = true
	w.more = b.source()
	w.do(exitOK, "ledger", "create")
	do := func(exit, full, same int, says string) {
		t.Helper()
		b.full, b.same = 0, 0
		out, _ := w.do(exit, "run", "--once", "--source", "tracker")
		if !strings.Contains(out, says) || b.full != full || b.same != same {
			t.Errorf("got %d answers in full and %d without, want %d and %d, and %q:\n%s", b.full, b.same, full, same, says, out)
		}
	}
	do(exitOK, 1, 0, "sent 2 entries, 15:30:00 hours")
	do(exitOK, 0, 1, "unchanged since everything in it was settled")
	do(exitOK, 0, 1, "known     2  15:30:00")

	// What is asked for in parts is read.
	b.full = 0
	w.do(exitOK, "run", "--once", "--source", "tracker", "--since", time.Now().UTC().AddDate(0, 0, -9).Format(time.DateOnly))
	if b.full != 1 {
		t.Errorf("got %d answers in full for a part", b.full)
	}

	// An entry that waits is looked at again in every run.
	b.entries[0] = entry(1, 3, "6")
	do(exitPerson, 1, 0, "held (changed)")
	do(exitPerson, 1, 0, "held (changed)")
	b.entries[0] = entry(1, 3, "7.5")
	do(exitOK, 1, 0, "sent 0 entries")
	do(exitOK, 0, 1, "unchanged")

	// A refused row too: it may be mended by the way of reading.
	b.entries = append(b.entries, entry(3, 1, `"x"`))
	do(exitPerson, 1, 0, "rejected")
	do(exitPerson, 1, 0, "rejected")
}
