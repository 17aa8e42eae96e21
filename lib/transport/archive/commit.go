package archive

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// Commit implements image.Destination.
func (t *target) Commit(ctx context.Context, tree *image.Tree) error {
	if err := live(ctx); err != nil {
		return err
	}
	if err := missing(tree, t.has); err != nil {
		return err
	}
	if err := t.finish(ctx, tree); err != nil {
		return err
	}
	lock, err := t.dir.Lock(ctx, ".")
	if err != nil {
		return err
	}
	defer lock.Close()
	now, err := stateOf(t.path)
	if err != nil {
		return err
	}
	from := t
	if !t.was.same(now) {
		if from, err = t.again(ctx, tree); err != nil {
			return err
		}
		defer from.Close()
	}
	if err := from.temp.Keep(filepath.Base(t.path)); err != nil {
		return err
	}
	t.mu.Lock()
	t.now = from.laid
	t.mu.Unlock()
	return t.dir.Sync(".")
}

// finish makes the temporary file a whole archive, and sees that it is on the
// disk.
func (t *target) finish(ctx context.Context, tree *image.Tree) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.lay(tree); err != nil {
		return err
	}
	if err := t.carryOver(ctx); err != nil {
		return err
	}
	for _, d := range t.docs {
		if _, err := t.temp.WriteAt(append(d.header, d.data...), d.offset); err != nil {
			return err
		}
	}
	end, err := t.whole()
	if err != nil {
		return err
	}
	for _, size := range []int64{end, end + 2*blockSize} { // what a blob that failed has left goes, zeros come
		if err := t.temp.Truncate(size); err != nil {
			return err
		}
	}
	return t.temp.Sync()
}

// carryOver brings the blobs to their places that are here and not there yet.
func (t *target) carryOver(ctx context.Context) error {
	for d, p := range t.places {
		if p.done {
			continue
		}
		content, err := t.content(d)
		if err != nil {
			return err
		}
		if content == nil {
			continue
		}
		if err := fill(t.temp, p, reader{ctx, content}); err != nil {
			return fmt.Errorf("%s: blob %s: %w", t.path, d, err)
		}
		p.done = true
	}
	return nil
}

// content returns what is here of a blob that has not come to its place: a
// loose one, or the old archive's; nil if there is none.
func (t *target) content(d digest.Digest) (io.Reader, error) {
	if r := t.loose.content(d); r != nil {
		return r, nil
	}
	if t.old == nil || !t.old.has(d) {
		return nil, nil
	}
	at, err := t.old.locate(d)
	if err != nil {
		return nil, err
	}
	return t.old.section(at), nil
}

// whole returns where the archive ends: behind the last member, and before
// layers that may be had elsewhere and did not come.
func (t *target) whole() (int64, error) {
	end := t.end
	for _, p := range t.places {
		if !p.done {
			end = min(end, p.offset)
		}
	}
	for d, p := range t.places {
		if p.done && p.offset > end {
			return 0, fmt.Errorf("%w: a blob before %s is missing", image.ErrIncomplete, d)
		}
	}
	for _, d := range t.docs {
		if d.offset > end {
			return 0, fmt.Errorf("%w: a blob before the documents is missing", image.ErrIncomplete)
		}
	}
	return end, nil
}

// again makes the archive once more, out of this one and what another writer
// has put under the name in the meantime.
func (t *target) again(ctx context.Context, tree *image.Tree) (*target, error) {
	n := &target{path: t.path, step: t.step, o: t.o}
	var err error
	if n.was, n.old, err = survey(t.path, t.o.Existing); err != nil {
		return nil, err
	}
	if err = n.lay(tree); err != nil {
		n.Close()
		return nil, err
	}
	for d, p := range n.places {
		from, ok := t.places[d]
		if !ok || !from.done || from.size != p.size {
			continue
		}
		content := io.NewSectionReader(t.temp, from.offset+int64(len(from.header)), from.size)
		if err = fill(n.temp, p, reader{ctx, content}); err != nil {
			break
		}
		p.done = true
	}
	if err == nil {
		err = n.finish(ctx, tree)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

const maxLoose = 1 << 20 // bytes of a blob

// A loose holds small blobs that have no place yet, in a file without a name.
type loose struct {
	mu    sync.Mutex
	file  *os.File
	spans map[digest.Digest]span
	end   int64
}

func newLoose(dir *disk.Dir, prefix string) (*loose, error) {
	f, err := dir.Scratch(".", prefix)
	if err != nil {
		return nil, err
	}
	return &loose{file: f, spans: map[digest.Digest]span{}}, nil
}

// add takes the content of d.
func (l *loose) add(d oci.Descriptor, r io.Reader) error {
	l.mu.Lock()
	at := span{l.end, d.Size}
	l.end += d.Size
	l.mu.Unlock()
	n, err := blob.Copy(&exact{io.NewOffsetWriter(l.file, at.offset), at.size}, r)
	if err == nil && n != at.size {
		err = fmt.Errorf("%w: the content has %d bytes, not %d", image.ErrMismatch, n, at.size)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans[d.Digest] = at
	return nil
}

// content returns a reader of what was added, or nil. It may be called on nil.
func (l *loose) content(d digest.Digest) io.Reader {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.spans[d]
	if !ok {
		return nil
	}
	return io.NewSectionReader(l.file, at.offset, at.size)
}

func (l *loose) has(d digest.Digest) bool { return l.content(d) != nil }

func (l *loose) close() {
	if l != nil {
		l.file.Close()
	}
}
