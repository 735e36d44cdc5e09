package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/exampleco/tsupload/internal/sandbox/authserver"
	"github.com/exampleco/tsupload/internal/sandbox/page"
	"github.com/exampleco/tsupload/internal/sandbox/timesheets"
)

const (
	uploadPath = "/timesheets/upload" // of machines
	createPath = "/timesheets"        // of people

	approvalPath = "/approvals"
)

// apiHandler is the API behind its faults, and the admin endpoints beside it.
func (s *Sandbox) apiHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /_sandbox/stats", s.admin(s.getStats))
	mux.Handle("POST /_sandbox/faults", s.admin(s.postFaults))
	mux.Handle("POST /_sandbox/approve/{id}", s.admin(s.postApprove))
	mux.Handle("POST /_sandbox/secret", s.admin(s.postSecret))
	mux.Handle(page.Path, s.page)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		k, ok := kindOf(r)
		if !ok {
			s.api.ServeHTTP(w, r)
			return
		}
		if k == uploads {
			s.uploads.Add(1)
		}
		s.inject.serve(w, r, k, http.HandlerFunc(s.countReplays))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would send //timesheets elsewhere, by a page.
		p := r.URL.EscapedPath()
		if clean := path.Clean(p); p != clean && (clean == "/" || p != clean+"/") {
			s.requests.Add(1)
			timesheets.WriteProblem(w, http.StatusNotFound, "not_found", "there is nothing at this address")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func kindOf(r *http.Request) (kind, bool) {
	switch {
	case (r.URL.Path == uploadPath || r.URL.Path == createPath) && r.Method == http.MethodPost:
		return uploads, true
	case !slices.ContainsFunc([]string{createPath, approvalPath}, func(p string) bool { return r.URL.Path == p || strings.HasPrefix(r.URL.Path, p+"/") }):
		return 0, false
	case r.Method == http.MethodGet:
		return reads, true
	case r.Method == http.MethodPut, r.Method == http.MethodDelete:
		return updates, true
	default:
		return 0, false
	}
}

func (s *Sandbox) countReplays(w http.ResponseWriter, r *http.Request) {
	s.api.ServeHTTP(w, r)
	if w.Header().Get("Idempotency-Replayed") != "" {
		s.replays.Add(1)
	}
}

// authHandler is the authorization server behind its faults.
func (s *Sandbox) authHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case authserver.TokenPath:
			s.inject.serve(w, r, tokens, s.auth)
		case authserver.OAuthDiscovery, authserver.OIDCDiscovery:
			s.inject.serve(w, r, discovery, s.auth)
		case authserver.KeysPath:
			s.inject.serve(w, r, keys, s.auth)
		case authserver.IntrospectionPath:
			s.inject.serve(w, r, introspections, s.auth)
		default:
			s.auth.ServeHTTP(w, r)
		}
	})
}

// admin lets through who calls from this machine, even where the API itself is
// public, and calls it by an address: a browser whose page's name was made to
// mean this machine (DNS rebinding) says the name.
func (s *Sandbox) admin(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(host).IsLoopback() || !isAddress(r.Host) {
			timesheets.WriteProblem(w, http.StatusNotFound, "not_found", "there is nothing at this address")
			return
		}
		next(w, r)
	})
}

// isAddress tells an address, or localhost, from any other name of a host.
func isAddress(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	return net.ParseIP(name) != nil || strings.EqualFold(name, "localhost")
}

// Stats is what GET /_sandbox/stats answers.
type Stats struct {
	Requests     int64 `json:"requests"` // to the API, of any kind
	Uploads      int64 `json:"uploads"`  // requests to upload, whatever became of them
	Entries      int64 `json:"entries"`  // stored now
	TokensIssued int64 `json:"tokens_issued"`
	Replays      int64 `json:"replays"` // uploads answered from their idempotency key
	// Duplicates is how many entries are there beyond the first of equal bodies.
	Duplicates int64 `json:"duplicates"`
	// Bodies counts the stored entries by the SHA-256, in hex, of the object as
	// it was received, compacted. Compare it with the expected multiset: two
	// equal rows and one row sent twice look alike otherwise.
	Bodies              map[string]int64 `json:"bodies,omitempty"`
	EntriesByExternalID map[string]int64 `json:"entries_by_external_id,omitempty"`
}

