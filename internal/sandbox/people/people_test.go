package people_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/exampleco/tsupload/internal/sandbox/people"
)

func passwords() map[string]string {
	m := make(map[string]string)
	for _, p := range people.ExampleCo() {
		m[p.Username] = "planted-" + p.Username
	}
	return m
}

func directory(tb testing.TB) *people.Directory {
	tb.Helper()
	d, err := people.New(people.ExampleCo(), passwords())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestExampleCo(t *testing.T) {
	t.Parallel()
	roles := make(map[people.Role]int)
	for _, p := range people.ExampleCo() {
		roles[p.Role]++
		if p.Subject != "user:"+p.Username || p.Name == "" || p.UserID == "" || len(p.Regions) == 0 || len(p.Groups) == 0 {
			t.Errorf("incomplete: %+v", p)
		}
	}
	for _, r := range []people.Role{people.RoleEmployee, people.RoleContractor, people.RoleManager, people.RoleAdministrator} {
		if roles[r] == 0 {
			t.Errorf("nobody is %s", r)
		}
	}
	// Every manager has people to see and people not to see.
	for _, m := range people.ExampleCo() {
		if m.Role != people.RoleManager {
			continue
		}
		in, out := 0, 0
		for _, p := range people.ExampleCo() {
			if p.Role != people.RoleEmployee && p.Role != people.RoleContractor {
				continue
			}
			if slices.ContainsFunc(p.Regions, func(r string) bool { return slices.Contains(m.Regions, r) }) {
				in++
			} else {
				out++
			}
		}
		if in == 0 || out == 0 {
			t.Errorf("%s manages %d and does not manage %d", m.Username, in, out)
		}
	}
}

func TestRoleScopes(t *testing.T) {
	t.Parallel()
	own := []string{"create:timesheets", "read:timesheets", "delete:timesheets"}
	all := append(slices.Clone(own), "approve:timesheets")
	for role, want := range map[people.Role][]string{
		people.RoleEmployee: own, people.RoleContractor: own, people.RoleManager: all, people.RoleAdministrator: all, "guest": nil,
	} {
		if got := role.Scopes(); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", role, got, want)
		}
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	d := directory(t)
	for _, p := range d.All() {
		for name, find := range map[string]func() (people.Person, bool){
			"subject":  func() (people.Person, bool) { return d.BySubject(p.Subject) },
			"username": func() (people.Person, bool) { return d.ByUsername(p.Username) },
			"user id":  func() (people.Person, bool) { return d.ByUserID(p.UserID) },
			"password": func() (people.Person, bool) { return d.CheckPassword(p.Username, "planted-"+p.Username) },
		} {
			if got, ok := find(); !ok || got.Subject != p.Subject {
				t.Errorf("%s by %s: got %+v, %t", p.Username, name, got, ok)
			}
		}
	}
	for _, c := range []struct{ username, password string }{
		{"ada", "planted-cy"}, {"ada", ""}, {"nobody", "planted-ada"}, {"", ""}, {"ADA", "planted-ada"},
	} {
		if p, ok := d.CheckPassword(c.username, c.password); ok || p.Subject != "" {
			t.Errorf("%v: let in as %s", c, p.Subject)
		}
	}
	if _, ok := d.BySubject("client:ada"); ok {
		t.Error("found a person by a machine's subject")
	}
}

func TestPeopleAreCopies(t *testing.T) {
	t.Parallel()
	d := directory(t)
	mia, _ := d.ByUsername("mia")
	mia.Regions[0] = "everywhere"
	c := mia.Claims()
	c.Regions[0] = "nowhere"
	if again, _ := d.ByUsername("mia"); again.Regions[0] != "EMEA" || mia.Regions[0] != "everywhere" {
		t.Errorf("changed through a copy: %v, %v", again.Regions, mia.Regions)
	}
}

func TestPasswordsAreNotKept(t *testing.T) {
	t.Parallel()
	if dump := fmt.Sprintf("%+v %s", directory(t), directory(t)); strings.Contains(dump, "planted") {
		t.Error("a password is in the directory")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ada := people.ExampleCo()[0]
	for name, tt := range map[string]struct {
		people    []people.Person
		passwords map[string]string
		want      string
	}{
		"twice":       {[]people.Person{ada, ada}, map[string]string{"ada": "x"}, "two people have the subject user:ada"},
		"no password": {[]people.Person{ada}, nil, "ada has no password"},
		"stranger":    {[]people.Person{ada}, map[string]string{"ada": "x", "eve": "y"}, `a password is for "eve", who is not there`},
	} {
		if _, err := people.New(tt.people, tt.passwords); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestParseDesign(t *testing.T) {
	t.Parallel()
	for _, d := range []people.Design{people.InToken, people.ByLookup, people.ByReference} {
		if got, err := people.ParseDesign(string(d)); got != d || err != nil {
			t.Errorf("%s: got %q, %v", d, got, err)
		}
	}
	if _, err := people.ParseDesign("cookie"); err == nil || !strings.Contains(err.Error(), `"cookie" is none of token, lookup, reference`) {
		t.Errorf("got %v", err)
	}
}
