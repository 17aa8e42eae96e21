package inspect

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/template"
)

// Write writes v as indented JSON or, with a format, as a Go template has it.
func Write(w io.Writer, v any, format string) error {
	if format == "" {
		format = "json"
	}
	return template.Execute(w, format, v)
}

// whole makes a source that is asked for its parts in any order out of one
// that is read front to back: what is not wanted is passed over.
func whole(src image.Source) image.Source {
	if seq, ok := src.(image.Sequence); ok {
		return &scanned{seq}
	}
	return src
}

type scanned struct{ image.Sequence }

// until calls get, and passes over blobs for as long as what it wants comes
// later in the stream.
func (s *scanned) until(ctx context.Context, get func() error) error {
	for {
		err := get()
		if !errors.Is(err, image.ErrLater) {
			return err
		}
		switch _, err := s.Sequence.Next(ctx); err {
		case nil:
		case io.EOF:
			return get()
		default:
			return err
		}
	}
}

func (s *scanned) Manifest(ctx context.Context, d digest.Digest) (raw oci.Raw, err error) {
	err = s.until(ctx, func() (err error) {
		raw, err = s.Sequence.Manifest(ctx, d)
		return err
	})
	return raw, err
}

func (s *scanned) Tags(ctx context.Context) (names []string, err error) {
	err = s.until(ctx, func() (err error) {
		names, err = image.Tags(ctx, s.Sequence)
		return err
	})
	return names, err
}

func (s *scanned) Find(ctx context.Context, name string) (d oci.Descriptor, err error) {
	err = s.until(ctx, func() (err error) {
		d, err = image.Find(ctx, s.Sequence, name)
		return err
	})
	return d, err
}

func (s *scanned) Referrers(ctx context.Context, subject digest.Digest) (list []oci.Descriptor, err error) {
	err = s.until(ctx, func() (err error) {
		list, err = image.Referrers(ctx, s.Sequence, subject)
		return err
	})
	return list, err
}

func (s *scanned) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	for {
		rc, err := s.Sequence.Blob(ctx, d)
		if !errors.Is(err, image.ErrNotFound) {
			return rc, err
		}
		b, err := s.Sequence.Next(ctx)
		switch {
		case err == io.EOF:
			return s.Sequence.Blob(ctx, d)
		case err != nil:
			return nil, err
		case b.Desc.Digest == d.Digest:
			return io.NopCloser(b), nil
		}
	}
}
