// Package transport is the table of transports: what a name such as
// docker://a/b:c or oci:dir:tag means, and how to open it for reading and
// writing.
//
// It is where the transports meet; they do not know each other. Credentials
// come in here too, as a function, so that no transport reads auth files.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// ErrTransport is wrapped by the error about a name whose transport is not
// known.
var ErrTransport = errors.New("unknown transport")

// A Name is one image name, parsed and not yet opened.
type Name interface {
	// String is the name as messages show it, TRANSPORT:DETAIL.
	String() string

	// Source opens the image for reading. It may do without any request
	// or access of its own; errors then come with the first manifest.
	Source(context.Context, *Access) (image.Source, error)

	// Destination opens the name for writing.
	Destination(context.Context, *Access) (image.Destination, error)

	// Docker returns the docker reference that the name is or holds, the
	// zero value if it has none.
	Docker() reference.Docker

	// Pinned is the name for exactly the image with that digest, which can
	// be read again under it.
	Pinned(digest.Digest) string
}

// An Access is how one side is reached. The zero value reads and writes
// without credentials.
type Access struct {
	Registry    registry.Options
	SharedBlobs string // where an OCI layout's blobs lie, if not below it

	Stdin  io.Reader // what "-" reads
	Stdout io.Writer // what "-" writes

	// Labels are what a stream or archive calls the image it holds, if the
	// name itself does not say.
	Labels []reference.Docker
	// Replace makes an archive hold the new image only. Otherwise it keeps
	// those that it holds.
	Replace bool
}

// names is the table. Each parses the detail behind the colon.
var names = map[string]func(detail string) (Name, error){
	"docker":         parseRegistry,
	"oci":            parseLayout,
	"dir":            parseDir,
	"oci-archive":    parseLayoutArchive,
	"docker-archive": parseArchive,
	"-":              parseStream,
}

// Names returns the names of the transports, sorted.
func Names() []string {
	var s []string
	for n := range names {
		if n != "-" {
			s = append(s, n)
		}
	}
	slices.Sort(s)
	return s
}

// Parse reads an image name. Errors wrap ErrTransport or those of
// lib/reference.
func Parse(s string) (Name, error) {
	r, err := reference.Parse(s)
	if err != nil {
		return nil, err
	}
	parse, ok := names[r.Transport]
	if !ok {
		return nil, &nameError{fmt.Sprintf("Invalid image name %q, unknown transport %q", s, r.Transport)}
	}
	return parse(r.Detail)
}

// A nameError has a text that scripts match on.
type nameError struct{ text string }

func (e *nameError) Error() string        { return e.text }
func (e *nameError) Is(target error) bool { return target == ErrTransport }
