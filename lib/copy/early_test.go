package copy

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/image/imagetest"
	"github.com/imgtools/imgtools/lib/oci"
)

// mounting is a destination that is asked to mount, and may have all blobs.
type mounting struct {
	*imagetest.Memory
	has, shares bool
}

func (m mounting) Mount(_ context.Context, d oci.Descriptor, src image.Source) (bool, error) {
	if m.has {
		m.Blobs[d.Digest] = src.(*watched).Content.Blobs[d.Digest]
	}
	return m.has, nil
}

func (m mounting) Shares(image.Source) bool { return m.shares }

// watched counts the blobs that are open.
type watched struct {
	image.Source
	*imagetest.Content
	opened, closed atomic.Int32
}

func (o *watched) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	return o.Source.Manifest(ctx, d)
}

func (o *watched) Close() error { return o.Source.Close() }

func (o *watched) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	rc, err := o.Source.Blob(ctx, d)
	o.opened.Add(1)
	return watchedBlob{rc, o}, err
}

type watchedBlob struct {
	io.ReadCloser
	o *watched
}

func (c watchedBlob) Close() error { c.o.closed.Add(1); return c.ReadCloser.Close() }

// A blob that was asked for too early, because the destination has it, must
// not stay open; and where both sides are one place none is asked for so.
func TestEarly(t *testing.T) {
	c := imagetest.Image()
	for _, tt := range []struct{ has, shares bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		src := &watched{Source: c.Source(), Content: c}
		dst := mounting{imagetest.NewMemory(image.Wants{}), tt.has, tt.shares}
		o := options()
		o.Jobs = 1
		r := mustCopy(t, dst, src, o)
		if tt.has != (r.Moved == 0) || !dst.Committed {
			t.Errorf("%+v: %d blobs moved", tt, r.Moved)
		}
		if src.opened.Load() != src.closed.Load() {
			t.Errorf("%+v: %d blobs were opened, %d closed", tt, src.opened.Load(), src.closed.Load())
		}
		if most := int32(1); tt.has && src.opened.Load() > most || tt.has && tt.shares && src.opened.Load() != 0 {
			t.Errorf("%+v: %d blobs were opened in vain", tt, src.opened.Load())
		}
	}
}
