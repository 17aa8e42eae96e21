package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/blob"
	"github.com/imgtools/imgtools/lib/disk"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// checkNames refuses names of what is attached to t that no layout can have.
func checkNames(t *image.Tree) error {
	for k := range t.Walk() {
		if k.Name != "" && !reference.ValidRefName(k.Name) {
			return fmt.Errorf("%w: %.200q is no name to write to", reference.ErrFormat, k.Name)
		}
	}
	return nil
}

// name writes the image, and what is attached to it, into index.json.
func (d *OCIDestination) name(ctx context.Context, t *image.Tree) error {
	root := t.Desc
	if root.Platform == nil {
		root.Platform = d.platform(t)
	}
	lock, err := d.root.Lock(ctx, layoutFile)
	if err != nil {
		return err
	}
	defer lock.Close()
	x, err := readIndex(d.root)
	if err != nil {
		return err
	}
	attached, err := d.nameAttached(ctx, d.says(x), t)
	if err != nil {
		return err
	}
	changed, err := x.set(d.ref.Name, root)
	if err != nil || !changed && !attached {
		return err
	}
	d.looked.Lock()
	d.listing = nil
	d.looked.Unlock()
	return writeIndex(d.root, x)
}

// readIndex reads index.json, to change it under the lock; there may be none.
func readIndex(root *disk.Dir) (*index, error) {
	b, err := readFile(root, indexFile, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return newIndex(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	return x, nil
}

// writeIndex puts a new index.json in the place of the one that is there.
func writeIndex(root *disk.Dir, x *index) error {
	b := x.bytes()
	if len(b) > maxIndex || len(x.entries) > maxEntries {
		return fmt.Errorf("%s: %w: more than %d bytes or %d entries", indexFile, image.ErrTooLarge, maxIndex, maxEntries)
	}
	if err := putBytes(root, indexFile, b); err != nil {
		return err
	}
	return root.Sync(".")
}

// nameAttached brings into the index what is attached to the manifests of t,
// and reports whether that changed anything. What has no name of its own goes
// into the list of its subject's referrers, beside what is in there now.
func (d *OCIDestination) nameAttached(ctx context.Context, l *listing, t *image.Tree) (bool, error) {
	changed, written := false, false
	for k := range t.Walk() {
		var list []oci.Descriptor
		for _, a := range k.Attached {
			if a.Name == "" {
				list = append(list, referrer(a))
				continue
			}
			now, err := l.set(a.Name, a.Desc)
			if err != nil {
				return false, err
			}
			changed = changed || now
		}
		now, err := d.refer(ctx, l, k.Desc.Digest, list)
		if err != nil {
			return false, err
		}
		written = written || now
	}
	if written {
		if err := d.syncBlobs(); err != nil {
			return false, err
		}
	}
	return changed || written, nil
}

func referrer(t *image.Tree) oci.Descriptor {
	if t.Manifest == nil {
		return t.Desc
	}
	return oci.Referrer(t.Desc, t.Manifest)
}

// refer adds to the list of a subject's referrers, and reports whether it was
// written anew.
func (d *OCIDestination) refer(ctx context.Context, l *listing, subject digest.Digest, list []oci.Descriptor) (bool, error) {
	if len(list) == 0 {
		return false, nil
	}
	old, err := l.listed(ctx, subject)
	if err != nil {
		return false, err
	}
	has := func(d oci.Descriptor) bool {
		return slices.ContainsFunc(old, func(o oci.Descriptor) bool { return o.Digest == d.Digest })
	}
	if !slices.ContainsFunc(list, func(d oci.Descriptor) bool { return !has(d) }) {
		return false, nil
	}
	raw, err := oci.ReferrersIndex(slices.Concat(old, list))
	if err == nil && len(raw.Bytes) > oci.MaxManifest {
		err = fmt.Errorf("%w: %d bytes, more than %d", image.ErrTooLarge, len(raw.Bytes), oci.MaxManifest)
	}
	if err != nil {
		return false, fmt.Errorf("list of the referrers of %s: %w", subject, err)
	}
	desc := raw.Descriptor()
	if err := d.putManifest(ctx, &image.Tree{Desc: desc, Raw: raw}); err != nil {
		return false, err
	}
	return l.set(oci.ReferrersTag(subject), desc)
}

// says is what the index x does.
func (d *OCIDestination) says(x *index) *listing {
	return &listing{index: x, path: d.ref.Path, read: d.read}
}

// read reads a manifest that is there.
func (d *OCIDestination) read(ctx context.Context, desc oci.Descriptor) (oci.Raw, error) {
	blobs, err := d.open(ctx, false)
	if err != nil {
		return oci.Raw{}, err
	}
	if blobs == nil {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w", desc.Digest, image.ErrNotFound)
	}
	f, err := openBlob(blobs, blobName(desc.Digest), desc)
	if d.shared != "" && errors.Is(err, image.ErrNotFound) {
		f, err = openBlob(d.root, path.Join(blobsDir, blobName(desc.Digest)), desc)
	}
	if err != nil {
		return oci.Raw{}, err
	}
	defer f.Close()
	b, err := blob.ReadAll(f, desc, oci.MaxManifest)
	return oci.Raw{MediaType: desc.MediaType, Bytes: b}, err
}

// look returns what index.json says now.
func (d *OCIDestination) look(ctx context.Context) (*listing, error) {
	if _, err := d.open(ctx, false); err != nil {
		return nil, err
	}
	d.looked.Lock()
	defer d.looked.Unlock()
	d.mu.Lock()
	root := d.root
	d.mu.Unlock()
	if root == nil {
		return d.says(newIndex()), nil
	}
	now, err := root.Lstat(indexFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if d.listing != nil && same(d.seen, now) {
		return d.listing, nil
	}
	x, err := readIndex(root)
	if err != nil {
		return nil, err
	}
	d.listing, d.seen = d.says(x), now
	return d.listing, nil
}

// same reports whether a file has not changed.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
