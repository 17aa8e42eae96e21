package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// A library gives out the documents of an archive.
type library interface {
	// document returns a member of at most limit bytes. Errors:
	// image.ErrNotFound, image.ErrTooLarge and, as long as a stream may
	// still come to it, image.ErrLater.
	document(name string, limit int64) ([]byte, error)
}

// A choice is the image that a selection means: the manifest root or, if
// docker is not nil, an entry of manifest.json that has no manifest.
type choice struct {
	root   oci.Descriptor
	docker *dockerImage
}

// A catalogue reads what the documents of an archive say about its images.
// What it has found it remembers.
type catalogue struct {
	library
	index  *oci.Manifest
	docker []dockerImage
	parsed map[digest.Digest]*oci.Manifest
	chosen *choice
}

// choose returns the image that s means. Errors wrap image.ErrLater,
// image.ErrNotFound, image.ErrMismatch, oci.ErrInvalid.
func (c *catalogue) choose(s Selection) (*choice, error) {
	if c.chosen != nil {
		return c.chosen, nil
	}
	ch, err := c.look(s)
	if err != nil {
		return nil, err
	}
	if d := ch.root.Digest; s.Digest != "" && ch.docker == nil && d != s.Digest {
		return nil, fmt.Errorf("manifest %s: %w: it is %s", s.Digest, image.ErrMismatch, d)
	}
	c.chosen = ch
	return ch, nil
}

func (c *catalogue) look(s Selection) (*choice, error) {
	if s.View == Docker {
		return c.lookDocker(s)
	}
	ix, err := c.readIndex()
	switch {
	case err == nil:
		root, err := c.pickOCI(ix, s)
		return &choice{root: root}, err
	case s.View == Any && errors.Is(err, image.ErrNotFound):
		ch, err := c.lookDocker(s)
		if errors.Is(err, errNoDocker) {
			return nil, fmt.Errorf("%w: the archive has neither %s nor %s", image.ErrIncomplete, indexName, dockerName)
		}
		return ch, err
	case errors.Is(err, image.ErrNotFound):
		return nil, fmt.Errorf("%w: the archive has no %s: it is no OCI archive", image.ErrIncomplete, indexName)
	}
	return nil, err
}

func (c *catalogue) readIndex() (*oci.Manifest, error) {
	if c.index != nil {
		return c.index, nil
	}
	b, err := c.document(indexName, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := oci.Parse(oci.Raw{MediaType: oci.MediaTypeIndex, Bytes: b})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexName, err)
	}
	c.index = m
	return m, nil
}

func (c *catalogue) readDocker() ([]dockerImage, error) {
	if c.docker != nil {
		return c.docker, nil
	}
	b, err := c.document(dockerName, maxDocker)
	if err == nil {
		c.docker, err = parseDocker(b)
	}
	return c.docker, err
}

// pickOCI returns the entry of index.json that s means.
func (c *catalogue) pickOCI(ix *oci.Manifest, s Selection) (oci.Descriptor, error) {
	all := ix.Manifests
	switch {
	case s.Position > len(all):
		return oci.Descriptor{}, &said{fmt.Sprintf("index %d is too large, only %d entries available", s.Position-1, len(all)), []error{image.ErrNotFound}}
	case s.Position > 0:
		return all[s.Position-1], nil
	case s.Name != "":
		return pickName(all, s)
	case s.Digest != "":
		return c.pickDigest(all, s.Digest)
	}
	for _, d := range all {
		if d.Digest != all[0].Digest {
			return oci.Descriptor{}, severalOCI(s.View, all)
		}
	}
	if len(all) == 0 {
		return oci.Descriptor{}, severalOCI(s.View, all)
	}
	return all[0], nil
}

func severalOCI(v View, all []oci.Descriptor) error {
	if v == OCI || len(all) == 0 {
		return &said{"more than one image in oci, choose an image", []error{image.ErrUnsupported}}
	}
	var names []string
	for _, d := range all {
		names = append(names, nameOf(d))
	}
	return fmt.Errorf("%w: there are %d images in the archive, choose one: %s", image.ErrUnsupported, len(all), brief(names))
}

