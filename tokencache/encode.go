package tokencache

import (
	"encoding/json"
	"fmt"
	"time"
)

// entryVersion is raised when the meaning of a stored field changes; an entry of another version is a miss.
const entryVersion = 1

// stored is an entry as files and keyrings hold it.
type stored struct {
	Version     int       `json:"version"`
	Key         string    `json:"key"`
	AccessToken string    `json:"access_token,omitempty"`
	Refresh     string    `json:"refresh_token,omitempty"`
	Scopes      []string  `json:"scopes,omitempty"`
	ObtainedAt  time.Time `json:"obtained_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	RefreshAt   time.Time `json:"refresh_at"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`

	Allotments []Allotment `json:"allotments,omitempty"`
}

func encodeEntry(key string, e Entry) ([]byte, error) {
	return json.Marshal(stored{ //nolint:gosec // the one place where a token is meant to be written
		Version: entryVersion, Key: key, AccessToken: e.AccessToken, Refresh: e.RefreshToken, Scopes: e.Scopes,
		ObtainedAt: e.ObtainedAt.UTC(), ExpiresAt: e.ExpiresAt.UTC(), RefreshAt: e.RefreshAt.UTC(),
		Issuer: e.Issuer, ClientID: e.ClientID, Allotments: e.Allotments,
	})
}

// decodeEntry refuses what was not written for this key by this version. Its errors never quote the data.
func decodeEntry(key string, data []byte) (Entry, error) {
	var s stored
	if json.Unmarshal(data, &s) != nil {
		return Entry{}, fmt.Errorf("not a token entry")
	}
	if s.Version != entryVersion {
		return Entry{}, fmt.Errorf("entry version %d, want %d", s.Version, entryVersion)
	}
	if s.Key != key || (s.AccessToken == "" && s.Refresh == "") {
		return Entry{}, fmt.Errorf("entry of another key")
	}
	return Entry{
		AccessToken: s.AccessToken, RefreshToken: s.Refresh, Scopes: s.Scopes, ObtainedAt: s.ObtainedAt, ExpiresAt: s.ExpiresAt,
		RefreshAt: s.RefreshAt, Issuer: s.Issuer, ClientID: s.ClientID, Allotments: s.Allotments,
	}, nil
}
