package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// A target is an archive that is written to a file. As soon as the tree is
// known so is the place of every member: blobs are written at the same time,
// each where it belongs, and the file has the same bytes as a stream. It is an
// image.Destination, Beginner, Resolver, Lister, Namer and Referrer.
//
// The new archive is written beside the old one, under a hidden name. Between
// the last look at the old one and the rename, the directory is locked, so that
// no other writer's image is lost.
type target struct {
	path string
	step disk.Step
	o    Options
	was  state // of path when old was opened
	old  *old  // whose images go into the new archive, or nil

	mu     sync.Mutex
	dir    *disk.Dir  // that path is in; nil before the first write
	temp   *disk.Temp // in dir
	begun  string     // the identity of the tree that members have places for
	laid   *holdings  // of the new archive
	now    *holdings  // of what is there; nil before Commit
	docs   []placedDocument
	places map[digest.Digest]*place
	end    int64 // behind the last member that has a place
	loose  *loose
}

// A place is where a blob's member goes.
type place struct {
	offset int64 // of the header
	header []byte
	size   int64
	done   bool // its content is there
}

// maxSize bounds the bytes of an archive, so that all places can be told.
const maxSize = 1 << 62

type placedDocument struct {
	offset int64
	header []byte
	data   []byte
}

// Wants implements image.Destination.
func (t *target) Wants() image.Wants {
	return image.Wants{Sizes: true, Single: t.o.View == Docker, Spool: filepath.Dir(t.path)}
}

// Resolve implements image.Resolver, for an archive that is extended.
func (t *target) Resolve(context.Context) (digest.Digest, error) {
	if t.old == nil {
		return "", image.ErrNotFound
	}
	return t.old.resolve(&t.o)
}

