package timesheets

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

const (
	ownEntry   = `{"user_id":"001","user_type":"Employee","date":"2026-01-06T00:00:00.000Z","project":"P","hours":2}`
	otherEntry = `{"user_id":"007","user_type":"Contractor","date":"2026-01-06T00:00:00.000Z","project":"P","hours":2}`
)

// good is how each operation is called as it should be; an operation that is
// not here fails the test. ID is an entry of Ada's that machine m uploaded.
var good = map[string]struct {
	path, body string
	person     string // who calls; empty where only machines may
	status     int
	// outside is what Max gets, a manager of other regions than Ada's; 0 where
	// no entry is named.
	outside     int
	outsideCode string
}{
	"uploadTimesheets":      {"/timesheets/upload", ownEntry, "", 201, 403, "machine_only"},
	"createTimesheet":       {"/timesheets", ownEntry, "user:ada", 201, 403, "not_own"},
	"listTimesheets":        {"/timesheets?user_id=001", "", "user:ada", 200, 200, ""},
	"getTimesheet":          {"/timesheets/ID", "", "user:ada", 200, 404, "not_found"},
	"replaceTimesheet":      {"/timesheets/ID", ownEntry, "user:ada", 200, 404, "not_found"},
	"deleteTimesheet":       {"/timesheets/ID", "", "user:ada", 204, 404, "not_found"},
	"listApprovals":         {"/approvals?user_id=001", "", "user:mia", 200, 200, ""},
	"decideApproval":        {"/approvals/ID", `{"approved":true}`, "user:mia", 200, 404, "not_found"},
	"whoAmI":                {"/me", "", "user:ada", 200, 200, ""},
	"getResourceMetadata":   {"/.well-known/oauth-protected-resource", "", "", 200, 200, ""},
	"getMetadataOfResource": {"/.well-known/oauth-protected-resource/v1", "", "", 200, 200, ""},
	"getOpenAPI":            {"/openapi.json", "", "", 200, 200, ""},
}

// messages are what a problem says, by its code; insufficient_scope names the
// scope.
var messages = map[string]string{
	"no token":        "this operation needs an access token",
	"bad token":       "the access token is expired, revoked, malformed or for another API",
	"in query":        "a token in the query is refused; send it in the Authorization header",
	"two headers":     "more than one Authorization header",
	"header":          "the Authorization header is malformed",
	"person_only":     "this operation is for people, and the access token speaks for a machine",
	"machine_only":    "this operation is for machines, and the access token speaks for a person",
	"unknown_subject": "the access token speaks for neither a person nor the machine that it names",
	"unknown_person":  "this API does not know the person that the access token speaks for, or their role",
	"not_found":       "there is no such entry among those that the caller sees",
	"not_own":         "user_id is another person's; people enter their own hours only",
}

// want is an answer: code is a problem's, text the key of its message.
type want struct {
	status     int
	challenge  string // between realm and resource_metadata; "-" for none at all
	code, text string
}

var (
	noToken    = want{401, "", "unauthorized", "no token"}
	badTokens  = want{401, `error="invalid_token", error_description="the access token is expired, revoked, malformed or for another API", `, "unauthorized", "bad token"}
	badRequest = func(text string) want { return want{400, `error="invalid_request", `, "invalid_request", text} }
	forbidden  = func(code string) want { return want{403, "-", code, code} }
)

// fault is one thing that is wrong with a request.
type fault struct {
	name string
	// headers are sent as Authorization; nil stands for a good token, changed by
	// edit or forged.
	headers []string
	query   bool
	edit    edit
	forge   func(w *world, subject string, scopes []string) string
	want    want
}

