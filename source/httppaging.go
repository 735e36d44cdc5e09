package source

import (
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// checkPaging checks how the pages of an export follow one another.
func (s *Source) checkPaging(h *HTTP) error {
	ways := 0
	for _, is := range []bool{h.Next != "", h.Page != nil, h.Cursor != nil} {
		if is {
			ways++
		}
	}
	switch {
	case ways > 1:
		return s.fault("http.next, http.page and http.cursor are three ways of paging", "give one of them")
	case h.Method == http.MethodHead:
		return s.fault("http.method: HEAD has no answer to read", "use GET or POST")
	case h.Page != nil && h.Page.Parameter == "" && !strings.Contains(h.Body, "{{page}}"):
		return s.fault("http.page: nothing takes the number of the page", "set http.page.parameter, or put {{page}} into http.body")
	case h.Cursor != nil && h.Cursor.From == "":
		return s.fault("http.cursor.from is required", "a path in the JSON body, or header:NAME")
	case h.Cursor != nil && h.Cursor.Parameter == "" && !strings.Contains(h.Body, "{{cursor}}"):
		return s.fault("http.cursor: nothing takes the cursor", "set http.cursor.parameter, or put {{cursor}} into http.body")
	case h.Format == "csv" && h.Cursor != nil && headerOf(h.Cursor.From) == "":
		return s.fault("http.cursor.from: a CSV export has no body to find the cursor in", "use header:NAME")
	case h.Format == "csv" && h.Total != "":
		return s.fault("http.total: the entries of a CSV export are not counted while it is fetched", "remove it")
	}
	return nil
}

// onePage tells that nothing is said about further pages.
func (h *HTTP) onePage() bool { return h.Next == "" && h.Page == nil && h.Cursor == nil }

// places are the paths in a JSON body that have something to tell.
func (h *HTTP) places() (paths []string) {
	if h.Cursor != nil {
		paths = append(paths, h.Cursor.From)
	}
	return append(paths, h.Total)
}

// headerOf is the NAME of "header:NAME", or empty.
func headerOf(place string) string {
	name, ok := strings.CutPrefix(place, "header:")
	if !ok {
		return ""
	}
	return name
}

func (h *HTTP) contentType() string {
	if h.jsonBody() {
		return "application/json"
	}
	return "application/x-www-form-urlencoded"
}

func (h *HTTP) jsonBody() bool {
	body := strings.TrimSpace(h.Body)
	return strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[")
}

// spot is where a page is to be found.
type spot struct {
	url    *url.URL
	number int // of the page, where pages are asked for by number
	cursor string
	count  int // of pages before it
}

// page is what was learned from one.
type page struct {
	url     *url.URL
	header  http.Header
	link    string // the next page's URL in the body
	values  map[string]string
	rows    int
	counted bool // rows is how many there are, not only whether
	records hash.Hash
	end     bool // there is no such page
}

// value is what stands at a place of the page.
func (p *page) value(place string) string {
	if name := headerOf(place); name != "" {
		return strings.TrimSpace(p.header.Get(name))
	}
	return p.values[place]
}

// pages fetches all pages into the spool.
func (f *fetch) pages(ctx context.Context) error {
	at := &spot{url: f.first}
	if f.h.Page != nil {
		at.number = f.h.Page.First
	}
	at.url = f.address(at)
	asked, had := map[string]int{}, map[string]int{}
	for ; at != nil; f.totals.asked++ {
		at.count = f.totals.asked
		sign := at.url.String() + " " + at.cursor + " " + strconv.Itoa(at.number)
		if _, again := asked[sign]; again {
			return &Error{Message: fmt.Sprintf("page %d leads back to an earlier page", at.count), HintText: "check http.next or http.cursor"}
		}
		asked[sign] = at.count
		if at.count == f.h.MaxPages {
			return &Error{Message: fmt.Sprintf("the export has more than %s", several(at.count, "page")), HintText: "ask for a shorter time with http.since"}
		}
		p, err := f.page(ctx, at)
		if err != nil {
			return err
		}
		f.totals.add(f.h, p)
		// A server that does not know the parameter gives the same page for ever.
		if sum := string(p.records.Sum(nil)); p.rows > 0 && (f.h.Page != nil || f.h.Cursor != nil) {
			if earlier, again := had[sum]; again {
				return &Error{
					Message:  fmt.Sprintf("page %d has the same entries as page %d", at.count+1, earlier),
					HintText: "the server does not know the parameter: check http.page or http.cursor",
				}
			}
			had[sum] = at.count + 1
		}
		if at, err = f.next(at, p); err != nil || at == nil {
			f.totals.asked++
			return err
		}
		if err := f.pause(ctx, p.header); err != nil {
			return err
		}
	}
	return nil
}

// address is the URL of a page, with its number or cursor in the query.
func (f *fetch) address(at *spot) *url.URL {
	u := *f.first
	q := u.Query()
	set := func(name, value string) {
		if name != "" && value != "" {
			q.Set(name, value)
		}
	}
	switch h := f.h; {
	case h.Page != nil:
		set(h.Page.Parameter, strconv.Itoa(at.number))
		if h.Page.Size > 0 {
			set(h.Page.SizeParameter, strconv.Itoa(h.Page.Size))
		}
	case h.Cursor != nil:
		set(h.Cursor.Parameter, at.cursor)
	default:
		return &u
	}
	u.RawQuery = q.Encode()
	return &u
}

// body is what is sent for a page.
func (f *fetch) body(at *spot) string {
	cursor := url.QueryEscape(at.cursor)
	if f.h.jsonBody() {
		b, _ := json.Marshal(at.cursor) // a string always can be
		cursor = string(b[1 : len(b)-1])
	}
	return strings.NewReplacer("{{page}}", strconv.Itoa(at.number), "{{cursor}}", cursor).Replace(f.window.expand(f.h.Body))
}

// ended tells that the answer says that there is no such page.
func (f *fetch) ended(at *spot, resp *http.Response) bool {
	return f.h.Page != nil && f.h.Page.EndStatus != 0 && resp.StatusCode == f.h.Page.EndStatus && at.count > 0
}

// next is the place of the page behind p, or nil where there is none.
func (f *fetch) next(at *spot, p *page) (*spot, error) {
	to := &spot{}
	switch h := f.h; {
	case h.Page != nil:
		// A page that is not full need not be the last: servers bound the size.
		if p.end || p.rows == 0 {
			return nil, nil
		}
		to.number = at.number + 1
		to.url = f.address(to)
		return to, nil
	case h.Cursor != nil:
		if to.cursor = p.value(h.Cursor.From); p.end || to.cursor == "" {
			return nil, nil
		}
		to.url = f.address(to)
		return to, nil
	}
	if p.end {
		return nil, nil
	}
	next := p.link
	if f.h.Next == "link" {
		next = linkNext(p.header)
	}
	if next == "" {
		return nil, nil
	}
	u, err := p.url.Parse(next)
	if err != nil || !sameOrigin(u, f.first) || u.User != nil {
		return nil, &Error{Message: "the next page is on another server; credentials are not sent there", HintText: "check http.next; only links to the same origin are followed"}
	}
	u.Fragment = ""
	to.url = u
	return to, nil
}

// totals tell whether all pages together are one look at the export.
type totals struct {
	asked  int // requests for pages
	full   int // pages with records
	rows   int
	total  string // as the first page has it
	differ bool   // pages do not agree on it
	whole  bool   // the rows were counted
}

func (t *totals) add(h *HTTP, p *page) {
	if p.end {
		return
	}
	if total := p.value(h.Total); t.full == 0 && t.total == "" {
		t.total = total
	} else if total != t.total {
		t.differ = true
	}
	if t.rows += p.rows; p.rows > 0 {
		t.full++
	}
	t.whole = p.counted
}

// doubt says why an entry could have slipped from one page to another, unseen;
// it is empty where none can.
func (t *totals) doubt(h *HTTP) string {
	if h.Total != "" && t.total != "" {
		if n, err := strconv.Atoi(t.total); t.differ || err != nil || n != t.rows {
			return fmt.Sprintf("the export says that it has %s entries, and %d came in %s", quote(t.total), t.rows, several(t.full, "page"))
		}
		return ""
	}
	// Behind a page that is not full there was none when it was made.
	if h.Page != nil && t.whole && t.full == 1 && t.rows < h.Page.Size || t.full == 0 || t.asked == 1 {
		return ""
	}
	return fmt.Sprintf("the export came in %d pages", max(t.full, 2))
}
