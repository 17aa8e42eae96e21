package layout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// typeOf is what the index calls the manifest d, "" if it does not name it.
func (l *listing) typeOf(d digest.Digest) string {
	for _, e := range l.entries {
		if e.desc.Digest == d {
			return e.desc.MediaType
		}
	}
	return ""
}

// choose returns what is meant by a reference.
func (l *listing) choose(ctx context.Context, ref reference.Layout) (oci.Descriptor, error) {
	entries := l.entries
	switch {
	case ref.Name != "":
		return l.byName(ctx, ref.Name)
	case ref.Index >= len(entries):
		return oci.Descriptor{}, fail(fmt.Sprintf("index %d is too large, only %d entries available", ref.Index, len(entries)), image.ErrNotFound)
	case ref.Index >= 0:
		return entries[ref.Index].desc, nil
	}
	if images := l.images(); len(images) > 0 {
		entries = images
	}
	if len(entries) != 1 {
		return oci.Descriptor{}, fail("more than one image in oci, choose an image", image.ErrUnsupported)
	}
	return entries[0].desc, nil
}

// images returns the entries that are images for themselves.
func (l *listing) images() []entry {
	return slices.DeleteFunc(slices.Clone(l.entries), func(e entry) bool { return oci.IsAttachedTag(e.name) })
}

// byName finds a name as it is written or, failing that, without its pin.
func (l *listing) byName(ctx context.Context, name string) (oci.Descriptor, error) {
	if i := l.named(name); i >= 0 {
		return l.entries[i].desc, nil
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		base, pin := name[:i], digest.Digest(name[i+1:])
		if oci.CheckDigest(pin) == nil {
			return l.byPin(ctx, base, pin)
		}
	}
	var types []string
	for _, e := range l.entries {
		if e.name == name {
			types = append(types, e.desc.MediaType)
		}
	}
	if types != nil {
		return oci.Descriptor{}, fail(fmt.Sprintf("reference %q matches unsupported manifest MIME types %q", name, types), image.ErrUnsupported)
	}
	return oci.Descriptor{}, fail(fmt.Sprintf("no descriptor found for reference %q", name), image.ErrNotFound)
}

// byPin finds the name whose digest must be the pin or, for no name, any
// manifest of that digest.
func (l *listing) byPin(ctx context.Context, name string, pin digest.Digest) (oci.Descriptor, error) {
	if name == "" {
		return l.byDigest(ctx, pin)
	}
	d, err := l.byName(ctx, name)
	if err == nil && d.Digest != pin {
		err = fmt.Errorf("%q: %w: it is %s, not %s", name, image.ErrMismatch, d.Digest, pin)
	}
	return d, err
}

// byDigest finds a manifest in the index or in the indexes below it, the
// nearest first.
func (l *listing) byDigest(ctx context.Context, d digest.Digest) (oci.Descriptor, error) {
	var level []oci.Descriptor
	for _, e := range l.entries {
		level = append(level, e.desc)
	}
	seen := map[digest.Digest]bool{}
	for depth := 0; len(level) > 0; depth++ {
		for _, desc := range level {
			if desc.Digest == d {
				return desc, nil
			}
		}
		if depth == oci.MaxDepth {
			return oci.Descriptor{}, fmt.Errorf("%w: indexes nested deeper than %d", oci.ErrInvalid, depth)
		}
		var err error
		if level, err = l.below(ctx, level, seen); err != nil {
			return oci.Descriptor{}, err
		}
	}
	return oci.Descriptor{}, fail(fmt.Sprintf("no manifest %s in %s", d, l.path), image.ErrNotFound)
}

// below returns the entries of those indexes in level that have not been
// seen. One that is not there, because the layout is sparse, is left out.
func (l *listing) below(ctx context.Context, level []oci.Descriptor, seen map[digest.Digest]bool) ([]oci.Descriptor, error) {
	var next []oci.Descriptor
	for _, d := range level {
		if !oci.IsIndexType(d.MediaType) || seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		raw, err := l.read(ctx, d)
		if errors.Is(err, image.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := oci.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Digest, err)
		}
		if next = append(next, m.Manifests...); len(seen)+len(next) > oci.MaxEntries {
			return nil, fmt.Errorf("%w: indexes with more than %d entries", oci.ErrInvalid, oci.MaxEntries)
		}
	}
	return next, nil
}