func set(name string, value any) edit {
	return func(_ map[string]any, c jwt.MapClaims) {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
}

// signed makes a token with another key or algorithm, or another head. A server
// of reference tokens does not know it, whoever signed it.
func signed(with func(w *world) (any, jwt.SigningMethod), edits ...edit) func(*world, string, []string) string {
	return func(w *world, subject string, scopes []string) string {
		key, method := with(w)
		return sign(w.t, key, method, func(head map[string]any, c jwt.MapClaims) {
			c["sub"], c["aud"], c["scope"] = subject, "https://api/v1", strings.Join(scopes, " ")
			for _, e := range edits {
				e(head, c)
			}
		})
	}
}

func ours(w *world) (any, jwt.SigningMethod) { return w.key, jwt.SigningMethodES256 }

func head(name string, value any) edit {
	return func(h map[string]any, _ jwt.MapClaims) {
		if h[name] = value; value == nil {
			delete(h, name)
		}
	}
}

var tokenFaults = []fault{
	{name: "no token", headers: []string{}, want: noToken},
	{name: "another scheme", headers: []string{"Basic abc"}, want: noToken},
	{name: "no value", headers: []string{"Bearer"}, want: badRequest("header")},
	{name: "two values", headers: []string{"Bearer a b"}, want: badRequest("header")},
	{name: "too long", headers: []string{"Bearer " + strings.Repeat("a", maxToken+1)}, want: badRequest("header")},
	{name: "two headers", headers: []string{"Bearer a", "Bearer b"}, want: badRequest("two headers")},
	{name: "in the query", query: true, want: badRequest("in query")},
	{name: "malformed", headers: []string{"Bearer abc"}, want: badTokens},
	{name: "malformed, of three parts", headers: []string{"Bearer a.b.c"}, want: badTokens},
	{name: "expired", edit: set("exp", time.Now().Add(-time.Minute).Unix()), want: badTokens},
	{name: "without expiry", edit: set("exp", nil), want: badTokens},
	{name: "wrong issuer", edit: set("iss", "https://issuer/"), want: badTokens},
	{name: "wrong audience", edit: set("aud", "https://api"), want: badTokens},
	{name: "without audience", edit: set("aud", nil), want: badTokens},
	{name: "without client", edit: set("client_id", nil), want: badTokens},
	{name: "without subject", edit: set("sub", nil), want: badTokens},
	{name: "wrong key", want: badTokens, forge: signed(func(w *world) (any, jwt.SigningMethod) { return newKey(w.t), jwt.SigningMethodES256 })},
	{name: "alg none", want: badTokens, forge: signed(func(*world) (any, jwt.SigningMethod) {
		return jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone
	})},
	{name: "HS256 with the public key", want: badTokens, forge: signed(func(w *world) (any, jwt.SigningMethod) {
		public, err := w.key.PublicKey.Bytes()
		if err != nil {
			w.t.Fatal(err)
		}
		return public, jwt.SigningMethodHS256
	})},
	{name: "no kid", want: badTokens, forge: signed(ours, head("kid", nil))},
	{name: "unknown kid", want: badTokens, forge: signed(ours, head("kid", "three"))},
	{name: "wrong typ", want: badTokens, forge: signed(ours, head("typ", "JWT"))},
	{name: "revoked", want: badTokens, forge: func(w *world, subject string, scopes []string) string {
		w.revoked.Store("gone", true)
		return w.token(subject, scopes, set("jti", "gone"))
	}},
}

// scopesBut are all scopes but one.
func scopesBut(without string) []string {
	return slices.DeleteFunc([]string{ScopeUpload, ScopeRead, ScopeCreate, ScopeDelete, ScopeApprove}, func(s string) bool { return s == without })
}

// Every operation, in every design, by every caller it is for, with everything
// that can be wrong with a token.
func TestMatrixOfTokens(t *testing.T) {
	t.Parallel()
	for _, design := range designs {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, design, false)
			for _, op := range w.ops {
				for _, subject := range w.callers(op) {
					w.expect(op, subject+" good", w.bearer(w.token(subject, scopesBut(""))), false, want{status: good[op.id].status})
					for _, f := range tokenFaults {
						headers := f.headers
						switch {
						case f.forge != nil:
							headers = w.bearer(f.forge(w, subject, scopesBut("")))
						case f.edit != nil:
							headers = w.bearer(w.token(subject, scopesBut(""), f.edit))
						case f.query:
							headers = w.bearer(w.token(subject, scopesBut("")))
						}
						expected := f.want
						if op.open && !f.query {
							expected = want{status: good[op.id].status} // nobody is asked for one
						}
						w.expect(op, subject+" "+f.name, headers, f.query, expected)
					}
				}
			}
		})
	}
}

// callers are a subject of each kind that the operation is for.
func (w *world) callers(op operation) []string {
	var list []string
	if op.machine != "" || op.open {
		list = append(list, "client:m")
	}
	if op.person != "" {
		list = append(list, good[op.id].person)
	}
	return list
}

func (w *world) bearer(token string) []string { return []string{"Bearer " + token} }

