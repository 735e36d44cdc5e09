package source

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// What decides identity is what was written, not how the file is made or read.
func TestIdentity(t *testing.T) {
	t.Parallel()
	keys := func(cfg Config) (out []timesheet.Key) {
		t.Helper()
		for _, e := range must(t, cfg).entries {
			out = append(out, e.Key)
		}
		return out
	}
	base := "user,date,start,end,project,notes\nZoe\u0308,2026-11-16,09:00:00,10:30:00,P,a\nB,2026-11-17,09:00:00,10:00:00,,\"b\nc\"\n"
	withDefaults := func(content string) Config {
		c := text(content)
		c.Defaults = Defaults{Project: "D"}
		return c
	}
	want := keys(withDefaults(base))
	mapped := withDefaults(base)
	mapped.Location = time.FixedZone("X", 7*3600)
	mapped.Defaults = Defaults{Project: "Other", Task: "T", UserType: "Employee"}
	mapped.People = map[string]string{"Zoë": "1", "B": "2"}
	mapped.Projects = map[string]string{"P": "Q"}
	german := withDefaults("Wer;Tag;Von;Bis;Was;Wozu;egal\n B;17.11.2026;9:00;10:00;;\"b\r\nc\";\nZoë ;16.11.2026;09:00;10:30 ;P;a;1\n")
	german.Columns = map[string]string{"user": "wer", "date": "tag", "start": "von", "end": "bis", "project": "was", "notes": "wozu"}
	for name, got := range map[string][]timesheet.Key{
		"crlf and bom": keys(withDefaults("\ufeff" + strings.ReplaceAll(base, "\n", "\r\n"))),
		"mapping":      keys(mapped),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(name, diff)
		}
	}
	if got := keys(german); len(got) != 2 || got[0] != want[1] || got[1] != want[0] {
		t.Error("another layout and order gives other keys")
	}
	other := withDefaults(base)
	other.ID = "other"
	if keys(other)[0] == want[0] {
		t.Error("another source id gives the same keys")
	}
}

func TestEqualRows(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/equal-rows.csv"}})
	if len(res.entries) != 4 || res.seconds() != 27000 {
		t.Errorf("got %d entries of %s h", len(res.entries), res.seconds().Hours())
	}
	// The same rows in an overlapping file are the same entries.
	two := must(t, Config{Files: []string{exports + "bad/equal-rows.csv", exports + "bad/equal-rows.csv"}})
	for i := range res.entries {
		if two.entries[i].Key != res.entries[i].Key || two.entries[i+4].Key != res.entries[i].Key {
			t.Errorf("entry %d has other keys in two files", i)
		}
	}
}

func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	res := must(t, Config{Files: []string{exports + "bad/duplicate-ids.csv"}})
	if len(res.entries) != 3 || len(res.skipped) != 1 || len(res.rejected) != 1 {
		t.Fatalf("got %d, %d, %d", len(res.entries), len(res.skipped), len(res.rejected))
	}
	if s := res.skipped[0]; s.Reason != timesheet.ReasonDuplicate || s.Origin.Line != 4 {
		t.Errorf("got %+v", s)
	}
	if r := res.rejected[0]; r.Reason != timesheet.ReasonDuplicateID || r.Origin.Line != 5 || r.Key != res.entries[1].Key || !r.HasDay || r.Duration != 6*3600 {
		t.Errorf("got %+v", r)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	var h timesheet.Hasher
	contents, ids := newSeen(3*rows), newSeen(rows)
	if perRow := 8 * float64(len(newSeen(rows).slots)) / rows; perRow > 11 {
		t.Errorf("got %.1f bytes a row, want at most 11", perRow)
	}
	for round := 1; round <= 3; round++ {
		for i := range rows {
			d := h.Digest(&timesheet.Values{Seconds: timesheet.Seconds(i)})
			if got := contents.occurrence(&d); got != round {
				t.Fatalf("row %d: got occurrence %d, want %d", i, got, round)
			}
			k := h.IDKey("s", string(d[:]))
			want := [...]int{idNew, idSame, idOther}[round-1]
			if round == 3 {
				d[0]++
			}
			if got := ids.id(&k, &d); got != want {
				t.Fatalf("id %d: got %d, want %d", i, got, want)
			}
		}
	}
}
