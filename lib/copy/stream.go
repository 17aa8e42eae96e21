package copy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/image"
)

// Blobs of a stream up to this size, in bytes, are read into memory, so that
// several can be on their way to the destination at a time.
const (
	smallBlob   = 1 << 20
	smallMemory = 6 << 20
)

// stream moves the blobs of a sequence as they come: those that the plan
// names or, while there is no plan, all.
func (m *mover) stream(ctx context.Context, seq image.Sequence) error {
	todo := map[digest.Digest]Step{}
	for _, s := range m.Steps {
		todo[s.Blob.Digest] = s
	}
	limit := min(m.o.jobs(), smallMemory/smallBlob)
	if m.dst.Wants().Ordered {
		limit = 1
	}
	g, gctx := newGroup(ctx, limit)
	err := m.pull(gctx, seq, todo, g)
	if gerr := g.Wait(); gerr != nil {
		return gerr // what pull says then is that it was cancelled
	}
	return err
}

func (m *mover) pull(ctx context.Context, seq image.Sequence, todo map[digest.Digest]Step, g *group) error {
	for {
		b, err := seq.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return m.o.atSource("read stream", err)
		}
		s, ok := m.stepFor(b, todo)
		if !ok {
			continue
		}
		if err := m.take(ctx, s, b, g); err != nil {
			return err
		}
	}
}

// stepFor returns what to do with a blob that a stream has come to.
func (m *mover) stepFor(b *blob.Blob, todo map[digest.Digest]Step) (Step, bool) {
	if m.Later {
		compress := b.Desc.Digest == "" && m.dst.Wants().Layers == image.Compressed && blob.Compresses(b.Desc.MediaType)
		return Step{Blob: b.Desc, Compress: compress}, !m.has(b.Desc.Digest)
	}
	s, ok := todo[b.Desc.Digest]
	delete(todo, b.Desc.Digest)
	if b.Desc.Size >= 0 && ok && b.Desc.Size != s.Blob.Size {
		s.Blob.Size = b.Desc.Size // Verify will tell
	}
	return s, ok
}

// take moves a blob of a stream: at once if it is large, and beside others if
// it is small enough to be kept in memory.
func (m *mover) take(ctx context.Context, s Step, b *blob.Blob, g *group) error {
	if b.Desc.Digest != "" {
		b.Desc = s.Blob
	}
	if b.Desc.Size < 0 || b.Desc.Size > smallBlob || b.Placed != nil || m.dst.Wants().Ordered {
		return m.offer(ctx, s, b)
	}
	content, err := io.ReadAll(io.LimitReader(b, smallBlob+1))
	if err != nil {
		return m.o.atSource("read "+name(b.Desc), err)
	}
	held := &blob.Blob{Desc: b.Desc, Reader: bytes.NewReader(content)}
	g.Go(func() error { return m.offer(ctx, s, held) })
	return nil
}

// offer moves a blob of a stream, if the destination does not have it.
func (m *mover) offer(ctx context.Context, s Step, b *blob.Blob) error {
	if ok, err := m.there(ctx, s); ok || err != nil {
		return err
	}
	return m.put(ctx, s, b)
}

// late carries out a copy whose manifest comes at the end of the stream: the
// blobs go first, out of sight until what names them is admitted.
func (m *mover) late(ctx context.Context) (Result, error) {
	if err := m.all(ctx); err != nil {
		return Result{}, err
	}
	root, err := image.Root(ctx, m.src, m.o.Pin)
	if err != nil {
		return Result{}, m.o.atSource("read manifest", endless(err))
	}
	m.Later = false
	if err := m.admit(ctx, root, ""); err != nil {
		return Result{}, err
	}
	if m.Later {
		return Result{}, m.o.atSource("read manifest", endless(image.ErrLater))
	}
	for _, n := range m.Notes {
		m.o.Notify.Send(image.Event{Kind: image.EventWarning, Text: n})
	}
	m.announce()
	if err := m.rest(ctx); err != nil {
		return Result{}, err
	}
	return m.commit(ctx)
}

// endless says of a stream that has ended what ErrLater means then.
func endless(err error) error {
	if errors.Is(err, image.ErrLater) {
		return fmt.Errorf("%w: the stream ended before a manifest", image.ErrIncomplete)
	}
	return err
}
