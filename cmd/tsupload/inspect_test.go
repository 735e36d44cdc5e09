package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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

func TestInspect(t *testing.T) {
	t.Parallel()
	const rows = "Person;Tag;Zeit;Projekt\nada;16.11.2026;7,5;P\nben;01.11.2026;x;P\nada;02.11.2026;0;P\n"
	code, out, log := invoke(t, rows, "inspect", "-")
	if code != exitOK || log != "" {
		t.Fatalf("got exit %d\n%s", code, log)
	}
	contains(t, out, `delimiter: semicolon \(-:1\)`, `date order: D\.M\.YYYY \(-:2\)`, `decimal sign: , \(-:2\)`, `header, line 1: "Person", "Tag", "Zeit", "Projekt"`,
		`columns are guessed`, `1 entry, 7:30:00 hours of 1 person on 1 project, from 2026-11-16 to 2026-11-16`, `1 row skipped: zero`, `1 row refused\n  line 3: "x"`,
		`columns: \{date: "Tag", duration: "Zeit", project: "Projekt", user: "Person"\}`)
	// What cannot be read is said with what is known of it.
	code, out, log = invoke(t, "Name;Vorname;Ort\na;b;c\n", "inspect", "-")
	contains(t, out, `header, line 1: "Name", "Vorname", "Ort"`)
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
	contains(t, out, `form: JSON`, `keys of the records: "start"`, `project: "tags.0"`, `user: USER-ID`)
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
	none := filepath.Join(t.TempDir(), "none.csv")
	if code, _, log := invoke(t, "[]", "inspect", "--anonymize", none, "-"); code != exitSource || !strings.Contains(log, "only CSV") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a file is left behind")
	}
}
