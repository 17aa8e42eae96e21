package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/imgtools/imgtools/lib/image"
)

const (
	maxErrorBody = 64 << 10 // bytes that are read of an error's body
	maxMessage   = 512      // bytes that are kept of a message
	maxExcerpt   = 50       // bytes that are shown of a body that is no message
)

// An Error is an answer of a registry, or of a server that it named, that is
// not what was asked for. It is image.ErrNotFound, ErrUnauthorized, ErrDenied,
// ErrMismatch, ErrIncomplete or, when the fault may pass, ErrNetwork.
type Error struct {
	Method  string
	URL     string // without query and user information
	Status  int
	Code    string // of the distribution-spec's error codes, or ""
	Message string // of the registry, or an excerpt of what it sent; may be ""

	where      string        // the host, if it is not the registry's
	retryAfter time.Duration // below 0: not given
	token      bool          // it is a token service's: says nothing of images
}

// Error returns the reason alone, so that it can stand behind what was tried:
// the registry's message, after its code unless it says just that.
func (e *Error) Error() string {
	s := e.reason()
	if e.where != "" {
		s += ", from " + e.where
	}
	return s
}

func (e *Error) reason() string {
	code := strings.ToLower(strings.ReplaceAll(e.Code, "_", " "))
	switch {
	case e.Code != "" && e.Message == "":
		return code
	case e.Code != "" && e.Message == standardTexts[e.Code]:
		return e.Message
	case e.Code != "":
		return code + ": " + e.Message
	case e.Message != "" && e.Status >= 400 && e.Status < 500:
		return fmt.Sprintf("StatusCode: %d, %q", e.Status, e.Message)
	}
	return strings.TrimSpace(fmt.Sprintf("received unexpected HTTP status: %d %s", e.Status, http.StatusText(e.Status)))
}

// Is makes an Error one of lib/image.
func (e *Error) Is(target error) bool {
	if e.token && (target == image.ErrNotFound || target == image.ErrMismatch || target == image.ErrIncomplete) {
		return false
	}
	switch target {
	case image.ErrIncomplete:
		return e.Code == "MANIFEST_BLOB_UNKNOWN"
	case image.ErrMismatch:
		return e.Code == "DIGEST_INVALID"
	case image.ErrNotFound:
		return e.Status == http.StatusNotFound || e.Code == "MANIFEST_UNKNOWN" || e.Code == "NAME_UNKNOWN" || e.Code == "BLOB_UNKNOWN"
	case image.ErrUnauthorized:
		return e.Status == http.StatusUnauthorized || e.Code == "UNAUTHORIZED"
	case image.ErrDenied:
		return e.Status == http.StatusForbidden || e.Code == "DENIED"
	case image.ErrNetwork:
		return e.passing()
	}
	return false
}

// passing reports whether the same request may well succeed a little later.
func (e *Error) passing() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Code == "TOOMANYREQUESTS"
}

// standardTexts are the messages that go with codes, as the distribution
// project's registry sends them.
var standardTexts = map[string]string{
	"UNKNOWN":               "unknown error",
	"UNSUPPORTED":           "The operation is unsupported.",
	"UNAUTHORIZED":          "authentication required",
	"DENIED":                "requested access to the resource is denied",
	"UNAVAILABLE":           "service unavailable",
	"TOOMANYREQUESTS":       "too many requests",
	"DIGEST_INVALID":        "provided digest did not match uploaded content",
	"SIZE_INVALID":          "provided length did not match content length",
	"NAME_INVALID":          "invalid repository name",
	"TAG_INVALID":           "manifest tag did not match URI",
	"NAME_UNKNOWN":          "repository name not known to registry",
	"MANIFEST_UNKNOWN":      "manifest unknown",
	"MANIFEST_INVALID":      "manifest invalid",
	"MANIFEST_UNVERIFIED":   "manifest failed signature verification",
	"MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
	"BLOB_UNKNOWN":          "blob unknown to registry",
	"BLOB_UPLOAD_UNKNOWN":   "blob upload unknown to registry",
	"BLOB_UPLOAD_INVALID":   "blob upload invalid",
	"RANGE_INVALID":         "invalid content range",
}

// errorOf makes an error of an answer that is not the wanted one, and closes
// its body. hide takes secrets out of what the server wrote.
func (m *remote) errorOf(resp *response, hide func(string) string) error {
	defer resp.Body.Close()
	u := resp.Request.URL
	e := &Error{Method: resp.Request.Method, URL: bare(u), Status: resp.StatusCode, retryAfter: retryAfter(resp.Header, time.Now())}
	if !m.isHome(u) {
		e.where = u.Host
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		body = nil // the status says enough
	}
	e.Code, e.Message = parseErrorBody([]byte(hide(string(body))), resp.StatusCode)
	if resp.StatusCode == http.StatusUnauthorized {
		e.refine(parseChallenges(resp.Header["Www-Authenticate"]))
	}
	e.Message = hide(e.Message)
	return e
}

// refine reads what a bearer challenge says about the token that was shown
// (RFC 6750, section 3.1).
func (e *Error) refine(list []challenge) {
	if e.Code != "" {
		return
	}
	e.Code = "UNAUTHORIZED"
	for _, c := range list {
		switch text := clean(c.params["error_description"], maxMessage); {
		case c.scheme != "bearer":
		case c.params["error"] == "insufficient_scope":
			e.Code, e.Message = "DENIED", text
		case c.params["error"] == "invalid_token":
			e.Message = text
		}
	}
	if e.Message == "" {
		e.Message = standardTexts[e.Code]
	}
}

// parseErrorBody reads an error's body: the distribution-spec's list of errors
// with the first one counting, or {"details": …}. Of anything else, it returns
// an excerpt.
func parseErrorBody(body []byte, status int) (code, message string) {
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"`
	}
	if json.Unmarshal(body, &doc) == nil {
		if len(doc.Errors) > 0 && (doc.Errors[0].Code != "" || doc.Errors[0].Message != "") {
			first := doc.Errors[0]
			if first.Code == "" {
				first.Code = "UNKNOWN"
			}
			return clean(strings.ToUpper(first.Code), maxExcerpt), clean(first.Message, maxMessage)
		}
		if doc.Details != "" {
			return codeOfStatus(status), clean(doc.Details, maxMessage)
		}
	}
	s := clean(string(body), maxExcerpt)
	if len(s) < len(body) && s != "" {
		s += "..."
	}
	return "", s
}

func codeOfStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusTooManyRequests:
		return "TOOMANYREQUESTS"
	}
	return "UNKNOWN"
}

// clean returns at most limit bytes of s, with spaces for what is not to be
// printed.
func clean(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

// retryAfter reads a Retry-After header, in seconds or as a date (RFC 9110,
// section 10.2.3). It is below 0 if there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return -1
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // the server's clock, for its own date
	}
	return max(0, at.Sub(now))
}
