package image

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// A Namer is a Source or Destination that can look up the other names of the
// place that its image is in: the tags of a repository, the names in a layout
// or in a stream's index.
type Namer interface {
	Find(ctx context.Context, name string) (oci.Descriptor, error)
}

// Find returns what a name beside the image in src stands for. The error wraps
// ErrNotFound if it stands for nothing, and ErrUnsupported if src has no other
// names.
func Find(ctx context.Context, src Source, name string) (oci.Descriptor, error) {
	if n, ok := src.(Namer); ok {
		return n.Find(ctx, name)
	}
	return oci.Descriptor{}, fmt.Errorf("%w: it has no names", ErrUnsupported)
}

// A Referrer is a Source or Destination that knows which manifests say that
// they belong to another one (image-spec, subject).
type Referrer interface {
	Referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error)
}

// Referrers lists the manifests in src whose subject is the one with that
// digest, each as oci.Referrer makes it; none if src knows no such thing. The
// list is a stranger's word: whether a manifest has that subject is to be
// checked.
func Referrers(ctx context.Context, src Source, subject digest.Digest) ([]oci.Descriptor, error) {
	if r, ok := src.(Referrer); ok {
		return r.Referrers(ctx, subject)
	}
	return nil, nil
}

// A Shelf is a place with many images side by side, of which some can be
// deleted: a repository, a layout. As a Source it has no image of its own, so
// that Manifest takes digests only; it is a Lister, a Namer and a Referrer.
type Shelf interface {
	Source

	// Delete deletes all that is said, several at a time and in no order
	// where the place takes requests. It is idempotent: what is gone
	// already is no error. Each is reported, by an EventDelete or, if it
	// could not be deleted, by one with Err set; the others go on, and the
	// error wraps that of each. Errors: ErrUnsupported if a name cannot be
	// deleted without what it stands for, or nothing can; ErrUnauthorized,
	// ErrDenied, ErrNetwork.
	Delete(context.Context, []Deletion) error
}

// A Deletion is something to delete. One with a Name takes that name away and
// nothing else; one without takes away the manifest with that digest, and with
// it all of its names. Where content is collected, what nothing refers to any
// more goes too.
type Deletion struct {
	Name   string
	Digest digest.Digest // with a Name: what it is thought to stand for, "" if that does not matter
}

func (d Deletion) String() string {
	if d.Name != "" {
		return d.Name
	}
	return d.Digest.String()
}
