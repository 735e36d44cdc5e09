package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiverPath is the secret part of the URLs of a receiver.
const receiverPath = "/canary-url-7c1d/"

// receiver records what the program posts to pings and webhooks.
type receiver struct {
	server *httptest.Server
	mu     sync.Mutex
	mode   string // "", a status, or hang
	got    []string
	rids   []string
	end    chan struct{}
}

func newReceiver() *receiver {
	r := &receiver{end: make(chan struct{})}
	r.server = httptest.NewServer(r)
	return r
}

// ServeHTTP notes "METHOD name body" of each request, without the path's head.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	mode := r.mode
	r.got = append(r.got, strings.TrimSpace(fmt.Sprintf("%s %s %s", req.Method, strings.TrimPrefix(req.URL.Path, receiverPath), strings.ReplaceAll(string(body), "\n", "; "))))
	if rid := req.URL.Query().Get("rid"); rid != "" {
		r.rids = append(r.rids, rid)
	}
	r.mu.Unlock()
	if mode == "hang" {
		select {
		case <-req.Context().Done():
		case <-r.end:
		}
		return
	}
	if status, err := strconv.Atoi(mode); err == nil {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}
}

func (r *receiver) close() {
	close(r.end)
	r.server.CloseClientConnections()
	r.server.Close()
}

// receiver [STATUS | hang | off] starts a receiver, or changes how it answers:
// well, with a status, not at all, or not even there. The files ping.url and
// chat.url have its URLs, which are secrets.
func (w *scriptWorld) cmdReceiver(ts *testscript.TestScript, args []string) {
	if w.receiver == nil {
		w.receiver = newReceiver()
		for _, name := range []string{"ping", "chat"} {
			ts.Check(os.WriteFile(filepath.Join(w.dir, name+".url"), []byte(w.receiver.server.URL+receiverPath+name+"\n"), 0o600))
		}
	}
	mode := ""
	if len(args) > 0 {
		mode = args[0]
	}
	if mode == "off" {
		w.receiver.server.Listener.Close()
	}
	w.receiver.mu.Lock()
	defer w.receiver.mu.Unlock()
	w.receiver.mode = mode
}

// received prints what has arrived since it was last asked for, sorted, and
// checks that pings carry the id of their run: one id for all of them.
func (w *scriptWorld) cmdReceived(ts *testscript.TestScript, _ []string) {
	r := w.receiver
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.got)
	fmt.Fprintf(ts.Stdout(), "%s\n", strings.Join(r.got, "\n"))
	slices.Sort(r.rids)
	if ids := slices.Compact(r.rids); len(ids) > 1 {
		ts.Fatalf("pings of one run have several ids: %v", ids)
	}
	r.got, r.rids = nil, nil
}

// today writes today.csv, an export with an hour of u-1 on this day.
func (w *scriptWorld) cmdToday(ts *testscript.TestScript, _ []string) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	ts.Check(err)
	text := "user_id,date,project,hours\nu-1," + time.Now().In(berlin).Format(time.DateOnly) + ",StoreZero,1\n"
	ts.Check(os.WriteFile(filepath.Join(w.dir, "today.csv"), []byte(text), 0o600))
}
