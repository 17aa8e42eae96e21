package tool

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Whole returns a source that can be asked for its parts in any order: src
// itself, unless that is read front to back. Of such a one blobs that nobody
// asked for are passed over, and gone: only one caller at a time may ask.
func Whole(src image.Source) image.Source {
	if seq, ok := src.(image.Sequence); ok {
		return &whole{seq}
	}
	return src
}

type whole struct{ image.Sequence }

// until calls get, and passes over blobs for as long as what it wants comes
// later in the stream.
func until[T any](ctx context.Context, w *whole, get func() (T, error)) (T, error) {
	for {
		v, err := get()
		if !errors.Is(err, image.ErrLater) {
			return v, err
		}
		switch _, err := w.Next(ctx); err {
		case nil:
		case io.EOF:
			return get()
		default:
			return v, err
		}
	}
}

// Manifest implements image.Source.
func (w *whole) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	return until(ctx, w, func() (oci.Raw, error) { return w.Sequence.Manifest(ctx, d) })
}

// Tags implements image.Lister.
func (w *whole) Tags(ctx context.Context) ([]string, error) {
	return until(ctx, w, func() ([]string, error) { return image.Tags(ctx, w.Sequence) })
}

// Find implements image.Namer.
func (w *whole) Find(ctx context.Context, name string) (oci.Descriptor, error) {
	return until(ctx, w, func() (oci.Descriptor, error) { return image.Find(ctx, w.Sequence, name) })
}

// Referrers implements image.Referrer.
func (w *whole) Referrers(ctx context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	return until(ctx, w, func() ([]oci.Descriptor, error) { return image.Referrers(ctx, w.Sequence, subject) })
}

// Blob implements image.Source.
func (w *whole) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	for {
		rc, err := w.Sequence.Blob(ctx, d)
		if !errors.Is(err, image.ErrNotFound) {
			return rc, err
		}
		b, err := w.Next(ctx)
		switch {
		case err == io.EOF:
			return w.Sequence.Blob(ctx, d)
		case err != nil:
			return nil, err
		case b.Desc.Digest == d.Digest:
			return io.NopCloser(b), nil
		}
	}
}
