package contract

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	verrors "github.com/pb33f/libopenapi-validator/errors"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var client = &http.Client{Timeout: 20 * time.Second}

// api is a sandbox, and what its document says.
type api struct {
	*sandbox.Sandbox
	t         *testing.T
	validator validator.Validator
	tokens    map[string]string
}

func start(t *testing.T) *api {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	resp, err := client.Get(box.APIURL() + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document, config.WithFormatAssertions())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if _, errs := document.BuildV3Model(); errs != nil {
		t.Fatal(errs)
	}
	return &api{Sandbox: box, t: t, validator: v, tokens: map[string]string{"": ""}}
}

// token is that of the machine, or of a person.
func (a *api) token(who string) string {
	a.t.Helper()
	if tok, ok := a.tokens[who]; ok {
		return tok
	}
	ctx := context.WithValue(a.t.Context(), oauth2.HTTPClient, client)
	var tok *oauth2.Token
	var err error
	if who == "machine" {
		c := clientcredentials.Config{
			ClientID: a.ClientID(), ClientSecret: a.ClientSecret(), TokenURL: a.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInHeader,
		}
		tok, err = c.Token(ctx)
	} else {
		c := oauth2.Config{
			ClientID: sandbox.CLIClient, RedirectURL: "http://127.0.0.1:45678/callback",
			Scopes:   []string{"create:timesheets", "read:timesheets", "delete:timesheets", "approve:timesheets"},
			Endpoint: oauth2.Endpoint{AuthURL: a.Issuer() + "/authorize", TokenURL: a.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInParams},
		}
		verifier := oauth2.GenerateVerifier()
		var back string
		back, err = sandboxtest.Person{Username: who, Password: a.Password(who)}.LogIn(ctx, c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
		if err != nil {
			a.t.Fatal(err)
		}
		var u *url.URL
		if u, err = url.Parse(back); err != nil {
			a.t.Fatal(err)
		}
		tok, err = c.Exchange(ctx, u.Query().Get("code"), oauth2.VerifierOption(verifier))
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.tokens[who] = tok.AccessToken
	return tok.AccessToken
}

// The document is valid by the JSON Schema of OpenAPI 3.1.
func TestDocument(t *testing.T) {
	a := start(t)
	if ok, errs := a.validator.ValidateDocument(); !ok {
		report(t, "the document", errs)
	}
}

func report(t *testing.T, at string, errs []*verrors.ValidationError) {
	t.Helper()
	for _, e := range errs {
		t.Errorf("%s: %s: %s", at, e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			t.Errorf("%s: at %s: %s", at, s.FieldPath, s.Reason)
		}
	}
}

// What the API takes and what it answers is what the document says, also where
// it refuses.
func TestAnswers(t *testing.T) {
	a := start(t)
	const (
		entry  = `{"user_id":"001","user_type":"Employee","date":"2026-01-05T00:00:00.000Z","project":"P","hours":7.5,"external_id":"x1"}`
		own    = `{"date":"2026-01-06T00:00:00.000Z","project":"P","hours":1}`
		faulty = `{"user_id":"001","user_type":"Employee","date":"2026-01-05","project":"P","hours":7.5}`
	)
	seen := map[string]bool{}
	for _, tt := range []struct {
		who, method, path, body string
		status                  int
		odd                     bool // the request is one that the document does not allow
	}{
		{"machine", "POST", "/timesheets/upload", entry, 201, false},
		{"machine", "POST", "/timesheets/upload", "[" + entry + "," + entry + "]", 200, false},
		{"machine", "POST", "/timesheets/upload", "[" + entry + "," + faulty + "]", 207, true},
		{"machine", "POST", "/timesheets/upload", faulty, 422, true},
		{"machine", "POST", "/timesheets/upload", `{"hours":`, 400, true},
		{"machine", "POST", "/timesheets/upload", "", 415, true},
		{"machine", "POST", "/timesheets/upload", "[" + strings.Repeat(entry+",", 2000) + entry + "]", 413, true},
		{"ada", "POST", "/timesheets/upload", entry, 403, false},
		{"", "POST", "/timesheets/upload", entry, 401, true},
		{"ada", "POST", "/timesheets", own, 201, false},
		{"ada", "POST", "/timesheets", "[" + own + "]", 200, false},
		{"cy", "POST", "/timesheets", entry, 403, false},
		{"machine", "POST", "/timesheets", own, 403, false},
		{"machine", "GET", "/timesheets?limit=1&from=2026-01-01&to=2026-01-31T00:00:00Z&user_id=001&external_id=x1", "", 200, false},
		{"ada", "GET", "/timesheets?user_id=me", "", 200, false},
		{"ada", "GET", "/timesheets?from=yesterday", "", 400, true},
		{"mia", "GET", "/timesheets/1", "", 200, false},
		{"cy", "GET", "/timesheets/1", "", 404, false},
		{"ada", "PUT", "/timesheets/1", own, 200, false},
		{"mia", "PUT", "/timesheets/1", own, 403, false},
		{"machine", "PUT", "/timesheets/2", entry, 200, false},
		{"machine", "PUT", "/timesheets/2", faulty, 422, true},
		{"ada", "GET", "/approvals", "", 403, false},
		{"mia", "GET", "/approvals?limit=2", "", 200, false},
		{"mia", "PUT", "/approvals/1", `{"approved":true}`, 200, false},
		{"mia", "PUT", "/approvals/1", `{"approved":1}`, 422, true},
		{"max", "PUT", "/approvals/1", `{"approved":true}`, 404, false},
		{"ada", "PUT", "/timesheets/1", own, 409, false},
		{"ada", "DELETE", "/timesheets/1", "", 409, false},
		{"ada", "DELETE", "/timesheets/2", "", 204, false},
		{"mia", "GET", "/me", "", 200, false},
		{"", "GET", "/me", "", 401, true},
		{"", "GET", "/.well-known/oauth-protected-resource", "", 200, false},
		{"", "GET", "/.well-known/oauth-protected-resource/api", "", 200, false},
		{"", "GET", "/openapi.json", "", 200, false},
	} {
		at := tt.who + " " + tt.method + " " + tt.path
		req, err := http.NewRequestWithContext(t.Context(), tt.method, a.APIURL()+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if token := a.token(tt.who); token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if tt.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status {
			t.Errorf("%s: got %d %s, want %d", at, resp.StatusCode, answer, tt.status)
			continue
		}
		seen[req.Method+" "+req.URL.Path] = true
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		req.Body = io.NopCloser(strings.NewReader(tt.body))
		if ok, errs := a.validator.ValidateHttpResponse(req, resp); !ok {
			report(t, at+": answer "+string(answer), errs)
		}
		req.Body = io.NopCloser(strings.NewReader(tt.body))
		ok, errs := a.validator.ValidateHttpRequest(req)
		if !ok && !tt.odd {
			report(t, at+": request", errs)
		}
		if ok && tt.odd && tt.status != 401 {
			t.Errorf("%s %.80s: the document allows this, and the API answers %d", at, tt.body, tt.status)
		}
	}
}
