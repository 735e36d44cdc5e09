package uploader

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// FuzzScanItems holds the fast reader of batch answers against encoding/json:
// what it accepts means the same there.
func FuzzScanItems(f *testing.F) {
	for _, seed := range []string{
		`{"results":[]}`,
		`{"results":[{"index":0,"status":201,"id":"7"},{"index":1,"status":201,"id":8}]}`,
		`{ "results" : [ { "external_id" : "a-1" , "id" : 3, "status" : 200 } ] } `,
		`{"results":[{"index":0,"status":422,"error":{"code":"x"}}]}`,
		`{"results":[{"index":0,"status":201,"id":"\u0041"}]}`,
		`{"results":[{"index":00,"status":2e2}]}`,
		`{"results":[{"index":0,"status":201}],"more":1}`,
		`{"results":[{"index":0,"status":201}]}x`,
		`{"results":[{}]}`,
		`<html>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got []scannedItem
		if !scanItems(body, func(item *scannedItem) bool {
			got = append(got, *item)
			return true
		}) {
			return
		}
		var want struct {
			Results []itemResult `json:"results"`
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted %q, encoding/json says %v", body, err)
		}
		if len(got) != len(want.Results) {
			t.Fatalf("%q: got %d items, want %d", body, len(got), len(want.Results))
		}
		for i, w := range want.Results {
			index := -1
			if w.Index != nil {
				index = *w.Index
			}
			status := "0"
			if w.Status != nil {
				status = string(w.Status)
			}
			if g := got[i]; g.index != index || string(g.externalID) != w.ExternalID || clip(string(g.id), 200) != idOf(w.ID) || strconv.Itoa(g.status) != status {
				t.Errorf("%q: item %d: got %+v, want %+v", body, i, g, w)
			}
		}
	})
}

// FuzzPlainlySent holds the fast reader of an answer to one entry against the
// thorough one: what it accepts, that accepts as well, with the same receipt.
func FuzzPlainlySent(f *testing.F) {
	for _, seed := range []string{
		`{"id":7}`,
		`{ "id" : "a-7" , "message" : "Created timesheet 14 for employee 007." } ` + "\n",
		`{"user_id":"u-1","hours":2,"date":"2026-11-02T00:00:00.000Z","id":1}`,
		`{"user_id":"u-2","id":1}`,
		`{"hours":2.0,"id":1}`,
		`{"rate":2.5,"id":1.25}`,
		`{"id":1.}`,
		`{"id":1e3}`,
		`{"id":1,"id":2}`,
		`{"id":"\u0041"}`,
		`{"id":""}`,
		`{"id":007}`,
		`{"id":-1}`,
		`{"id":1}x`,
		`{"id":1,}`,
		`{"id":{"n":1}}`,
		`{"ID":1}`,
		`{"id":"é"}`,
		`{"id":"` + strings.Repeat("x", 300) + `"}`,
		`{}`,
		`[]`,
		`<html>`,
		``,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, echo bool) {
		a := API{URL: "http://127.0.0.1"}
		if echo {
			a.Fields = map[string]string{"id": "id"}
		}
		c, err := newClient(&a, http.DefaultTransport, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &timesheet.Parcel{Keys: make([]timesheet.Packed, 1), Entries: []timesheet.Entry{{Person: "u-1", Project: "X", ID: "a-7", Day: timesheet.Date(2026, 11, 2), Duration: 7200}}}
		req := &request{parcel: p, positions: []int{0}}
		got, want := verdict{class: Accepted}, verdict{class: Accepted}
		if !c.plainlySent(&got, req, body) {
			return
		}
		if c.checkThoroughly(&want, req, body); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", body, got, want)
		}
	})
}

// TestUsualAnswer: what most servers say is read by the fast reader.
func TestUsualAnswer(t *testing.T) {
	t.Parallel()
	c := testClient(t, API{})
	req := &request{parcel: benchParcel(1), positions: []int{0}}
	echo := c.request(req.parcel, req.positions).body
	for body, want := range map[string]bool{
		`{"id":7}`: true,
		`{"message":"Created timesheet 14 for employee 007."}`: true,
		`{"id":"7","hours":0.25}`:                              true,
		`{"id":"7","hours":0.250}`:                             false,
		`{"id":"7","hours":8}`:                                 false,
		`{"id":"7","user_id":"u-0001"}`:                        false,
		strings.ReplaceAll(string(echo), "ü", "u"):             false,
	} {
		v := verdict{class: Accepted}
		if got := c.plainlySent(&v, req, []byte(body)); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}
