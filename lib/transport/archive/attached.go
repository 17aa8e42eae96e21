package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// bare returns t without what is attached to its manifests: t itself, if
// nothing is.
func bare(t *image.Tree) *image.Tree {
	if t == nil {
		return nil
	}
	kids := make([]*image.Tree, len(t.Kids))
	changed := len(t.Attached) > 0
	for i, k := range t.Kids {
		kids[i] = bare(k)
		changed = changed || kids[i] != k
	}
	if !changed {
		return t
	}
	return &image.Tree{Desc: t.Desc, Raw: t.Raw, Manifest: t.Manifest, Kids: kids}
}

// identity tells trees apart, with what is attached to them.
func identity(t *image.Tree) string {
	var b strings.Builder
	b.WriteString(string(t.Desc.Digest))
	for k := range t.Walk() {
		for _, a := range k.Attached {
			fmt.Fprintf(&b, " %s %s %q", k.Desc.Digest, a.Desc.Digest, a.Name)
		}
	}
	return b.String()
}

// addAttached adds what is attached to the manifests of t. What has no name of
// its own goes into the list of its subject's referrers, beside what is in
// there, and that list gets the name that belongs to the subject.
func (h *holdings) addAttached(t *image.Tree) error {
	for k := range t.Walk() {
		var list []*image.Tree
		for _, a := range k.Attached {
			if a.Name == "" {
				list = append(list, bare(a))
				continue
			}
			if !reference.ValidRefName(a.Name) {
				return fmt.Errorf("%w: %.200q is no name to write to", reference.ErrFormat, a.Name)
			}
			h.set(bare(a), label{ref: a.Name})
		}
		if err := h.refer(k.Desc.Digest, list); err != nil {
			return err
		}
	}
	return nil
}

// refer adds to the list of a subject's referrers.
func (h *holdings) refer(subject digest.Digest, list []*image.Tree) error {
	if len(list) == 0 {
		return nil
	}
	tag := label{ref: oci.ReferrersTag(subject)}
	kids := map[digest.Digest]*image.Tree{}
	var descs []oci.Descriptor
	raw := oci.Raw{}
	if old := h.find(tag.ref); old != nil {
		if old.Manifest == nil || !old.Manifest.IsIndex() {
			return fmt.Errorf("%w: the name %s, of a list of referrers, stands for something else", image.ErrUnsupported, tag.ref)
		}
		raw, descs = old.Raw, slices.Clone(old.Manifest.Manifests)
		for _, k := range old.Kids {
			if k != nil {
				kids[k.Desc.Digest] = k
			}
		}
	}
	known := map[digest.Digest]bool{}
	for _, d := range descs {
		known[d.Digest] = true
	}
	fresh := false
	for _, a := range list {
		kids[a.Desc.Digest] = a
		if !known[a.Desc.Digest] {
			descs, fresh = append(descs, referrer(a)), true
		}
	}
	if fresh {
		var err error
		if raw, err = oci.ReferrersIndex(descs); err != nil {
			return err
		}
	}
	t := &image.Tree{Raw: raw, Desc: raw.Descriptor()}
	if err := t.Parse(); err != nil {
		return fmt.Errorf("list of the referrers of %s: %w", subject, err)
	}
	for _, d := range t.Manifest.Manifests {
		t.Kids = append(t.Kids, kids[d.Digest])
	}
	h.set(t, tag)
	return nil
}

func referrer(t *image.Tree) oci.Descriptor {
	if t.Manifest == nil {
		return t.Desc
	}
	return oci.Referrer(t.Desc, t.Manifest)
}

// find returns what a reference name stands for, nil for nothing.
func (h *holdings) find(name string) *image.Tree {
	i := slices.IndexFunc(h.entries, func(d oci.Descriptor) bool { return d.Annotations[oci.AnnotationRefName] == name })
	if i < 0 {
		return nil
	}
	return h.tree(h.entries[i])
}

func (h *holdings) tree(d oci.Descriptor) *image.Tree {
	i := slices.IndexFunc(h.trees, func(t *image.Tree) bool { return t.Desc.Digest == d.Digest })
	if i < 0 {
		return nil
	}
	return h.trees[i]
}

