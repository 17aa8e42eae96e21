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
	waits  func() bool // whether manifests that are named may still come; nil for no

	subjects subjects
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
		return oci.Descriptor{}, &said{fmt.Sprintf("index %d is too large, only %d entries available", s.Position-1, len(all)), image.ErrNotFound}
	case s.Position > 0:
		return all[s.Position-1], nil
	case s.Name != "":
		return c.pickName(all, s)
	case s.Digest != "":
		return c.pickDigest(all, s.Digest)
	}
	if images := slices.DeleteFunc(slices.Clone(all), isAttached); len(images) > 0 {
		all = images
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

// isAttached reports whether an entry of index.json is no image for itself.
func isAttached(d oci.Descriptor) bool {
	return oci.IsAttachedTag(d.Annotations[oci.AnnotationRefName])
}

func severalOCI(v View, all []oci.Descriptor) error {
	if v == OCI || len(all) == 0 {
		return &said{"more than one image in oci, choose an image", image.ErrUnsupported}
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

// pickName returns the entry with the name that s has. One that ends in @ and
// a digest is, if there is no such entry, the name before it, and the digest
// that the manifest must have.
func (c *catalogue) pickName(all []oci.Descriptor, s Selection) (oci.Descriptor, error) {
	d, err := entryNamed(all, s)
	i := strings.LastIndexByte(s.Name, '@')
	if !errors.Is(err, image.ErrNotFound) || i < 0 {
		return d, err
	}
	want := digest.Digest(s.Name[i+1:])
	if oci.CheckDigest(want) != nil {
		return d, err
	}
	s.Name = s.Name[:i]
	if s.Name == "" {
		return c.pickDigest(all, want)
	}
	if d, err = entryNamed(all, s); err == nil && d.Digest != want {
		err = fmt.Errorf("manifest %s: %w: it is %s", want, image.ErrMismatch, d.Digest)
	}
	return d, err
}

// entryNamed returns the entry with a name. One that has no other name goes
// before one of which it is the tag only.
func entryNamed(all []oci.Descriptor, s Selection) (oci.Descriptor, error) {
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
		return oci.Descriptor{}, &said{fmt.Sprintf("reference %q matches unsupported manifest MIME types %.200q", s.Name, slices.Compact(foreign)), image.ErrUnsupported}
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

// parse returns a manifest of the archive. Its bytes are looked at only to
// find the one that is meant: whoever reads that one checks its digest.
func (c *catalogue) parse(d oci.Descriptor) (*oci.Manifest, error) {
	if m, ok := c.parsed[d.Digest]; ok {
		return m, nil
	}
	m, err := c.read(d)
	if err != nil {
		return nil, err
	}
	if c.parsed == nil {
		c.parsed = map[digest.Digest]*oci.Manifest{}
	}
	c.parsed[d.Digest] = m
	return m, nil
}

// read is parse for what need not be remembered.
func (c *catalogue) read(d oci.Descriptor) (*oci.Manifest, error) {
	b, err := c.document(blobName(d.Digest), oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, image.ErrMismatch
	}
	return oci.Parse(oci.Raw{MediaType: d.MediaType, Bytes: b})
}

// manifest returns the manifest that d describes, whose size may be -1. Nobody
// else can tell that the one which a selection led to has d's digest.
func (c *catalogue) manifest(d oci.Descriptor) (oci.Raw, error) {
	b, err := c.document(blobName(d.Digest), oci.MaxManifest)
	if err != nil {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	raw := oci.Raw{MediaType: d.MediaType, Bytes: b}
	if got := raw.DigestBy(d.Digest.Algorithm()); got != d.Digest {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w: it is %s", d.Digest, image.ErrMismatch, got)
	}
	if d.Size >= 0 && d.Size != int64(len(b)) {
		return oci.Raw{}, fmt.Errorf("manifest %s: %w: it has %d bytes, not %d", d.Digest, image.ErrMismatch, len(b), d.Size)
	}
	return raw, nil
}

// labels are the names of the image that s has chosen: all that it has or, if
// s gives one, that one.
func (c *catalogue) labels(s Selection) []label {
	switch {
	case c.chosen == nil:
		return nil
	case c.chosen.docker != nil:
		return dockerLabels(c.chosen.docker.RepoTags)
	}
	entries := []oci.Descriptor{c.chosen.root}
	if s.Name == "" && s.Position == 0 && c.index != nil {
		entries = slices.DeleteFunc(slices.Clone(c.index.Manifests), func(d oci.Descriptor) bool { return d.Digest != c.chosen.root.Digest })
	}
	var all []label
	for _, d := range entries {
		l := label{d.Annotations[oci.AnnotationRefName], d.Annotations[annotationImageName]}
		if l != (label{}) {
			all = append(all, l)
		}
	}
	return all
}

func dockerLabels(tags []string) []label {
	var all []label
	for _, s := range tags {
		if d, err := reference.ParseDocker(s); err == nil && d.Tag != "" {
			all = append(all, label{d.Tag, tagged(d)})
		}
	}
	return all
}
