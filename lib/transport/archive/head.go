package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// Options say how an archive is written. The zero value writes an image
// without a name and keeps those that a file holds.
type Options struct {
	// View is the view that the destination's name asks for. In the Docker
	// view an archive holds single images only.
	View View

	// Name is the image's reference name in index.json, "" for none. If it
	// is a docker reference with a tag, docker load knows the image by it.
	Name string

	// Labels are docker references that the image is known by as well: in
	// index.json and manifest.json, in this order. Those without a tag are
	// left out.
	Labels []reference.Docker

	// HeadOnly lets a stream end before all of the image's blobs have been
	// put: it then tells what the image is, and no copy of it is whole.
	HeadOnly bool

	// Existing says what happens to what a file holds already.
	Existing Existing

	// Spool is a directory for blobs of a stream whose size is not known
	// beforehand; "" is the system's. A file has them beside it.
	Spool string

	// from, if set, is where the names come from if there are none here.
	from labelled
}

// Existing is what is done with an archive that is there.
type Existing int

const (
	Extend  Existing = iota // its images stay, but for names that the new one takes
	Replace                 // it is replaced as a whole
	Refuse                  // it is an error
)

// A label is a name that an image gets in index.json.
type label struct {
	ref   string // org.opencontainers.image.ref.name
	image string // io.containerd.image.name, "" for none
}

// labelled is a source that says what the image in it is called. It is asked
// once a manifest has been read from it.
type labelled interface{ labels() []label }

// labels are those that the options give or, without any, those of the source.
func (o *Options) labels() []label {
	all := o.explicit()
	if len(all) == 0 && o.from != nil {
		all = o.from.labels()
	}
	return all
}

// explicit are the labels that the options give.
func (o *Options) explicit() []label {
	var all []label
	if o.Name != "" {
		all = append(all, label{ref: o.Name})
	}
	for _, d := range o.Labels {
		if d.Tag != "" {
			all = append(all, label{d.Tag, tagged(d)})
		}
	}
	return all
}

// tags are the names that docker load knows the image by.
func (o *Options) tags() []string {
	tags := []string{}
	for _, l := range o.labels() {
		name := l.image
		if d, err := reference.ParseDocker(l.ref); name == "" && err == nil && d.Tag != "" {
			name = tagged(d)
		}
		if name != "" && !slices.Contains(tags, name) {
			tags = append(tags, name)
		}
	}
	return tags
}

// tagged is the canonical name and tag, without a digest.
func tagged(d reference.Docker) string { return d.Name() + ":" + d.Tag }

// holdings are the images that an archive holds.
type holdings struct {
	annotations map[string]string // of index.json
	entries     []oci.Descriptor  // of index.json
	docker      []dockerImage
	trees       []*image.Tree // what entries name, each digest once, without what is attached
	latest      *image.Tree   // the one that was added, with what is attached
	fresh       map[*image.Tree]bool
	has         func(digest.Digest) bool
	view        View // that must be there
}

// add adds an image, and what is attached to it. Names that it shares with
// others move to it, and an image that loses its last name goes. No name counts
// as one.
func (h *holdings) add(t *image.Tree, o *Options) error {
	root := bare(t)
	h.view = o.View
	switch {
	case h.view == Docker && (t.Manifest == nil || single(root) == nil):
		return fmt.Errorf("%w: a docker archive holds images for one platform, and this is none", image.ErrUnsupported)
	case h.view == Docker && root != t:
		return fmt.Errorf("%w: a docker archive has no place for what is attached to an image", image.ErrUnsupported)
	}
	labels := o.labels()
	if len(labels) == 0 {
		labels = []label{{}}
	}
	was := h.bases()
	h.latest, h.fresh = t, map[*image.Tree]bool{}
	h.set(root, labels...)
	if err := h.addAttached(t); err != nil {
		return err
	}
	h.dropOrphans(was)
	h.addDocker(root, o.tags())
	return nil
}

// set gives t its names, which it may have taken from others. One without a
// name takes the place of another image, but not of a referrer.
func (h *holdings) set(t *image.Tree, labels ...label) {
	h.entries = slices.DeleteFunc(h.entries, func(d oci.Descriptor) bool {
		return slices.ContainsFunc(labels, func(l label) bool { return l.names(d) && (l != label{} || !h.refers(d)) })
	})
	for _, l := range labels {
		h.entries = append(h.entries, l.entry(t))
	}
	h.trees = append(slices.DeleteFunc(h.trees, func(old *image.Tree) bool { return old.Desc.Digest == t.Desc.Digest }), t)
	h.fresh[t] = true
}

// names reports whether l is the name that an entry of index.json has.
func (l label) names(d oci.Descriptor) bool {
	if l.image != "" {
		return nameOf(d) == l.image
	}
	return nameOf(d) == l.ref
}

func (l label) entry(t *image.Tree) oci.Descriptor {
	d := oci.Descriptor{MediaType: t.Desc.MediaType, Digest: t.Desc.Digest, Size: t.Desc.Size, Platform: t.Desc.Platform}
	set := func(key, value string) {
		if value == "" {
			return
		}
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[key] = value
	}
	set(oci.AnnotationRefName, l.ref)
	set(annotationImageName, l.image)
	return d
}

func (h *holdings) named(t *image.Tree) bool {
	return slices.ContainsFunc(h.entries, func(d oci.Descriptor) bool { return d.Digest == t.Desc.Digest })
}

