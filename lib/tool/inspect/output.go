package inspect

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
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
		if _, nerr := s.Sequence.Next(ctx); nerr != nil {
			return s.last(ctx, d, nerr)
		}
	}
}

// last asks once more at the end of the stream.
func (s *scanned) last(ctx context.Context, d digest.Digest, err error) (oci.Raw, error) {
	if err != io.EOF {
		return oci.Raw{}, err
	}
	return s.Sequence.Manifest(ctx, d)
}

func (s *scanned) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	rc, err := s.Sequence.Blob(ctx, d)
	for errors.Is(err, image.ErrNotFound) {
		b, nerr := s.Sequence.Next(ctx)
		if nerr == io.EOF {
			return s.Sequence.Blob(ctx, d)
		}
		if nerr != nil {
			return nil, nerr
		}
		if b.Desc.Digest == d.Digest {
			return reader(b), nil
		}
		rc, err = s.Sequence.Blob(ctx, d)
	}
	return rc, err
}

func reader(b *blob.Blob) io.ReadCloser { return io.NopCloser(b) }
