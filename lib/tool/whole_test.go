package tool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A stream tells its manifest and its names behind its blobs, and fails after
// as many blobs as it is told to.
type stream struct {
	blobs []string
	fails int
	at    int
}

var errCut = errors.New("cut off")

func (s *stream) later() error {
	if s.at < len(s.blobs) {
		return image.ErrLater
	}
	return nil
}

func (s *stream) Manifest(context.Context, digest.Digest) (oci.Raw, error) {
	return oci.Raw{MediaType: oci.MediaTypeManifest}, s.later()
}
func (s *stream) Tags(context.Context) ([]string, error) { return []string{"a"}, s.later() }
func (s *stream) Find(context.Context, string) (oci.Descriptor, error) {
	return oci.Descriptor{Size: 7}, s.later()
}
func (s *stream) Referrers(context.Context, digest.Digest) ([]oci.Descriptor, error) {
	return []oci.Descriptor{{Size: 7}}, s.later()
}
func (s *stream) Blob(context.Context, oci.Descriptor) (io.ReadCloser, error) {
	return nil, image.ErrNotFound
}
func (s *stream) Close() error { return nil }

func (s *stream) Next(context.Context) (*blob.Blob, error) {
	switch {
	case s.fails > 0 && s.at == s.fails:
		return nil, errCut
	case s.at == len(s.blobs):
		return nil, io.EOF
	}
	b := s.blobs[s.at]
	s.at++
	return &blob.Blob{Desc: oci.Descriptor{Digest: digest.FromString(b)}, Reader: bytes.NewReader([]byte(b))}, nil
}

// What stands at the end of a stream is found, and a cut is not taken for it.
func TestWhole(t *testing.T) {
	ctx := t.Context()
	for what, get := range map[string]func(image.Source) (bool, error){
		"manifest":  func(s image.Source) (bool, error) { r, err := s.Manifest(ctx, ""); return r.MediaType != "", err },
		"tags":      func(s image.Source) (bool, error) { l, err := image.Tags(ctx, s); return len(l) == 1, err },
		"find":      func(s image.Source) (bool, error) { d, err := image.Find(ctx, s, "a"); return d.Size == 7, err },
		"referrers": func(s image.Source) (bool, error) { l, err := image.Referrers(ctx, s, ""); return len(l) == 1, err },
	} {
		if ok, err := get(Whole(&stream{blobs: []string{"x", "y"}})); !ok || err != nil {
			t.Errorf("%s = %v, %v", what, ok, err)
		}
		if _, err := get(Whole(&stream{blobs: []string{"x", "y"}, fails: 1})); !errors.Is(err, errCut) {
			t.Errorf("%s of a stream that is cut: %v", what, err)
		}
	}
	s := Whole(&stream{blobs: []string{"x", "y"}})
	rc, err := s.Blob(ctx, oci.Descriptor{Digest: digest.FromString("y")})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rc); string(b) != "y" || err != nil {
		t.Errorf("Blob = %q, %v", b, err)
	}
	if _, err := s.Blob(ctx, oci.Descriptor{Digest: digest.FromString("x")}); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("Blob of what was passed over: %v", err)
	}
}
