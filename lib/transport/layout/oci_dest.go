package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// An OCIDestination writes one image into an OCI layout, beside what is in
// it. It is an image.Destination, Lister, Namer and Referrer.
//
// Any number of writers may be at work on one layout: none loses what another
// one added. They hold two locks. A shared one on the directory blobs/, from
// the first use to Close, says that blobs are relied upon: whoever deletes
// blobs, a Shelf, has to take it exclusively. An exclusive one on the file
// oci-layout, inside the first and for a moment only, is for whoever reads
// index.json and writes it anew. Nobody ever turns the one into the other, so
// two writers cannot wait for each other.
type OCIDestination struct {
	names
	ref    reference.Layout
	shared string
	step   disk.Step
	known  known

	mu    sync.Mutex
	made  bool      // nothing is missing in
	root  *disk.Dir // the layout
	guard *os.File  // its blobs/, locked
	blobs *disk.Dir // where blobs are

	looked  sync.Mutex
	listing *listing    // of index.json
	seen    fs.FileInfo // when it was
}

// CreateOCI prepares to write the image l.Name, or one without a name, to the
// layout at l.Path. Nothing is made before there is something to write; the
// directory above must exist. A directory that holds anything else than a
// layout is refused, as is a position as name. Errors: fs.ErrNotExist,
// image.ErrUnsupported, reference.ErrIndex, reference.ErrFormat,
// oci.ErrInvalid.
func CreateOCI(l reference.Layout, o Options) (*OCIDestination, error) {
	return createOCI(l, o, nil)
}

func createOCI(l reference.Layout, o Options, s disk.Step) (*OCIDestination, error) {
	if err := l.CheckDestination(); err != nil {
		return nil, err
	}
	if l.Name != "" && !reference.ValidRefName(l.Name) {
		return nil, fmt.Errorf("%w: %q is no name to write to", reference.ErrFormat, l.Name)
	}
	if l.Path == "" {
		l.Path = "."
	}
	if _, err := disk.Parent(l.Path); err != nil {
		return nil, err
	}
	d := &OCIDestination{ref: l, shared: o.SharedBlobs, step: s}
	d.names = d.look
	return d, d.find()
}

// find opens the layout, if there is one.
func (d *OCIDestination) find() error {
	root, err := disk.Open(d.ref.Path, d.step)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := checkLayout(root); err != nil {
		root.Close()
		return err
	}
	d.root = root
	return nil
}

// Wants implements image.Destination: anything is taken.
func (d *OCIDestination) Wants() image.Wants { return image.Wants{} }

// Has implements image.Destination. It reads the whole file to see whether
// the content is what its name says: others write layouts too, and nothing
// that was not verified may get a name. That costs what SHA-256 does, less than
// a second for each GiB; writing it takes more. Each digest is read once.
func (d *OCIDestination) Has(ctx context.Context, desc oci.Descriptor) (bool, error) {
	if err := oci.CheckDigest(desc.Digest); err != nil {
		return false, err
	}
	if d.known.has(desc) {
		return true, nil
	}
	blobs, err := d.open(ctx, false)
	if err != nil || blobs == nil {
		return false, err
	}
	ok, err := holds(ctx, blobs, blobName(desc.Digest), desc)
	if ok && err == nil {
		d.known.add(desc)
	}
	return ok, err
}

// Put implements image.Destination. It does not hash what the blob's reader
// has verified already.
func (d *OCIDestination) Put(ctx context.Context, b *blob.Blob) (oci.Descriptor, error) {
	alg, err := algorithmOf(b.Desc.Digest)
	if err != nil {
		return oci.Descriptor{}, err
	}
	blobs, err := d.open(ctx, true)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if err := blobs.Mkdir(alg); err != nil {
		return oci.Descriptor{}, err
	}
	desc, err := put(ctx, blobs, alg, b, blobName)
	if err == nil {
		d.known.add(desc)
	}
	return desc, err
}