// getStats answers with the counts; ?lists=false leaves the maps out, which are
// as long as what is stored.
func (s *Sandbox) getStats(w http.ResponseWriter, r *http.Request) {
	stored, err := s.api.Stats(r.Context(), r.URL.Query().Get("lists") != "false")
	if err != nil {
		timesheets.WriteProblem(w, http.StatusInternalServerError, "internal", "the sandbox's database does not work")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Stats{
		Requests: s.requests.Load(), Uploads: s.uploads.Load(), Entries: stored.Entries,
		TokensIssued: s.auth.Issued(), Replays: s.replays.Load(), Duplicates: stored.Duplicates,
		Bodies: stored.Bodies, EntriesByExternalID: stored.ByExternalID,
	})
}

// postFaults replaces the faults and the latency: {"faults":["..."],"latency":"5ms"}.
func (s *Sandbox) postFaults(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Faults  []string `json:"faults"`
		Latency string   `json:"latency"`
	}
	if !readAdmin(w, r, &body, "faults", "latency") {
		return
	}
	var (
		faults  []Fault
		latency time.Duration
		err     error
	)
	for _, text := range body.Faults {
		f, err := ParseFault(text)
		if err != nil {
			timesheets.WriteProblem(w, http.StatusUnprocessableEntity, "bad_fault", err.Error())
			return
		}
		faults = append(faults, f)
	}
	if body.Latency != "" {
		if latency, err = time.ParseDuration(body.Latency); err != nil || latency < 0 {
			timesheets.WriteProblem(w, http.StatusUnprocessableEntity, "bad_latency", "latency is not a duration such as 5ms")
			return
		}
	}
	s.SetFaults(faults, latency)
	w.WriteHeader(http.StatusNoContent)
}

// postSecret gives the machine a new secret, beside the one that it has:
// {"secret":"...","old_valid_for":"10m"}. Without a duration the old one ends at
// once.
func (s *Sandbox) postSecret(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Secret      string `json:"secret"`
		OldValidFor string `json:"old_valid_for"`
	}
	if !readAdmin(w, r, &body, "secret", "old_valid_for") {
		return
	}
	var keep time.Duration
	if body.OldValidFor != "" {
		var err error
		if keep, err = time.ParseDuration(body.OldValidFor); err != nil || keep < 0 {
			timesheets.WriteProblem(w, http.StatusUnprocessableEntity, "bad_duration", "old_valid_for is not a duration such as 10m")
			return
		}
	}
	secret := authserver.Secret{Value: body.Secret, Expires: time.Now().Add(s.cfg.SecretTTL)}
	if err := s.auth.AddSecret(s.cfg.ClientID, secret, keep); err != nil {
		timesheets.WriteProblem(w, http.StatusUnprocessableEntity, "bad_secret", "the secret is empty")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// maxAdmin is more than all faults that there are need.
const maxAdmin = 1 << 20

// readAdmin reads the body of an admin request, or answers what is wrong with it.
func readAdmin(w http.ResponseWriter, r *http.Request, body any, known ...string) bool {
	// A page in a browser cannot send this type without asking first.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		timesheets.WriteProblem(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
		return false
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdmin))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		timesheets.WriteProblem(w, http.StatusBadRequest, "too_large", fmt.Sprintf("the body is larger than %d bytes", maxAdmin))
		return false
	}
	if err != nil {
		timesheets.WriteProblem(w, http.StatusBadRequest, "invalid_request", "the body cannot be read")
		return false
	}
	return timesheets.ReadObject(w, raw, body, known...)
}

// postApprove marks an entry approved.
func (s *Sandbox) postApprove(w http.ResponseWriter, r *http.Request) {
	found, err := s.api.Approve(r.Context(), r.PathValue("id"))
	switch {
	case err != nil:
		timesheets.WriteProblem(w, http.StatusInternalServerError, "internal", "the sandbox's database does not work")
	case !found:
		timesheets.WriteProblem(w, http.StatusNotFound, "not_found", "there is no such entry")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
