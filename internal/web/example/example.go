// Package example makes up pages and reports, for tests of how they look: a
// big week, nothing at all, a bad day, and names that try to break out.
package example

import (
	"fmt"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
	"github.com/exampleco/tsupload/internal/web"
)

var (
	berlin  = time.FixedZone("CET", 3600)
	now     = time.Date(2026, 11, 24, 9, 41, 0, 0, berlin)
	monday  = timesheet.Date(2026, 11, 16)
	people  = []string{"ada.lovelace", "ben", "chris.van.der.meer", "dana", "elif.yılmaz"}
	project = []string{"StoreZero", "Apollo", "Website relaunch", "Internal", "Fjällräven", "Support", "Data model", "Accessibility audit", "Onboarding", "Research"}
)

// Hostile is a name that means to be more than text.
const Hostile = `</title><script>alert("x")</script><svg onload='alert(1)'>&amp;"'` + "`{{.}}\u202e]]>"

// Hours are those of some people's days, ending on the Sunday after monday.
func hours(weeks, who int) *timesheet.Hours {
	h := &timesheet.Hours{}
	for w := range weeks {
		for d := range 5 {
			day := monday - timesheet.Day(7*w) + timesheet.Day(d)
			for p := range who {
				if (w+p)%9 == 4 {
					continue // a week off
				}
				h.Add(people[p], project[(p+d)%len(project)], day, timesheet.Seconds(4*3600+1800*((d+w+p)%3)))
				h.Add(people[p], project[(p*2+w)%len(project)], day, timesheet.Seconds(2*3600+900*((d*p+w)%7)))
			}
		}
	}
	return h
}

// Page is an overview by name.
type Page struct {
	Name     string
	Overview web.Overview
}

// Pages are overviews.
func Pages() []Page {
	busy := web.Overview{
		Now: now, Version: "1.4.0", API: "https://timesheets.exampleco.com", Level: "L2",
		Promise: "each entry exactly once: a request without an answer is repeated under its idempotency key",
		Verdict: web.Verdict{Tone: web.Good, Line: "Every source was read and everything in it is sent"},
		Sources: []web.Source{
			{
				Name: "acme", Schedule: "0 6 * * *, Europe/Berlin", LastRun: now.Add(-3 * time.Hour), NextRun: now.Add(21 * time.Hour), LastTone: web.Good, LastEnd: "exit 0",
				States: []web.Standing{sent(1460, 5_300_000), skipped(41)},
			},
			{
				Name: "globex-http-export", Schedule: "*/30 7-19 * * 1-5, Europe/Berlin", LastRun: now.Add(-11 * time.Minute), LastTone: web.Good, LastEnd: "exit 0", Running: true,
				States: []web.Standing{{State: timesheet.StateNew, Label: "new", Rows: 14, Seconds: 201600}, sent(812, 3_000_600)},
			},
		},
		Hours: hours(50, 5), Since: monday - 7*51, Today: monday + 8,
		Token:  web.Fact{Tone: web.Good, Text: "expires Tue 24 Nov 2026, 21:03 CET (in 11 hours)"},
		Quota:  web.Fact{Tone: web.Good, Text: "not known: the server does not tell"},
		Ledger: web.Fact{Tone: web.Good, Text: "/var/lib/tsupload, 4 812 KiB"},
	}
	for i := range 30 {
		at := now.Add(-time.Duration(i) * 12 * time.Hour)
		r := web.Run{
			ID: fmt.Sprintf("run-%d", i), Started: at, Ended: at.Add(time.Duration(900+i*1700) * time.Millisecond), Sources: "acme", Tone: web.Good, End: "exit 0",
			Sent: web.Standing{Rows: (i * 7) % 40, Seconds: timesheet.Seconds((i * 7) % 40 * 5400)},
		}
		busy.Runs = append(busy.Runs, r)
	}
	bad := busy
	bad.Verdict = web.Verdict{Tone: web.Bad, Line: "The last run of acme failed: the credentials were refused", Detail: "Check the client's grants: `tsupload auth status`."}
	bad.Sources = []web.Source{
		{
			Name: "acme", Schedule: "0 6 * * *, Europe/Berlin", LastRun: now.Add(-3 * time.Hour), LastTone: web.Bad, LastEnd: "exit 4: credentials or permissions were refused",
			Problem: "the API at https://timesheets.exampleco.com/a/very/long/path/that/does/not/want/to/be/broken/anywhere refused the token: insufficient_scope",
			States: []web.Standing{
				sent(1460, 5_300_000),
				{State: timesheet.StateNew, Label: "new", Rows: 312, Seconds: 900000},
				{State: timesheet.StateHeld, Reason: timesheet.ReasonChanged, Label: "held (changed)", Rows: 21, Seconds: 80000},
				{State: timesheet.StateRejected, Reason: timesheet.ReasonBadDuration, Label: "rejected (bad duration)", Rows: 17},
				{State: timesheet.StateInDoubt, Label: "in doubt", Rows: 9, Seconds: 40000},
				skipped(20),
			},
		},
		{Name: "an_extraordinarily_long_source_name_that_somebody_has_really_given_to_their_source", LastTone: web.Calm, LastEnd: "no run yet"},
		{Name: "old", Gone: true, LastTone: web.Calm, LastEnd: "never", States: []web.Standing{sent(3, 9000)}},
	}
	bad.Waiting, bad.MoreWaiting = matters(), true
	bad.Runs = append([]web.Run(nil), busy.Runs...)
	for i := range bad.Runs {
		r := &bad.Runs[i]
		switch {
		case i == 0:
			r.Tone, r.End, r.Ended = web.Calm, "goes on, or died", time.Time{}
		case i < 4:
			r.Tone, r.End, r.Problem, r.Sent = web.Bad, "exit 4", "the token was refused: insufficient_scope", web.Standing{}
		case i%5 == 0:
			r.Tone, r.End, r.Refused, r.InDoubt = web.Attention, "exit 3", i, i/5
		}
	}
	bad.Token = web.Fact{Tone: web.Bad, Text: "expired 3 hours ago"}
	return []Page{
		{"busy", busy},
		{"empty", web.Overview{Now: now, Version: "1.4.0", Verdict: web.Verdict{Tone: web.Calm, Line: "There has been no run yet"}, Token: web.Fact{Text: "none is kept"}}},
		{"bad", bad},
		{"hostile", hostilePage(bad)},
	}
}

