package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// An old archive is one whose images go into a new one.
type old struct {
	*file
	holdings
}

// openOld opens an archive to be extended. It must be one that keeps all its
// images in index.json, and is read in place.
func openOld(path string) (*old, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	o, err := readOld(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return o, nil
}

func readOld(f *os.File) (*old, error) {
	plain, err := inPlace(f)
	if err != nil {
		return nil, err
	}
	if !plain {
		return nil, errors.New("it is compressed")
	}
	s, err := newFile(f, Selection{})
	if err != nil {
		return nil, err
	}
	ix, err := s.cat.readIndex()
	if errors.Is(err, image.ErrNotFound) {
		if _, e := s.cat.readDocker(); e == nil {
			return nil, fmt.Errorf("it has %s only, as docker save wrote it before version 25, and no %s", dockerName, indexName)
		}
		return nil, errors.New("it holds no images")
	}
	if err != nil {
		return nil, err
	}
	o := &old{file: s}
	o.annotations, o.entries = ix.Annotations, ix.Manifests
	o.has = func(d digest.Digest) bool { _, ok, err := s.members.find(blobName(d)); return ok && err == nil }
	if err := o.readTrees(); err != nil {
		return nil, err
	}
	return o, o.readDocker()
}

// readTrees reads all manifests.
func (o *old) readTrees() error {
	seen := map[digest.Digest]bool{}
	for _, d := range o.entries {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		t, err := o.tree(context.Background(), d)
		if err != nil {
			return err
		}
		for d := range t.Blobs() {
			if at, err := o.locate(d.Digest); err == nil && at.size != d.Size {
				return fmt.Errorf("blob %s: %w: it has %d bytes, not %d", d.Digest, image.ErrMismatch, at.size, d.Size)
			}
		}
		o.trees = append(o.trees, t)
	}
	return nil
}

// tree reads what an entry of index.json names. Manifests that are not in the
// archive are left out of it: it may have been made without them.
func (o *old) tree(ctx context.Context, d oci.Descriptor) (*image.Tree, error) {
	t, err := image.Root(ctx, o.file, d.Digest)
	if err != nil {
		return nil, err
	}
	t.Desc = d
	if !oci.IsManifestType(d.MediaType) {
		return t, nil
	}
	t.Raw.MediaType = d.MediaType
	present := func(m *oci.Manifest) (func(int) bool, error) {
		return func(i int) bool { return o.has(m.Manifests[i].Digest) }, nil
	}
	return t, t.Grow(ctx, o.file, present)
}

// readDocker reads manifest.json. What it names must be blobs, because nothing
// else is kept.
func (o *old) readDocker() error {
	images, err := o.cat.readDocker()
	if errors.Is(err, image.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range images {
		for _, name := range append([]string{d.Config}, d.Layers...) {
			if _, ok := blobDigest(memberName(name)); !ok {
				return fmt.Errorf("its %s names %.200q, which is no blob", dockerName, name)
			}
		}
	}
	o.holdings.docker = images
	return nil
}

// with returns the holdings with one image more.
func (o *old) with(t *image.Tree, opts *Options) (*holdings, error) {
	var h holdings
	if o != nil {
		h = o.holdings
		h.annotations = maps.Clone(h.annotations)
		h.entries, h.docker, h.trees = slices.Clone(h.entries), slices.Clone(h.docker), slices.Clone(h.trees)
	}
	return &h, h.add(t, opts)
}

// resolve returns the digest of the image that has all the names that o gives,
// if all that belongs to it is there; image.ErrNotFound otherwise.
func (o *old) resolve(opts *Options) (digest.Digest, error) {
	labels := opts.explicit()
	if len(labels) == 0 && opts.from != nil {
		return "", image.ErrNotFound // nobody knows the name yet
	}
	if len(labels) == 0 {
		labels = []label{{}}
	}
	var found digest.Digest
	for _, l := range labels {
		i := slices.IndexFunc(o.entries, l.names)
		if i < 0 || found != "" && o.entries[i].Digest != found {
			return "", image.ErrNotFound
		}
		found = o.entries[i].Digest
	}
	for _, t := range o.trees {
		if t.Desc.Digest == found && o.whole(t) {
			return found, nil
		}
	}
	return "", image.ErrNotFound
}

// whole reports whether all manifests and blobs of t are there, by their
// sizes.
func (o *old) whole(t *image.Tree) bool {
	for k := range t.Walk() {
		if slices.Contains(k.Kids, nil) || k.Manifest == nil {
			return false
		}
	}
	for d := range t.Blobs() {
		at, err := o.locate(d.Digest)
		if (err != nil || at.size != d.Size) && !oci.IsForeign(d) {
			return false
		}
	}
	return true
}