// addDocker brings manifest.json up to date: it has no names that are the new
// image's, no images whose parts go, and the new one, if that is a single
// image.
func (h *holdings) addDocker(t *image.Tree, tags []string) {
	parts := map[string]bool{}
	for _, t := range h.trees {
		for d := range t.Blobs() {
			parts[blobName(d.Digest)] = true
		}
	}
	var kept []dockerImage
	for _, d := range h.docker {
		before := len(d.RepoTags)
		d.RepoTags = slices.DeleteFunc(slices.Clone(d.RepoTags), func(tag string) bool { return containsName(tags, tag) })
		gone := func(name string) bool { return !parts[memberName(name)] }
		if before > 0 && len(d.RepoTags) == 0 || gone(d.Config) || slices.ContainsFunc(d.Layers, gone) {
			continue
		}
		kept = append(kept, d)
	}
	h.docker = kept
	m := single(t)
	if m == nil {
		return
	}
	e := dockerView(m, tags)
	i := slices.IndexFunc(h.docker, func(d dockerImage) bool { return d.Config == e.Config && slices.Equal(d.Layers, e.Layers) })
	if i < 0 {
		h.docker = append(h.docker, e)
		return
	}
	h.docker[i].RepoTags = append(h.docker[i].RepoTags, tags...)
}

// containsName reports whether tag, as it stands in an archive, means one of
// the canonical names.
func containsName(names []string, tag string) bool {
	d, err := reference.ParseDocker(tag)
	return err == nil && slices.Contains(names, tagged(d.WithDefaultTag()))
}

// single returns the one image in t; nil if there are more, or none. What
// attests to an image is none.
func single(t *image.Tree) *oci.Manifest {
	var found *oci.Manifest
	for k := range t.Walk() {
		p := k.Desc.Platform
		if k.Manifest == nil || !k.Manifest.IsImage() || oci.AttestationOf(k.Desc) != "" || p != nil && p.OS == "unknown" {
			continue
		}
		if found != nil {
			return nil
		}
		found = k.Manifest
	}
	return found
}

func dockerView(m *oci.Manifest, tags []string) dockerImage {
	e := dockerImage{Config: blobName(m.Config.Digest), RepoTags: tags, Layers: []string{}}
	for _, l := range m.Layers {
		e.Layers = append(e.Layers, blobName(l.Digest))
	}
	return e
}

// A head is what stands before the blobs of an archive, and which these are.
type head struct {
	docs  []document
	blobs []oci.Descriptor // configurations, layers, and then those that may be had elsewhere
}

// A document is a small member of an archive.
type document struct {
	name string
	data []byte
}

// head returns what is to be written, in order.
func (h *holdings) head() (*head, error) {
	out := &head{docs: []document{
		{layoutName, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{indexName, h.index()},
	}}
	if view := marshal(h.docker); len(h.docker) > 0 && (len(view) <= maxDocker || h.view == Docker) {
		out.docs = append(out.docs, document{dockerName, view})
	}
	seen := map[digest.Digest]bool{}
	for _, t := range h.trees {
		for k := range t.Walk() {
			if seen[k.Desc.Digest] {
				continue
			}
			seen[k.Desc.Digest] = true
			if err := k.Check(); err != nil {
				return nil, err
			}
			out.docs = append(out.docs, document{blobName(k.Desc.Digest), k.Raw.Bytes})
		}
	}
	for _, d := range out.docs {
		if limit := limitOf(d.name); len(d.data) > limit {
			return nil, fmt.Errorf("%s: %w: %d bytes, more than %d", d.name, image.ErrTooLarge, len(d.data), limit)
		}
	}
	out.blobs = h.blobs(seen)
	return out, nil
}

// limitOf is how large a document may be, so that it can be read again.
func limitOf(name string) int {
	if name == dockerName {
		return maxDocker
	}
	return oci.MaxManifest
}

func (h *holdings) index() []byte {
	return marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []oci.Descriptor  `json:"manifests"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}{2, oci.MediaTypeIndex, h.entries, h.annotations})
}

// blobs returns the blobs of all images, each once. Of those that were there
// before, some may not be in the archive, and are not to be.
func (h *holdings) blobs(seen map[digest.Digest]bool) []oci.Descriptor {
	sizes := map[digest.Digest]oci.Descriptor{} // the new image knows best
	for d := range h.latest.Blobs() {
		sizes[d.Digest] = d
	}
	var parts [3][]oci.Descriptor
	for _, t := range h.inOrder() {
		configs := map[digest.Digest]bool{}
		for k := range t.Walk() {
			if k.Manifest != nil && k.Manifest.Config != nil {
				configs[k.Manifest.Config.Digest] = true
			}
		}
		for d := range t.Blobs() {
			here := h.has != nil && h.has(d.Digest)
			if now, ok := sizes[d.Digest]; ok {
				d = now
			} else if !here {
				continue
			}
			i := 1
			switch {
			case configs[d.Digest]:
				i = 0
			case oci.IsForeign(d) && !here: // it may not come, and behind it there must be nothing
				i = 2
			}
			if !seen[d.Digest] {
				parts[i] = append(parts[i], d)
			}
			seen[d.Digest] = true
		}
	}
	return slices.Concat(parts[:]...)
}

// tarHeader returns the header of a member: the same bytes for the same name
// and size.
func tarHeader(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.Bytes(), nil
}

// missing returns the blobs of t that are not there, but for those that may be
// had elsewhere, as an error.
func missing(t *image.Tree, has func(digest.Digest) bool) error {
	for d := range t.Blobs() {
		if !has(d.Digest) && !oci.IsForeign(d) {
			return fmt.Errorf("%w: blob %s is missing", image.ErrIncomplete, d.Digest)
		}
	}
	return nil
}

var errOther = errors.New("the archive was begun for another image")
