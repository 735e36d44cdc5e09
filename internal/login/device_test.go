package login_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exampleco/tsupload/internal/login"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// What the server answers to each poll, and when the client may ask again (RFC 8628 section 3.5).
func TestDevicePolls(t *testing.T) {
	t.Parallel()
	oauth := func(code string) string { return "400 " + code }
	const granted, cut, down, busy, page = "granted", "cut", "503", "429", "html"
	for _, tc := range []struct {
		name   string
		device string // fields of the device answer
		polls  []string
		at     []int // seconds after the device answer
		kind   login.Kind
		says   string
	}{
		{"at once", `"interval":1`, []string{granted}, []int{1}, "", ""},
		{"default interval", ``, []string{oauth("authorization_pending"), granted}, []int{5, 10}, "", ""},
		{"interval of zero", `"interval":0`, []string{granted}, []int{5}, "", ""},
		{"negative interval", `"interval":-3`, []string{granted}, []int{5}, "", ""},
		{"interval as text", `"interval":"2"`, []string{granted}, []int{2}, "", ""},
		{"slow down once", `"interval":2`, []string{oauth("slow_down"), oauth("authorization_pending"), oauth("authorization_pending"), granted}, []int{2, 9, 16, 23}, "", ""},
		{"slow down twice", `"interval":2`, []string{oauth("slow_down"), oauth("slow_down"), granted}, []int{2, 9, 21}, "", ""},
		{"denied", `"interval":1`, []string{oauth("authorization_pending"), oauth("access_denied")}, []int{1, 2}, login.Denied, "access_denied"},
		{"expired", `"interval":1`, []string{oauth("expired_token")}, []int{1}, login.Expired, "expired"},
		{"never", `"interval":10,"expires_in":25`, []string{oauth("authorization_pending"), oauth("authorization_pending")}, []int{10, 20}, login.Expired, "within the time"},
		{"refused", `"interval":1`, []string{oauth("invalid_client")}, []int{1}, login.Refused, "invalid_client"},
		{"page", `"interval":1`, []string{page}, []int{1}, login.Refused, ""},
		{"cut off twice", `"interval":1`, []string{cut, cut, granted}, []int{1, 3, 7}, "", ""},
		{"in trouble, then pending", `"interval":1`, []string{down, oauth("authorization_pending"), granted}, []int{1, 3, 4}, "", ""},
		{"too many", `"interval":4`, []string{busy, granted}, []int{4, 12}, "", ""},
		{"cut off for ever", `"interval":1,"expires_in":10`, []string{cut, cut, cut, cut}, []int{1, 3, 7}, login.Unavailable, "did not answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var begin time.Time
				var at []int
				c := &login.Config{
					Server:   login.Server{Issuer: "https://as.example", TokenEndpoint: "https://as.example/token", DeviceEndpoint: "https://as.example/device"},
					ClientID: "native", Scopes: []string{"a"}, Timeout: time.Hour,
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path == "/device" {
							fields := tc.device
							if fields != "" {
								fields = "," + fields
							}
							return answer(200, `{"device_code":"canary-device","user_code":"WDJB-MJHT","verification_uri":"https://as.example/activate","verification_uri_complete":"https://as.example/activate?c=1"`+fields+`}`), nil
						}
						if err := r.ParseForm(); err != nil || r.PostForm.Get("device_code") != "canary-device" || r.PostForm.Get("client_id") != "native" {
							t.Errorf("got form %v, %v", r.PostForm, err)
						}
						n := len(at)
						at = append(at, int(time.Since(begin)/time.Second))
						if n >= len(tc.polls) {
							return answer(400, `{"error":"authorization_pending"}`), nil
						}
						switch p := tc.polls[n]; p {
						case granted:
							return answer(200, `{"access_token":"canary-token","token_type":"Bearer","refresh_token":"canary-refresh","expires_in":60}`), nil
						case cut:
							return nil, errors.New("connection cut")
						case down, busy:
							return answer(map[string]int{down: 503, busy: 429}[p], "canary"), nil
						case page:
							return answer(200, "<html>"), nil
						default:
							return answer(400, fmt.Sprintf(`{"error":%q}`, strings.TrimPrefix(p, "400 "))), nil
						}
					}),
				}
				tokens, err := c.WithDevice(t.Context(), func(p login.Prompt) error {
					if p.Code != "WDJB-MJHT" || p.Address != "https://as.example/activate" || p.Complete == "" {
						t.Errorf("got %+v", p)
					}
					begin = time.Now()
					return nil
				})
				var e *login.Error
				switch {
				case tc.kind == "" && (err != nil || tokens.Access != "canary-token" || tokens.Refresh != "canary-refresh" || tokens.ExpiresAt.Sub(tokens.ObtainedAt) > time.Minute):
					t.Errorf("got %v, %v", err, tokens.ExpiresAt.Sub(tokens.ObtainedAt))
				case tc.kind != "" && (!errors.As(err, &e) || e.Kind != tc.kind || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary")):
					t.Errorf("got %v, want kind %s", err, tc.kind)
				}
				if got, want := fmt.Sprint(at), fmt.Sprint(tc.at); got != want {
					t.Errorf("polled at %s, want %s", got, want)
				}
			})
		})
	}
}

func TestDeviceRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		status     int
		kind       login.Kind
	}{
		{"unknown client", `{"error":"invalid_client"}`, 401, login.Refused},
		{"trouble", `canary`, 500, login.Unavailable},
		{"page", `<html>canary`, 200, login.Refused},
		{"no code", `{"verification_uri":"https://as.example/x"}`, 200, login.Refused},
		{"no page", `{"device_code":"canary","user_code":"x"}`, 200, login.Refused},
		{"page that is none", `{"device_code":"canary","user_code":"x","verification_uri":"javascript:alert(1)"}`, 200, login.Refused},
		{"page without TLS", `{"device_code":"canary","user_code":"x","verification_uri":"http://as.example/x"}`, 200, login.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := &login.Config{
				Server: login.Server{TokenEndpoint: "https://as.example/token", DeviceEndpoint: "https://as.example/device"}, ClientID: "native",
				Transport: roundTripper(func(*http.Request) (*http.Response, error) { return answer(tc.status, tc.body), nil }),
			}
			_, err := c.WithDevice(t.Context(), func(login.Prompt) error { t.Error("shown all the same"); return nil })
			var e *login.Error
			if !errors.As(err, &e) || e.Kind != tc.kind || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want kind %s", err, tc.kind)
			}
		})
	}
	var e *login.Error
	if _, err := (&login.Config{}).WithDevice(t.Context(), nil); !errors.As(err, &e) || !strings.Contains(e.Hint(), "--no-browser") {
		t.Errorf("not offered: got %v", err)
	}
}

// What a server writes for a person cannot move the cursor.
func TestDevicePrompt(t *testing.T) {
	t.Parallel()
	c := &login.Config{
		Server: login.Server{TokenEndpoint: "https://as.example/token", DeviceEndpoint: "https://as.example/device"}, ClientID: "native",
		Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return answer(200, `{"device_code":"d","user_code":"A\u001b[2JB\nC","verification_uri":"https://as.example/x","verification_uri_complete":"javascript:x"}`), nil
		}),
	}
	stop := errors.New("seen")
	_, err := c.WithDevice(t.Context(), func(p login.Prompt) error {
		if p.Code != "A [2JB C" || p.Complete != "" {
			t.Errorf("got %q, %q", p.Code, p.Complete)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestDeviceCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &login.Config{
			Server: login.Server{TokenEndpoint: "https://as.example/token", DeviceEndpoint: "https://as.example/device"}, ClientID: "native",
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == "/device" {
					return answer(200, `{"device_code":"d","user_code":"x","verification_uri":"https://as.example/x"}`), nil
				}
				cancel()
				return answer(400, `{"error":"authorization_pending"}`), nil
			}),
		}
		if _, err := c.WithDevice(ctx, func(login.Prompt) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzMend(f *testing.F) {
	for _, s := range []string{`{"expires_in":1}`, `{"expires_in":"x","interval":1e9}`, `[]`, `{`, `null`, `{"expires_in":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &login.Config{
			Server: login.Server{TokenEndpoint: "https://as.example/token", DeviceEndpoint: "https://as.example/device"}, ClientID: "native",
			Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body))}, nil
			}),
		}
		stop := errors.New("seen")
		_, err := c.WithDevice(t.Context(), func(p login.Prompt) error {
			if p.Code == "" || strings.ContainsAny(p.Code+p.Address+p.Complete, "\n\x1b") {
				t.Errorf("got %+v", p)
			}
			return stop
		})
		if err == nil {
			t.Error("a login out of nothing")
		}
	})
}
