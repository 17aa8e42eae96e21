package image

import (
	"errors"

	"github.com/imgtools/imgtools/lib/blob"
)

// What can go wrong, whatever the place. Every error of a transport wraps one
// of these, or one of the operating system.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("not authorised")
	ErrDenied       = errors.New("denied")
	ErrNetwork      = errors.New("network fault") // a passing fault, and the retries are used up
	ErrMismatch     = blob.ErrMismatch
	ErrTooLarge     = blob.ErrTooLarge
	ErrIncomplete   = errors.New("image is incomplete")
	ErrUnsupported  = errors.New("not supported here")
	ErrRejected     = errors.New("rejected by policy")

	// ErrLater is what a Sequence's Manifest says before it has come to it.
	ErrLater = errors.New("manifest comes later in the stream")
)

// Sides of a copy, for Error.
const (
	SideSource      = "source"
	SideDestination = "destination"
)

// An Error says what was being done, at which side, and to which reference.
type Error struct {
	Op        string // "read manifest", "write blob sha256:…"
	Side      string // SideSource, SideDestination or "" where there is only one
	Reference string // as the user wrote it
	Err       error
}

func (e *Error) Error() string {
	s := e.Reference + ": " + e.Op + ": " + e.Err.Error()
	if e.Side != "" {
		s = e.Side + " " + s
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