// open locks the layout and returns the place of its blobs. What is missing is
// made, if create is set, and left out otherwise.
func (d *OCIDestination) open(ctx context.Context, create bool) (*disk.Dir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if create && !d.made {
		if err := d.make(); err != nil {
			return nil, err
		}
		d.made = true
	}
	if d.guard == nil && d.root != nil {
		guard, err := d.root.LockShared(ctx, blobsDir)
		if err != nil && (create || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		if d.guard = guard; guard != nil {
			d.root.Sweep(".", tempPrefix)
		}
	}
	if d.blobs == nil {
		if err := d.openBlobs(create); err != nil {
			return nil, err
		}
	}
	return d.blobs, nil
}

func (d *OCIDestination) openBlobs(create bool) error {
	var found *disk.Dir
	var err error
	switch {
	case d.shared == "" && d.guard == nil:
		return nil
	case d.shared == "":
		found, err = d.root.Sub(blobsDir)
	case create:
		found, err = disk.Make(d.shared, d.step)
	default:
		if found, err = disk.Open(d.shared, d.step); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	for _, alg := range algorithms {
		found.Sweep(alg, tempPrefix)
	}
	d.blobs = found
	return nil
}

// Commit implements image.Destination: all is on the disk before index.json
// names it, and all names come at once, those of what is attached too. An
// index.json that says the same already is not written. Errors:
// image.ErrIncomplete if a blob of the tree is missing, image.ErrMismatch,
// image.ErrTooLarge if index.json would have more than 16 MiB or 100,000
// entries, reference.ErrFormat if something attached has a name that cannot be
// one here.
func (d *OCIDestination) Commit(ctx context.Context, t *image.Tree) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := checkNames(t); err != nil {
		return err
	}
	if _, err := d.open(ctx, true); err != nil {
		return err
	}
	if err := complete(ctx, t, d.Has); err != nil {
		return err
	}
	all, err := manifests(t)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := d.putManifest(ctx, m); err != nil {
			return err
		}
	}
	if err := d.syncBlobs(); err != nil {
		return err
	}
	return d.name(ctx, t)
}

func (d *OCIDestination) putManifest(ctx context.Context, t *image.Tree) error {
	ok, err := d.Has(ctx, t.Desc)
	if ok || err != nil {
		return err
	}
	_, err = d.Put(ctx, &blob.Blob{Desc: t.Desc, Reader: bytes.NewReader(t.Raw.Bytes)})
	return err
}

// syncBlobs makes the names of all blobs last, those too that a neighbour has
// written and may not have come to sync.
func (d *OCIDestination) syncBlobs() error {
	for _, alg := range algorithms {
		if err := d.blobs.Sync(alg); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := d.blobs.Sync("."); err != nil {
		return err
	}
	return d.root.Sync(".")
}

// platform is what the configuration of an image says that it runs on; nil if
// t is no image or does not say.
func (d *OCIDestination) platform(t *image.Tree) *oci.Platform {
	if t.Manifest == nil || !t.Manifest.IsImage() || t.Manifest.Config.Size > oci.MaxManifest {
		return nil
	}
	desc := *t.Manifest.Config
	f, err := openBlob(d.blobs, blobName(desc.Digest), desc)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := blob.ReadAll(f, desc, oci.MaxManifest)
	if err != nil {
		return nil
	}
	c, err := oci.ParseConfig(b)
	if err != nil || c.OS == "" || c.Architecture == "" {
		return nil
	}
	return &oci.Platform{Architecture: c.Architecture, OS: c.OS, Variant: c.Variant}
}

// Close implements image.Destination. Blobs that were put stay, with or
// without a Commit, so that the next try need not fetch them again.
func (d *OCIDestination) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guard != nil {
		d.guard.Close()
	}
	if d.blobs != nil {
		d.blobs.Close()
	}
	if d.root != nil {
		d.root.Close()
	}
	return nil
}
