package timesheets

import (
	"net/http"
	"net/url"
	"strings"
)

const metadataPath = "/.well-known/oauth-protected-resource"

// metadata is RFC 9728: where tokens for this API come from. It stands at the
// plain path, and where the path of the resource's identifier is appended to it.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request, _ caller) {
	writeJSON(w, http.StatusOK, map[string]any{
		"resource":                 s.audience,
		"authorization_servers":    []string{s.issuer},
		"scopes_supported":         []string{ScopeUpload, ScopeRead, ScopeCreate, ScopeDelete, ScopeApprove},
		"bearer_methods_supported": []string{"header"},
	})
}

// locate returns where clients look for the metadata of a resource (RFC 9728,
// 3.1), and the address of the API that it is on.
func locate(audience string) (metadata, base string) {
	u, err := url.Parse(audience)
	if err != nil || u.Host == "" {
		return metadataPath, "" // no URL: clients find nothing by it
	}
	base = u.Scheme + "://" + u.Host
	return base + metadataPath + strings.TrimSuffix(u.EscapedPath(), "/"), base
}
