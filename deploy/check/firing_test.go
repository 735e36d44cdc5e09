package check

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
)

// healthy is a day in which nothing is wrong; time 0 is its beginning. One run
// takes place every day at hour 6, and nothing waits.
var healthy = map[string]string{
	`up{job="tsupload"}`: "1x1500",
	`tsupload_last_success_timestamp_seconds{source="acme"}`:    "21600x1500",
	`tsupload_last_run_exit_status{source="acme"}`:              "0x1500",
	`tsupload_open_entries{source="acme",state="in_doubt"}`:     "0x1500",
	`tsupload_open_entries{source="acme",state="rejected"}`:     "0x1500",
	`tsupload_open_entries{source="acme",state="held"}`:         "0x1500",
	`tsupload_open_entries{source="acme",state="new"}`:          "7x1500",
	`tsupload_oldest_unsent_entry_age_seconds{source="acme"}`:   "0x1500",
	`tsupload_ledger_readable`:                                  "1x1500",
	`tsupload_ledger_size_bytes`:                                "70000000x1500",
	`tsupload_next_run_timestamp_seconds{source="acme"}`:        "108000x1500",
	`tsupload_run_in_progress{source="acme"}`:                   "0x1500",
	`tsupload_api_answers_total{class="2xx",method="POST"}`:     "0+10x1500",
	`tsupload_api_answers_total{class="5xx",method="POST"}`:     "0x1500",
	`tsupload_last_success_timestamp_seconds{source="globex"}`:  "21600x1500",
	`tsupload_last_run_exit_status{source="globex"}`:            "3x1500", // entries wait: their own alerts
	`tsupload_next_run_timestamp_seconds{source="globex"}`:      "108000x1500",
	`tsupload_run_in_progress{source="globex"}`:                 "0x1500",
	`tsupload_open_entries{source="globex",state="new"}`:        "0x1500",
	`tsupload_oldest_unsent_entry_age_seconds{source="globex"}`: "3600x1500",
}

// fires lists the alerts whose expression holds at a time of the day.
func fires(t *testing.T, series map[string]string, at time.Duration) map[string]bool {
	t.Helper()
	load := &strings.Builder{}
	load.WriteString("load 1m\n")
	for name, values := range series {
		if values != "" {
			load.WriteString("  " + name + " " + values + "\n")
		}
	}
	storage := promqltest.LoadedStorage(t, load.String())
	t.Cleanup(func() { _ = storage.Close() })
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	fired := map[string]bool{}
	for _, rule := range alerts(t) {
		query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, time.Unix(0, 0).Add(at))
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		if len(vector) > 0 {
			fired[rule.Alert] = true
		}
		query.Close()
	}
	return fired
}

// Every alert fires for what it is about, and for nothing else.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	const noon = 12 * time.Hour
	for alert, c := range map[string]struct {
		at     time.Duration
		change map[string]string
		with   []string // further alerts that are right to fire
	}{
		"":                            {at: noon},
		"TsuploadNoSuccess":           {at: noon, change: map[string]string{`tsupload_last_success_timestamp_seconds{source="acme"}`: "-60000x1500"}},
		"TsuploadRunFailed":           {at: noon, change: map[string]string{`tsupload_last_run_exit_status{source="acme"}`: "5x1500"}},
		"TsuploadCredentialsRefused":  {at: noon, change: map[string]string{`tsupload_last_run_exit_status{source="acme"}`: "4x1500"}, with: []string{"TsuploadRunFailed"}},
		"TsuploadInDoubt":             {at: noon, change: map[string]string{`tsupload_open_entries{source="acme",state="in_doubt"}`: "2x1500"}},
		"TsuploadRejected":            {at: noon, change: map[string]string{`tsupload_open_entries{source="acme",state="rejected"}`: "2x1500"}},
		"TsuploadHeld":                {at: noon, change: map[string]string{`tsupload_open_entries{source="acme",state="held"}`: "2x1500"}},
		"TsuploadEntriesWait":         {at: noon, change: map[string]string{`tsupload_oldest_unsent_entry_age_seconds{source="globex"}`: "100000x1500"}},
		"TsuploadLedgerUnreadable":    {at: noon, change: map[string]string{`tsupload_ledger_readable`: "0x1500"}},
		"TsuploadLedgerLarge":         {at: noon, change: map[string]string{`tsupload_ledger_size_bytes`: "5000000000x1500"}},
		"TsuploadDown":                {at: noon, change: map[string]string{`up{job="tsupload"}`: "0x1500"}},
		"TsuploadNextRunMissing":      {at: noon, change: map[string]string{`tsupload_next_run_timestamp_seconds{source="acme"}`: "21600x1500"}},
		"TsuploadNextRunMissing none": {at: noon, change: map[string]string{`tsupload_next_run_timestamp_seconds{source="acme"}`: "", `tsupload_next_run_timestamp_seconds{source="globex"}`: ""}},
		" a run under way is not late": {at: noon, change: map[string]string{
			`tsupload_next_run_timestamp_seconds{source="acme"}`: "21600x1500", `tsupload_run_in_progress{source="acme"}`: "1x1500",
		}},
		" down has no next run": {at: noon, change: map[string]string{
			`up{job="tsupload"}`: "0x1500", `tsupload_next_run_timestamp_seconds{source="acme"}`: "", `tsupload_next_run_timestamp_seconds{source="globex"}`: "",
		}, with: []string{"TsuploadDown"}},
		"TsuploadAPIErrors":       {at: noon, change: map[string]string{`tsupload_api_answers_total{class="5xx",method="POST"}`: "0+2x1500"}},
		" few errors are no news": {at: noon, change: map[string]string{`tsupload_api_answers_total{class="5xx",method="POST"}`: "0+0.5x1500"}},
	} {
		t.Run(alert, func(t *testing.T) {
			t.Parallel()
			series := maps.Clone(healthy)
			for name, values := range c.change {
				if _, ok := series[name]; !ok {
					t.Fatalf("the healthy day has no %s", name)
				}
				series[name] = values
			}
			want := map[string]bool{}
			name, _, _ := strings.Cut(alert, " ")
			for _, a := range append(c.with, name) {
				if a != "" {
					want[a] = true
				}
			}
			got := fires(t, series, c.at)
			for a := range want {
				if !got[a] {
					t.Errorf("%s does not fire", a)
				}
			}
			for a := range got {
				if !want[a] {
					t.Errorf("%s fires", a)
				}
			}
		})
	}
}
