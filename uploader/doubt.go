package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/exampleco/tsupload/internal/crash"
	"github.com/exampleco/tsupload/internal/timesheet"
)

// patience is how long a run waits for a settle window to end; a longer one is
// left to the next run.
const patience = 30 * time.Second

// settleDoubt settles, before anything new is sent, what earlier runs left in
// doubt: by sending the same bytes again where that is harmless, by reading
// back where the API can be asked. The rest waits for a person.
func (u *Uploader) settleDoubt(ctx context.Context, doubt []*timesheet.Parcel, r *Report) error {
	for _, p := range doubt {
		if r.stopped() || ctx.Err() != nil || u.client.drained() {
			return nil //nolint:nilerr // the run is ending; the doubt stays for the next one
		}
		var err error
		switch {
		case u.cfg.API.resend(p, time.Now()) && (p.Op == timesheet.OpUpdate || len(p.Body) > 0):
			err = u.resend(ctx, p, r)
		case u.cfg.API.ReadBack:
			err = u.readBack(ctx, p, r, true)
		case u.cfg.API.resend(p, time.Now()):
			// Losing is worse than doubling, the owner says: it becomes new.
			err = u.cfg.Ledger.Decide(ctx, p.ID, nil, []timesheet.Fate{{State: timesheet.StateNew}}, "sent again: on_ambiguous is resend")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resend sends a Batch in doubt again: the same bytes under the same key, or
// the same replacement.
func (u *Uploader) resend(ctx context.Context, p *timesheet.Parcel, r *Report) error {
	s := &sending{u: u, r: r}
	s.deadline, _ = ctx.Deadline()
	l := &laneRun{sending: s}
	ok, _ := s.mayBegin(ctx)
	if !ok {
		return nil
	}
	to, positions := next(p, 0, len(p.Entries))
	req := u.client.request(p, positions)
	b := timesheet.Batch{Parcel: p.ID, To: to, IdempotencyKey: p.IdempotencyKey, KeyExpires: p.KeyExpires, Body: p.Body}
	if p.Op != timesheet.OpUpdate {
		// The bytes as they were: a newer program may write the same entries
		// otherwise, and the key stands for the bytes.
		req.key, req.body, req.batch = p.IdempotencyKey, p.Body, len(p.Body) > 0 && p.Body[0] == '['
	}
	b.BodyHash = sha256.Sum256(req.body)
	if err := u.cfg.Ledger.Record(context.WithoutCancel(ctx), nil, &b); err != nil {
		return err
	}
	v := u.client.send(ctx, req)
	if v.class == NotSent || v.class == Busy || v.class == NoToken || v.class == Unauthorized || v.class == Forbidden || v.class == Misplaced {
		// Nothing new is known about the first request.
		l.stopFor(v)
		v.class = Unknown
		v.detail = "the repeated request got no answer either"
	}
	if v.class == TooLarge {
		v.class = Unknown // size is looked at before the key is
	}
	if _, err := l.end(ctx, p, 0, to, positions, v); err != nil {
		return err
	}
	return l.flush(ctx)
}

// askOnce looks for what fell in doubt in this run: what is there to see
// already counts at once.
func (u *Uploader) askOnce(ctx context.Context, r *Report) error {
	if !u.cfg.API.ReadBack || r.InDoubt.Rows == 0 || ctx.Err() != nil {
		return nil //nolint:nilerr // the run is ending; the doubt stays for the next one
	}
	doubt, err := u.cfg.Ledger.InDoubt(ctx)
	if err != nil {
		return err
	}
	for _, p := range doubt {
		if u.client.drained() || ctx.Err() != nil {
			return nil //nolint:nilerr // the run is ending; the doubt stays for the next one
		}
		if err := u.readBack(ctx, p, r, false); err != nil {
			return err
		}
	}
	return nil
}

// readBack asks the API for the entries of a parcel in doubt.
func (u *Uploader) readBack(ctx context.Context, p *timesheet.Parcel, r *Report, wait bool) error {
	_, err := u.look(ctx, p, r, wait)
	if unread, ok := errors.AsType[*unreadError](err); ok {
		// A list that could not be read is no evidence.
		u.log.WarnContext(ctx, "reading back did not work", "batch", p.ID, "err", unread.err)
		return nil
	}
	return err
}

// unreadError is a list of the API's that could not be read.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return e.err.Error() }

func (e *unreadError) Unwrap() error { return e.err }

// look asks the API for the entries of a parcel in doubt. What it has is sent.
// What it has not is new again only after the settle window, when two looks
// some time apart agree.
func (u *Uploader) look(ctx context.Context, p *timesheet.Parcel, r *Report, wait bool) (Answer, error) {
	settled := p.Since.Add(u.cfg.API.Settle)
	if left := time.Until(settled); left > 0 && left <= patience && wait && !u.client.sleep(ctx, left) {
		return Answer{}, context.Cause(ctx)
	}
	found, proof, err := u.find(ctx, p)
	if err != nil {
		return Answer{}, &unreadError{err}
	}
	answer := Answer{Proof: proof, Settles: settled}
	var sent []int
	var fates []timesheet.Fate
	var absent []int
	for i := range p.Entries {
		if p.Gone[i] {
			continue
		}
		if id, ok := found[i]; ok {
			sent = append(sent, i)
			fates = append(fates, timesheet.Fate{State: timesheet.StateSent, ID: id})
			continue
		}
		absent = append(absent, i)
	}
	crash.Point("C10")
	now := time.Now()
	if len(absent) > 0 && proof && !now.Before(settled) {
		switch {
		case p.AbsentSince.IsZero() || p.AbsentSince.Before(settled):
			if err := u.cfg.Ledger.Absent(ctx, p.ID, now); err != nil {
				return answer, err
			}
			if !wait || u.cfg.API.ReadGap > patience || !u.client.sleep(ctx, u.cfg.API.ReadGap) {
				break
			}
			p.AbsentSince = now
			return u.look(ctx, p, r, false)
		case now.Sub(p.AbsentSince) >= u.cfg.API.ReadGap:
			for _, pos := range absent {
				sent = append(sent, pos)
				fates = append(fates, timesheet.Fate{State: timesheet.StateNew})
			}
			answer.New, absent = len(absent), nil
		}
	}
	answer.Sent, answer.Absent = len(found), len(absent)
	if len(sent) == 0 {
		return answer, nil
	}
	for i, pos := range sent {
		if fates[i].State == timesheet.StateSent {
			r.settle(p.Source, &p.Entries[pos], !r.recovered.IsZero() && p.Since.After(r.recovered))
		}
	}
	return answer, u.cfg.Ledger.Decide(ctx, p.ID, sent, fates, "read back from the API")
}

// settle counts an entry that a read-back found.
func (r *Report) settle(source string, e *timesheet.Entry, fellNow bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := r.ends(source)
	r.Sent.addEntry(e)
	ends.Sent.addEntry(e)
	if fellNow {
		for _, t := range []*Tally{&r.InDoubt, &ends.InDoubt} {
			t.Rows--
			t.Seconds -= e.Duration
			t.Rounding -= e.Rounding
		}
	}
}

// find reads back what the API has of a parcel's people and days. proof is
// false where the answers carry no external_id: then absence proves nothing.
func (u *Uploader) find(ctx context.Context, p *timesheet.Parcel) (found map[int]string, proof bool, err error) {
	type span struct{ from, to timesheet.Day }
	people := map[string]span{}
	want := map[string]int{}
	for i := range p.Entries {
		if p.Gone[i] {
			continue
		}
		e := &p.Entries[i]
		s, ok := people[e.Person]
		if !ok {
			s = span{e.Day, e.Day}
		}
		people[e.Person] = span{min(s.from, e.Day), max(s.to, e.Day)}
		if id := u.client.enc.externalID(e, p.Keys[i]); id != "" {
			want[id] = i
		}
	}
	found, proof = map[int]string{}, true
	for person, s := range people {
		u.cfg.Alive()
		if err := u.client.list(ctx, person, s.from, s.to, func(e Stored) {
			if e.ExternalID == "" {
				proof = false
			}
			if i, ok := want[e.ExternalID]; ok && (p.Op != timesheet.OpUpdate || holds(&e, &p.Entries[i])) {
				found[i] = e.ID
			}
		}); err != nil {
			return nil, false, err
		}
	}
	// That the API does not hold a replacement yet is for sending it again, not
	// for a proof: it is harmless.
	return found, proof && len(want) > 0 && p.Op != timesheet.OpUpdate, nil
}

// holds tells whether what the API stores is what a replacement makes of it.
func holds(s *Stored, e *timesheet.Entry) bool {
	return s.Person == e.Person && s.Day == e.Day && s.Project == e.Project && s.Seconds == e.Rounded()
}

// Stored is an entry as the API has it.
type Stored struct {
	ID         string
	ExternalID string
	Person     string
	Day        timesheet.Day
	Project    string
	Seconds    timesheet.Seconds
	Approved   bool
}

// maxPages bounds a read-back.
const maxPages = 10_000

// List reads back all entries of a person between two days, both included.
func (u *Uploader) List(ctx context.Context, person string, from, to timesheet.Day, each func(Stored)) error {
	return u.client.list(ctx, person, from, to, each)
}

// Find asks the API for the entries of a parcel; found has the API's ids by
// position. proof tells whether absence means anything.
func (u *Uploader) Find(ctx context.Context, p *timesheet.Parcel) (found map[int]string, proof bool, err error) {
	return u.find(ctx, p)
}

func (c *client) list(ctx context.Context, person string, from, to timesheet.Day, each func(Stored)) error {
	seen := map[string]bool{}
	for cursor := ""; ; {
		q := url.Values{"from": {from.String()}, "to": {to.String()}}
		if person != "" {
			q.Set("user_id", person)
		}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		next, err := c.page(ctx, q, each)
		if err != nil || next == "" {
			return err
		}
		if seen[next] || len(seen) > maxPages {
			return fmt.Errorf("the list of %s goes in circles", c.api.URL)
		}
		seen[next] = true
		cursor = next
	}
}

func (c *client) page(ctx context.Context, q url.Values, each func(Stored)) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.api.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.api.URL+"/timesheets?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	if err := c.addHeaders(ctx, req.Header); err != nil {
		return "", err
	}
	c.requests.Add(1)
	resp, err := c.http.HTTPClient.Do(req)
	if err != nil {
		if stop := asToken(err); stop != nil {
			return "", stop
		}
		return "", fmt.Errorf("read back: %s", describe(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16*maxAnswer+1))
	if err != nil {
		return "", fmt.Errorf("read back: %s", describe(err))
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("read back: %s", problem(resp, body))
	}
	var list struct {
		Timesheets []struct {
			ID         json.RawMessage `json:"id"`
			ExternalID string          `json:"external_id"`
			UserID     string          `json:"user_id"`
			Date       string          `json:"date"`
			Project    string          `json:"project"`
			Hours      json.Number     `json:"hours"`
			Approved   bool            `json:"approved"`
		} `json:"timesheets"`
		Next string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &list); err != nil || list.Timesheets == nil {
		return "", fmt.Errorf("read back: the answer is no list of timesheets%s", looksLike(body))
	}
	for _, t := range list.Timesheets {
		s := Stored{ID: idOf(t.ID), ExternalID: t.ExternalID, Person: t.UserID, Project: t.Project, Approved: t.Approved}
		if len(t.Date) >= len(time.DateOnly) {
			s.Day, _ = timesheet.ParseDay(t.Date[:len(time.DateOnly)])
		}
		if h, err := t.Hours.Float64(); err == nil {
			s.Seconds = timesheet.Seconds(h*3600 + 0.5)
		}
		each(s)
	}
	return list.Next, nil
}
