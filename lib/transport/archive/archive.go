// Package archive is the room of images that lie in a tar: oci-archive:,
// docker-archive:, and "-", the image stream of img-stream(5). All three are
// written in one form, which is an OCI layout and a docker archive at once;
// what is read may be of any form that docker save, podman, skopeo, crane,
// containerd and BuildKit have written.
//
// An archive is never unpacked. A plain file is read in place, by an index of
// its members; anything else is read once, front to back. Names of members and
// links among them are looked up in that index and nowhere else: nothing that
// an archive says becomes a path on disk.
//
// The package imports lib/oci, lib/reference, lib/blob, lib/disk and lib/image;
// never another transport, and nothing that knows a network.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A View is one of the two ways in which a tar holds images.
type View int

const (
	Any    View = iota // index.json if there is one, else manifest.json
	OCI                // index.json, as the image-spec's image-layout.md has it
	Docker             // manifest.json, as docker save has it
)

// Names of the documents of an archive.
const (
	layoutName = "oci-layout"
	indexName  = "index.json"
	dockerName = "manifest.json"
)

// annotationImageName is containerd's: the whole name of an image, where the
// reference name is its tag only.
const annotationImageName = "io.containerd.image.name"

// Limits on what an archive may make us read or remember.
const (
	maxMembers  = 100_000  // members of a tar
	maxHeader   = 4 << 20  // bytes between the content of two members
	maxTrailer  = 16 << 20 // bytes of zeros behind the end mark
	maxNames    = 32 << 20 // bytes for the names of members
	maxLinks    = 64       // links that lead to one member
	maxDocker   = 1 << 20  // bytes of manifest.json
	maxWaiting  = 16 << 20 // bytes of documents of a stream that wait in memory
	maxAhead    = 4 << 20  // bytes of blobs of a stream that wait in memory
	maxReady    = 1000     // of these blobs
	maxPromises = 100_000  // blobs that the manifests of a stream may announce
)

// A Selection says which image of an archive is meant, and by which view. The
// zero value is the only image there is.
type Selection struct {
	View View

	// Name is a reference name of index.json or, in the Docker and Any
	// view, a docker reference, compared after normalising. For index.json
	// it may end in @ and the digest of the manifest.
	Name string

	// Position is the place of the image in index.json or manifest.json,
	// from 1; 0 for none.
	Position int

	// Digest is that of the image's manifest. Alone, it selects the image;
	// with a name or position, what these select must have it.
	Digest digest.Digest
}

// SelectLayout is the selection that the detail of oci-archive: makes.
func SelectLayout(l reference.Layout) Selection {
	return Selection{View: OCI, Name: l.Name, Position: l.Index + 1}
}

// SelectDocker is the selection that the detail of docker-archive: makes.
func SelectDocker(a reference.Archive) Selection {
	s := Selection{View: Docker, Position: a.Index + 1}
	if !a.Ref.IsZero() {
		s.Name = a.Ref.String()
	}
	return s
}

// OpenFile opens an image in the file path. A tar that is a regular file, not
// compressed, is read in place: the source is an image.Ranger and an
// image.Lister, and its blobs may be read at the same time. From anything else,
// a pipe or a compressed tar, it is a Reader. Which image is meant is looked at
// with the first manifest.
//
// Errors wrap those of the operating system, image.ErrIncomplete for a file
// that was cut off, image.ErrTooLarge, and oci.ErrInvalid for one that is no
// tar.
func OpenFile(path string, sel Selection) (image.Source, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().Type() == fs.ModeNamedPipe {
		return newClosingReader(&fifo{path: path, flag: os.O_RDONLY}, sel), nil
	}
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && sel.View == OCI {
			return nil, &said{fmt.Sprintf("archive file not found: %q", path), fs.ErrNotExist}
		}
		return nil, err
	}
	if plain, err := inPlace(f); err != nil || !plain {
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return newClosingReader(f, sel), nil
	}
	s, err := newFile(f, sel)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// inPlace reports whether f can be read at any place: it is a regular file,
// and not compressed.
func inPlace(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	if info.Size() == 0 {
		return false, fmt.Errorf("%w: the file is empty", image.ErrIncomplete)
	}
	head := make([]byte, 6)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return blob.Sniff(head[:n]) == blob.Plain, nil
}

// blobName is the name of the member that holds a blob. The digest has been
// checked.
func blobName(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// blobDigest is the opposite of blobName.
func blobDigest(name string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(name, "blobs/")
	algorithm, hex, two := strings.Cut(rest, "/")
	d := digest.Digest(algorithm + ":" + hex)
	return d, ok && two && oci.CheckDigest(d) == nil
}

// A said error has a text that scripts match on, and the error that it is.
type said struct {
	text string
	is   error
}

func (e *said) Error() string { return e.text }
func (e *said) Unwrap() error { return e.is }

// live returns the error of ctx, if it has ended.
func live(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// A reader ends with the context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := live(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Expect tells an archive or stream dst, before the first blob, that its image
// comes from src. If that is one too, and dst was given no names, the image
// keeps those that it has there.
func Expect(dst image.Destination, src image.Source) {
	from, ok := src.(labelled)
	if !ok {
		return
	}
	switch d := dst.(type) {
	case *Writer:
		d.o.from = from
	case stream:
		d.o.from = from
	case *target:
		d.o.from = from
	}
}

func (r *Reader) labels() []label { return r.cat.labels(r.sel) }

func (s *file) labels() []label {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.labels(s.sel)
}
