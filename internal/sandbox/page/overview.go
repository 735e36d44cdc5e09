package page

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shown is how many entries and weeks the page lists at most.
const (
	shownEntries = 100
	shownWeeks   = 26
)

// view is what the templates show.
type view struct {
	Session *session // nil where nobody is logged in
	Problem string
	Flash   string

	Person                             person
	MayRead, MayAdd, MayDelete, Decide bool
	Weeks                              []week
	Entries                            []entry
	Total                              int  // of entries
	More                               bool // and even more
	Waiting                            []entry
	MoreWaiting                        bool
	Form                               form
}

// form is the entry that is being entered.
type form struct{ Day, Project, Hours string }

// overview is the page.
func (p *Page) overview(w http.ResponseWriter, r *http.Request) {
	s := p.session(r)
	if s == nil {
		p.render(w, r, http.StatusOK, "welcome.html", view{})
		return
	}
	p.show(w, r, s, http.StatusOK, "", form{Day: time.Now().Format(time.DateOnly)})
}

// show renders the page; problem is what went wrong before.
func (p *Page) show(w http.ResponseWriter, r *http.Request, s *session, status int, problem string, f form) {
	v := view{
		Session: s, Problem: problem, Flash: p.sessions.said(s), Form: f,
		MayRead: s.may(scopeRead), MayAdd: s.may(scopeCreate), MayDelete: s.may(scopeDelete),
	}
	if err := p.collect(r.Context(), s, &v); err != nil {
		status, text := p.failed(r.Context(), s, err)
		p.message(w, r, status, text)
		return
	}
	p.render(w, r, status, "overview.html", v)
}

// collect asks the API for what the person may see.
func (p *Page) collect(ctx context.Context, s *session, v *view) error {
	if v.MayRead {
		if err := p.api.call(ctx, s.token, http.MethodGet, "/me", nil, &v.Person); err != nil {
			return err
		}
		entries, more, err := p.api.list(ctx, s.token, "/timesheets", url.Values{"user_id": {"me"}})
		if err != nil {
			return err
		}
		v.Weeks, v.Total, v.More = perWeek(entries), len(entries), more
		v.Weeks = v.Weeks[:min(len(v.Weeks), shownWeeks)]
		slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(b.Day(), a.Day()) })
		v.Entries = entries[:min(len(entries), shownEntries)]
	}
	// Whether the role goes with the scope, the authorization server has seen to.
	if v.Decide = s.may(scopeApprove); v.Decide {
		waiting, more, err := p.api.list(ctx, s.token, "/approvals", url.Values{})
		if err != nil {
			return err
		}
		slices.SortStableFunc(waiting, func(a, b entry) int { return cmp.Compare(a.Day(), b.Day()) })
		v.Waiting, v.MoreWaiting = waiting[:min(len(waiting), shownEntries)], more || len(waiting) > shownEntries
	}
	return nil
}

// addEntry enters hours for the person who is logged in; whose they are, the
// token says.
func (p *Page) addEntry(w http.ResponseWriter, r *http.Request, s *session) {
	f := form{Day: r.PostFormValue("day"), Project: strings.TrimSpace(r.PostFormValue("project")), Hours: strings.TrimSpace(r.PostFormValue("hours"))}
	hours, err := strconv.ParseFloat(strings.Replace(f.Hours, ",", ".", 1), 64)
	if err != nil || strings.Trim(f.Hours, "0123456789,.") != "" { // ParseFloat knows NaN, 0x1p3 and 1e1 too
		p.show(w, r, s, http.StatusUnprocessableEntity, "The hours are not a number such as 7.5.", f)
		return
	}
	if _, err := time.Parse(time.DateOnly, f.Day); err != nil {
		p.show(w, r, s, http.StatusUnprocessableEntity, "The day is not a date such as 2026-01-31.", f)
		return
	}
	entered := map[string]any{"date": f.Day + "T00:00:00.000Z", "project": f.Project, "hours": hours}
	if err := p.api.call(r.Context(), s.token, http.MethodPost, "/timesheets", entered, nil); err != nil {
		p.refuse(w, r, s, err, f)
		return
	}
	p.sessions.say(s, "Entered for "+f.Day+": "+entry{Hours: hours}.Spoken()+" on "+f.Project+".")
	p.home(w, r)
}

func (p *Page) deleteEntry(w http.ResponseWriter, r *http.Request, s *session) {
	if err := p.api.call(r.Context(), s.token, http.MethodDelete, "/timesheets/"+url.PathEscape(r.PathValue("id")), nil, nil); err != nil {
		p.refuse(w, r, s, err, form{})
		return
	}
	p.sessions.say(s, "The entry was deleted.")
	p.home(w, r)
}

func (p *Page) approve(w http.ResponseWriter, r *http.Request, s *session) {
	var approved entry
	err := p.api.call(r.Context(), s.token, http.MethodPut, "/approvals/"+url.PathEscape(r.PathValue("id")), map[string]bool{"approved": true}, &approved)
	if err != nil {
		p.refuse(w, r, s, err, form{})
		return
	}
	p.sessions.say(s, "Approved: "+approved.Spoken()+" of "+approved.UserID+" on "+approved.Day()+".")
	p.home(w, r)
}

// refuse shows the page again, with what the API said.
func (p *Page) refuse(w http.ResponseWriter, r *http.Request, s *session, err error, f form) {
	status, text := p.failed(r.Context(), s, err)
	if p.session(r) == nil {
		p.message(w, r, status, text)
		return
	}
	p.show(w, r, s, status, "Refused: "+text, f)
}
