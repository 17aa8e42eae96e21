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
// not what was asked for. It is image.ErrNetwork when the fault may pass, and
// otherwise ErrNotFound, ErrUnauthorized, ErrDenied, ErrMismatch, ErrTooLarge,
// ErrIncomplete or, for what is none of these, ErrUnsupported.
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

// Is makes an Error one of lib/image, and only one.
func (e *Error) Is(target error) bool { return target == e.sentinel() }

func (e *Error) sentinel() error {
	if e.passing() {
		return image.ErrNetwork
	}
	if e.token { // whatever its service says, what is missing is a token
		if e.Status == http.StatusForbidden {
			return image.ErrDenied
		}
		return image.ErrUnauthorized
	}
	if err, ok := codeErrors[e.Code]; ok && e.Status != http.StatusRequestEntityTooLarge { // some call that SIZE_INVALID
		return err
	}
	if err, ok := statusErrors[e.Status]; ok {
		return err
	}
	return image.ErrUnsupported
}

// codeErrors and statusErrors say what an answer is to lib/image. A code says
// more than a status; what is in neither is something that the registry does
// not do.
var codeErrors = map[string]error{
	"MANIFEST_BLOB_UNKNOWN": image.ErrIncomplete,
	"DIGEST_INVALID":        image.ErrMismatch,
	"SIZE_INVALID":          image.ErrMismatch,
	"MANIFEST_UNKNOWN":      image.ErrNotFound,
	"NAME_UNKNOWN":          image.ErrNotFound,
	"BLOB_UNKNOWN":          image.ErrNotFound,
	"BLOB_UPLOAD_UNKNOWN":   image.ErrNetwork, // it keeps forgetting uploads
	"UNAUTHORIZED":          image.ErrUnauthorized,
	"DENIED":                image.ErrDenied,
}

var statusErrors = map[int]error{
	http.StatusNotFound:              image.ErrNotFound,
	http.StatusUnauthorized:          image.ErrUnauthorized,
	http.StatusForbidden:             image.ErrDenied,
	http.StatusRequestEntityTooLarge: image.ErrTooLarge,
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
// section 10.2.3), or else when a quota that is used up is granted again. It
// is below 0 if there is nothing that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		if q, ok := parseQuota(h, now); ok && q.remaining == 0 {
			return q.reset
		}
		return -1
	}
	return max(0, at.Sub(clock(h, now)))
}
