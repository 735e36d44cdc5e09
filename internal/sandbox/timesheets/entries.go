package timesheets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

var errApproved = errors.New("the entry is approved")

// list answers GET /timesheets: what the calling machine uploaded.
func (s *Server) list(w http.ResponseWriter, r *http.Request, c caller) {
	q := r.URL.Query()
	f := filter{
		client: c.client, userID: q.Get("user_id"), externalID: q.Get("external_id"),
		from: q.Get("from"), to: q.Get("to"), limit: defaultPage,
	}
	for name, value := range map[string]*string{"from": &f.from, "to": &f.to} {
		day, ok := calendarDay(*value)
		if !ok {
			WriteProblem(w, http.StatusBadRequest, "invalid_request", name+" is neither a date nor an RFC 3339 time")
			return
		}
		*value = day
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			WriteProblem(w, http.StatusBadRequest, "invalid_request", "limit is not a number above 0")
			return
		}
		f.limit = min(n, maxPage)
	}
	if v := q.Get("cursor"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			WriteProblem(w, http.StatusBadRequest, "invalid_request", "cursor is not one that this API gave")
			return
		}
		f.after = n
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

// get answers GET /timesheets/{id}.
func (s *Server) get(w http.ResponseWriter, r *http.Request, c caller) {
	var body []byte
	found, err := s.store.change(context.WithoutCancel(r.Context()), c.client, r.PathValue("id"), func(e entry) error {
		body = e.appendJSON(nil)
		return nil
	})
	s.answerOne(w, r, found, err, http.StatusOK, body)
}

// replace answers PUT /timesheets/{id}. Repeating it changes nothing more.
func (s *Server) replace(w http.ResponseWriter, r *http.Request, c caller) {
	raw, ok := readBody(w, r)
	if !ok {
		return
	}
	if !json.Valid(raw) {
		WriteProblem(w, http.StatusBadRequest, "malformed_json", "the body is not valid JSON")
		return
	}
	e, bad := parseEntry(raw, new(bytes.Buffer))
	if status := ordersFrom(r.Context()).ItemStatus; status > 0 {
		writeProblem(w, status, itemError{Code: "refused", Message: "this entry is refused by order of a fault"})
		return
	}
	if bad != nil {
		writeProblem(w, http.StatusUnprocessableEntity, *bad)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	var body []byte
	found, err := s.store.change(ctx, c.client, r.PathValue("id"), func(old entry) error {
		if old.approved {
			return errApproved
		}
		e.id, e.client = old.id, old.client
		body = e.appendJSON(nil)
		return s.store.update(ctx, &e)
	})
	s.answerOne(w, r, found, err, http.StatusOK, body)
}

// remove answers DELETE /timesheets/{id}.
func (s *Server) remove(w http.ResponseWriter, r *http.Request, c caller) {
	ctx := context.WithoutCancel(r.Context())
	found, err := s.store.change(ctx, c.client, r.PathValue("id"), func(e entry) error {
		if e.approved {
			return errApproved
		}
		return s.store.remove(ctx, e.id)
	})
	s.answerOne(w, r, found, err, http.StatusNoContent, nil)
}

func (s *Server) answerOne(w http.ResponseWriter, r *http.Request, found bool, err error, status int, body []byte) {
	switch {
	case errors.Is(err, errApproved):
		WriteProblem(w, http.StatusConflict, "approved", "the entry is approved and can no longer be changed")
	case err != nil:
		s.fault(r.Context(), w, err)
	case !found:
		// Another client's entry is not even shown to exist.
		WriteProblem(w, http.StatusNotFound, "not_found", "there is no such entry among this client's")
	case status == http.StatusNoContent:
		w.WriteHeader(status)
	default:
		write(w, status, "application/json", body)
	}
}
