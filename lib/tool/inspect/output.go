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

func (s *scanned) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	for {
		raw, err := s.Sequence.Manifest(ctx, d)
		if !errors.Is(err, image.ErrLater) {
			return raw, err
		}
		switch _, err := s.Sequence.Next(ctx); err {
		case nil:
		case io.EOF:
			return s.Sequence.Manifest(ctx, d)
		default:
			return oci.Raw{}, err
		}
	}
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
