package source

import "github.com/exampleco/tsupload/internal/timesheet"

// apis are the trackers whose API is known. Persons, projects and tasks are
// taken by their ids, which stay when somebody renames them.
var apis = map[string]api{
	"toggl": {
		base:   "https://api.track.toggl.com",
		path:   "/api/v9/me/time_entries",
		params: []APIParam{{"workspace", true, "the number in the address of the workspace's pages; entries of others are left out"}},
		query:  map[string]string{"start_date": "{{since}}", "end_date": "{{until}}"},
		auth:   authBasic,
		times:  "rfc3339",
		limit:  1000,
		columns: map[string]string{
			"id": "id", "user": "user_id", "start": "start", "end": "stop", "project": "project_id", "task": "task_id", "notes": "description",
		},
		skip: []skipRule{
			{"server_deleted_at", isSet, "", timesheet.ReasonDeleted},
			{"workspace_id", differs, "{{workspace}}", timesheet.ReasonElsewhere},
			// By the documentation a running timer has a negative duration, in answers
			// also 0; that it has no end is always true.
			{"stop", isEmpty, "", timesheet.ReasonRunning},
		},
	},
	"clockify": {
		base: "https://api.clockify.me/api/v1",
		path: "/workspaces/{{workspace}}/user/{{user}}/time-entries",
		params: []APIParam{
			{"workspace", true, "24 hexadecimal digits, in the address of the workspace's settings"},
			{"user", true, "24 hexadecimal digits: the id that GET /v1/user answers with"},
		},
		query: map[string]string{"start": "{{since}}", "end": "{{until}}"},
		auth:  authAPIKey,
		times: "rfc3339",
		page:  &Page{Parameter: "page", First: 1, SizeParameter: "page-size", Size: 1000},
		columns: map[string]string{
			"id": "id", "user": "userId", "start": "timeInterval.start", "end": "timeInterval.end", "project": "projectId", "task": "taskId", "notes": "description",
		},
		skip: []skipRule{
			{"type", equals, "BREAK", timesheet.ReasonBreak},
			{"timeInterval.end", isEmpty, "", timesheet.ReasonRunning},
		},
	},
	"harvest": {
		base: "https://api.harvestapp.com/v2",
		path: "/time_entries",
		params: []APIParam{
			{"account", true, "the account id that is shown beside the personal access token"},
			{"user", false, "the id of one user, where the token may see several"},
		},
		query:   map[string]string{"from": "{{since}}", "to": "{{until}}", "user_id": "{{user}}"},
		headers: map[string]string{"Harvest-Account-Id": "{{account}}"},
		auth:    authBearer,
		times:   "date",
		records: "time_entries",
		next:    "links.next",
		total:   "total_entries",
		columns: map[string]string{
			"id": "id", "user": "user.id", "date": "spent_date", "hours": "hours", "project": "project.id", "task": "task.id", "notes": "notes",
		},
		skip: []skipRule{{"is_running", equals, "true", timesheet.ReasonRunning}},
	},
	"kimai": {
		path:   "/api/timesheets",
		params: []APIParam{{"user", false, "the id of one user, or all, where the token may see others"}},
		query:  map[string]string{"begin": "{{since}}", "end": "{{until}}", "user": "{{user}}"},
		auth:   authBearer,
		times:  "local",
		page:   &Page{Parameter: "page", First: 1, SizeParameter: "size", Size: 500, EndStatus: 404},
		total:  "header:X-Total-Count",
		// The end is not used: a break makes the duration shorter than the time
		// between.
		columns: map[string]string{
			"id": "id", "user": "user", "start": "begin", "duration": "duration", "project": "project", "task": "activity", "notes": "description",
		},
		duration: "seconds",
		skip:     []skipRule{{"end", isEmpty, "", timesheet.ReasonRunning}},
	},
}
