package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/imgtools/imgtools/lib/image"
)

// The texts are those that scripts match on, and each error is one of the
// image package, from which exit codes are made.
func TestErrorTexts(t *testing.T) {
	tests := []struct {
		status    int
		challenge string
		body      string
		want      string
		is        error
	}{
		{404, "", `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}`, "manifest unknown", image.ErrNotFound},
		{404, "", `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}`, "manifest unknown: no such manifest", image.ErrNotFound},
		{404, "", `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"},{"code":"DENIED"}]}`, "repository name not known to registry", image.ErrNotFound},
		{404, "", `404 page not found`, `StatusCode: 404, "404 page not found"`, image.ErrNotFound},
		{404, "", ``, "received unexpected HTTP status: 404 Not Found", image.ErrNotFound},
		{403, "", `{"errors":[{"code":"DENIED"}]}`, "denied", image.ErrDenied},
		{403, "", `<html>` + strings.Repeat("x", 100), `StatusCode: 403, "<html>` + strings.Repeat("x", 44) + `..."`, image.ErrDenied},
		{401, "", `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, "authentication required", image.ErrUnauthorized},
		{401, "", `{"details":"incorrect username or password"}`, "unauthorized: incorrect username or password", image.ErrUnauthorized},
		{401, "", `nonsense`, "unauthorized: nonsense", image.ErrUnauthorized},
		{401, "", ``, "authentication required", image.ErrUnauthorized},
		{401, `Bearer error="invalid_token",error_description="it has expired"`, ``, "unauthorized: it has expired", image.ErrUnauthorized},
		{401, `Bearer error="insufficient_scope",error_description="no push"`, ``, "denied: no push", image.ErrDenied},
		{429, "", `{"details":"slow down"}`, "toomanyrequests: slow down", image.ErrNetwork},
		{429, "", ``, "received unexpected HTTP status: 429 Too Many Requests", image.ErrNetwork},
		{503, "", `<html>busy</html>`, "received unexpected HTTP status: 503 Service Unavailable", image.ErrNetwork},
		{500, "", `{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}`, "unknown error", image.ErrNetwork},
		{599, "", ``, "received unexpected HTTP status: 599", nil},
		{400, "", `{"errors":[{"code":"digest_invalid","message":"no"}]}`, "digest invalid: no", image.ErrMismatch},
		{400, "", `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"x"}]}`, "manifest blob unknown: x", image.ErrIncomplete},
		{400, "", `{"errors":[{"message":"only text"}]}`, "unknown: only text", nil},
		{400, "", `{"errors":[{"code":"A\u001b[31m","message":"b\r\nc"}]}`, "a [31m: b  c", nil},
		{400, "", `{"errors":[]}`, `StatusCode: 400, "{\"errors\":[]}"`, nil},
		{400, "", `{"errors":"x"}`, `StatusCode: 400, "{\"errors\":\"x\"}"`, nil},
	}
	sentinels := []error{image.ErrNotFound, image.ErrUnauthorized, image.ErrDenied, image.ErrNetwork, image.ErrMismatch, image.ErrIncomplete}
	for _, tt := range tests {
		err := answerWith(t, tt.status, tt.challenge, tt.body)
		if err.Error() != tt.want {
			t.Errorf("%d %q: %q; want %q", tt.status, tt.body, err, tt.want)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%d %q: is not %q", tt.status, tt.body, tt.is)
		}
		for _, s := range sentinels {
			if tt.is == nil && errors.Is(err, s) {
				t.Errorf("%d %q: is %q", tt.status, tt.body, s)
			}
		}
	}
}

// answerWith returns the error that an answer from http://reg:5000/p?q=secret
// becomes.
func answerWith(t testing.TB, status int, challenge, body string) error {
	t.Helper()
	r := open(t, "reg:5000/a", Options{TLSVerify: Never})
	o := r.remote.originWith("http")
	r.remote.origin.Store(&o)
	req, err := http.NewRequest("GET", "http://reg:5000/p?q=secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}
	if challenge != "" {
		resp.Header.Set("Www-Authenticate", challenge)
	}
	return r.remote.errorOf(&response{Response: resp}, func(s string) string { return s })
}

// A message tells where it comes from when that is not the registry, and
// never what a URL was signed with.
func TestErrorElsewhere(t *testing.T) {
	r := open(t, "reg.test/a", Options{})
	req, _ := http.NewRequest("GET", "https://ali:secret@cdn.test/p?sig=secret#secret", nil)
	err := r.remote.errorOf(&response{Response: &http.Response{StatusCode: 403, Body: http.NoBody, Request: req}}, func(s string) string { return s })
	if want := "received unexpected HTTP status: 403 Forbidden, from cdn.test"; err.Error() != want {
		t.Errorf("error is %q; want %q", err, want)
	}
	var e *Error
	if errors.As(err, &e); e.URL != "https://cdn.test/p" || strings.Contains(fmt.Sprintf("%+v", e), "secret") {
		t.Errorf("error is %+v; want the URL https://cdn.test/p and no secret", e)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", -1},
		{"5", "", 5 * time.Second},
		{" 0 ", "", 0},
		{"-1", "", -1},
		{"1.5", "", -1},
		{"soon", "", -1},
		{"99999999999999", "", -1},
		{"Fri, 02 Jan 2026 03:04:35 GMT", "", 30 * time.Second},
		{"Fri, 02 Jan 2026 03:04:35 GMT", "Fri, 02 Jan 2026 03:04:25 GMT", 10 * time.Second},
		{"Fri, 02 Jan 2026 03:00:00 GMT", "", 0},
	}
	for _, tt := range tests {
		h := http.Header{"Retry-After": {tt.value}, "Date": {tt.date}}
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("retryAfter(%q, %q) = %v; want %v", tt.value, tt.date, got, tt.want)
		}
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`), 404)
	f.Add([]byte(`{"details":"x"}`), 429)
	f.Add([]byte("\xff\x1b[31m<html>"), 500)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		code, message := parseErrorBody(body, status)
		if len(message) > maxMessage+len("...") || len(code) > maxExcerpt {
			t.Errorf("parseErrorBody(%q) = %d and %d bytes", body, len(code), len(message))
		}
		for _, r := range code + message {
			if !unicode.IsPrint(r) {
				t.Errorf("parseErrorBody(%q) = %q, %q: not printable", body, code, message)
			}
		}
		_ = (&Error{Status: status, Code: code, Message: message}).Error()
	})
}