// brief lists names, but not endlessly.
func brief(names []string) string {
	const most = 20
	for i, n := range names {
		names[i] = fmt.Sprintf("%.200q", n)
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
}

// nameOf is the fullest name that an entry of index.json has, or "".
func nameOf(d oci.Descriptor) string {
	if n := d.Annotations[annotationImageName]; n != "" {
		return n
	}
	return d.Annotations[oci.AnnotationRefName]
}

// pickName returns the entry with a name. One that has no other name goes
// before one of which it is the tag only.
func pickName(all []oci.Descriptor, s Selection) (oci.Descriptor, error) {
	rules := []func(oci.Descriptor) bool{
		func(d oci.Descriptor) bool { return nameOf(d) == s.Name },
		func(d oci.Descriptor) bool { return d.Annotations[oci.AnnotationRefName] == s.Name },
	}
	if ref, err := reference.ParseDocker(s.Name); err == nil && s.View != OCI {
		rules = append(rules, func(d oci.Descriptor) bool { return sameName(nameOf(d), ref) })
	}
	var foreign []string
	for _, rule := range rules {
		for _, d := range all {
			if !rule(d) {
				continue
			}
			if oci.IsManifestType(d.MediaType) {
				return d, nil
			}
			foreign = append(foreign, d.MediaType)
		}
	}
	if len(foreign) > 0 {
		return oci.Descriptor{}, &said{fmt.Sprintf("reference %q matches unsupported manifest MIME types %q", s.Name, slices.Compact(foreign)), []error{image.ErrUnsupported}}
	}
	return oci.Descriptor{}, fmt.Errorf("image %q: %w in %s", s.Name, image.ErrNotFound, indexName)
}

// pickDigest returns the manifest with a digest: an entry of index.json, or
// one that lies deeper.
func (c *catalogue) pickDigest(all []oci.Descriptor, want digest.Digest) (oci.Descriptor, error) {
	for _, d := range all {
		if d.Digest == want {
			return d, nil
		}
	}
	if err := oci.CheckDigest(want); err != nil {
		return oci.Descriptor{}, err
	}
	b, err := c.document(blobName(want), oci.MaxManifest)
	return oci.Descriptor{Digest: want, Size: int64(len(b))}, err
}

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
		return nil, &said{fmt.Sprintf("Invalid source index @%d, only %d manifest items available", s.Position-1, len(images)), []error{image.ErrNotFound}}
	case s.Position > 0:
		return &images[s.Position-1], nil
	case s.Name != "":
		return pickTag(images, s.Name)
	case len(images) != 1:
		return nil, &said{fmt.Sprintf("Unexpected tar manifest.json: expected 1 item, got %d", len(images)), []error{image.ErrUnsupported}}
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
	return nil, &said{fmt.Sprintf("Tag %q not found", ref.WithDefaultTag()), []error{image.ErrNotFound}}
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
	all := slices.Clone(ix.Manifests)
	if ref, err := reference.ParseDocker(s.Name); err == nil {
		slices.SortStableFunc(all, func(a, b oci.Descriptor) int { return rank(a, ref) - rank(b, ref) })
	}
	f := finder{catalogue: c, entry: e, config: config}
	d, err := f.find(all, 0)
	switch {
	case err != nil || d != nil:
		return d, err
	case f.later:
		return nil, image.ErrLater
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
	later  bool  // a manifest may still come
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
		case errors.Is(err, image.ErrLater):
			f.later = true
		case err != nil:
			f.unread = fmt.Errorf("manifest %s: %w", d.Digest, err)
		case m.IsIndex():
			if found, err := f.find(m.Manifests, depth+1); found != nil || err != nil {
				return found, err
			}
		case f.is(m) && !f.later:
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

// parse returns a manifest of the archive. Its bytes are looked at only to
// find the one that is meant: whoever reads that one checks its digest.
func (c *catalogue) parse(d oci.Descriptor) (*oci.Manifest, error) {
	if m, ok := c.parsed[d.Digest]; ok {
		return m, nil
	}
	b, err := c.document(blobName(d.Digest), oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, image.ErrMismatch
	}
	m, err := oci.Parse(oci.Raw{MediaType: d.MediaType, Bytes: b})
	if err != nil {
		return nil, err
	}
	if c.parsed == nil {
		c.parsed = map[digest.Digest]*oci.Manifest{}
	}
	c.parsed[d.Digest] = m
	return m, nil
}

// manifest returns the manifest with that digest, which must be somewhere in
// the archive.
func (c *catalogue) manifest(d oci.Descriptor) (oci.Raw, error) {
	b, err := c.document(blobName(d.Digest), oci.MaxManifest)
	if err != nil {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return oci.Raw{MediaType: d.MediaType, Bytes: b}, nil
}
