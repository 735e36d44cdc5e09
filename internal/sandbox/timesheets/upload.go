package timesheets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxObject = 1 << 20
	maxArray  = 16 << 20
	maxItems  = 2000
)

// upload is what one request asks to be stored.
type upload struct {
	batch   bool
	entries []entry      // the good ones, in order
	items   []*itemError // one for each item received; nil where it is good
}

// upload answers POST /timesheets/upload, and POST /timesheets.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, c caller) {
	orders := ordersFrom(r.Context())
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	key, err := idempotencyKey(r, c.owner(), body)
	if err != nil {
		WriteProblem(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	up, ok := parseUpload(w, body, &c, orders)
	if !ok {
		return
	}
	if !s.running.enter(key) {
		WriteProblem(w, http.StatusConflict, "idempotency_in_progress", "a request with this Idempotency-Key is still under way")
		return
	}
	// What was begun is finished, whether or not the client waits for it.
	ctx := context.WithoutCancel(r.Context())
	if orders.Late > 0 {
		orders.Drop()
		s.late.Go(func() {
			defer s.running.leave(key)
			timer := time.NewTimer(orders.Late)
			defer timer.Stop()
			select {
			case <-timer.C:
				if _, err := s.store.upload(ctx, up, key); err != nil && !errors.Is(err, errKeyReused) {
					s.log.WarnContext(ctx, "late commit did not happen", "err", err)
				}
			case <-s.done:
			}
		})
		return
	}
	a, err := s.store.upload(ctx, up, key)
	s.running.leave(key)
	switch {
	case errors.Is(err, errKeyReused):
		WriteProblem(w, http.StatusUnprocessableEntity, "idempotency_key_reused", "this Idempotency-Key was used with another body")
		return
	case err != nil:
		s.fault(ctx, w, err)
		return
	}
	if a.replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	write(w, a.status, "application/json", a.body)
}

func (s *Server) fault(ctx context.Context, w http.ResponseWriter, err error) {
	level := slog.LevelError
	select {
	case <-s.done: // the database was closed under the request, as it should be
		level = slog.LevelDebug
	default:
	}
	s.log.Log(ctx, level, "sandbox database", "err", err)
	WriteProblem(w, http.StatusInternalServerError, "internal", "the sandbox's database does not work")
}

// readBody reads a JSON body up to the limit for its kind.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	// The usual value is compared first: parsing it is dear at this rate.
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		media, params, err := mime.ParseMediaType(ct)
		if err != nil || media != "application/json" {
			WriteProblem(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
			return nil, false
		}
		if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
			WriteProblem(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be in UTF-8")
			return nil, false
		}
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && ce != "identity" {
		WriteProblem(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must not be compressed")
		return nil, false
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= maxArray {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxArray))
	body := bytes.TrimSpace(buf.Bytes())
	tooLarge := func() ([]byte, bool) {
		WriteProblem(w, http.StatusRequestEntityTooLarge, "too_large", "the body is larger than this API takes")
		return nil, false
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge()
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// The client broke off: nothing was received, nothing is done.
			panic(http.ErrAbortHandler)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			WriteProblem(w, http.StatusRequestTimeout, "timeout", "the body took too long to arrive")
			return nil, false
		}
		WriteProblem(w, http.StatusBadRequest, "invalid_request", "the body cannot be read")
		return nil, false
	}
	if len(body) > maxObject && body[0] != '[' {
		return tooLarge()
	}
	if !utf8.Valid(body) {
		WriteProblem(w, http.StatusBadRequest, "malformed_json", "the body is not in UTF-8")
		return nil, false
	}
	return body, true
}

// parseUpload reads one object or an array of them. It answers itself where the
// request fails as a whole.
func parseUpload(w http.ResponseWriter, body []byte, c *caller, orders Orders) (*upload, bool) {
	up := &upload{batch: len(body) > 0 && body[0] == '['}
	var raws []json.RawMessage
	var err error
	if up.batch {
		err = json.Unmarshal(body, &raws)
	} else {
		raws = []json.RawMessage{body}
		if !json.Valid(body) {
			err = errors.New("not JSON")
		}
	}
	if err != nil {
		WriteProblem(w, http.StatusBadRequest, "malformed_json", "the body is not valid JSON")
		return nil, false
	}
	limit := maxItems
	if orders.MaxItems > 0 {
		limit = orders.MaxItems
	}
	if up.batch && len(raws) > limit {
		WriteProblem(w, http.StatusRequestEntityTooLarge, "too_many_items", "an array may have at most "+strconv.Itoa(limit)+" items")
		return nil, false
	}
	up.entries = make([]entry, 0, len(raws))
	up.items = make([]*itemError, len(raws))
	var scratch bytes.Buffer
	for i, raw := range raws {
		e, bad := parseEntry(raw, &scratch, c)
		if orders.ItemStatus > 0 && i == len(raws)/2 {
			bad = orders.refusal()
		}
		if bad != nil {
			up.items[i] = bad
			continue
		}
		e.client = c.owner()
		up.entries = append(up.entries, e)
	}
	if !up.batch && up.items[0] != nil {
		writeProblem(w, up.items[0].code(), *up.items[0])
		return nil, false
	}
	return up, true
}

// upload stores the good entries, the key and the answer in one transaction, or
// finds the answer that the key already has.
func (s *store) upload(ctx context.Context, up *upload, key *reservation) (a answer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == nil && len(up.entries) == 1 {
		// One statement is a transaction by itself.
		err := s.add(ctx, up.entries)
		return up.answer(), err
	}
	err = s.inTx(ctx, func() error {
		if key != nil {
			first, ok, err := s.recallAnswer(ctx, key)
			if err != nil || ok {
				a = first
				return err
			}
		}
		if err := s.add(ctx, up.entries); err != nil {
			return err
		}
		a = up.answer()
		if key != nil {
			return s.keepAnswer(ctx, key, a)
		}
		return nil
	})
	return a, err
}

// answer renders the outcome, once the entries have their ids.
func (up *upload) answer() answer {
	if !up.batch {
		return answer{status: http.StatusCreated, body: up.entries[0].appendJSON(nil)}
	}
	a := answer{status: http.StatusOK}
	b := make([]byte, 0, 16+64*len(up.items))
	b = append(b, `{"results":[`...)
	next := 0
	for i, bad := range up.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"index":`...), int64(i), 10)
		if bad != nil {
			a.status = http.StatusMultiStatus
			b = strconv.AppendInt(append(b, `,"status":`...), int64(bad.code()), 10)
			b = appendString(append(b, `,"error":{"code":`...), bad.Code)
			b = appendString(append(b, `,"message":`...), bad.Message)
			if bad.Field != "" {
				b = appendString(append(b, `,"field":`...), bad.Field)
			}
			b = append(b, `}}`...)
			continue
		}
		e := &up.entries[next]
		next++
		if e.externalID != "" {
			b = appendString(append(b, `,"external_id":`...), e.externalID)
		}
		b = append(b, `,"status":201,"id":"`...)
		b = strconv.AppendInt(b, e.id, 10)
		b = append(b, `"}`...)
	}
	a.body = append(b, `]}`...)
	return a
}
