package archive

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

var errNoDocker = errors.New("no " + dockerName)

// lookDocker returns the image that s means in manifest.json.
func (c *catalogue) lookDocker(s Selection) (*choice, error) {
	images, err := c.readDocker()
	if errors.Is(err, image.ErrNotFound) {
		return nil, fmt.Errorf("%w: the archive has %w: it is no docker archive", image.ErrIncomplete, errNoDocker)
	}
	if err != nil {
		return nil, err
	}
	if s.Digest != "" && s.Name == "" && s.Position == 0 && len(images) > 1 {
		root, err := c.pickDigest(nil, s.Digest)
		return &choice{root: root}, err
	}
	e, err := pickDocker(images, s)
	if err != nil {
		return nil, err
	}
	root, err := c.manifestOf(e, s)
	switch {
	case err != nil:
		return nil, err
	case root != nil:
		return &choice{root: *root}, nil
	}
	return &choice{docker: e}, nil
}

func pickDocker(images []dockerImage, s Selection) (*dockerImage, error) {
	switch {
	case s.Position > len(images):
		return nil, &said{fmt.Sprintf("Invalid source index @%d, only %d manifest items available", s.Position-1, len(images)), image.ErrNotFound}
	case s.Position > 0:
		return &images[s.Position-1], nil
	case s.Name != "":
		return pickTag(images, s.Name)
	case len(images) != 1:
		return nil, &said{fmt.Sprintf("Unexpected tar manifest.json: expected 1 item, got %d", len(images)), image.ErrUnsupported}
	}
	return &images[0], nil
}

func pickTag(images []dockerImage, name string) (*dockerImage, error) {
	ref, err := reference.ParseDocker(name)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	for i := range images {
		if images[i].has(ref) {
			return &images[i], nil
		}
	}
	return nil, &said{fmt.Sprintf("Tag %q not found", ref.WithDefaultTag()), image.ErrNotFound}
}

// manifestOf returns the manifest, among those that index.json leads to, of
// which e is the docker view: it has the same configuration and layers. That
// one is taken, so that an image keeps its digest. Nil means that there is
// none, and that all were looked at.
func (c *catalogue) manifestOf(e *dockerImage, s Selection) (*oci.Descriptor, error) {
	config, ok := blobDigest(memberName(e.Config))
	if !ok {
		return nil, nil
	}
	ix, err := c.readIndex()
	if errors.Is(err, image.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if c.waits != nil && c.waits() {
		return nil, image.ErrLater
	}
	all := slices.Clone(ix.Manifests)
	if ref, err := reference.ParseDocker(s.Name); err == nil {
		slices.SortStableFunc(all, func(a, b oci.Descriptor) int { return rank(a, ref) - rank(b, ref) })
	}
	f := finder{catalogue: c, entry: e, config: config}
	d, err := f.find(all, 0)
	switch {
	case err != nil || d != nil:
		return d, err
	case f.unread != nil:
		return nil, fmt.Errorf("%w: the manifest of which %s is a view is not found, and not all could be read: %w", image.ErrIncomplete, dockerName, f.unread)
	}
	return nil, nil
}

// rank puts the entries with a name first.
func rank(d oci.Descriptor, ref reference.Docker) int {
	if sameName(nameOf(d), ref) {
		return 0
	}
	return 1
}

// A finder looks for the manifest that an entry of manifest.json is the view
// of.
type finder struct {
	*catalogue
	entry  *dockerImage
	config digest.Digest
	seen   int
	unread error // why one could not be read
}

func (f *finder) find(all []oci.Descriptor, depth int) (*oci.Descriptor, error) {
	for i, d := range all {
		if f.seen++; f.seen > oci.MaxEntries || depth > oci.MaxDepth {
			return nil, fmt.Errorf("%w: indexes nested deeper than %d or with more than %d entries", oci.ErrInvalid, oci.MaxDepth, oci.MaxEntries)
		}
		if !oci.IsManifestType(d.MediaType) {
			continue
		}
		m, err := f.parse(d)
		switch {
		case err != nil:
			f.unread = fmt.Errorf("manifest %s: %w", d.Digest, err)
		case m.IsIndex():
			if found, err := f.find(m.Manifests, depth+1); found != nil || err != nil {
				return found, err
			}
		case f.is(m):
			return &all[i], nil
		}
	}
	return nil, nil
}

// is reports whether m has the configuration and the layers of the entry.
func (f *finder) is(m *oci.Manifest) bool {
	return m.Config != nil && m.Config.Digest == f.config &&
		slices.EqualFunc(m.Layers, f.entry.Layers, func(d oci.Descriptor, name string) bool {
			return memberName(name) == blobName(d.Digest)
		})
}
