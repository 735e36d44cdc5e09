package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exampleco/tsupload/tokencache"
)

// Who needs a token for longer than the kept one lives gets another, and the kept one stays if there is none.
func TestTokenFor(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir}
	c := newCache(t, cfg)
	_ = mustToken(t, c)
	if tok, err := c.TokenFor(t.Context(), 30*time.Minute); err != nil || tok.Value != "tok-1" {
		t.Errorf("got %q, %v, want the kept one", tok.Value, err)
	}
	wantRequests(t, s, 1)
	good := s.answer
	s.set(answering(400, `{"error":"invalid_scope"}`))
	if _, err := c.TokenFor(t.Context(), 2*time.Hour); err == nil {
		t.Error("got a token that nobody issued")
	}
	if got := mustToken(t, newCache(t, cfg)); got != "tok-1" {
		t.Errorf("the kept token is gone: got %q", got)
	}
	s.set(good)
	s.issued.Store(6)
	other := newCache(t, tokencache.Config{TokenURL: s.URL, Store: cfg.Store, LockDir: dir, Secret: secretOf("other")})
	if tok, err := other.TokenFor(t.Context(), 2*time.Hour); err != nil || tok.Value != "tok-7" {
		t.Errorf("got %q, %v, want a new one although it lives no longer", tok.Value, err)
	}
	wantRequests(t, s, 3)
}

