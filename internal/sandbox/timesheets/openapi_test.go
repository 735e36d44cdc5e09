package timesheets

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// The document says what the API does: every operation of it answers, what the
// API takes is in it, and no more.
func TestDocumentIsTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.InToken, false)
	doc := w.documentOf()
	described := 0
	for path, item := range doc["paths"].(object) {
		for method, operation := range item.(object) {
			described++
			op := operation.(object)
			g, ok := good[op["operationId"].(string)]
			if !ok {
				t.Errorf("%s %s is in no test", method, path)
				continue
			}
			subject := g.person
			if subject == "" {
				subject = "client:m"
			}
			called := strings.Replace(g.path, "ID", strconv.FormatInt(w.onlyEntry(), 10), 1)
			if bare, _, _ := strings.Cut(called, "?"); strings.Count(bare, "/") != strings.Count(path, "/") {
				t.Errorf("%s %s is tested at %s", method, path, called)
			}
			got := w.as(subject, strings.ToUpper(method), called, g.body)
			answers := op["responses"].(object)
			if _, ok := answers[strconv.Itoa(got.Code)]; !ok || got.Code >= 300 {
				t.Errorf("%s %s answers %d %s, which is not among %v", method, path, got.Code, got.Body, slices.Sorted(maps.Keys(answers)))
			}
		}
	}
	if described != len(good) || described != len(w.ops) {
		t.Errorf("%d operations are described, %d tested, %d there", described, len(good), len(w.ops))
	}
	// A method that is not in the document is not taken, and the answer says what is.
	for path, item := range doc["paths"].(object) {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if _, ok := item.(object)[strings.ToLower(method)]; ok || path == "/timesheets/upload" {
				continue
			}
			got := w.as("client:m", method, strings.Replace(path, "{id}", "1", 1), "")
			takes := got.Header().Get("Allow")
			if got.Code != http.StatusMethodNotAllowed || strings.Contains(takes, method) || len(strings.Split(takes, ", ")) != len(item.(object)) {
				t.Errorf("%s %s: got %d, Allow %q", method, path, got.Code, takes)
			}
		}
	}
}

func (w *world) documentOf() object {
	w.t.Helper()
	got := w.send(http.MethodGet, "/openapi.json", "")
	var doc object
	if err := json.Unmarshal(got.Body.Bytes(), &doc); err != nil || got.Header().Get("Content-Type") != "application/json" {
		w.t.Fatalf("%v in %s", err, got.Body)
	}
	return doc
}

// The scopes that the document names are those that are asked for.
func TestDocumentNamesScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.InToken, false)
	paths := w.documentOf()["paths"].(object)
	for _, op := range w.ops {
		d := paths[op.path].(object)[strings.ToLower(op.method)].(object)
		var named []string
		for _, alternative := range d["security"].([]any) {
			for _, scope := range alternative.(object)[securityScheme].([]any) {
				named = append(named, scope.(string))
			}
		}
		var want []string
		for _, scope := range []string{op.machine, op.person} {
			if scope != "" && !slices.Contains(want, scope) {
				want = append(want, scope)
			}
		}
		if !slices.Equal(named, want) {
			t.Errorf("%s: scopes %v, want %v", op.id, named, want)
		}
		for _, subject := range w.callers(op) {
			if op.open {
				continue
			}
			// A token with no other scope is enough.
			path := strings.Replace(good[op.id].path, "ID", strconv.FormatInt(w.onlyEntry(), 10), 1)
			got := w.send(op.method, path, good[op.id].body, "Authorization", "Bearer "+w.token(subject, []string{op.scope(kindOf(subject))}))
			if got.Code != good[op.id].status {
				t.Errorf("%s by %s: got %d %s", op.id, subject, got.Code, got.Body)
			}
		}
	}
}

func kindOf(subject string) kind {
	if strings.HasPrefix(subject, "client:") {
		return machine
	}
	return person
}

// Every reference leads somewhere, every schema is used, and every operation has
// what OpenAPI 3.1 requires of it. (The whole document is held against the
// schema of OpenAPI in internal/sandbox/check.)
func TestDocumentIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, people.InToken, false)
	doc := w.documentOf()
	if doc["openapi"] != "3.1.0" || doc["servers"].([]any)[0].(object)["url"] != "https://api" {
		t.Errorf("got %v, %v", doc["openapi"], doc["servers"])
	}
	used := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case object:
			if target, ok := v["$ref"].(string); ok {
				used[target] = true
				var there any = doc
				for part := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
					o, _ := there.(object)
					if there = o[part]; there == nil {
						t.Errorf("%s: nothing is at %s", at, target)
						return
					}
				}
			}
			for k, child := range v {
				walk(at+"/"+k, child)
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s/%d", at, i), child)
			}
		}
	}
	walk("", doc)
	for name := range doc["components"].(object)["schemas"].(object) {
		if !used["#/components/schemas/"+name] {
			t.Errorf("nothing has the schema %s", name)
		}
	}
	ids := map[string]bool{}
	for path, item := range doc["paths"].(object) {
		for method, operation := range item.(object) {
			op := operation.(object)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] || op["summary"] == "" || len(op["responses"].(object)) == 0 {
				t.Errorf("%s %s: incomplete, or its id is taken: %v", method, path, op)
			}
			ids[id] = true
			declared := false
			for _, p := range list(op["parameters"]) {
				param := p.(object)
				declared = declared || param["name"] == "id" && param["in"] == "path" && param["required"] == true
				if param["schema"] == nil {
					t.Errorf("%s %s: %v has no schema", method, path, param["name"])
				}
			}
			if declared != strings.Contains(path, "{id}") {
				t.Errorf("%s %s: id is declared: %v", method, path, declared)
			}
			for status, answer := range op["responses"].(object) {
				if answer.(object)["description"] == "" {
					t.Errorf("%s %s %s is not described", method, path, status)
				}
			}
		}
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
