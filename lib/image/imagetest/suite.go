package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A Place is one name of a transport, for the suite: a new destination each
// time, and a source that reads what the name stands for.
type Place struct {
	Create func(t *testing.T) image.Destination
	Open   func(t *testing.T) (image.Source, error)
}

// TestPlace is the law for transports. place is called for each case and
// returns a name that stands for nothing yet.
func TestPlace(t *testing.T, place func(t *testing.T) Place) {
	for name, c := range Everything() {
		t.Run("round trip/"+name, func(t *testing.T) { roundTrip(t, place(t), c) })
	}
	t.Run("nothing before commit", func(t *testing.T) { nothingBeforeCommit(t, place(t)) })
	t.Run("old content stays", func(t *testing.T) { oldContentStays(t, place(t)) })
	t.Run("wrong bytes", func(t *testing.T) { wrongBytes(t, place(t)) })
	t.Run("twice", func(t *testing.T) { twice(t, place(t)) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, place(t)) })
}

// Send copies c to dst in the simplest way, as the contract allows: all of it
// is put, in the tree's order, and committed.
func Send(ctx context.Context, dst image.Destination, c *Content) error {
	t, err := begin(ctx, dst, c)
	if err != nil {
		return err
	}
	for d := range t.Blobs() {
		if err := put(ctx, dst, c, d, c.Blobs[d.Digest]); err != nil {
			return err
		}
	}
	return dst.Commit(ctx, t)
}

func begin(ctx context.Context, dst image.Destination, c *Content) (*image.Tree, error) {
	src := c.Source()
	t, err := image.Root(ctx, src, "")
	if err != nil {
		return nil, err
	}
	if err := t.Grow(ctx, src, nil); err != nil {
		return nil, err
	}
	return t, image.Begin(ctx, dst, t)
}

func put(ctx context.Context, dst image.Destination, c *Content, d oci.Descriptor, content []byte) error {
	ok, err := image.Mount(ctx, dst, d, c.Source())
	if ok || err != nil {
		return err
	}
	b, err := blob.Verify(&blob.Blob{Desc: d, Reader: bytes.NewReader(content)})
	if err != nil {
		return err
	}
	now, err := dst.Put(ctx, b)
	if err == nil && (now.Digest != d.Digest || now.Size != d.Size) {
		return fmt.Errorf("Put(%s) = %s of %d bytes", d.Digest, now.Digest, now.Size)
	}
	return err
}

// Check reports what src does not give as c has it: the root's bytes, every
// manifest, every blob.
func Check(ctx context.Context, src image.Source, c *Content) error {
	t, err := image.Root(ctx, src, "")
	if err != nil {
		return err
	}
	if t.Desc.Digest != c.Root.Digest {
		return fmt.Errorf("root is %s; want %s", t.Desc.Digest, c.Root.Digest)
	}
	if err := t.Grow(ctx, src, nil); err != nil {
		return err
	}
	if t.Raw.MediaType != c.Root.MediaType {
		return fmt.Errorf("root has media type %q; want %q", t.Raw.MediaType, c.Root.MediaType)
	}
	got := map[digest.Digest]bool{}
	if seq, ok := src.(image.Sequence); ok {
		if err := drain(ctx, seq, got); err != nil {
			return err
		}
	}
	for d := range t.Blobs() {
		if got[d.Digest] {
			continue
		}
		if _, err := image.ReadBlob(ctx, src, d, 1<<30); err != nil {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
	}
	return nil
}

func drain(ctx context.Context, seq image.Sequence, got map[digest.Digest]bool) error {
	for {
		b, err := seq.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		d := b.Desc
		if b, err = blob.Verify(b); err != nil {
			return err
		}
		if _, err := blob.Copy(io.Discard, b); err != nil {
			return err
		}
		got[d.Digest] = true
	}
}

func (p Place) check(t *testing.T, c *Content) {
	t.Helper()
	src, err := p.Open(t)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer src.Close()
	if err := Check(t.Context(), src, c); err != nil {
		t.Errorf("reading back: %v", err)
	}
}

// absent fails unless the name stands for nothing.
func (p Place) absent(t *testing.T) {
	t.Helper()
	src, err := p.Open(t)
	if err != nil {
		return
	}
	defer src.Close()
	if raw, err := src.Manifest(t.Context(), ""); err == nil {
		t.Errorf("the name stands for %s, and should for nothing", raw.Digest())
	}
}

// skips reports whether c is for no destination that holds single images only:
// of an index the engine takes one, and an artifact is refused.
func skips(dst image.Destination, c *Content) bool {
	m, err := oci.Parse(c.Manifests[c.Root.Digest])
	return dst.Wants().Single && (err != nil || !m.IsImage())
}

func roundTrip(t *testing.T, p Place, c *Content) {
	dst := p.Create(t)
	if skips(dst, c) {
		dst.Close()
		return
	}
	if err := Send(t.Context(), dst, c); err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := dst.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	p.check(t, c)
}

// Blobs that were put show under no name, and what was begun leaves nothing.
func nothingBeforeCommit(t *testing.T, p Place) {
	dst, c := p.Create(t), Image()
	tree, err := begin(t.Context(), dst, c)
	if err != nil {
		t.Fatal(err)
	}
	for d := range tree.Blobs() {
		if err := put(t.Context(), dst, c, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
	p.absent(t)
	if err := dst.Close(); err != nil {
		t.Errorf("close without commit: %v", err)
	}
	p.absent(t)
}

func oldContentStays(t *testing.T, p Place) {
	old := Docker()
	roundTrip(t, p, old)
	dst, c := p.Create(t), Image()
	tree, err := begin(t.Context(), dst, c)
	if err != nil {
		t.Fatal(err)
	}
	for d := range tree.Blobs() {
		if err := put(t.Context(), dst, c, d, c.Blobs[d.Digest]); err != nil {
			t.Fatal(err)
		}
	}
	p.check(t, old)
	dst.Close()
	p.check(t, old)
	roundTrip(t, p, c)
}

// Content that is not what its descriptor says must not get its name, however
// the bytes are wrong.
func wrongBytes(t *testing.T, p Place) {
	c := Image()
	for name, spoil := range map[string]func([]byte) []byte{
		"changed": func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
		"short":   func(b []byte) []byte { return b[:len(b)-1] },
		"long":    func(b []byte) []byte { return append(bytes.Clone(b), 0) },
		"empty":   func([]byte) []byte { return nil },
	} {
		dst := p.Create(t)
		tree, err := begin(t.Context(), dst, c)
		if err != nil {
			t.Fatal(err)
		}
		layer := tree.Manifest.Layers[1]
		err = put(t.Context(), dst, c, layer, spoil(c.Blobs[layer.Digest]))
		if !errors.Is(err, image.ErrMismatch) {
			t.Errorf("put of %s bytes: %v; want %v", name, err, image.ErrMismatch)
		}
		dst.Close()
		p.absent(t)
	}
	roundTrip(t, p, c)
}

// What is there already may be sent again.
func twice(t *testing.T, p Place) {
	c := Image()
	roundTrip(t, p, c)
	roundTrip(t, p, c)
}

func cancelled(t *testing.T, p Place) {
	ctx, cancel := context.WithCancel(t.Context())
	dst, c := p.Create(t), Image()
	cancel()
	if err := Send(ctx, dst, c); err == nil {
		t.Errorf("send under a cancelled context succeeded")
	}
	dst.Close()
	p.absent(t)
}
