package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/imgtools/imgtools/lib/image"
)

// An Error is a daemon's refusal. It is one of image.ErrNotFound,
// ErrUnauthorized, ErrDenied, ErrTooLarge, ErrNetwork if the fault may pass and,
// for all else, ErrUnsupported.
type Error struct {
	Status  int    // of HTTP, 0 if it came while an image was being loaded
	Message string // of the daemon; may be ""
}

func (e *Error) Error() string {
	if e.Message == "" {
		return strings.TrimSpace(fmt.Sprintf("docker engine answered: %d %s", e.Status, http.StatusText(e.Status)))
	}
	return fmt.Sprintf("docker engine reported: %q", e.Message)
}

// Is makes an Error one of lib/image, and only one.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == image.ErrNotFound
	case http.StatusUnauthorized:
		return target == image.ErrUnauthorized
	case http.StatusForbidden:
		return target == image.ErrDenied
	case http.StatusRequestEntityTooLarge:
		return target == image.ErrTooLarge
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == image.ErrNetwork
	}
	return target == image.ErrUnsupported
}

// message reads the body of an error: {"message": …}, or else text.
func message(body []byte) string {
	var told struct{ Message string }
	if json.Unmarshal(body, &told) == nil && told.Message != "" {
		return clean(told.Message)
	}
	return clean(string(body))
}

// clean returns the beginning of s, with spaces for what is not to be printed.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxMessage)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

// A netError says that no answer, or a part of one only, came. It is
// image.ErrNetwork or, if we may not use the socket, image.ErrDenied.
type netError struct {
	addr string
	err  error
}

func (e *netError) Error() string { return "docker daemon at " + e.addr + ": " + e.err.Error() }
func (e *netError) Unwrap() error { return e.err }

func (e *netError) Is(target error) bool {
	if errors.Is(e.err, fs.ErrPermission) {
		return target == image.ErrDenied
	}
	return target == image.ErrNetwork
}

// silence says that nothing came, or went, for that long.
type silence time.Duration

func (s silence) Error() string { return "no data for " + time.Duration(s).String() }

var errCut = errors.New("the answer was cut off")

// failure makes an error of what ended an exchange: the caller's own doing, or
// the network.
func (c *client) failure(ctx context.Context, err error) error {
	var quiet silence
	if cause := context.Cause(ctx); errors.As(cause, &quiet) {
		return &netError{c.addr, quiet}
	} else if cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the address in it is not the daemon's
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errCut
	}
	return &netError{c.addr, err}
}