func hostilePage(o web.Overview) web.Overview {
	o.API, o.Verdict.Line, o.Verdict.Detail = Hostile, Hostile, Hostile
	o.Sources = []web.Source{{Name: Hostile, Problem: Hostile, LastEnd: "exit 7", LastTone: web.Bad, States: []web.Standing{sent(2, 7200)}}}
	o.Waiting = []web.Matter{{Ref: "0123", Origin: Hostile, Detail: Hostile, Hint: Hostile, Person: Hostile, Project: Hostile, State: timesheet.StateHeld, Label: "held"}}
	o.Runs = []web.Run{{Started: now, Ended: now, Sources: Hostile, Problem: Hostile, End: "exit 7", Tone: web.Bad}}
	o.Hours = hostileHours()
	o.Token.Text, o.Ledger.Text = Hostile, Hostile
	return o
}

func hostileHours() *timesheet.Hours {
	h := &timesheet.Hours{}
	h.Add(Hostile, Hostile, monday, 3600)
	h.Add("", "", monday+1, 7200)
	h.Add("ada", "\x00", monday+1, 1800)
	return h
}

func sent(n int, s timesheet.Seconds) web.Standing {
	return web.Standing{State: timesheet.StateSent, Label: "sent", Rows: n, Seconds: s}
}

func skipped(n int) web.Standing {
	return web.Standing{State: timesheet.StateSkipped, Label: "skipped", Rows: n}
}

func matters() []web.Matter {
	return []web.Matter{
		{
			Ref: "20261117-4be1", Source: "acme", Origin: "/srv/acme/week47.csv:14", State: timesheet.StateRejected, Label: "rejected (bad duration)",
			Detail: `"eight" is not a duration`, Hint: "write hours as 7.5 or 7:30", Person: "ada.lovelace", Day: "2026-11-17", Project: "Apollo",
		},
		{
			Ref: "20261118-91c0", Source: "acme", Origin: "/srv/acme/week47.csv:15", State: timesheet.StateHeld, Label: "held (changed)",
			Detail: "an entry of this person and day that was sent is no longer in the source", Hint: "mend what was sent in Timesheets by hand, then resolve --skip; or resolve --send to send this one as well",
			Person: "ben", Day: "2026-11-18", Project: "Website relaunch", Seconds: 27000,
		},
		{
			Ref: "20261119-77aa", Source: "acme", Origin: "/srv/acme/a/path/that/is/long/enough/to/be/broken/somewhere/on/a/telephone/week47.csv:1234567", State: timesheet.StateInDoubt, Label: "in doubt",
			Detail: "the connection was cut after the request was sent", Hint: "ask the API (resolve --ask) where it can be read back, or look it up there and say resolve --sent or --not-sent",
			Person: "chris.van.der.meer", Day: "2026-11-19", Project: "Internal", Seconds: 28812,
		},
	}
}

