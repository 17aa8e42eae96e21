// Package image says what a place that holds images can do.
//
// Source and Destination are all that a transport has to offer. More
// abilities are interfaces of one method, each behind a package function of
// the same name that does without it; grow by adding one, never by widening.
// The package knows no transport and no engine; it imports lib/oci and
// lib/blob.
package image

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Source is a place that one image is read from. Nothing that it returns is
// trusted: the caller checks every byte against a digest. Its methods may be
// called from several goroutines, but for those of a Sequence.
type Source interface {
	// Manifest returns the manifest with that digest or, for "", the one
	// that the source was opened for. Errors: ErrNotFound, ErrTooLarge;
	// ErrLater if the source is a Sequence that has not come to it yet.
	Manifest(context.Context, digest.Digest) (oci.Raw, error)

	// Blob opens a config or a layer; the caller closes it. It may resume
	// by itself what breaks off. Errors: ErrNotFound.
	Blob(context.Context, oci.Descriptor) (io.ReadCloser, error)

	Close() error
}

// A Sequence is a Source that is read once, front to back: a pipe, a
// compressed archive, a daemon's save. Its methods are called from one
// goroutine at a time. Blob serves only what Next has passed over, because it
// is small and waits in memory.
type Sequence interface {
	Source

	// Next returns the next blob in the order of the stream, io.EOF after
	// the last. A blob is good until the following call; what was not read
	// of it is skipped. The error wraps ErrIncomplete if the stream ends
	// before its own end mark. Blobs come whether or not a manifest that
	// names them has come before.
	Next(context.Context) (*blob.Blob, error)
}

// A Destination is a place that one image is written to. Blobs come in any
// order, unless it Wants otherwise, and from several goroutines; nothing
// shows under a name before Commit.
type Destination interface {
	Wants() Wants

	// Has reports whether the content is there, so that Put is not needed.
	Has(context.Context, oci.Descriptor) (bool, error)

	// Put reads the blob to its end and returns the descriptor of what it
	// was. It is idempotent: nil means "the content is there", not
	// "because of this call". If the blob's reader fails, so does Put, and
	// nothing of the content remains under its digest.
	Put(context.Context, *blob.Blob) (oci.Descriptor, error)

	// Commit writes the manifests, children first, and then the name. It
	// is called once, when every blob of the tree is there.
	Commit(context.Context, *Tree) error

	// Close frees what the destination holds. Without a Commit before it,
	// the name stays as it was.
	Close() error
}

// Wants says what a destination asks for. The zero value takes anything.
type Wants struct {
	Layers  Form   // the form of layers that may be changed
	Single  bool   // holds one image only, not an index
	Ordered bool   // Begin, and then blobs one at a time, in the tree's order
	Sizes   bool   // digest and size known before Put
	Spool   string // where a stage may put a file when Sizes asks for one
}

// A Form is how layers are packed.
type Form int

const (
	AsIs       Form = iota // whatever they are
	Plain                  // not compressed
	Compressed             // compressed
)

// A Beginner is a Destination that uses knowing the whole tree before the
// first blob.
type Beginner interface {
	Begin(context.Context, *Tree) error
}

// Begin tells dst the tree that is about to be put and committed; dst may do
// nothing about it.
func Begin(ctx context.Context, dst Destination, t *Tree) error {
	if b, ok := dst.(Beginner); ok {
		return b.Begin(ctx, t)
	}
	return nil
}

// A Mounter is a Destination to which content can come without its bytes
// passing through us: it is there already, under another name, or in a place
// that it shares with the source.
type Mounter interface {
	Mount(ctx context.Context, d oci.Descriptor, src Source) (bool, error)
}

// Mount reports whether d is at dst, now or before, without being Put. It
// answers Has as well: where there is Mount, Has is not asked.
func Mount(ctx context.Context, dst Destination, d oci.Descriptor, src Source) (bool, error) {
	if m, ok := dst.(Mounter); ok {
		return m.Mount(ctx, d, src)
	}
	return dst.Has(ctx, d)
}

// A Sharer is a Mounter that knows whether a source is of the same place, so
// that most of its blobs need not be read.
type Sharer interface {
	Shares(src Source) bool
}

// Shares reports whether dst expects to Mount what src has; false if dst cannot
// tell.
func Shares(dst Destination, src Source) bool {
	s, ok := dst.(Sharer)
	return ok && s.Shares(src)
}

// A Resolver is a Destination that can tell what its name stands for now.
type Resolver interface {
	Resolve(context.Context) (digest.Digest, error)
}

// Resolve returns the digest of the whole image, with all that belongs to it,
// that dst's name stands for now; "" if there is none, or if dst cannot tell.
func Resolve(ctx context.Context, dst Destination) (digest.Digest, error) {
	r, ok := dst.(Resolver)
	if !ok {
		return "", nil
	}
	d, err := r.Resolve(ctx)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return d, err
}

// A Maker is a Source that has no manifest of its own, but makes one up from
// what it holds, so that nobody can know its digest from elsewhere.
type Maker interface {
	Made() bool
}

// Made reports whether src made up the manifest that it gives, so that a copy
// may change its layers' form.
func Made(src Source) bool {
	m, ok := src.(Maker)
	return ok && m.Made()
}

// A Lister is a Source or Destination that can list the tags of the
// repository that its image is in.
type Lister interface {
	Tags(context.Context) ([]string, error)
}

// Tags lists the tags beside the image in src, in the order of the place; an
// error that wraps ErrUnsupported if it has no tags.
func Tags(ctx context.Context, src Source) ([]string, error) {
	if l, ok := src.(Lister); ok {
		return l.Tags(ctx)
	}
	return nil, ErrUnsupported
}

// A Ranger is a Source that can open a blob from the middle.
type Ranger interface {
	BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error)
}

// BlobAt opens a blob of src from offset bytes into it. Where src cannot do
// that, the bytes before are read and dropped.
func BlobAt(ctx context.Context, src Source, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if r, ok := src.(Ranger); ok {
		return r.BlobAt(ctx, d, offset)
	}
	rc, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, rc, offset); err != nil {
		rc.Close()
		return nil, err
	}
	return rc, nil
}
