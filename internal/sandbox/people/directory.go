package people

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
)

// The passwords are random unless a test names them, and their directory ends
// with the process, so a start stays quick.
const rounds = 10_000

// Directory finds people and checks their passwords. It does not change after
// New and is safe for concurrent use.
type Directory struct {
	people []Person
	hashes []hash // of the same index
	nobody hash   // is compared where there is no such person
}

type hash struct{ salt, sum []byte }

// New returns a directory of people, each with the password under their
// username. Usernames, subjects and user ids must differ.
func New(people []Person, passwords map[string]string) (*Directory, error) {
	d := &Directory{}
	seen := make(map[string]bool)
	for _, p := range people {
		for _, id := range []string{"subject " + p.Subject, "username " + p.Username, "user id " + p.UserID} {
			if seen[id] {
				return nil, fmt.Errorf("people: two people have the %s", id)
			}
			seen[id] = true
		}
		password := passwords[p.Username]
		if password == "" {
			return nil, fmt.Errorf("people: %s has no password", p.Username)
		}
		h, err := newHash(password)
		if err != nil {
			return nil, err
		}
		d.people, d.hashes = append(d.people, p.clone()), append(d.hashes, h)
	}
	for username := range passwords {
		if _, ok := d.ByUsername(username); !ok {
			return nil, fmt.Errorf("people: a password is for %q, who is not there", username)
		}
	}
	var err error
	d.nobody, err = newHash(rand.Text())
	return d, err
}

func newHash(password string) (hash, error) {
	h := hash{salt: make([]byte, 16)}
	rand.Read(h.salt)
	var err error
	h.sum, err = pbkdf2.Key(sha256.New, password, h.salt, rounds, sha256.Size)
	return h, err
}

func (h hash) matches(password string) bool {
	sum, err := pbkdf2.Key(sha256.New, password, h.salt, rounds, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// BySubject finds a person by the subject of a token.
func (d *Directory) BySubject(subject string) (Person, bool) {
	return d.find(func(p Person) bool { return p.Subject == subject })
}

// ByUsername finds a person by the name used to log in.
func (d *Directory) ByUsername(username string) (Person, bool) {
	return d.find(func(p Person) bool { return p.Username == username })
}

// ByUserID finds a person by user_id of the Timesheets API.
func (d *Directory) ByUserID(id string) (Person, bool) {
	return d.find(func(p Person) bool { return p.UserID == id })
}

func (d *Directory) find(is func(Person) bool) (Person, bool) {
	if i := slices.IndexFunc(d.people, is); i >= 0 {
		return d.people[i].clone(), true
	}
	return Person{}, false
}

// All returns everybody, in the order they were given.
func (d *Directory) All() []Person {
	all := make([]Person, len(d.people))
	for i, p := range d.people {
		all[i] = p.clone()
	}
	return all
}

// CheckPassword returns the person with this username and password. It takes as
// long for a name that nobody has as for a wrong password.
func (d *Directory) CheckPassword(username, password string) (Person, bool) {
	i := slices.IndexFunc(d.people, func(p Person) bool { return p.Username == username })
	if i < 0 {
		d.nobody.matches(password)
		return Person{}, false
	}
	if !d.hashes[i].matches(password) {
		return Person{}, false
	}
	return d.people[i].clone(), true
}
