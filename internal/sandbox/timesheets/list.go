package timesheets

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// filter is what a listing is narrowed to; empty fields do not narrow.
type filter struct {
	sees                         sight
	userID, from, to, externalID string
	waiting                      bool   // only what is not approved
	without                      string // not this person's
	after                        int64
	limit                        int
}

// list answers GET /timesheets: of what the caller sees, what is asked for.
func (s *Server) list(w http.ResponseWriter, r *http.Request, c caller) {
	s.answerList(w, r, c, filter{sees: c.sees})
}

// approvals answers GET /approvals: what waits for the caller's decision.
func (s *Server) approvals(w http.ResponseWriter, r *http.Request, c caller) {
	f := filter{sees: c.sees, waiting: true}
	if c.claims.Role != people.RoleAdministrator {
		f.without = c.claims.UserID
	}
	s.answerList(w, r, c, f)
}

func (s *Server) answerList(w http.ResponseWriter, r *http.Request, c caller, f filter) {
	if problem := f.read(r.URL.Query(), &c); problem != "" {
		WriteProblem(w, http.StatusBadRequest, "invalid_request", problem)
		return
	}
	page := f.limit
	f.limit++ // one more tells whether there is another page
	entries, err := s.store.list(context.WithoutCancel(r.Context()), f)
	if err != nil {
		s.fault(r.Context(), w, err)
		return
	}
	b := []byte(`{"timesheets":[`)
	for i := range min(len(entries), page) {
		if i > 0 {
			b = append(b, ',')
		}
		b = entries[i].appendJSON(b)
	}
	b = append(b, ']')
	if len(entries) > page {
		b = strconv.AppendInt(append(b, `,"next_cursor":"`...), entries[page-1].id, 10)
		b = append(b, '"')
	}
	write(w, http.StatusOK, "application/json", append(b, '}'))
}

// read takes the parameters of a listing and returns what is wrong with them, if
// anything.
func (f *filter) read(q url.Values, c *caller) string {
	f.userID, f.externalID, f.from, f.to = q.Get("user_id"), q.Get("external_id"), q.Get("from"), q.Get("to")
	if f.userID == "me" && c.kind == person {
		f.userID = c.claims.UserID
	}
	for name, value := range map[string]*string{"from": &f.from, "to": &f.to} {
		day, ok := calendarDay(*value)
		if !ok {
			return name + " is neither a date nor an RFC 3339 time"
		}
		*value = day
	}
	f.limit = defaultPage
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return "limit is not a number above 0"
		}
		f.limit = min(n, maxPage)
	}
	if v := q.Get("cursor"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return "cursor is not one that this API gave"
		}
		f.after = n
	}
	return ""
}

// calendarDay takes YYYY-MM-DD, or a time and of it the day it shows.
func calendarDay(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return s, true
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return s[:len(time.DateOnly)], true
	}
	return "", false
}

// where is the filter as the condition of a query.
func (f *filter) where() (condition string, args []any) {
	var b strings.Builder
	b.WriteString(`id > ?`)
	args = append(args, f.after)
	switch {
	case f.sees.all:
	case f.sees.uploader != "":
		b.WriteString(` AND client = ?`)
		args = append(args, f.sees.uploader)
	default:
		// An empty list is well-formed here, and matches nobody.
		b.WriteString(` AND user_id IN (` + strings.TrimSuffix(strings.Repeat(`?,`, len(f.sees.people)), `,`) + `)`)
		for _, id := range f.sees.people {
			args = append(args, id)
		}
	}
	for _, cond := range []struct{ sql, value string }{
		{` AND user_id = ?`, f.userID},
		{` AND user_id <> ?`, f.without},
		{` AND day >= ?`, f.from},
		{` AND day <= ?`, f.to},
		{` AND external_id <> '' AND external_id = ?`, f.externalID},
	} {
		if cond.value != "" {
			b.WriteString(cond.sql)
			args = append(args, cond.value)
		}
	}
	if f.waiting {
		b.WriteString(` AND NOT approved`)
	}
	return b.String(), args
}

func (s *store) list(ctx context.Context, f filter) ([]entry, error) {
	where, args := f.where()
	var query strings.Builder
	query.WriteString(`SELECT ` + columns + ` FROM entries WHERE `)
	query.WriteString(where)
	query.WriteString(` ORDER BY id LIMIT ?`)
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.conn.QueryContext(ctx, query.String(), append(args, f.limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
