package source

import (
	"strconv"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func TestNearNames(t *testing.T) {
	t.Parallel()
	names := map[string]string{"Website": "WEB", "Web shop": "SHOP", "Apollo": "apollo-11", "007": "u-1", "X": "Y"}
	for name, want := range map[string]string{
		"Websit": `near to "Website"`, "website ": `near to "Website"`, "Website relaunch": `near to "Website"`,
		"Webshop": `near to "SHOP", "Web shop"`, "apollo": `near to "Apollo", "apollo-11"`, "Zeus": "", "7": `near to "007"`, "": "",
	} {
		if got := newSuggestions(names).near(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	// However many names there are, texts are few.
	s := newSuggestions(names)
	for i := range 10 * maxSuggestions {
		s.near("Website" + strconv.Itoa(i))
	}
	if len(s.said) != maxSuggestions {
		t.Errorf("got %d texts", len(s.said))
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	cfg := text("user,date,project,start,end,hours\nAda,2026-11-16,Websit,09:00,10:00,\nAda,2026-11-16,Website,00:00,17:00,\nAda,2026-11-16,Website,,,17\nAdda,2026-11-16,Website,,,1\n")
	cfg.Projects = map[string]string{"Website": "WEB"}
	cfg.People = map[string]string{"Ada": "u-1"}
	res := must(t, cfg)
	if len(res.entries) != 3 || res.entries[0].Hold != timesheet.ReasonProject || res.entries[0].HoldDetail != `near to "Website"` ||
		res.entries[1].Hold != timesheet.ReasonForgot || res.entries[2].Hold != "" {
		t.Errorf("got %+v", res.entries)
	}
	if len(res.rejected) != 1 || !strings.HasSuffix(res.rejected[0].Hint, `near to "Ada"`) {
		t.Errorf("got %+v", res.rejected)
	}
	never := text("user,date,project,start,end\nAda,2026-11-16,P,00:00,17:00\n")
	never.Rules.ForgottenTimer = -1
	if e := must(t, never).entries[0]; e.Hold != "" {
		t.Errorf("got %+v", e)
	}
}
