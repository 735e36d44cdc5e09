package uploader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// readAnswer reads a body up to what is too large to be evidence. Where its
// length is given, which is nearly always, it takes no more memory than that.
func readAnswer(resp *http.Response) ([]byte, error) {
	room := int64(512)
	if resp.ContentLength > 0 {
		room = min(resp.ContentLength, keptAnswer) + 1 // for the end to be found
	}
	body := make([]byte, 0, room)
	for len(body) <= maxAnswer {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return body, err
		}
		body = slices.Grow(body, 1)
	}
	return body, nil
}

// receiptOf is what is kept of an answer.
func receiptOf(body []byte) []byte {
	if len(body) <= keptAnswer {
		return body
	}
	return bytes.Clone(body[:keptAnswer])
}

// check decides whether the body of a successful answer is evidence.
func (c *client) check(v *verdict, req *request, resp *http.Response, body []byte) {
	if resp.StatusCode == http.StatusNoContent {
		return
	}
	if req.batch {
		c.checkItems(v, req, body)
		return
	}
	if resp.StatusCode == http.StatusMultiStatus {
		v.class, v.detail = Unknown, "status 207 answers a batch, and none was sent"
		return
	}
	if !c.plainlySent(v, req, body) {
		c.checkThoroughly(v, req, body)
	}
}

// checkThoroughly is check for an answer to one entry in any form.
func (c *client) checkThoroughly(v *verdict, req *request, body []byte) {
	if !json.Valid(body) {
		v.class, v.detail = Unknown, "the answer is not one complete JSON value"+looksLike(body)
		return
	}
	v.answer = receiptOf(body)
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return // some other JSON value; it is the receipt
	}
	e, key := &req.parcel.Entries[req.positions[0]], req.parcel.Keys[req.positions[0]]
	for name, got := range object {
		want, sent := c.enc.sent(name, e, key)
		if sent && !sameValue(want, got) {
			v.class, v.detail = Unknown, fmt.Sprintf("the answer echoes another %s than was sent", clean(name))
			return
		}
	}
	v.id = idOf(object["id"])
	if _, sent := c.enc.sent("id", e, key); sent {
		v.id = "" // it echoes ours
	}
}

// plainlySent deals with the usual case: the answer gives an id, or says
// something about the entry, and echoes nothing but what was sent, as it was.
func (c *client) plainlySent(v *verdict, req *request, body []byte) bool {
	e, key := &req.parcel.Entries[req.positions[0]], req.parcel.Keys[req.positions[0]]
	var id []byte
	if !scanObject(body, func(name, value []byte) bool {
		want, sent := c.enc.sent(string(name), e, key)
		if sent {
			return bytes.Equal(want, value)
		}
		if string(name) == "id" {
			id = bytes.Trim(value, `"`)
		}
		return true
	}) {
		return false
	}
	v.answer, v.id = receiptOf(body), clip(string(id), 200)
	return true
}

func looksLike(body []byte) string {
	if head := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 512)])); bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html")) {
		return ", but an HTML page"
	}
	return ""
}

// sameValue compares JSON values as their reader would: numbers by value,
// points in time by the moment they name.
func sameValue(want, got json.RawMessage) bool {
	if bytes.Equal(want, got) {
		return true
	}
	var a, b any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil {
		return false
	}
	if x, ok := a.(float64); ok {
		y, ok := b.(float64)
		// The server may keep fewer decimals than the four we send.
		return ok && x-y < 0.00006 && y-x < 0.00006
	}
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return false
	}
	if x == y {
		return true
	}
	t1, err1 := time.Parse(time.RFC3339, x)
	t2, err2 := time.Parse(time.RFC3339, y)
	if err2 != nil {
		t2, err2 = time.Parse(time.DateOnly, y)
	}
	return err1 == nil && err2 == nil && t1.Equal(t2)
}

func idOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return clip(s, 200)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return clip(n.String(), 200)
	}
	return ""
}

// itemResult is one member of the answer to a batch.
type itemResult struct {
	Index      *int            `json:"index"`
	ExternalID string          `json:"external_id"`
	Status     json.RawMessage `json:"status"`
	ID         json.RawMessage `json:"id"`
	Error      json.RawMessage `json:"error"`
}