// File is a report by name.
type File struct {
	Name   string
	Report web.Report
}

// Reports are reports.
func Reports() []File {
	week := web.Report{
		Kind: "Dry run", Started: now, Ended: now.Add(41 * time.Millisecond), Version: "1.4.0", Level: "L0",
		Promise: "no entry twice: one without an answer is held in doubt until a person settles it",
		Verdict: web.Verdict{Tone: web.Good, Line: "Would send 9 entries, 37:45 h", Detail: "No row is refused. Nothing was sent and nothing was written."},
		Hours:   hours(1, 1), Next: "tsupload run --once",
		Numbers: []web.Number{
			{Label: "read", Seconds: 135900, Count: 12, Unit: "row"},
			{Label: "would be sent", Seconds: 120000, Count: 9, Unit: "entry"},
			{Label: "known, not sent again", Seconds: 15900, Count: 3, Unit: "entry"},
		},
		Sources: []web.SourceReport{{
			Name: "acme", Rows: 12, Seconds: 135900,
			Files:    []web.File{{Name: "week47.csv", Rows: 12, Decisions: []timesheet.Decision{{What: "date order", Value: "year first", Evidence: "week47.csv:2"}}}},
			Notes:    []string{"the column notes is not used"},
			Outcomes: []web.Standing{{State: timesheet.StateNew, Label: "new", Rows: 9, Seconds: 120000}, {State: timesheet.StateSent, Label: "known", Rows: 3, Seconds: 15900}},
		}},
	}
	big := week
	big.Kind, big.RunID, big.Ended, big.Hours = "Run", "20261124T084100Z-5f1c9d3e", now.Add(83*time.Second), hours(1, 5)
	big.Verdict = web.Verdict{Tone: web.Attention, Line: "Sent 4 318 entries, 1 204:30 h; 3 wait for a person", Detail: "Below stands where each is and what to do."}
	big.Waiting, big.MoreWaiting = matters(), true
	big.Sources = append([]web.SourceReport(nil), week.Sources...)
	big.Sources[0].Outcomes = append(big.Sources[0].Outcomes, web.Standing{State: timesheet.StateRejected, Label: "rejected (bad duration)", Rows: 2}, web.Standing{State: timesheet.StateHeld, Label: "held (changed)", Rows: 1})
	failed := web.Report{
		Kind: "Run", RunID: "20261124T084100Z-5f1c9d3e", Started: now, Ended: now.Add(2 * time.Second), Version: "1.4.0",
		Verdict: web.Verdict{Tone: web.Bad, Line: "The run failed", Detail: "Nothing was sent."},
		Error:   "the ledger is held by process 4711", Hint: "wait for it to end",
	}
	year := week
	year.Hours = hours(50, 2)
	long := week
	long.Hours = hours(400, 3)
	hostile := big
	hostile.Kind, hostile.Hours, hostile.Error, hostile.Hint, hostile.Next = "Run", hostileHours(), Hostile, Hostile, Hostile
	hostile.Verdict = web.Verdict{Tone: web.Bad, Line: Hostile, Detail: Hostile}
	hostile.Sources = []web.SourceReport{{Name: Hostile, Error: Hostile, Hint: Hostile, Notes: []string{Hostile}, Files: []web.File{{Name: Hostile, Decisions: []timesheet.Decision{{What: Hostile, Value: Hostile, Evidence: Hostile}}}}}}
	hostile.Waiting = hostilePage(web.Overview{}).Waiting
	return []File{{"week", week}, {"big", big}, {"failed", failed}, {"year", year}, {"decade", long}, {"hostile", hostile}}
}
