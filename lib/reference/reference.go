// Package reference is the room of image names: what a user writes after a
// command, split into transport and detail, and the details themselves, from
// docker references to archive members. It also lists the scopes under which
// a policy looks a name up, and holds the gate that every digest passes before
// it becomes part of a path or a URL.
//
// It works on strings alone. It opens nothing, resolves no symbolic links and
// asks no registry, and it imports only the standard library and go-digest.
package reference

import (
	"errors"
	"strconv"
	"strings"
)

// Every error of a Parse function is an ErrFormat; the others are narrower.
var (
	// ErrFormat means that a string is not a name of the wanted kind.
	ErrFormat = errors.New("invalid reference format")
	// ErrNoTransport means that an image name has no colon.
	ErrNoTransport = errors.New("image name without a transport")
	// ErrUppercase means that a repository has an upper-case letter.
	ErrUppercase = fail(ErrFormat.Error()+": repository name must be lowercase", ErrFormat)
	// ErrNameTooLong means that domain and path have more than 255 bytes.
	ErrNameTooLong = fail("repository name must not be more than 255 characters", ErrFormat)
	// ErrTagAndDigest means that a name has both where only one may be.
	ErrTagAndDigest = fail("Docker references with both a tag and digest are currently not supported", ErrFormat)
	// ErrIndex means that the N of an @N is not a usable number, or that an
	// @N stands where images are written.
	ErrIndex = errors.New("invalid source index")
	// ErrDigest means that a digest is not a lower-case sha256, sha384 or
	// sha512 of the right length.
	ErrDigest = errors.New("invalid digest")
)

// Reference is one image name as a user writes it: a transport and its detail.
type Reference struct {
	Transport string // "docker", "oci", ..., or "-" for a stream
	Detail    string // what follows the first colon; empty for "-"
}

// Parse splits an image name at its first colon. The name "-" alone stands for
// the image stream on standard input or output. A name without a colon is an
// ErrNoTransport. Whether the transport exists is not checked here.
func Parse(s string) (Reference, error) {
	if s == "-" {
		return Reference{Transport: "-"}, nil
	}
	transport, detail, ok := strings.Cut(s, ":")
	if !ok {
		return Reference{}, fail(`Invalid image name "`+printable(s)+`", expected colon-separated transport:reference`, ErrNoTransport, ErrFormat)
	}
	if transport == "-" {
		// The stream has no detail; dropping one silently would read or
		// write something else than was asked for.
		return Reference{}, fail(`Invalid image name "`+printable(s)+`", unknown transport "-"`, ErrFormat)
	}
	return Reference{transport, detail}, nil
}

// String returns the name as Parse reads it.
func (r Reference) String() string {
	if r.Transport == "-" && r.Detail == "" {
		return "-"
	}
	return r.Transport + ":" + r.Detail
}

// A parseError has a text that scripts match on and the errors that it is.
type parseError struct {
	text string
	is   []error
}

func (e *parseError) Error() string   { return e.text }
func (e *parseError) Unwrap() []error { return e.is }

func fail(text string, is ...error) error { return &parseError{text, is} }

// printable returns s as it is, or with escapes if it holds anything that
// could drive a terminal or break a line.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}
