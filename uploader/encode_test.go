package uploader

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/timesheet"
)

func encoded(t *testing.T, a API, e *timesheet.Entry) string {
	t.Helper()
	a.URL = "http://127.0.0.1"
	c, err := newClient(&a, http.DefaultTransport, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return string(c.enc.append(nil, e, timesheet.Key{1}.Packed(e.Day)))
}

// TestEncode: the plain contract, and what api.fields makes of it.
func TestEncode(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	e := &timesheet.Entry{
		ID: "T-1", Person: "007", UserType: "Contractor", Day: timesheet.Date(2017, 5, 10), Project: "StoreZero", Task: "Design", Notes: "a \"b\"\n\u00e9\xff", Duration: 5*3600 + 1,
		Start: time.Date(2017, 5, 10, 0, 30, 0, 0, berlin), End: time.Date(2017, 5, 10, 5, 30, 1, 0, berlin),
	}
	for name, c := range map[string]struct {
		api  API
		want string
	}{
		"plain": {
			API{},
			`{"user_id":"007","user_type":"Contractor","date":"2017-05-10T00:00:00.000Z","project":"StoreZero","hours":5.0003}`,
		},
		"read back": {
			API{ReadBack: true},
			`{"user_id":"007","user_type":"Contractor","date":"2017-05-10T00:00:00.000Z","project":"StoreZero","hours":5.0003,"external_id":"80004390010000000000000000000000"}`,
		},
		"fields": {
			API{Fields: map[string]string{"user_id": "-", "person": "user_id", "team": "=Platform", "date": "start", "hours": "-", "secs": "seconds", "note": "notes", "end": "end", "on": "day", "ref": "id", "user_type": "-"}},
			`{"date":"2017-05-10T00:30:00+02:00","project":"StoreZero","end":"2017-05-10T05:30:01+02:00","note":"a \"b\"\n` + "\u00e9" + `\ufffd","on":"2017-05-10","person":"007","ref":"T-1","secs":18001,"team":"Platform"}`,
		},
	} {
		got := encoded(t, c.api, e)
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: no JSON: %s", name, got)
		}
	}
	if got := encoded(t, API{}, &timesheet.Entry{Person: "1", Project: "P", Duration: 1}); strings.Contains(got, "user_type") || !strings.Contains(got, `"hours":0.0003`) {
		t.Errorf("an empty value is sent, or a second is lost: %s", got)
	}
	if _, err := newClient(&API{Fields: map[string]string{"x": "nonsense"}}, http.DefaultTransport, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an unknown entry field is taken")
	}
}

// FuzzAppendString holds our JSON strings against encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c", "\n\r\t\x00\x1f\x7f", "z\u00fcrich \u2028", "\xff\xc3", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q: got %q", s, got)
		}
	})
}
