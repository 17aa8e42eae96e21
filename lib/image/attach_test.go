package image_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// A crowd says that very many things are attached to each manifest.
type crowd struct {
	image.Source
	referrer func(subject digest.Digest) []oci.Descriptor
	read     atomic.Int64
}

func (c *crowd) Referrers(_ context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	return c.referrer(subject), nil
}

func (c *crowd) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	c.read.Add(1)
	return c.Source.Manifest(ctx, d)
}

func attachTo(t *testing.T, src image.Source) (*image.Tree, error) {
	t.Helper()
	root, err := image.Root(t.Context(), src, "")
	if err == nil {
		err = root.Grow(t.Context(), src, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root, root.Attach(t.Context(), src, image.With{Referrers: true})
}

// Each list may be as long as one may be. Of all of them together no more is
// read than of one: a small index must not make us read millions of manifests
// before we see that they are too many.
func TestAttachCountsFirst(t *testing.T) {
	c := imagetest.Signed()
	src := &crowd{Source: c.Source()}
	src.referrer = func(subject digest.Digest) []oci.Descriptor {
		list := make([]oci.Descriptor, oci.MaxEntries/2+1)
		for i := range list {
			list[i] = oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString(fmt.Sprint(subject, i)), Size: 1}
		}
		return list
	}
	if _, err := attachTo(t, src); !errors.Is(err, oci.ErrInvalid) {
		t.Errorf("Attach: %v; want ErrInvalid", err)
	}
	if n := src.read.Load(); n > oci.MaxEntries+10 {
		t.Errorf("%d manifests were read; want %d at most", n, oci.MaxEntries)
	}
}

// A referrer that is gone is left out. One that is there, and lacks something,
// is not left out without a word.
func TestAttachIncomplete(t *testing.T) {
	c := imagetest.Signed()
	lost := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: digest.FromString("lost"), Size: 1}
	gone := &crowd{Source: c.Source()}
	gone.referrer = func(digest.Digest) []oci.Descriptor { return []oci.Descriptor{lost} }
	if root, err := attachTo(t, gone); err != nil || len(root.Attached) != 0 {
		t.Errorf("a referrer that is gone: %v, %v", root.Attached, err)
	}
	root := c.Root
	indexOf(t, c, lost)
	broken := c.Root
	c.Root = root
	half := &crowd{Source: c.Source()}
	half.referrer = func(subject digest.Digest) []oci.Descriptor {
		if subject == root.Digest {
			return []oci.Descriptor{broken}
		}
		return nil
	}
	if _, err := attachTo(t, half); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("a referrer of which a part is gone: %v; want ErrNotFound", err)
	}
}