// refers reports whether an entry of index.json is a referrer.
func (h *holdings) refers(d oci.Descriptor) bool {
	t := h.tree(d)
	return t != nil && t.Manifest != nil && t.Manifest.Subject != nil
}

// inOrder returns the trees in the order of their blobs: those of the new image
// come as it has them, and then those that only its lists of referrers lead to.
func (h *holdings) inOrder() []*image.Tree {
	var old, fresh []*image.Tree
	for _, t := range h.trees {
		if h.fresh[t] {
			fresh = append(fresh, t)
		} else {
			old = append(old, t)
		}
	}
	return slices.Concat(old, []*image.Tree{h.latest}, fresh)
}

// bases returns oci.ReferrersTag of all manifests.
func (h *holdings) bases() map[string]bool {
	all := map[string]bool{}
	for _, t := range h.trees {
		addBases(all, t)
	}
	return all
}

func addBases(to map[string]bool, t *image.Tree) {
	for k := range t.Walk() {
		to[oci.ReferrersTag(k.Desc.Digest)] = true
	}
}

// baseOf returns the part of an entry's name that says to which digest it
// belongs, as oci.ReferrersTag makes it; "" if it belongs to none.
func baseOf(d oci.Descriptor) string {
	name := d.Annotations[oci.AnnotationRefName]
	if !oci.IsAttachedTag(name) {
		return ""
	}
	return name[:strings.IndexByte(name, '-')+1+64]
}

// dropOrphans removes names that belong to a manifest which was there and is
// not any more. One that is there because it is attached itself counts if what
// it is attached to does.
func (h *holdings) dropOrphans(was map[string]bool) {
	trees := map[digest.Digest]*image.Tree{}
	for _, t := range h.trees {
		trees[t.Desc.Digest] = t
	}
	here := map[string]bool{}
	waiting := h.entries
	for {
		var later []oci.Descriptor
		for _, d := range waiting {
			if base := baseOf(d); base != "" && was[base] && !here[base] {
				later = append(later, d)
			} else if t := trees[d.Digest]; t != nil {
				addBases(here, t)
			}
		}
		if len(later) == len(waiting) || len(later) == 0 {
			break
		}
		waiting = later
	}
	h.entries = slices.DeleteFunc(h.entries, func(d oci.Descriptor) bool {
		base := baseOf(d)
		return base != "" && was[base] && !here[base]
	})
	h.trees = slices.DeleteFunc(h.trees, func(t *image.Tree) bool { return !h.named(t) })
}

// tags lists the names, each once, in their order.
func (h *holdings) tags(v View) []string {
	var tags []string
	for _, l := range listOCI(&oci.Manifest{Manifests: h.entries}, v) {
		if l.Name != "" && !slices.Contains(tags, l.Name) {
			tags = append(tags, l.Name)
		}
	}
	return tags
}

// referrers is what catalogue.referrers will find.
func (h *holdings) referrers(subject digest.Digest) []oci.Descriptor {
	var all []oci.Descriptor
	if t := h.find(oci.ReferrersTag(subject)); t != nil && t.Manifest != nil && t.Manifest.IsIndex() {
		all = slices.Clone(t.Manifest.Manifests)
	}
	for _, d := range h.entries {
		if mayRefer(d) && h.refers(d) && h.tree(d).Manifest.Subject.Digest == subject {
			all = append(all, oci.Referrer(d, h.tree(d).Manifest))
		}
	}
	return once(all)
}

// holds returns what the archive holds now, with nothing in it if it is going
// to be replaced.
func (t *target) holds() *holdings {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.now != nil:
		return t.now
	case t.old != nil:
		return &t.old.holdings
	}
	return &holdings{}
}

// Tags implements image.Lister: the names in index.json.
func (t *target) Tags(context.Context) ([]string, error) {
	return t.holds().tags(t.o.View), nil
}

// Find implements image.Namer.
func (t *target) Find(_ context.Context, name string) (oci.Descriptor, error) {
	if name == "" {
		return oci.Descriptor{}, fmt.Errorf("no name: %w", image.ErrNotFound)
	}
	return entryNamed(t.holds().entries, Selection{View: t.o.View, Name: name})
}

// Referrers implements image.Referrer.
func (t *target) Referrers(_ context.Context, subject digest.Digest) ([]oci.Descriptor, error) {
	return t.holds().referrers(subject), nil
}
