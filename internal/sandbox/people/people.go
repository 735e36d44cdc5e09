// Package people is who works at the sandbox's ExampleCo: their roles, regions
// and passwords. The authorization server logs them in and bounds what they can
// grant; the Timesheets API decides by their claims whose entries they see.
//
// Invariants:
//   - Passwords are kept as salted hashes only.
//   - A person's subject ("user:ada") has a form that no machine's subject has
//     (RFC 9700 4.15).
//   - What is handed out is a copy: nobody changes a person but the Directory.
package people

import (
	"fmt"
	"slices"
)

// UserType is how a person is employed; the Timesheets API calls it user_type.
type UserType string

// The types of user that the Timesheets API knows.
const (
	Employee   UserType = "Employee"
	Contractor UserType = "Contractor"
)

// Role is what a person may do at ExampleCo. It bounds the scopes that the
// person can grant to a program.
type Role string

// The roles, from the least to the most powerful; the first two are equal.
const (
	RoleEmployee      Role = "employee"
	RoleContractor    Role = "contractor"
	RoleManager       Role = "manager"
	RoleAdministrator Role = "administrator"
)

// Scopes that a person can be granted. What uploads in batches (batch:upload)
// is a machine, and no person has it.
const (
	ScopeCreate  = "create:timesheets"
	ScopeRead    = "read:timesheets"
	ScopeDelete  = "delete:timesheets"
	ScopeApprove = "approve:timesheets"
)

// Scopes are the most that somebody of this role can grant; none for a role
// that does not exist.
func (r Role) Scopes() []string {
	switch r {
	case RoleEmployee, RoleContractor:
		return []string{ScopeCreate, ScopeRead, ScopeDelete}
	case RoleManager, RoleAdministrator:
		return []string{ScopeCreate, ScopeRead, ScopeDelete, ScopeApprove}
	default:
		return nil
	}
}

// Person is somebody at ExampleCo.
type Person struct {
	// Subject is sub in tokens, such as user:ada.
	Subject  string
	Username string
	Name     string
	// UserID is the person's user_id in the Timesheets API.
	UserID   string
	UserType UserType
	Role     Role
	// Regions are where the person works; a manager manages the people of them.
	Regions []string
	Groups  []string
}

// Design is how claims reach the API.
type Design string

// The three designs. In the token, the default: the API reads them there. By
// lookup: the token has the subject alone, and the API looks the claims up when
// it first sees a token. By reference: the authorization server asks the API for
// them when it issues a token, which is opaque, and the API introspects it
// (RFC 7662).
const (
	InToken     Design = "token"
	ByLookup    Design = "lookup"
	ByReference Design = "reference"
)

// ParseDesign reads a design from its name.
func ParseDesign(name string) (Design, error) {
	switch d := Design(name); d {
	case InToken, ByLookup, ByReference:
		return d, nil
	default:
		return "", fmt.Errorf("claims %q is none of token, lookup, reference", name)
	}
}

// Claims are what the API decides by in its third step. As JSON they are the
// answer of the API's internal endpoint, and, as top-level claims, part of a
// token or of an introspection.
type Claims struct {
	UserID   string   `json:"user_id"`
	UserType UserType `json:"user_type"`
	Role     Role     `json:"role"`
	Regions  []string `json:"regions"`
}

// Claims returns the person's claims.
func (p Person) Claims() Claims {
	return Claims{UserID: p.UserID, UserType: p.UserType, Role: p.Role, Regions: slices.Clone(p.Regions)}
}

func (p Person) clone() Person {
	p.Regions, p.Groups = slices.Clone(p.Regions), slices.Clone(p.Groups)
	return p
}

// ExampleCo returns the people that a sandbox begins with: in three regions, so
// that each manager has people to see and people not to see.
func ExampleCo() []Person {
	person := func(username, name, userID string, t UserType, r Role, groups []string, regions ...string) Person {
		return Person{
			Subject: "user:" + username, Username: username, Name: name, UserID: userID,
			UserType: t, Role: r, Regions: regions, Groups: groups,
		}
	}
	staff := []string{"staff"}
	return []Person{
		person("ada", "Ada Ito", "001", Employee, RoleEmployee, staff, "EMEA"),
		person("cy", "Cy Bond", "007", Contractor, RoleContractor, []string{"contractors"}, "EMEA"),
		person("kim", "Kim Ray", "002", Employee, RoleEmployee, staff, "APAC"),
		person("bo", "Bo Diaz", "008", Contractor, RoleContractor, []string{"contractors"}, "AMER"),
		person("mia", "Mia Roth", "010", Employee, RoleManager, []string{"staff", "managers"}, "EMEA"),
		person("max", "Max Lund", "011", Employee, RoleManager, []string{"staff", "managers"}, "AMER", "APAC"),
		person("adam", "Adam Root", "100", Employee, RoleAdministrator, []string{"staff", "administrators"}, "AMER", "APAC", "EMEA"),
	}
}
