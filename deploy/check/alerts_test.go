package check

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	text, err := os.ReadFile("../prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 9 {
		t.Fatalf("got only %d alerts", len(rules))
	}
	return rules
}

// Whoever is called by an alert finds in it what is wrong and where to read on.
func TestAlertsExplain(t *testing.T) {
	t.Parallel()
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllSubmatch(operations, -1) {
		headings[strings.ReplaceAll(strings.ToLower(string(h[1])), " ", "-")] = true
	}
	for _, r := range alerts(t) {
		for _, key := range []string{"summary", "description", "runbook_url"} {
			if r.Annotations[key] == "" {
				t.Errorf("%s has no %s", r.Alert, key)
			}
		}
		if r.Labels["severity"] == "" {
			t.Errorf("%s has no severity", r.Alert)
		}
		page, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/operations.md") || anchor != strings.ToLower(r.Alert) || !headings[anchor] {
			t.Errorf("%s: docs/operations.md has no heading for %s", r.Alert, r.Annotations["runbook_url"])
		}
		delete(headings, anchor)
	}
	for heading := range headings {
		if strings.HasPrefix(heading, "tsupload") {
			t.Errorf("docs/operations.md explains %s, which is no alert", heading)
		}
	}
}

// An alert on a metric that does not exist never fires.
func TestAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(tsupload_\\w+)` \\| \\w+ \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		labels[row[1]] = row[2]
	}
	if len(labels) == 0 {
		t.Fatal("docs/metrics.md has no table of metrics")
	}
	for _, r := range alerts(t) {
		expr, err := parser.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			selector, ok := node.(*parser.VectorSelector)
			if !ok || !strings.HasPrefix(selector.Name, "tsupload_") {
				return nil
			}
			known, ok := labels[selector.Name]
			if !ok {
				t.Errorf("%s: there is no metric %s", r.Alert, selector.Name)
			}
			for _, m := range selector.LabelMatchers {
				if m.Name != "__name__" && !strings.Contains(known, "`"+m.Name+"`") {
					t.Errorf("%s: %s has no label %s", r.Alert, selector.Name, m.Name)
				}
			}
			return nil
		})
	}
}
