package timesheets

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// as calls the API with all scopes for a subject.
func (w *world) as(subject, method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.send(method, path, body, "Authorization", "Bearer "+w.token(subject, scopesBut("")))
}

// listed are the people, or with field the other facts, of a listing.
func (w *world) listed(subject, path, field string) string {
	w.t.Helper()
	got := w.as(subject, http.MethodGet, path, "")
	var list struct {
		Timesheets []map[string]any `json:"timesheets"`
	}
	if err := json.Unmarshal(got.Body.Bytes(), &list); err != nil || got.Code != http.StatusOK {
		w.t.Fatalf("%s %s: got %d %s", subject, path, got.Code, got.Body)
	}
	var found []string
	for _, e := range list.Timesheets {
		found = append(found, fmt.Sprint(e[field]))
	}
	return strings.Join(found, " ")
}

func entryOf(userID string) string {
	return `{"user_id":"` + userID + `","user_type":"Any","date":"2026-01-05T00:00:00.000Z","project":"P","hours":1}`
}

// Whoever asks sees what is theirs to see, in every design, and may touch less
// than they see.
func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	// One entry of everybody, and of somebody whom the directory does not know,
	// in this order, so that ids are 1 to 8.
	everybody := []string{"001", "007", "002", "008", "010", "011", "100", "999"}
	for _, design := range designs {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, design, false)
			for _, id := range everybody {
				if got := w.as("client:m", http.MethodPost, "/timesheets/upload", entryOf(id)); got.Code != http.StatusCreated {
					t.Fatalf("upload: got %d %s", got.Code, got.Body)
				}
			}
			for _, tt := range []struct{ subject, sees, own, approves string }{
				{"client:m", "001 007 002 008 010 011 100 999", "", "403"},
				{"client:n", "", "", "403"},
				{"user:ada", "001", "001", "403"},
				{"user:cy", "007", "007", "403"},
				{"user:mia", "001 007 010 100", "010", "001 007 100"}, // EMEA
				{"user:max", "002 008 011 100", "011", "002 008 100"}, // AMER and APAC
				{"user:adam", strings.Join(everybody, " "), "100", strings.Join(everybody, " ")},
			} {
				if got := w.listed(tt.subject, "/timesheets", "user_id"); got != tt.sees {
					t.Errorf("%s sees %q, want %q", tt.subject, got, tt.sees)
				}
				if got := w.listed(tt.subject, "/timesheets?user_id=me", "user_id"); got != tt.own {
					t.Errorf("%s: own are %q, want %q", tt.subject, got, tt.own)
				}
				if tt.approves == "403" {
					if got := w.as(tt.subject, http.MethodGet, "/approvals", ""); got.Code != http.StatusForbidden {
						t.Errorf("%s: approvals: got %d %s", tt.subject, got.Code, got.Body)
					}
				} else if got := w.listed(tt.subject, "/approvals", "user_id"); got != tt.approves {
					t.Errorf("%s approves %q, want %q", tt.subject, got, tt.approves)
				}
				for i, id := range everybody {
					path := fmt.Sprintf("/timesheets/%d", i+1)
					sees, owns := strings.Contains(tt.sees, id), tt.own == id || tt.subject == "client:m"
					want := map[bool]int{true: 200, false: 404}[sees]
					if got := w.as(tt.subject, http.MethodGet, path, ""); got.Code != want {
						t.Errorf("%s reads %s: got %d, want %d", tt.subject, id, got.Code, want)
					}
					if sees && !owns {
						want = 403
					}
					body := `{"date":"2026-01-05T00:00:00.000Z","project":"P","hours":1}`
					if strings.HasPrefix(tt.subject, "client:") {
						body = entryOf(id)
					}
					if got := w.as(tt.subject, http.MethodPut, path, body); got.Code != want {
						t.Errorf("%s replaces %s: got %d %s, want %d", tt.subject, id, got.Code, got.Body, want)
					}
				}
			}
		})
	}
}

