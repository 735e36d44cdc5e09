package notify

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The manual names every field of a message and every variable of a hook.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	e := &Event{Event: Silence, Of: Silence, User: "007", Run: "r"}
	body, err := (&Webhook{Preset: "json"}).body(e)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the field %s is not in the manual", name)
		}
	}
	h := Hook{Getenv: func(name string) string { return name }}
	for _, v := range h.environment(e) {
		if name, _, _ := strings.Cut(v, "="); !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the variable %s is not in the manual", name)
		}
	}
}
