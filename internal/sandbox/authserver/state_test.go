package authserver

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/exampleco/tsupload/internal/sandbox/people"
	"github.com/exampleco/tsupload/internal/sandbox/sandboxtest"
)

// Whoever could read all that the server keeps would find none of what opens a
// door: secrets, passwords, codes, tokens, cookies.
func TestStateHasNoSecrets(t *testing.T) {
	t.Parallel()
	for _, design := range []people.Design{people.InToken, people.ByReference} {
		t.Run(string(design), func(t *testing.T) {
			t.Parallel()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"user_id":"001","role":"employee","regions":["EMEA"]}`))
			}))
			t.Cleanup(api.Close)
			planted := map[string]string{"client secret": "planted-client-secret", "second secret": "planted-second-secret", "password": "planted-password"}
			passwords := make(map[string]string)
			for _, p := range people.ExampleCo() {
				passwords[p.Username] = planted["password"]
			}
			directory, err := people.New(people.ExampleCo(), passwords)
			if err != nil {
				t.Fatal(err)
			}
			var (
				s       *Server
				logs    journal
				cookies sync.Map
			)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, c := range r.Cookies() {
					cookies.Store(c.Name, c.Value)
				}
				s.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			s, err = New(Config{
				Issuer: srv.URL, Audience: "https://api.example", People: directory, Claims: design, ClaimsURL: api.URL, ClaimsToken: "between-us",
				Logger: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Clients: []Client{
					{ID: "machine", Grants: []string{GrantClientCredentials}, Secrets: []Secret{{Value: planted["client secret"]}}, Scopes: []string{ScopeRead}},
					{ID: "cli", Native: true, Grants: []string{GrantCode, GrantDevice, GrantRefresh}, Redirects: []string{"http://127.0.0.1/callback"}, Scopes: PersonScopes()},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.AddSecret("machine", Secret{Value: planted["second secret"]}, 1<<40); err != nil {
				t.Fatal(err)
			}
			c := oauth2.Config{
				ClientID: "cli", RedirectURL: "http://127.0.0.1:9/callback", Scopes: []string{"read:timesheets"},
				Endpoint: oauth2.Endpoint{
					AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", DeviceAuthURL: srv.URL + "/device_authorization",
					AuthStyle: oauth2.AuthStyleInParams,
				},
			}
			ada := sandboxtest.Person{Username: "ada", Password: planted["password"]}
			// A code that waits, one that was redeemed, and a token that was renewed.
			for _, name := range []string{"code", "redeemed code"} {
				verifier := oauth2.GenerateVerifier()
				to, err := ada.LogIn(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
				if err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(to)
				if err != nil {
					t.Fatal(err)
				}
				planted[name], planted[name+" verifier"] = u.Query().Get("code"), verifier
			}
			tok, err := c.Exchange(t.Context(), planted["redeemed code"], oauth2.VerifierOption(planted["redeemed code verifier"]))
			if err != nil {
				t.Fatal(err)
			}
			planted["access token"], planted["first refresh token"] = tok.AccessToken, tok.RefreshToken
			next, err := c.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token()
			if err != nil {
				t.Fatal(err)
			}
			planted["renewed access token"], planted["refresh token"] = next.AccessToken, next.RefreshToken
			for _, name := range []string{"device code", "approved device code"} {
				da, err := c.DeviceAuth(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				planted[name] = da.DeviceCode
				if name == "approved device code" {
					if err := ada.Connect(t.Context(), da.VerificationURI, da.UserCode); err != nil {
						t.Fatal(err)
					}
				}
			}
			// Some refusals, for what they leave in the log.
			if _, err := c.Exchange(t.Context(), planted["redeemed code"], oauth2.VerifierOption(planted["redeemed code verifier"])); err == nil {
				t.Error("a code worked twice")
			}
			if _, err := c.TokenSource(t.Context(), &oauth2.Token{RefreshToken: tok.RefreshToken}).Token(); err == nil {
				t.Error("a refresh token worked twice")
			}
			m := clientcredentials.Config{ClientID: "cli", ClientSecret: planted["client secret"], TokenURL: srv.URL + "/token", AuthStyle: oauth2.AuthStyleInParams}
			if _, err := m.Token(t.Context()); err == nil {
				t.Error("a public client had a secret")
			}
			// Nobody writes any more. The browser's own name is what its forms are
			// bound to, and opens nothing.
			srv.Close()
			login, ok := cookies.Load(loginCookie)
			if !ok {
				t.Fatal("there was no cookie of a login")
			}
			planted["login cookie"], _ = login.(string)

			found := make(map[string]bool)
			walk(reflect.ValueOf(s), make(map[uintptr]bool), func(text string) {
				found["anything"] = found["anything"] || strings.Contains(text, "https://api.example")
				found["a digest"] = found["a digest"] || strings.Contains(text, digest(planted["refresh token"]))
				for name, value := range planted {
					if len(value) < 16 {
						t.Fatalf("%s was not planted", name)
					}
					if strings.Contains(text, value) {
						t.Errorf("the %s is kept as it is", name)
					}
				}
			})
			if text := logs.String(); len(text) == 0 {
				t.Error("nothing was logged")
			} else {
				for name, value := range planted {
					if strings.Contains(text, value) {
						t.Errorf("the %s is in the log", name)
					}
				}
			}
			if !found["anything"] || !found["a digest"] {
				t.Errorf("the walk saw too little: %v", found)
			}
		})
	}
}

// journal is a log that several may write.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// walk visits every string that can be reached from v, however hidden.
func walk(v reflect.Value, seen map[uintptr]bool, visit func(string)) {
	switch v.Kind() {
	case reflect.String:
		visit(v.String())
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*http.Client]() {
			return // what it keeps of its connections is in use
		}
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			walk(v.Elem(), seen, visit)
		}
	case reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), seen, visit)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			walk(field, seen, visit)
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			walk(iter.Key(), seen, visit)
			walk(iter.Value(), seen, visit)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Kind() == reflect.Slice {
				visit(string(v.Bytes()))
			}
			return
		}
		for i := range v.Len() {
			walk(v.Index(i), seen, visit)
		}
	default:
	}
}
