package timesheets

import (
	"net/http"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// operation is one thing that the API does. The routes, the checks before the
// handler and the OpenAPI document are all made from the list of them, so that
// none can say what another does not.
type operation struct {
	id           string
	method, path string
	summary      string
	about        string
	// open operations need no token.
	open bool
	// machine and person are the scope that each needs; empty refuses them.
	machine, person string
	// roles that a person must have one of; none means any.
	roles   []people.Role
	query   []parameter
	headers []parameter
	body    media   // what it takes; without a schema, no body
	replies []reply // beside those that every operation can give
	do      handler
}

// parameter is one of the query or header.
type parameter struct {
	name, about string
	schema      object
}

// media is a body: its schema and what it is, in words.
type media struct {
	about  string
	schema object
}

// reply is one answer of an operation.
type reply struct {
	status int
	about  string
	schema object // nil for no body
}

var listQuery = []parameter{
	{"user_id", "only the entries of this person; \"me\" is the person that the token speaks for", object{"type": "string"}},
	{"from", "the first day: a date, or a time and of it the day that it shows", dayOrTime},
	{"to", "the last day, included", dayOrTime},
	{"external_id", "only the entries with this external_id", object{"type": "string"}},
	{"limit", "how many at most in one answer", object{"type": "integer", "minimum": 1, "default": defaultPage, "description": "more than 1000 is 1000"}},
	{"cursor", "next_cursor of the answer before", object{"type": "string"}},
}

var idempotencyHeader = []parameter{
	{"Idempotency-Key", "the same key with the same body is answered as the first time; quoted, or bare", object{"type": "string", "maxLength": maxKey + 2}},
}

// operations is the API.
func (s *Server) operations() []operation {
	managers := []people.Role{people.RoleManager, people.RoleAdministrator}
	uploaded := []reply{
		{http.StatusCreated, "the entry was stored", ref("Entry")},
		{http.StatusOK, "every item of the array was stored", ref("BatchResult")},
		{http.StatusMultiStatus, "some items of the array were refused; each has its own status", ref("BatchResult")},
		{http.StatusConflict, "a request with this Idempotency-Key is still under way", ref("Problem")},
		{http.StatusRequestEntityTooLarge, "the body is too large, or has too many items", ref("Problem")},
		{http.StatusUnsupportedMediaType, "the body is not application/json", ref("Problem")},
		{http.StatusUnprocessableEntity, "the entry was refused, or the Idempotency-Key was used with another body", ref("Problem")},
	}
	one := []reply{
		{http.StatusOK, "the entry", ref("Entry")},
		{http.StatusNotFound, "there is no such entry, or it is not the caller's to see", ref("Problem")},
	}
	unchangeable := reply{http.StatusConflict, "the entry is approved", ref("Problem")}
	refused := []reply{
		{http.StatusRequestEntityTooLarge, "the body is too large", ref("Problem")},
		{http.StatusUnsupportedMediaType, "the body is not application/json", ref("Problem")},
		{http.StatusUnprocessableEntity, "the body was refused", ref("Problem")},
	}
	list := []reply{{http.StatusOK, "the entries, in the order they were stored", ref("EntryList")}}
	uploads := media{"one entry, or an array of them", object{
		"oneOf": []object{ref("NewEntry"), {"type": "array", "maxItems": maxItems, "items": ref("NewEntry")}},
	}}

	ops := []operation{
		{
			id: "uploadTimesheets", method: http.MethodPost, path: "/timesheets/upload",
			summary: "Upload entries of anybody",
			about:   "Stores one entry, or each good one of an array, as uploaded by the calling machine.",
			machine: ScopeUpload, headers: idempotencyHeader, body: uploads, replies: uploaded, do: s.upload,
		},
		{
			id: "createTimesheet", method: http.MethodPost, path: "/timesheets",
			summary: "Enter one's own hours",
			about:   "As uploadTimesheets, for a person and the person's own hours: user_id and user_type may be left out, and must be the person's where they are not (403 not_own, 422).",
			person:  ScopeCreate, headers: idempotencyHeader, body: uploads, replies: uploaded, do: s.upload,
		},
		{
			id: "listTimesheets", method: http.MethodGet, path: "/timesheets",
			summary: "List entries",
			about:   "A machine sees what it uploaded; a person their own entries, a manager also those of the people in the regions granted, an administrator all. What lies outside is left out, also where it is asked for by user_id.",
			machine: ScopeRead, person: ScopeRead, query: listQuery, replies: list, do: s.list,
		},
		{
			id: "getTimesheet", method: http.MethodGet, path: "/timesheets/{id}",
			summary: "Read one entry",
			about:   "Of those that listTimesheets shows.",
			machine: ScopeRead, person: ScopeRead, replies: one, do: s.get,
		},
		{
			id: "replaceTimesheet", method: http.MethodPut, path: "/timesheets/{id}",
			summary: "Replace an entry that is not approved",
			about:   "A machine replaces what it uploaded, a person their own entries, whoever uploaded them. An entry that the caller sees and that is not theirs is a 403 not_own. Repeating it changes nothing more.",
			machine: ScopeUpload, person: ScopeCreate, body: media{"the whole entry", ref("NewEntry")},
			replies: slices.Concat(one, []reply{unchangeable}, refused), do: s.replace,
		},
		{
			id: "deleteTimesheet", method: http.MethodDelete, path: "/timesheets/{id}",
			summary: "Delete an entry that is not approved",
			about:   "As replaceTimesheet.",
			machine: ScopeDelete, person: ScopeDelete,
			replies: []reply{{http.StatusNoContent, "the entry is gone", nil}, one[1], unchangeable}, do: s.remove,
		},
		{
			id: "listApprovals", method: http.MethodGet, path: "/approvals",
			summary: "List entries that wait for approval",
			about:   "Those of the people in the regions granted to a manager, without the manager's own; an administrator's are all.",
			person:  ScopeApprove, roles: managers, query: listQuery, replies: list, do: s.approvals,
		},
		{
			id: "decideApproval", method: http.MethodPut, path: "/approvals/{id}",
			summary: "Approve an entry, or take the approval back",
			about:   "Of those that the caller sees. Nobody but an administrator decides on their own hours (403 own_hours). Repeating it changes nothing more.",
			person:  ScopeApprove, roles: managers, body: media{"the decision", ref("Decision")},
			replies: slices.Concat(one, refused), do: s.decide,
		},
		{
			id: "whoAmI", method: http.MethodGet, path: "/me",
			summary: "Who the token speaks for",
			about:   "The claims that this API decides by, wherever it has them from.",
			person:  ScopeRead, replies: []reply{{http.StatusOK, "the person", ref("Person")}}, do: s.me,
		},
		{
			id: "getResourceMetadata", method: http.MethodGet, path: metadataPath,
			summary: "Where tokens for this API come from (RFC 9728)",
			open:    true, replies: []reply{{http.StatusOK, "the metadata", ref("ResourceMetadata")}}, do: s.metadata,
		},
		{
			id: "getOpenAPI", method: http.MethodGet, path: "/openapi.json",
			summary: "This document",
			open:    true, replies: []reply{{http.StatusOK, "an OpenAPI document", object{"type": "object"}}}, do: s.openAPI,
		},
	}
	if path := strings.TrimPrefix(s.metadataURL, s.base); path != metadataPath {
		op := ops[slices.IndexFunc(ops, func(op operation) bool { return op.path == metadataPath })]
		op.id, op.path, op.about = "getMetadataOfResource", path, "At the address that clients make of the resource's identifier."
		ops = append(ops, op)
	}
	return ops
}

// routes puts the operations behind their checks, and beside them says which
// methods their paths take.
func (s *Server) routes() {
	methods := make(map[string][]string)
	for _, op := range s.ops {
		if op.open {
			s.mux.HandleFunc(op.method+" "+op.path, func(w http.ResponseWriter, r *http.Request) { op.do(w, r, caller{}) })
		} else {
			s.mux.Handle(op.method+" "+op.path, s.guard(op))
		}
		methods[op.path] = append(methods[op.path], op.method)
	}
	for path, takes := range methods {
		// /timesheets/upload with another method is an entry with an odd id.
		if path != "/timesheets/upload" {
			s.mux.HandleFunc(path, notAllowed(strings.Join(takes, ", ")))
		}
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		WriteProblem(w, http.StatusNotFound, "not_found", "there is nothing at this address")
	})
}

func notAllowed(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", methods)
		WriteProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "this address takes "+methods)
	}
}
