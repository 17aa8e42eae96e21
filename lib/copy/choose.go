package copy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// choose returns the part of root's tree that is to be copied.
func (p *Plan) choose(ctx context.Context, root *image.Tree) (*image.Tree, error) {
	switch {
	case !root.Manifest.IsIndex():
		return root, p.checkPlatform(ctx, root)
	case p.single():
		return p.one(ctx, root)
	case len(p.o.Platforms) == 0 && !p.o.Sparse:
		return root, root.Grow(ctx, p.src, nil)
	}
	return p.some(ctx, root)
}

// one takes the image for the one platform that is asked for, or for the one
// that this machine has, out of an index.
func (p *Plan) one(ctx context.Context, root *image.Tree) (*image.Tree, error) {
	if len(p.o.Platforms) > 1 {
		return nil, fmt.Errorf("%w: the destination holds one image, and %d platforms are asked for", image.ErrUnsupported, len(p.o.Platforms))
	}
	want := oci.Host()
	switch {
	case p.o.Instance != nil:
		want = *p.o.Instance
	case len(p.o.Platforms) == 1:
		want = p.o.Platforms[0]
	}
	t, err := Instance(ctx, p.src, root, want)
	if err != nil {
		return nil, err
	}
	p.note("one image is copied, the one for %s, %s, out of %s", oci.FormatPlatform(want), t.Desc.Digest, platforms(root))
	t.Desc = oci.Descriptor{MediaType: t.Desc.MediaType, Digest: t.Desc.Digest, Size: t.Desc.Size}
	return t, nil
}

// Instance returns the image for platform want in the tree of root: root
// itself, without asking, if it is not an index. The error wraps
// image.ErrNotFound if there is none.
func Instance(ctx context.Context, src image.Source, root *image.Tree, want oci.Platform) (*image.Tree, error) {
	t := root
	for range oci.MaxDepth + 1 {
		if err := t.Parse(); err != nil {
			return nil, err
		}
		if !t.Manifest.IsIndex() {
			return t, nil
		}
		i := oci.Choose(t.Manifest.Manifests, want)
		if i < 0 {
			return nil, noInstance(t.Manifest, want)
		}
		only := func(*oci.Manifest) (func(int) bool, error) { return func(k int) bool { return k == i }, nil }
		if err := t.Grow(ctx, src, once(only)); err != nil {
			return nil, err
		}
		t = t.Kids[i]
	}
	return nil, fmt.Errorf("%w: indexes nested deeper than %d", oci.ErrInvalid, oci.MaxDepth)
}

// once applies c to the first index only and takes nothing of those below.
func once(c image.Choice) image.Choice {
	first := true
	return func(m *oci.Manifest) (func(int) bool, error) {
		if !first {
			return func(int) bool { return false }, nil
		}
		first = false
		return c(m)
	}
}

// ErrPlatform is wrapped, beside image.ErrNotFound, by the error about an
// index that has no image for a platform.
var ErrPlatform = errors.New("no image for the platform")

// A platformError has a text that scripts match on.
type platformError struct{ text string }

func (e *platformError) Error() string { return e.text }

func (e *platformError) Is(target error) bool {
	return target == ErrPlatform || target == image.ErrNotFound
}

func noInstance(m *oci.Manifest, want oci.Platform) error {
	kind := "image index"
	if m.MediaType == oci.MediaTypeDockerList {
		kind = "manifest list"
	}
	return &platformError{fmt.Sprintf("no image found in %s for architecture %q, variant %q, OS %q", kind, want.Architecture, want.Variant, want.OS)}
}

// some takes the platforms that are asked for out of an index, and what
// attests to them.
func (p *Plan) some(ctx context.Context, root *image.Tree) (*image.Tree, error) {
	found := make([]bool, len(p.o.Platforms))
	err := root.Grow(ctx, p.src, func(m *oci.Manifest) (func(int) bool, error) {
		return p.selected(m, found), nil
	})
	if err != nil {
		return nil, err
	}
	for i, ok := range found {
		if !ok {
			return nil, noInstance(root.Manifest, p.o.Platforms[i])
		}
	}
	if p.o.Sparse {
		p.note("the index is kept as it is, though it names manifests that are not copied")
		return root, nil
	}
	t, err := root.Prune()
	if err == nil && t != root {
		p.note("the index is rewritten to the platforms asked for: %s becomes %s", root.Desc.Digest, t.Desc.Digest)
	}
	return t, err
}

// selected says which entries of m are for the platforms asked for. Indexes
// in it, which have platforms of their own, are looked into.
func (p *Plan) selected(m *oci.Manifest, found []bool) func(int) bool {
	keep := make([]bool, len(m.Manifests))
	kept := map[string]bool{}
	for i, d := range m.Manifests {
		if d.Platform == nil && oci.IsIndexType(d.MediaType) {
			keep[i] = true
		}
		for k, want := range p.o.Platforms {
			if d.Platform != nil && oci.Matches(*d.Platform, want) {
				keep[i], found[k] = true, true
			}
		}
		if keep[i] {
			kept[d.Digest.String()] = true
		}
	}
	for i, d := range m.Manifests {
		if of := oci.AttestationOf(d); of != "" {
			keep[i] = kept[of]
		}
	}
	return func(i int) bool { return keep[i] }
}

// checkPlatform refuses a single image that is not for the platforms asked for.
func (p *Plan) checkPlatform(ctx context.Context, t *image.Tree) error {
	if len(p.o.Platforms) == 0 {
		return nil
	}
	if !t.Manifest.IsImage() {
		p.note("%s is no image and has no platform: it is copied as it is", t.Desc.Digest)
		return nil
	}
	return RunsOn(ctx, p.src, t, p.o.Platforms...)
}

// RunsOn returns an error that wraps image.ErrNotFound and ErrPlatform unless
// the single image t is for each of the platforms. What is no image has none.
func RunsOn(ctx context.Context, src image.Source, t *image.Tree, platforms ...oci.Platform) error {
	if !t.Manifest.IsImage() {
		return nil
	}
	c, err := image.Config(ctx, src, t.Manifest)
	if err != nil {
		return err
	}
	have := oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	for _, want := range platforms {
		if !oci.Matches(have, want) {
			return &platformError{fmt.Sprintf("the image is for %s only, not for %s", oci.FormatPlatform(have), oci.FormatPlatform(want))}
		}
	}
	return nil
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// platforms lists those of an index, for a message.
func platforms(t *image.Tree) string {
	var s []string
	for _, d := range t.Manifest.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			s = append(s, oci.FormatPlatform(*d.Platform))
		}
	}
	return strings.Join(s, ", ")
}
