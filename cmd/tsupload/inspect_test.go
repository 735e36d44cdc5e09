package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// invoke calls the program in a world without anything.
func invoke(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(t.Context(), environment{
		args: args, stdin: strings.NewReader(stdin), stdout: &out, stderr: &log, getenv: func(string) string { return "" },
	})
	return code, out.String(), log.String()
}

// What inspect prints is a configuration that is accepted, and that reads as
// many entries and hours as inspect said.
func TestInspectGivesAConfiguration(t *testing.T) {
	t.Parallel()
	exports, err := filepath.Abs("../../testdata/export")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	odd := filepath.Join(dir, "Café [1] *.csv")
	if err := os.WriteFile(odd, []byte("Person;Tag;Zeit;Projekt\nada;2026-11-02;1:30;\"a: \"\"b\"\"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		entries, seconds int
		has              string
	}{
		exports + "/week47.csv":                {20, 112 * 3600, `"timezone: UTC  # `},
		exports + "/start-end.csv":             {31, 109 * 3600, `task: \"Tätigkeit\"`},
		exports + "/xlsx/hours.xlsx":           {3, 27015, `"XLSX, sheet \"Hours\""`},
		exports + "/xlsx/german.xlsx":          {2, 12600, `hours: \"Std\"`},
		exports + "/bad/undecidable-dates.csv": {3, 24 * 3600, `date_format: \"DD/MM/YYYY\"  # or MM/DD/YYYY`},
		exports + "/bad/windows-1252.csv":      {2, 55800, `"windows-1252"`},
		odd:                                    {1, 5400, `name: \"Caf-1\"`},
	} {
		code, out, log := invoke(t, "", "-o", "json", "inspect", file)
		var got struct {
			Entries, Seconds int
			Config           string
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || got.Entries != want.entries || got.Seconds != want.seconds {
			t.Errorf("%s: got exit %d, %+v, %v\n%s", file, code, got, err, log)
			continue
		}
		if has := strings.Trim(want.has, `"`); !strings.Contains(out, has) && !strings.Contains(got.Config, has) {
			t.Errorf("%s: got %s, want %s in it", file, out, want.has)
		}
		cfg := filepath.Join(dir, "tsupload.yaml")
		if err := os.WriteFile(cfg, []byte("state: {dir: "+dir+"}\n"+got.Config), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, log := invoke(t, "", "--config", cfg, "config", "validate"); code != exitOK {
			t.Errorf("%s: got exit %d\n%s%s%s", file, code, got.Config, out, log)
		}
		// The file is quiet for long only in a repository that was cloned long ago.
		quiet := strings.Replace(got.Config, "csv: {", "csv: {settle_file: 0s, ", 1)
		if err := os.WriteFile(cfg, []byte("state: {dir: "+dir+"}\n"+quiet), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, log = invoke(t, "", "--config", cfg, "-o", "json", "run", "--dry-run")
		if want := `"rows":` + strconv.Itoa(want.entries); code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%s: got exit %d, want %s\n%s%s", file, code, want, out, log)
		}
	}
}

// Whatever of our exports can be read at all has a configuration that reads it.
func TestInspectEveryExport(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.csv", "bad/*.csv", "presets/*.csv", "presets/*.json", "presets/*.ics", "xlsx/*.xlsx"} {
		files, err := filepath.Glob("../../testdata/export/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: got %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				reads(t, file)
			})
		}
	}
}

// reads asserts that a file is read by its own block as inspect said.
func reads(t *testing.T, file string) {
	t.Helper()
	code, out, log := invoke(t, "", "-o", "json", "inspect", file)
	var got struct {
		Entries, Seconds, Rejected int
		Config                     string
		HeldSeconds                int `json:"held_seconds"`
		Held                       map[string]int
		Decisions                  []struct{ What, Value, Evidence string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s%s", err, out, log)
	}
	if got.Config == "" {
		if code == exitOK || !strings.Contains(log, `"hint"`) && !strings.Contains(log, "hint: ") {
			t.Errorf("got exit %d without a configuration\n%s", code, log)
		}
		return
	}
	for _, d := range got.Decisions {
		if d.Evidence == "" || d.Value == "" {
			t.Errorf("%s is %q by %q", d.What, d.Value, d.Evidence)
		}
	}
	dir := t.TempDir()
	cfg := filepath.Join(dir, "tsupload.yaml")
	if err := os.WriteFile(cfg, []byte("state: {dir: "+dir+"}\n"+got.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, log := invoke(t, "", "--config", cfg, "config", "validate"); code != exitOK {
		t.Fatalf("got exit %d\n%s%s%s", code, got.Config, out, log)
	}
	code, out, log = invoke(t, "", "--config", cfg, "run", "--dry-run", file)
	for _, n := range got.Held {
		got.Entries -= n
	}
	want := regexp.QuoteMeta(fmt.Sprintf("would send %s, %s hours", count(got.Entries, "entry"), timesheet.Seconds(got.Seconds-got.HeldSeconds).Clock()))
	if got.Entries == 0 {
		want = `nothing new to send|would send 0`
	}
	if code != exitOK && code != exitPerson || !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("got exit %d, want %s\n%s%s%s", code, want, got.Config, out, log)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	const rows = "Person;Tag;Zeit;Projekt\nada;16.11.2026;7,5;P\nben;01.11.2026;x;P\nada;02.11.2026;0;P\n"
	code, out, log := invoke(t, rows, "inspect", "-")
	if code != exitOK || log != "" {
		t.Fatalf("got exit %d\n%s", code, log)
	}
	contains(t, out, `delimiter: semicolon \(-:1\)`, `date order: D\.M\.YYYY \(-:2\)`, `decimal sign: , \(-:2\)`, `header, line 1`,
		`columns are guessed`, `"Zeit" +duration`, `1 entry, 7:30:00 hours of 1 person on 1 project, from 2026-11-16 to 2026-11-16`, `1 row skipped: zero`, `1 row refused: bad duration\n  -:3: "x" .*\n    hint: `,
		`columns: \{date: "Tag", duration: "Zeit", project: "Projekt", user: "Person"\}`)
	// What cannot be read is said with what is known of it.
	code, out, log = invoke(t, "Name;Vorname;Ort\na;b;c\n", "inspect", "-")
	contains(t, out, `header, line 1`, `"Vorname" +not read`)
	contains(t, log, `error: .*no column says`, `hint: `)
	if code != exitSource {
		t.Errorf("got exit %d", code)
	}
	if code, _, log := invoke(t, "<html>", "inspect", "-"); code != exitSource || !strings.Contains(log, "login page") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	if code, _, log := invoke(t, rows, "inspect", "--timezone", "Local", "-"); code != exitUsage || !strings.Contains(log, "IANA") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	code, out, _ = invoke(t, `[{"start":"20261116T090000Z","end":"20261116T103000Z","tags":["Website"]}]`, "inspect", "-")
	if code != exitOK {
		t.Errorf("got exit %d", code)
	}
	contains(t, out, `form: JSON`, `keys of the records`, `"start" +start`, `"tags.0" +project`, `preset: "timewarrior"`, `user: "USER-ID"`)
}

// What a file leaves open is taken in the way that refuses the fewest rows, and
// said with the key that settles it.
func TestInspectAsks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"records and seconds": {
			`{"data":{"entries":[{"user":"ada","start":"2026-03-02T09:00:00+01:00","end":"2026-03-02T10:00:00+01:00","duration":3600}]}}`,
			[]string{`csv\.records: data\.entries; taken as`, `duration_format: .*; taken as seconds`, `defaults\.project; taken as PROJECT`, `1 entry, 1:00:00 hours`, `records: "data\.entries"`, `zone of times: in the file \(-:1\)`},
		},
		"decimals": {
			"user,date,project,hours\nu,2026-03-02,P,1.5\nu,2026-03-03,P,\"1,5\"\nu,2026-03-04,P,\"2,5\"\n",
			[]string{`decimal: \. or ,; taken as ,`, `decimal: ","  # or \.`, `2 entries, 4:00:00`, `1 row refused`},
		},
		"clocks": {
			"\"Project\",\"User\",\"Email\",\"Start Date\",\"Start Time\",\"End Date\",\"End Time\",\"Duration (h)\"\n" +
				"P,A,a,2026-03-02,9:00 AM,2026-03-02,10:00 AM,1:00\nP,A,a,2026-03-03,9:00 AM,2026-03-03,10:00 AM,1:00\nP,A,a,2026-03-04,09:00,2026-03-04,10:00,1:00\n",
			[]string{`time_format: 24h or 12h; taken as 12h`, `clock: 12h`, `2 entries, 2:00:00`},
		},
		"encoding": {
			"user,date,project,hours\n\xc3\xa4,2026-03-02,P,1\n\xe4,2026-03-02,P,1\n",
			[]string{`csv\.encoding: windows-1252; taken as windows-1252`, `encoding: "windows-1252"`},
		},
		"person": {
			"id,start,stop,project,tags\na1b2c3d,2026-03-02 09:00:00,2026-03-02 10:30:15,website,web\n",
			[]string{`tracker: watson`, `user; taken as USER-ID`, `user: "USER-ID"  # whose hours these are`, `preset: "watson"`, `"id" +not read`},
		},
		"no project": {
			"user,date,hours\nu,2026-03-02,1\n",
			[]string{`defaults\.project; taken as PROJECT`, `defaults: \{project: "PROJECT"\}`, `1 entry, 1:00:00`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, log := invoke(t, c.in, "inspect", "-")
			if code != exitOK {
				t.Errorf("got exit %d\n%s", code, log)
			}
			contains(t, out, c.want...)
			file := filepath.Join(t.TempDir(), "export")
			if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			reads(t, file)
		})
	}
}

func TestAnonymize(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "twin.csv")
	export := "../../testdata/export/start-end.csv"
	code, said, log := invoke(t, "", "inspect", "--anonymize", out, export)
	if code != exitOK || !strings.Contains(said, "wrote a twin") {
		t.Fatalf("got exit %d\n%s%s", code, said, log)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	code, said, _ = invoke(t, "", "inspect", out)
	if code != exitOK {
		t.Errorf("got exit %d", code)
	}
	contains(t, said, `31 entries, 109:00:00 hours`)
	if code, _, log := invoke(t, "", "inspect", "--anonymize", out, export); code != exitUsage || !strings.Contains(log, "exists") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	contains(t, said, `31 entries`)
	none := filepath.Join(t.TempDir(), "none.csv")
	if code, _, log := invoke(t, "<html>", "inspect", "--anonymize", none, "-"); code != exitSource || !strings.Contains(log, "login page") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a file is left behind")
	}
}

// One is, two are.
func TestInspectCounts(t *testing.T) {
	t.Parallel()
	for rows, want := range map[int]string{1: "1 row without one is refused", 2: "2 rows without one are refused"} {
		code, out, log := invoke(t, "user_id,date,project,hours\nu,2026-11-16,P,1\n"+strings.Repeat("u,2026-11-16,,1\n", rows), "inspect", "-")
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("got exit %d, want %q\n%s%s", code, want, out, log)
		}
	}
}