// Every operation, in every design, by who holds a good token that is not
// enough.
func TestMatrixOfCallers(t *testing.T) {
	t.Parallel()
	for _, design := range designs {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, design, false)
			for _, op := range w.ops {
				if op.open {
					continue
				}
				g := good[op.id]
				fine := want{status: g.status}
				pick := func(refused bool, w want) want {
					if refused {
						return w
					}
					return fine
				}
				all := scopesBut("")
				for _, subject := range w.callers(op) {
					scope := op.machine
					if subject != "client:m" {
						scope = op.person
					}
					w.expect(op, subject+" without the scope", w.bearer(w.token(subject, scopesBut(scope))), false,
						want{403, `error="insufficient_scope", scope="` + scope + `", `, "insufficient_scope", "the access token lacks the scope " + scope})
					w.expect(op, subject+" without any scope", w.bearer(w.token(subject, nil)), false,
						want{403, `error="insufficient_scope", scope="` + scope + `", `, "insufficient_scope", "the access token lacks the scope " + scope})
				}
				w.expect(op, "a machine", w.bearer(w.token("client:m", all)), false, pick(op.machine == "", forbidden("person_only")))
				somebody := g.person
				if somebody == "" {
					somebody = "user:ada"
				}
				w.expect(op, "a person", w.bearer(w.token(somebody, all)), false, pick(op.person == "", forbidden("machine_only")))
				for _, subject := range []string{"ada", "client:other", "user"} {
					w.expect(op, "subject "+subject, w.bearer(w.token(subject, all, set("client_id", "m"))), false, forbidden("unknown_subject"))
				}
				if op.person == "" {
					continue
				}
				w.expect(op, "nobody known", w.bearer(w.token("user:eve", all)), false, forbidden("unknown_person"))
				// The role that each design would find for Ada.
				employee := want{403, "-", "wrong_role", "this operation is not for the role employee"}
				w.expect(op, "an employee", w.bearer(w.token("user:ada", all)), false, pick(len(op.roles) > 0, employee))
				contractor := want{403, "-", "wrong_role", "this operation is not for the role contractor"}
				if len(op.roles) > 0 {
					w.expect(op, "a contractor", w.bearer(w.token("user:cy", all)), false, contractor)
				}
				outside := want{g.outside, "-", g.outsideCode, g.outsideCode}
				w.expect(op, "a manager of other regions", w.bearer(w.token("user:max", all)), false, outside)
				w.expect(op, "an administrator", w.bearer(w.token("user:adam", all)), false, map[string]want{
					"createTimesheet":  forbidden("not_own"),
					"replaceTimesheet": {403, "-", "not_own", "user_id is another person's; people enter their own hours only"},
					"deleteTimesheet":  {403, "-", "not_own", "the entry is another person's; people change their own hours only"},
				}[op.id].or(fine))
			}
		})
	}
}

func (w want) or(other want) want {
	if w.status == 0 {
		return other
	}
	return w
}

// expect calls an operation and holds the whole answer against what is wanted.
// Who is refused has changed nothing.
func (w *world) expect(op operation, name string, authorization []string, inQuery bool, expected want) {
	w.t.Helper()
	g, ok := good[op.id]
	if !ok {
		w.t.Fatalf("%s is not in the table", op.id)
	}
	id := w.onlyEntry()
	path := strings.Replace(g.path, "ID", strconv.FormatInt(id, 10), 1)
	body := g.body
	if op.id == "replaceTimesheet" && expected.code == "not_found" {
		body = strings.Replace(otherEntry, "007", "011", 1) // Max's own, so that only the id is at fault
		body = strings.Replace(body, "Contractor", "Employee", 1)
	}
	if inQuery {
		_, token, _ := strings.Cut(authorization[0], " ")
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path, authorization = path+separator+"access_token="+token, nil
	}
	var header []string
	for _, a := range authorization {
		header = append(header, "Authorization", a)
	}
	before := w.entries()
	got := w.send(op.method, path, body, header...)
	at := fmt.Sprintf("%s %s: %s", op.method, op.path, name)
	if got.Code != expected.status {
		w.t.Errorf("%s: got %d %s, want %d", at, got.Code, got.Body, expected.status)
		return
	}
	challenge := got.Header().Get("WWW-Authenticate")
	wantChallenge := `Bearer realm="timesheets", ` + expected.challenge + `resource_metadata="https://api/.well-known/oauth-protected-resource/v1"`
	if expected.status < 400 || expected.challenge == "-" {
		wantChallenge = ""
	}
	if challenge != wantChallenge {
		w.t.Errorf("%s: challenge: got %q, want %q", at, challenge, wantChallenge)
	}
	if expected.status < 400 {
		if strings.HasSuffix(name, "of other regions") && strings.HasPrefix(op.id, "list") && got.Body.String() != `{"timesheets":[]}` {
			w.t.Errorf("%s: sees %s", at, got.Body)
		}
		return
	}
	if diff := cmp.Diff(before, w.entries()); diff != "" {
		w.t.Errorf("%s: was refused, and changed something: %s", at, diff)
	}
	w.isProblem(at, got.Header(), got.Body.Bytes(), expected)
}

func (w *world) isProblem(at string, header http.Header, body []byte, expected want) {
	w.t.Helper()
	if ct := header.Get("Content-Type"); ct != "application/problem+json" {
		w.t.Errorf("%s: content type %q", at, ct)
	}
	message, ok := messages[expected.text]
	if !ok {
		message = expected.text
	}
	wanted := map[string]any{
		"type": "about:blank", "title": http.StatusText(expected.status), "status": float64(expected.status),
		"detail": message, "message": message, "code": expected.code,
	}
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		w.t.Fatalf("%s: %v", at, err)
	}
	if doc["field"] == "user_id" {
		delete(doc, "field") // of not_own, where the body says so
	}
	if diff := cmp.Diff(wanted, doc); diff != "" {
		w.t.Errorf("%s: problem (-want +got):\n%s", at, diff)
	}
}

// entries is everything that is stored.
func (w *world) entries() []string {
	w.t.Helper()
	list, err := w.store.list(w.t.Context(), filter{sees: sight{all: true}, limit: 1 << 30})
	if err != nil {
		w.t.Fatal(err)
	}
	lines := make([]string, len(list))
	for i := range list {
		lines[i] = string(list[i].appendJSON(nil))
	}
	return lines
}