// Begin implements image.Beginner.
func (t *target) Begin(ctx context.Context, tree *image.Tree) error {
	if err := live(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lay(tree)
}

// lay gives all members of the archive their places, in order.
func (t *target) lay(tree *image.Tree) error {
	switch t.begun {
	case identity(tree):
		return nil
	case "":
	default:
		return errOther
	}
	h, err := t.old.with(tree, &t.o)
	if err != nil {
		return err
	}
	head, err := h.head()
	if err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	for _, d := range head.docs {
		header, err := tarHeader(d.name, int64(len(d.data)))
		if err != nil {
			return err
		}
		t.docs = append(t.docs, placedDocument{t.end, header, d.data})
		t.end += int64(len(header)) + padded(int64(len(d.data)))
	}
	for _, d := range head.blobs {
		if _, err := t.place(d); err != nil {
			return err
		}
	}
	t.begun, t.laid = identity(tree), h
	return nil
}

// open makes the temporary file beside the archive, and removes those that
// others left.
func (t *target) open() error {
	if t.temp != nil {
		return nil
	}
	dir, err := disk.Open(filepath.Dir(t.path), t.step)
	if err != nil {
		return err
	}
	dir.Sweep(".", tempPrefix(t.path))
	temp, err := dir.Temp(".", tempPrefix(t.path))
	if err == nil && t.was.info != nil { // before there is anything in it that others may not read
		if err = temp.Chmod(t.was.info.Mode().Perm()); err != nil {
			temp.Drop()
		}
	}
	if err != nil {
		dir.Close()
		return err
	}
	t.dir, t.temp, t.places = dir, temp, map[digest.Digest]*place{}
	return nil
}

// tempPrefix begins the names of temporary files. It is short enough for what
// follows; archives that have it in common do no harm to each other.
func tempPrefix(target string) string {
	name := filepath.Base(target)
	return "." + name[:min(len(name), 100)] + ".img-"
}

// place returns the place of a blob, which is at the end if it has none yet.
func (t *target) place(d oci.Descriptor) (*place, error) {
	if p, ok := t.places[d.Digest]; ok {
		if p.size != d.Size {
			return nil, fmt.Errorf("blob %s: %w: it has %d bytes, not %d", d.Digest, image.ErrMismatch, d.Size, p.size)
		}
		return p, nil
	}
	header, err := tarHeader(blobName(d.Digest), d.Size)
	if err != nil {
		return nil, err
	}
	if d.Size > maxSize-t.end {
		return nil, fmt.Errorf("blob %s: %w: %d bytes", d.Digest, image.ErrTooLarge, d.Size)
	}
	p := &place{offset: t.end, header: header, size: d.Size}
	t.places[d.Digest] = p
	t.end += int64(len(header)) + padded(d.Size)
	return p, nil
}

// Has implements image.Destination. A blob of the old archive is there if it
// is what its digest says: it is read and copied then.
func (t *target) Has(ctx context.Context, d oci.Descriptor) (bool, error) {
	if t.has(d.Digest) {
		return true, nil
	}
	if t.old == nil || oci.CheckDescriptor(d) != nil {
		return false, nil
	}
	at, err := t.old.locate(d.Digest)
	if errors.Is(err, image.ErrNotFound) || err == nil && at.size != d.Size {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = t.verified(ctx, d, t.old.section(at))
	if errors.Is(err, image.ErrMismatch) {
		return false, nil
	}
	return err == nil, err
}

func (t *target) verified(ctx context.Context, d oci.Descriptor, r io.Reader) (oci.Descriptor, error) {
	b, err := blob.Verify(&blob.Blob{Desc: d, Reader: r})
	if err != nil {
		return d, err
	}
	return t.Put(ctx, b)
}

func (t *target) has(d digest.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.places[d]; ok && p.done {
		return true
	}
	return t.loose.has(d)
}

// Put implements image.Destination.
func (t *target) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	if !b.Known() {
		return b.Desc, fmt.Errorf("%w: a blob whose digest or size is not known", image.ErrUnsupported)
	}
	if err := oci.CheckDescriptor(b.Desc); err != nil {
		return b.Desc, err
	}
	if t.has(b.Desc.Digest) {
		_, err := blob.Copy(io.Discard, reader{ctx, b})
		return b.Desc, err
	}
	return b.Desc, t.take(b.Desc, reader{ctx, b})
}

// take writes a blob to its place. Before it is known where small ones belong
// they wait: several come at a time, and the archive is not to depend on which
// is first.
func (t *target) take(d oci.Descriptor, r io.Reader) error {
	p, l, err := t.room(d)
	switch {
	case err != nil:
		return err
	case l != nil:
		return l.add(d, r)
	}
	if err := fill(t.temp, p, r); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p.done = true
	return nil
}

// room returns where a blob goes now: to its place, or among the loose ones.
func (t *target) room(d oci.Descriptor) (*place, *loose, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.open()
	if err != nil {
		return nil, nil, err
	}
	if t.begun != "" || d.Size > maxLoose {
		p, err := t.place(d)
		return p, nil, err
	}
	if t.loose == nil {
		t.loose, err = newLoose(t.dir, tempPrefix(t.path))
	}
	return nil, t.loose, err
}

// fill writes a member: its header, and what r holds.
func fill(t *disk.Temp, p *place, r io.Reader) error {
	if _, err := t.WriteAt(p.header, p.offset); err != nil {
		return err
	}
	n, err := blob.Copy(&exact{t.At(p.offset + int64(len(p.header))), p.size}, r)
	if err == nil && n != p.size {
		err = fmt.Errorf("%w: the content has %d bytes, not %d", image.ErrMismatch, n, p.size)
	}
	return err
}

// Close implements image.Destination: without a Commit nothing is left.
func (t *target) Close() error {
	if t.temp != nil {
		t.temp.Drop()
		t.dir.Close()
		t.dir, t.temp = nil, nil
	}
	t.loose.close()
	if t.old != nil {
		t.old.Close()
		t.old = nil
	}
	return nil
}