// A manager decides on the hours of the people of the regions granted, nobody
// on their own, an administrator on all.
func TestDecisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.InToken, false)
	for _, id := range []string{"001", "010", "100"} {
		w.as("client:m", http.MethodPost, "/timesheets/upload", entryOf(id))
	}
	const yes, no = `{"approved":true}`, `{"approved":false}`
	for _, tt := range []struct {
		subject, method, path, body string
		status                      int
		code                        string
	}{
		{"user:ada", "PUT", "/approvals/1", yes, 403, "wrong_role"},
		{"user:max", "PUT", "/approvals/1", yes, 404, "not_found"},
		{"user:mia", "PUT", "/approvals/1", `{"Approved":true}`, 400, "malformed_json"},
		{"user:mia", "PUT", "/approvals/1", `{"approved":true,"approved":false}`, 400, "malformed_json"},
		{"user:mia", "PUT", "/approvals/2", yes, 403, "own_hours"},
		{"user:mia", "PUT", "/approvals/9", yes, 404, "not_found"},
		{"user:mia", "PUT", "/approvals/x", yes, 404, "not_found"},
		{"user:mia", "PUT", "/approvals/1", `{"approved":"yes"}`, 422, "validation_failed"},
		{"user:mia", "PUT", "/approvals/1", `{}`, 422, "validation_failed"},
		{"user:mia", "PUT", "/approvals/1", `{"approved":true,"hours":9}`, 422, "validation_failed"},
		{"user:mia", "PUT", "/approvals/1", `{"approved":`, 400, "malformed_json"},
		{"user:mia", "PUT", "/approvals/1", "", 415, "unsupported_media_type"},
		{"user:mia", "PUT", "/approvals/1", yes, 200, ""},
		{"user:mia", "PUT", "/approvals/1", yes, 200, ""},
		{"user:ada", "PUT", "/timesheets/1", `{"date":"2026-01-05T00:00:00.000Z","project":"P","hours":9}`, 409, "approved"},
		{"user:ada", "DELETE", "/timesheets/1", "", 409, "approved"},
		{"client:m", "PUT", "/timesheets/1", entryOf("001"), 409, "approved"},
		{"user:mia", "PUT", "/approvals/1", no, 200, ""},
		{"user:ada", "DELETE", "/timesheets/1", "", 204, ""},
		{"user:adam", "PUT", "/approvals/3", yes, 200, ""},
		{"user:adam", "PUT", "/approvals/2", yes, 200, ""},
	} {
		got := w.as(tt.subject, tt.method, tt.path, tt.body)
		if got.Code != tt.status || tt.code != "" && !strings.Contains(got.Body.String(), `"code":"`+tt.code+`"`) {
			t.Errorf("%s %s %s %s: got %d %s, want %d %s", tt.subject, tt.method, tt.path, tt.body, got.Code, got.Body, tt.status, tt.code)
		}
	}
	if got := w.listed("user:adam", "/timesheets", "approved"); got != "true true" {
		t.Errorf("approved: got %s", got)
	}
	if got := w.listed("user:adam", "/approvals", "id"); got != "" {
		t.Errorf("still waiting: %s", got)
	}
}

// People enter their own hours, in their own name, one by one or as an array,
// each once.
func TestOwnHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.InToken, false)
	const short = `{"date":"2026-01-05T00:00:00.000Z","project":"P","hours":1.5}`
	want := `{"id":"1","user_id":"007","user_type":"Contractor","date":"2026-01-05T00:00:00.000Z","project":"P","hours":1.5,"approved":false}`
	if got := w.as("user:cy", http.MethodPost, "/timesheets", short); got.Code != http.StatusCreated || got.Body.String() != want {
		t.Errorf("got %d %s, want %s", got.Code, got.Body, want)
	}
	with := func(field string) string { return strings.Replace(short, `{`, `{`+field+`,`, 1) }
	for body, status := range map[string]int{
		with(`"user_id":"001"`):                           403,
		with(`"user_id":""`):                              422,
		with(`"user_type":"Employee"`):                    422,
		with(`"user_type":"contractor","user_id":"007"`):  201,
		with(`"user_type":"","user_id":null`):             201,
		strings.Replace(short, `"P"`, `""`, 1):            422,
		`[` + short + `,` + with(`"user_id":"001"`) + `]`: 207,
	} {
		got := w.as("user:cy", http.MethodPost, "/timesheets", body)
		if got.Code != status {
			t.Errorf("%s: got %d %s, want %d", body, got.Code, got.Body, status)
		}
		if status == 207 && !strings.Contains(got.Body.String(), `{"index":1,"status":403,"error":{"code":"not_own"`) {
			t.Errorf("%s: got %s", body, got.Body)
		}
	}
	// One key of two people, in one program, is two keys.
	for subject, replayed := range map[string]string{"user:ada": "", "user:mia": ""} {
		for range 2 {
			got := w.send(http.MethodPost, "/timesheets", short, "Authorization", "Bearer "+w.token(subject, scopesBut("")), "Idempotency-Key", "k")
			if got.Code != http.StatusCreated || got.Header().Get("Idempotency-Replayed") != replayed {
				t.Errorf("%s: got %d %v %s", subject, got.Code, got.Header(), got.Body)
			}
			replayed = "true"
		}
	}
	if got := w.listed("user:adam", "/timesheets", "user_id"); strings.Count(got, "007") != 4 || strings.Count(got, "001") != 1 || strings.Count(got, "010") != 1 {
		t.Errorf("stored: %s", got)
	}
	if got := w.listed("client:web", "/timesheets", "id"); got != "" {
		t.Errorf("the program sees what people entered through it: %s", got)
	}
}

