package authserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// claimsTimeout bounds a question to the API; a person waits for it.
const claimsTimeout = 5 * time.Second

// askClaims asks the API what it knows of a person. The API answers with
// people.Claims as JSON.
func (s *Server) askClaims(ctx context.Context, subject string) (people.Claims, error) {
	var c people.Claims
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.ClaimsURL+"?sub="+url.QueryEscape(subject), nil)
	if err != nil {
		return c, err
	}
	req.Header.Set("Authorization", "Bearer "+s.cfg.ClaimsToken)
	resp, err := s.http.Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c, fmt.Errorf("ask the API for claims: it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxForm)).Decode(&c); err != nil {
		return c, fmt.Errorf("ask the API for claims: %w", err)
	}
	if c.UserID == "" || c.Role == "" {
		return c, fmt.Errorf("ask the API for claims: the answer has none")
	}
	return c, nil
}
