package page

import (
	"strings"
	"testing"
)

func TestPerWeek(t *testing.T) {
	t.Parallel()
	weeks := perWeek([]entry{
		{Date: "2026-01-05T00:00:00.000Z", Hours: 7.5},   // a Monday
		{Date: "2026-01-11T23:30:00+02:00", Hours: 0.25}, // the Sunday of that week, in its own zone
		{Date: "2026-01-12T00:00:00Z", Hours: 8},         // the next
		{Date: "2026-01-01T00:00:00Z", Hours: 1.0 / 3},   // week 1
		{Date: "2025-12-29T00:00:00Z", Hours: 0.0003},    // of 2026 too
		{Date: "2025-12-28T00:00:00Z", Hours: 4},         // week 52 of 2025
		{Date: "never", Hours: 4},
	})
	var got []string
	for _, w := range weeks {
		got = append(got, strings.Join([]string{w.Monday, amount(int64(w.Year * 3600)), amount(int64(w.Number * 3600)), amount(int64(w.Entries * 3600)), w.Amount(), amount(int64(w.Share() * 3600))}, " "))
	}
	want := "2026-01-12 2026 3 1 8 100\n2026-01-05 2026 2 2 7.75 96\n2025-12-29 2026 1 2 0.3336 4\n2025-12-22 2025 52 1 4 50"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	all := newSessions()
	first := &session{}
	all.add(first, sessionLimit/2)
	for range maxSessions {
		all.add(&session{}, sessionLimit)
	}
	if len(all.m) != maxSessions || all.find(first.id) != nil {
		t.Errorf("%d sessions, and the one that ends first is there: %v", len(all.m), all.find(first.id) != nil)
	}
	over := &session{}
	all.add(over, 0)
	if all.find(over.id) != nil || all.m[over.id] != nil {
		t.Error("a session that is over is found")
	}
}
