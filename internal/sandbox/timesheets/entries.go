package timesheets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

var (
	errApproved = errors.New("the entry is approved")
	errNotOwn   = errors.New("the entry is another's")
	errOwnHours = errors.New("the entry is the caller's own")
)

// get answers GET /timesheets/{id}.
func (s *Server) get(w http.ResponseWriter, r *http.Request, c caller) {
	var body []byte
	found, err := s.store.change(context.WithoutCancel(r.Context()), c.sees, r.PathValue("id"), func(e entry) error {
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
	e, bad := parseEntry(raw, new(bytes.Buffer), &c)
	if orders := ordersFrom(r.Context()); orders.ItemStatus > 0 {
		bad = orders.refusal()
	}
	if bad != nil {
		writeProblem(w, bad.code(), *bad)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	var body []byte
	found, err := s.store.change(ctx, c.sees, r.PathValue("id"), func(old entry) error {
		if err := c.mayChange(&old); err != nil {
			return err
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
	found, err := s.store.change(ctx, c.sees, r.PathValue("id"), func(e entry) error {
		if err := c.mayChange(&e); err != nil {
			return err
		}
		return s.store.remove(ctx, e.id)
	})
	s.answerOne(w, r, found, err, http.StatusNoContent, nil)
}

func (c *caller) mayChange(e *entry) error {
	switch {
	case !c.owns(e):
		return errNotOwn
	case e.approved:
		return errApproved
	default:
		return nil
	}
}

func (s *Server) answerOne(w http.ResponseWriter, r *http.Request, found bool, err error, status int, body []byte) {
	switch {
	case errors.Is(err, errNotOwn):
		WriteProblem(w, http.StatusForbidden, "not_own", "the entry is another person's; people change their own hours only")
	case errors.Is(err, errOwnHours):
		WriteProblem(w, http.StatusForbidden, "own_hours", "the entry is the caller's own; only an administrator decides on own hours")
	case errors.Is(err, errApproved):
		WriteProblem(w, http.StatusConflict, "approved", "the entry is approved and can no longer be changed")
	case err != nil:
		s.fault(r.Context(), w, err)
	case !found:
		// What the caller does not see is not even shown to exist.
		WriteProblem(w, http.StatusNotFound, "not_found", "there is no such entry among those that the caller sees")
	case status == http.StatusNoContent:
		w.WriteHeader(status)
	default:
		write(w, status, "application/json", body)
	}
}