// checkItems reads the answer to a batch: every entry gets a fate, and those
// that the answer does not mention are in doubt.
func (c *client) checkItems(v *verdict, req *request, body []byte) {
	if c.allSent(v, req, body) {
		return
	}
	var answer struct {
		Results []itemResult `json:"results"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&answer); err != nil || answer.Results == nil {
		v.class, v.detail = Unknown, "the answer has no list of results"+looksLike(body)
		return
	}
	if _, err := dec.Token(); err != io.EOF {
		v.class, v.detail = Unknown, "the answer goes on after its end"
		return
	}
	fates := make([]timesheet.Fate, len(req.positions))
	for i := range fates {
		fates[i] = timesheet.Fate{State: timesheet.StateInDoubt, Detail: "the answer does not mention it"}
	}
	named := make([]bool, len(fates))
	var byID map[string]int
	for n := range answer.Results {
		item := &answer.Results[n]
		at := -1
		switch {
		case item.Index != nil:
			at = *item.Index
		case item.ExternalID != "":
			if byID == nil {
				byID = c.byExternalID(req)
			}
			if i, ok := byID[item.ExternalID]; ok {
				at = i
			}
		}
		if at < 0 || at >= len(fates) {
			v.class, v.detail = Unknown, "the answer has results for entries that were not sent"
			return
		}
		if named[at] {
			v.class, v.detail = Unknown, "the answer has two results for one entry"
			return
		}
		named[at], fates[at] = true, c.itemFate(item)
	}
	v.class, v.fates = PerItem, fates
	for i := range fates {
		if fates[i].State != timesheet.StateSent {
			return
		}
	}
	v.class = Accepted
}

// allSent deals with the usual case: every entry has a result, and all are
// accepted.
func (c *client) allSent(v *verdict, req *request, body []byte) bool {
	fates := make([]timesheet.Fate, len(req.positions))
	var byID map[string]int
	n := 0
	ok := scanItems(body, func(item *scannedItem) bool {
		at := item.index
		if at < 0 && len(item.externalID) > 0 {
			if byID == nil {
				byID = c.byExternalID(req)
			}
			i, known := byID[string(item.externalID)]
			if !known {
				return false
			}
			at = i
		}
		if at < 0 || at >= len(fates) || fates[at].State != "" || item.status != 200 && item.status != 201 && item.status != 204 {
			return false
		}
		fates[at] = timesheet.Fate{State: timesheet.StateSent, ID: clip(string(item.id), 200)}
		n++
		return true
	})
	if !ok || n != len(fates) {
		return false
	}
	v.class, v.fates = Accepted, fates
	return true
}

func (c *client) byExternalID(req *request) map[string]int {
	ids := make(map[string]int, len(req.positions))
	for i, pos := range req.positions {
		if id := c.enc.externalID(&req.parcel.Entries[pos], req.parcel.Keys[pos]); id != "" {
			ids[id] = i
		}
	}
	return ids
}

func (c *client) itemFate(item *itemResult) timesheet.Fate {
	status := 0
	if json.Unmarshal(item.Status, &status) != nil {
		return timesheet.Fate{State: timesheet.StateInDoubt, Detail: "its result has no status"}
	}
	detail := problemText(item.Error)
	switch {
	case status == 200, status == 201, status == 204:
		return timesheet.Fate{State: timesheet.StateSent, ID: idOf(item.ID)}
	case status == 400, status == 422:
		return timesheet.Fate{State: timesheet.StateRejected, Reason: timesheet.ReasonRefusedByAPI, Detail: detail}
	case status == 413:
		return timesheet.Fate{State: timesheet.StateRejected, Reason: timesheet.ReasonTooLarge, Detail: detail}
	case status == 409:
		return timesheet.Fate{State: timesheet.StateHeld, Reason: timesheet.ReasonConflict, Detail: detail}
	case status == 429 || c.notExecuted(status):
		return timesheet.Fate{State: timesheet.StateNew}
	}
	return timesheet.Fate{State: timesheet.StateInDoubt, Detail: fmt.Sprintf("its result has status %d", status)}
}

func (c *client) notExecuted(status int) bool { return slices.Contains(c.api.NotExecuted, status) }

// problem is what the API says about a refusal, for a person: quoted, not
// trusted.
func problem(resp *http.Response, body []byte) string {
	text := http.StatusText(resp.StatusCode)
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/json" || kind == "application/problem+json" {
		if said := problemText(body); said != "" {
			text = said
		}
	}
	return fmt.Sprintf("status %d: %s", resp.StatusCode, text)
}

// problemText picks the words out of a problem document (RFC 9457), or of the
// forms that are common otherwise.
func problemText(body []byte) string {
	var s string
	if json.Unmarshal(body, &s) == nil {
		return clean(s)
	}
	var p struct {
		Code    string          `json:"code"`
		Detail  string          `json:"detail"`
		Message string          `json:"message"`
		Title   string          `json:"title"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &p) != nil {
		return ""
	}
	said := p.Detail
	for _, other := range []string{p.Message, p.Title} {
		if said == "" {
			said = other
		}
	}
	if said == "" && len(p.Error) > 0 {
		said = problemText(p.Error)
	}
	if p.Code != "" {
		said = strings.TrimSuffix(p.Code+": "+said, ": ")
	}
	return clean(said)
}

// clean makes foreign text fit for a line of ours.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
	return clip(s, 300)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
