package imagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Source returns a source that reads c.
func (c *Content) Source() image.Source { return source{c} }

type source struct{ *Content }

func (s source) Manifest(_ context.Context, d digest.Digest) (oci.Raw, error) {
	if d == "" {
		d = s.Root.Digest
	}
	raw, ok := s.Manifests[d]
	if !ok {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w", d, image.ErrNotFound)
	}
	return raw, nil
}

func (s source) Blob(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	b, ok := s.Blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, image.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (source) Close() error { return nil }

// Stream returns a Sequence that yields the blobs of c in the order given by
// their digests, and knows the manifests from the start or, if late is set,
// only when all blobs have been passed.
func (c *Content) Stream(late bool, order ...digest.Digest) image.Sequence {
	return &sequence{source: source{c}, late: late, order: order}
}

type sequence struct {
	source
	late  bool
	order []digest.Digest
	taken int
}

func (s *sequence) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	if s.late && s.taken <= len(s.order) {
		return oci.Raw{}, image.ErrLater
	}
	return s.source.Manifest(ctx, d)
}

func (s *sequence) Next(context.Context) (*blob.Blob, error) {
	s.taken++
	if s.taken > len(s.order) {
		return nil, io.EOF
	}
	d := s.order[s.taken-1]
	b := s.Blobs[d]
	return &blob.Blob{Desc: oci.Descriptor{Digest: d, Size: int64(len(b))}, Reader: bytes.NewReader(b)}, nil
}

// Memory is a destination in memory. It refuses what no destination may be
// asked: a commit of an image whose parts are not all there, a second commit,
// blobs out of order where it wants order.
type Memory struct {
	Content
	Want      image.Wants
	Committed bool
	Begun     *image.Tree
	Puts      int

	mu     sync.Mutex
	active int
}

// NewMemory returns an empty destination that wants w.
func NewMemory(w image.Wants) *Memory { return &Memory{Content: *newContent(), Want: w} }

// Wants implements image.Destination.
func (m *Memory) Wants() image.Wants { return m.Want }

// Begin implements image.Beginner.
func (m *Memory) Begin(_ context.Context, t *image.Tree) error { m.Begun = t; return nil }

// Has implements image.Destination.
func (m *Memory) Has(_ context.Context, d oci.Descriptor) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.Blobs[d.Digest]
	return ok, nil
}

// Put implements image.Destination.
func (m *Memory) Put(_ context.Context, b *blob.Blob) (oci.Descriptor, error) {
	m.mu.Lock()
	m.active++
	busy := m.active > 1 && m.Want.Ordered
	m.mu.Unlock()
	defer func() { m.mu.Lock(); m.active--; m.mu.Unlock() }()
	if busy || m.Want.Sizes && !b.Known() {
		return oci.Descriptor{}, fmt.Errorf("put of %s: out of order, or without its size", b.Desc.Digest)
	}
	content, err := io.ReadAll(b)
	if err != nil {
		return oci.Descriptor{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Blobs[b.Desc.Digest] = content
	m.Puts++
	return b.Desc, nil
}

// Commit implements image.Destination.
func (m *Memory) Commit(_ context.Context, t *image.Tree) error {
	if m.Committed {
		return fmt.Errorf("commit: done already")
	}
	for k := range t.Walk() {
		m.Manifests[k.Desc.Digest] = k.Raw
		if k.Name != "" {
			m.Names[k.Name] = k.Desc
		}
	}
	for d := range t.Blobs() {
		if _, ok := m.Blobs[d.Digest]; !ok && !oci.IsForeign(d) {
			return fmt.Errorf("commit: %s: %w", d.Digest, image.ErrIncomplete)
		}
	}
	m.Root, m.Committed = t.Desc, true
	return nil
}

// Close implements image.Destination.
func (m *Memory) Close() error { return nil }
