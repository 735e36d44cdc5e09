package timesheets

import (
	"maps"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

var dayOrTime = object{"type": "string", "pattern": `^\d{4}-\d{2}-\d{2}(T.+)?$`, "examples": []string{"2017-05-10"}}

// entryFields are those that are sent and come back.
func entryFields() object {
	return object{
		"external_id": object{"type": "string", "description": "the caller's own name for the entry"},
		"user_id":     object{"type": "string", "minLength": 1},
		"user_type":   object{"type": "string", "description": "such as Contractor"},
		"date": object{
			"type": "string", "format": "date-time",
			"description": "RFC 3339; the calendar day of the entry is the one that it shows in its own zone",
		},
		"project": object{"type": "string", "minLength": 1, "maxLength": maxProject, "description": "without control characters, of text direction neither"},
		"hours":   object{"type": "number", "exclusiveMinimum": 0, "maximum": maxHours},
	}
}

// schemas are the bodies that more than one operation has, or that are worth a
// name.
func schemas() object {
	stored := object{"id": object{"type": "string"}, "approved": object{"type": "boolean"}}
	maps.Copy(stored, entryFields())
	problem := object{
		"type": object{"type": "string"}, "title": object{"type": "string"},
		"status":  object{"type": "integer"},
		"detail":  object{"type": "string"},
		"code":    object{"type": "string", "description": "for programs: unauthorized, insufficient_scope, not_found, ..."},
		"message": object{"type": "string", "description": "for people"},
		"field":   object{"type": "string", "description": "of the body, where one is at fault"},
	}
	return object{
		"NewEntry": object{
			"type": "object", "properties": entryFields(),
			"required":    []string{"date", "project", "hours"},
			"description": "user_id is required of machines. Fields that the API does not know are ignored; one in another case, or twice, is refused.",
		},
		"Entry": object{
			"type": "object", "properties": stored,
			"required": []string{"id", "user_id", "user_type", "date", "project", "hours", "approved"},
		},
		"EntryList": object{
			"type": "object", "required": []string{"timesheets"},
			"properties": object{
				"timesheets":  object{"type": "array", "items": ref("Entry")},
				"next_cursor": object{"type": "string", "description": "there is more; ask again with this as cursor"},
			},
		},
		"BatchResult": object{
			"type": "object", "required": []string{"results"},
			"properties": object{"results": object{"type": "array", "items": object{
				"type": "object", "required": []string{"index", "status"},
				"properties": object{
					"index": object{"type": "integer", "minimum": 0}, "status": object{"type": "integer"},
					"external_id": object{"type": "string"}, "id": object{"type": "string"},
					"error": object{
						"type": "object", "required": []string{"code", "message"},
						"properties": object{"code": problem["code"], "message": problem["message"], "field": problem["field"]},
					},
				},
			}}},
		},
		"Decision": object{
			"type": "object", "required": []string{"approved"}, "additionalProperties": false,
			"properties": object{"approved": object{"type": "boolean"}},
		},
		"Person": object{
			"type": "object", "required": []string{"user_id", "user_type", "role", "regions"},
			"properties": object{
				"user_id": object{"type": "string"}, "user_type": object{"type": "string"},
				"role": object{"type": "string", "enum": []people.Role{
					people.RoleEmployee, people.RoleContractor, people.RoleManager, people.RoleAdministrator,
				}},
				"regions": object{"type": "array", "items": object{"type": "string"}},
			},
		},
		"ResourceMetadata": object{
			"type": "object", "required": []string{"resource", "authorization_servers", "scopes_supported", "bearer_methods_supported"},
			"properties": object{
				"resource":                 object{"type": "string", "format": "uri"},
				"authorization_servers":    object{"type": "array", "items": object{"type": "string", "format": "uri"}},
				"scopes_supported":         object{"type": "array", "items": object{"type": "string"}},
				"bearer_methods_supported": object{"type": "array", "items": object{"type": "string"}},
			},
		},
		"Problem": object{
			"type": "object", "properties": problem, "description": "RFC 9457, with code and message",
			"required": []string{"type", "title", "status", "detail", "code", "message"},
		},
	}
}
