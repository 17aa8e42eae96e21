package registry

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A Source reads one image from a registry. It is an image.Source that opens
// blobs in the middle, lists tags and referrers, and looks up other names.
type Source struct{ *session }

// Source opens the repository for reading. It sends nothing.
func (r *Repository) Source() *Source { return &Source{r.session("pull")} }

// nameOf is what the registry calls the image: its digest or its tag, "" for
// neither.
func nameOf(ref reference.Docker) string {
	if ref.Digest != "" {
		return ref.Digest.String()
	}
	return ref.Tag
}

// Manifest returns the manifest with that digest or, for "", the one that the
// source is named by. Errors wrap image.ErrNotFound, ErrMismatch, ErrTooLarge,
// ErrUnauthorized, ErrDenied or ErrNetwork.
func (s *Source) Manifest(ctx context.Context, want digest.Digest) (oci.Raw, error) {
	name := want.String()
	if want == "" {
		name, want = nameOf(s.ref), s.ref.Digest
	}
	if name == "" {
		return oci.Raw{}, fmt.Errorf("%w: reading images from docker: reference %q without a tag or digest is not supported", image.ErrUnsupported, s.ref.String())
	}
	if want != "" {
		if err := oci.CheckDigest(want); err != nil {
			return oci.Raw{}, err
		}
	}
	return s.manifest(ctx, name, want)
}

// Blob opens a blob. What breaks off is resumed, for as long as ctx lasts.
func (s *Source) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return s.BlobAt(ctx, d, 0)
}

// BlobAt opens a blob from offset bytes into it.
func (s *Source) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	dl, err := s.blobAt(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	return dl, nil
}

// Close lets go of connections.
func (s *Source) Close() error {
	s.remote.free()
	return nil
}

var (
	_ image.Source   = (*Source)(nil)
	_ image.Ranger   = (*Source)(nil)
	_ image.Lister   = (*Source)(nil)
	_ image.Namer    = (*Source)(nil)
	_ image.Referrer = (*Source)(nil)
)
