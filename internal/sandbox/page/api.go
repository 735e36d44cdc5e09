package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// api is the Timesheets API, over HTTP, with a person's token.
type api struct {
	url    string
	client *http.Client
}

// refusal is a problem document of the API.
type refusal struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error implements error.
func (r *refusal) Error() string { return fmt.Sprintf("API: %d %s", r.Status, r.Code) }

// entry is one timesheet entry.
type entry struct {
	ID       string  `json:"id"`
	UserID   string  `json:"user_id"`
	Date     string  `json:"date"`
	Project  string  `json:"project"`
	Hours    float64 `json:"hours"`
	Approved bool    `json:"approved"`
}

// Day is the calendar day that the entry's date shows.
func (e entry) Day() string { return e.Date[:min(len(e.Date), len("2006-01-02"))] }

// Amount is the hours, as people write them.
func (e entry) Amount() string { return amount(e.seconds()) }

// Spoken is the amount with its unit.
func (e entry) Spoken() string {
	if a := e.Amount(); a != "1" {
		return a + " hours"
	}
	return "1 hour"
}

// person is who is logged in, as the API sees it.
type person struct {
	UserID  string   `json:"user_id"`
	Type    string   `json:"user_type"`
	Role    string   `json:"role"`
	Regions []string `json:"regions"`
}

// call sends a request and reads the answer into out. The error is a *refusal
// where the API refused it.
func (a *api) call(ctx context.Context, token, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body) //nolint:gosec // the host is configured, and an id in the path is escaped
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req) //nolint:gosec // see above
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		refused := &refusal{Message: "The Timesheets API refused this."}
		_ = json.Unmarshal(answer, refused) // a fault may have it answer anything
		refused.Status = resp.StatusCode
		return refused
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("API: %d without JSON", resp.StatusCode)
	}
	return nil
}

// maxPages bounds a listing; more is told.
const maxPages = 20

// list collects the pages of a listing.
func (a *api) list(ctx context.Context, token, path string, query url.Values) (entries []entry, more bool, err error) {
	query.Set("limit", "1000")
	for range maxPages {
		var answer struct {
			Timesheets []entry `json:"timesheets"`
			Next       string  `json:"next_cursor"`
		}
		if err := a.call(ctx, token, http.MethodGet, path+"?"+query.Encode(), nil, &answer); err != nil {
			return nil, false, err
		}
		entries = append(entries, answer.Timesheets...)
		if answer.Next == "" {
			return entries, false, nil
		}
		query.Set("cursor", answer.Next)
	}
	return entries, true, nil
}
