package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

const (
	indexFile = "index.json"
	blobsDir  = "blobs"
	maxIndex  = 16 << 20 // bytes of an index.json
)

// blobName is where blobs/ has the content of d, which oci.CheckDigest let
// pass.
func blobName(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }

// An OCISource is one image in an OCI layout. It is an image.Source, Lister,
// Namer, Referrer and Ranger.
//
// From its first use to Close it holds a shared lock on the directory blobs/,
// as writers do: who deletes waits until it is done. That takes no right to
// write. Where there are no locks, or no blobs/, it does without.
type OCISource struct {
	names
	ref   reference.Layout
	root  *disk.Dir
	blobs []*disk.Dir // places of blobs, the first one first

	mu      sync.Mutex
	held    bool
	guard   *os.File // blobs/, locked; nil where that cannot be
	listing *listing
}

// OpenOCI reads the index of the layout at l.Path. Which of its images is
// meant is for Manifest to find: that of l.Name, that at l.Index, or the only
// one; what has a name that belongs to a digest (oci.IsAttachedTag) is not
// counted for that, unless there is nothing else. Besides the names in the
// index, l.Name may be NAME@DIGEST, whose entry must have that digest, or
// @DIGEST, for any manifest that the index holds, itself or by way of an index
// in it.
//
// Errors: fs.ErrNotExist, image.ErrTooLarge if index.json has more than 16
// MiB, oci.ErrInvalid.
func OpenOCI(l reference.Layout, o Options) (*OCISource, error) { return openOCI(l, o, nil) }

func openOCI(l reference.Layout, o Options, step disk.Step) (*OCISource, error) {
	if l.Path == "" {
		l.Path = "."
	}
	root, err := disk.Open(l.Path, step)
	if err != nil {
		return nil, err
	}
	s := &OCISource{ref: l, root: root}
	s.names = s.hold
	if err := s.open(o, step); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *OCISource) open(o Options, step disk.Step) error {
	if err := s.load(); err != nil {
		return err
	}
	if o.SharedBlobs != "" {
		shared, err := disk.Open(o.SharedBlobs, step)
		if err != nil {
			return err
		}
		s.blobs = append(s.blobs, shared)
	}
	// Not having blobs/ is not yet an error: all may be shared.
	if own, err := s.root.Sub(blobsDir); err == nil {
		s.blobs = append(s.blobs, own)
	} else if o.SharedBlobs == "" {
		return err
	}
	return nil
}

// load reads index.json.
func (s *OCISource) load() error {
	b, err := readFile(s.root, indexFile, maxIndex)
	if err != nil {
		return err
	}
	x, err := parseIndex(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(s.ref.Path, indexFile), err)
	}
	s.listing = &listing{index: x, path: s.ref.Path, read: s.manifest}
	return nil
}

// hold locks the layout and returns what index.json says, which cannot lose
// what it names any more. Before, it may have: so it is read again.
func (s *OCISource) hold(ctx context.Context) (*listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return s.listing, nil
	}
	guard, err := s.root.LockShared(ctx, blobsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.guard = guard
	if err := s.load(); err != nil {
		s.letGo()
		return nil, err
	}
	s.held = true
	return s.listing, nil
}

// letGo ends what hold began.
func (s *OCISource) letGo() {
	if s.guard != nil {
		s.guard.Close()
	}
	s.guard, s.held = nil, false
}

// Manifest implements image.Source. What it returns has the digest asked for
// or, for "", that of the index's entry. Errors: image.ErrNotFound if there is
// no such name or digest, image.ErrMismatch, image.ErrTooLarge.
func (s *OCISource) Manifest(ctx context.Context, d digest.Digest) (oci.Raw, error) {
	l, err := s.hold(ctx)
	if err != nil {
		return oci.Raw{}, err
	}
	if d != "" {
		return s.manifest(ctx, oci.Descriptor{MediaType: l.typeOf(d), Digest: d, Size: -1})
	}
	desc, err := l.choose(ctx, s.ref)
	if err != nil {
		return oci.Raw{}, err
	}
	if err := oci.CheckDescriptor(desc); err != nil {
		return oci.Raw{}, err
	}
	return s.manifest(ctx, desc)
}

func (s *OCISource) manifest(ctx context.Context, d oci.Descriptor) (oci.Raw, error) {
	if d.Size > oci.MaxManifest {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w: %d bytes, more than %d", d.Digest, image.ErrTooLarge, d.Size, oci.MaxManifest)
	}
	f, err := s.file(ctx, d)
	if err != nil {
		return oci.Raw{}, err
	}
	defer f.Close()
	b, err := blob.ReadAll(f, d, oci.MaxManifest)
	return oci.Raw{MediaType: d.MediaType, Bytes: b}, err
}

// Blob implements image.Source. The file is checked to have the size of d, if
// that is known. Errors: image.ErrNotFound, image.ErrMismatch, oci.ErrInvalid.
func (s *OCISource) Blob(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	return s.BlobAt(ctx, d, 0)
}

// BlobAt implements image.Ranger; it is Blob from offset bytes on.
func (s *OCISource) BlobAt(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	if _, err := s.hold(ctx); err != nil {
		return nil, err
	}
	f, err := s.file(ctx, d)
	if err != nil {
		return nil, err
	}
	return seek(f, offset)
}

// file opens the file of a blob.
func (s *OCISource) file(ctx context.Context, d oci.Descriptor) (*os.File, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := oci.CheckDigest(d.Digest); err != nil {
		return nil, err
	}
	var err error
	for _, dir := range s.blobs {
		var f *os.File
		if f, err = openBlob(dir, blobName(d.Digest), d); err == nil {
			return f, nil
		}
		if !errors.Is(err, image.ErrNotFound) {
			break
		}
	}
	return nil, err
}

// Close implements image.Source. Blobs that are open can be read on.
func (s *OCISource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo()
	for _, dir := range s.blobs {
		dir.Close()
	}
	return s.root.Close()
}
