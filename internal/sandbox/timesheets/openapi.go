package timesheets

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// securityScheme is the name that the document gives to the tokens.
const securityScheme = "token"

// openAPI answers GET /openapi.json.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request, _ caller) {
	write(w, http.StatusOK, "application/json", s.document)
}

// describe renders the operations as an OpenAPI 3.1 document.
func (s *Server) describe() ([]byte, error) {
	paths := object{}
	for _, op := range s.ops {
		item, ok := paths[op.path].(object)
		if !ok {
			item = object{}
			paths[op.path] = item
		}
		item[strings.ToLower(op.method)] = op.describe()
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Timesheets API", "version": "1",
			"description": "The Timesheets API of ExampleCo, as the sandbox of tsupload has it.",
		},
		"servers": []object{{"url": cmp.Or(s.base, "/")}},
		"paths":   paths,
		"components": object{
			"schemas": schemas(),
			"securitySchemes": object{securityScheme: object{
				"type":             "openIdConnect",
				"openIdConnectUrl": s.issuer + "/.well-known/openid-configuration",
				"description":      "An access token (RFC 9068, or a reference token) for " + s.audience + ", in the Authorization header.",
			}},
			"headers": object{
				"WWW-Authenticate": object{"description": "RFC 6750, with resource_metadata of RFC 9728", "schema": object{"type": "string"}},
				"Retry-After":      object{"description": "seconds", "schema": object{"type": "integer"}},
			},
		},
	})
}

func (op *operation) describe() object {
	d := object{"operationId": op.id, "summary": op.summary, "responses": op.responses(), "security": op.security()}
	if op.about != "" {
		d["description"] = op.about
	}
	if !op.open {
		d["x-callers"] = op.callers()
	}
	if len(op.roles) > 0 {
		d["x-roles"] = op.roles
	}
	if p := op.parameters(); len(p) > 0 {
		d["parameters"] = p
	}
	if op.body.schema != nil {
		d["requestBody"] = object{
			"required": true, "description": op.body.about,
			"content": object{"application/json": object{"schema": op.body.schema}},
		}
	}
	return d
}

func (op *operation) parameters() []object {
	var list []object
	if strings.Contains(op.path, "{id}") {
		list = append(list, object{
			"name": "id", "in": "path", "required": true,
			"description": "id of the entry", "schema": object{"type": "string"},
		})
	}
	add := func(in string, params []parameter) {
		for _, p := range params {
			list = append(list, object{"name": p.name, "in": in, "description": p.about, "schema": p.schema})
		}
	}
	add("query", op.query)
	add("header", op.headers)
	return list
}

// security lists the scopes; one of them is enough, by who calls.
func (op *operation) security() []object {
	list := []object{}
	for _, scope := range []string{op.machine, op.person} {
		if scope != "" && !slices.ContainsFunc(list, func(o object) bool { return o[securityScheme].([]string)[0] == scope }) {
			list = append(list, object{securityScheme: []string{scope}})
		}
	}
	return list
}

func (op *operation) callers() []string {
	var list []string
	if op.machine != "" {
		list = append(list, "machine")
	}
	if op.person != "" {
		list = append(list, "person")
	}
	return list
}

func (op *operation) responses() object {
	all := make(object)
	for _, r := range op.replies {
		all[strconv.Itoa(r.status)] = r.describe()
	}
	if op.open {
		return all
	}
	common := object{}
	header := func(name string) object { return object{name: object{"$ref": "#/components/headers/" + name}} }
	for _, r := range []struct {
		reply
		header string
	}{
		{reply{http.StatusBadRequest, "the request is malformed, or carries its token in the wrong place", ref("Problem")}, ""},
		{reply{http.StatusUnauthorized, "the token is missing, invalid or expired", ref("Problem")}, "WWW-Authenticate"},
		{reply{http.StatusForbidden, "the token is good, and its scope or its claims are not enough", ref("Problem")}, "WWW-Authenticate"},
		{reply{http.StatusServiceUnavailable, "the token cannot be checked now; this says nothing about it", ref("Problem")}, "Retry-After"},
	} {
		d := r.describe()
		if r.header != "" {
			d["headers"] = header(r.header)
		}
		common[strconv.Itoa(r.status)] = d
	}
	maps.Copy(common, all)
	return common
}

func (r reply) describe() object {
	d := object{"description": r.about}
	switch {
	case r.schema == nil:
	case r.status >= http.StatusBadRequest:
		d["content"] = object{"application/problem+json": object{"schema": r.schema}}
	default:
		d["content"] = object{"application/json": object{"schema": r.schema}}
	}
	return d
}