// Where the claims are in the token, the token decides, and a role that does not
// exist is no role.
func TestClaimsOfToken(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByReference} {
		w := newWorld(t, design, false)
		w.as("client:m", http.MethodPost, "/timesheets/upload", entryOf("002"))
		for _, tt := range []struct {
			name   string
			edit   edit
			status int
			answer string
		}{
			{"as in the directory", nil, 200, `{"user_id":"010","user_type":"Employee","role":"manager","regions":["EMEA"]}`},
			{"other regions", set("regions", []string{"APAC"}), 200, `{"user_id":"010","user_type":"Employee","role":"manager","regions":["APAC"]}`},
			{"no regions", set("regions", nil), 200, `{"user_id":"010","user_type":"Employee","role":"manager","regions":[]}`},
			{"no role", set("role", nil), 403, `"code":"unknown_person"`},
			{"another role", set("role", "owner"), 403, `"code":"unknown_person"`},
			{"no user id", set("user_id", nil), 403, `"code":"unknown_person"`},
			{"regions of the wrong type", set("regions", "EMEA"), map[people.Design]int{people.InToken: 401, people.ByReference: 503}[design], ``},
		} {
			edits := []edit{func(map[string]any, jwt.MapClaims) {}}
			if tt.edit != nil {
				edits = append(edits, tt.edit)
			}
			token := w.token("user:mia", scopesBut(""), edits...)
			got := w.send(http.MethodGet, "/me", "", "Authorization", "Bearer "+token)
			if got.Code != tt.status || !strings.Contains(got.Body.String(), tt.answer) {
				t.Errorf("%s, %s: got %d %s, want %d %s", design, tt.name, got.Code, got.Body, tt.status, tt.answer)
			}
			seen := w.send(http.MethodGet, "/timesheets", "", "Authorization", "Bearer "+token)
			if sees := strings.Contains(seen.Body.String(), `"002"`); sees != (tt.name == "other regions") {
				t.Errorf("%s, %s: sees %s", design, tt.name, seen.Body)
			}
		}
	}
}

func TestInternalClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.ByReference, false)
	for _, tt := range []struct {
		authorization, subject string
		status                 int
		body                   string
	}{
		{"Bearer shown by the issuer", "user:max", 200, `{"user_id":"011","user_type":"Employee","role":"manager","regions":["AMER","APAC"]}`},
		{"Bearer shown by the issuer", "user:eve", 404, `"code":"not_found"`},
		{"Bearer shown by the issuer", "client:m", 404, `"code":"not_found"`},
		{"Bearer shown", "user:max", 401, `"code":"unauthorized"`},
		{"Bearer ", "user:max", 401, `"code":"unauthorized"`},
		{"Bearer " + w.token("user:adam", scopesBut("")), "user:max", 401, `"code":"unauthorized"`},
	} {
		got := w.send(http.MethodGet, InternalClaimsPath+"?sub="+tt.subject, "", "Authorization", tt.authorization)
		if got.Code != tt.status || !strings.Contains(got.Body.String(), tt.body) {
			t.Errorf("%s of %s: got %d %s", tt.subject, tt.authorization, got.Code, got.Body)
		}
	}
	other := newWorld(t, people.InToken, false)
	if got := other.send(http.MethodGet, InternalClaimsPath+"?sub=user:max", "", "Authorization", "Bearer shown by the issuer"); got.Code != 404 {
		t.Errorf("another design: got %d %s", got.Code, got.Body)
	}
}
