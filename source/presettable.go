package source

import "github.com/exampleco/tsupload/internal/timesheet"

// presets is the table of the trackers. Where two could read a header, the one
// that uses more of its columns does.
//
// None is here of which no real export was seen. Dates, clocks and decimal
// signs follow the profile of whoever exports; so the file decides them.
func presets() []preset {
	hamster := hamsterWords()
	return []preset{
		{
			// "Amount (USD)" and the like vary with the currency and are not used. An
			// account without e-mail addresses in its export has names only.
			name: "toggl", title: "Toggl Track's detailed report",
			marks: [][]string{{"start date"}, {"start time"}, {"end time"}, {"duration"}},
			columns: map[field][]string{
				fieldUser: {"email", "user"}, fieldDate: {"start date"}, fieldStart: {"start time"}, fieldEndDate: {"end date"}, fieldEnd: {"end time"},
				fieldDuration: {"duration"}, fieldProject: {"project"}, fieldTask: {"task"}, fieldNotes: {"description"},
			},
		},
		{
			// Many columns can be left out, the durations too.
			name: "clockify", title: "Clockify's detailed report",
			marks: [][]string{{"start date"}, {"duration (h)", "duration (decimal)", "group"}},
			columns: map[field][]string{
				fieldUser: {"email", "user"}, fieldDate: {"start date"}, fieldStart: {"start time"}, fieldEndDate: {"end date"}, fieldEnd: {"end time"},
				fieldDuration: {"duration (h)"}, fieldHours: {"duration (decimal)"}, fieldProject: {"project"}, fieldTask: {"task", "activity"},
				fieldNotes: {"description"}, fieldKind: {"type"},
			},
			skip: map[string]timesheet.Reason{"break": timesheet.ReasonBreak},
		},
		{
			name: "clockify-summary", title: "Clockify's summary",
			marks:  [][]string{{"time (h)"}, {"time (decimal)"}},
			refuse: "this is Clockify's summary report, which has totals and no entries", useInstead: "export the detailed report instead",
		},
		{
			// The only tracker whose person is two columns, and no e-mail address.
			name: "harvest", title: "Harvest's detailed time report",
			marks: [][]string{{"date"}, {"hours"}, {"first name"}, {"last name"}, {"client", "project"}},
			columns: map[field][]string{
				fieldUser: {"first name"}, fieldSurname: {"last name"}, fieldDate: {"date"}, fieldHours: {"hours"},
				fieldProject: {"project"}, fieldTask: {"task"}, fieldNotes: {"notes"},
			},
		},
		{
			// What Kimai's importer takes, and others write for it: seconds.
			name: "kimai-import", title: "a file for Kimai's import",
			marks: [][]string{{"date"}, {"from"}, {"to"}, {"duration"}, {"activity"}, {"exported"}, {"rate"}},
			columns: map[field][]string{
				fieldUser: {"email", "user"}, fieldDate: {"date"}, fieldStart: {"from"}, fieldEnd: {"to"}, fieldDuration: {"duration"},
				fieldProject: {"project"}, fieldTask: {"activity"}, fieldNotes: {"description"},
			},
			durations: "seconds", first: true,
		},
		{
			// Headers are in the language of the template, columns as its author chose.
			// The id stands there only if the template has it.
			name: "kimai", title: "Kimai's export",
			marks: [][]string{{"date", "datum"}, {"from", "von", "beginn"}, {"to", "bis", "ende"}, {"duration", "dauer"}, {"activity", "tätigkeit"}},
			columns: map[field][]string{
				fieldUser: {"user", "benutzer", "e-mail", "name"}, fieldDate: {"date", "datum"}, fieldStart: {"from", "von", "beginn"},
				fieldEnd: {"to", "bis", "ende"}, fieldDuration: {"duration", "dauer"}, fieldProject: {"project", "projekt"},
				fieldTask: {"activity", "tätigkeit"}, fieldNotes: {"description", "beschreibung"}, fieldID: {"id"},
			},
		},
		{
			// The time in a work date is when the work began. Headers are in the language
			// of the account.
			name: "tempo", title: "Tempo's worklogs",
			marks: [][]string{{"issue key", "ключ запроса"}, {"hours", "часов"}, {"work date", "дата работы"}, {"username", "full name", "имя пользователя", "полное имя"}},
			columns: map[field][]string{
				fieldUser: {"username", "full name", "имя пользователя", "полное имя"}, fieldDate: {"work date", "дата работы"}, fieldHours: {"hours", "часов"},
				fieldProject: {"project name", "project key", "account name", "имя проекта", "ключ проекта", "имя аккаунта"},
				fieldTask:    {"issue key", "ключ запроса"}, fieldNotes: {"work description", "описание работы"},
			},
		},
		{
			// A column a day, without descriptions. Of whom or of what the first column
			// is, which has no name, nothing seen says, nor which rows add up others.
			name: "tempo-days", title: "Tempo's report with a column a day",
			marks:  [][]string{{"issue"}, {"key"}, {"logged"}},
			refuse: "this is Tempo's report with a column a day, which has no entries", useInstead: "export the worklogs instead, a row each (Issue Key, Hours, Work date)",
		},
		{
			// The id is cut to seven digits, so that two entries can share one.
			name: "watson", title: "Watson's log",
			marks: [][]string{{"id"}, {"start"}, {"stop"}, {"project"}, {"tags"}},
			columns: map[field][]string{
				fieldStart: {"start"}, fieldEnd: {"stop"}, fieldProject: {"project"}, fieldNotes: {"tags"},
			},
		},
		{
			// Tags take the place of projects; subtotals stand between the entries.
			name: "timetagger", title: "TimeTagger's report",
			marks: [][]string{{"subtotals"}, {"tag_groups"}, {"duration"}, {"date"}, {"start"}, {"stop"}},
			columns: map[field][]string{
				fieldUser: {"user"}, fieldDate: {"date"}, fieldStart: {"start"}, fieldEnd: {"stop"}, fieldDuration: {"duration"},
				fieldProject: {"tags"}, fieldNotes: {"description"}, fieldKind: {"subtotals"},
			},
			subtotals: true,
		},
		{
			name: "simple-time-tracker", title: "Simple Time Tracker's backup as CSV",
			marks: [][]string{{"activity name"}, {"time started"}, {"time ended"}},
			columns: map[field][]string{
				fieldStart: {"time started"}, fieldEnd: {"time ended"}, fieldDuration: {"duration"}, fieldProject: {"activity name"}, fieldNotes: {"comment"},
			},
			unpadded: true,
		},
		{
			// The minutes are cut to whole ones by old versions. A timer that runs ends
			// never in the TSV, and at Python's word for nothing in the JSON.
			name: "hamster", title: "Hamster's export",
			marks: hamster[:],
			columns: map[field][]string{
				fieldTask: hamster[0], fieldStart: hamster[1], fieldEnd: hamster[2], fieldDuration: hamster[3], fieldProject: hamster[4], fieldNotes: hamster[5],
			},
			durations: decimalMinutes, never: "none",
		},
		{
			// Times have no seconds. Sums of the activities follow in a table of their own.
			name: "atimelogger", title: "aTimeLogger's report",
			marks: [][]string{{"activity type"}, {"duration"}, {"from"}, {"to"}, {"comment"}},
			columns: map[field][]string{
				fieldStart: {"from"}, fieldEnd: {"to"}, fieldDuration: {"duration"}, fieldProject: {"activity type"}, fieldNotes: {"comment"},
			},
			sums: []string{"activity type", "duration", "%"},
		},
		{
			name: "clockify-cli", title: "clockify-cli's report",
			marks: [][]string{{"id"}, {"project.name"}, {"start"}, {"end"}, {"user.name", "user.email"}},
			columns: map[field][]string{
				fieldID: {"id"}, fieldUser: {"user.email", "user.name"}, fieldStart: {"start"}, fieldEnd: {"end"}, fieldDuration: {"duration"},
				fieldProject: {"project.name"}, fieldTask: {"task.name"}, fieldNotes: {"description"},
			},
		},
		{
			// A row is a day, or all of a task in it: from its first start to its last
			// end there are breaks.
			name: "super-productivity", title: "Super Productivity's worklog",
			marks: [][]string{{"date"}, {"start"}, {"end"}, {"worked"}, {"titles"}},
			columns: map[field][]string{
				fieldDate: {"date"}, fieldDuration: {"worked"}, fieldNotes: {"titles"},
			},
			worked: true, insist: true,
		},
		{
			// An interval's id is its place in the list, which every edit changes; its
			// start is copied where its identity is looked for.
			name: "timewarrior", title: "Timewarrior's export",
			marks: [][]string{{"start"}, {"end"}, {"tags"}, {"interval"}},
			columns: map[field][]string{
				fieldID: {"interval"}, fieldStart: {"start"}, fieldEnd: {"end"}, fieldProject: {"tags.0"}, fieldTask: {"tags"}, fieldNotes: {"annotation"},
			},
			first: true,
		},
		{
			name: "watson-json", title: "Watson's log as JSON",
			marks: [][]string{{"frame"}, {"start"}, {"stop"}, {"project"}},
			columns: map[field][]string{
				fieldID: {"frame"}, fieldStart: {"start"}, fieldEnd: {"stop"}, fieldProject: {"project"}, fieldNotes: {"tags"},
			},
			first: true,
		},
		{
			// Persons, projects and tasks by their ids, as http.preset reads them.
			name: "clockify-api", title: "an answer of Clockify's API",
			marks: [][]string{{"timeinterval.start"}, {"timeinterval.end"}, {"id", "_id"}},
			columns: map[field][]string{
				fieldID: {"id", "_id"}, fieldUser: {"userid", "user.id"}, fieldStart: {"timeinterval.start"}, fieldEnd: {"timeinterval.end"},
				fieldDuration: {"timeinterval.duration"}, fieldProject: {"projectid", "project.id"}, fieldTask: {"taskid", "task.id"},
				fieldNotes: {"description"}, fieldKind: {"type"},
			},
			skip:      map[string]timesheet.Reason{"break": timesheet.ReasonBreak},
			durations: "iso", first: true,
		},
		{
			// Tags take the place of projects. Ours are entries.from and entries.to:
			// the times with the days that they are on.
			name: "klog", title: "klog's export",
			marks: [][]string{{"date"}, {"entries.total_mins"}, {"entries.from"}, {"entries.to"}},
			columns: map[field][]string{
				fieldDate: {"date"}, fieldStart: {"entries.from"}, fieldEnd: {"entries.to"}, fieldDuration: {"entries.total_mins"},
				fieldProject: {"entries.tag"}, fieldNotes: {"entries.summary"},
			},
			durations: "minutes", first: true,
		},
		{
			// The table is ours. Times in it have their zones' offsets.
			name: "ical", title: "a calendar",
			marks: [][]string{{"uid"}, {"dtstart"}, {"dtend"}, {"summary"}},
			columns: map[field][]string{
				fieldID: {"uid"}, fieldStart: {"dtstart"}, fieldEnd: {"dtend"}, fieldProject: {"categories.0"}, fieldNotes: {"summary"},
			},
			planned: true,
		},
		{
			// A row a person and a column a day. There is no id; a day that is not over
			// has other hours in the next export.
			name: "hubstaff", title: "Hubstaff's weekly report",
			marks: [][]string{{"member"}, {"day"}, {"time of the day"}},
			columns: map[field][]string{
				fieldUser: {"email", "member"}, fieldDate: {"day"}, fieldDuration: {"time of the day"}, fieldProject: {"project"},
			},
			pivoted: &pivot{
				marks:   [][]string{{"organization"}, {"member"}, {"total worked"}},
				persons: []string{"member", "email"},
				total:   "total worked",
			},
		},
		{
			// A row a person, project and day, or a task of it. Who exports only their own
			// time has no column for themselves.
			name: "hubstaff-detailed", title: "Hubstaff's detailed report",
			marks: [][]string{{"date"}, {"project"}, {"time"}, {"activity"}, {"organization", "member"}, {"task", "notes", "currency"}},
			columns: map[field][]string{
				fieldUser: {"email", "member"}, fieldDate: {"date"}, fieldDuration: {"time"}, fieldProject: {"project"}, fieldTask: {"task"}, fieldNotes: {"notes"},
			},
		},
		{
			// Nothing seen says whether the total has the hours of PTO and of holidays in it.
			name: "hubstaff-activity", title: "Hubstaff's time and activity report",
			marks:      [][]string{{"date"}, {"member"}, {"regular hours"}, {"total hours"}},
			refuse:     "this is Hubstaff's time and activity report, of which the hours may hold time off",
			useInstead: "export the weekly report instead; or, if all of it is work, set columns: {user: Member, date: Date, duration: Total hours, project: Project, task: To-do}",
		},
	}
}