// What tokens cost is counted over processes, by day.
func TestCounts(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir}
	for range 4 {
		c := newCache(t, cfg)
		_, _ = mustToken(t, c), mustToken(t, c)
		for range 2 { // the second says nothing new
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	looking := newCache(t, cfg)
	_ = looking.Close()
	today := time.Now().UTC().Format(time.DateOnly)
	if d := cmp.Diff([]tokencache.DayCount{{Day: today, Fetched: 1, Saved: 3}}, looking.Counts()); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	path := filepath.Join(dir, looking.Key()+".count")
	old := time.Now().UTC().AddDate(0, 0, -40).Format(time.DateOnly)
	for text, want := range map[string]int{
		fmt.Sprintf(`{"version":1,"days":[{"day":%q,"fetched":9},{"day":%q,"fetched":2,"saved":5}]}`, old, today): 1,
		`{"version":2,"days":[{"day":"2999-01-01"}]}`:                                                             0,
		"damaged": 0,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := looking.Counts(); len(got) != want {
			t.Errorf("%s: got %v, want %d days", text, got, want)
		}
	}
	if got := newCache(t, tokencache.Config{TokenURL: s.URL}).Counts(); got != nil {
		t.Errorf("got %v from nowhere", got)
	}
}

// A server that wants to be left alone is, by every process.
func TestRetryAfterHoldsForOthers(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"seconds": "900", "absurd": "99999999999999999999", "date": time.Now().Add(240 * time.Hour).UTC().Format(http.TimeFormat),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newAuthServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", header)
				sendJSON(w, 429, `{}`)
			})
			dir := t.TempDir()
			cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir}
			for range 3 {
				_, err := newCache(t, cfg).Token(t.Context())
				var busy *tokencache.UnavailableError
				if !errors.As(err, &busy) || busy.Status != 429 || busy.RetryAfter < 14*time.Minute || busy.RetryAfter > 15*time.Minute {
					t.Fatalf("got %v, want to wait for 15 minutes", err)
				}
			}
			wantRequests(t, s, 1)
			files, err := filepath.Glob(filepath.Join(dir, "*.busy"))
			if err != nil || len(files) != 1 {
				t.Fatalf("got %v, %v", files, err)
			}
			// One written under a clock that was ahead is not believed.
			future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
			if err := os.WriteFile(files[0], []byte(`{"version":1,"status":429,"until":"`+future+`"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			s.set(answering(200, `{"access_token":"tok"}`))
			_ = mustToken(t, newCache(t, cfg))
			if _, err := os.Stat(files[0]); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the wait is still there: %v", err)
			}
		})
	}
}

// What is left of tokens is read from an answer, kept with the token, and warned of below a tenth.
func TestAllotments(t *testing.T) {
	t.Parallel()
	var log logBuffer
	reset := time.Now().Add(time.Minute).Truncate(time.Second)
	s := newAuthServer(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Auth0-Client-Quota-Limit", "b=per_hour;q=100;r=10;t=60,b=per_day;q=5;r=0;t=3600")
		h.Set("Auth0-Organization-Quota-Limit", "b=per_day;q=1000;r=999;t=3600")
		h.Set("X-RateLimit-Limit", "300")
		h.Set("X-RateLimit-Remaining", "29")
		h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
		sendJSON(w, 200, `{"access_token":"tok"}`)
	})
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir, Logger: log.logger()}
	_ = mustToken(t, newCache(t, cfg))
	tok, has := newCache(t, cfg).Peek(t.Context())
	if !has || len(tok.Allotments) != 4 {
		t.Fatalf("got %v, %v", tok.Allotments, has)
	}
	for i, want := range []struct {
		bucket           string
		limit, remaining int64
		low              bool
	}{{"per_hour", 100, 10, false}, {"per_day", 5, 0, true}, {"per_day of the organization", 1000, 999, false}, {"requests", 300, 29, true}} {
		a := tok.Allotments[i]
		if a.Bucket != want.bucket || a.Limit != want.limit || a.Remaining != want.remaining || a.Low(time.Now()) != want.low {
			t.Errorf("got %+v, low %v, want %+v", a, a.Low(time.Now()), want)
		}
		if a.Low(time.Now().Add(25 * time.Hour)) {
			t.Errorf("%s is low after its reset", a.Bucket)
		}
	}
	if !tok.Allotments[3].ResetAt.Equal(reset) {
		t.Errorf("got %s, want %s", tok.Allotments[3].ResetAt, reset)
	}
	if got := strings.Count(log.String(), `"level":"WARN","msg":"token allotment"`); got != 2 {
		t.Errorf("got %d warnings, want 2:\n%s", got, log.String())
	}
}

func TestFetches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var minutely []time.Time
		for i := range 24 * 60 {
			minutely = append(minutely, begin.Add(time.Duration(i)*time.Minute))
		}
		for _, tt := range []struct {
			uses []time.Time
			life time.Duration
			want int
		}{
			{nil, time.Hour, 0},
			{minutely[:1], time.Hour, 1},
			{minutely, 24 * time.Hour, 2},          // renewed a tenth before the end
			{minutely, time.Hour, 27},              // 54 minutes each
			{minutely, 10 * time.Minute, 288},      // 5 minutes each
			{minutely, time.Second, len(minutely)}, // none serves two
		} {
			if got := tokencache.Fetches(tt.uses, tt.life); got != tt.want {
				t.Errorf("%d uses, life %s: got %d, want %d", len(tt.uses), tt.life, got, tt.want)
			}
		}
	})
}

// Where each server names scopes and audience, the facts about its token say what is odd.
func TestInspect(t *testing.T) {
	t.Parallel()
	exp := time.Now().Add(time.Hour).Unix()
	for _, tt := range []struct {
		name   string
		cfg    tokencache.Config
		claims string
		odd    string
		text   string
	}{
		{"entra", tokencache.Config{ExpectedAudiences: []string{"api://guid", "guid"}, ScopeClaims: []string{"roles"}, Scopes: []string{"api://guid/.default"}, ExpectedScopes: []string{"batch:upload"}}, `"aud":"guid","roles":["batch:upload"]`, "", `audience is ["guid"], as configured`},
		{"entra without the role", tokencache.Config{ScopeClaims: []string{"roles"}, ExpectedScopes: []string{"batch:upload"}}, `"aud":"guid","scope":"batch:upload"`, "scope", "names nothing in roles; missing: batch:upload"},
		{"entra, a person", tokencache.Config{ScopeClaims: []string{"scp"}, Scopes: []string{"api://guid/create:timesheets"}}, `"aud":"guid","scp":"create:timesheets openid"`, "", "scopes: create:timesheets"},
		{"okta", tokencache.Config{ScopeClaims: []string{"scp"}, Scopes: []string{"batch:upload"}}, `"aud":"a","scp":["batch:upload"]`, "", "scopes: batch:upload"},
		{"cognito", tokencache.Config{ScopeClaims: []string{"scope"}, Scopes: []string{"ts/batch:upload"}}, `"scope":"ts/batch:upload"`, "", "has no audience"},
		{"keycloak without a mapper", tokencache.Config{ExpectedAudiences: []string{"timesheets"}, Scopes: []string{"batch:upload"}}, `"aud":"account","scope":"batch:upload profile"`, "audience", `configured is ["timesheets"]`},
		{"another issuer", tokencache.Config{Issuer: "https://i/"}, `"iss":"https://i","aud":"a"`, "issuer", "configured is"},
	} {
		if tt.cfg.Issuer == "" {
			tt.cfg.TokenURL = "https://a/t"
		}
		payload := fmt.Sprintf(`{"exp":%d,%s}`, exp, tt.claims)
		var odd, texts []string
		for _, f := range newCache(t, tt.cfg).Inspect(jwtOf(payload)) {
			if f.Odd {
				odd = append(odd, f.About)
			}
			texts = append(texts, f.Text)
		}
		if got := strings.Join(odd, " "); got != tt.odd || !strings.Contains(strings.Join(texts, "\n"), tt.text) {
			t.Errorf("%s: odd is %q, want %q; got %q", tt.name, got, tt.odd, texts)
		}
	}
}

// Processes that all want a token for longer than the server's live get one between them: what comes while a call waits for
// the lock is as new as its own would be.
func TestTokenForTogether(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t, nil)
	dir := t.TempDir()
	cfg := tokencache.Config{TokenURL: s.URL, Store: tokencache.NewFileStore(dir, nil), LockDir: dir}
	_ = mustToken(t, newCache(t, cfg))
	good := s.answer
	asked, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.set(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-answer
		good(w, r)
	})
	// All have looked at the kept token, and the first is asking, before there is an answer.
	var looked sync.WaitGroup
	var done sync.WaitGroup
	for i := range 8 {
		if i == 1 {
			<-asked
		}
		looked.Add(1)
		each := cfg
		each.Store = &lookedAt{Store: cfg.Store, once: sync.OnceFunc(looked.Done)}
		c := newCache(t, each)
		done.Go(func() {
			if tok, err := c.TokenFor(t.Context(), 2*time.Hour); err != nil || tok.Value != "tok-2" {
				t.Errorf("got %q, %v, want the one new token", tok.Value, err)
			}
		})
	}
	looked.Wait()
	close(answer)
	done.Wait()
	wantRequests(t, s, 2)
}

// lookedAt is a store that tells of the first look at it.
type lookedAt struct {
	tokencache.Store

	once func()
}

func (s *lookedAt) Load(ctx context.Context, key string) (tokencache.Entry, error) {
	defer s.once()
	return s.Store.Load(ctx, key)
}
