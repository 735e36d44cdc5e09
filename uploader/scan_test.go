package uploader

import (
	"encoding/json"
	"strconv"
	"testing"
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
