package image

import (
	"context"
	"fmt"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/oci"
)

// ReadBlob reads a small blob of src, of at most limit bytes, into memory and
// checks it. Errors: ErrMismatch, ErrTooLarge, and those of Source.Blob.
func ReadBlob(ctx context.Context, src Source, d oci.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, more than %d", d.Digest, ErrTooLarge, d.Size, limit)
	}
	rc, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return blob.ReadAll(rc, d, limit)
}

// Config reads and parses the configuration of the image m. The error wraps
// ErrUnsupported if m is not an image.
func Config(ctx context.Context, src Source, m *oci.Manifest) (*oci.Config, error) {
	if !m.IsImage() {
		return nil, fmt.Errorf("%w: it is not an image, and has no image configuration", ErrUnsupported)
	}
	b, err := ReadBlob(ctx, src, *m.Config, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	return oci.ParseConfig(b)
}
