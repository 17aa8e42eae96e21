// Package layout is the room of images that lie in directories: oci:, the
// layout of the image-spec's image-layout.md, and dir:, which holds one image
// with all its files side by side. Each is an image.Source and an
// image.Destination.
//
// What is written gets its name only when it is whole and on the disk, and
// what was there before stays whole until then, wherever the writer is
// stopped; lib/disk says how. What is read is taken from regular files inside
// the directory only.
//
// The package imports lib/oci, lib/blob, lib/disk, lib/image and
// lib/reference; never another transport, and nothing that knows a network.
package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

const (
	tempPrefix  = ".img-tmp-"   // files that are being written
	stagePrefix = ".img-stage-" // directories
)

// Options are what OpenOCI, CreateOCI and OpenShelf can be told besides the
// name.
type Options struct {
	// SharedBlobs is a directory that blobs lie in, as ALGORITHM/HEX, in
	// place of the layout's own blobs/; "" for none.
	SharedBlobs string

	// Notify is told what a Shelf deletes.
	Notify image.Notify
}

// A told error has a text that scripts match on, and the error that it is.
type told struct {
	text string
	is   error
}

func (e *told) Error() string { return e.text }
func (e *told) Unwrap() error { return e.is }

func fail(text string, is error) error { return &told{text, is} }

// openBlob opens the file that holds d. Errors: image.ErrNotFound,
// image.ErrMismatch if the file has another size.
func openBlob(dir *disk.Dir, name string, d oci.Descriptor) (*os.File, error) {
	f, size, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", image.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	if d.Size >= 0 && d.Size != size {
		f.Close()
		return nil, fmt.Errorf("%s: %w: it has %d bytes, not %d", f.Name(), image.ErrMismatch, size, d.Size)
	}
	return f, nil
}

// seek moves f, which it closes on error.
func seek(f *os.File, offset int64) (io.ReadCloser, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(dir *disk.Dir, name string, limit int64) ([]byte, error) {
	f, _, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := blob.ReadLimited(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return b, nil
}

// holds reports whether the file is what d says, having read all of it, and
// sees to it that it is on the disk. A file that is missing, not regular, or
// of other content is no error.
func holds(ctx context.Context, dir *disk.Dir, name string, desc oci.Descriptor) (bool, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil || !info.Mode().IsRegular() || desc.Size >= 0 && info.Size() != desc.Size {
		return false, err
	}
	f, _, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := blob.Verify(&blob.Blob{Desc: desc, Reader: reader{ctx, f}})
	if err != nil {
		return false, err
	}
	if _, err := blob.Copy(io.Discard, b); err != nil {
		if errors.Is(err, image.ErrMismatch) {
			err = nil
		}
		return false, err
	}
	err = dir.SyncFile(f, name)
	return err == nil, err
}

// A reader ends with the context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// put writes the blob, which somebody else has verified by the time that its
// reader ends, into a file that is made in sub and gets the name of its digest.
func put(ctx context.Context, dir *disk.Dir, sub string, b *blob.Blob, name func(digest.Digest) string) (oci.Descriptor, error) {
	t, err := dir.Temp(sub, tempPrefix)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer t.Drop()
	n, err := blob.Copy(t.At(0), reader{ctx, b})
	if err != nil {
		return oci.Descriptor{}, err
	}
	desc, err := measured(b.Desc, n)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return desc, t.Keep(name(desc.Digest))
}

// measured is d after n bytes of content were written.
func measured(d oci.Descriptor, n int64) (oci.Descriptor, error) {
	if d.Size < 0 {
		d.Size = n
	}
	if d.Size != n {
		return d, fmt.Errorf("%s: %w: it has %d bytes, not %d", d.Digest, image.ErrMismatch, n, d.Size)
	}
	return d, oci.CheckDigest(d.Digest)
}

// putBytes is put for a document.
func putBytes(dir *disk.Dir, name string, b []byte) error {
	t, err := dir.Temp(path.Dir(name), tempPrefix)
	if err != nil {
		return err
	}
	defer t.Drop()
	if _, err := t.WriteAt(b, 0); err != nil {
		return err
	}
	return t.Keep(name)
}

// known remembers what has been verified: size by digest.
type known struct {
	mu sync.Mutex
	m  map[digest.Digest]int64
}

func (k *known) add(d oci.Descriptor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[digest.Digest]int64{}
	}
	k.m[d.Digest] = d.Size
}

func (k *known) has(d oci.Descriptor) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	size, ok := k.m[d.Digest]
	return ok && (d.Size < 0 || d.Size == size)
}

// complete returns an error that wraps image.ErrIncomplete if a blob of t is
// not there. Layers that are to be had elsewhere may be missing.
func complete(ctx context.Context, t *image.Tree, has func(context.Context, oci.Descriptor) (bool, error)) error {
	for d := range t.Blobs() {
		ok, err := has(ctx, d)
		if err != nil {
			return err
		}
		if !ok && !oci.IsForeign(d) {
			return fmt.Errorf("%w: blob %s is missing", image.ErrIncomplete, d.Digest)
		}
	}
	return nil
}

// manifests returns the manifests of t and those attached to them, each digest
// once, each behind what it points at and what is attached to it: the last one
// is t. They have been checked against their digests.
func manifests(t *image.Tree) ([]*image.Tree, error) {
	var all []*image.Tree
	seen := map[digest.Digest]bool{}
	var add func(*image.Tree) error
	add = func(t *image.Tree) error {
		if t == nil || seen[t.Desc.Digest] {
			return nil
		}
		seen[t.Desc.Digest] = true
		for _, k := range slices.Concat(t.Kids, t.Attached) {
			if err := add(k); err != nil {
				return err
			}
		}
		all = append(all, t)
		return t.Check()
	}
	err := add(t)
	return all, err
}

// algorithms names the digest algorithms that oci.CheckDigest lets pass.
var algorithms = []string{"sha256", "sha384", "sha512"}

// algorithmOf is the algorithm that d has or, not being known, will have.
func algorithmOf(d digest.Digest) (string, error) {
	if d == "" {
		return string(digest.Canonical), nil
	}
	if err := oci.CheckDigest(d); err != nil {
		return "", err
	}
	return string(d.Algorithm()), nil
}
