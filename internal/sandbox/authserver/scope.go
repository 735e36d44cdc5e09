package authserver

import (
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

// Scopes that the sandbox's API knows, and those about the person.
const (
	ScopeUpload  = "batch:upload"
	ScopeRead    = people.ScopeRead
	ScopeCreate  = people.ScopeCreate
	ScopeDelete  = people.ScopeDelete
	ScopeApprove = people.ScopeApprove
	// ScopeOpenID asks for an ID token, and ScopeOffline for a refresh token. A
	// client that does not ask for the latter gets one all the same, if it may
	// have any; who is asked and refuses gives none.
	ScopeOpenID  = "openid"
	ScopeOffline = "offline_access"
)

func allScopes() []string {
	return []string{ScopeUpload, ScopeRead, ScopeCreate, ScopeDelete, ScopeApprove, ScopeOpenID, ScopeOffline}
}

// PersonScopes are those that a client can ask a person for.
func PersonScopes() []string {
	return []string{ScopeRead, ScopeCreate, ScopeDelete, ScopeApprove, ScopeOpenID, ScopeOffline}
}

// bound is what a person can grant to a client: what was asked, as far as the
// client's allow-list and the person's role go. Who asks for nothing asks for
// all. beyond is what the role cut off.
func bound(asked string, c Client, p people.Person) (may, beyond []string) {
	want := strings.Fields(asked)
	if len(want) == 0 {
		want = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == ScopeOpenID || s == ScopeOffline })
	}
	role := append(p.Role.Scopes(), ScopeOpenID, ScopeOffline)
	for _, s := range want {
		switch {
		case !slices.Contains(c.Scopes, s) || slices.Contains(may, s):
		case slices.Contains(role, s):
			may = append(may, s)
		default:
			beyond = append(beyond, s)
		}
	}
	return may, beyond
}

// explain says in a sentence what a person allows with a scope.
func explain(scope string, p people.Person) string {
	region := strings.Join(p.Regions, ", ")
	switch scope {
	case ScopeRead:
		switch p.Role {
		case people.RoleManager:
			return "See your hours and those of the people in " + region
		case people.RoleAdministrator:
			return "See the hours of everybody at ExampleCo"
		default:
			return "See the hours that you have logged"
		}
	case ScopeCreate:
		return "Log hours in your name, and change those that are not approved yet"
	case ScopeDelete:
		return "Delete hours of yours that are not approved yet"
	case ScopeApprove:
		if p.Role == people.RoleAdministrator {
			return "Approve the hours of everybody at ExampleCo"
		}
		return "Approve the hours of the people in " + region
	case ScopeOpenID:
		return "Know who you are: your name and your username"
	case ScopeOffline:
		return "Keep this access without asking you again, until you log out or do not use it for a while"
	default:
		return scope
	}
}
