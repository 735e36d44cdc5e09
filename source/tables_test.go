package source

import (
	"errors"
	"strings"
	"testing"
)

func TestSecondHeader(t *testing.T) {
	t.Parallel()
	mapped := map[string]string{"user": "Wer", "date": "Tag", "hours": "Stunden", "project": "Was"}
	narrow := map[string]string{"date": "Tag", "hours": "Std"}
	for name, c := range map[string]struct {
		content string
		columns map[string]string
		line    int // of the second header; 0 for none
	}{
		"same":             {"user,date,project,hours\nu,2026-11-16,P,1\nuser,date,project,hours\n", nil, 3},
		"same again":       {"user,date,project,hours\nuser,date,project,hours\nu,2026-11-16,P,1\n", nil, 2},
		"other order":      {"user,date,project,hours\nu,2026-11-16,P,1\n\n\nproject,date,user,hours\nP,2026-11-16,u,1\n", nil, 5},
		"blank cells":      {"user,date,project,hours,notes\nu,2026-11-16,P,1,n\n DATE ,,\"Duration\",Email,\n", nil, 3},
		"fewer columns":    {"user,date,project,hours\nu,2026-11-16,P,1\nuser,day,hours\n", nil, 3},
		"more columns":     {"user,date,project,hours\nu,2026-11-16,P,1\nuser,day,hours,task,billable,rate\n", nil, 3},
		"unknown unused":   {"user,date,project,hours,rate\nu,2026-11-16,P,1,9\nuser,date,project,hours,Client\n", nil, 3},
		"own words":        {"Wer;Tag;Was;Stunden\nu;2026-11-16;P;1\nwas;tag;wer;stunden\n", mapped, 3},
		"our own words":    {"Wer;Tag;Was;Stunden\nu;2026-11-16;P;1\nuser;date;project;hours\n", mapped, 3},
		"two columns":      {"Tag;Std\n2026-11-16;1\nTag;Std\n", narrow, 3},
		"a user's name":    {"user,date,project,hours,notes\nuser,2026-11-16,project,1,notes\n", nil, 0},
		"a lone word":      {"user,date,project,hours\nu,2026-11-16,P,1\n,,project,\n", nil, 0},
		"two lone words":   {"user,date,project,hours\nu,2026-11-16,P,1\nuser,,project,\n", nil, 0},
		"one that is none": {"user,date,project,hours\nu,2026-11-16,P,1\nuser,date,project,Total\n", nil, 0},
	} {
		cfg := text(c.content)
		if cfg.Columns = c.columns; len(c.columns) == len(narrow) {
			cfg.User, cfg.Defaults.Project = "u", "P"
		}
		res, err := read(t, cfg)
		if c.line == 0 {
			if err != nil || len(res.entries) != 1 {
				t.Errorf("%s: got %+v, %v", name, res, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Line != c.line || !strings.Contains(e.Message, "more than one table") || e.Hint() != "export one table per file" {
			t.Errorf("%s: got %v, want line %d", name, err, c.line)
		}
	}
}

// A JSON export has no second header: a record of such values is a bad row.
func TestNoSecondHeaderInJSON(t *testing.T) {
	t.Parallel()
	cfg := httpServing(t, "application/json", `[{"user":"user","date":"date","project":"project","hours":"hours"},{"user":"u","date":"2026-11-16","project":"P","hours":1}]`)
	if res := must(t, cfg); len(res.entries) != 1 || len(res.rejected) != 1 {
		t.Errorf("got %+v", res)
	}
}

func TestCutOff(t *testing.T) {
	t.Parallel()
	const head = "user,date,project,hours\nu,2026-11-16,P,1\n"
	for name, c := range map[string]struct {
		content string
		cut     bool
	}{
		"in the first cell": {head + "u", true},
		"in the third":      {head + "u,2026-11-16,Apo", true},
		"behind a comma":    {head + "u,2026-11-16,", true},
		"before the LF":     {head + "u,2026-11-16\r", true},
		"of bad form":       {head + "u,2026-11-16,A\"p", true},
		"in a character":    {head + "\u00fc,2026-11-16,P,2\nu,2026-11-16,Caf\xc3", true},
		"of one row":        {"user,date,project,hours\nu,2026", true},
		"whole":             {head + "u,2026-11-16,P,2", false},
		"too long":          {head + "u,2026-11-16,P,2,x", false},
		"short but ended":   {head + "u,2026-11-16\n", false},
		"header":            {"user,date,project,hours", false},
	} {
		_, err := read(t, text(c.content))
		var e *Error
		cut := errors.As(err, &e) && e.Line == 1+strings.Count(strings.TrimRight(c.content, "\n"), "\n") &&
			strings.Contains(e.Message, "cut off in its last line") && e.Hint() == "export it again"
		if cut != c.cut || !c.cut && err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
