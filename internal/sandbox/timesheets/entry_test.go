package timesheets

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// The quick reader must agree with encoding/json wherever it says anything.
func FuzzPlainWire(f *testing.F) {
	const whole = `{"external_id":"x","user_id":"007","user_type":"C","date":"2017-05-10T00:00:00.000Z","project":"P","hours":5.25}`
	for _, s := range []string{
		whole, `{}`, `[]`, `7`, `""`, `"a"`, `{"hours":1}`, `{"hours":-1e3}`, `{"hours":null}`, `{"hours":"1"}`, `{"hours":1,"hours":2}`,
		`{"user_id":"a","user_id":"b"}`, `{"User_ID":"a"}`, `{"user_id":"\u0041"}`, `{"user_id":"ä"}`, `{"user_id":7}`, `{"x":{"a":[1]}}`, `null`, `true`,
		strings.ReplaceAll(whole, ",", " , "),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) { // as for any body
			return
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			t.Fatal(err)
		}
		got, ok := plainWire(compact.Bytes())
		if !ok {
			return
		}
		var want wire
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%s: read as plain, but %v", raw, err)
		}
		text := func(s *string) string {
			if s == nil {
				return "(none)"
			}
			return *s
		}
		if text(got.UserID) != text(want.UserID) || text(got.UserType) != text(want.UserType) || text(got.Date) != text(want.Date) ||
			text(got.Project) != text(want.Project) || string(got.Hours) != string(want.Hours) || got.ExternalID != want.ExternalID {
			t.Errorf("%s: got %+v, want %+v", raw, got, want)
		}
	})
}

func TestChunksNumberEntries(t *testing.T) {
	t.Parallel()
	s, err := openStore(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var last int64
	for n := range 2*chunk + 3 {
		entries := make([]entry, n)
		for i := range entries {
			entries[i] = entry{client: "c", userID: string(rune('a' + i)), date: "2026-01-01T00:00:00Z"}
		}
		s.mu.Lock()
		err := s.add(t.Context(), entries)
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.list(t.Context(), filter{sees: sight{uploader: "c"}, after: last, limit: 1000})
		if err != nil || len(stored) != n {
			t.Fatalf("got %d entries, %v, want %d", len(stored), err, n)
		}
		for i := range entries {
			if last++; entries[i].id != last || stored[i].id != last || stored[i].userID != entries[i].userID {
				t.Fatalf("entry %d of %d: got id %d and %q, stored %+v", i, n, entries[i].id, entries[i].userID, stored[i])
			}
		}
	}
}
